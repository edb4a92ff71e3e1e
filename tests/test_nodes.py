"""Runs on an existing cluster of two nodes, and on one that grows from one node to two: RAY_ADDRESS names it."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

import runs
from processes import PATIENCE, descendants, wait_until
from raycner.storage.ledger import StepRecord

pytestmark = [pytest.mark.ray, pytest.mark.timeout(3 * PATIENCE)]

FP64 = ("scenario.protocol.first=2", "optim.precision=fp64")
PATIENT = """
import time

import ray
from raycner.methods.finetuning import Finetuning
from raycner.methods.method import METHODS
from raycner.training import ranks


@METHODS.register("patient")
class Patient(Finetuning):
    @property
    def first(self):
        return self

    def on_epoch_start(self, loader):
        if ray.is_initialized() and ranks.world_size() == 1:
            time.sleep(0.5)
        return loader.split
"""


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster whose head has room for one worker, and to which RAY_ADDRESS leads; nothing of it outlives the test."""
    for variable in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = {pid for pid, _ in descendants(os.getpid())}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    try:
        yield cluster
    finally:
        cluster.shutdown()
    left = {pid for pid, _ in descendants(os.getpid())} - before
    assert not left, "processes are left behind"


def same(ones: Sequence[StepRecord], others: Sequence[StepRecord]) -> None:
    """They learned the same, up to the order of sums."""
    assert [record.fingerprint for record in ones] == [record.fingerprint for record in others]
    for one, other in zip(ones, others, strict=True):
        assert (one.dev, one.test) == (other.dev, other.test)
        for ours, theirs in zip(one.epochs, other.epochs, strict=True):
            assert ours.losses == pytest.approx(theirs.losses, rel=1e-9)


def test_two_workers_on_two_nodes(nodes: Cluster, tmp_path: Path) -> None:
    """Each node has room for one worker; what they learn is what one process learns."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    runs.finish(alone, *FP64)
    nodes.add_node(num_cpus=1)
    output = runs.finish(shared, *FP64, "compute.workers=2")
    assert "starting 2 Ray Train workers" in output
    assert [record.workers for record in runs.ledger(shared).records()] == [2, 2]
    same(runs.ledger(alone).records(), runs.ledger(shared).records())
    assert runs.finish(shared, *FP64, "compute.workers=2").count("taken from the store") == 2


def test_an_elastic_worker_group_grows_when_a_node_joins(nodes: Cluster, tmp_path: Path) -> None:
    """It starts with one worker, continues with two when a node joins, and learns what one process learns.

    The method waits in each epoch while one worker trains alone, so that the group has time to grow on any machine.
    """
    plugin = tmp_path / "patient.py"
    plugin.write_text(PATIENT, encoding="utf-8")
    settings = (*FP64, f"plugins=[{plugin}]", "method.name=patient", "optim.first.epochs=120", "optim.epochs=2")
    alone, elastic = tmp_path / "alone", tmp_path / "elastic"
    runs.finish(alone, *settings)
    line = runs.command(elastic, *settings, "compute.workers=2", "compute.min_workers=1")
    driver = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until(lambda: any(elastic.glob("snapshots/*/epoch-*/MANIFEST")), driver)
    nodes.add_node(num_cpus=1)
    output = driver.communicate(timeout=PATIENCE)[0]
    assert driver.returncode == 0 and "starting 1 to 2 Ray Train workers" in output, output
    assert [record.workers for record in runs.ledger(elastic).records()][-1] == 2
    same(runs.ledger(alone).records(), runs.ledger(elastic).records())
