"""The schema of a run: overrides, errors, and every registered kind written as YAML and read back."""

import dataclasses
import json
import logging
import types
import typing
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raycner.config import ComputeConfig, FirstStepConfig, OptimConfig, RunConfig
from raycner.data.layouts.layout import LAYOUTS, Layout
from raycner.data.scenarios.protocol import PROTOCOLS, Protocol
from raycner.data.scenarios.scenario import ScenarioConfig, recorded
from raycner.data.scenarios.steps import ListedSteps, StepConfig
from raycner.errors import InputError
from raycner.hashing import canonical, plain
from raycner.methods.dld import DLD
from raycner.methods.extend_ner import ExtendNER
from raycner.methods.finetuning import Finetuning
from raycner.methods.method import METHODS, Method
from raycner.methods.self_training import SelfTraining
from raycner.networks.encoders.bilstm import Bilstm
from raycner.networks.encoders.encoder import ENCODERS, EncoderConfig
from raycner.networks.encoders.pretrained import Pretrained
from raycner.networks.heads.cosine import Cosine
from raycner.networks.heads.head import HEADS, Head, HeadConfig
from raycner.networks.heads.linear import Linear
from raycner.registry import Registry
from raycner.settings import build


def load(*layers: str) -> RunConfig:
    return RunConfig.load(layers)


def error_line(*layers: str) -> str:
    with pytest.raises(InputError) as error:
        load(*layers)
    assert "\n" not in str(error.value)
    return str(error.value)


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_later_overrides_win(tmp_path: Path) -> None:
    one = written(tmp_path / "one.yaml", "seed: 1\noptim: {lr: 2e-3, epochs: 5, first: {epochs: 7}}\n")
    two = written(tmp_path / "two.yaml", "optim: {epochs: 6}\nstore: there\n")
    merged = load(one, two, "seed=3")
    assert (merged.seed, merged.store) == (3, "there")
    assert (merged.optim.lr, merged.optim.epochs, merged.optim.first.epochs) == (0.002, 6, 7)
    assert load(two, one).optim.epochs == 5
    assert load("seed=3", one).seed == 1
    assert load() == RunConfig()
    assert load(written(tmp_path / "empty.yaml", "")) == RunConfig()


