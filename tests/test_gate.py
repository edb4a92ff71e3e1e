"""Gates: a step passes only where its sentences show that no old type loses too much."""

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import raycner
from raycner import InputError
from raycner.__main__ import main
from raycner.data.entities import Entity
from raycner.evaluation.bootstrap import loss_intervals
from raycner.evaluation.entity_scores import ScoredSentence
from raycner.evaluation.gate import Allowance, GateReport, TypeVerdict, judge
from raycner.reporting.gate_documents import document, junit

CITY, PERSON = Entity(0, 1, "city"), Entity(2, 3, "person")


def sentences(number: int, missed: int, kind: Entity = CITY) -> list[ScoredSentence]:
    """So many sentences with one mention, of which the last ones are missed."""
    predictions = [frozenset({kind})] * (number - missed) + [frozenset()] * missed
    return [ScoredSentence(("a", "b", "c"), frozenset({kind}), predicted) for predicted in predictions]


def verdict(before: list[ScoredSentence], after: list[ScoredSentence], allowance: Allowance) -> TypeVerdict:
    (only,) = judge(before, after, ["city"], allowance, resamples=400)
    return only


def test_many_mentions_show_that_nothing_is_lost() -> None:
    one = verdict(sentences(400, 20), sentences(400, 20), Allowance(1.0))
    assert (one.verdict, one.loss, one.lost, one.mentions) == ("passed", 0.0, 0, 400)
    assert one.interval is not None and one.interval.high == 0.0


def test_few_mentions_show_nothing() -> None:
    one = verdict(sentences(40, 2), sentences(40, 2), Allowance(1.0))
    assert one.verdict == "unseen" and one.visible == pytest.approx(7.2, abs=0.1)
    assert verdict(sentences(40, 2), sentences(40, 2), Allowance(8.0)).verdict == "passed"


def test_a_loss_is_lost_however_many_mentions_there_are() -> None:
    one = verdict(sentences(40, 2), sentences(40, 12), Allowance(1.0, unseen=True))
    assert one.verdict == "lost" and one.lost == 10 and one.found_only_after == 0
    assert [example.text for example in one.examples] == ["a", "a", "a"]


def test_a_small_loss_in_a_wide_interval_is_unseen() -> None:
    before = sentences(400, 30)
    after = [*before[15:], *sentences(15, 13)]  # other ones are found, two fewer in all
    one = verdict(before, after, Allowance(2.0))
    assert one.loss < 2.0 and one.interval is not None and one.interval.high > 2.0
    assert one.verdict == "unseen"


def test_a_type_without_mentions_is_unseen() -> None:
    (one,) = judge(sentences(9, 0), sentences(9, 0), ["person"], Allowance(1.0))
    assert (one.verdict, one.mentions, one.interval, one.visible) == ("unseen", 0, None, 100.0)


def test_intervals_are_those_of_drawing_sentences() -> None:
    """Against the bootstrap as it is written in textbooks: sentences drawn one by one."""
    before, after = sentences(60, 6), [*sentences(50, 12), *sentences(10, 1)]
    (interval,) = loss_intervals(before, after, resamples=4000, seed=1).values()
    draw, losses = np.random.default_rng(0), []
    hits = [np.asarray([bool(s.predicted) for s in one]) for one in (before, after)]
    for _ in range(4000):
        rows = draw.integers(0, 60, 60)
        f1 = [200 * one[rows].sum() / (60 + one[rows].sum()) for one in hits]
        losses.append(f1[0] - f1[1])
    assert interval is not None
    assert interval == pytest.approx(np.percentile(losses, [2.5, 97.5]), abs=1.0)


def test_two_types_are_drawn_together() -> None:
    both = [ScoredSentence(("a", "b", "c"), frozenset({CITY, PERSON}), frozenset({CITY}))] * 30
    intervals = loss_intervals(both, both)
    assert intervals == {"city": (0.0, 0.0), "person": (0.0, 0.0)}


def report(*types: TypeVerdict, **allowance: object) -> GateReport:
    allowed = Allowance(**allowance)  # type: ignore[arg-type]
    return GateReport(model="new", against="old", sources=("x",), sentences=9, allowance=allowed, types=types)


def test_an_unseen_type_passes_where_that_is_allowed() -> None:
    (unseen,) = judge(sentences(40, 2), sentences(40, 2), ["city"], Allowance(1.0))
    assert not report(unseen).passes and report(unseen, unseen=True).passes
    failed = ElementTree.fromstring(junit(report(unseen)))
    assert failed.attrib["failures"] == "1" and "with 40 mentions a loss below 7.2" in failed[0][0].attrib["message"]
    assert ElementTree.fromstring(junit(report(unseen, unseen=True))).attrib["failures"] == "0"
    assert document(report(unseen))["types"]["city"]["verdict"] == "unseen"


# ---- the verb, on a run of three steps


@pytest.fixture
def gate(trained: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """The exit status of a gate, and what it prints."""

    def run(*arguments: str) -> tuple[int, str]:
        status = main(["gate", *arguments, "--store", trained])
        printed = capsys.readouterr()
        return status, printed.out if status != 2 else printed.err

    return run


def test_a_step_that_forgets_does_not_pass(gate: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    status, printed = gate("columns:3", "--against", "columns:1", "--junit", str(tmp_path / "gate.xml"))
    assert status == 3 and "does not pass" in printed and "city lost: " in printed
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert [case.attrib["name"] for case in suite] == ["animal", "city"]


def test_a_step_passes_against_itself_where_unseen_is_allowed(gate: Callable[..., tuple[int, str]]) -> None:
    same = ("columns:2", "--against", "columns:2")
    status, printed = gate(*same)
    assert status == 3 and "needs at least 299 mentions" in " ".join(printed.split())
    status, printed = gate(*same, "--allow-unseen", "--json")
    parsed = json.loads(printed)
    assert status == 0 and parsed["passes"] and {one["loss"] for one in parsed["types"].values()} == {0.0}


def test_types_that_were_dropped_are_not_compared(gate: Callable[..., tuple[int, str]]) -> None:
    status, printed = gate(
        "columns:1", "--against", "columns:3", "--without", "food,person", "--allow-unseen", "--json"
    )
    assert status in (0, 3) and list(json.loads(printed)["types"]) == ["animal", "city"]
    assert "has no type 'fod'; did you mean food?" in gate("columns:1", "--against", "columns:3", "--without", "fod")[1]


def test_the_scores_are_those_of_evaluate(trained: str) -> None:
    run = raycner.load_run("columns", store=trained)
    judgement = run.gate(step=3, allow_unseen=True)
    scores = run.evaluate(step=3, progress=False).scores().set_index("type")
    assert [one.type for one in judgement.report.types] == list(run.steps[1].seen)
    for one in judgement.report.types:
        assert one.after == pytest.approx(scores.loc[one.type, "f1"])


def test_bad_input(gate: Callable[..., tuple[int, str]], trained: str) -> None:
    against = ("columns:3", "--against", "columns:1")
    assert "columns:1 has no type 'citty'; did you mean city?" in gate(*against, "--per-type", "citty=1")[1]
    assert "is not a number of points" in gate(*against, "--may-lose", "much")[1]
    assert "is not a number of points" in gate(*against, "--per-type", "city")[1]
    assert "the model has no type" in gate("columns:1", "--against", "columns:3")[1]
    with pytest.raises(InputError, match="no step 0"):
        raycner.load_run("columns", store=trained).gate(step=1)
