"""Verification of a store, and garbage collection: damaged content, and content that nothing refers to.

Kept are the steps that a run has planned or a search has reached, snapshots of steps in training, memories until the
last day on which they may be kept, every corpus, and unfinished writes that are less than an hour old. The rest was
left by killed processes, or by runs and searches that were removed.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from time import time

from raycner.errors import InputError
from raycner.storage import uploads
from raycner.storage.aliases import AliasRecord, alias_names, history
from raycner.storage.durable_files import ABANDONED_AFTER
from raycner.storage.evaluations import read_evaluation
from raycner.storage.ledger import RunLedger
from raycner.storage.locks import Lock, content_of, live_locks
from raycner.storage.manifests import MANIFEST
from raycner.storage.memories import MemoryRecord
from raycner.storage.searches import SearchRecord, wanted
from raycner.storage.store import ObjectStore, cache_folder

DEPTHS = {"corpora": 2, "steps": 2, "snapshots": 3, "memories": 2}
"""The folders in which directories are committed, and how many segments their keys have."""
UNUSED_DAYS = 30.0
"""After which an unused copy in this node's cache is evicted."""


@dataclass(frozen=True)
class Damage:
    """An object that differs from what was committed."""

    key: str
    what: str


@dataclass(frozen=True)
class Leftover:
    """An object that nothing refers to."""

    name: str
    why: str
    size: int
    """In bytes; 0 for an unfinished upload, whose size is unknown."""
    remove: Callable[[], None] = field(repr=False, compare=False)


def directories(store: ObjectStore, kind: str) -> dict[str, int]:
    """The directories of corpora, steps or snapshots, committed or not: key -> bytes."""
    depth, sizes = DEPTHS[kind], dict[str, int]()
    for key, size in store.sizes(kind).items():
        segments = key.split("/")
        if len(segments) > depth and segments[1] != "sources":
            folder = "/".join(segments[:depth])
            sizes[folder] = sizes.get(folder, 0) + size
    return sizes


def referred(store: ObjectStore) -> set[str]:
    """The steps that a run, a search or the history of an alias refers to.

    Raises `InputError` when that cannot be decided: a ledger or an alias cannot be read, or they lie behind a link.
    """
    for link in (*store.links("runs"), *store.links("searches"), *store.links("aliases")):
        what = "a symbolic link, and what runs behind it refer to is unknown"
        raise InputError(what, location=f"{store}/{link}", hint="remove the link, or put the folder in its place")
    ledgers = list(_readable(store))
    planned = {step.fingerprint for ledger in ledgers for step in ledger.planned}
    done = {record.fingerprint for ledger in ledgers for record in ledger.records()}
    promoted = {one.fingerprint for record in _alias_records(store) for one in record.ledger.records}
    return planned | done | promoted | wanted(store)


def _alias_records(store: ObjectStore) -> Iterator[AliasRecord]:
    return chain.from_iterable(history(store, alias) for alias in alias_names(store))


def _readable(store: ObjectStore) -> Iterator[RunLedger]:
    """All ledgers. Raises the `InputError` of the first that cannot be read."""
    for ledger in RunLedger.open_all(store).values():
        if isinstance(ledger, InputError):
            raise ledger
        yield ledger


def damages(store: ObjectStore, emit: Callable[[str], None]) -> Iterator[Damage]:
    """Read every byte of every committed directory, every ledger, alias and search, and say what is wrong.

    `emit` receives each key before it is read.
    """
    steps: dict[str, str] = {}
    for kind in DEPTHS:
        for key in directories(store, kind):
            emit(key)
            if not store.exists(f"{key}/{MANIFEST}"):
                continue  # its commit never finished, so it does not exist
            steps[key] = store.damage(key)
            if steps[key]:
                yield Damage(key, steps[key])
    for key, ledger in RunLedger.open_all(store).items():
        emit(key)
        if isinstance(ledger, InputError):
            yield Damage(key, ledger.what)
            continue
        for record in ledger.records():
            if f"steps/{record.fingerprint}" not in steps:
                yield Damage(key, f"its step {record.index + 1}, {record.fingerprint}, is not in the store")
    for key in store.list("evaluations"):
        emit(key)
        try:
            read_evaluation(store, key)
        except InputError as error:
            yield Damage(key, error.what)
    for alias in alias_names(store):
        emit(f"aliases/{alias}")
        try:
            missing = {r.address for r in history(store, alias) if f"steps/{r.fingerprint}" not in steps}
        except InputError as error:
            yield Damage(f"aliases/{alias}", error.what)
            continue
        for address in sorted(missing):
            yield Damage(f"aliases/{alias}", f"{address} is not in the store")
    for key in SearchRecord.keys(store):
        emit(key)
        try:
            SearchRecord.read(store, key)
        except InputError as error:
            yield Damage(key, error.what)


