"""The tables of a comparison: every row's scores over all steps and seeds, and micro-F1 after each step."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from raycner.analysis.comparison import Comparison, Row, setup
from raycner.analysis.formatting import DASH, PLUS_MINUS, figure, listed, many, p_value, signed, spreads
from raycner.analysis.provenance import provenance
from raycner.analysis.scores import Run
from raycner.analysis.statistics import Spread, difference, smallest_p
from raycner.analysis.table import Cells, Table, by_columns, score_cell
from raycner.reporting.tables.labels import progress, row_cell, runs_of, usual_note, usual_read_out

MOST_NAMES = 4


def ranking(comparison: Comparison, runs: Sequence[Run]) -> Table:
    """The scores of every row over all steps and seeds, best first.

    Steps that a run shares with others count in its wall time all the same.
    """
    rows = comparison.rows
    usual = usual_read_out(row.read_out for row in rows)
    columns: list[tuple[str, Cells]] = [
        ("system", [row_cell(row, usual) for row in rows]),
        ("seeds", [_seeds(row) for row in rows]),
        *_scores(comparison),
    ]
    if any(row.gap_average is not None for row in rows):
        columns.append(("gap to\njoint", [figure(row.gap_average) for row in rows]))
    if any(row.control_of for row in rows):
        columns.append(("system -\ncontrol", [signed(_adds(row, rows)) for row in rows]))
    elif any(row.significance for row in rows):
        columns.append(("against\nthe best", [_against_best(row) for row in rows]))
        columns.append(("\np", [p_value(row.significance.p if row.significance else None) for row in rows]))
    columns.append(("minutes\na run", [_minutes(row, runs) for row in rows]))
    return by_columns(
        "", columns, notes=(legend(comparison), *usual_note(usual), provenance(_compared(comparison, runs)))
    )


def curves(comparison: Comparison) -> Table:
    """Micro-F1 after each step."""
    points = [{point.step: point.micro.mean for point in row.curve} for row in comparison.rows]
    usual = usual_read_out(row.read_out for row in comparison.rows)
    names = [row_cell(row, usual) for row in comparison.rows]
    steps = range(len(comparison.plan))
    cells = [(f"\n{step + 1}", [score_cell(of_row.get(step)) for of_row in points]) for step in steps]
    return by_columns("", [("micro-F1\nafter step", names), *cells])


def legend(comparison: Comparison) -> str:
    """The meaning of the columns that the ranking has."""
    rows = comparison.rows
    parts = ["F1 on test in percent; P: precision, R: recall"]
    if any(row.average_micro and row.average_micro.std is not None for row in rows):
        parts.append(f"mean{PLUS_MINUS}standard deviation over seeds")
    parts.append("average: over steps; final: after the last")
    parts.append("forgetting: best F1 after an earlier step minus the final one, mean over old types")
    if any(row.calibrated_micro for row in rows):
        parts.append("*: predicted with the bias of each step's new types lowered")
    if grouped(comparison):
        parts.append("tasks: mean over tasks of micro")
    if setup(comparison):
        parts.append(TASKS)
    if any(row.gap_average is not None for row in rows):
        parts.append("gap: average macro of the joint run minus that of the row")
    tests = [row.significance for row in rows if row.significance]
    if any(row.control_of for row in rows):
        parts.append("system - control: average macro of the system above minus that of its control")
    elif tests:
        pairs = max(len(test.seeds) for test in tests)
        parts.append(
            f"p: sign-flip test of average macro against {tests[0].against} over shared seeds, corrected by Holm for "
            f"{many(len(tests), 'comparison')}; of {many(pairs, 'pair')} none is below {smallest_p(pairs):.3g} before"
        )
    return "; ".join(parts) + "."


TASKS = (
    "BI: micro of a task after the last step minus its best, mean over tasks; BWT: minus that when it was learned, "
    "mean over tasks but the last"
)


def grouped(comparison: Comparison) -> bool:
    """Whether there are tasks of several types: otherwise the mean over tasks is macro."""
    return bool(setup(comparison)) and any(len(task) > 1 for task in comparison.plan)


def remarks(comparison: Comparison, runs: Sequence[Run]) -> list[str]:
    """Which runs are unfinished, and which steps were trained only once."""
    return [*_unfinished(comparison, runs), *_shared(comparison)]


def _scores(comparison: Comparison) -> Iterator[tuple[str, list[str]]]:
    """F1 over all steps and seeds, that of tasks and of the calibrated predictions where there are any."""
    rows = comparison.rows

    def column(header: str, score: Callable[[Row], Spread | None]) -> tuple[str, list[str]]:
        return header, spreads([score(row) for row in rows])

    yield column("average\nmicro", lambda row: row.average_micro)
    yield column("average\nmacro", lambda row: row.average_macro)
    if any(row.calibrated_micro for row in rows):
        yield column("average\nmicro*", lambda row: row.calibrated_micro)
        yield column("average\nmacro*", lambda row: row.calibrated_macro)
    if grouped(comparison):
        yield column("average\ntasks", lambda row: row.average_tasks)
    yield column("final\nmicro", lambda row: row.final_micro)
    yield column("final\nmicro P", lambda row: row.final_micro_precision)
    yield column("final\nmicro R", lambda row: row.final_micro_recall)
    yield column("final\nmacro", lambda row: row.final_macro)
    yield column("final\nmacro P", lambda row: row.final_macro_precision)
    yield column("final\nmacro R", lambda row: row.final_macro_recall)
    if grouped(comparison):
        yield column("final\ntasks", lambda row: row.final_tasks)
    if setup(comparison):
        yield column("BI", lambda row: row.backward_interference)
        yield column("BWT", lambda row: row.backward_transfer)
    yield column("forget-\nting", lambda row: row.forgetting)


def _compared(comparison: Comparison, runs: Sequence[Run]) -> list[Run]:
    return runs_of([name for row in comparison.rows for name in row.runs], runs)


def _adds(row: Row, rows: Sequence[Row]) -> float | None:
    """What a system gains over this control of it; None where their seeds differ."""
    systems = [one for one in rows if one.system == row.control_of and one.finished == row.finished]
    return difference(systems[0].average_macro, row.average_macro) if systems else None


def _against_best(row: Row) -> str:
    return signed(row.significance.effect.mean if row.significance else None)


def _seeds(row: Row) -> str:
    finished, started = len(row.finished), len(row.seeds)
    return str(finished) if finished == started else f"{finished} of {started}"


def _minutes(row: Row, runs: Sequence[Run]) -> str:
    seconds = [run.seconds for run in runs if run.run in row.runs and run.finished]
    return f"{fmean(seconds) / 60:.1f}" if seconds else DASH


def _unfinished(comparison: Comparison, runs: Sequence[Run]) -> Iterator[str]:
    labels = _labels(comparison)
    for run in runs:
        if run.run in labels and not run.finished:
            label, _ = labels[run.run]
            yield f"{label}, seed {run.seed}: unfinished, {progress(run)}; in no average."


def _shared(comparison: Comparison) -> Iterator[str]:
    names = _labels(comparison)
    seeds: dict[tuple[int, tuple[str, ...]], list[int]] = defaultdict(list)
    for shared in comparison.shared:
        holders = [names[run] for run in shared.runs if run in names]
        if len(holders) > 1:
            labels = tuple(dict.fromkeys(label for label, _ in holders))
            seeds[shared.step, labels] += {seed for _, seed in holders}
    several = len({seed for _, seed in names.values()}) > 1
    for (step, labels), of_seeds in seeds.items():
        holders_listed = listed(labels) if len(labels) <= MOST_NAMES else f"{len(labels)} rows"
        which = f" ({listed([f'seed {seed}' for seed in sorted(of_seeds)])})" if several else ""
        yield f"Step {step + 1} shared by {holders_listed}{which}: trained once."


def _labels(comparison: Comparison) -> dict[str, tuple[str, int]]:
    """The label and the seed of each run."""
    return {run: (row.label, seed) for row in comparison.rows for run, seed in zip(row.runs, row.seeds, strict=True)}
