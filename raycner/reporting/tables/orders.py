"""The table of scores averaged over orders."""

from collections.abc import Sequence

from raycner.analysis.formatting import PLUS_MINUS, figure, many, spreads
from raycner.analysis.orders import Orders
from raycner.analysis.provenance import provenance
from raycner.analysis.scores import Run
from raycner.analysis.table import Cells, Table, by_columns
from raycner.reporting.tables.labels import name_cell, runs_of

NOTE = (
    f"Micro-F1 on test in percent, mean over the tasks so far; mean{PLUS_MINUS}standard deviation over orders, each a "
    "mean over seeds; BI: micro of a task after the last step minus its best; BWT: minus that when it was learned, "
    "without the last task; gap: the joint run minus the row, after the last step."
)


def orders_table(orders: Orders, runs: Sequence[Run]) -> Table:
    """The rows of a setup in several orders, highest final score first."""
    rows = orders.rows
    columns: list[tuple[str, Cells]] = [
        ("system", [name_cell(row.title, row.settings) for row in rows]),
        ("orders", [str(len(row.orders)) for row in rows]),
        *(
            (f"step {step + 1}", [figure(row.curve[step].mean) for row in rows])
            for step in range(min((len(row.curve) for row in rows), default=0))
        ),
        ("average", spreads([row.average for row in rows])),
        ("final", spreads([row.final for row in rows])),
        ("BI", spreads([row.backward_interference for row in rows])),
        ("BWT", spreads([row.backward_transfer for row in rows])),
    ]
    if any(row.gap for row in rows):
        columns.append(("gap", spreads([row.gap for row in rows])))
    title = f"{orders.corpus}: {many(len(orders.tasks), 'task')}, {orders.setup}, over the orders "
    notes = (NOTE, provenance(runs_of(orders.runs, runs)))
    return by_columns(title + ", ".join(orders.orders), columns, notes=notes)
