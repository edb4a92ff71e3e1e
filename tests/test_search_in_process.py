"""Searches in this process: the winner, the shared steps, pruning, and what a kill leaves behind, without Ray."""

import contextlib
import io
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from browsers import browser as browser
from processes import PATIENCE, wait_until
from raycner.__main__ import main
from raycner.storage.ledger import RunLedger
from raycner.storage.searches import SearchRecord, TrialRecord
from raycner.storage.store import ObjectStore
from raycner.tuning.pruning import SuccessiveHalving
from raycner.tuning.search import best_first
from searches import LEARNS, POOR, ROOT, record_of, search, space, trials, written

pytestmark = pytest.mark.timeout(PATIENCE)
WITHOUT_RAY = "import sys; sys.modules['ray'] = None; from raycner.__main__ import main; sys.exit(main(sys.argv[1:]))"
"""A program that is `raycner`, and fails where Ray is imported."""


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_equal_trials_are_ranked_by_settings_and_not_by_number() -> None:
    """A trial that a kill interrupted is repeated under another number."""
    weights, scores = {0: 1.0, 1: 0.5, 2: 2.0, 3: 4.0}, {0.5: 0.0, 1.0: 0.0, 2.0: 0.0, 4.0: 0.1}

    def trial(number: int, weight: float) -> TrialRecord:
        value = (scores[weight],)
        settings = {"method.kd_weight": weight}
        counts = {"trained": 1, "shared": 0, "seconds": 1.0}
        return TrialRecord(number=number, state="complete", settings=settings, values=value, scores=value, **counts)

    undisturbed = [trial(number, weight) for number, weight in weights.items()]
    repeated = [trial(1, 0.5), trial(2, 2.0), trial(3, 4.0), trial(4, 1.0)]
    for trials_ in (undisturbed, repeated):
        ranked = best_first(trials_, {"method.kd_weight": 1.0})
        assert [one.settings["method.kd_weight"] for one in ranked] == [4.0, 1.0, 0.5, 2.0]


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


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store with a search of four complete trials; its output is in the file `printed`."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.chdir(ROOT)
        patch.delenv("RAY_ADDRESS", raising=False)
        assert search(space(folder), "--dry-run") == 0
        assert search(space(folder)) == 0
    (folder / "printed").write_text(printed.getvalue(), encoding="utf-8")
    return folder


def test_a_search_leaves_a_winner_that_its_line_runs_again(finished: Path) -> None:
    path, tmp_path = finished / "space.py", finished
    shown = (finished / "printed").read_text(encoding="utf-8")
    assert "12 steps; 9 if none is trained twice, 9 not in the store" in " ".join(shown.split())
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


def test_a_browser_shows_the_study_in_optuna_dashboard(browser: str, finished: Path, tmp_path: Path) -> None:
    record = record_of(finished)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).parent / "optuna-dashboard"
    line = [str(program), str(finished / "store" / "searches" / record.name / "journal.log"), "--port", str(port)]
    server = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port), server)
        page = opened(browser, f"http://127.0.0.1:{port}/dashboard/studies/0", tmp_path)
    finally:
        server.kill()
        server.wait(30)
    assert record.name in page
    assert set(re.findall(r"trial #(\d+)", page)) == {str(trial.number) for trial in trials(record)}


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def opened(browser: str, address: str, profile: Path) -> str:
    """The page as the browser has it after its scripts ran."""
    head = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={profile}",
        "--window-size=1280,2000",
    ]
    line = [*head, "--virtual-time-budget=10000", "--dump-dom", address]
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=300).stdout


def test_a_killed_search_continues_without_ray(tmp_path: Path) -> None:
    path = space(tmp_path, "trials=4, pruning='none',", "pass", "", "scenario.corpus.sentences=400", "optim.epochs=4")
    line = [sys.executable, "-c", WITHOUT_RAY, "search", str(path)]
    driver = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until(lambda: len(written(tmp_path)) >= 6, driver)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    committed = written(tmp_path)
    assert search(path) == 0
    assert committed.items() <= written(tmp_path).items()
    ended = trials(record_of(tmp_path))
    assert [trial.state for trial in ended] == ["complete"] * 4
    assert len({json.dumps(dict(trial.settings)) for trial in ended}) == 4


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


