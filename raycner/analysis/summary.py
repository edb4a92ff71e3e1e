"""Everything that `raycner report` and `compare` state about runs: one value for tables, one document for programs.

The document (schema 2) is what `--json` prints:

    {"schema": 2, "runs": [Run, ...], "comparisons": [Comparison, ...]}

and, where it was asked for, "published": [Published, ...], one for each comparison, and "significance":
[PairedTests, ...]; when the same types were learned in several orders, "orders": [Orders, ...]; of progressive runs,
"progressions": [Progression, ...]; where a joint run is finished, "gaps": [Gaps, ...].
The keys of a Run and its Steps are the fields in `scores`, those of a Comparison and its Rows the fields in
`comparison`, and so on. Scores are on test, in percent and unrounded; null where one is undefined. A key may be added
under the same schema number; a key that changes or goes raises it.

Schema 2 renamed `duels` to `significance`, and `interference` of rows and orders to `backward_interference`; settings,
under `config` and `scenario`, have the names of this version, whatever version wrote the ledger.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from raycner.analysis.comparison import Comparison, compare
from raycner.analysis.gaps import Gaps, gaps
from raycner.analysis.orders import Orders, over_orders
from raycner.analysis.progressions import Progression, progressions
from raycner.analysis.published import Published, published
from raycner.analysis.scores import Run, scores
from raycner.analysis.significance import Contrast, PairedTests, placed, significance
from raycner.errors import InputError
from raycner.hashing import Plain, plain
from raycner.storage.ledger import RunLedger

SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Every run by itself, in the order given, and the runs of each scenario compared."""

    runs: tuple[Run, ...]
    comparisons: tuple[Comparison, ...]
    orders: tuple[Orders, ...] = ()
    progressions: tuple[Progression, ...] = ()
    gaps: tuple[Gaps, ...] = ()
    published: tuple[Published, ...] | None = None
    """One for each comparison; None unless asked for."""
    significance: tuple[PairedTests, ...] | None = None
    """None unless asked for."""

    def document(self) -> dict[str, Plain]:
        """What `--json` prints."""
        document = {"schema": SCHEMA, "runs": plain(self.runs), "comparisons": plain(self.comparisons)}
        there = [name for name in ("orders", "progressions", "gaps") if getattr(self, name)]
        asked = [name for name in ("published", "significance") if getattr(self, name) is not None]
        return document | {name: plain(getattr(self, name)) for name in [*there, *asked]}


def summary(ledgers: Sequence[RunLedger], names: Mapping[str, str] | None = None) -> Summary:
    """The scores of the ledgers; `names` gives runs another label than their method.

    A ledger that is inconsistent is left out with a warning.
    """
    runs = tuple(_consistent(ledgers, names or {}))
    comparisons = compare(runs)
    return Summary(
        runs=runs,
        comparisons=comparisons,
        orders=over_orders(comparisons, runs),
        progressions=progressions(comparisons, runs),
        gaps=gaps(comparisons, runs),
    )


def _consistent(ledgers: Sequence[RunLedger], names: Mapping[str, str]) -> Iterator[Run]:
    for ledger in ledgers:
        try:
            yield scores(ledger, names.get(ledger.run))
        except InputError as error:
            logging.getLogger(__name__).warning("ignored: %s", error)


def with_published(summary: Summary) -> Summary:
    """The summary with the published figures of the setting of each comparison."""
    return replace(summary, published=tuple(published(one, summary.runs) for one in summary.comparisons))


def with_significance(summary: Summary, contrasts: Sequence[Contrast]) -> Summary:
    """The summary with the paired test of each contrast, and with each control below its system."""
    comparisons = tuple(placed(comparison, contrasts) for comparison in summary.comparisons)
    tests = significance(comparisons, summary.runs, contrasts)
    return replace(summary, comparisons=comparisons, significance=tests)