def test_overrides_parse_like_yaml() -> None:
    assert load("optim.lr=2e-3").optim.lr == 0.002
    assert load("optim.lr=0.5").optim.lr == 0.5
    assert load("scenario.order=[b, a]").scenario.order == ("b", "a")
    assert load("optim.milestones=[2, '4']").optim.milestones == (2, 4)
    assert load("optim.first.epochs=").optim.first.epochs is None
    assert load("store=s3://bucket/a?region=x").store == "s3://bucket/a?region=x"
    assert load("store=7").store == "7"
    assert load("model.growth.freeze_old=true").model.growth.freeze_old is True
    assert load("method.name=self_training", "method.thresholds.person=0.7").method == SelfTraining(
        thresholds={"person": 0.7}
    )
    listed = "scenario.protocol={name: steps, steps: [{types: [a], corpus: {sentences: 9}}, {types: [b, c]}]}"
    steps = (StepConfig(types=("a",), corpus={"sentences": 9}), StepConfig(types=("b", "c")))
    assert load(listed).scenario.protocol == ListedSteps(steps=steps)


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        ("optim.ephocs=3", "optim.ephocs: no such setting; did you mean epochs?"),
        ("optmi.epochs=3", "optmi: no such setting; did you mean optim?"),
        ("method.name=ddl", "method.name: no method is called 'ddl'; did you mean dld?"),
        ("method.name=[dld]", "method.name: no method is called ['dld']"),
        ("model.encoder.name=gpt", "model.encoder.name: no encoder is called 'gpt'; known: bilstm, pretrained"),
        ("model.head.name=crf", "model.head.name: no head is called 'crf'; known: analytic, cosine, linear"),
        ("method.kd_weight=1", "method.kd_weight: no such setting; finetuning has no settings"),
        ("method=dld", "method: expected settings, found 'dld'; write method.KEY=VALUE"),
        ("method.name=dld", "method.base.name: no method is chosen; known: add_ner"),
        ("optim.epochs=many", "optim.epochs: "),
        ("optim.select=best", "optim.select: input should be 'new', 'seen' or 'last', found 'best'"),
        ("optim.epochs=-1", "optim: epochs, updates and batch_size are not negative"),
        ("optim.first.epochs=0", "optim.first: epochs 0: at least 1"),
        ("optim.first.lr=-1", "optim.first: lr and head_lr are not negative"),
        ("optim.batch_size=-8", "optim: epochs, updates and batch_size are not negative"),
        ("optim.batch_tokens=0", "optim: batch_tokens is at least 1"),
        ("optim.lr=-1", "optim: lr, head_lr, clip and weight_decay are not negative"),
        ("optim.clip=-1", "optim: lr, head_lr, clip and weight_decay are not negative"),
        ("optim.warmup=1", "optim: warmup 1.0: a share"),
        ("compute.workers=-1", "compute: "),
        ("optim.patience=-1", "optim: patience is not negative"),
        ("optim={patience: 3, select: last}", "optim: patience is not negative, and waits for a score"),
        ("compute.cpus_per_worker=0", "compute: cpus_per_worker is at least 1"),
        ("compute={workers: 2, gpus_per_worker: 0.5}", "compute: several workers of one group cannot share a GPU"),
        ("model.encoder={name: bilstm, width: 0}", "model.encoder: widths and min_count are at least 1"),
        ("model.encoder={name: bilstm, dropout: 1}", "model.encoder: dropout 1.0: from 0"),
        ("model.encoder.dropout=2", "model.encoder: dropout is from 0"),
        ("model.encoder.max_length=0", "max_length at least 3"),
        ("model={head: {name: cosine}, growth: {init: zeros}}", "model: growth.init=zeros gives a cosine head rows"),
        ("scenario.protocol.name=splt", "scenario.protocol.name: no protocol is called 'splt'; did you mean split"),
        ("scenario.protocol={name: split, tasks: fine}", "scenario.protocol.tasks: "),
        ("scenario.protocol={name: split, permutation: 3}", "scenario.protocol: permutation '3': write P1, P2, P3"),
        ("scenario.protocol={name: progressive, share: 1}", "scenario.protocol: share 1.0: above 0 and below 1"),
        ("scenario.protocol={name: split, target: person}",
         "scenario.protocol.target: no such setting; did you mean test? split has permutation, shuffle, split_seed"),
        ("scenario.protocol={name: filter, split_seed: 1}",
         "scenario.protocol.split_seed: no such setting; filter has permutation, tasks, test"),
        ("scenario.corpus.grain=coarse", "scenario.corpus.grain: no such setting; demo has seed, sentences"),
        ("scenario.corpus.name=colums", "scenario.corpus.name: no layout is called 'colums'; did you mean columns"),
        ("scenario.protocol.first=0", "scenario.protocol: first and per_step are at least 1"),
        ("scenario.protocol.per_step=0", "scenario.protocol: first and per_step are at least 1"),
        ("scenario.protocol.name=steps", "scenario.protocol: protocol 'steps' needs the list `steps`"),
        ("scenario={order: [a], protocol: {name: steps, steps: [{types: [a]}]}}",
         "scenario.order: protocol 'steps' has a corpus per step, so it does not read this"),
        ("scenario={joint: true, protocol: {name: steps, steps: [{types: [a]}]}}", "scenario.joint: protocol 'steps'"),
        ("scenario.protocol={name: steps, steps: [{types: [a], corpus: {name: columns, grain: fine}}]}",
         "scenario.protocol.steps.0.corpus.grain: no such setting; did you mean train? columns has "),
        ("scenario.protocol={name: steps, steps: [{types: []}]}",
         "scenario.protocol.steps.0: a step needs at least one type"),
        ("scenario.protocol={name: steps, steps: [{typse: [a]}]}",
         "scenario.protocol.steps.0.typse: no such setting; did you mean types?"),
        ("scenario.frist=2", "scenario.frist: no such setting; did you mean scenario.protocol.first?"),
        ("scenario.reading.tag_colum=2", "scenario.reading: no such setting; did you mean scenario.corpus.tag_column?"),
        ("method={name: extend_ner, kd_weight: -1}", "method: temperatures are above 0, and kd_weight is not negative"),
        ("method={name: extend_ner, student_temperature: 0}", "method: temperatures are above 0"),
        ("method={name: extend_ner, teacher_temperature: 0}", "method: temperatures are above 0"),
        ("method={name: self_training, threshold: 1.5}", "method: threshold 1.5 is no confidence"),
        ("method={name: self_training, thresholds: {person: -1}}", "method: person -1.0 is no confidence"),
        ("method={name: dld, base: {name: finetuning}, temperature: 0}", "method: temperature is above 0"),
        ("method={name: dld, base: {name: finetuning}, weight_negative: -1}", "weights are not negative"),
        ("method={name: dld, base: {name: extend_ner, kd_wieght: 1}}",
         "method.base.kd_wieght: no such setting; did you mean kd_weight?"),
        ("seed=-1", "seed -1"),
        ("scenario.protocol.split_seed=-1", "scenario.protocol: split_seed"),
        ("no/such/file.yaml", "no/such/file.yaml: cannot read it"),
    ],
)  # fmt: skip
def test_invalid_settings_are_rejected_with_their_location(layer: str, line: str) -> None:
    assert line in error_line(layer)


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words", "a: [", "\x00"])
def test_a_file_that_is_no_settings_is_named(tmp_path: Path, text: str) -> None:
    assert error_line(written(tmp_path / "odd.yaml", text)).startswith(str(tmp_path / "odd.yaml"))


def test_another_name_drops_the_settings_of_the_old_kind_with_a_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = written(
        tmp_path / "job.yaml",
        "method: {name: dld, weight_positive: 3, base: {name: extend_ner, kd_weight: 2}}\n"
        "model: {head: {name: cosine}}",
    )
    with caplog.at_level(logging.WARNING):
        assert load(job, "method.base.kd_weight=5").method == DLD(weight_positive=3.0, base=ExtendNER(kd_weight=5.0))
        assert load(job, "method.name=dld").method == load(job).method
        assert not caplog.messages
        switched = load(job, "method.name=extend_ner", "method.adaptive=true")
    assert switched.method == ExtendNER(adaptive=True)
    assert caplog.messages == ["method.name=extend_ner drops weight_positive, base of dld"]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert load(job, "method.base.name=self_training").method == DLD(weight_positive=3.0, base=SelfTraining())
    assert caplog.messages == ["method.base.name=self_training drops kd_weight of extend_ner"]
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        assert load(job, "model.head={name: linear, init_std: 0.1}").model.head == Linear(init_std=0.1)
    assert not caplog.messages, "nothing was dropped"


def test_a_method_and_a_head_must_fit() -> None:
    class Deaf(Head[Any]):
        pass

    @HEADS.register("deaf")
    class DeafConfig(HeadConfig):
        module: typing.ClassVar[type[Head[Any]]] = Deaf

        def build(self, width: int) -> Head[Any]:
            raise NotImplementedError

    try:
        assert isinstance(load("model.head.name=deaf").model.head, DeafConfig)
        line = error_line("model.head.name=deaf", "method.name=extend_ner")
        assert line.startswith("method.name: method 'extend_ner' trains TagHead, not head 'deaf'; choose")
    finally:
        del HEADS["deaf"]


def test_the_sequence_norm_needs_one_worker() -> None:
    cosine = "model.head={name: cosine, norm_axis: sequence}"
    assert load(cosine, "compute.workers=1").compute.workers == 1
    assert error_line(cosine, "compute.workers=2").startswith("model.head.norm_axis: ")
    assert load("model.head.name=cosine", "compute.workers=2").compute.workers == 2


def test_the_first_step_reads_its_own_values_only() -> None:
    optim = OptimConfig(epochs=5, lr=0.1, schedule="cosine", first=FirstStepConfig(epochs=9, schedule="constant"))
    assert optim.for_step(0) == OptimConfig(epochs=9, lr=0.1, schedule="constant", first=FirstStepConfig())
    assert (
        optim.for_step(1)
        == optim.for_step(2)
        == OptimConfig(epochs=5, lr=0.1, schedule="cosine", first=FirstStepConfig())
    )


def test_dld_wraps_only_what_trains_tag_heads() -> None:
    class Spoken(Head[Any]):
        pass

    class Other(Finetuning):
        heads = (Spoken,)

    with pytest.raises(ValueError, match="does not train tag heads"):
        DLD(base=Other())


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of an annotation: of every kind of a family, and of every field of a dataclass."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(getattr(origin, "family", None), Registry):  # Method[Any] is a family as Method is
        return values(origin)
    if origin is Literal:
        return st.sampled_from(inside)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([st.none() if kind is type(None) else values(kind) for kind in inside])
    if origin is tuple:
        return st.lists(values(inside[0]), max_size=2).map(tuple)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(values(inside[0]), values(inside[1]), max_size=2)
    hint = origin or hint  # Method[Output] is a Method
    if isinstance(vars(hint).get("family"), Registry):
        return st.deferred(lambda: st.one_of([fields(kind) for kind in hint.family.values()]))
    if dataclasses.is_dataclass(hint):
        return fields(hint)
    plainly: dict[Any, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: st.integers(1, 9),
        float: st.floats(0.015625, 0.984375),
        Any: st.integers(),
        date: st.dates(min_value=date(2100, 1, 1)),
        str: st.sampled_from(["a", "b/c", "7", "true", "naïve 😀", ""]),
    }
    return plainly[hint]


@st.composite
def fields(draw: st.DrawFn, kind: type[Any]) -> Any:
    hints = typing.get_type_hints(kind)
    chosen = {field.name: draw(values(hints[field.name])) for field in dataclasses.fields(kind) if draw(st.booleans())}
    try:
        return kind(**chosen)
    except (ValueError, TypeError, InputError):  # out of its range, an unknown name, or a required field was left out
        return draw(st.nothing())


def kinds() -> Iterator[Any]:
    for family, abstract in (
        (METHODS, Method),
        (HEADS, HeadConfig),
        (ENCODERS, EncoderConfig),
        (LAYOUTS, Layout),
        (PROTOCOLS, Protocol),
    ):
        for name in sorted(family):
            yield pytest.param(abstract, family[name], id=f"{family.noun}-{name}")
    for kind in (ScenarioConfig, OptimConfig, ComputeConfig):
        yield pytest.param(kind, kind, id=kind.__name__)


@pytest.mark.parametrize(("abstract", "kind"), list(kinds()))
@settings(max_examples=25, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(data=st.data())
def test_every_kind_survives_json_and_yaml(abstract: type[Any], kind: type[Any], data: st.DataObject) -> None:
    value = data.draw(fields(kind))
    for document in (json.loads(json.dumps(plain(value))), yaml.safe_load(yaml.safe_dump(plain(value)))):
        again = build(abstract, document)
        assert again == value
        assert type(again) is kind
        assert canonical(again) == canonical(value)


def test_a_whole_run_survives_json() -> None:
    run = load("method={name: dld, base: {name: extend_ner}}", "model.encoder.name=bilstm", "model.head.name=cosine")
    assert build(RunConfig, json.loads(json.dumps(plain(run)))) == run
    assert run.model.encoder == Bilstm()
    assert run.model.head == Cosine()


@pytest.mark.parametrize(
    ("old", "now"),
    [
        ("corpus: columns, source: data/x", "corpus: {name: columns, path: data/x}"),
        ("corpus: columns, reading: {repair: lenient, tag_column: -2}",
         "corpus: {name: columns, tag_column: -2, repair: lenient}"),
        ("first: 2, per_step: 3", "protocol: {first: 2, per_step: 3}"),
        ("protocol: joint, sampling: random", "protocol: {name: fg_pg, sampling: random}, joint: true"),
        ("protocol: joint_split, tasks: coarse", "protocol: {name: split, tasks: coarse}, joint: true"),
        ("protocol: scratch, target: x", "protocol: {name: progressive, target: x, scratch: true}"),
        ("order: [b, a], protocol: filter, test: filter", "order: [b, a], protocol: {name: filter, test: filter}"),
    ],
)  # fmt: skip
def test_settings_of_the_version_before_are_read(old: str, now: str) -> None:
    assert load(f"scenario={{{old}}}") == load(f"scenario={{{now}}}")


def test_an_old_setting_may_override_a_new_one() -> None:
    job = "scenario={corpus: {name: columns, path: x}, protocol: {name: fg_pg, first: 2}, joint: true}"
    scenario = load(job, "scenario.source=y", "scenario.protocol=fg_pg", "scenario.per_step=3").scenario
    assert scenario == load("scenario={corpus: {name: columns, path: y}, protocol: {first: 2, per_step: 3}}").scenario


def test_old_settings_are_noted_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load("scenario.source=x", "scenario.source=y", "scenario={corpus: columns, first: 2}")
        (note,) = caplog.messages
    assert "scenario.source is now scenario.corpus.path; scenario.corpus is now scenario.corpus.name" in note
    caplog.clear()
    load("scenario.corpus.name=columns", "scenario.protocol.first=2")
    assert not caplog.messages


def test_a_step_of_the_version_before_is_read() -> None:
    old = "scenario={protocol: steps, corpus: columns, steps: [{types: [a], source: x}, {types: [b], corpus: jsonl}]}"
    steps = (StepConfig(types=("a",), corpus={"path": "x"}), StepConfig(types=("b",), corpus={"name": "jsonl"}))
    scenario = load(old).scenario
    assert scenario.protocol == ListedSteps(steps=steps)
    assert [layout.source for layout in scenario.protocol.corpora(scenario.corpus)] == ["columns x", "jsonl "]


@pytest.mark.parametrize(
    "protocol",
    [
        *("name: fg_pg", "name: split", "name: filter", "name: few_shot"),
        *("name: progressive, target: person", "name: steps, steps: [{types: [person]}]"),
    ],
)
def test_a_recorded_configuration_is_read_as_it_was(protocol: str) -> None:
    """No setting of today has the name of one that moved."""
    config = load(f"scenario.protocol={{{protocol}}}")
    assert RunConfig.recorded(plain(config)) == config


def test_a_ledger_of_the_version_before_is_read_in_todays_form() -> None:
    reading = {"scheme": "detect", "tag_column": 3, "grain": "fine", "sentences": 2000, "seed": 0, "nested": False}
    flat = {"first": 1, "per_step": 1, "order": [], "sampling": "greedy", "split_seed": 0, "steps": [], "share": 0.8}
    flat |= {"tasks": "types", "permutation": "P3", "test": "all", "target": ""}
    config = {"seed": 1, "scenario": {"corpus": "columns", "source": "x", "reading": reading, **flat}}
    config["scenario"]["protocol"] = "joint_split"
    assert recorded(config) == {
        "seed": 1,
        "scenario": {
            "order": [],
            "joint": True,
            "corpus": {"name": "columns", "path": "x", "scheme": "detect", "tag_column": 3, "seed": 0},
            "protocol": {"name": "split", "split_seed": 0, "tasks": "types", "permutation": "P3", "test": "all"},
        },
    }
    today = plain(load("scenario.protocol.name=split"))
    assert recorded(today) == today


def test_paths_are_not_hashed() -> None:
    assert canonical(Pretrained(path="a")) == canonical(Pretrained(path="b"))
    assert canonical(Bilstm(vectors="a")) == canonical(Bilstm())
    document = json.loads(canonical(load("store=x", "compute.workers=2")))
    assert not {"store", "compute"} & document.keys()
    assert {"scenario", "model", "method", "optim", "seed"} <= document.keys()


@pytest.mark.parametrize(
    ("sentences", "settings", "epochs", "batch_size", "scale"),
    [
        (408, {}, 10, 8, 0.5),  # small: the smallest batches, and more epochs
        (3_000, {}, 3, 18, 0.75),
        (100_000, {}, 3, 32, 1.0),  # large: three epochs of whole batches
        (5, {}, 30, 8, 0.5),  # few-shot: no more than thirty epochs
        (0, {}, 30, 8, 0.5),
        (408, {"updates": 0}, 3, 32, 1.0),
        (408, {"updates": 1000}, 20, 8, 0.5),
        (800, {"epochs": 10}, 10, 16, 0.5**0.5),  # what is set is kept
        (800, {"batch_size": 32}, 20, 32, 1.0),  # and a batch size keeps the rates too
        (408, {"epochs": 2, "batch_size": 16}, 2, 16, 1.0),
    ],
)
def test_a_step_makes_enough_updates_whatever_its_size(
    sentences: int, settings: dict[str, int], epochs: int, batch_size: int, scale: float
) -> None:
    given = OptimConfig(**settings)  # type: ignore[arg-type]
    optim = given.for_sentences(sentences)
    assert (optim.epochs, optim.batch_size) == (epochs, batch_size)
    assert (optim.lr, optim.head_lr) == (pytest.approx(scale * given.lr), pytest.approx(scale * given.head_lr))
    assert optim.for_sentences(sentences) == optim and optim.updates == 0, "nothing is left open"


def test_a_step_may_override_settings_of_the_run() -> None:
    config = RunConfig.load(["method.name=extend_ner", "at.2.method.kd_weight=0.5", "at={3: {optim: {epochs: 7}}}"])
    assert config.for_step(0) is config
    assert (config.for_step(1).method.kd_weight, config.for_step(1).optim.epochs) == (0.5, 0)  # type: ignore[attr-defined]
    assert (config.for_step(2).method.kd_weight, config.for_step(2).optim.epochs) == (1.0, 7)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        ("at.0.method.kd_weight=1", "at: '0' is no step"),
        ("at.last.method.kd_weight=1", "at: 'last' is no step"),
        ("at.2.scenario.protocol.first=3", "at.2.scenario.protocol.first: this cannot differ"),
        ("at.2.method.kd_wieght=1", "at.2.method.kd_wieght: no such setting"),
        ("at.2.method.kd_weight=-1", "at.2.method: "),
    ],
)
def test_settings_that_a_step_cannot_override(layer: str, line: str) -> None:
    with pytest.raises(InputError) as error:
        RunConfig.load(["method.name=extend_ner", layer])
    assert line in str(error.value)
