"""Leaderboards: several tables as one file, and which of their runs a store has.

    GUM FG-3-PG-2:
      job: [jobs/gum_fg3_pg2.yaml]
      rows: jobs/rows/tag_systems.yaml
      seeds: [0, 1, 2]
      orders: [P1, P2, P3]

Each table is one of `raycner compare`: every row of its rows, with every seed, in every order of types.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from shlex import quote

from raycner.config import RunConfig, read
from raycner.errors import InputError
from raycner.hashing import Plain, fingerprint, plain
from raycner.orchestration.table_rows import Entry, Row, entries, read_rows
from raycner.settings import build
from raycner.storage.ledger import RunLedger
from raycner.yaml_text import load_file


@dataclass(frozen=True, kw_only=True)
class LeaderboardTable:
    """One table of a leaderboard."""

    job: tuple[str, ...]
    """Config files and overrides."""
    rows: str
    """A file of rows."""
    seeds: tuple[int, ...] = (0, 1, 2)
    orders: tuple[str, ...] = ()
    """P1, P2 and so on; the job's own without any."""

    def entries(self, overrides: Sequence[str] = ()) -> list[Entry]:
        """All runs of the table. Raises `InputError` when a row cannot be run on the job."""
        return entries(self.systems, read([*self.job, *overrides]), self.seeds, self.orders)

    def command(self, overrides: Sequence[str] = ()) -> str:
        """What runs it on any machine."""
        orders = [f"--orders {','.join(self.orders)}"] if self.orders else []
        seeds = f"--seeds {','.join(map(str, self.seeds))}"
        job = map(quote, [*self.job, *anywhere(overrides)])
        return " ".join(["raycner compare", *job, f"--rows {self.rows}", seeds, *orders])

    @property
    def systems(self) -> dict[str, Row]:
        """Its rows by name."""
        return read_rows(self.rows)


def anywhere(overrides: Sequence[str]) -> list[str]:
    """The overrides that say what is run, without those that say where files are and how a machine computes."""
    return [override for override in overrides if not OF_A_MACHINE.match(override)]


OF_A_MACHINE = re.compile(r"(store|plugins|compute\..*|(.*\.)?path)=")


def read_leaderboard(path: str) -> dict[str, LeaderboardTable]:
    """The tables of a YAML file, by name. Raises `InputError` when it is not readable, or holds no valid tables."""
    tables = load_file(path, "name a YAML file of tables")
    if not tables:
        raise InputError("no tables", location=path, hint="write NAME: {job: [...], rows: FILE} lines")
    return {str(name): build(LeaderboardTable, table, f"{path}: {name}") for name, table in tables.items()}


class FinishedRuns:
    """The finished runs among some ledgers, found by what determines their scores, wherever their files are."""

    def __init__(self, ledgers: Iterable[RunLedger]) -> None:
        self._by_identity: dict[str, RunLedger] = {}
        for ledger in ledgers:
            if ledger.finished and (config := _recorded(ledger)) is not None:
                self._by_identity[_identity(config)] = ledger

    def find(self, config: RunConfig) -> RunLedger | None:
        """The finished run of a configuration."""
        return self._by_identity.get(_identity(config))


def _recorded(ledger: RunLedger) -> RunConfig | None:
    """None for a run whose settings this version does not have, such as those of a plugin."""
    try:
        return RunConfig.recorded(ledger.config)
    except InputError:
        return None


def _identity(config: RunConfig) -> str:
    """A digest of the settings that determine a run's scores; of paths, only the last part counts."""
    decoding, threshold = config.eval.decoding, config.eval.threshold
    return fingerprint([dict(_named(plain(config, hashed=True))), decoding, threshold])


def _named(settings: Mapping[str, Plain]) -> Iterator[tuple[str, Plain]]:
    for key, value in settings.items():
        if key == "path" and isinstance(value, str):
            yield key, PurePosixPath(value).name
        elif isinstance(value, Mapping):
            yield key, dict(_named(value))
        elif isinstance(value, list):
            yield key, [dict(_named(item)) if isinstance(item, Mapping) else item for item in value]
        else:
            yield key, value
