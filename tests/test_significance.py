"""Differences between systems: intervals, sign flips and Holm by hand; controls; what was never learned; read-outs."""

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import ttest_1samp

from raycner.analysis.significance import Contrast
from raycner.analysis.statistics import holm, paired_effect, sign_flip_test, smallest_p
from raycner.analysis.summary import Summary, summary, with_significance
from raycner.data import metrics
from raycner.orchestration.table_rows import Row, sections
from raycner.reporting.html.page import contents, html
from raycner.reporting.markdown import as_markdown
from raycner.reporting.report import show
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore
from test_report import OLD, PLAN, SCORES, run, shifted, shown

TURNED = PLAN[::-1]
CONTROL = Contrast(row="dld", against="plain", isolates="the decomposition")


def table(ledgers: Sequence[RunLedger], *contrasts: Contrast) -> Summary:
    return with_significance(summary(ledgers), contrasts)


def flat(text: str) -> str:
    return " ".join(text.split())


def with_numerics(ledger: RunLedger, numerics: int) -> RunLedger:
    page = replace(ledger._page, numerics=numerics, run=f"{ledger.run}-{numerics}")
    return RunLedger(ObjectStore("never-written-to"), page)


def test_sign_flips_by_hand() -> None:
    assert sign_flip_test([1.0, 2.0, 4.0]) == 2 / 8, "the given signs and all turned"
    assert sign_flip_test([-1.0, 2.0, 4.0]) == 4 / 8, "and the pattern in which the 1 is positive"
    assert sign_flip_test([0.0, 0.0]) == 1
    assert sign_flip_test([1.0] * 9) == smallest_p(9) == 1 / 256


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=8))
def test_sign_flips_are_counted_exactly(differences: list[float]) -> None:
    values = np.round(differences, 9)
    signs = 1 - 2 * np.array(np.unravel_index(np.arange(2 ** len(values)), (2,) * len(values))).T
    sums = np.abs(signs @ values)
    assert sign_flip_test(differences) == pytest.approx((sums >= abs(values.sum()) - 1e-9).mean())


def test_many_pairs_are_sampled_and_repeat() -> None:
    differences = [(-1.0) ** place + 0.4 for place in range(40)]
    expected = ttest_1samp(differences, 0).pvalue
    assert sign_flip_test(differences) == sign_flip_test(differences) == pytest.approx(expected, abs=0.01)


def test_the_interval_is_that_of_the_paired_t_distribution() -> None:
    effect = paired_effect([3.0, 5.0, 4.0], [1.0, 2.0, 3.0])
    assert (effect.mean, effect.n) == (2.0, 3)
    assert effect.high == pytest.approx(2 + 4.302653 / 3**0.5, abs=1e-5)
    lone = paired_effect([1.0], [0.0])
    assert (lone.mean, lone.low, lone.high, lone.p) == (1.0, None, None, None)


@given(st.lists(st.none() | st.floats(0, 1), max_size=8))
def test_a_corrected_p_is_no_smaller_and_keeps_its_rank(values: list[float | None]) -> None:
    corrected = holm(values)
    pairs = [(p, q) for p, q in zip(values, corrected, strict=True) if p is not None and q is not None]
    assert [q is None for q in corrected] == [p is None for p in values]
    assert all(p <= q <= 1 for p, q in pairs)
    assert [q for _, q in sorted(pairs)] == sorted(q for _, q in pairs)


def test_a_control_is_shown_below_its_system_with_the_difference() -> None:
    dld = [run(shifted(by), PLAN, seed=seed, label="dld") for seed, by in enumerate((0.0, 1.0, 5.0))]
    control = [run(shifted(by), PLAN, seed=seed, label="plain") for seed, by in enumerate((-1.0, -1.0, 2.0))]
    between = [run(shifted(1.0), PLAN, seed=seed, label="between") for seed in range(3)]
    report = table([*control, *between, *dld], CONTROL, Contrast(row="dld", against="between"))
    rows = report.comparisons[0].rows
    assert [row.title for row in rows] == ["dld", "plain", "between"]
    assert (rows[1].control_of, rows[1].isolates, rows[0].control_of) == ("dld", "the decomposition", None)
    assert report.significance
    by_control, by_rival = report.significance[0].tests
    assert by_control.macro.mean == pytest.approx(2.0)
    assert (by_control.macro.p, by_control.p, by_rival.p) == (0.25, 0.5, 1.0), "two comparisons, three pairs"
    low, high = by_control.macro.low, by_control.macro.high
    for text in (shown_of(report), as_markdown(report), html(contents(report))):
        text = flat(text)
        assert "control: plain" in text and "shows: the decomposition" in text
        assert "+2.0" in text and f"[{low:+.1f}, {high:+.1f}]" in text.replace("\\", "")
        assert "corrected by Holm for 2 comparisons; of 3 pairs none is below 0.25 before that correction" in text
    json.dumps(report.document(), allow_nan=False)