def test_two_objectives_end_in_a_pareto_table(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert search(space(tmp_path, "trials=4, metric='old_new', seeds=2,")) == 0
    record = record_of(tmp_path)
    assert record.objectives == ("old", "new")
    assert all(len(trial.values) == 2 for trial in trials(record))
    assert [trial.trained for trial in trials(record)] == [0, 4, 4, 4], "two seeds, two steps of their own each"
    assert "old types" in capfd.readouterr().out


def test_an_invalid_database_is_one_line_without_its_password(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert search(space(tmp_path), "--database", "nothing://me:secret@nowhere/x") == 2
    captured = capfd.readouterr()
    assert "a secret in a URI" in " ".join(captured.err.split())
    assert "me:" not in captured.out + captured.err and "secret@" not in captured.out + captured.err


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


def test_a_poor_trial_is_pruned_by_its_steps(tmp_path: Path) -> None:
    first = "'optim.head_lr': 0.05}, {'method.base.kd_weight': 2.0, 'optim.head_lr': 1e-9"
    assert search(space(tmp_path, "trials=2,", POOR, first, *LEARNS)) == 0
    published, poor = trials(record_of(tmp_path))
    assert (published.state, poor.state, len(poor.scores)) == ("complete", "pruned", 2)


def test_trials_are_first_compared_on_a_share_of_the_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def at_first_rung(pruner: Any, _study: object, trial: FrozenTrial) -> bool:
        return trial.number == 1 and trial.last_step in pruner._rungs

    monkeypatch.setattr(SuccessiveHalving, "prune", at_first_rung)
    assert search(space(tmp_path, "trials=3, rungs=(0.25, 1.0),")) == 0
    published, ended, other = trials(record_of(tmp_path))
    assert (published.state, published.trained, published.shared) == ("complete", 0, 6)
    assert (ended.state, ended.trained, len(ended.scores)) == ("pruned", 2, 3), "all steps, each of a quarter"
    assert (other.state, other.trained, len(other.scores)) == ("complete", 4, 6)
    store = ObjectStore(str(tmp_path / "store"))
    sizes = {
        run.config["scenario"]["train_share"]: [record.sentences for record in run.records()]
        for run in RunLedger.all(store)
    }
    assert sizes == {1.0: [40, 40, 40], 0.25: [10, 10, 10]}


def test_a_search_starts_from_the_best_of_an_earlier_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rate = "trial.suggest_float('optim.head_lr', 0.01, 0.04)"
    earlier = space(tmp_path, "trials=3, pruning='none', sampler='random',", rate, "'optim.head_lr': 0.02")
    assert search(earlier) == 0
    before = record_of(tmp_path)
    later = tmp_path / "later.py"
    later.write_text(earlier.read_text().replace("0.01, 0.04", "0.02, 0.03").replace("trials=3", "trials=4"))
    assert search(later, "--parallel", "0") == 2
    assert search(later, "--warm-start", "none") == 2
    assert "--warm-start: no search called 'none'" in " ".join(capfd.readouterr().err.split())
    assert search(later, "--warm-start", before.name) == 0
    printed = capfd.readouterr().out
    assert f"warm start from {before.name}: tries 3 of its best settings first" in printed
    (after,) = [r for r in SearchRecord.all(ObjectStore(str(tmp_path / "store"))) if r.name != before.name]
    tried, weights = trials(after), {trial.settings["method.base.kd_weight"] for trial in trials(before)}
    assert {trial.settings["method.base.kd_weight"] for trial in tried[:3]} == weights
    outside = [trial.settings for trial in trials(before) if not 0.02 <= trial.settings["optim.head_lr"] <= 0.03]
    for settings in outside:
        assert f"left out, optim.head_lr={settings['optim.head_lr']} is outside its range" in printed


def test_every_trial_is_a_tracked_run(tmp_path: Path) -> None:
    tracking = ("compute.tracker=jsonl", f"compute.tracker_path={tmp_path / 'tracking'}")
    assert search(space(tmp_path, "trials=2, pruning='none',"), *tracking) == 0
    record = record_of(tmp_path)
    for trial in trials(record):
        text = (tmp_path / "tracking" / record.name / f"trial-{trial.number}.jsonl").read_text(encoding="utf-8")
        settings, *steps = map(json.loads, text.splitlines())
        assert settings["settings"] == trial.settings
        assert [step["objective/score"] for step in steps] == list(trial.scores)
        assert all(0 <= step["dev/micro"] <= 1 for step in steps)
