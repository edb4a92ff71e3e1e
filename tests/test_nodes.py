"""A run over two nodes of a cluster that is already there: RAY_ADDRESS leads to it, and two workers share each step."""

import os
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

import runs
from test_ray import descendants

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


def test_two_workers_on_two_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each node has room for one worker; what they learn is what one process learns, up to the order of sums."""
    for variable in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    settings = ("scenario.first=2", "optim.precision=fp64")
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    runs.finish(alone, *settings)
    before = {pid for pid, _ in descendants(os.getpid())}
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        nodes.add_node(num_cpus=1)
        monkeypatch.setenv("RAY_ADDRESS", nodes.address)
        said = runs.finish(shared, *settings, "compute.workers=2")
        assert "starting 2 Ray Train workers" in said
        assert [record.workers for record in runs.ledger(shared).records()] == [2, 2]
        ones, twos = runs.ledger(alone).records(), runs.ledger(shared).records()
        assert [record.fingerprint for record in ones] == [record.fingerprint for record in twos]
        for one, two in zip(ones, twos, strict=True):
            assert (one.dev, one.test) == (two.dev, two.test)
            for ours, theirs in zip(one.epochs, two.epochs, strict=True):
                assert ours.losses == pytest.approx(theirs.losses, rel=1e-9)
        assert runs.finish(shared, *settings, "compute.workers=2").count("taken from the store") == 2
    finally:
        nodes.shutdown()
    left = {pid for pid, _ in descendants(os.getpid())} - before
    assert not left, "processes are left behind"
