"""Thresholds of an evaluation: chosen on dev in one pass, stored with the counts, read by whatever predicts."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import runs
from raycner.__main__ import main
from raycner.analysis.provenance import provenance
from raycner.analysis.scores import scores
from raycner.config import EvalConfig, RunConfig
from raycner.data.entities import Entity
from raycner.data.metrics import f1, micro
from raycner.data.scenarios.scenario import Experience, Scenario
from raycner.errors import InputError
from raycner.evaluation import thresholds as module
from raycner.evaluation.thresholds import Scored, best_threshold, choose_thresholds
from raycner.inference.bulk import Model
from raycner.inference.evaluate import evaluate
from raycner.inference.predictor import Predictor
from raycner.inference.trained_step import load_step
from raycner.networks.heads.spans import SpanHead, Spans
from raycner.networks.network import Network
from raycner.orchestration.runner import run
from raycner.storage.ledger import RunLedger, ThresholdRecord
from raycner.storage.store import ObjectStore
from raycner.training.counting import ReadOut, count_read_outs
from raycner.training.loader import SplitLoader

SPANS = (
    *("model.head={name: spans, vector: 16}", "method={name: span_kl}", "scenario.corpus.sentences=160"),
    *("scenario.protocol.first=2", "optim.epochs=4", "optim.first.epochs=8", "optim.batch_size=4"),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run of a span head, whose default evaluation is done."""
    place = tmp_path_factory.mktemp("spans")
    run(runs.small(place, *SPANS), runs.silent)
    return place


@pytest.fixture(scope="module")
def trained(store: Path) -> tuple[Network, Experience]:
    """The last step's network, and what it sees."""
    step = load_step(again(store).run, ObjectStore(str(store)))
    scenario = Scenario.open(
        runs.small(store, *SPANS).scenario, ObjectStore(str(store)), [note.fingerprint for note in step.ledger.corpora]
    )
    return step.network, scenario[1]


def again(store: Path, *settings: str) -> RunLedger:
    return run(runs.small(store, *SPANS, *settings), runs.silent)


def dev_f1(network: Network, experience: Experience, thresholds: Mapping[str, float]) -> dict[str, float]:
    """F1 of each type, and micro under the name "all"."""
    loaders = [SplitLoader(part, network) for part in experience.dev]
    (counts,) = count_read_outs(network, loaders, [ReadOut()], thresholds=thresholds)
    return {**{kind: f1(of_type) for kind, of_type in counts.items()}, "all": micro(counts)}


# ---- the choice


confidences = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.75, 1.0]), st.booleans()), max_size=12)


@given(candidates=confidences, missed=st.integers(0, 5))
def test_no_threshold_has_a_higher_f1(candidates: list[tuple[float, bool]], missed: int) -> None:
    scored = [Scored(*candidate) for candidate in candidates]
    gold = missed + sum(is_gold for _, is_gold in scored)

    def score(threshold: float) -> float:
        predicted = [is_gold for p, is_gold in scored if p >= threshold]
        return 2 * sum(predicted) / (len(predicted) + gold) if predicted else 0.0

    chosen = best_threshold(scored, gold, lowest=0.05, prior=0.3)
    assert score(chosen) == max((score(p) for p, _ in scored), default=0.0)
    if not any(is_gold for _, is_gold in scored):
        assert chosen == 0.3


@pytest.mark.parametrize(("prior", "expected"), [(0.9, 0.7), (0.05, 0.15)])
def test_of_equal_scores_the_nearest_to_the_prior_counts(prior: float, expected: float) -> None:
    scored = [Scored(0.8, True), Scored(0.6, False), Scored(0.3, False), Scored(0.2, True), Scored(0.1, False)]
    assert best_threshold(scored, gold=2, lowest=0.05, prior=prior) == pytest.approx(expected), "both 2/3"
    assert best_threshold(scored[:1], gold=1, lowest=0.05, prior=prior) == 0.05


