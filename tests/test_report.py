"""What ledgers say: figures worked out by hand, seeds grouped, bounds found, and tables a person can read."""

import io
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import ttest_rel

from raycner.analysis.formatting import DASH, duration, figure, listed, short
from raycner.analysis.scores import Calibrated, CalibratedMeans, Pseudo, corpus_name
from raycner.analysis.statistics import Spread
from raycner.analysis.summary import SCHEMA, summary
from raycner.analysis.table import Cell, by_rows, score_cell
from raycner.reporting import markdown
from raycner.reporting.html.page import Section, contents, html
from raycner.reporting.markdown import as_markdown
from raycner.reporting.report import render
from raycner.reporting.terminal.renderer import render as render_table
from raycner.reporting.terminal.renderer import split
from raycner.storage.ledger import CalibrationRecord, CorpusNote, Page, PlannedStep, PseudoRecord, RunLedger, StepRecord
from raycner.storage.store import ObjectStore

FOUR = ("LOC", "MISC", "ORG", "PER")
ELEVEN = ("CARDINAL", "DATE", "EVENT", "FAC", "GPE", "LANGUAGE", "LAW", "LOC", "MONEY", "NORP", "ORG")
OLD = "numerics not recorded"
DLD = {"name": "dld", "weight": 2.0, "base": {"name": "extend_ner", "kd_weight": 1.0}}


def percent(score: float) -> tuple[int, int, int]:
    """Counts whose F1 is this many percent, to one decimal."""
    right = round(10 * score)
    return right, 0, 2000 - 2 * right


def run(scores: list[list[float | None]], plan: list[list[str]], **fields: Any) -> RunLedger:
    """The ledger of a run whose step k scored `scores[k]`, in the order types are learned; None occurs nowhere."""
    label, seed, protocol = (
        fields.get("label", "dld(extend_ner)"),
        fields.get("seed", 0),
        fields.get("protocol", "fg_pg"),
    )
    config = {
        "scenario": {"corpus": "conll2003", "source": None, "protocol": protocol, "first": 1, "per_step": 1}
        | fields.get("scenario", {}),
        "model": {"encoder": {"name": "pretrained"}, "head": fields.get("head", {"name": "tags"}), "growth": {}},
        "method": fields.get("method", DLD),
        "optim": {"epochs": 10},
        "compute": fields.get("compute", {"workers": 2}),
        "store": "store",
        "seed": seed,
    }
    name = fields.get("run", f"{label}-{protocol}-{json.dumps(config['method'])}-{seed}")
    first = f"first-{seed}" if fields.get("shares", True) else f"{name}-0"
    prints = [first, *(f"{name}-{index}" for index in range(1, len(plan)))]
    records = []
    for index, row in enumerate(scores):
        seen = tuple(name for names in plan[: index + 1] for name in names)
        counts = {t: (0, 0, 0) if s is None else percent(s) for t, s in zip(seen, row, strict=True)}
        record = StepRecord(
            index=index,
            fingerprint=prints[index],
            new=tuple(plan[index]),
            seen=seen,
            sentences=3510,
            dev=dict.fromkeys(seen, (1, 1, 1)),
            test=counts,
            epochs=(),
            best_epoch=2,
            seconds=61.0,
            workers=2,
        )
        records.append(record)
    corpus = CorpusNote(
        fingerprint=fields.get("corpus", "9f3b2c"),
        types=FOUR,
        notes=("dev: carved from train, 10 % of the sentences",),
        source="data/conll",
    )
    planned = [PlannedStep(index=i, fingerprint=prints[i], new=tuple(new)) for i, new in enumerate(plan)]
    page = Page(run=name, label=label, config=config, corpora=(corpus,), planned=tuple(planned), records=tuple(records))
    return RunLedger(ObjectStore("never-written-to"), page)


PLAN = [[name] for name in FOUR]
SCORES = [[80.0], [70.0, 60.0], [72.0, 40.0, 50.0], [60.0, 45.0, 30.0, 85.0]]


def shifted(by: float) -> list[list[float | None]]:
    return [[score + by for score in row] for row in SCORES]


