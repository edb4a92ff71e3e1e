"""Other types without training: dropped types are never predicted, renamed and merged ones are the same entities."""

import shutil
from pathlib import Path

import pytest
import torch

import raycner
from fixtures_tiny import spoken
from raycner import InputError
from raycner.__main__ import main
from raycner.data.entities import Entity, TypeInventory
from raycner.data.retyping import Retyping
from raycner.inference.predictor import PredictedEntity
from raycner.networks.heads.tag_set import TagSet
from raycner.storage.housekeeping import leftovers
from raycner.storage.store import ObjectStore
from test_your_model import write_columns

WORDS = [words for words, _ in spoken(60, 5)]


@pytest.fixture
def store(trained: str, tmp_path: Path) -> str:
    """A store of its own, with a run that learned animal and city, then food, then person."""
    return str(shutil.copytree(trained, tmp_path / "store"))


def spans(rows: list[list[PredictedEntity]]) -> list[tuple[int, int, int, str]]:
    return [(i, e.start, e.end, e.type) for i, row in enumerate(rows) for e in row]


# ---- names


def test_names_after_retyping() -> None:
    retyping = Retyping(drop=("date",), rename={"PER": "person"}, merge={"place": ("city", "country")})
    assert retyping.names(["city", "date", "PER", "country", "food"]) == {
        "city": "place",
        "PER": "person",
        "country": "place",
        "food": "food",
    }
    assert retyping.lines == ["without date", "PER is called person", "city, country are merged into place"]
    assert Retyping(merge={"city": ("city", "country")}).names(["city", "country"]) == dict.fromkeys(
        ["city", "country"], "city"
    )
    assert Retyping(rename={"a": "b", "b": "a"}).names(["a", "b"]) == {"a": "b", "b": "a"}


