"""Progressive NER as its paper reports it: how far old types fall, and how well a new one is learned.

    Init.    after step 1, which knows the old types only
    Sub.     after step 2, on the other sentences, with the target annotated too
    Rand.    a network that was only trained on the sentences of step 2: a run of the protocol `scratch`
    forgetting of an old type = Init. - Sub.

F1 on test in percent, means over seeds. Source: Chen and Moschitti, tables 3 to 6.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raycner.analysis.comparison import Comparison, Row
from raycner.analysis.scores import Run, Step, corpus_name, protocol_name
from raycner.analysis.statistics import Spread, difference, spread

OVERALL = "overall"


@dataclass(frozen=True, kw_only=True)
class TypeProgress:
    """The F1 of a type, or of all types together."""

    init: Spread | None
    """None for the target."""
    sub: Spread | None
    rand: Spread | None
    """None without a run of `scratch`."""
    precision: Spread | None
    """Of `sub`."""
    recall: Spread | None

    @property
    def forgetting(self) -> float | None:
        return difference(self.init, self.sub)


@dataclass(frozen=True, kw_only=True)
class Progression:
    """One system that learned one new type."""

    corpus: str
    target: str
    system: str
    """The label of its row."""
    seeds: tuple[int, ...]
    types: Mapping[str, TypeProgress]
    """The old ones as they were learned, the target, and micro-F1 over all as `overall`."""
    runs: tuple[str, ...]
    """The names of its runs and of those of its baseline."""


def progressions(comparisons: Sequence[Comparison], runs: Sequence[Run]) -> tuple[Progression, ...]:
    """The finished rows of progressive scenarios, each with the baseline of its model."""
    by_name = {run.run: run for run in runs}
    scratch = [run for run in runs if protocol_name(run.config["scenario"]) == "scratch" and run.finished]
    return tuple(
        _progression(comparison, row, [by_name[name] for name in row.runs if by_name[name].finished], scratch)
        for comparison in comparisons
        if protocol_name(comparison.scenario) == "progressive"
        for row in comparison.rows
        if row.finished and not row.joint
    )


def _progression(comparison: Comparison, row: Row, runs: Sequence[Run], scratch: Sequence[Run]) -> Progression:
    old, (target,) = comparison.plan
    baseline = [run for run in scratch if _start(run) == _start(runs[0])]
    initial, subsequent = [run.steps[0] for run in runs], [run.steps[-1] for run in runs]
    random = [run.steps[-1] for run in baseline]
    types = {
        name: TypeProgress(
            init=None if name == target else _score(initial, name),
            sub=_score(subsequent, name),
            rand=_score(random, name),
            precision=spread(step.micro_precision if name == OVERALL else step.precision[name] for step in subsequent),
            recall=spread(step.micro_recall if name == OVERALL else step.recall[name] for step in subsequent),
        )
        for name in [*old, target, OVERALL]
    }
    return Progression(
        corpus=corpus_name(comparison.scenario),
        target=target,
        system=row.label,
        seeds=row.finished,
        types=types,
        runs=tuple(run.run for run in (*runs, *baseline)),
    )


def _start(run: Run) -> str:
    """What a run and its baseline have in common: the sentences, and the network before it grew."""
    scenario, model = run.config["scenario"], run.config["model"]
    sampling = [scenario["order"], *(scenario["protocol"].get(name) for name in ("target", "share", "split_seed"))]
    corpora = [corpus.fingerprint for corpus in run.corpora]
    return json.dumps([corpora, sampling, model["encoder"], model["head"], run.config["optim"]], sort_keys=True)


def _score(steps: Sequence[Step], name: str) -> Spread | None:
    return spread(step.micro if name == OVERALL else step.f1.get(name) for step in steps)
