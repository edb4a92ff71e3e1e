"""run(config): steps and evaluations that the store has are reused, the missing ones are made.

With `compute.workers` one group of Ray Train workers makes them; otherwise this process does. One process at a time
drives a run: it holds the run's lock. A second process waits, and then finds everything in the store.
"""

from collections.abc import Mapping, Sequence

from raycner.callbacks.tracking import tracked, tracker
from raycner.config import RunConfig
from raycner.data.scenarios.scenario import Scenario
from raycner.errors import InputError
from raycner.evaluation.evaluator import Evaluator
from raycner.evaluation.test_sets import prepare_test_sets
from raycner.events import EventHandler, Message, Waiting
from raycner.hashing import plain
from raycner.orchestration.cluster import cluster
from raycner.orchestration.recipe import active_parts
from raycner.orchestration.run_steps import begin, name, prepare, run_steps
from raycner.orchestration.worker_group import run_worker_group
from raycner.settings import flat
from raycner.storage.ledger import RunLedger
from raycner.storage.locks import acquire
from raycner.storage.store import ObjectStore
from raycner.training.checkpoint import StepCheckpoint
from raycner.training.plan import StepSpec, plan


def run(config: RunConfig, emit: EventHandler) -> RunLedger:
    """Train and evaluate what is missing of a run, and return its complete ledger."""
    store, scenario = prepare(config, emit)
    tests = prepare_test_sets(config, scenario, store, emit)
    try:
        return drive(config, store, scenario, tests, emit)
    except FileNotFoundError as error:
        hint = "put the store back where it was, and rerun the same command"
        raise InputError(f"files of the store are gone ({error})", location=str(store), hint=hint) from None


def drive(
    config: RunConfig, store: ObjectStore, scenario: Scenario, tests: Mapping[str, str], emit: EventHandler
) -> RunLedger:
    """`run`, whose corpora and extra test sets (name -> fingerprint) are in the store."""
    fingerprints = scenario.fingerprints
    specs = plan(config, scenario)
    this = name(config, specs)

    def waiting(holder: str) -> None:
        emit(Message(f"waiting for run {this}, which {holder} is running"))

    compute = config.compute
    track_with = tracker(compute.tracker, compute.tracker_path)
    with acquire(store, f"runs/{this}", waiting), tracked(track_with, this, flat(plain(config)), emit) as handler:
        begin(config, store, scenario, specs)
        if compute.workers and not _is_done(specs, Evaluator(store, config, tests, scenario.adopted_on)):
            number = f"{compute.min_workers} to {compute.workers}" if compute.min_workers else f"{compute.workers}"
            with cluster(compute.workers * compute.cpus_per_worker + 1, handler):
                handler(Waiting(f"starting {number} Ray Train workers"))
                run_worker_group([config], fingerprints, handler, test_sets=tests)
        else:
            for _ in run_steps(config, fingerprints, handler, tests):
                pass
        if len(specs) > 1:
            handler(Message(active_parts(config)))
        return RunLedger.open(store, this)


def _is_done(specs: Sequence[StepSpec], evaluator: Evaluator) -> bool:
    """Whether the store has every step, and its evaluation."""
    steps = (StepCheckpoint.find(evaluator.store, spec.fingerprint) for spec in specs)
    return all(step is not None and evaluator.find(step) is not None for step in steps)
