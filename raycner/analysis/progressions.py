"""Progressive NER as its paper reports it: what becomes of old types, and how well a new one is learned.

    Init.    after step 1, which knows the old types only
    Sub.     after step 2, on the other sentences, with the target annotated too
    Rand.    a network that was only trained on the sentences of step 2: a run of the protocol `scratch`
    forgetting of an old type = Init. - Sub.

F1 on test in percent, means over seeds. Source: Chen and Moschitti, tables 3 to 6.
"""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypedDict

from raycner.analysis.comparison import Comparison, Row, Spread, spread
from raycner.analysis.formatting import figure
from raycner.analysis.scores import Run, Step, bounded, corpus_name

OVERALL = "overall"


class Scored(TypedDict):
    """A type, or all of them together."""

    init: Spread | None
    """None for the target."""
    sub: Spread | None
    rand: Spread | None
    """None without a run of `scratch`."""


class Progression(TypedDict):
    """One system that learned one new type."""

    corpus: str
    target: str
    system: str
    """The label of its row."""
    seeds: list[int]
    types: dict[str, Scored]
    """The old ones as they were learned, the target, and micro-F1 over all as `overall`."""


class Table(NamedTuple):
    """A table, ready to be drawn."""

    title: str
    note: str
    headers: list[str]
    rows: list[list[str]]
    names: int
    """How many columns are words."""


def progressions(comparisons: Sequence[Comparison], runs: Sequence[Run]) -> list[Progression]:
    """The finished rows of progressive scenarios, each with the baseline of its model."""
    by_name = {run["run"]: run for run in runs}
    scratch = [run for run in runs if run["config"]["scenario"]["protocol"] == "scratch" and run["finished"]]
    return [
        _progression(comparison, row, [by_name[name] for name in row["runs"] if by_name[name]["finished"]], scratch)
        for comparison in comparisons
        if bounded(comparison["scenario"]) == "progressive"
        for row in comparison["rows"]
        if row["finished"] and not row["joint"]
    ]


def _progression(comparison: Comparison, row: Row, runs: Sequence[Run], scratch: Sequence[Run]) -> Progression:
    (*old,), (target,) = comparison["plan"]
    initial, subsequent = [run["steps"][0] for run in runs], [run["steps"][-1] for run in runs]
    random = [run["steps"][-1] for run in scratch if _start(run) == _start(runs[0])]
    types: dict[str, Scored] = {
        name: {
            "init": None if name == target else _score(initial, name),
            "sub": _score(subsequent, name),
            "rand": _score(random, name),
        }
        for name in [*old, target, OVERALL]
    }
    corpus = corpus_name(comparison["scenario"])
    return {"corpus": corpus, "target": target, "system": row["label"], "seeds": row["finished"], "types": types}


def _start(run: Run) -> str:
    """What a run and its baseline share: the sentences, and the network before it has grown."""
    scenario, model = run["config"]["scenario"], run["config"]["model"]
    drawn = [scenario.get(name) for name in ("target", "share", "split_seed", "order")]
    corpora = [corpus["fingerprint"] for corpus in run["corpora"]]
    return json.dumps([corpora, drawn, model["encoder"], model["head"], run["config"]["optim"]], sort_keys=True)


def _score(steps: Sequence[Step], name: str) -> Spread | None:
    scores = [step["micro"] if name == OVERALL else step["f1"].get(name) for step in steps]
    return spread(score for score in scores if score is not None)


def tables(found: Sequence[Progression]) -> Iterator[Table]:
    """The three tables: every type by target, the forgetting of old types, and the new types."""
    systems = list(dict.fromkeys(one["system"] for one in found))
    targets = list(dict.fromkeys((one["corpus"], one["target"]) for one in found))
    scores = {(one["corpus"], one["target"], one["system"]): one["types"] for one in found}
    kinds = {(one["corpus"], one["target"]): list(one["types"]) for one in found}
    asked = [(corpus, target, kind) for corpus, target in targets for kind in kinds[corpus, target]]

    def read(corpus: str, target: str, kind: str, column: str) -> Iterator[str]:
        for system in systems:
            types = scores.get((corpus, target, system))
            yield figure(_column(types[kind], column) if types else None)

    def drawn(title: str, note: str, columns: Sequence[str], kept: Sequence[tuple[str, str, str]]) -> Table:
        headers = ["corpus", "new type", "type", *(f"{s}\n{c}".strip() for c in columns for s in systems)]
        rows = [[*place, *(cell for column in columns for cell in read(*place, column))] for place in kept]
        return Table(title, note, headers, rows, 3)

    old = [(corpus, target, kind) for corpus, target, kind in asked if kind not in (target, OVERALL)]
    new = [(corpus, target, kind) for corpus, target, kind in asked if kind == target]
    yield drawn("Progressive NER, every type", INIT_SUB_RAND, ("Init.", "Sub.", "Rand."), asked)
    yield drawn("Forgetting of old types", "Init. minus Sub.: the less the better.", ("",), old)
    yield drawn("The new type", "Sub. after the old types, Rand. without them.", ("Sub.", "Rand."), new)


INIT_SUB_RAND = "F1 on test in percent. Init.: before the new type; Sub.: after it; Rand.: after its sentences alone."


def _column(scored: Scored, column: str) -> float | None:
    if column:
        said = {"Init.": scored["init"], "Sub.": scored["sub"], "Rand.": scored["rand"]}[column]
        return said["mean"] if said else None
    init, sub = scored["init"], scored["sub"]
    return init["mean"] - sub["mean"] if init and sub else None
