"""One contract for every place: a local folder and a real S3-compatible server keep it alike."""

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import fs

from raycner.errors import InputError
from raycner.storage import store as store_module
from raycner.storage.manifests import MANIFEST, PIECE, is_key
from raycner.storage.store import ObjectStore, cached

KEY = "steps/0123abcd"
FILES = {"counts.json": b"{}", "deep/er/vocabulary.txt": b"", "weights.safetensors": os.urandom(PIECE + PIECE // 2)}


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    monkeypatch.setenv("RAYCNER_CACHE", str(tmp_path / "cache"))
    if request.param == "local":
        return ObjectStore(str(tmp_path / "store"))
    return ObjectStore(f"{request.getfixturevalue('s3_uri')}/some/folder")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_files(tmp_path / "source", FILES)


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- objects


def test_an_object_is_read_as_it_was_written(store: ObjectStore) -> None:
    for data in (b"first", b"", b"second, longer", os.urandom(2 * PIECE + 1)):
        store.write("a/b/c.bin", data)
        assert store.read("a/b/c.bin") == data
        assert store.exists("a/b/c.bin")
    assert store.list("") == ["a/b/c.bin"]


def test_what_was_never_written_is_absent(store: ObjectStore) -> None:
    assert not store.exists("nothing")
    assert store.list("") == store.list("nothing") == []
    assert store.manifest("nothing") is None
    store.remove("nothing")
    store.write("a/b", b"")
    for absent in ("nothing", "a/nothing", "a/b/nothing"):
        with pytest.raises(FileNotFoundError, match=absent):
            store.read(absent)


def test_many_are_read_in_order_with_errors_in_place(store: ObjectStore) -> None:
    keys = [f"a/{number:03d}" for number in range(70)]
    for key in keys[:40]:
        store.write(key, key.encode())
    contents = list(store.read_many([*reversed(keys), "not a key"]))
    assert [content for content in contents if isinstance(content, bytes)] == [k.encode() for k in reversed(keys[:40])]
    assert all(isinstance(content, FileNotFoundError) for content in contents[:30])
    assert isinstance(contents[-1], InputError)


def test_a_folder_is_no_object(store: ObjectStore) -> None:
    store.write("a/b", b"")
    assert not store.exists("a")
    assert store.list("a/b") == []


def test_a_prefix_is_a_folder_and_not_the_beginning_of_a_name(store: ObjectStore) -> None:
    for key in ("runs/b/ledger.json", "runs/a", "runs2/a", "run"):
        store.write(key, b"x")
    assert store.list("runs") == ["runs/a", "runs/b/ledger.json"]
    assert store.list("") == ["run", "runs/a", "runs/b/ledger.json", "runs2/a"]


def test_remove_takes_an_object_or_all_below(store: ObjectStore) -> None:
    for key in ("a/one", "a/b/two", "c"):
        store.write(key, b"x")
    store.remove("c")
    assert store.list("") == ["a/b/two", "a/one"]
    store.remove("a")
    assert store.list("") == []


def test_a_reader_sees_the_old_object_or_the_new_one(store: ObjectStore) -> None:
    versions = {bytes([65 + i]) * (1 << 20) for i in range(3)}
    store.write("ledger.json", min(versions))
    done = threading.Event()

    def rewrite() -> None:
        for _ in range(10):
            for version in versions:
                store.write("ledger.json", version)
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    while not done.is_set():
        assert store.read("ledger.json") in versions
    writer.join()


segments = st.from_regex(r"[A-Za-z0-9._-]{1,30}", fullmatch=True).filter(is_key)
keys = st.lists(segments, min_size=1, max_size=4).map("/".join)


@given(
    st.lists(keys, max_size=6, unique_by=str.lower).filter(
        lambda names: not any(f"{b}/".lower().startswith(f"{a}/".lower()) for a, b in pairwise(sorted(names, key=fold)))
    ),
    st.data(),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_key_keeps_its_own_object(store: ObjectStore, names: list[str], data: st.DataObject) -> None:
    prefix = uuid4().hex
    held = {f"{prefix}/{name}": data.draw(st.binary(max_size=20)) for name in names}
    for key, value in held.items():
        store.write(key, value)
    assert store.list(prefix) == sorted(held)
    for key in data.draw(st.lists(st.sampled_from(sorted(held)), unique=True)) if held else []:
        store.remove(key)
        del held[key]
        assert not store.exists(key)
    assert {key: store.read(key) for key in store.list(prefix)} == held


def fold(name: str) -> list[str]:
    return name.lower().split("/")


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a b", "a~b", "ä", "a\n", "a\\b"])
def test_invalid_keys_are_rejected_by_every_method(store: ObjectStore, key: str, directory: Path) -> None:
    verbs = [store.exists, store.read, store.remove, store.manifest, store.damage, store.local]
    calls = [*(lambda verb=verb: verb(key) for verb in verbs)]
    calls += [lambda: store.write(key, b""), lambda: store.push(directory, key), lambda: store.pull(key, directory)]
    for call in calls:
        with pytest.raises(InputError, match="cannot be a key"):
            call()
    assert store.list("") == []


# ---- committed directories


def test_a_pushed_directory_is_pulled_as_it_was(store: ObjectStore, directory: Path, tmp_path: Path) -> None:
    store.push(directory, KEY)
    assert store.damage(KEY) == ""
    manifest = store.manifest(KEY)
    assert manifest is not None
    assert {name: stored.size for name, stored in manifest.files.items()} == {k: len(v) for k, v in FILES.items()}
    store.pull(KEY, tmp_path / "pulled")
    assert contents(tmp_path / "pulled") == FILES
    files = contents(store.local(KEY))
    files.pop(MANIFEST)
    assert files == FILES


def test_a_push_replaces_what_was_there(store: ObjectStore, directory: Path, tmp_path: Path) -> None:
    store.push(directory, KEY)
    store.push(write_files(tmp_path / "other", {"counts.json": b"[]", MANIFEST: b"an old one"}), KEY)
    assert store.damage(KEY) == ""
    assert store.list(KEY) == [f"{KEY}/{MANIFEST}", f"{KEY}/counts.json"]
    store.pull(KEY, tmp_path / "pulled")
    assert contents(tmp_path / "pulled") == {"counts.json": b"[]"}


def test_pushing_what_is_committed_touches_nothing(store: ObjectStore, directory: Path, monkeypatch) -> None:
    store.push(directory, KEY)
    for verb in ("write", "remove"):
        monkeypatch.setattr(ObjectStore, verb, lambda *_: pytest.fail("touched"))
    store.push(directory, KEY)


def test_many_may_push_the_same_at_once(store: ObjectStore, directory: Path) -> None:
    with ThreadPoolExecutor(4) as pushers:
        for push in [pushers.submit(store.push, directory, KEY) for _ in range(8)]:
            push.result()
    assert store.damage(KEY) == ""


def test_the_manifest_is_written_last(store: ObjectStore, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = ObjectStore.write

    def witness(self: ObjectStore, key: str, data: bytes) -> None:
        assert key == f"{KEY}/{MANIFEST}"
        assert self.list(KEY) == sorted(f"{KEY}/{name}" for name in FILES)
        write(self, key, data)

    monkeypatch.setattr(ObjectStore, "write", witness)
    store.push(directory, KEY)
    assert store.damage(KEY) == ""


def test_what_cannot_be_pushed_leaves_what_was_there(store: ObjectStore, directory: Path, tmp_path: Path) -> None:
    store.push(directory, KEY)
    with pytest.raises(NotADirectoryError):
        store.push(tmp_path / "nowhere", KEY)
    with pytest.raises(InputError, match="cannot be a key"):
        store.push(write_files(tmp_path / "bad", {"a b": b"x"}), KEY)
    assert store.damage(KEY) == ""


def test_a_directory_may_be_committed_in_place(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    store.push(write_files(tmp_path / KEY, FILES), KEY)
    assert store.damage(KEY) == ""
    store.pull(KEY, tmp_path / KEY)
    assert store.damage(KEY) == ""


def flip(data: bytes) -> bytes:
    return data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]


WEIGHTS = f"{KEY}/weights.safetensors"


@pytest.mark.parametrize(
    ("harm", "phrase"),
    [
        (lambda store: store.write(WEIGHTS, flip(FILES["weights.safetensors"])), "weights.safetensors has another"),
        (lambda store: store.write(WEIGHTS, b"short"), "weights.safetensors has 5 bytes instead of 12582912"),
        (lambda store: store.remove(WEIGHTS), "weights.safetensors is missing"),
    ],
    ids=["flipped bit", "truncated", "missing"],
)
def test_a_file_that_disagrees_with_the_manifest(store, harm, phrase, directory: Path, tmp_path: Path) -> None:
    store.push(directory, KEY)
    harm(store)
    assert phrase in store.damage(KEY)
    for use in (store.local, lambda key: store.pull(key, tmp_path / "pulled")):
        with pytest.raises(InputError, match=phrase):
            use(KEY)
    assert "weights.safetensors" not in contents(tmp_path / "pulled")
    store.push(directory, KEY)
    assert store.damage(KEY) == ""


def test_quick_damage_sees_sizes(store: ObjectStore, directory: Path) -> None:
    store.push(directory, KEY)
    manifest = store.manifest(KEY)
    assert manifest is not None and store.quick_damage(KEY, manifest) == ""
    assert store.read_file(KEY, "counts.json", manifest) == FILES["counts.json"]
    store.write(WEIGHTS, flip(FILES["weights.safetensors"]))
    assert bool(store.quick_damage(KEY, manifest)) == store.is_local
    for name, phrase in ("weights.safetensors", "has another sha256"), ("nothing", "no nothing in its MANIFEST"):
        with pytest.raises(InputError, match=f"damaged: .*{phrase}"):
            store.read_file(KEY, name, manifest)
    store.write(WEIGHTS, b"short")
    assert "has 5 bytes instead of 12582912" in store.quick_damage(KEY, manifest)
    store.remove(WEIGHTS)
    assert "weights.safetensors is missing" in store.quick_damage(KEY, manifest)


def test_a_stale_extra_file_is_ignored(store: ObjectStore, directory: Path, tmp_path: Path) -> None:
    store.push(directory, KEY)
    store.write(f"{KEY}/stale.bin", b"from an earlier commit")
    assert store.damage(KEY) == ""
    store.pull(KEY, tmp_path / "pulled")
    assert contents(tmp_path / "pulled") == FILES


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\x00",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"files": {"a": {"size": 1}}, "schema": 1}',
        b'{"files": {"../../a": {"size": 1, "sha256": "0"}}, "schema": 1}',
        b'{"files": {}, "schema": 2}',
        None,
    ],
)
def test_without_a_readable_manifest_there_is_no_directory(
    store: ObjectStore, garbage: bytes | None, tmp_path: Path
) -> None:
    store.push(write_files(tmp_path / "source", {"a": b"x"}), KEY)
    if garbage is None:
        store.remove(f"{KEY}/{MANIFEST}")
    else:
        store.write(f"{KEY}/{MANIFEST}", garbage)
    assert store.manifest(KEY) is None
    assert store.damage(KEY)
    for use in (store.local, lambda key: store.pull(key, tmp_path / "pulled")):
        with pytest.raises(FileNotFoundError, match=KEY):
            use(KEY)
    assert not (tmp_path / "pulled").exists()


def test_unknown_keys_of_a_manifest_are_ignored(store: ObjectStore, tmp_path: Path) -> None:
    store.push(write_files(tmp_path / "source", {"a": b"x"}), KEY)
    manifest = json.loads(store.read(f"{KEY}/{MANIFEST}"))
    manifest["future"] = manifest["files"]["a"]["future"] = True
    store.write(f"{KEY}/{MANIFEST}", json.dumps(manifest).encode())
    assert store.damage(KEY) == ""


@pytest.mark.parametrize("was_there", [False, True])
def test_an_exception_inside_a_push_commits_nothing(
    store: ObjectStore, directory: Path, was_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if was_there:
        store.push(write_files(tmp_path / "other", OTHERS), KEY)

    def stumble(path: Path) -> Iterator[bytes]:
        yield path.read_bytes()[:1]
        raise RuntimeError("the trainer fell over")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="fell over"):
        patch.setattr(store_module, "pieces_of", stumble)
        store.push(directory, KEY)
    assert store.manifest(KEY) is None
    assert store.damage(KEY)
    store.push(directory, KEY)
    assert store.damage(KEY) == ""


HANG = """
import sys, time
from contextlib import contextmanager
from pathlib import Path
from raycner.storage.store import ObjectStore

uri, source, key, moment = sys.argv[1:]
sink_of, pieces = ObjectStore._sink, 0

class Hanging:
    def write(self, piece):
        global pieces
        self.sink.write(piece)
        pieces += 1
        if pieces == int(moment):
            print("now", flush=True)
            time.sleep(600)

@contextmanager
def hanging(self, key):
    with sink_of(self, key) as sink:
        relay = Hanging()
        relay.sink = sink
        yield relay

ObjectStore._sink = hanging
ObjectStore(uri).push(Path(source), key)
"""
OTHERS = {"counts.json": b"[]", "weights.safetensors": b"of another run"}


@pytest.mark.parametrize("moment", [1, 2, 3, 4])  # three pieces of files, then the manifest
@pytest.mark.parametrize("was_there", [False, True])
def test_a_killed_push_commits_nothing(
    store: ObjectStore, directory: Path, was_there: bool, moment: int, tmp_path: Path
) -> None:
    if was_there:
        store.push(write_files(tmp_path / "other", OTHERS), KEY)
    command = [sys.executable, "-c", HANG, store.uri, str(directory), KEY, str(moment)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGKILL)
    assert store.manifest(KEY) is None
    assert store.damage(KEY)
    assert set(store.list("")) <= {f"{KEY}/{name}" for name in FILES}
    if "://" not in store.uri:
        assert any("~" in path.name for path in Path(store.uri).rglob("*")), "a draft was left behind, and not listed"
    store.push(directory, KEY)
    assert store.damage(KEY) == ""
    store.pull(KEY, tmp_path / "pulled")
    assert contents(tmp_path / "pulled") == FILES


# ---- the disk, and links


def test_a_local_write_is_flushed_before_it_is_renamed(
    tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is on the disk before it has its name, and each name before the manifest."""
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def flush(descriptor: int) -> None:
        steps.append("flush " + Path(f"/proc/self/fd/{descriptor}").readlink().name.partition("~")[0])
        fsync(descriptor)

    def rename(self: Path, target: Path) -> Path:
        steps.append("rename " + target.name)
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "replace", rename)
    ObjectStore(str(tmp_path / "store")).push(directory, KEY)
    for name, folder in (("counts.json", "0123abcd"), ("vocabulary.txt", "er"), (MANIFEST, "0123abcd")):
        at = steps.index(f"rename {name}")
        assert steps[at - 1] == f"flush {name}"
        assert steps[at + 1] == f"flush {folder}"
    created = {"flush store", "flush steps", "flush 0123abcd", "flush deep"}
    assert created <= set(steps[: steps.index(f"rename {MANIFEST}")])


@pytest.mark.parametrize("is_faithful", [True, False])
def test_a_remote_store_is_tried_once_before_it_is_written(
    tmp_path: Path, is_faithful: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that keeps trailing checksums as content is refused, with the setting that omits them."""

    (tmp_path / "bucket").mkdir()
    written: list[str] = []
    local = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())

    class Remote:
        """As much of a file system as an ObjectStore writes with."""

        def open_output_stream(self, path: str) -> object:
            written.append(path)
            stream = local.open_output_stream(path)
            if not is_faithful:
                stream.write(b"44\r\n")
            return stream

        def __getattr__(self, name: str) -> object:
            return getattr(local, name)

    monkeypatch.setattr(store_module, "_open", lambda _: (Remote(), "bucket"))
    store = ObjectStore(f"s3://{uuid4().hex}")
    if is_faithful:
        store.write("a", b"x")
        store.write("b", b"y")
        assert written == [f"bucket/{store_module.PROBE}", "bucket/a", "bucket/b"]
        assert store.list("") == ["a", "b"]
    else:
        for _ in range(2):
            with pytest.raises(InputError, match="AWS_REQUEST_CHECKSUM_CALCULATION=when_required"):
                store.write("a", b"x")
        assert not (tmp_path / "bucket" / "a").exists()


def test_a_server_that_wants_a_length_is_refused_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `rclone serve s3` answers a body that ends with its checksum."""
    (tmp_path / "bucket").mkdir()

    class Remote:
        def open_output_stream(self, path: str) -> object:
            raise OSError(f"When uploading {path}: AWS Error UNKNOWN (HTTP status 411) during PutObject operation")

        def __getattr__(self, name: str) -> object:
            return getattr(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), name)

    monkeypatch.setattr(store_module, "_open", lambda _: (Remote(), "bucket"))
    with pytest.raises(InputError, match="AWS_REQUEST_CHECKSUM_CALCULATION=when_required"):
        ObjectStore(f"s3://{uuid4().hex}").write("a", b"x")


@pytest.mark.s3
def test_of_many_creators_on_s3_one_succeeds(s3_uri: str) -> None:
    store = ObjectStore(f"{s3_uri}/deep")
    with ThreadPoolExecutor(8) as pool:
        for number in range(5):
            created = list(pool.map(partial(store.create, f"locks/{number}"), [b"%d" % n for n in range(8)]))
            assert created.count(True) == 1
            assert store.read(f"locks/{number}") == b"%d" % created.index(True)


@pytest.mark.parametrize("answer", ["created", "NotImplemented"])
def test_a_server_without_conditional_writes_is_named(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def create(uri: str, key: str, data: bytes) -> bool:
        assert (uri, key, data) == (store.uri, store_module.PROBE, store_module.PROBE_CONTENT)
        if answer == "created":
            return True
        raise OSError(answer)

    (tmp_path / "bucket").mkdir()
    files = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr(store_module, "_open", lambda _: (files, "bucket"))
    monkeypatch.setattr(store_module.s3, "create", create)
    store = ObjectStore(f"s3://{uuid4().hex}")
    assert store.create("a", b"x") and store.create("b", b"x") and not store.create("a", b"y")
    (line,) = caplog.messages
    assert line == f"{store}: two processes may train one step at once (its server has no conditional writes)"


def test_links_are_no_keys(tmp_path: Path) -> None:
    outside = write_files(tmp_path / "outside", {"a": b"x"})
    (tmp_path / "store").mkdir()
    Path(tmp_path / "entrance").symlink_to(tmp_path / "store")
    store = ObjectStore(str(tmp_path / "entrance"))
    store.write("runs/a", b"x")
    for name, target in {"l1": ".", "l2": ".", "away": outside, "file": outside / "a", "dangling": "nowhere"}.items():
        Path(store.uri, "runs", name).symlink_to(target)
    assert store.list("") == store.list("runs") == ["runs/a"], "the root itself may be a link"
    assert store.list("runs/away") == []
    assert store.links("runs") == tuple(f"runs/{name}" for name in ("away", "dangling", "file", "l1", "l2"))
    store.remove("runs/away/a")
    store.remove("runs/file")
    store.remove("runs")
    assert contents(outside) == {"a": b"x"}
    assert store.list("") == []


# ---- local copies


def test_a_local_store_shows_the_directory_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYCNER_CACHE", str(tmp_path / "cache"))
    store = ObjectStore(f"file://{tmp_path}/store")
    store.push(write_files(tmp_path / "source", {"a": b"x"}), KEY)
    assert store.local(KEY) == tmp_path / "store" / KEY
    assert not (tmp_path / "cache").exists()


@pytest.mark.s3
def test_a_copy_is_kept_until_it_is_damaged(
    s3_uri: str, tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYCNER_CACHE", str(tmp_path / "cache"))
    store = ObjectStore(s3_uri)
    store.push(directory, KEY)
    copy = store.local(KEY)
    assert copy.is_relative_to(tmp_path / "cache")
    inode = (copy / "counts.json").stat().st_ino
    store.push(directory, "steps/the-same-again")
    assert store.local("steps/the-same-again") == copy
    assert (copy / "counts.json").stat().st_ino == inode

    (copy / "weights.safetensors").write_bytes(flip(FILES["weights.safetensors"]))
    assert (store.local(KEY) / "weights.safetensors").read_bytes() == FILES["weights.safetensors"]
    store.push(write_files(tmp_path / "other", {"counts.json": b"[]"}), KEY)
    assert store.local(KEY) != copy


FETCH = """
import sys
from raycner.storage.store import ObjectStore

pull = ObjectStore.pull
ObjectStore.pull = lambda *args: print("pulled", flush=True) or pull(*args)
sys.stdin.readline()
print(ObjectStore(sys.argv[1]).local(sys.argv[2]))
"""


@pytest.mark.s3
def test_processes_of_one_node_fetch_a_directory_once(
    s3_uri: str, tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYCNER_CACHE", str(tmp_path / "cache"))
    store = ObjectStore(s3_uri)
    store.push(directory, KEY)
    command = [sys.executable, "-c", FETCH, s3_uri, KEY]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate()[0].split() for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert sum("pulled" in words for words in outputs) == 1
    assert {words[-1] for words in outputs} == {str(store.local(KEY))}
    assert FILES.items() <= contents(store.local(KEY)).items()


@pytest.mark.s3
def fill_slowly(log: Path, folder: Path) -> None:
    """Fill a cached directory, and note in `log` that it was done."""
    with log.open("a") as lines:
        lines.write("filled\n")
    (folder / "one").write_bytes(b"half")
    time.sleep(0.2)
    (folder / "two").write_bytes(b"whole")


def test_of_many_processes_one_fills_a_cached_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYCNER_CACHE", str(tmp_path / "cache"))
    log = tmp_path / "log"
    processes = [
        multiprocessing.get_context("fork").Process(target=cached, args=("name", partial(fill_slowly, log)))
        for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert log.read_text() == "filled\n"
    assert sorted(path.name for path in (tmp_path / "cache" / "name").iterdir()) == [MANIFEST, "one", "two"]


def test_a_cached_directory_that_was_never_finished_is_filled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYCNER_CACHE", str(tmp_path / "cache"))

    def killed(folder: Path) -> None:
        (folder / "one").write_bytes(b"half")
        (folder / "stray").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=cached, args=("name", killed))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    folder = cached("name", lambda folder: (folder / "one").write_bytes(b"whole"))
    assert {path.name: path.read_bytes() for path in folder.glob("[a-z]*")} == {"one": b"whole"}


@pytest.mark.parametrize("damage", ["cut", "changed", "removed"])
def test_a_damaged_cached_directory_is_filled_again(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYCNER_CACHE", str(tmp_path / "cache"))

    def fill(folder: Path) -> None:
        (folder / "one").write_bytes(b"whole")

    file = cached("name", fill) / "one"
    if damage == "removed":
        file.unlink()
    else:
        file.write_bytes(b"who" if damage == "cut" else b"whole"[::-1])
    assert (cached("name", fill) / "one").read_bytes() == b"whole"
    cached("name", lambda _: pytest.fail("filled though it is whole"))


def test_a_cache_that_cannot_be_written_is_rejected(
    s3_uri: str, tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RAYCNER_CACHE", str(tmp_path / "file" / "cache"))
    store = ObjectStore(s3_uri)
    store.push(directory, KEY)
    with pytest.raises(InputError, match="set RAYCNER_CACHE"):
        store.local(KEY)


# ---- URIs, and their errors


def test_a_store_is_its_uri(store: ObjectStore) -> None:
    store.write("a", b"x")
    again = pickle.loads(pickle.dumps(store))
    assert again.uri == store.uri
    assert again.read("a") == b"x"


@pytest.mark.s3
def test_a_pickle_carries_no_secret(s3_uri: str) -> None:
    store = ObjectStore(s3_uri)
    store.write("a", b"x")
    for secret in (os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["AWS_ACCESS_KEY_ID"]):
        assert secret.encode() not in pickle.dumps(store)
        assert secret not in f"{store!r} {store} {vars(store)}"


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = ObjectStore("some where/../store")
    store.write("a/b", b"x")
    monkeypatch.chdir("/")
    assert store.read("a/b") == b"x"
    assert store.list("") == ["a/b"]


def test_a_uri_of_a_folder_with_a_space(tmp_path: Path) -> None:
    store = ObjectStore((tmp_path / "a store").as_uri() + "/")
    store.write("a/b", b"x")
    assert (tmp_path / "a store" / "a" / "b").read_bytes() == b"x"
    assert store.list("a") == ["a/b"]


def error_line(error: pytest.ExceptionInfo[InputError]) -> str:
    assert "\n" not in str(error.value)
    assert error.value.hint
    return str(error.value)


@pytest.mark.parametrize(
    "uri", ["", "xx://a/b", "s3://", "s3:///a", "s3://bu cket/a", "s3://bucket?no=such", "file://a/b"]
)
def test_a_uri_that_cannot_be_opened_is_rejected(uri: str) -> None:
    with pytest.raises(InputError) as error:
        ObjectStore(uri)
    assert uri.partition("?")[0] in error_line(error)


@pytest.mark.parametrize("uri", ["s3://hUsH:hIsT@bucket/a", "s3://hUsH:hI/sT@bucket", "hdfs://hUsH:hIsT@host:1/a"])
def test_a_secret_in_a_uri_is_rejected_and_not_repeated(uri: str) -> None:
    with pytest.raises(InputError) as error:
        ObjectStore(uri)
    assert not any(secret in error_line(error) for secret in ("hUsH", "hI", "sT"))


def test_a_folder_that_cannot_be_written_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = ObjectStore(str(tmp_path / "file" / "store"))
    with pytest.raises(InputError) as error:
        store.write("a", b"x")
    assert str(tmp_path / "file" / "store") in error_line(error)
    assert "not a directory" in error_line(error)


@pytest.mark.s3
def test_a_missing_bucket_is_rejected(s3_uri: str) -> None:
    with pytest.raises(InputError) as error:
        ObjectStore(f"{s3_uri}-missing/some/folder")
    assert "no such bucket" in error_line(error)


@pytest.mark.s3
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_SECRET_ACCESS_KEY", "a-wrong-secret"),
        ("AWS_ACCESS_KEY_ID", "a:wrong-key"),
        ("AWS_DEFAULT_REGION", "eu-south-9"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
    ],
)
def test_an_unreachable_endpoint_is_rejected(
    s3_uri: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as error:
        ObjectStore(s3_uri).read("a")
    assert s3_uri in error_line(error)
    assert not any(os.environ[key] in str(error.value) for key in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"))


@pytest.mark.s3
def test_a_revoked_key_is_rejected_by_every_method(
    s3_uri: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore(s3_uri)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    store._files = store_module._open(s3_uri)[0]
    verbs = [store.exists, store.list, store.read, store.remove, store.manifest, store.damage, store.local]
    calls = [*(lambda verb=verb: verb(KEY) for verb in verbs)]
    calls += [lambda: store.write(KEY, b""), lambda: store.push(directory, KEY), lambda: store.pull(KEY, directory)]
    for call in calls:
        with pytest.raises(InputError) as error:
            call()
        assert "access denied" in error_line(error) or "signature does not match" in error_line(error)