def shown(*ledgers: RunLedger, width: int = 100, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    render(ledgers, console, **options)
    return console.file.getvalue()  # type: ignore[attr-defined]


def line(text: str, start: str) -> list[str]:
    """The words of the one line that starts so, its dashes as hyphens."""
    rows = [one.replace(DASH, "-").split() for one in text.splitlines() if one.strip().startswith(start)]
    assert len(rows) == 1, (start, rows)
    return rows[0]


def test_scores_of_one_run_by_hand():
    report = summary([run(SCORES, PLAN)]).runs[0]
    last = report.steps[-1]
    assert last.f1 == {"LOC": 60.0, "MISC": 45.0, "ORG": 30.0, "PER": 85.0}
    assert last.micro == last.macro == last.tasks == pytest.approx(55.0)
    assert (last.old, last.new) == (pytest.approx(45.0), pytest.approx(85.0))
    assert report.steps[0].old is None
    average = report.average
    assert average.macro == average.micro == pytest.approx((80 + 65 + 54 + 55) / 4)
    assert average.old == pytest.approx((70 + 56 + 45) / 3)
    assert average.new == pytest.approx((60 + 50 + 85) / 3)
    assert report.forgetting == pytest.approx({"LOC": 20.0, "MISC": 15.0, "ORG": 20.0})
    assert report.mean_forgetting == pytest.approx(55 / 3)
    assert report.backward_interference == pytest.approx(-55 / 4)
    assert report.backward_transfer == pytest.approx(-(20 + 15 + 20) / 3)
    assert (report.seconds, report.workers, report.finished) == (244.0, (2,), True)


def test_micro_and_macro_differ_when_types_weigh_differently():
    ledger = run([[50.0, 50.0]], [["LOC", "PER"]])
    ledger.records()[0].test["LOC"] = (3000, 0, 0)  # type: ignore[index]
    step = summary([ledger]).runs[0].steps[0]
    assert step.macro == pytest.approx(75.0)
    assert step.micro == step.tasks == pytest.approx(100 * 7000 / (7000 + 1000))


def counted(**counts: tuple[int, int, int]) -> RunLedger:
    """A run of one step with these test counts."""
    raw = run([[50.0] * len(counts)], [list(counts)])
    (record,) = raw.records()
    return RunLedger(ObjectStore("never-written-to"), replace(raw._page, records=(replace(record, test=counts),)))


def test_precision_recall_and_support_of_every_type_and_over_types():
    ledger = counted(LOC=(6, 2, 4), PER=(1, 3, 0), ORG=(0, 0, 5), MISC=(0, 0, 0))
    (step,) = summary([ledger]).runs[0].steps
    assert step.precision == {"LOC": 75.0, "PER": 25.0, "ORG": 0.0, "MISC": None}
    assert step.recall == {"LOC": 60.0, "PER": 100.0, "ORG": 0.0, "MISC": None}
    assert step.support == {"LOC": 10, "PER": 1, "ORG": 5, "MISC": 0}
    assert (step.micro_precision, step.micro_recall) == (pytest.approx(700 / 12), pytest.approx(700 / 16))
    assert (step.macro_precision, step.macro_recall) == (pytest.approx(100 / 3), pytest.approx(160 / 3))
    text = shown(ledger)
    text = text[text.index("By type") :]
    assert line(text, "LOC ") == ["LOC", "1", "75.0", "60.0", "66.7", "10"]
    assert line(text, "MISC ") == ["MISC", "1", "-", "-", "-", "0"]
    assert line(text, "micro ") == ["micro", "58.3", "43.8", "50.0", "16"]
    assert line(text, "macro ") == ["macro", "33.3", "53.3", "35.6", "16"]


def test_a_comparison_has_precision_and_recall_after_the_last_step():
    ledgers = [run(shifted(by), PLAN, seed=seed) for seed, by in enumerate((0.0, 10.0))]
    other = run(SCORES, PLAN, label="other")
    row = next(row for row in summary([*ledgers, other]).comparisons[0].rows if row.title == "dld(extend_ner)")
    f1, precision, recall = row.final_micro, row.final_micro_precision, row.final_micro_recall
    assert precision.mean == 100, "the counts of this module have no false positive"
    assert [run.steps[-1].micro_recall for run in summary(ledgers).runs] == pytest.approx(
        [100 * 55 / 145, 100 * 65 / 135]
    )
    assert (f1.n, recall.n) == (2, 2)
    for text in (shown(*ledgers, other, width=220), as_markdown(summary([*ledgers, other]))):
        assert f"{recall.mean:.1f}±{recall.std:.1f}" in text and "P: precision, R: recall" in text


def test_details_add_precision_and_recall_after_every_step():
    text = shown(run(SCORES, PLAN), details=True)
    assert [f"By type after step {step}" in text for step in range(1, 6)] == [True] * 4 + [False]
    assert shown(run(SCORES, PLAN)).count("By type") == 1


def test_every_table_states_how_its_scores_were_obtained():
    raw = run(SCORES, PLAN, head={"name": "linear", "decoding": "constrained"})
    records = [replace(record, dtype="bf16", version="0.2.0", workers=n + 1) for n, record in enumerate(raw.records())]
    ledger = RunLedger(ObjectStore("never-written-to"), replace(raw._page, records=tuple(records)))
    other = run(SCORES, PLAN, label="other", seed=1)
    order = f"order {', '.join(FOUR)}"
    stated = (
        f"Decoder constrained; calibration none; seed 0; {order}; 1, 2, 3 and 4 workers; bf16; {OLD}; raycner 0.2.0."
    )
    text = " ".join(shown(ledger).split())
    assert stated in text
    of_last = f"Decoder constrained; calibration none; seed 0; {order}; 4 workers; bf16; {OLD}; raycner 0.2.0."
    assert of_last in text[text.index("By type") :], "a table of one step states that step's"
    both = f"Decoder constrained; calibration none; seeds 0 and 1; {order}; 1, 2, 3 and 4 workers; bf16; {OLD}; raycner"
    report = summary([ledger, other])
    for text in (shown(ledger, other), as_markdown(report), html(contents(report))):
        assert both in " ".join(text.split())
    assert f"Calibration none; seed 1; {order}; 2 workers; {OLD}." in " ".join(shown(other).split()), (
        "what is not recorded is left out"
    )


@pytest.mark.parametrize(
    ("devices", "stated"),
    [(["cpu"] * 4, ""), (["H100"] * 4, "H100; "), (["cpu", "cpu", "H100", "H100"], "H100 and cpu; ")],
)
def test_a_table_names_the_gpus_that_trained_its_runs(devices: list[str], stated: str) -> None:
    raw = run(SCORES, PLAN)
    records = [replace(record, device=device) for record, device in zip(raw.records(), devices, strict=True)]
    ledger = RunLedger(ObjectStore("never-written-to"), replace(raw._page, records=tuple(records)))
    assert f"; 2 workers; {stated}{OLD}." in " ".join(shown(ledger).split())


def test_calibrated_scores_are_shown_next_to_the_raw_ones():
    raw = run([[50.0], [40.0, 60.0]], [["LOC"], ["PER"]])
    records = []
    for number, record in enumerate(raw.records()):
        counts = dict.fromkeys(record.seen, (8, 2, 2))
        records.append(replace(record, calibration=CalibrationRecord(delta=number + 0.5, dev=counts, test=counts)))
    ledger = RunLedger(ObjectStore("never-written-to"), replace(raw._page, records=tuple(records)))
    (report,) = summary([ledger]).runs
    assert report.steps[1].calibrated == Calibrated(delta=1.5, micro=pytest.approx(80), macro=pytest.approx(80))
    assert report.average.calibrated == CalibratedMeans(micro=pytest.approx(80), macro=pytest.approx(80))
    assert report.average.macro == pytest.approx(50)
    printed = shown(ledger)
    assert "macro*" in printed and "types lowered by 0.5, 1.5" in " ".join(printed.split())
    other = run([[50.0], [40.0, 60.0]], [["LOC"], ["PER"]], label="other", shares=False)
    best, raw_row = summary([ledger, other]).comparisons[0].rows
    assert best.calibrated_micro == Spread(mean=pytest.approx(80), std=None, n=1)
    assert raw_row.calibrated_macro is None
    for text in (shown(ledger, other, width=140), as_markdown(summary([ledger, other])).replace("\\", "")):
        assert "micro*" in text and "*: predicted with the bias of each step's new types lowered" in text
        assert [one.split()[:5] for one in text.replace("|", " ").splitlines() if " 80.0 " in one] == [
            ["dld(extend_ner)", "1", "50.0", "50.0", "80.0"]
        ]
    assert "micro*" not in shown(other, run(SCORES[:2], [["LOC"], ["PER"]], label="third"))


def test_conlleval_scores_are_shown_where_they_were_counted():
    raw = run([[50.0], [40.0, 60.0]], [["LOC"], ["PER"]])
    records = [replace(record, conlleval=dict.fromkeys(record.seen, (7, 3, 3))) for record in raw.records()]
    counted = RunLedger(ObjectStore("never-written-to"), replace(raw._page, records=tuple(records)))
    (report,) = summary([counted]).runs
    assert [step.conlleval for step in report.steps] == [pytest.approx(70), pytest.approx(70)]
    assert "70.0 micro (adjacent entities of one type count as one)" in " ".join(shown(counted).split())
    assert summary([raw]).runs[0].steps[0].conlleval is None
    assert "conlleval" not in shown(raw)


def with_test_sets() -> RunLedger:
    """A run of two steps, scored on `news` in both and on `tweets`, which annotates PER only, in the second."""
    raw = run([[50.0], [40.0, 60.0]], [["LOC"], ["PER"]])
    first, second = raw.records()
    none = (0, 0, 0)
    records = (
        replace(first, tests={"news": {"LOC": (6, 2, 4)}, "tweets": {"LOC": none}}),
        replace(
            second, tests={"news": {"LOC": (3, 1, 1), "PER": (1, 3, 0)}, "tweets": {"LOC": none, "PER": (1, 1, 3)}}
        ),
    )
    return RunLedger(ObjectStore("never-written-to"), replace(raw._page, records=records))


def test_extra_test_sets_have_scores_and_a_table_of_their_own():
    (report,) = summary([with_test_sets()]).runs
    first, second = report.steps
    assert (set(first.tests), set(second.tests)) == ({"news"}, {"news", "tweets"}), "tweets has no type of step 1"
    news, tweets = second.tests["news"], second.tests["tweets"]
    assert (news.precision, news.recall) == ({"LOC": 75.0, "PER": 25.0}, {"LOC": 75.0, "PER": 100.0})
    assert (news.micro, news.macro) == (pytest.approx(800 / 13), pytest.approx((75 + 40) / 2))
    assert (news.support, news.counts["PER"]) == ({"LOC": 4, "PER": 1}, (1, 3, 0))
    assert (tweets.f1["LOC"], tweets.macro) == (None, pytest.approx(100 / 3)), "a type that is not annotated"
    assert summary([run(SCORES, PLAN)]).runs[0].steps[0].tests == {}
    document = json.loads(json.dumps(summary([with_test_sets()]).document(), allow_nan=False))
    assert document["runs"][0]["steps"][1]["tests"]["news"]["recall"] == {"LOC": 75.0, "PER": 100.0}
    text = shown(with_test_sets())
    rows = text[text.index("Extra test sets") :].replace(DASH, "-").splitlines()
    assert [row.split() for row in rows if row.split()[-3:-2] in (["micro"], ["macro"])] == [
        ["news", "micro", "66.7", "61.5"],
        ["macro", "66.7", "57.5"],
        ["tweets", "micro", "-", "33.3"],
        ["macro", "-", "33.3"],
    ]
    assert "Extra test sets" not in shown(run(SCORES, PLAN))


def test_pseudo_labels_are_counted():
    raw = run([[50.0], [40.0, 60.0], [30.0, 40.0, 50.0]], [["LOC"], ["PER"], ["ORG"]])
    first, second, third = raw.records()
    record = PseudoRecord(proposed=1234, kept=800, threshold=0.8125, right=600)
    unknown, none = replace(record, right=None), PseudoRecord(proposed=0, kept=0, threshold=0.0, right=0)
    records = (first, replace(second, pseudo={"LOC": record}), replace(third, pseudo={"LOC": unknown, "PER": none}))
    ledger = RunLedger(ObjectStore("never-written-to"), replace(raw._page, records=records))
    (report,) = summary([ledger]).runs
    assert [step.pseudo for step in report.steps] == [
        None,
        {"LOC": Pseudo(proposed=1234, kept=800, threshold=0.8125, precision=75.0)},
        {
            "LOC": Pseudo(proposed=1234, kept=800, threshold=0.8125, precision=None),
            "PER": Pseudo(proposed=0, kept=0, threshold=0.0, precision=None),
        },
    ]
    text = shown(ledger)
    section = text[text.index("Pseudo-entities") : text.index("proposed: predicted")]
    assert [line.split() for line in section.splitlines() if "0." in line] == [
        ["2", "LOC", "1,234", "800", "0.812", "75.0"],
        ["3", "LOC", "1,234", "800", "0.812", DASH],
        ["3", "PER", "0", "0", "0.000", DASH],
    ]
    assert "Pseudo-entities" not in shown(raw)


def test_the_document_is_json_and_keeps_its_keys():
    document = json.loads(
        json.dumps(summary([run(SCORES, PLAN), run(SCORES[:2], PLAN, seed=1)]).document(), allow_nan=False)
    )
    assert document["schema"] == SCHEMA == 2
    assert set(document) == {"schema", "runs", "comparisons"}
    assert set(document["runs"][0]) == {
        *("run", "label", "seed", "joint", "config", "corpora", "finished", "plan", "steps", "average", "forgetting"),
        *("mean_forgetting", "backward_transfer", "backward_interference", "seconds", "workers"),
        *("decoder", "calibration", "threshold", "order", "numerics", "dtypes", "devices", "versions"),
    }
    overall = {
        *("micro", "macro", "tasks", "old", "new", "calibrated"),
        *("micro_precision", "micro_recall", "macro_precision", "macro_recall"),
    }
    assert set(document["runs"][0]["average"]) == overall
    assert set(document["runs"][0]["steps"][0]) == {
        *overall,
        *("index", "fingerprint", "learns", "counts", "f1", "precision", "recall", "support", "best_epoch"),
        *("by_task", "conlleval", "tests", "thresholds", "pseudo", "epochs", "sentences", "seconds", "workers"),
        *("dtype", "device", "version", "notes", "dev_support"),
    }
    assert set(document["comparisons"][0]) == {"plan", "scenario", "rows", "shared"}
    assert set(document["comparisons"][0]["rows"][0]) == {
        *(
            "label",
            "system",
            "title",
            "settings",
            "read_out",
            "bound",
            "control_of",
            "isolates",
            "joint",
            "runs",
            "seeds",
            "finished",
            "done",
            "average_micro",
            "average_macro",
        ),
        *("final_micro", "final_macro", "forgetting", "gap_average", "gap_final", "significance", "curve"),
        *("average_tasks", "final_tasks", "gap_tasks", "calibrated_micro", "calibrated_macro"),
        *("final_micro_precision", "final_micro_recall", "final_macro_precision", "final_macro_recall"),
        *("backward_transfer", "backward_interference"),
    }


def test_runs_that_differ_by_seed_are_one_row():
    ledgers = [run(shifted(by), PLAN, seed=seed) for seed, by in enumerate((0.0, 1.0, 5.0))]
    elsewhere = run(shifted(5.0), PLAN, seed=3, compute={"workers": 8})
    (row,) = summary([*ledgers, elsewhere]).comparisons[0].rows
    assert row.seeds == (0, 1, 2, 3)
    assert row.average_macro.n == 4
    assert row.average_macro.mean == pytest.approx(63.5 + 11 / 4)
    assert row.average_macro.std == pytest.approx(math.sqrt(sum((by - 2.75) ** 2 for by in (0, 1, 5, 5)) / 3))
    assert [point.micro.mean for point in row.curve] == pytest.approx([82.75, 67.75, 56.75, 57.75])


def test_a_ledger_without_a_later_setting_is_in_the_row_of_those_with_its_default():
    earlier = run(SCORES, PLAN, method=DLD, seed=0)
    later = DLD | {"base": {"name": "extend_ner", "kd_weight": 1.0, "old_row_gradient": 1.0}}
    scenario = {"memory": {"size": 0, "per": "type"}, "train_share": 1.0}
    (row,) = summary([earlier, run(SCORES, PLAN, method=later, scenario=scenario, seed=1)]).comparisons[0].rows
    assert (row.label, row.seeds) == ("dld(extend_ner)", (0, 1))
    with_memory = run(SCORES, PLAN, scenario={"memory": {"size": 20, "per": "type"}})
    labels = {row.label for row in summary([earlier, with_memory]).comparisons[0].rows}
    assert labels == {"dld(extend_ner)", "dld(extend_ner) scenario.memory.size=20"}


def test_of_two_runs_with_one_seed_the_longer_counts():
    short_one, long_one = run(SCORES[:1], PLAN, run="a"), run(SCORES, PLAN, run="b")
    for pair in ([short_one, long_one], [long_one, short_one]):
        (row,) = summary(pair).comparisons[0].rows
        assert (row.runs, row.finished) == (("b",), (0,))


def test_rows_are_sorted_by_average_macro_and_equal_names_show_their_difference():
    light = DLD | {"weight": 0.5}
    rows = summary([run(SCORES, PLAN), run(shifted(2.0), PLAN, method=light), run(shifted(1.0), PLAN, label="cfner")])
    labels = [row.label for row in rows.comparisons[0].rows]
    assert labels == ["dld(extend_ner) method.weight=0.5", "cfner", "dld(extend_ner) method.weight=2.0"]


def test_a_row_is_tested_against_the_best_over_shared_seeds():
    best = [run(shifted(by), PLAN, seed=seed) for seed, by in ((0, 5.0), (1, 6.0), (2, 9.0), (3, 9.0))]
    other = [run(shifted(by), PLAN, seed=seed, label="cfner") for seed, by in ((0, 0.0), (1, 4.0), (2, 3.0), (7, 1.0))]
    lone = run(shifted(-9.0), PLAN, label="finetuning")
    first, second, third = summary([*other, *best, lone]).comparisons[0].rows
    assert first.significance is None
    assert third.significance is None
    assert (second.significance.against, second.significance.seeds) == ("dld(extend_ner)", (0, 1, 2))
    assert second.significance.p == second.significance.effect.p == 2 / 2**3, "no sign pattern is as far from 0"
    interval = ttest_rel([63.5, 67.5, 66.5], [68.5, 69.5, 72.5]).confidence_interval(0.95)
    assert (second.significance.effect.low, second.significance.effect.high) == pytest.approx(interval)
    text = shown(*other, *best, lone, width=220)
    assert line(text[: text.index("micro-F1")], "cfner ")[-3:-1] == ["-4.3", "0.250"]


def test_equal_differences_are_as_sure_as_so_few_pairs_can_be():
    worse = [run(shifted(seed), PLAN, seed=seed, label="worse") for seed in (0, 1)]
    better = [run(shifted(seed + 3), PLAN, seed=seed, label="better") for seed in (0, 1)]
    assert summary([*worse, *better]).comparisons[0].rows[1].significance.p == 0.5


def test_the_gap_is_measured_to_the_joint_run_of_the_scenario():
    joint = run(shifted(10.0), PLAN, label="finetuning", protocol="joint")
    elsewhere = run(shifted(15.0), PLAN, label="finetuning", protocol="joint", corpus="another")
    first, second = summary([run(SCORES, PLAN), joint, elsewhere]).comparisons
    assert [row.label for row in first.rows] == ["finetuning, joint", "dld(extend_ner)"]
    assert first.rows[0].gap_average is None
    assert first.rows[1].gap_average == pytest.approx(10.0)
    assert first.rows[1].gap_final == pytest.approx(10.0)
    assert len(second.rows) == 1
    text = shown(run(SCORES, PLAN), joint)
    assert "gap to" in text
    assert "gap to" not in shown(run(SCORES, PLAN), run(SCORES, PLAN, label="cfner"))


def test_an_unfinished_run_shows_its_progress_and_is_not_averaged():
    done, begun = run(SCORES, PLAN), run(shifted(4.0)[:2], PLAN, label="cfner")
    first, second = summary([begun, done]).comparisons[0].rows
    assert (first.label, second.label) == ("dld(extend_ner)", "cfner")
    assert second.average_macro is second.final_micro is second.forgetting is None
    assert (second.finished, second.done, len(second.curve)) == ((), 2, 2)
    text = shown(begun, done)
    assert "cfner, seed 0: unfinished, 2 of 4 steps done, to come: ORG, PER; in no average." in text
    alone = shown(begun)
    assert "unfinished: 2 of 4 steps done, to come: ORG, PER" in alone
    assert "after step 2" in alone
    assert "0 of 4 steps done" in shown(run([], PLAN))


def test_a_shared_step_is_reported_as_trained_once():
    text = shown(run(SCORES, PLAN), run(SCORES, PLAN, label="cfner"))
    assert "Step 1 shared by dld(extend_ner) and cfner: trained once." in text
    seeds = [run(SCORES, PLAN, label=label, seed=seed) for label in ("a", "b") for seed in (0, 1)]
    assert "Step 1 shared by a and b (seed 0 and seed 1): trained once." in shown(*seeds)
    assert "shared" not in shown(run(SCORES, PLAN), run(SCORES, PLAN, label="cfner", shares=False))


def test_the_matrix_of_a_run_as_text():
    text = shown(run(SCORES, PLAN))
    assert line(text, "step ") == ["step", "learns", "LOC", "MISC", "ORG", "PER", "micro", "macro", "old", "new"]
    assert line(text, "1 ") == ["1", "LOC", "80.0", "-", "-", "-", "80.0", "80.0", "-", "80.0"]
    assert line(text, "4 ") == ["4", "PER", "60.0", "45.0", "30.0", "85.0", "55.0", "55.0", "45.0", "85.0"]
    assert line(text, "average ") == ["average", "63.5", "63.5", "57.0", "65.0"]
    assert line(text, "forgetting  20.0") == ["forgetting", "20.0", "15.0", "20.0", "-"]
    assert line(text, "final ")[1:3] == ["55.0", "micro,"]
    assert "4 min 4 s, 2 workers" in text
    assert "dev: carved from train, 10 % of the sentences" in text


def test_many_types_turn_the_matrix_on_its_side():
    plan = [list(ELEVEN[:3]), *([a, b] for a, b in zip(ELEVEN[3::2], ELEVEN[4::2], strict=True))]
    sizes = [3, 5, 7, 9, 11]
    text = shown(run([[50.0 + step] * size for step, size in enumerate(sizes)], plan))
    assert line(text, "after step ") == ["after", "step", "1", "2", "3", "4", "5", "average", "forgetting"]
    text = text[: text.index("By type")]
    assert line(text, "GPE ") == ["GPE", "-", "51.0", "52.0", "53.0", "54.0", "-1.0"]
    assert line(text, "ORG ") == ["ORG", "-", "-", "-", "-", "54.0", "-"]
    assert line(text, "tasks ") == ["tasks", "50.0", "51.0", "52.0", "53.0", "54.0", "52.0"]


def test_many_steps_continue_in_tables_below():
    plan = [[f"type-{number}"] for number in range(18)]
    text = shown(run([[60.0] * (step + 1) for step in range(18)], plan))
    headers = [one.split() for one in text.splitlines() if one.strip().startswith("after step ")]
    assert [word for header in headers for word in header if word.isdigit()] == [str(n + 1) for n in range(18)]


def test_a_type_that_occurs_nowhere_is_a_dash_and_not_a_zero():
    step = summary([run([[80.0], [70.0, None]], PLAN[:2])]).runs[0].steps[1]
    assert step.f1 == {"LOC": 70.0, "MISC": None}
    assert step.macro == pytest.approx(70.0)


def test_details_add_the_matrices_to_the_comparison():
    ledgers = [run(SCORES, PLAN), run(SCORES, PLAN, label="cfner")]
    assert "learns" not in shown(*ledgers)
    assert shown(*ledgers, details=True).count("learns") == 2


def test_runs_of_different_scenarios_are_not_compared():
    text = shown(run(SCORES, PLAN), run(SCORES[:2], [["PER"], ["LOC"]], label="cfner"))
    assert text.count("learns") == 2
    assert "average\n" not in text


def test_names_are_not_read_as_markup():
    text = shown(run([[80.0]], [["[bold]"]], label="odd[red]"), width=100)
    assert "[bold]" in text
    assert "odd[red]" in text


def test_names_are_not_read_as_markdown():
    odd = run([[80.0]], [["a|b"]], label="*odd* `_x_` <b> [link](there)")
    text = as_markdown(summary([odd, run([[80.0]], [["a|b"]], label="other")]))
    assert "\\*odd\\* \\`\\_x\\_\\` \\<b> \\[link](there)" in text
    assert "extend_ner" in as_markdown(summary([run([[80.0]], [["x"]], label="extend_ner")])), "inside words it is safe"


def test_one_table_in_three_media():
    rows = [["a [red]", score_cell(81.25)], [Cell("b", details=("x=1",)), Cell("")]]
    table = by_rows("Title", ["name", "after\nstep"], rows, notes=["A note."], rules=[1])
    console = Console(file=io.StringIO(), width=60, color_system=None)
    console.print(render_table(table, 60))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert [one.split() for one in text.splitlines() if "81" in one or "x=1" in one] == [
        ["a", "[red]", "81.2"],
        ["x=1"],
    ]
    lines = markdown.render(table).splitlines()
    assert lines[0] == "**Title.**" and lines[2:6] == [
        *("| name | after step |", "| --- | ---: |", "| a \\[red] | 81.2 |", "| b x=1 |  |"),
    ]
    page = html([Section(title="A", anchor="a", tables=[table])])
    assert "<td>a [red]</td>" in page and "<small>x=1</small>" in page and "<figcaption>A note.</figcaption>" in page


def test_a_table_that_is_split_repeats_its_names_and_leaves_out_rows_with_nothing():
    headers = ["name", *(f"column-{n}" for n in range(6))]
    rows = [["full", *["1.0"] * 6], ["late", *[""] * 3, *["2.0"] * 3]]
    console = Console(file=io.StringIO(), width=50, color_system=None)
    console.print(render_table(by_rows("", headers, rows), 50))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert (text.count("full"), text.count("late")) == (2, 1)


def test_no_ledger_shows_nothing():
    assert shown() == ""
    assert summary([]).document() == {"schema": 2, "runs": [], "comparisons": []}


# ---- tasks, orders, progressions


def in_order(order: str, scores: list[list[float | None]], plan: list[list[str]], **fields: Any) -> RunLedger:
    scenario = {"test": "all", "permutation": order}
    return run(
        scores, plan, protocol=fields.pop("protocol", "split"), scenario=scenario, run=f"{order}-{fields}", **fields
    )


def test_tasks_by_hand():
    tasks = [["x-a", "x-b"], ["y-a"]]
    ledger = in_order("P1", [[60.0, 80.0], [50.0, 60.0, 90.0]], tasks)
    (report,) = summary([ledger]).runs
    first, last = report.steps
    assert [*first.by_task, *last.by_task] == pytest.approx([70, 55, 90])
    assert (first.tasks, last.tasks) == (pytest.approx(70), pytest.approx((55 + 90) / 2))
    assert report.backward_interference == pytest.approx((55 - 70) / 2)
    assert report.backward_transfer == pytest.approx(55 - 70)
    text = shown(ledger)
    assert line(text, "x-a, x-b") == ["x-a,", "x-b", "70.0", "55.0", "-15.0", "-15.0"]
    assert "order P1" in text
    other = in_order("P1", [[50.0, 50.0], [50.0, 50.0, 50.0]], tasks, label="other")
    for text in (shown(ledger, other, width=140), as_markdown(summary([ledger, other]))):
        assert "tasks: mean over tasks of micro" in text
    plain = shown(in_order("P1", SCORES, PLAN), in_order("P1", SCORES, PLAN, label="other"), width=140)
    assert "tasks: mean" not in plain, "over tasks of one type it is macro"


def test_tasks_are_compared_in_their_own_measures():
    split = in_order("P1", SCORES, PLAN)
    bound = in_order("P1", shifted(10.0), PLAN, label="finetuning", protocol="joint_split")
    (comparison,) = summary([split, bound]).comparisons
    joint, row = comparison.rows
    assert (joint.title, joint.joint) == ("finetuning, joint", True)
    assert row.final_tasks.mean == pytest.approx(55.0)
    assert row.backward_interference.mean == pytest.approx(-55 / 4)
    assert row.gap_tasks == pytest.approx(10.0)
    for text in (shown(split, bound, width=140), as_markdown(summary([split, bound]))):
        assert "4 steps, Split-All in order P1" in text and "BI: micro of a task" in text
    assert "BI" not in shown(run(SCORES, PLAN), run(SCORES, PLAN, label="cfner"), width=140)
    apart = [in_order("P1", SCORES, PLAN, protocol="filter"), run(SCORES, PLAN, label="cfner"), split]
    assert len(summary(apart).comparisons) == 3, "they are trained or tested otherwise"


def test_orders_are_averaged():
    turned, lower = PLAN[::-1], [[score - 10 for score in row] for row in SCORES]
    ledgers = [
        *(in_order("P1", shifted(by), PLAN, seed=seed) for seed, by in enumerate((0.0, 2.0))),
        in_order("P2", lower, turned),
        in_order("P1", shifted(5.0), PLAN, label="cfner"),
        in_order("P2", SCORES[:2], turned, label="cfner"),
        *(
            in_order(order, shifted(15.0), plan, label="finetuning", protocol="joint_split")
            for order, plan in (("P1", PLAN), ("P2", turned))
        ),
    ]
    report = summary(ledgers)
    assert len(report.comparisons) == 2
    (orders,) = report.orders
    assert (orders.setup, orders.orders, orders.corpus) == ("Split-All", ("P1", "P2"), "conll2003")
    rows = {row.label: row for row in orders.rows}
    assert [*rows] == ["finetuning, joint", "cfner", "dld(extend_ner)"]
    ours = rows["dld(extend_ner)"]
    assert ours.final == Spread(mean=pytest.approx((56 + 45) / 2), std=pytest.approx(11 / math.sqrt(2)), n=2)
    assert ours.gap.mean == pytest.approx(((70 - 56) + (70 - 45)) / 2)
    assert [point.mean for point in ours.curve] == pytest.approx([75.5, 60.5, 49.5, 50.5])
    assert ours.backward_interference.mean == pytest.approx(-55 / 4)
    assert rows["cfner"].orders == ("P1",), "an unfinished run does not count"
    for text in (shown(*ledgers, width=140), as_markdown(report)):
        assert "4 tasks, Split-All, over the orders P1, P2" in text
    assert not summary(ledgers[:2]).orders
    json.dumps(report.document(), allow_nan=False)


def test_draws_of_few_shot_steps_are_averaged():
    def drawn(draw: int, by: float, **fields: Any) -> RunLedger:
        scenario = {"protocol": {"name": "few_shot", "shots": fields.pop("shots", 5), "draw": draw}}
        name = f"{draw}-{scenario}-{fields}"
        return run(shifted(by), PLAN, protocol="few_shot", scenario=scenario, run=name, **fields)

    ledgers = [drawn(1, 0.0), drawn(2, 4.0), drawn(1, 1.0, shots=20), drawn(1, 2.0, label="cfner")]
    report = summary(ledgers)
    assert len(report.comparisons) == 3
    (orders,) = report.orders
    assert (orders.orders, orders.are_draws, orders.setup) == (("draw 1", "draw 2"), True, "")
    ours = {row.label: row for row in orders.rows}["dld(extend_ner)"]
    assert (ours.final_macro.n, ours.final_macro.std) == (2, pytest.approx(4 / math.sqrt(2)))
    text = shown(*ledgers, width=140)
    assert "4 types in 4 steps, over 2 draws" in text and "draw 1 and draw 2" in text and "over draws" in text


def test_progressions_by_hand():
    plan = [["LOC", "ORG"], ["PER"]]
    protocol = {"target": "PER", "share": 0.8, "split_seed": 0, "order": []}

    def progressed(name: str, by: float, head: str, seed: int) -> RunLedger:
        scores: list[list[float | None]] = [[80.0 + by, 70.0], [75.0, 72.0, 60.0 + by]]
        return run(
            scores,
            plan,
            protocol="progressive",
            scenario=protocol,
            head={"name": head},
            label=name,
            seed=seed,
            run=name + str(seed),
        )

    def scratched(head: str, by: float) -> RunLedger:
        scores: list[list[float | None]] = [[50.0, 40.0, 30.0 + by]]
        return run(
            scores,
            [["LOC", "ORG", "PER"]],
            protocol="scratch",
            scenario=protocol,
            head={"name": head},
            label="finetuning",
        )

    ledgers = [
        progressed("blstm", 0, "linear", 0),
        progressed("blstm", 2, "linear", 1),
        progressed("seq", 0, "seq2seq", 0),
    ]
    ledgers += [scratched("linear", 0), scratched("other", 9)]
    report = summary(ledgers)
    blstm, seq = sorted(report.progressions, key=lambda one: one.system)
    assert (blstm.target, blstm.seeds, [*blstm.types]) == ("PER", (0, 1), ["LOC", "ORG", "PER", "overall"])
    loc, per = blstm.types["LOC"], blstm.types["PER"]
    assert (loc.init.mean, loc.sub.mean, loc.rand.mean) == pytest.approx((81, 75, 50))
    assert per.init is None
    assert (per.sub.mean, per.rand.mean) == pytest.approx((61, 30))
    assert seq.types["PER"].rand is None, "another head's baseline is not its own"
    for text in (
        shown(*ledgers, width=140).replace(DASH, "-"),
        as_markdown(report).replace("|", " ").replace(DASH, "-"),
    ):
        rows = [one.split()[1:] for one in text.splitlines() if one.split()[:2] == ["conll2003", "PER"]]
        assert rows[4] == ["PER", "LOC", "100.0", "100.0", "60.0", "60.0"], "precision, then recall"
        assert rows[6] == ["PER", "PER", "100.0", "100.0", "43.9", "42.9"]
        assert rows[:4] + rows[8:] == [
            ["PER", "LOC", "81.0", "80.0", "75.0", "75.0", "50.0", "-"],
            ["PER", "ORG", "70.0", "70.0", "72.0", "72.0", "40.0", "-"],
            ["PER", "PER", "-", "-", "61.0", "60.0", "30.0", "-"],
            ["PER", "overall", "75.5", "75.0", "69.3", "69.0", "40.0", "-"],
            ["PER", "LOC", "6.0", "5.0"],
            ["PER", "ORG", "-2.0", "-2.0"],
            ["PER", "PER", "61.0", "60.0", "30.0", "-"],
        ]
    json.dumps(report.document(), allow_nan=False)
    for width in (60, 80, 140):
        assert max(map(len, shown(*ledgers, width=width).splitlines())) <= width


def test_corpora_with_equal_layouts_are_distinguished_by_their_folders():
    protocol = {"corpus": "columns", "target": "PER", "share": 0.8, "split_seed": 0, "order": []}
    ledgers = [
        run(
            [[80.0 - less], [75.0 - less, 60.0 - less]],
            [["LOC"], ["PER"]],
            protocol="progressive",
            scenario=protocol | {"source": f"data/{name}/"},
            corpus=name,
            run=name,
        )
        for name, less in (("tweets", 0.0), ("letters", 9.0))
    ]
    means = {one.corpus: one.types["PER"].sub.mean for one in summary(ledgers).progressions}
    assert means == {"tweets": pytest.approx(60.0), "letters": pytest.approx(51.0)}
    text = shown(*ledgers, width=140)
    assert all(f"{name}, progressive: 2 types in 2 steps" in text for name in means)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("", "columns"),
        ("data/gum", "gum"),
        ("s3://bucket/letters/", "letters"),
        ("mine.jsonl", "mine.jsonl"),
        ("data/**/*_gold_conll", "columns"),
        ("..", "columns"),
    ],
)
def test_a_corpus_is_called_what_its_folder_is_called(path: str, name: str):
    assert corpus_name({"corpus": {"name": "columns", "path": path}}) == name


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_no_line_is_wider_than_the_terminal(width):
    seeds = [run(shifted(3.0 * seed), PLAN, seed=seed, label=label) for label in ("a", "b" * 50) for seed in (0, 1)]
    wide = run([[60.0] * (step + 1) for step in range(18)], [[f"type-{n}" * 5] for n in range(18)])
    assert max(map(len, shown(*seeds, wide, details=True, width=width).splitlines())) <= width


