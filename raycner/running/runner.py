"""run(config): walk the plan; steps that the store already has are taken, the missing ones are trained.

With `compute.workers` the missing steps are given to one gang of Ray Train workers; else this process trains them. One
process at a time drives a run: it holds the run's lease, and another that is told the same waits, and then finds all
steps in the store.
"""

from raycner.config import RunConfig
from raycner.running.cluster import cluster
from raycner.running.gang import gang
from raycner.running.trackers import tracked
from raycner.running.walk import Notice, begin, name, prepare, walk
from raycner.storage.leases import held
from raycner.storage.ledger import RunLedger
from raycner.training.plan import plan
from raycner.training.teacher import StepCheckpoint


def run(config: RunConfig, notice: Notice) -> RunLedger:
    """Train whatever steps of a run are missing, and return its ledger, complete."""
    store, scenario = prepare(config, notice)
    fingerprints = [corpus.fingerprint for corpus in scenario.corpora]
    specs = plan(config, scenario)
    this = name(config, specs)

    def waiting(holder: str) -> None:
        notice("say", line=f"run {this} is held by {holder}; waiting")

    with held(store, f"runs/{this}", waiting), tracked(config, this, notice) as told:
        begin(config, store, scenario, specs)
        compute = config.compute
        if compute.workers and None in [StepCheckpoint.find(store, spec.fingerprint) for spec in specs]:
            number = f"{compute.min_workers} to {compute.workers}" if compute.min_workers else f"{compute.workers}"
            told("wait", reason=f"starting {number} Ray Train workers")
            with cluster(compute.workers * compute.cpus_per_worker + 1):
                gang([config], fingerprints, told)
        else:
            for _ in walk(config, fingerprints, told):
                pass
        return RunLedger.open(store, this)
