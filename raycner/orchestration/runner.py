"""run(config): walk the plan; steps that the store already has are taken, the missing ones are trained.

With `compute.workers` the missing steps are given to one gang of Ray Train workers; else this process trains them. One
process at a time drives a run: it holds the run's lease, and another that is told the same waits, and then finds all
steps in the store.
"""

from raycner.callbacks.tracking import tracked, tracker
from raycner.config import RunConfig
from raycner.events import EventHandler, Message, Waiting
from raycner.hashing import plain
from raycner.orchestration.cluster import cluster
from raycner.orchestration.run_steps import begin, name, prepare, run_steps
from raycner.orchestration.worker_group import run_worker_group
from raycner.settings import flat
from raycner.storage.ledger import RunLedger
from raycner.storage.locks import acquire
from raycner.training.checkpoint import StepCheckpoint
from raycner.training.plan import plan


def run(config: RunConfig, emit: EventHandler) -> RunLedger:
    """Train whatever steps of a run are missing, and return its ledger, complete."""
    store, scenario = prepare(config, emit)
    fingerprints = [corpus.fingerprint for corpus in scenario.corpora]
    specs = plan(config, scenario)
    this = name(config, specs)

    def waiting(holder: str) -> None:
        emit(Message(f"waiting for run {this}, which {holder} is running"))

    compute = config.compute
    track_with = tracker(compute.tracker, compute.tracker_path)
    with acquire(store, f"runs/{this}", waiting), tracked(track_with, this, flat(plain(config)), emit) as handler:
        begin(config, store, scenario, specs)
        if compute.workers and None in [StepCheckpoint.find(store, spec.fingerprint) for spec in specs]:
            number = f"{compute.min_workers} to {compute.workers}" if compute.min_workers else f"{compute.workers}"
            handler(Waiting(f"starting {number} Ray Train workers"))
            with cluster(compute.workers * compute.cpus_per_worker + 1):
                run_worker_group([config], fingerprints, handler)
        else:
            for _ in run_steps(config, fingerprints, handler):
                pass
        return RunLedger.open(store, this)
