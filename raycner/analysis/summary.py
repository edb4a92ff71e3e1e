"""Everything that `raycner report` and `compare` state about runs: one value for tables, one document for programs.

The document (schema 2) is what `--json` prints:

    {"schema": 2, "runs": [Run, ...], "comparisons": [Comparison, ...]}

and, where it was asked for, "published": [Published, ...], one for each comparison, and "significance":
[PairedTest, ...]; when tasks were learned in several orders, "orders": [Orders, ...]; of progressive runs,
"progressions": [Progression, ...].
The keys of a Run and its Steps are the fields in `scores`, those of a Comparison and its Rows the fields in
`comparison`, and so on. Scores are on test, in percent and unrounded; null where one is undefined. A key may be added
under the same schema number; a key that changes or goes raises it.

Schema 2 renamed `duels` to `significance`, and `interference` of rows and orders to `backward_interference`; settings,
under `config` and `scenario`, have the names of this version, whatever version wrote the ledger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from raycner.analysis.comparison import Comparison, compare
from raycner.analysis.orders import Orders, over_orders
from raycner.analysis.progressions import Progression, progressions
from raycner.analysis.published import Published, published
from raycner.analysis.scores import Run, scores
from raycner.analysis.significance import PairedTest, significance
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
    published: tuple[Published, ...] | None = None
    """One for each comparison; None unless asked for."""
    significance: tuple[PairedTest, ...] | None = None
    """None unless asked for."""

    def document(self) -> dict[str, Plain]:
        """What `--json` prints."""
        document = {"schema": SCHEMA, "runs": plain(self.runs), "comparisons": plain(self.comparisons)}
        document |= {name: plain(getattr(self, name)) for name in ("orders", "progressions") if getattr(self, name)}
        asked = [name for name in ("published", "significance") if getattr(self, name) is not None]
        return document | {name: plain(getattr(self, name)) for name in asked}


def summary(ledgers: Sequence[RunLedger], names: Mapping[str, str] | None = None) -> Summary:
    """The scores of the ledgers; `names` gives runs another label than their method."""
    runs = tuple(scores(ledger, (names or {}).get(ledger.run)) for ledger in ledgers)
    comparisons = compare(runs)
    return Summary(
        runs=runs,
        comparisons=comparisons,
        orders=over_orders(comparisons, runs),
        progressions=progressions(comparisons, runs),
    )


def with_published(summary: Summary) -> Summary:
    """The summary with the published figures of the setting of each comparison."""
    return replace(summary, published=tuple(published(one, summary.runs) for one in summary.comparisons))


def with_significance(summary: Summary, rivals: Mapping[str, str]) -> Summary:
    """The summary with a paired test of each row against the row that `rivals` names for it, both by label."""
    tests = (test for one in summary.comparisons for test in significance(one, summary.runs, rivals))
    return replace(summary, significance=tuple(tests))
