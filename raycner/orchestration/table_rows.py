"""Rows: the systems that one table compares. Each is a list of config files and overrides, on the same job.

    extend_ner: [method.name=extend_ner]
    dld(extend_ner):
      overrides: [method.name=dld, method.base.name=extend_ner]
      against: extend_ner
    dld(extend_ner), plain logits:
      overrides: [method.name=dld, method.base.name=extend_ner, method.decomposition=none, method.weight_positive=0.5]
      control_of: dld(extend_ner)
      isolates: the decomposition of logits

`overrides` are config files and KEY=VALUE overrides, as on the command line. `against` names another row for a paired
test over seeds and orders. A control is its system without one ingredient: `control_of` names the system, and
`isolates` says what the difference between the two shows the effect of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from raycner.config import RunConfig, read
from raycner.data.scenarios.protocol import PROTOCOLS
from raycner.data.scenarios.tasks import PERMUTATION, TaskProtocol, drawn_order
from raycner.errors import InputError
from raycner.hashing import Plain
from raycner.registry import suggest
from raycner.settings import build, flat, merge, nested
from raycner.yaml_text import load_file


@dataclass(frozen=True, kw_only=True)
class Row:
    """A system."""

    overrides: tuple[str, ...]
    against: str | None = None
    control_of: str | None = None
    isolates: str = ""

    def __post_init__(self) -> None:
        if (self.control_of is None) != (not self.isolates):
            raise ValueError("a control has both control_of and isolates: a system, and what the control isolates")


@dataclass(frozen=True)
class Entry:
    """One run of a table: a row and a seed."""

    row: str
    config: RunConfig
    order: str = "P1"

    def __str__(self) -> str:
        return f"{self.row}, seed {self.config.seed}" + (f", order {self.order}" if self.order != "P1" else "")


def read_rows(path: str) -> dict[str, Row]:
    """The rows of a YAML file, by name. Raises `InputError` when it is not readable, or holds no valid rows."""
    return parse_rows(load_file(path, "name a YAML file of rows"), path)


def parse_rows(table: object, location: str) -> dict[str, Row]:
    """Rows from plain data, by name. Raises `InputError` for what is no row, or is tested against an unknown row."""
    if not table or not isinstance(table, Mapping):
        raise InputError("no rows", location=location, hint="write NAME: [KEY=VALUE, ...] lines")
    rows = {str(name): build(Row, _spelled_out(row), f"{location}: {name}") for name, row in table.items()}
    for name, row in rows.items():
        for key, other in (("against", row.against), ("control_of", row.control_of)):
            if other is not None and other not in rows:
                what, where = f"no row is called {other!r}", f"{location}: {name}.{key}"
                raise InputError(what, location=where, hint=suggest(other, rows))
            if other == name:
                raise InputError("a row is not compared with itself", location=f"{location}: {name}.{key}")
    return rows


def row_of(config: Mapping[str, Plain], rows: Mapping[str, Row]) -> str | None:
    """The row whose overrides all hold in the settings of a run: of several, the one with most of them.

    None where there is none. The settings are in today's form.
    """
    settings = flat(config)
    wanted = {name: flat(read(row.overrides)) for name, row in rows.items()}
    matching = [name for name, overrides in wanted.items() if overrides.items() <= settings.items()]
    return max(matching, key=lambda name: len(wanted[name]), default=None)


def sections(*rows: Row) -> frozenset[str]:
    """What the overrides of rows set, by dotted name: a kind chosen by `name` brings the whole section."""
    return frozenset(name.removesuffix(".name") for row in rows for name in flat(read(row.overrides)))


def entries(
    rows: Mapping[str, Row], job: Mapping[str, Plain], seeds: Sequence[int], orders: Sequence[str] = ()
) -> list[Entry]:
    """All runs of a table on a job of nested settings, seed by seed and order by order, so that a first table is
    complete as early as possible.

    `orders` are P1, P2 and so on: values of `scenario.protocol.permutation` where tasks are learned, draws of few-shot
    steps, permutations of `scenario.order` elsewhere; without any, the job's own. Raises `InputError` when a row cannot
    be run on the job, or equals another row.
    """
    if orders:
        jobs = [(seed, order, in_order(job, order)) for seed in seeds for order in orders]
        return [
            replace(entry, order=order) for seed, order, permuted in jobs for entry in entries(rows, permuted, [seed])
        ]
    configs: dict[str, RunConfig] = {}
    for name, row in rows.items():
        try:
            config = RunConfig.from_settings(read(row.overrides, job), {})
        except InputError as error:
            where = f"row {name!r}: {error.location}" if error.location else f"row {name!r}"
            raise InputError(error.what, location=where, hint=error.hint) from None
        for other, earlier in configs.items():
            if earlier == config:
                what = f"the same as {other!r} on this job"
                raise InputError(what, location=f"row {name!r}", hint="remove one of them")
        configs[name] = config
    return [Entry(name, replace(config, seed=seed)) for seed in seeds for name, config in configs.items()]


def in_order(job: Mapping[str, Plain], order: str) -> dict[str, Plain]:
    """A job with its tasks or types in another order, of few-shot steps another draw: P1 is that of the job.

    Raises `InputError` for an order that is not one, and for a job that lists no types.
    """
    tasks = {name for name, protocol in PROTOCOLS.items() if issubclass(protocol, TaskProtocol)}
    settings = flat(job)
    if settings.get("scenario.protocol.name") in tasks:
        return read([f"scenario.protocol.permutation={order}"], job)
    types = settings.get("scenario.order")
    if not PERMUTATION.fullmatch(order):
        raise InputError(f"{order!r} is no order", location="--orders", hint="write P1,P2,P3")
    if settings.get("scenario.protocol.name") == "few_shot":
        return read([f"scenario.protocol.draw={order[1:]}"], job)
    if not isinstance(types, list | tuple) or not types:
        hint = "list the types of the job in scenario.order"
        raise InputError("there is no order of types to permute", location="scenario.order", hint=hint)
    permuted = [types[place] for place in drawn_order(order, len(types))]
    return merge(job, nested("scenario.order", permuted))


def _spelled_out(row: Plain) -> Plain:
    """A bare list is a row without a test. Raises `InputError` for the old key `layers`."""
    if isinstance(row, Mapping) and "layers" in row:
        raise InputError("no such setting", location="layers", hint="it is now called `overrides`")
    return {"overrides": row} if isinstance(row, list) else row
