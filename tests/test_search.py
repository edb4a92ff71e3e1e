"""Searches on real Ray: what a kill leaves behind, several workers a trial, and searches that change between in process
and Ray."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from processes import PATIENCE, descendants, wait_until
from raycner.orchestration.cluster import cluster
from searches import LEARNS, POOR, ROOT, record_of, search, space, trials, written

pytestmark = [pytest.mark.ray, pytest.mark.timeout(3 * PATIENCE)]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_a_killed_search_resumes_and_a_killed_trial_restarts(tmp_path: Path) -> None:
    """The trial's process first, then the driver: no step that was committed is ever trained again.

    The journal is written every few seconds: a trial that began after the last time is not repeated; its step stays.
    """
    path = space(tmp_path, "trials=6, pruning='none',", "pass", "", "scenario.corpus.sentences=400", "optim.epochs=4")
    line = [sys.executable, "-m", "raycner", "search", str(path), "--parallel", "2"]
    driver = subprocess.Popen(
        line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ.copy()
    )
    try:
        wait_until(lambda: len(written(tmp_path)) >= 5 and at_work(driver.pid), driver)
        os.kill(at_work(driver.pid)[0], signal.SIGKILL)
        wait_until(lambda: len(written(tmp_path)) >= 7, driver)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait(30)
    committed = written(tmp_path)
    (journal,) = tmp_path.glob("store/searches/*/journal.log")
    after_the_journal = [at for at in committed.values() if at > journal.stat().st_mtime_ns]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert committed.items() <= written(tmp_path).items()
    ended = trials(record_of(tmp_path))
    assert [trial.state for trial in ended] == ["complete"] * 6
    assert len({json.dumps(dict(trial.settings)) for trial in ended}) == 6
    left_over = len(written(tmp_path)) - (1 + 6 * 2)  # beyond the shared step and the two of each trial
    assert 0 <= left_over <= len(after_the_journal)


def test_a_search_that_can_never_start_is_rejected(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert search(space(tmp_path), "compute.gpus_per_worker=1") == 2
    assert "compute: a trial needs 1 CPU and 1 GPU, and the cluster has" in " ".join(capfd.readouterr().err.split())


def test_trials_of_several_workers_start_worker_groups_and_a_database_keeps_the_study(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'study.db'}"
    options = ("--trials", "2", "--database", database, "compute.workers=2", "optim.epochs=1", "optim.first.epochs=1")
    assert search(space(tmp_path), *options) == 0
    record = record_of(tmp_path)
    assert [(trial.state, trial.trained, trial.shared) for trial in trials(record)] == [
        ("complete", 0, 3),
        ("complete", 2, 1),
    ]
    assert len(optuna.load_study(study_name=record.name, storage=database).trials) == 2
    assert not (tmp_path / "store" / "searches" / record.name / "journal.log").exists()


def test_a_connected_process_connects_no_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.init", pytest.fail)
    monkeypatch.setattr("ray.shutdown", pytest.fail)
    with cluster(2):
        pass


def test_a_search_changes_between_this_process_and_ray(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = space(tmp_path, "trials=2, sampler='random',", POOR, "'optim.head_lr': 0.05", *LEARNS)
    assert search(path) == 0
    assert "trials run one at a time in this process" in capfd.readouterr().out
    before = written(tmp_path)
    assert search(path, "--trials", "5", "--parallel", "2") == 0
    assert "in this process" not in capfd.readouterr().out
    on_ray = trials(record_of(tmp_path))
    assert len(on_ray) == 5 and before.items() <= written(tmp_path).items()
    pruned = [trial for trial in on_ray[2:] if trial.state == "pruned"]
    assert pruned and {len(trial.scores) for trial in pruned} == {2}, "pruned by the scores of both sessions"
    assert search(path, "--trials", "6") == 0
    ended = trials(record_of(tmp_path))
    assert ended[:5] == on_ray and len({json.dumps(dict(trial.settings)) for trial in ended}) == 6
    assert len(written(tmp_path)) == 3 + sum(trial.trained for trial in ended), "no step was trained twice"


def at_work(driver: int) -> list[int]:
    """The processes of trials that are in a step just now."""
    return [pid for pid, command in descendants(driver) if command.startswith("ray::") and "train" in command]
