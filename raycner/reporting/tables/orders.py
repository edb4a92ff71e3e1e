"""The table of scores averaged over orders."""

from collections.abc import Callable, Iterator, Sequence

from raycner.analysis.formatting import PLUS_MINUS, figure, many, spreads
from raycner.analysis.orders import OrderRow, Orders
from raycner.analysis.provenance import provenance
from raycner.analysis.scores import Run, types_of
from raycner.analysis.statistics import Spread
from raycner.analysis.table import Cells, Table, by_columns
from raycner.reporting.tables.labels import name_cell, runs_of, unusual, usual_note, usual_read_out

OVER = f"mean{PLUS_MINUS}standard deviation over orders, each a mean over seeds"
TASKS = (
    f"Micro-F1 on test in percent, mean over the tasks so far; {OVER}; P, R: precision and recall; BI: micro of a task "
    "after the last step minus its best; BWT: minus that when it was learned, without the last task; gap: the joint "
    "run minus the row, after the last step."
)
TYPES = (
    f"F1 on test in percent; {OVER}; P, R: precision and recall; average: over steps; final: after the last; "
    "forgetting: best F1 after an earlier step minus the final one, mean over old types; gap: average macro of the "
    "joint run minus that of the row."
)


def orders_table(orders: Orders, runs: Sequence[Run]) -> Table:
    """The rows of a setting in several orders, best first."""
    rows = orders.rows
    usual = usual_read_out(row.read_out for row in rows)
    columns: list[tuple[str, Cells]] = [
        ("system", [name_cell(row.title, row.settings, unusual(row.read_out, usual)) for row in rows]),
        ("draws" if orders.are_draws else "orders", [str(len(row.orders)) for row in rows]),
        ("seeds", [str(len(row.seeds)) for row in rows]),
        *(_tasks(orders) if orders.setup else _types(orders)),
    ]
    notes = (_note(orders), *usual_note(usual), provenance(runs_of(orders.runs, runs)))
    return by_columns(_title(orders), columns, notes=notes)


def _note(orders: Orders) -> str:
    note = TASKS if orders.setup else TYPES
    return note.replace("over orders", "over draws") if orders.are_draws else note


def _title(orders: Orders) -> str:
    if orders.setup:
        tasks = f"{orders.corpus}: {many(len(orders.tasks), 'task')}, {orders.setup}, over the orders "
        return tasks + ", ".join(orders.orders)
    types = f"{orders.corpus}: {many(len(types_of(orders.tasks)), 'type')} in {many(len(orders.tasks), 'step')}"
    return f"{types}, over {many(len(orders.orders), 'draw' if orders.are_draws else 'order')}"


def _tasks(orders: Orders) -> Iterator[tuple[str, list[str]]]:
    rows = orders.rows
    for step in range(min((len(row.curve) for row in rows), default=0)):
        yield f"step {step + 1}", [figure(row.curve[step].mean) for row in rows]
    yield _column(rows, "average", lambda row: row.average)
    yield _column(rows, "final", lambda row: row.final)
    yield from _final(rows)
    yield _column(rows, "BI", lambda row: row.backward_interference)
    yield _column(rows, "BWT", lambda row: row.backward_transfer)
    if any(row.gap for row in rows):
        yield _column(rows, "gap", lambda row: row.gap)


def _types(orders: Orders) -> Iterator[tuple[str, list[str]]]:
    rows = orders.rows
    yield _column(rows, "average\nmicro", lambda row: row.average_micro)
    yield _column(rows, "average\nmacro", lambda row: row.average_macro)
    yield from _final(rows)
    yield _column(rows, "forget-\nting", lambda row: row.forgetting)
    if any(row.gap_average for row in rows):
        yield _column(rows, "gap to\njoint", lambda row: row.gap_average)


def _final(rows: Sequence[OrderRow]) -> Iterator[tuple[str, list[str]]]:
    """F1, precision and recall after the last step."""
    yield _column(rows, "final\nmicro", lambda row: row.final_micro)
    yield _column(rows, "final\nmicro P", lambda row: row.final_micro_precision)
    yield _column(rows, "final\nmicro R", lambda row: row.final_micro_recall)
    yield _column(rows, "final\nmacro", lambda row: row.final_macro)
    yield _column(rows, "final\nmacro P", lambda row: row.final_macro_precision)
    yield _column(rows, "final\nmacro R", lambda row: row.final_macro_recall)


def _column(rows: Sequence[OrderRow], header: str, score: Callable[[OrderRow], Spread | None]) -> tuple[str, list[str]]:
    return header, spreads([score(row) for row in rows])
