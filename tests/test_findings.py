"""What a run shows in words: the sentences name what was learned and lost, the warnings where figures mean little."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from raycner.analysis.findings import comparison_findings, findings
from raycner.analysis.scores import Run, scores
from raycner.analysis.summary import summary
from raycner.reporting.html.page import contents, html
from raycner.reporting.report import render
from test_report import PLAN, SCORES, run

DEV = {"LOC": 100}


def scored(*steps: dict[str, tuple[int, int, int]], **fields: Any) -> Run:
    """A run whose steps have these counts on test, and enough of dev."""
    blank = scores(run([[50.0] * (n + 1) for n in range(len(steps))], PLAN[: len(steps)], **fields))
    changed = []
    for step, counts in zip(blank.steps, steps, strict=True):
        f1 = {name: 200 * tp / (2 * tp + fp + fn) for name, (tp, fp, fn) in counts.items()}
        precision = {name: 100 * tp / (tp + fp) if tp + fp else 0.0 for name, (tp, fp, fn) in counts.items()}
        recall = {name: 100 * tp / (tp + fn) for name, (tp, fp, fn) in counts.items()}
        support = {name: tp + fn for name, (tp, fp, fn) in counts.items()}
        macro = sum(f1.values()) / len(f1)
        by_type = {"f1": f1, "precision": precision, "recall": recall, "support": support}
        changed.append(replace(step, counts=counts, macro=macro, dev_support=DEV, **by_type))
    return replace(blank, steps=tuple(changed), mean_forgetting=0.0 if len(steps) > 1 else None)


def test_the_sentences_name_the_best_the_worst_and_what_was_lost_most() -> None:
    outcome, advice = findings(scores(run(SCORES, PLAN))).sentences
    assert outcome == (
        "At the end dld(extend_ner) recognises 4 types at 55.0 macro-F1, PER best (85.0) and ORG worst (30.0); the old "
        "types lost 18.3 points on average, most of all LOC (20.0)."
    )
    assert "scenario.memory.size=20" in advice and "a larger weight of the distillation" in advice
    _, advice = findings(scores(run(SCORES, PLAN, head={"name": "linear"}))).sentences
    assert advice.endswith("if not, optim={feature_replay: 0.5, feature_replay_words: 10}.")


def test_an_unfinished_run_says_how_far_it_is() -> None:
    outcome, _ = findings(scores(run(SCORES[:2], PLAN))).sentences
    assert outcome.startswith("After 2 of 4 steps dld(extend_ner) recognises 2 types at 65.0 macro-F1")
    assert findings(scores(run([], PLAN))).lines == ()


@pytest.mark.parametrize(
    ("steps", "fields", "advice"),
    [
        ([{"LOC": (0, 10, 100)}], {}, "Try optim.updates=2000"),
        (
            [{"LOC": (90, 90, 0)}],
            {},
            "Try eval.threshold=dev or eval.calibration=read_out, which train nothing: LOC is",
        ),
        ([{"LOC": (50, 50, 50)}], {}, "More is missing because it was never learned (50.0 points) than"),
        ([{"LOC": (90, 10, 10)}], {}, "Nothing stands out"),
    ],
)
def test_the_advice_is_the_one_thing_to_try_next(steps: list[Any], fields: dict[str, Any], advice: str) -> None:
    assert findings(scored(*steps, **fields)).sentences[1].startswith(advice)


def test_who_trained_longer_is_advised_to_train_longer_still() -> None:
    ledger = scored({"LOC": (50, 50, 50)})
    assert "try more sentences or optim.updates=1000;" in findings(ledger).sentences[1]
    longer = replace(ledger, config={**ledger.config, "optim": {"updates": 1000}})
    assert "try more sentences or optim.updates=2000;" in findings(longer).sentences[1]


def test_plain_finetuning_that_forgets_is_a_lower_bound() -> None:
    words = findings(scores(run(SCORES, PLAN, method={"name": "finetuning"}, label="finetuning")))
    assert "method.name=extend_ner" in words.sentences[1]


@pytest.mark.parametrize(
    ("counts", "warning"),
    [
        ({"LOC": (0, 0, 100)}, "step 1 learned nothing of LOC: F1 at most 0.0 right after it"),
        ({"LOC": (5, 1, 2)}, "few mentions in test: LOC (7); each moves the F1 of its type by points"),
        ({"LOC": (90, 90, 0)}, "predicted far too often: LOC (P 50.0, R 100.0)"),
        ({"LOC": (50, 0, 50)}, "predicted far too rarely: LOC (P 100.0, R 50.0)"),
    ],
)
def test_a_warning_says_where_figures_mean_little(counts: dict[str, tuple[int, int, int]], warning: str) -> None:
    assert warning in findings(scored(counts)).warnings
    assert not findings(scored({"LOC": (90, 10, 10)})).warnings


def test_a_small_dev_is_named_by_its_step() -> None:
    good = scored({"LOC": (90, 10, 10)}, {"LOC": (90, 10, 10), "MISC": (90, 10, 10)})
    first, second = good.steps
    small = replace(good, steps=(first, replace(second, dev_support={"LOC": 1})))
    assert findings(small).warnings == (
        "dev has 1 entity in step 2: too few to choose an epoch by; add sentences, or set optim.select=last",
    )


def test_rows_in_words_name_the_lead_and_doubt_one_seed() -> None:
    other = run([[80.0], [60.0, 60.0], [50.0] * 3, [40.0] * 4], PLAN, label="other", method={"name": "other"})
    report = summary([run(SCORES, PLAN), other])
    ahead, doubt = comparison_findings(report.comparisons[0])
    assert ahead.startswith("dld(extend_ner) is ahead at 63.5 average macro-F1, 6.0 more than other;")
    assert ahead.endswith("forgetting: dld(extend_ner) 18.3, other 23.3.")
    assert doubt.startswith("dld(extend_ner) and other have one seed each, which says nothing about chance")
    assert comparison_findings(summary([run(SCORES, PLAN)]).comparisons[0]) == ()


def test_the_words_are_on_the_terminal_and_on_the_page() -> None:
    console = Console(file=io.StringIO(), width=100)
    render([run(SCORES, PLAN)], console)
    printed = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "most of all LOC (20.0). If sentences of finished steps may be kept" in printed
    assert "most of all LOC (20.0)." in html(contents(summary([run(SCORES, PLAN)])))
