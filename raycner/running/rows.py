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
from raycner.errors import Refusal
from raycner.values import Plain, build, suggest


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
    """The rows of a file, by name. Raises `Refusal` for what is not rows, or tested against none of them."""
    try:
        said = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(f"cannot read it ({error.strerror})", where=path, remedy="name a YAML file of rows") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refusal(f"not YAML: {error}", where=path, remedy="mend the file") from None
    if not said or not isinstance(said, Mapping):
        raise Refusal("no rows", where=path, remedy="write NAME: [KEY=VALUE, ...] lines")
    rows = {str(name): build(Row, _spelt_out(row), f"{path}: {name}") for name, row in said.items()}
    for name, row in rows.items():
        if row.against is not None and row.against not in rows:
            what, where = f"no row is called {row.against!r}", f"{path}: {name}.against"
            raise Refusal(what, where=where, remedy=suggest(row.against, rows))
    return rows


def entries(
    rows: Mapping[str, Row], job: Sequence[str], seeds: Sequence[int], orders: Sequence[str] = ()
) -> list[Entry]:
    """All runs of a table, seed by seed and order by order, so that a first table is complete as early as can be.

    `orders` are values of `scenario.permutation`; the job's own when there are none. Raises `Refusal` where a row is
    none that can be run on the job, or the same as another.
    """
    if orders:
        told = [entries(rows, [*job, f"scenario.permutation={order}"], [seed]) for seed in seeds for order in orders]
        return [entry for run in told for entry in run]
    configs: dict[str, RunConfig] = {}
    for name, row in rows.items():
        try:
            config = RunConfig.load([*job, *row.layers])
        except Refusal as refusal:
            where = f"row {name!r}: {refusal.where}" if refusal.where else f"row {name!r}"
            raise Refusal(refusal.what, where=where, remedy=refusal.remedy) from None
        for other, known in configs.items():
            if known == config:
                raise Refusal(f"the same as {other!r} on this job", where=f"row {name!r}", remedy="remove one of them")
        configs[name] = config
    return [Entry(name, replace(config, seed=seed)) for seed in seeds for name, config in configs.items()]


def _spelt_out(row: Plain) -> Plain:
    """A list of layers stands for a row that is tested against none."""
    return {"layers": row} if isinstance(row, list) else row
