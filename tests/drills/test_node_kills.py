"""Jobs of a cluster whose only node with CPUs dies: another one joins, and the same line goes to its end."""

from collections.abc import Callable
from pathlib import Path

import pytest

import runs
from drills.verbs import ROWS, SPACE
from local_cluster import LocalCluster
from processes import PATIENCE, wait_until
from raycner.__main__ import main
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore
from searches import LEARNS

pytestmark = [pytest.mark.ray, pytest.mark.chaos, pytest.mark.timeout(3 * PATIENCE)]
SETTINGS = (*runs.SMALL, *LEARNS)
LINES: dict[str, Callable[[Path, Path], tuple[str, ...]]] = {
    "run": lambda store, _: ("run", *SETTINGS, f"store={store}", "compute.workers=2"),
    "compare": lambda store, folder: ("compare", *SETTINGS, f"store={store}", "--rows", str(folder / "rows.yaml")),
    "search": lambda store, folder: (
        *("search", str(folder / "space.py")),
        *(f"store={store}", "compute.workers=0"),
    ),
}
ON_THE_CLUSTER = {
    "run": (),
    "compare": ("--parallel", "2"),
    "search": ("compute.workers=1", "compute.max_concurrent_trials=2"),
}


@pytest.mark.parametrize("verb", LINES)
def test_a_submitted_line_outlives_its_node(verb: str, tmp_path: Path) -> None:
    (tmp_path / "rows.yaml").write_text(ROWS, encoding="utf-8")
    (tmp_path / "space.py").write_text(SPACE.format(overrides=SETTINGS), encoding="utf-8")
    whole, store = tmp_path / "whole", tmp_path / "store"
    assert main([*LINES[verb](whole, tmp_path)]) == 0
    with LocalCluster.running(tmp_path, head_cpus=0) as cluster:
        node = cluster.join(2)
        job = cluster.submit(*LINES[verb](store, tmp_path), *ON_THE_CLUSTER[verb])
        wait_until(lambda: any(store.glob("steps/*/MANIFEST")) and any(store.glob("snapshots/*/*/MANIFEST")), job)
        cluster.kill(node)
        assert job.poll() is None
        cluster.join(2)
        output = job.communicate(timeout=PATIENCE)[0]
        assert job.returncode == 0, output
    assert facts(store) == facts(whole) and facts(store)


def facts(store: Path) -> dict[str, list[object]]:
    """What each ledger of a store says."""
    return {run.run: runs.facts_of(run) for run in RunLedger.all(ObjectStore(str(store)))}