def leftovers(store: ObjectStore, unused_days: float = UNUSED_DAYS) -> list[Leftover]:
    """What can be removed, and why. Removes nothing.

    Raises `InputError` while a process works in the store; if there is any lock, this waits to see whether its holder
    is alive.
    """
    if working := live_locks(store):
        at_work = ", ".join(f"{key} is in use by {holder}" for key, holder in working.items())
        raise InputError(at_work, location=str(store), hint="wait until it has ended")
    return [
        *_dead_locks(store),
        *_unwanted(store),
        *(Leftover(d, "a draft", size, partial(store.discard, d)) for d, size in store.drafts().items()),
        *_uploads(store),
        *_unused(unused_days),
    ]


def _dead_locks(store: ObjectStore) -> Iterator[Leftover]:
    for key, size in store.sizes("locks").items():
        yield Leftover(key, "its holder has died", size, partial(_free, store, key, content_of(store, key)))


def _free(store: ObjectStore, lock: str, content: bytes | None) -> None:
    """Remove a lock, unless another process has taken it since it had this content."""
    if content_of(store, lock) == content:
        store.remove(lock)


def _unwanted(store: ObjectStore) -> Iterator[Leftover]:
    keep = referred(store)
    attempts: dict[str, int] = {}
    for key, size in store.sizes("ray").items():
        attempt = "/".join(key.split("/")[:2])
        attempts[attempt] = attempts.get(attempt, 0) + size
    for attempt, size in attempts.items():
        yield Leftover(attempt, "Ray's own state of an attempt that has ended", size, _removal(store, attempt))
    committed = set()
    for kind in DEPTHS:
        writing = _being_written(store, kind)
        sizes = directories(store, kind)
        manifests = store.manifests(sizes)
        for key, size in sizes.items():
            fingerprint, why = key.split("/")[1], ""
            if key in writing:
                continue
            if manifests[key] is None:
                yield Leftover(key, "its commit never finished", size, partial(_remove_unfinished, store, key))
            elif kind == "snapshots" and fingerprint in committed:
                why = "the step is finished"
            elif kind == "memories":
                why = _why_forgotten(store, key, keep)
            elif kind != "corpora" and fingerprint not in keep:
                why = "no run or search refers to its step"
            elif kind == "steps":
                committed.add(fingerprint)
            if why:
                yield Leftover(key, why, size, _removal(store, key))
    for key, size in store.sizes("evaluations").items():
        if key.split("/")[1] not in keep:
            yield Leftover(key, "no run or search refers to its step", size, _removal(store, key))


def _why_forgotten(store: ObjectStore, key: str, keep: Collection[str]) -> str:
    """Why a memory can be removed; empty if it cannot."""
    try:
        record = MemoryRecord.read(store, key)
    except InputError as error:
        return error.what
    if record.is_over:
        return f"it could be kept until {record.until}"
    return "" if record.step in keep else "no run or search refers to its step"


def _being_written(store: ObjectStore, kind: str) -> set[str]:
    """The directories of this kind without a manifest, into which a file was written within the last hour."""
    recent = {key for key, written in store.written(kind).items() if written > time() - ABANDONED_AFTER}
    folders = {"/".join(key.split("/")[: DEPTHS[kind]]) for key in recent}
    return {folder for folder, manifest in store.manifests(folders).items() if manifest is None}


def _uploads(store: ObjectStore) -> Iterator[Leftover]:
    if uploads.are_seen(store):
        for upload in uploads.unfinished(store):
            yield Leftover(upload.key, "an unfinished upload", 0, partial(uploads.abort, store, upload))


def _unused(days: float) -> Iterator[Leftover]:
    """Copies in this node's cache that were not used since."""
    folder = cache_folder()
    cache = ObjectStore(str(folder))
    for copy in sorted(path for path in folder.glob("*") if path.is_dir()):
        if time() - copy.stat().st_mtime > days * 24 * 3600:
            size = sum(cache.sizes(copy.name).values())
            yield Leftover(str(copy), f"unused for {days:g} days", size, partial(_evict, cache, copy))


def _evict(cache: ObjectStore, copy: Path) -> None:
    cache.remove(copy.name)
    copy.with_name(f"{copy.name}.lock").unlink(missing_ok=True)


def _remove_unfinished(store: ObjectStore, key: str) -> None:
    """Remove an unfinished commit, holding the lock of those who write it: what one has begun since stays."""
    kind, fingerprint, *_ = key.split("/")
    lock = Lock(store, f"steps/{fingerprint}" if kind == "snapshots" else f"{kind}/{fingerprint}")
    try:
        if lock.take() and store.manifest(key) is None:
            store.remove(key)
    finally:
        lock.drop()


def _removal(store: ObjectStore, key: str) -> Callable[[], None]:
    return partial(store.remove, key)