def test_one_threshold_is_the_best_for_all_types(trained: tuple[Network, Experience]) -> None:
    network, experience = trained
    chosen = choose_thresholds(network, experience.dev, "dev")
    assert set(chosen.source.values()) == {"all"} and len(set(chosen.values.values())) == 1
    assert sum(chosen.support.values()) > module.LEAST_ENTITIES
    best = dev_f1(network, experience, chosen.values)["all"]
    others = [
        dev_f1(network, experience, dict.fromkeys(network.inventory.types, value))["all"]
        for value in (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
    ]
    assert best >= max(others) and len(set(others)) > 3


def test_each_type_may_have_its_own(trained: tuple[Network, Experience]) -> None:
    network, experience = trained
    chosen = choose_thresholds(network, experience.dev, "dev_per_type")
    frequent = {kind for kind, number in chosen.support.items() if number >= module.LEAST_ENTITIES}
    assert 0 < len(frequent) < 3
    assert chosen.source == {kind: "type" if kind in frequent else "all" for kind in chosen.values}
    assert len(set(chosen.values.values())) > 1
    assert dev_f1(network, experience, chosen.values)["all"] > 0.3


def test_dev_is_read_once(trained: tuple[Network, Experience]) -> None:
    network, experience = trained
    passes: list[object] = []
    hooks = [part.register_forward_hook(lambda *_: passes.append(None)) for part in (network.encoder, network.head)]
    choose_thresholds(network, experience.dev, "dev_per_type")
    for hook in hooks:
        hook.remove()
    batches = sum(1 for part in experience.dev for _ in SplitLoader(part, network).batches())
    assert len(passes) == batches, "one pass of the encoder; the head's forward is called directly"


def test_a_type_that_dev_does_not_show_has_no_say(trained: tuple[Network, Experience]) -> None:
    """Gold of types that the step's dev does not annotate is never looked at."""
    network, experience = trained
    (part,) = experience.dev
    shown = choose_thresholds(network, [replace(part, visible=frozenset({"location"}))], "dev_per_type")
    assert shown.support == {"location": shown.support["location"], "person": 0, "product": 0}
    assert shown.source == {"location": "type", "person": "all", "product": "all"}
    assert shown.values["person"] == shown.values["product"]
    both = choose_thresholds(network, experience.dev, "dev_per_type")
    assert both.values["location"] == shown.values["location"]


def test_a_small_dev_leaves_the_prior(trained: tuple[Network, Experience]) -> None:
    network, experience = trained
    (part,) = experience.dev
    for rule in ("dev", "dev_per_type"):
        chosen = choose_thresholds(network, [replace(part, rows=part.rows[:4])], rule)
        assert 0 < sum(chosen.support.values()) < module.LEAST_ENTITIES
        assert set(chosen.source.values()) == {"prior"}
        assert set(chosen.values.values()) == {network.head.prior_threshold}


# ---- reading


def test_of_overlapping_spans_the_farthest_above_its_threshold_stays() -> None:
    head = Spans().build(4)
    sure, unsure = Entity(0, 2, "old"), Entity(1, 3, "new")
    candidates = {sure: 0.6, unsure: 0.3}
    assert head.select(candidates, {"old": 0.25, "new": 0.25}) == {sure: 0.6}
    assert head.select(candidates, {"old": 0.5, "new": 0.05}) == {unsure: 0.3}
    assert head.select(candidates, {"old": 0.7, "new": 0.25}) == {unsure: 0.3}
    assert Spans(decoding="nested").build(4).select(candidates, {"old": 0.5, "new": 0.05}) == candidates


def test_equal_thresholds_read_as_the_heads_own(trained: tuple[Network, Experience]) -> None:
    network, experience = trained
    batch = SplitLoader(experience.test[0], network).batch(range(20))
    with network.eval_mode():
        own = network.predict(batch)
        assert own == network.predict(batch, thresholds=dict.fromkeys(network.inventory.types, 0.5))
        fewer, more = (network.predict(batch, thresholds=dict.fromkeys(network.inventory.types, p)) for p in (0.8, 0.2))
    for few, some, many in zip(fewer, own, more, strict=True):
        assert few.items() <= some.items() <= many.items()
    assert sum(map(len, fewer)) < sum(map(len, own)) < sum(map(len, more))


# ---- through runs, predictors, exports and evaluations


@pytest.mark.parametrize("rule", ["dev", "dev_per_type", "prior", "0.2"])
def test_a_finished_run_is_only_evaluated(store: Path, rule: str, tmp_path: Path) -> None:
    plain, weights = again(store), runs.weights(store)
    ledger, raw = again(store, f"eval.threshold={rule}"), plain.records()
    assert Model(ledger.run, str(store)).identity != Model(plain.run, str(store)).identity == raw[-1].fingerprint
    assert runs.weights(store) == weights
    record = ledger.records()[-1]
    assert record.thresholds is not None and record.thresholds.values.keys() == set(record.seen)
    assert record.test != raw[-1].test and raw[-1].thresholds is None
    stored = json.loads((store / f"evaluations/{record.fingerprint}/{record.evaluation}.json").read_bytes())
    assert stored["record"]["thresholds"]["values"] == dict(record.thresholds.values)
    assert stored["settings"]["threshold"]["rule"] == record.thresholds.rule
    prior = f"prior {SpanHead.prior_threshold:g}"
    name = {"dev_per_type": "dev per type", "prior": prior}.get(rule, rule)
    assert f"calibration none; threshold {name};" in provenance([scores(ledger)])

    evaluation = evaluate(ledger.run, test=True, store=str(store), resamples=0)
    printed = {kind: row.predicted for kind, row in evaluation.report.scores.types.items()}
    assert printed == {kind: tp + fp for kind, (tp, fp, _) in record.test.items()}
    assert f"threshold {name}" in evaluation.provenance
    assert main(["export", ledger.run, str(tmp_path / "folder"), "--store", str(store)]) == 0
    exported, ours = Predictor.load(tmp_path / "folder"), Predictor.of(ledger.run, str(store))
    assert exported.thresholds == ours.thresholds == record.thresholds
    sentences = [["Anna", "Berg", "flew", "to", "Oslo", "."], ["The", "Novik", "app", "works", "in", "Bonn"]]
    assert exported.words(sentences) == ours.words(sentences)
    card = (tmp_path / "folder" / "README.md").read_text(encoding="utf-8")
    assert "least confidence" in card and f"{record.thresholds.values['person']:.3g}" in card


def test_evaluate_chooses_as_a_run_does(store: Path) -> None:
    asked = evaluate(again(store).run, test=True, store=str(store), resamples=0, threshold="dev")
    record = again(store, "eval.threshold=dev").records()[-1]
    printed = {kind: row.predicted for kind, row in asked.report.scores.types.items()}
    assert printed == {kind: tp + fp for kind, (tp, fp, _) in record.test.items()}
    assert "threshold dev" in asked.provenance and any("chosen on dev" in note for note in asked.notes)
    with pytest.raises(InputError, match=r"threshold 1\.5: a probability"):
        evaluate(again(store).run, test=True, store=str(store), threshold=1.5)


def test_confidences_of_tags_have_thresholds_too(tmp_path: Path) -> None:
    settings = ("scenario.protocol.first=3", "optim.first.epochs=8", "method={name: finetuning}")
    raw, fixed, chosen, prior = (
        run(runs.small(tmp_path, *settings, *more), runs.silent).records()[0]
        for more in ((), ("eval.threshold=0.8",), ("eval.threshold=dev",), ("eval.threshold=prior",))
    )
    assert prior == raw, "the prior of a tag head leaves out no entity"
    for kind, (tp, fp, _) in raw.test.items():
        assert fixed.test[kind][0] <= tp and fixed.test[kind][1] <= fp
    assert fixed.test != raw.test
    assert micro(chosen.dev) >= max(micro(raw.dev), micro(fixed.dev))
    assert isinstance(chosen.thresholds, ThresholdRecord)


def test_names_of_evaluations_tell_thresholds_apart() -> None:
    head = RunConfig.load(["method={name: finetuning}", "model.head.name=spans"]).model.head
    asked: list[EvalConfig] = [EvalConfig(threshold=t) for t in (0.2, 0.3, "dev", "dev_per_type", "prior")]
    settings = [json.dumps(module.threshold_settings(config, head)) for config in asked]
    assert len(set(settings)) == len(asked)
    for same in (None, 0.5):
        assert module.threshold_settings(EvalConfig(threshold=same), head) is None
