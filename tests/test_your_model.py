"""Adopting: a tagger of transformers alone becomes step 1, predicts what its pipeline does, learns a new type."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import raycner
from fixtures_tiny import spoken
from raycner import InputError
from raycner.__main__ import main
from raycner.data.entities import Entity, encode
from raycner.inference.predictor import Predictor
from raycner.networks.heads.label_rows import LabelRows
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore
from test_evaluate import classifier

SCHEMES = {
    "BIO": ["I-city", "B-person", "O", "B-city", "I-person"],
    "IOB1": ["I-person", "I-city", "O", "B-city"],
    "IO": ["I-person", "O", "I-city"],
    "types": ["city", "O", "person-actor"],
    "BIOES": ["O", "E-city", "S-city", "B-city", "I-city", "S-person", "B-person", "I-person", "E-person"],
    "BILOU": ["B-city", "I-city", "L-city", "U-city", "O"],
}


def write_columns(file: Path, number: int, seed: int, types: set[str]) -> Path:
    """Sentences of the small world, in which only these types are annotated."""
    file.parent.mkdir(exist_ok=True)
    blocks = []
    for words, entities in spoken(number, seed):
        tags = encode([e for e in entities if e.type in types], len(words))
        blocks.append("".join(f"{word} {tag}\n" for word, tag in zip(words, tags, strict=True)))
    file.write_text("\n".join(blocks), encoding="utf-8")
    return file


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_step_predicts_what_the_pipeline_predicts(scheme: str, tiny_bert: str, tmp_path: Path) -> None:
    folder = classifier(tmp_path / "model", tiny_bert, SCHEMES[scheme])
    run, agreement = raycner.adopt(folder, "base", store=tmp_path / "store", sentences=60, progress=False)
    assert agreement is not None and agreement.entities > 50 and agreement.sentences == 60
    assert agreement.differences == ()
    assert run.name == "base" and run.finished
    assert (
        set(run.types) == {label.partition("-")[2] or label for label in SCHEMES[scheme]} - {"O"} or scheme == "types"
    )


def other_family(folder: Path, tiny_bert: str, family: str, labels: list[str]) -> Path:
    """A random token classifier of another family."""
    import transformers

    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "initializer_range": 0.6,
        "max_position_embeddings": 100,
        "pad_token_id": 0,
    }
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_bert)
    config: Any = getattr(transformers, f"{family}Config")(
        vocab_size=len(tokenizer), id2label=dict(enumerate(labels)), label2id={}, num_labels=len(labels), **sizes
    )
    torch.manual_seed(1)
    getattr(transformers, f"{family}ForTokenClassification")(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


FAMILIES = ("Bert", "Roberta", "Electra", "DebertaV2", "DistilBert", "XLMRoberta", "MPNet", "ModernBert")


@pytest.mark.parametrize("family", FAMILIES)
def test_other_families_are_adopted(family: str, tiny_bert: str, tmp_path: Path) -> None:
    folder = other_family(tmp_path / "model", tiny_bert, family, SCHEMES["BIO"])
    run, agreement = raycner.adopt(folder, "base", store=tmp_path / "store", sentences=30, progress=False)
    assert agreement is not None and agreement.entities > 10 and agreement.differences == ()
    if family == "ModernBert":  # its dense layer before the classifier is exported too
        assert main(["export", "base", str(tmp_path / "exported"), "--store", str(tmp_path / "store")]) == 0
        exported, same = raycner.adopt(tmp_path / "exported", "again", store=tmp_path / "other", progress=False)
        assert same is not None and same.differences == () and exported.types == run.types


@pytest.fixture(scope="module")
def base(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an adopted model, scored on test sentences; and the model next to it."""
    place = tmp_path_factory.mktemp("adopted")
    model = classifier(place / "model", tiny_bert, SCHEMES["BIO"])
    test = write_columns(place / "test.conll", 40, 3, {"city", "person", "food"})
    assert main(["adopt", str(model), "--name", "base", "--test", str(test), "--store", str(place / "store")]) == 0
    return place


def test_an_adopted_step_is_scored_and_used(base: Path) -> None:
    run = raycner.load_run("base", store=base / "store")
    (step,) = run.steps
    assert step.new == ("city", "person") and step.epochs == ()
    evaluation = raycner.evaluate(base / "model", base / "test.conll", progress=False)
    for name in ("city", "person"):
        (of_type,) = [row for row in evaluation.scores().to_dict("records") if row["type"] == name]
        assert step.test[name][0] + step.test[name][2] == of_type["support"] > 0
        assert step.test[name][0] + step.test[name][1] == of_type["predicted"] > 0
    words = [words for words, _ in spoken(20, 5)]
    ours = Predictor.of("base", str(base / "store")).words(words)
    theirs = raycner.inference.token_classifier.TokenClassifier.load(str(base / "model")).words(words)
    assert [[(e.start, e.end, e.type) for e in row] for row in ours] == [
        [(e.start, e.end, e.type) for e in row] for row in theirs
    ]


