"""Rows: the systems that one table compares. Each is a few layers, laid over the same job.

    extend_ner: [method.name=extend_ner]
    dld(extend_ner):
      layers: [method.name=dld, method.base.name=extend_ner]
      against: extend_ner

A row's layers are what one would type after the job: KEY=VALUE settings and YAML files. `against` names the row that
it is tested against, seed by seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from raycner.config import RunConfig
from raycner.errors import InputError
from raycner.hashing import Plain
from raycner.registry import suggest
from raycner.settings import build


@dataclass(frozen=True, kw_only=True)
class Row:
    """A system."""

    layers: tuple[str, ...]
    against: str | None = None


@dataclass(frozen=True)
class Entry:
    """One run of a table: a row and a seed."""

    row: str
    config: RunConfig

    def __str__(self) -> str:
        order = self.config.scenario.permutation
        return f"{self.row}, seed {self.config.seed}" + (f", order {order}" if order != "P1" else "")


def read(path: str) -> dict[str, Row]:
    """The rows of a file, by name. Raises `InputError` for what is not rows, or tested against none of them."""
    try:
        said = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read it ({error.strerror})", location=path, hint="name a YAML file of rows") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"not YAML: {error}", location=path, hint="mend the file") from None
    if not said or not isinstance(said, Mapping):
        raise InputError("no rows", location=path, hint="write NAME: [KEY=VALUE, ...] lines")
    rows = {str(name): build(Row, _spelt_out(row), f"{path}: {name}") for name, row in said.items()}
    for name, row in rows.items():
        if row.against is not None and row.against not in rows:
            what, where = f"no row is called {row.against!r}", f"{path}: {name}.against"
            raise InputError(what, location=where, hint=suggest(row.against, rows))
    return rows


def entries(
    rows: Mapping[str, Row], job: Sequence[str], seeds: Sequence[int], orders: Sequence[str] = ()
) -> list[Entry]:
    """All runs of a table, seed by seed and order by order, so that a first table is complete as early as can be.

    `orders` are values of `scenario.permutation`; the job's own when there are none. Raises `InputError` where a row is
    none that can be run on the job, or the same as another.
    """
    if orders:
        told = [entries(rows, [*job, f"scenario.permutation={order}"], [seed]) for seed in seeds for order in orders]
        return [entry for run in told for entry in run]
    configs: dict[str, RunConfig] = {}
    for name, row in rows.items():
        try:
            config = RunConfig.load([*job, *row.layers])
        except InputError as refusal:
            where = f"row {name!r}: {refusal.location}" if refusal.location else f"row {name!r}"
            raise InputError(refusal.what, location=where, hint=refusal.hint) from None
        for other, known in configs.items():
            if known == config:
                raise InputError(
                    f"the same as {other!r} on this job", location=f"row {name!r}", hint="remove one of them"
                )
        configs[name] = config
    return [Entry(name, replace(config, seed=seed)) for seed in seeds for name, config in configs.items()]


def _spelt_out(row: Plain) -> Plain:
    """A list of layers stands for a row that is tested against none."""
    return {"layers": row} if isinstance(row, list) else row
