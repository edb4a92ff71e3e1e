"""The chain of steps: what a step's name depends on, and what it must not depend on."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from raycner.config import RunConfig
from raycner.data.corpora import Corpus
from raycner.data.scenarios.scenario import Scenario
from raycner.hashing import plain
from raycner.training import plan as planning
from raycner.training.plan import StepSpec, plan

BASE = ["method.name=extend_ner"]


def chain(corpus: Corpus, *layers: str) -> tuple[StepSpec, ...]:
    config = RunConfig.load(layers)
    corpora = [corpus] * len(config.scenario.protocol.corpora(config.scenario.corpus))
    return plan(config, Scenario(config.scenario, corpora))


def names(corpus: Corpus, *layers: str) -> list[str]:
    return [spec.fingerprint for spec in chain(corpus, *layers)]


@pytest.fixture
def base(tiny_layers: list[str]) -> list[str]:
    return [*tiny_layers, *BASE]


def renamed(one: list[str], two: list[str]) -> list[bool]:
    return [a != b for a, b in zip(one, two, strict=True)]


NOTHING, LATER, ALL = [False] * 4, [False, True, True, True], [True] * 4


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("store=elsewhere", NOTHING),
        ("compute.workers=2", NOTHING),
        ("compute.gpus_per_worker=1 compute.cpus_per_worker=3 compute.max_failures=0", NOTHING),
        ("compute.checkpoint_epochs=0", NOTHING),
        ("scenario.corpus.path=/moved/there", NOTHING),
        ("optim.lr=1e-2", NOTHING),
        ("method.kd_weight=2", LATER),
        ("method.weighting=mean", LATER),
        ("method.name=finetuning", LATER),
        ("method.name=dld method.base.name=extend_ner", LATER),
        ("model.growth.freeze_old=true", LATER),
        ("model.growth.init=moments", LATER),
        ("model.growth.imprint=train", LATER),
        ("optim.epochs=3", LATER),
        ("scenario.joint=true", LATER),
        ("optim.first.epochs=3", ALL),
        ("optim.first.lr=3e-3", ALL),
        ("optim.lr=2e-2", ALL),
        ("optim.batch_size=9", ALL),
        ("optim.select=new", ALL),
        ("optim.order=pools", NOTHING),
        ("optim.order=shuffle", ALL),
        ("optim.decay=weights optim.select_by=macro", ALL),
        ("optim.decay=all optim.select_by=micro model.head.hidden=0", NOTHING),
        ("model.head.hidden=4", ALL),
        ("optim.precision=fp64", ALL),
        ("seed=1", ALL),
        ("model.head.init_std=0.1", ALL),
        ("model.head.name=cosine", ALL),
        ("model.encoder.width=11", ALL),
        ("scenario.protocol.split_seed=1", ALL),
        ("scenario.protocol.sampling=random", ALL),
        ("scenario.order=[person,food,city,animal]", ALL),
        ("scenario.order=[animal,city,person,food]", ALL),
    ],
)
def test_a_name_depends_on_what_determines_the_weights(
    tiny_corpus: Corpus, base: list[str], settings: str, expected: list[bool]
) -> None:
    assert renamed(names(tiny_corpus, *base), names(tiny_corpus, *base, *settings.split())) == expected


def test_settings_of_later_steps_leave_the_first_step_unchanged(tiny_corpus: Corpus, base: list[str]) -> None:
    own = [*base, "optim.first.lr=0.5", "optim.first.head_lr=0.5", "optim.first.schedule=constant"]
    for later in ("optim.lr=0.2", "optim.head_lr=0.2", "optim.schedule=cosine"):
        assert renamed(names(tiny_corpus, *own), names(tiny_corpus, *own, later)) == LATER
    replay = [*base, "method.name=extend_ner", "optim.feature_replay=0.5"]
    assert renamed(names(tiny_corpus, *replay), names(tiny_corpus, *replay, "optim.feature_replay=2")) == LATER
    assert renamed(names(tiny_corpus, *replay), names(tiny_corpus, *replay, "optim.feature_replay_words=10")) == LATER


def test_words_count_only_where_features_are_replayed(tiny_corpus: Corpus, base: list[str]) -> None:
    assert names(tiny_corpus, *base) == names(tiny_corpus, *base, "optim.feature_replay_words=10")


def test_every_method_shares_the_first_step(tiny_corpus: Corpus, base: list[str]) -> None:
    methods = ["finetuning", "extend_ner", "self_training", "{name: dld, base: {name: self_training}}"]
    overrides = [f"method.name={m}" if m.isidentifier() else f"method={m}" for m in methods]
    chains = [names(tiny_corpus, *base, layer) for layer in overrides]
    assert len({chain[0] for chain in chains}) == 1
    assert len({chain[1] for chain in chains}) == len(chains)


def test_joint_shares_the_first_step_of_fg_pg_only(tiny_corpus: Corpus, base: list[str]) -> None:
    steps, bound = (chain(tiny_corpus, *base, f"scenario.joint={joint}") for joint in ("false", "true"))
    assert steps[0] == bound[0]
    assert not {s.fingerprint for s in steps[1:]} & {b.fingerprint for b in bound[1:]}


def test_a_link_names_the_one_before(tiny_corpus: Corpus, base: list[str]) -> None:
    specs = chain(tiny_corpus, *base)
    assert [spec.index for spec in specs] == [0, 1, 2, 3]
    assert [spec.parent for spec in specs] == [None, *(spec.fingerprint for spec in specs[:-1])]
    assert len({spec.fingerprint for spec in specs}) == 4
    assert all(len(spec.fingerprint) == 16 for spec in specs)
    other = replace(specs[2], parent="0" * 16)
    assert other.fingerprint != specs[2].fingerprint


def test_step_0_reads_no_growth_and_is_trained_by_finetuning(tiny_corpus: Corpus, base: list[str]) -> None:
    first, second, *_ = chain(tiny_corpus, *base, "model.growth.freeze_old=true", "optim.epochs=7")
    assert first.method.name == "finetuning"
    assert not first.model.growth.freeze_old
    assert first.optim.epochs == 2
    assert second.method.name == "extend_ner"
    assert second.model.growth.freeze_old
    assert second.optim.epochs == 7


def test_a_spec_knows_the_types_of_its_step(tiny_corpus: Corpus, base: list[str]) -> None:
    layers = [*base, "scenario.protocol.first=2"]
    config = RunConfig.load(layers)
    scenario = Scenario(config.scenario, [tiny_corpus])
    specs = chain(tiny_corpus, *layers)
    assert [spec.inventory for spec in specs] == [experience.inventory for experience in scenario]
    assert [spec.inventory.new for spec in specs] == [("animal", "city"), ("food",), ("person",)]


def test_numerics_rename_everything(tiny_corpus: Corpus, base: list[str]) -> None:
    specs = chain(tiny_corpus, *base)
    assert all(spec.numerics == planning.NUMERICS for spec in specs)
    assert all(replace(s, numerics=s.numerics + 1).fingerprint != s.fingerprint for s in specs)


def test_a_spec_can_be_written_down(tiny_corpus: Corpus, base: list[str]) -> None:
    for spec in chain(tiny_corpus, *base):
        assert json.loads(json.dumps(plain(spec)))["scenario"]["corpora"] == [tiny_corpus.fingerprint]


def steps_of(*types: str) -> str:
    return "scenario.protocol={name: steps, steps: [" + ", ".join(f"{{types: {kinds}}}" for kinds in types) + "]}"


def test_a_longer_list_of_steps_keeps_the_names_of_its_past(tiny_corpus: Corpus, base: list[str]) -> None:
    short = names(tiny_corpus, *base, steps_of("[person]", "[city, food]"))
    long = names(tiny_corpus, *base, steps_of("[person]", "[city, food]", "[animal]"))
    assert long[:2] == short
    assert names(tiny_corpus, *base, steps_of("[person]", "[food, city]"))[1] != short[1]
    assert names(tiny_corpus, *base, steps_of("[food]", "[city, person]"))[0] != short[0]
    assert names(tiny_corpus, *base)[0] != short[0], "the source is shared out by fg_pg, and whole here"


def test_a_steps_corpus_is_in_its_name_and_in_those_after_it(tiny_corpus: Corpus, base: list[str]) -> None:
    class Other:
        fingerprint, types, source = "f" * 16, tiny_corpus.types, "other"

        def __getitem__(self, part: str) -> object:
            return tiny_corpus[part]

    config = RunConfig.load([*base, steps_of("[person]", "[city]", "[food]")])
    here, there = (
        [spec.fingerprint for spec in plan(config, Scenario(config.scenario, [tiny_corpus, other, tiny_corpus]))]
        for other in (tiny_corpus, Other())
    )
    assert renamed(here, there) == [False, True, True]


def test_an_encoder_is_its_content_not_its_place(
    tiny_corpus: Corpus, base: list[str], tiny_bert: str, tmp_path: Path
) -> None:
    def at(folder: Path | str) -> list[str]:
        return names(tiny_corpus, *base, f"model.encoder={{name: pretrained, path: {folder}}}")

    copied = Path(shutil.copytree(tiny_bert, tmp_path / "copied"))
    (copied / "README.md").write_text("says nothing of weights", encoding="utf-8")
    assert at(copied) == at(tiny_bert)
    config = copied / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"gelu"', '"relu"'), encoding="utf-8")
    assert renamed(at(copied), at(tiny_bert)) == ALL
    assert at("bert-base-cased") != at("bert-large-cased"), "a hub id is all that is known of it"


def test_word_vectors_are_their_content_not_their_place(tiny_corpus: Corpus, base: list[str], tmp_path: Path) -> None:
    def at(name: str, text: str) -> list[str]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return names(tiny_corpus, *base, f"model.encoder.vectors={tmp_path / name}")

    assert at("a.txt", "word 1 2") == at("a.txt", "word 1 2")
    assert renamed(at("a.txt", "word 1 2"), at("a.txt", "word 1 3")) == ALL
    assert renamed(at("a.txt", "word 1 2"), names(tiny_corpus, *base)) == ALL
    (tmp_path / "moved").mkdir()
    assert at("a.txt", "word 1 2") == at("moved/a.txt", "word 1 2")
    assert renamed(at("vectors.300d", "word 1 2"), at("vectors.300d", "word 1 3")) == ALL