def test_reports_show_an_adopted_step(base: Path, tmp_path: Path) -> None:
    report = raycner.report(store=base / "store")
    assert "city" in report.markdown() and report.data.document()
    report.write_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size > 10_000
    raycner.load_run("base", store=base / "store").export(tmp_path / "exported")
    assert "adopted: trained elsewhere" in (tmp_path / "exported" / "README.md").read_text(encoding="utf-8")


def test_the_same_model_is_adopted_once(base: Path, tiny_bert: str, tmp_path: Path) -> None:
    store = ObjectStore(str(base / "store"))
    (before,) = [ledger for ledger in RunLedger.all(store) if ledger.run == "base"]
    raycner.adopt(base / "model", "base", store=store.uri, test=[base / "test.conll"], sentences=0, progress=False)
    assert RunLedger.open(store, "base").planned == before.planned
    other = classifier(tmp_path / "other", tiny_bert, SCHEMES["types"])
    with pytest.raises(InputError, match="another model is adopted as 'base'"):
        raycner.adopt(other, "base", store=store.uri, progress=False)


def test_each_run_of_a_model_is_scored_on_its_own_sentences(base: Path, tmp_path: Path) -> None:
    """The step of both runs is the same one, and so is its name."""
    test = write_columns(tmp_path / "other.conll", 12, 8, {"city", "food"})
    other, _ = raycner.adopt(base / "model", "other", store=base / "store", test=[test], sentences=0, progress=False)
    unscored, _ = raycner.adopt(base / "model", "unscored", store=base / "store", sentences=0, progress=False)
    before = raycner.load_run("base", store=base / "store").steps[0]
    assert before.fingerprint == other.steps[0].fingerprint == unscored.steps[0].fingerprint
    gold = sum(e.type == "city" for _, entities in spoken(12, 8) for e in entities)
    assert other.steps[0].test["city"][0] + other.steps[0].test["city"][2] == gold > 0
    assert not any(map(any, unscored.steps[0].test.values())) and any(map(any, before.test.values()))


