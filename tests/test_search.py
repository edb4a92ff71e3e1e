"""Searches with real Ray and real Optuna: the winner, the shared steps, and what a kill leaves behind."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import runs
from processes import PATIENCE, descendants, wait_until
from raycner.__main__ import main
from raycner.storage.ledger import RunLedger
from raycner.storage.searches import SearchRecord, TrialRecord
from raycner.storage.store import ObjectStore

pytestmark = [pytest.mark.ray, pytest.mark.timeout(3 * PATIENCE)]
ROOT = Path(__file__).parent.parent
SPACE = """from raycner import Study

def space(trial):
    trial.suggest_float("method.base.kd_weight", 0.1, 10.0, log=True)
    {more}

STUDY = Study(base="jobs/demo.yaml", overrides={overrides!r}, space=space, finalists=1, {fields}
              first=[{{"method.base.kd_weight": 1.0, {first}}}])
"""


@pytest.fixture(autouse=True)
def quiet_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def space(
    folder: Path, fields: str = "trials=4, pruning='none',", more: str = "pass", first: str = "", *overrides: str
) -> Path:
    path = folder / "space.py"
    jobs = (*runs.SMALL, "compute.workers=0", f"store={folder / 'store'}", *overrides)
    path.write_text(SPACE.format(more=more, overrides=jobs, fields=fields, first=first))
    return path


def search(path: Path, *words: str) -> int:
    return main(["search", str(path), *words])


def record_of(folder: Path) -> SearchRecord:
    (record,) = SearchRecord.all(ObjectStore(str(folder / "store")))
    return record


def trials(record: SearchRecord) -> list[TrialRecord]:
    return [trial for one in record.rounds for trial in one.trials]


def written(folder: Path) -> dict[str, int]:
    """When each committed step was committed."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("store/steps/*/MANIFEST")}


def test_finalists_are_compared_with_more_seeds(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = space(tmp_path, "trials=3, pruning='none', final_seeds=2,")
    path.write_text(path.read_text().replace("finalists=1", "finalists=2"))
    assert search(path) == 0
    printed = capfd.readouterr().out
    record = record_of(tmp_path)
    assert record.winner is not None
    assert "finalist 1: " in printed and "finalist 2: " in printed and "over trial 0, 2 seeds" in printed
    assert (len(record.winner.runs), len(record.winner.baseline)) == (2, 2)
    seeds = [RunLedger.open(ObjectStore(str(tmp_path / "store")), name).config["seed"] for name in record.winner.runs]
    assert seeds == [0, 1]


def test_a_search_leaves_a_winner_that_its_line_runs_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = space(tmp_path)
    assert search(path, "--dry-run") == 0
    assert "12 steps; 9 if none is trained twice, 9 not in the store" in " ".join(capfd.readouterr().out.split())
    assert search(path) == 0
    shown = capfd.readouterr().out
    record = record_of(tmp_path)
    ended = trials(record)
    assert [trial.state for trial in ended] == ["complete"] * 4
    assert (ended[0].trained, ended[0].shared, ended[0].values) == (0, 3, (0.0,)), (
        "trial 0 is what all are compared with"
    )
    assert [(trial.trained, trial.shared) for trial in ended[1:]] == [(2, 1)] * 3, "the first step is everybody's"
    assert record.winner is not None
    assert max(ended, key=lambda trial: trial.values).settings == record.winner.settings
    assert len(ended[1].scores) == 3
    assert record.winner.command in shown

    before = written(tmp_path)
    store = ObjectStore(str(tmp_path / "store"))
    ledgers = {name: store.read(RunLedger.key(name)) for name in record.winner.runs}
    assert main(shlex.split(record.winner.command)[1:]) == 0
    assert {name: store.read(RunLedger.key(name)) for name in record.winner.runs} == ledgers
    assert written(tmp_path) == before

    journal = JournalStorage(JournalFileBackend(str(tmp_path / "store" / "searches" / record.name / "journal.log")))
    seen = optuna.load_study(study_name=record.name, storage=journal)
    assert len(seen.trials) == 4, "what optuna-dashboard opens"
    assert seen.best_trial.params == record.winner.settings

    assert search(path, "--trials", "5") == 0, "more trials of the same study"
    assert len(trials(record_of(tmp_path))) == 5
    assert before.items() <= written(tmp_path).items()


def test_a_killed_search_resumes_and_a_killed_trial_restarts(tmp_path: Path) -> None:
    """The trial's process first, then the driver: no step that was committed is ever trained again."""
    path = space(tmp_path, "trials=6, pruning='none',", "pass", "", "scenario.corpus.sentences=400", "optim.epochs=4")
    line = [sys.executable, "-m", "raycner", "search", str(path)]
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
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert committed.items() <= written(tmp_path).items()
    ended = trials(record_of(tmp_path))
    assert [trial.state for trial in ended] == ["complete"] * 6
    assert len({json.dumps(dict(trial.settings)) for trial in ended}) == 6
    assert len(written(tmp_path)) == 1 + 6 * 2, "every trial's own steps, and nothing that a killed trial left over"


def test_failed_trials_are_reported_and_the_search_continues(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    broken = "trial.suggest_categorical('optim.head_lr', [0.02, 1e30])"
    path = space(
        tmp_path,
        "trials=4, pruning='none', sampler='random',",
        broken,
        "'optim.head_lr': 0.02}, {'method.base.kd_weight': 2.0, 'optim.head_lr': 1e30",
    )
    assert search(path) == 0
    ended = trials(record_of(tmp_path))
    assert len(ended) == 4
    assert ended[1].state == "failed"
    assert "not finite" in ended[1].reason
    assert f"trial 1 failed: {ended[1].reason}" in " ".join(capfd.readouterr().out.split())


def test_a_search_that_can_never_start_is_rejected(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert search(space(tmp_path), "compute.gpus_per_worker=1") == 2
    assert "compute: a trial needs 1 CPU and 1 GPU, and the cluster has" in " ".join(capfd.readouterr().err.split())


def test_two_objectives_end_in_a_pareto_table(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert search(space(tmp_path, "trials=4, metric='old_new', seeds=2,")) == 0
    record = record_of(tmp_path)
    assert record.objectives == ("old", "new")
    assert all(len(trial.values) == 2 for trial in trials(record))
    assert [trial.trained for trial in trials(record)] == [0, 4, 4, 4], "two seeds, two steps of their own each"
    assert "old types" in capfd.readouterr().out


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


def test_an_invalid_database_is_one_line_without_its_password(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert search(space(tmp_path), "--database", "nothing://me:secret@nowhere/x") == 2
    captured = capfd.readouterr()
    assert "--database: a secret in a URI" in " ".join(captured.err.split())
    assert "me:" not in captured.out + captured.err and "nowhere" not in captured.out + captured.err


def test_step_by_step_each_step_has_its_own_settings(tmp_path: Path) -> None:
    assert search(space(tmp_path, "trials=3, strategy='per_step', beam=2,")) == 0
    record = record_of(tmp_path)
    assert [one.steps for one in record.rounds] == [2, 3], "the first step is nobody's to choose"
    assert [len(one.trials) for one in record.rounds] == [3, 3]
    assert record.winner is not None
    assert record.winner.settings.keys() == {"at.2.method.base.kd_weight", "at.3.method.base.kd_weight"}
    before = written(tmp_path)
    assert main(shlex.split(record.winner.command)[1:]) == 0
    assert written(tmp_path) == before


def at_work(driver: int) -> list[int]:
    """The processes of trials that are in a step just now."""
    return [pid for pid, command in descendants(driver) if command.startswith("ray::") and "train" in command]