@given(st.lists(st.lists(st.floats(0, 100), min_size=4, max_size=4), min_size=1, max_size=4), st.integers(0, 3))
def test_sums_lie_between_their_types_and_averages_between_their_steps(scores, seed):
    rows = [row[: index + 1] for index, row in enumerate(scores)]
    report = summary([run(rows, PLAN, seed=seed)]).runs[0]
    for step in report.steps:
        present = list(step.f1.values())
        assert min(present) - 1e-9 <= step.micro <= max(present) + 1e-9
        assert min(present) - 1e-9 <= step.macro <= max(present) + 1e-9
    macros = [step.macro for step in report.steps]
    assert min(macros) - 1e-9 <= report.average.macro <= max(macros) + 1e-9
    assert report.backward_interference <= 1e-9


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(-5, 120))
def test_chunks_cover_every_column_once_and_fit_when_columns_do(widths, width):
    chunks = split(widths, width)
    assert [place for stretch in chunks for place in stretch] == list(range(len(widths)))
    assert all(len(one) == 1 or sum(widths[place] for place in one) <= width for one in chunks)


@given(st.text(), st.integers(3, 40))
def test_shortened_names_keep_both_ends(name, most):
    cut = short(name, most)
    assert len(cut) <= most
    assert cut == name or (name[0] == cut[0] and name[-1] == cut[-1])


def test_figures_and_words():
    assert [figure(value) for value in (None, 0.0, -0.04, 99.96, 12.349)] == [DASH, "0.0", "0.0", "100.0", "12.3"]
    assert [duration(s) for s in (0.42, 59.2, 61.0, 7260.0)] == ["0.4 s", "59 s", "1 min 1 s", "2 h 1 min"]
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