@pytest.mark.parametrize(
    ("retyping", "expected"),
    [
        (Retyping(drop=("cty",)), "no type 'cty'; did you mean city"),
        (Retyping(drop=("city", "food")), "no type is left"),
        (Retyping(drop=("city",), rename={"city": "x"}), "'city' is named twice"),
        (Retyping(rename={"city": "food"}), "another type is called 'food'"),
        (Retyping(merge={"place": ("city",)}), "fewer than two types"),
    ],
)
def test_bad_retyping(retyping: Retyping, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        retyping.names(["city", "food"])


def test_a_merged_type_is_decoded_as_its_parts() -> None:
    """The tags of its parts may follow one another as before, so the best path is the same; only the names change."""
    merged, parts = TagSet(TypeInventory().grow(("a", "b")), extra_rows=("a",)), TagSet(TypeInventory().grow("xyb"))
    assert merged.tags == ("O", "B-a", "I-a", "B-a", "I-a", "B-b", "I-b")
    assert merged.begins == {"a": 1, "b": 5}
    assert torch.equal(merged.allowed, parts.allowed) and torch.equal(merged.openers, parts.openers)
    bioes = TagSet(TypeInventory().grow(("a", "b")), "BIOES", ("a",))
    assert torch.equal(bioes.allowed, TagSet(TypeInventory().grow("xyb"), "BIOES").allowed)
    words = merged.decode([1, 3, 4], [1.0, 1.0, 1.0])
    assert words == {Entity(0, 1, "a"): 1.0, Entity(1, 3, "a"): 1.0}, "two that touch remain two"


# ---- runs


def test_dropped_and_renamed_types(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    original = raycner.load_run("columns", store=store)
    before = original.predictor().words(WORDS)
    assert main(["extend", "columns", "--drop", "food", "--rename", "city=town", "--store", store]) == 0
    assert "3 types: animal, town, person" in capsys.readouterr().out
    run = raycner.load_run(f"{original.name}-drop-food-rename-city-town", store=store)
    after = run.predictor().words(WORDS)
    assert {e.type for row in after for e in row} == {"animal", "town", "person"}
    never = [e for e in spans(before) if e[3] in ("animal", "person")]
    assert set(never) <= set(spans(after)), "a dropped type competes with no other, so these can only gain"
    (step,) = run.steps
    assert step.epochs == () and step.new == ("animal", "town", "person")
    gold = sum(e.type == "city" for _, entities in spoken(16, 2) for e in entities)
    assert step.test["town"][0] + step.test["town"][2] == gold > 0, "scored on the old run's test part"
    assert "food" not in step.test
    assert main(["report", run.name, "--store", store]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "without food; city is called town" in printed and "made from" in printed
    (config,) = run.config["scenario"]["protocol"]["steps"]
    assert config["origin"] == f"{original.name}:3" and config["retyping"]["drop"] == ["food"]


def test_merged_types_are_the_entities_of_either(store: str) -> None:
    original = raycner.load_run("columns", store=store)
    before = original.predictor().words(WORDS)
    run = original.retype(merge={"thing": ["animal", "food"]}, progress=False)
    assert run.types == ("thing", "city", "person")
    expected = [(i, s, e, "thing" if kind in ("animal", "food") else kind) for i, s, e, kind in spans(before)]
    assert spans(run.predictor().words(WORDS)) == expected
    ours, theirs = run.steps[0].test["thing"], original.steps[-1].test
    assert ours[0] >= theirs["animal"][0] + theirs["food"][0] and sum(ours[::2]) == sum(
        count for kind in ("animal", "food") for count in theirs[kind][::2]
    )
    again = run.retype(merge={"all": ["thing", "city"]}, rename={"person": "human"}, progress=False)
    kinds = {"thing": "all", "city": "all", "person": "human"}
    assert spans(again.predictor().words(WORDS)) == [(*place, kinds[kind]) for *place, kind in expected]
    one = again.retype(drop=["human"], progress=False)
    assert {e.type for row in one.predictor().words(WORDS) for e in row} == {"all"}


def test_a_retyped_run_is_extended_exported_and_undone(store: str, tmp_path: Path) -> None:
    run = raycner.load_run("columns", store=store).retype(merge={"thing": ["animal", "food"]}, progress=False)
    for seed, (part, number) in enumerate({"train": 40, "dev": 10, "test": 10}.items()):
        write_columns(tmp_path / "zoo" / f"{part}.txt", number, seed, {"animal", "food"})
    longer = run.extend(["food"], tmp_path / "zoo", {"optim.epochs": 2}, progress=False)
    assert longer.types == ("thing", "city", "person", "food")
    assert longer.steps[0].fingerprint == run.steps[0].fingerprint
    words = longer.predictor().words(WORDS)
    raycner.load_run(longer.name, store=store).export(tmp_path / "exported")
    assert raycner.Predictor.load(tmp_path / "exported").words(WORDS) == words
    longer.undo_extension()
    run.undo_extension()
    assert [other.name for other in raycner.load_runs(store=store)] == [raycner.load_run("columns", store=store).name]
    for leftover in leftovers(ObjectStore(store)):
        leftover.remove()
    assert raycner.load_run("columns", store=store).predictor().words(WORDS)


def test_a_type_is_split(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The source calls some animals birds and all others beasts."""
    for seed, (part, number) in enumerate({"train": 60, "dev": 12, "test": 12}.items()):
        file = write_columns(tmp_path / "zoo" / f"{part}.txt", number, seed, {"animal"})
        lines = file.read_text(encoding="utf-8").replace("-animal", "-beast").replace("owl B-beast", "owl B-bird")
        file.write_text(lines, encoding="utf-8")
    arguments = ["--source", str(tmp_path / "zoo"), "--store", store, "optim.epochs=3"]
    assert main(["extend", "columns", "--split", "animal=beast,bird", *arguments]) == 0
    assert "gained: beast, bird" in capsys.readouterr().out
    run = next(run for run in raycner.load_runs(store=store) if "beast" in run.name)
    assert run.types == ("city", "food", "person", "beast", "bird")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--drop", "fod"], "the model has no type 'fod'; did you mean food?"),
        (["--merge", "city"], "merges nothing"),
        (["--merge", "city,food=x", "--merge", "animal,person=x"], "'x' is made twice"),
        (["--split", "city=x"], "splits nothing"),
        (["--drop", "food", "optim.epochs=3"], "train nothing"),
        (["--split", "city=a,b", "--types", "c"], "--split with --types"),
    ],
)
def test_bad_input(arguments: list[str], expected: str, trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = len(raycner.load_runs(store=trained))
    assert main(["extend", "columns", *arguments, "--store", trained]) == 2
    line = capsys.readouterr().err
    assert expected in line and line.count("\n") == 1
    assert len(raycner.load_runs(store=trained)) == before


def test_heads_without_rows_per_type(tiny_layers: list[str], tmp_path: Path) -> None:
    settings = ("model.head.name=spans", "method.name=finetuning", "scenario.protocol.first=4", f"store={tmp_path}")
    run = raycner.run([*tiny_layers, *settings, "optim.epochs=1"], progress=False)
    smaller = run.retype(drop=["food"], progress=False)
    assert smaller.types == ("animal", "city", "person")
    with pytest.raises(InputError, match="types cannot be merged"):
        run.retype(merge={"thing": ["animal", "food"]}, progress=False)