def test_runs_that_differ_by_more_than_their_rows_are_no_pair() -> None:
    """A store may hold runs of other tables under the same labels: with a memory, or trained for less long."""
    plain = {"name": "extend_ner"}
    ledgers = [
        run(SCORES, PLAN, label="dld", run="dld"),
        run(SCORES, PLAN, label="plain", run="plain", method=plain),
        run(SCORES, PLAN, label="plain", run="memory", method=plain, scenario={"memory": {"size": 20}}),
    ]
    rows = {"plain": Row(overrides=("method.name=extend_ner",)), "dld": Row(overrides=("method.name=dld",))}
    assert sections(*rows.values()) == {"method"}
    by_any, by_method = CONTROL, replace(CONTROL, differ_by=sections(*rows.values()))
    (against_any,), (against_plain,) = (table(ledgers, one).significance for one in (by_any, by_method))
    assert [test.runs for test in against_any.tests] == [("dld", "plain"), ("dld", "memory")]
    assert [test.runs for test in against_plain.tests] == [("dld", "plain")]


def shown_of(report: Summary, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    show(report, console)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_pairs_share_seed_and_order() -> None:
    """FG-PG in two orders: types in another order are another scenario, and one table of tests."""
    ledgers = [
        run(shifted(lead + noise), plan, seed=seed, label=label, run=f"{label}{seed}{plan}")
        for label, lead in (("dld", 2.0), ("plain", 0.0))
        for plan in (PLAN, TURNED)
        for seed, noise in ((0, 0.0), (1, 3.0))
    ]
    lone = run(shifted(9.0), PLAN, seed=7, label="dld", run="lone")
    report = table([*ledgers, lone], CONTROL)
    assert len(report.comparisons) == 2 and report.significance and len(report.significance) == 1
    (test,) = report.significance[0].tests
    assert (test.macro.n, test.seeds, len(test.orders), test.p) == (4, (0, 1), 2, smallest_p(4))
    assert test.macro.mean == pytest.approx(2.0) and len(test.runs) == 8
    (orders,) = report.orders
    assert (orders.setup, [row.title for row in orders.rows]) == ("", ["dld", "plain"])
    assert orders.rows[1].average_macro.mean == pytest.approx(63.5 + 1.5)
    text = flat(shown_of(report))
    assert "4 types in 4 steps, over 2 orders" in text
    assert "orders LOC, MISC, ORG, PER and PER, ORG, MISC, LOC" in text


def test_the_gap_is_never_learned_plus_forgotten() -> None:
    """Of the types of SCORES: 80, 60, 50 and 85 when learned, 60, 45, 30 and 85 at the end; joint 10 above the end."""
    joint = run(shifted(10.0), PLAN, label="finetuning", protocol="joint")
    report = summary([run(SCORES, PLAN), joint])
    (gaps,) = report.gaps
    (row,) = gaps.rows
    assert (row.label, row.bound, row.runs) == ("dld(extend_ner)", "finetuning, joint", 1)
    loc, per = row.types["LOC"], row.types["PER"]
    assert (loc.never_learned, loc.forgotten, loc.total) == pytest.approx((70 - 80, 20, 10))
    assert (per.never_learned, per.forgotten) == pytest.approx((10, 0))
    assert row.overall.learned == pytest.approx((80 + 60 + 50 + 85) / 4)
    assert row.overall.never_learned + row.overall.forgotten == pytest.approx(row.overall.total) == pytest.approx(10)
    for text in (
        shown(run(SCORES, PLAN), joint, details=True),
        as_markdown(report, details=True),
        html(contents(report)),
    ):
        assert "Gap to the joint bound by type" in flat(text) and "forgotten" in text
    assert "by type" not in as_markdown(report) and not summary([run(SCORES, PLAN)]).gaps


def test_the_bound_is_the_joint_row_most_like_the_system() -> None:
    def joint(label: str, by: float, decoding: str) -> RunLedger:
        head = {"name": "linear", "decoding": decoding}
        return run(
            shifted(by), PLAN, label=label, protocol="joint", head=head, method={"name": "finetuning"}, run=label
        )

    system = run(SCORES, PLAN, head={"name": "linear", "decoding": "argmax"})
    bounds = [joint("strong", 12.0, "constrained"), joint("alike", 10.0, "argmax")]
    (gaps,) = summary([*bounds, system]).gaps
    assert (gaps.rows[0].bound, gaps.rows[0].overall.total) == ("alike, joint", pytest.approx(10))


def test_each_run_is_held_against_the_joint_run_of_its_order() -> None:
    ledgers = [
        run(
            [[score + by for score in row] for row in SCORES],
            plan,
            label=label,
            protocol=protocol,
            run=f"{label}{plan}",
        )
        for label, protocol, by in (("dld", "fg_pg", 0.0), ("bound", "joint", 10.0))
        for plan in (PLAN, TURNED)
    ]
    (gaps,) = summary(ledgers).gaps
    assert (gaps.rows[0].runs, gaps.rows[0].overall.total) == (2, pytest.approx(10))


def test_other_read_outs_and_other_numerics_are_apart_and_named() -> None:
    before = run(SCORES, PLAN, head={"name": "linear", "decoding": "argmax"}, run="before")
    now = with_numerics(run(shifted(8.0), PLAN, head={"name": "linear", "decoding": "constrained"}, run="now"), 3)
    report = summary([before, now])
    new, old = report.comparisons[0].rows
    assert old.read_out == {"decoder": "argmax", "numerics": "not recorded"}
    assert new.read_out == {"decoder": "constrained", "numerics": "3"}
    for text in (flat(shown(before, now)), as_markdown(report), html(contents(report))):
        assert "decoder argmax" in text and OLD in text
        assert "Rows that do not say otherwise: decoder constrained and numerics 3." in flat(text)
    same = run(SCORES, PLAN, run="a"), with_numerics(run(shifted(1.0), PLAN, run="b"), 3)
    assert len(summary(same).comparisons[0].rows) == 2, "the same settings, trained otherwise"
    assert "Decoder argmax; calibration none;" in flat(shown(before)) and OLD in flat(shown(before))


def test_systems_of_different_numerics_are_neither_tested_nor_bounded_by_each_other() -> None:
    ours = [with_numerics(run(shifted(by), PLAN, seed=seed, label="dld"), 3) for seed, by in enumerate((0.0, 1.0))]
    old = [run(shifted(by), PLAN, seed=seed, label="plain") for seed, by in enumerate((0.0, 1.0))]
    bound = run(shifted(10.0), PLAN, label="finetuning", protocol="joint")
    report = table([*ours, *old, bound], CONTROL)
    assert report.significance == ()
    gaps = {row.system: row.gap_average for row in report.comparisons[0].rows}
    assert gaps["dld"] is None and gaps["plain"] == pytest.approx(9.5)


def test_a_store_of_version_0_1_shows_its_scores_under_their_own_read_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(Path(__file__).parent / "fixtures" / "store_0_1.zip") as archive:
        archive.extractall(tmp_path)
    ledgers = RunLedger.all(ObjectStore(str(tmp_path / "store")))
    assert len(ledgers) == 3
    for record in (ledger.records()[-1] for ledger in ledgers):
        assert record.version is None and record.evaluation is None
    report = summary(ledgers)
    assert {(run.decoder, run.numerics) for run in report.runs} == {("argmax", 2)}, "as their steps say"
    for ledger, scored in zip(ledgers, report.runs, strict=True):
        assert scored.steps[-1].micro == pytest.approx(100 * metrics.micro(ledger.records()[-1].test))
    assert "Decoder argmax; calibration" in flat(shown_of(report)) and "numerics 2." in flat(shown_of(report))
    (first, *_) = ledgers
    config = {**first.config, "model": {**first.config["model"], "head": {"name": "linear", "decoding": "constrained"}}}
    today = RunLedger(ObjectStore("never-written-to"), replace(first._page, config=config, numerics=3, run="today"))
    mixed = summary([*ledgers, today]).comparisons[0]
    assert {row.read_out["decoder"] for row in mixed.rows} == {"argmax", "constrained"}
    assert {row.read_out["numerics"] for row in mixed.rows} == {"2", "3"}
