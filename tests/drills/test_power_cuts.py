"""Power cuts: a run loses power at a moment drawn by chance, the same line runs again, and nothing is lost.

    make test-chaos

Twenty cuts on a disk that is a model (`drills/power.py`): it keeps what was flushed and draws the rest, needs no root,
and a drill can be tried again by its seed. Where the user may mount, six more on an ext4 file system whose journal is
not written from one moment on (EXT4_IOC_SHUTDOWN).
"""

import fcntl
import os
import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

import runs
from drills.power import Change, Recorder, restore
from fixtures_tiny import write_columns
from processes import wait_until
from raycner.config import RunConfig
from raycner.orchestration.runner import run
from raycner.storage import locks
from raycner.storage.aliases import find_alias, promote
from raycner.storage.housekeeping import damages
from raycner.storage.store import MANIFEST, ObjectStore

pytestmark = pytest.mark.chaos
CUTS = 20
EXT4_IOC_SHUTDOWN, WITHOUT_LOG_FLUSH = 0x8004587D, 2
SETTINGS = (
    *("scenario.corpus.name=columns", "scenario.protocol.first=2", "scenario.protocol.per_step=2"),
    *("method.name=self_training", "scenario.memory.size=2", "eval.threshold=dev"),
    *("model.encoder.name=bilstm", "model.encoder.word_width=4", "model.encoder.char_width=2"),
    *("model.encoder.width=4", "model.encoder.min_count=1", "optim.lr=0.02", "optim.head_lr=0.02"),
    *("optim.epochs=2", "optim.first.epochs=2", "optim.batch_size=16"),
)


@pytest.fixture(scope="module", autouse=True)
def _patient() -> None:
    """A lock of the machine before the cut is free at once."""
    locks.PATIENCE, locks.POLL = 0.3, 0.05


def line(source: str, store: Path) -> None:
    """The same line, before and after the cut: a run, and its last step promoted."""
    config = RunConfig.load([*SETTINGS, f"scenario.corpus.path={source}", f"store={store}"])
    ledger, place = run(config, runs.silent), ObjectStore(str(store))
    promote(place, "production", ledger, ledger.records()[-1], runs.silent)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_columns(tmp_path_factory.mktemp("source"), 40)


@pytest.fixture(scope="module")
def undisturbed(source: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Change]]:
    """The store of the line, and everything that it changed there."""
    store = tmp_path_factory.mktemp("undisturbed") / "store"
    store.mkdir()
    recorder = Recorder(store)
    with recorder.recording():
        line(source, store)
    return store, recorder.changes


def test_the_model_keeps_all_that_was_flushed(undisturbed: tuple[Path, list[Change]], tmp_path: Path) -> None:
    store, changes = undisturbed
    assert len([change for change in changes if change.what == "flush"]) > 50
    restore(changes, tmp_path / "store", Random(0))
    for manifest in store.glob("*/*/MANIFEST"):
        after = tmp_path / "store" / manifest.relative_to(store)
        assert after.read_bytes() == manifest.read_bytes()
    assert runs.scores(tmp_path / "store") == runs.scores(store)


def test_the_model_loses_what_was_not(undisturbed: tuple[Path, list[Change]], tmp_path: Path) -> None:
    _, changes = undisturbed
    unflushed = [change for change in changes if change.what != "flush"]
    restore(unflushed, tmp_path / "store", Random(1))
    place = ObjectStore(str(tmp_path / "store"))
    committed = [key.rpartition("/")[0] for key in place.list("") if key.endswith(f"/{MANIFEST}")]
    assert len(committed) < 5 or any(place.damage(key) for key in committed)


@pytest.mark.parametrize("number", range(CUTS))
def test_the_same_line_completes_after_a_cut(
    number: int, source: str, undisturbed: tuple[Path, list[Change]], tmp_path: Path
) -> None:
    whole, changes = undisturbed
    random = Random(number)
    store = tmp_path / "store"
    restore(changes[: random.randint(1, len(changes))], store, random)
    line(source, store)
    assert runs.scores(store) == runs.scores(whole)
    assert runs.weights(store) == runs.weights(whole)
    place = ObjectStore(str(store))
    assert not list(damages(place, runs.silent))
    alias = find_alias(place, "production")
    assert alias is not None and alias.record.fingerprint in runs.weights(whole)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 file system of its own, mounted."""
    image, place = tmp_path / "disk", tmp_path / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    try:
        subprocess.run(["mkfs.ext4", "-q", image], check=True, capture_output=True)
        mount(image, place)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a file system")
    yield place
    subprocess.run(["umount", place], check=True)


def mount(image: Path, place: Path) -> None:
    subprocess.run(["mount", "-o", "loop", image, place], check=True, capture_output=True)


def shut_down(place: Path) -> None:
    """From now on nothing more of the file system reaches its disk."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_LOG_FLUSH))
    finally:
        os.close(descriptor)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run that lost no power."""
    store = tmp_path_factory.mktemp("whole")
    runs.finish(store)
    return store


MOMENTS = {
    "corpus": lambda store: any(store.glob("corpora/*/*")),
    "source": lambda store: any(store.glob("corpora/*/MANIFEST")),
    "ledger": lambda store: any(store.glob("runs/*/ledger.json")),
    "snapshot": lambda store: any(store.glob("snapshots/*/*/*")),
    "commit": lambda store: any(store.glob("steps/*/*")),
    "first step": lambda store: any(store.glob("steps/*/MANIFEST")),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_same_line_completes_after_a_cut_of_ext4(moment: str, whole: Path, disk: Path) -> None:
    store = disk / "store"
    driver = subprocess.Popen(
        runs.command(store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ.copy()
    )
    try:
        wait_until(lambda: MOMENTS[moment](store), driver)
    finally:
        shut_down(disk)
        driver.send_signal(signal.SIGKILL)
        driver.wait(30)
    subprocess.run(["umount", disk], check=True)
    mount(disk.parent / "disk", disk)
    runs.finish(store)
    assert runs.scores(store) == runs.scores(whole)
    assert runs.weights(store) == runs.weights(whole)
    assert not list(damages(ObjectStore(str(store)), runs.silent))
