"""Runs that go in parallel: each is one task of a Ray cluster and trains in that task's process.

The runs of a table share steps. A step that two of them need is trained by whoever gets its lock first; the other waits
for it. Everything is in the store, so a task that starts again continues where it stopped.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypedDict

from raycner.config import RunConfig
from raycner.data.scenarios.scenario import Scenario
from raycner.errors import InputError
from raycner.evaluation.test_sets import prepare_test_sets
from raycner.events import EventHandler, EventOf, RunEnded, RunsPlanned
from raycner.hashing import plain
from raycner.orchestration.cluster import cluster, use_assigned_device
from raycner.orchestration.event_relay import EventSender, on_driver_node, relay
from raycner.orchestration.run_steps import prepare
from raycner.orchestration.runner import drive
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore


class _Task(TypedDict):
    """One run, as its task receives it."""

    config: RunConfig
    corpora: list[str]
    """Fingerprints."""
    test_sets: Mapping[str, str]
    """Name -> fingerprint."""


def run_in_parallel(configs: Mapping[str, RunConfig], parallel: int, emit: EventHandler) -> tuple[RunLedger, ...]:
    """The complete ledgers of runs by title, in their order; at most `parallel` of them go at once.

    A run has the CPUs and GPUs of one worker. Raises the first `InputError` of a run, and one for runs of several
    workers each.
    """
    if any(config.compute.workers > 1 for config in configs.values()):
        what = "a run of a parallel comparison trains in one process"
        raise InputError(what, location="compute.workers", hint="set compute.workers=0, or leave --parallel out")
    with cluster(parallel * max(config.compute.cpus_per_worker for config in configs.values()), emit):
        return run_tasks(configs, parallel, emit)


def run_tasks(configs: Mapping[str, RunConfig], parallel: int, emit: EventHandler) -> tuple[RunLedger, ...]:
    """`run_in_parallel`, from a process that is connected to a cluster."""
    import ray
    from ray.util.queue import Queue

    tasks = _prepared(configs, emit)
    emit(RunsPlanned(tuple(tasks), parallel))
    event_queue = Queue(actor_options=on_driver_node())
    waiting, running, names = list(tasks), dict[Any, str](), dict[str, str]()
    with relay(event_queue, emit):
        while waiting or running:
            while waiting and len(running) < parallel:
                title = waiting.pop(0)
                running[_submit(title, tasks[title], event_queue)] = title
            (ended, *_), _ = ray.wait(list(running))
            name = ray.get(ended)
            if isinstance(name, InputError):
                raise name
            names[running.pop(ended)] = name
    return tuple(RunLedger.open(ObjectStore(config.store), names[title]) for title, config in configs.items())


def _prepared(configs: Mapping[str, RunConfig], emit: EventHandler) -> dict[str, _Task]:
    """The tasks of the runs, whose corpora and extra test sets are in the store: read once for runs that share them."""
    in_store: dict[str, tuple[list[str], Mapping[str, str]]] = {}
    tasks: dict[str, _Task] = {}
    for title, config in configs.items():
        sources = json.dumps(plain([config.store, config.scenario, config.eval.test]), sort_keys=True)
        if sources not in in_store:
            store, scenario = prepare(config, emit)
            in_store[sources] = list(scenario.fingerprints), prepare_test_sets(config, scenario, store, emit)
        corpora, tests = in_store[sources]
        tasks[title] = _Task(config=config, corpora=corpora, test_sets=tests)
    return tasks


def _submit(title: str, task: _Task, event_queue: Any) -> Any:
    """Start the task of a run: a reference to the name of its ledger."""
    import ray

    compute = task["config"].compute
    options = {
        "num_cpus": compute.cpus_per_worker,
        "num_gpus": compute.gpus_per_worker,
        "max_retries": compute.max_failures,
    }
    return ray.remote(_run).options(**options).remote(title, task, event_queue)


def _run(title: str, task: _Task, event_queue: Any) -> str | InputError:
    """The program of a task. An `InputError` is returned, because another attempt would not help."""
    import torch

    config = task["config"]
    torch.set_num_threads(config.compute.cpus_per_worker)
    put = partial(_put_event_of, event_queue, title)
    try:
        use_assigned_device()
        alone = replace(config, compute=replace(config.compute, workers=0))
        store = ObjectStore(config.store)
        scenario = Scenario.open(config.scenario, store, task["corpora"])
        ledger = drive(alone, store, scenario, task["test_sets"], EventSender(put))
    except InputError as error:
        return error
    event_queue.put(RunEnded(title))
    return ledger.run


def _put_event_of(event_queue: Any, title: str, event: Any) -> None:
    event_queue.put(EventOf(title, event))