def test_a_new_type_is_learned_and_the_old_weights_stay(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, (part, number) in enumerate({"train": 60, "dev": 12, "test": 24}.items()):
        write_columns(base / "reviews" / f"{part}.txt", number, seed, {"food"})
    arguments = ["--types", "food", "--source", str(base / "reviews"), "--store", str(base / "store")]
    assert main(["extend", "base", *arguments, "optim.epochs=1", "optim.lr=0.003"]) == 0
    printed = capsys.readouterr().out
    assert "base-food-" in printed and "gained: food" in printed
    longer = raycner.load_run("base-food", store=base / "store")
    assert longer.types == ("city", "person", "food") and len(longer.steps[1].epochs) == 1
    assert longer.steps[0].fingerprint == raycner.load_run("base", store=base / "store").steps[0].fingerprint
    assert main(["extend", "base", *arguments, "optim.epochs=1", "optim.lr=0.003", "--may-lose", "0.1"]) == 3
    assert "does not pass" in capsys.readouterr().out
    with pytest.raises(InputError, match="'Food' is probably 'food'"):
        longer.extend(["Food"], base / "reviews", progress=False)


def test_an_exported_step_is_adopted(trained: str, tmp_path: Path) -> None:
    original = raycner.load_run("columns", store=trained)
    original.export(tmp_path / "exported")
    run, agreement = raycner.adopt(tmp_path / "exported", "mine", store=tmp_path / "store", progress=False)
    assert agreement is None and run.types == original.types
    words = [words for words, _ in spoken(30, 5)]
    assert run.predictor().words(words) == original.predictor().words(words)
    assert any(run.predictor().words(words))


def test_a_step_of_any_protocol_is_adopted_and_types_are_dropped_and_renamed(trained: str, tmp_path: Path) -> None:
    store = str(shutil.copytree(trained, tmp_path / "store"))
    original = raycner.load_run("columns", store=store)
    words = [words for words, _ in spoken(40, 5)]
    before = original.predictor(3).words(words)
    same, _ = raycner.adopt("columns:3", "same", store=store, progress=False)
    assert same.types == original.steps[2].seen and same.predictor().words(words) == before
    smaller, _ = raycner.adopt(
        "columns:3", "smaller", store=store, drop=["city"], rename={"food": "meal"}, progress=False
    )
    assert smaller.types == ("animal", "meal", "person")
    after = smaller.predictor().words(words)
    assert {e.type for row in after for e in row} <= {"animal", "meal", "person"}
    assert sum(e.type == "animal" for row in after for e in row) > 0
    old, new = (run.predictor()._network.head.weight for run in (same, smaller))
    assert torch.equal(new, torch.cat([old[:3], old[5:]]))
    for options, expected in (({"drop": ["cty"]}, "no type 'cty'"), ({"drop": list(same.types)}, "no type is left")):
        with pytest.raises(InputError, match=expected):
            raycner.adopt("columns:3", "none", store=store, progress=False, **options)


def test_an_extension_is_undone_unless_it_is_in_use(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(base / "store")
    for seed, (part, number) in enumerate({"train": 30, "dev": 12, "test": 12}.items()):
        write_columns(base / "zoo" / f"{part}.txt", number, seed, {"animal"})
    extended = ("--types", "animal", "--source", str(base / "zoo"), "--store", store, "optim.epochs=1")
    assert main(["extend", "base", *extended]) == 0
    raycner.promote("base-animal", "zoo", store=store)
    assert main(["extend", "base-animal", "--undo", "--store", store]) == 2
    assert "the alias zoo names its last step" in capsys.readouterr().err
    raycner.promote("base", "zoo", store=store)
    assert main(["extend", "base-animal", "--undo", "--store", store]) == 0
    assert "base" in {run.name for run in raycner.load_runs(store=store)}
    assert not [run for run in raycner.load_runs(store=store) if run.name.startswith("base-animal")]
    capsys.readouterr()
    assert main(["extend", "base", "--undo", "--store", store]) == 2
    assert "it extends no other run" in capsys.readouterr().err
    assert main(["extend", "base", "--store", store]) == 2
    assert "--types product" in capsys.readouterr().err


def test_differences_are_listed(tiny_bert: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from raycner.evaluation.agreement import Agreement
    from raycner.reporting.terminal.adoption_view import adoption_view

    folder = classifier(tmp_path / "model", tiny_bert, SCHEMES["BIO"])
    run, _ = raycner.adopt(folder, "base", store=tmp_path / "store", sentences=1, progress=False)
    found_twice = Agreement.of([("Ada", "slept")], [(Entity(0, 1, "person"),)], [()], too_long=2)
    raycner.console.TextConsole(width=100).print(adoption_view(run.ledger, found_twice, 100))
    printed = capsys.readouterr().out
    assert "differs from transformers.pipeline in 1 of 1 sentences" in printed
    assert "pipeline: Ada (person)" in printed and "step:     none" in printed and "not compared: 2" in printed


# ---- what is no tagger with a linear head


@pytest.fixture
def error_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one line that a rejected command prints; nothing is left in the store."""

    def line(*arguments: str) -> str:
        store = tmp_path / "untouched"
        assert main(["adopt", *arguments, "--name", "base", "--store", str(store)]) == 2
        assert not list(store.glob("steps/*")) and not list(store.glob("runs/*"))
        printed = capsys.readouterr().err
        assert printed.startswith("raycner: ") and printed.count("\n") == 1
        return printed.strip()

    return line


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["LABEL_0", "LABEL_1"], "names no labels"),
        (["B-person", "I-person"], "no label is 'O'"),
        (["O", "B_person", "I_person"], "'B_person' is a tag of no scheme"),
        (["O", "L-person", "E-person"], "'L-person' and 'E-person' mean the same tag"),
        (["O", "person", "B-person"], "with and without a prefix"),
        (["O"], "its only label is O"),
    ],
)
def test_labels_that_are_no_scheme(labels: list[str], expected: str) -> None:
    with pytest.raises(InputError, match=expected) as error:
        LabelRows.of(labels, "model")
    assert "--labels" in str(error.value)


def test_labels_can_be_given(tiny_bert: str, tmp_path: Path, error_line: Callable[..., str]) -> None:
    folder = classifier(tmp_path / "model", tiny_bert, ["LABEL_0", "LABEL_1", "LABEL_2"])
    assert "names no labels" in error_line(str(folder))
    assert "2 labels for the 3 rows" in error_line(str(folder), "--labels", "O,B-drug")
    run, agreement = raycner.adopt(
        folder,
        "base",
        store=tmp_path / "store",
        labels=["O", "B-drug", "I-drug"],
        rename={"drug": "medicine"},
        sentences=20,
        progress=False,
    )
    assert run.types == ("medicine",) and agreement is not None and not agreement.differences


def test_more_than_a_linear_head(tiny_bert: str, tmp_path: Path, error_line: Callable[..., str]) -> None:
    folder = classifier(tmp_path / "crf", tiny_bert, SCHEMES["BIO"])
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"crf.transitions": torch.zeros(5, 5)}, folder / "model.safetensors", {"format": "pt"})
    assert "does not use its weights crf.transitions" in error_line(str(folder))


def test_other_bad_input(base: Path, tiny_bert: str, tmp_path: Path, error_line: Callable[..., str]) -> None:
    model = str(base / "model")
    assert "no token classifier" in error_line(tiny_bert)
    assert "the model has no type 'persn'" in error_line(model, "--rename", "persn=x")
    upper = (base / "test.conll").read_text(encoding="utf-8").replace("-person", "-PER").replace("-city", "-City")
    (tmp_path / "upper.conll").write_text(upper, encoding="utf-8")
    line = error_line(model, "--test", str(tmp_path / "upper.conll"))
    assert "--rename city=City" in line or "--rename person=PER" in line
    config = json.loads((base / "model" / "config.json").read_text(encoding="utf-8"))
    code = classifier(tmp_path / "code", tiny_bert, SCHEMES["BIO"])
    (code / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "x.X"}}), encoding="utf-8")
    assert "never executed" in error_line(str(code))
