"""Step-wise search against whole-run search at equally many trained sentences, seed by seed, with a paired test.

    python tests/benchmarks/search_strategies.py search_spaces/extend_ner.py jobs/demo.yaml --store compared \
        scenario.corpus.sentences=600 optim.epochs=4 optim.first.epochs=6

Both strategies try so many settings of each step, prune nothing, and take the best trial on dev. Searches run one after
another in this process; with the same store, the command continues.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import raycner
from raycner.analysis.statistics import paired_effect, smallest_p
from raycner.data.metrics import macro, micro
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore
from raycner.training.checkpoint import StepCheckpoint
from raycner.tuning.study import load

STRATEGIES = ("whole_run", "per_step")


class Outcome(NamedTuple):
    """What a search reached, in points of F1 over trial 0, and what it cost."""

    dev: float
    """Mean of micro- and macro-F1 on dev, averaged over steps: what the search maximises."""
    test: float
    """The same on test."""
    last: float
    """The same on test after the last step."""
    sentences: int
    """Sentences that all its steps trained on, in all their epochs."""


def outcome(study: str, strategy: str, seed: int, trials: int, store: str, configs: list[str]) -> Outcome:
    unpruned = replace(load(study), pruning="none", finalists=1, sampler_seed=seed, base=configs[0])
    settings = [*configs[1:], "compute.workers=0", f"seed={seed}", f"store={store}"]
    search = raycner.search(unpruned, settings, strategy=strategy, trials=trials, progress=False)
    winner = search.record.winner
    assert winner is not None
    dev = max(trial.values[0] for trial in search.record.rounds[-1].trials if trial.state == "complete")
    ours, published = (scores(ObjectStore(store), runs[0]) for runs in (winner.runs, winner.baseline))
    gains = [100 * (one - other) for one, other in zip(ours, published, strict=True)]
    return Outcome(100 * dev, fmean(gains), gains[-1], trained_sentences(ObjectStore(store)))


def scores(store: ObjectStore, run: str) -> list[float]:
    """Mean of micro- and macro-F1 on test after each step."""
    return [(micro(record.test) + macro(record.test)) / 2 for record in RunLedger.open(store, run).records()]


def trained_sentences(store: ObjectStore) -> int:
    names = {key.split("/")[1] for key in store.list("steps") if key.endswith("/MANIFEST")}
    steps = filter(None, (StepCheckpoint.find(store, name) for name in names))
    return sum(step.record.sentences * len(step.record.epochs) for step in steps)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("study")
    parser.add_argument("configs", nargs="+", help="the job, and overrides of it")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--store", required=True)
    args = parser.parse_intermixed_args()
    outcomes: dict[str, list[Outcome]] = {strategy: [] for strategy in STRATEGIES}
    print("seed  strategy    dev    test   test, last step   sentences")
    for seed in range(args.seeds):
        for strategy in STRATEGIES:
            store = str(Path(args.store) / f"{seed}-{strategy}")
            one = outcome(args.study, strategy, seed, args.trials, store, args.configs)
            outcomes[strategy].append(one)
            print(
                f"{seed:4}  {strategy:9} {one.dev:+6.1f} {one.test:+6.1f} {one.last:+6.1f} {one.sentences:21}",
                flush=True,
            )
    for name in ("dev", "test", "last"):
        whole, stepwise = ([getattr(one, name) for one in outcomes[strategy]] for strategy in STRATEGIES)
        effect = paired_effect(stepwise, whole)
        interval = "" if effect.low is None else f", 95 % interval {effect.low:+.2f} to {effect.high:+.2f}"
        p = "" if effect.p is None else f", sign-flip p {effect.p:.3f} (least possible {smallest_p(effect.n):.3f})"
        print(f"{name}: step-wise minus whole-run {effect.mean:+.2f}{interval}{p}, {effect.n} seeds")


if __name__ == "__main__":
    main()
