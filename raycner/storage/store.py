"""The object store: bytes under keys, and directories that are committed as a whole, on anything that pyarrow.fs opens.

A directory exists when its MANIFEST does: the manifest names every file with its size and sha256, is written last and
removed first, so no process ever sees half a directory, even when a process is killed. Keys are segments of
letters, digits, '.', '_' and '-', separated by '/'. Any other name in the store is not a key and never listed; the
drafts of local writes have such names, so what a killed process leaves is invisible (until its folder is
removed; of an object store, ask for a lifecycle rule that aborts incomplete multipart uploads). Links below the root of
a local store are not keys either: listing and removing never follow them. A local write returns when the bytes are on
the disk.

Nothing in a store is ever unpickled, and no key or secret ever enters a store's URI, its repr, its pickle or a message:
credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...) or the machine's role.
"""

import logging
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, partial
from itertools import accumulate
from pathlib import Path
from time import time
from typing import Any, NamedTuple

import pyarrow as pa
from filelock import FileLock
from pyarrow import fs

from raycner.addresses import refuse_secret
from raycner.errors import InputError
from raycner.hashing import fingerprint
from raycner.storage import s3
from raycner.storage.durable_files import ABANDONED_AFTER, DRAFT, draft_of, replacing
from raycner.storage.manifests import MANIFEST, PIECE, Manifest, Stored, files_in, is_key, pieces_of

NO_CHECKSUMS = "set AWS_REQUEST_CHECKSUM_CALCULATION=when_required and AWS_RESPONSE_CHECKSUM_VALIDATION=when_required"
"""The hint for servers that do not know the checksums that newer clients append to a body."""
PROBE = "~raycner"
"""The object that a process writes and reads when it first writes to a remote store. Its name is no key."""
PROBE_CONTENT = b"Written once by every process, to see that it is read back unchanged.\n"
REQUESTS = 32
"""Requests that are sent to an object store at once."""


class _Found(NamedTuple):
    """A file in a listing."""

    size: int
    written: float
    """In seconds since 1970."""


class ObjectStore:
    """Persistent storage: a folder, or a bucket of s3://, gs:// or any other URI that pyarrow.fs opens.

    Opening checks once that the place exists; a local folder is created by the first write. Pickles as its URI.

    Every method raises `InputError` when the place cannot be reached, read or written, or when a key is invalid.
    """

    def __init__(self, uri: str) -> None:
        self._shown = re.sub(r"(?<=://).*@", "", uri).partition("?")[0]
        if not uri:
            raise InputError("the store's address is empty", hint="give a folder or a URI such as s3://BUCKET/FOLDER")
        refuse_secret(uri, self._shown)
        if "://" not in uri:
            uri = self._shown = str(Path(uri).expanduser().absolute())
        self.uri = uri
        with self._refusing("opened"):
            self._files, root = _open(self.uri)
            self._root = root.rstrip("/")
        self._is_local = isinstance(self._files, fs.LocalFileSystem)
        bucket = self._root.partition("/")[0]
        if bucket and self._info(bucket).type == fs.FileType.NotFound:
            raise InputError("no such bucket", location=self._shown, hint="create it, or choose another store")

    @property
    def is_local(self) -> bool:
        """Whether it is a folder, whose requests cost neither money nor a trip over the network."""
        return self._is_local

    def __str__(self) -> str:
        """The address for messages: without user names and options."""
        return self._shown

    def __repr__(self) -> str:
        return f"ObjectStore({self._shown!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return ObjectStore, (self.uri,)

    # ---- objects

    def exists(self, key: str) -> bool:
        """Whether an object lies at `key`. Of a committed directory, ask `manifest` or `damage`."""
        return bool(self._info(self._path(key)).is_file)

    def list(self, prefix: str) -> list[str]:
        """The keys below the folder `prefix` ("" for all there are), at any depth, sorted."""
        return sorted(self.sizes(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """The keys below a folder, as `list` has them, and how many bytes lie at each."""
        return {name: entry.size for name, entry in self._found(prefix).items() if is_key(name)}

    def written(self, prefix: str) -> dict[str, float]:
        """The keys below a folder, as `list` has them, and when each was written, in seconds since 1970."""
        return {name: entry.written for name, entry in self._found(prefix).items() if is_key(name)}

    def links(self, prefix: str) -> tuple[str, ...]:
        """Symbolic links in the folder `prefix` of a local store, and itself if it is one. They are never followed."""
        if not self._is_local:
            return ()
        folder = Path(self._path(prefix))
        if folder.is_symlink():
            return (prefix,)
        inside = (Path(place, name) for place, folders, files in os.walk(folder) for name in (*folders, *files))
        return tuple(sorted(path.relative_to(self._root).as_posix() for path in inside if path.is_symlink()))

    def drafts(self) -> dict[str, int]:
        """Files that killed processes left half written on a local filesystem: names, which are not keys, and bytes.

        A draft that is less than an hour old may be in use, and is left out. An object store shows none: there, an
        unfinished write is an upload.
        """
        drafts = {name: entry for name, entry in self._found("").items() if DRAFT.search(name)}
        return {name: entry.size for name, entry in drafts.items() if entry.written < time() - ABANDONED_AFTER}

    def discard(self, draft: str) -> None:
        """Remove a draft; a missing one is no error."""
        if not DRAFT.search(draft):
            raise ValueError(f"{draft!r} is no draft")
        with self._refusing("written"), suppress(FileNotFoundError):
            self._files.delete_file(f"{self._root}/{draft}")

    def read(self, key: str) -> bytes:
        """The object at `key`. Raises FileNotFoundError when there is none."""
        return b"".join(self._pieces(key))

    def read_many(self, keys: Iterable[str]) -> "Iterator[bytes | FileNotFoundError | InputError]":
        """The objects at several keys, in their order; in place of one that cannot be read, its error.

        An object store receives up to REQUESTS requests at once.
        """
        if self._is_local:
            yield from map(self._read_or_error, keys)
            return
        with ThreadPoolExecutor(REQUESTS) as requests:
            yield from requests.map(self._read_or_error, keys)

    def write(self, key: str, data: bytes) -> None:
        """Write an object at `key` atomically, in place of an earlier one."""
        with self._sink(key) as sink:
            sink.write(data)

    def create(self, key: str, data: bytes) -> bool:
        """Write an object at `key` unless there is one; whether this call did.

        Of two concurrent calls one succeeds: on a local filesystem, and on S3 whose server has conditional writes;
        elsewhere unless they overlap within one request.
        """
        if not self._is_local:
            with self._refusing("written"):
                _check_round_trip(self)
                is_conditional = _has_conditional_writes(self.uri, self._shown)
                if is_conditional and s3.create(self.uri, key, data):
                    return True
            if is_conditional:
                with suppress(FileNotFoundError):
                    return self.read(key) == data  # a repeated request finds what the first one wrote
                return False
            if self.exists(key):
                return False
            self.write(key, data)
            return True
        path = Path(self._path(key))
        with self._refusing("written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("xb") as sink:
                    sink.write(data)
            except FileExistsError:
                return False
        return True

    def remove(self, key: str) -> None:
        """Remove the object or the folder at `key`, a manifest before the files it names. A missing one is no error.

        In a local store, a link is removed, and what it leads to stays.
        """
        path = self._path(key)
        if self._is_local and (link := self._link_on(path)):
            if link == Path(path):
                with self._refusing("written"):
                    link.unlink(missing_ok=True)
            return
        kind = self._info(path).type
        with self._refusing("written"):
            if kind == fs.FileType.Directory:
                with suppress(FileNotFoundError):
                    self._files.delete_file(f"{path}/{MANIFEST}")
                with suppress(FileNotFoundError):
                    if self._is_local:
                        shutil.rmtree(path)  # it never follows a link
                    else:
                        self._files.delete_dir(path)
            elif kind != fs.FileType.NotFound:
                with suppress(FileNotFoundError):
                    self._files.delete_file(path)

    # ---- committed directories

    def push(self, directory: Path, key: str) -> None:
        """Commit a directory of files at `key`, in place of an earlier one: the files first, the manifest last.

        What is already committed there, undamaged, stays untouched, so several processes may push the same at once.
        A manifest that lies in `directory` from an earlier commit is rewritten; empty folders are not stored.
        """
        if not directory.is_dir():
            raise NotADirectoryError(directory)
        sources = files_in(directory)
        for name in sources:
            self._path(f"{key}/{name}")
        manifest = Manifest.of(sources)
        if self.manifest(key) == manifest and not self.damage(key):
            return
        stale = set(self.list(key)) - {f"{key}/{name}" for name in (*sources, MANIFEST)}
        self.remove(f"{key}/{MANIFEST}")
        for name, path in sources.items():
            with self._sink(f"{key}/{name}") as sink:
                for piece in pieces_of(path):
                    sink.write(piece)
        self.write(f"{key}/{MANIFEST}", manifest.spell())
        for other in stale:
            self.remove(other)

    def pull(self, key: str, directory: Path) -> None:
        """Fetch the files of the directory committed at `key` into `directory`, each checked by its checksum.

        Raises FileNotFoundError when nothing is committed there, `InputError` when a file disagrees with the manifest.
        """
        for name, stored in self._committed(key).files.items():
            target = directory / name
            draft = draft_of(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with draft.open("xb") as sink:
                    flaw = self._flaw(key, name, stored, sink.write)
                if flaw:
                    raise self._damaged(key, flaw)
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)

    def manifest(self, key: str) -> Manifest | None:
        """The manifest of the directory at `key`; None when there is none or it cannot be read."""
        return Manifest.parse(self._read_or_error(f"{key}/{MANIFEST}"))

    def manifests(self, keys: Iterable[str]) -> "dict[str, Manifest | None]":
        """The manifests of several directories, by key, as `manifest` reads them; `read_many` fetches them."""
        keys = [*keys]
        contents = self.read_many(f"{key}/{MANIFEST}" for key in keys)
        return {key: Manifest.parse(content) for key, content in zip(keys, contents, strict=True)}

    def damage(self, key: str) -> str:
        """What is wrong with the directory at `key`, in one phrase; "" when every file agrees with the manifest."""
        manifest = self.manifest(key)
        if manifest is None:
            return f"no readable {MANIFEST}"
        return next(filter(None, (self._flaw(key, name, stored) for name, stored in manifest.files.items())), "")

    def quick_damage(self, key: str, manifest: Manifest) -> str:
        """`damage` of a directory with this manifest, without fetching what lies in an object store.

        There, the sizes of the files are compared, one request each; `read_file`, `local` and `pull` check the bytes.
        """
        if self._is_local:
            return self.damage(key)
        return next(filter(None, (self._wrong_size(key, *file) for file in manifest.files.items())), "")

    def read_file(self, key: str, name: str, manifest: Manifest) -> bytes:
        """A file of the directory at `key`, checked by its entry in the manifest. Raises `InputError` if it differs."""
        pieces: list[bytes] = []
        stored = manifest.files.get(name)
        if flaw := self._flaw(key, name, stored, pieces.append) if stored else f"no {name} in its {MANIFEST}":
            raise self._damaged(key, flaw)
        return b"".join(pieces)

    def local(self, key: str) -> Path:
        """The directory committed at `key` as local files, to be read and mapped, never written to.

        A local store shows the directory itself. Any other is copied once per node into a cache folder (RAYCNER_CACHE,
        by default raycner in the user's cache folder), under the manifest's fingerprint: equal contents share a copy,
        and a copy that no longer agrees is fetched again. Raises as `pull` does.
        """
        manifest = self._committed(key)
        if self._is_local:
            if flaw := self.damage(key):
                raise self._damaged(key, flaw)
            return Path(self._path(key))
        return cached(fingerprint(manifest), partial(self.pull, key))

    # ---- implementation

    def _read_or_error(self, key: str) -> bytes | FileNotFoundError | InputError:
        try:
            return self.read(key)
        except (FileNotFoundError, InputError) as error:
            return error

    def _wrong_size(self, key: str, name: str, stored: Stored) -> str:
        """What is wrong with the size of a file of a committed directory; "" if nothing is."""
        info = self._info(self._path(f"{key}/{name}"))
        if not info.is_file:
            return f"{name} is missing"
        return "" if info.size == stored.size else f"{name} has {info.size} bytes instead of {stored.size}"

    def _found(self, prefix: str) -> dict[str, "_Found"]:
        folder = self._path(prefix) if prefix else self._root
        with self._refusing("listed"):
            if self._is_local:
                return {} if self._link_on(folder) else dict(self._walk(folder))
            infos = self._files.get_file_info(fs.FileSelector(folder, allow_not_found=True, recursive=True))
        return {
            info.path[len(self._root) + 1 :]: _Found(info.size, (info.mtime_ns or 0) / 1e9)
            for info in infos
            if info.is_file
        }

    def _walk(self, folder: str) -> Iterator[tuple[str, "_Found"]]:
        """The files below a local folder, links left out. Raises OSError when a folder cannot be read."""
        for place, _, names in os.walk(folder, onerror=_raise_unless_missing):
            for name in names:
                path = f"{place}/{name}"
                with suppress(FileNotFoundError):
                    status = os.lstat(path)
                    if stat.S_ISREG(status.st_mode):
                        yield path[len(self._root) + 1 :], _Found(status.st_size, status.st_mtime)

    def _link_on(self, path: str) -> Path | None:
        """The first symbolic link on the way from the root to a path of a local store."""
        root = Path(self._root)
        places = accumulate(Path(path).relative_to(root).parts, Path.__truediv__, initial=root)
        return next((place for place in places if place != root and place.is_symlink()), None)

    def _path(self, key: str) -> str:
        if not is_key(key):
            hint = "use letters, digits, '.', '_' and '-', separated by '/'"
            raise InputError(f"{key!r} cannot be a key", location=self._shown, hint=hint)
        return f"{self._root}/{key}"

    def _info(self, path: str) -> Any:
        with self._refusing("read"):
            return self._files.get_file_info(path)

    def _pieces(self, key: str) -> Iterator[bytes]:
        path = self._path(key)
        with self._refusing("read"):
            try:
                source = self._files.open_input_file(path)
            except (FileNotFoundError, NotADirectoryError):
                source = None
        if source is None:
            raise FileNotFoundError(f"{self._shown}: there is no {key}")
        with source, self._refusing("read"):
            while piece := source.read(PIECE):
                yield piece

    @contextmanager
    def _sink(self, key: str) -> Iterator[Any]:
        """A stream into the object at `key`: a renamed draft on a local filesystem, one PUT (in parts) elsewhere.

        Elsewhere, an exception inside the block publishes what had been written so far: pyarrow's streams cannot be
        abandoned. That is why a directory is committed by its manifest, and why `write` gives its bytes in one piece.
        """
        path = self._path(key)
        with self._refusing("written"):
            if not self._is_local:
                _check_round_trip(self)
                with self._files.open_output_stream(path) as sink:
                    yield sink
                return
            with replacing(Path(path)) as sink:
                yield sink

    def _committed(self, key: str) -> Manifest:
        manifest = self.manifest(key)
        if manifest is None:
            raise FileNotFoundError(f"{self._shown}: nothing is committed at {key}")
        return manifest

    def _flaw(self, key: str, name: str, stored: Stored, sink: Callable[[bytes], object] | None = None) -> str:
        """What is wrong with one file of a committed directory, whose bytes also go to `sink`."""
        try:
            actual = Stored.measure(self._pieces(f"{key}/{name}"), sink)
        except FileNotFoundError:
            return f"{name} is missing"
        if actual.size != stored.size:
            return f"{name} has {actual.size} bytes instead of {stored.size}"
        return "" if actual == stored else f"{name} has another sha256 than the manifest says"

    def _damaged(self, key: str, flaw: str) -> InputError:
        return InputError(
            f"damaged: {flaw}", location=f"{self._shown}/{key}", hint="remove it, and run again to recreate it"
        )

    @contextmanager
    def _refusing(self, done: str) -> Iterator[None]:
        """Report errors of the filesystem in one line: no traceback, no request ids, no secrets."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            if "status 411" in str(error):
                hint = NO_CHECKSUMS
            elif "://" in self._shown:
                hint = "check the address, the credentials and region in the environment, and the network"
            else:
                hint = "choose a folder that can be read and written"
            reason = _reason(error).replace(getattr(self, "uri", self._shown), self._shown)
            raise InputError(f"the store cannot be {done} ({reason})", location=self._shown, hint=hint) from None


_checked: set[str] = set()
"""The addresses of remote stores to which this process has written and from which it has read the same."""


def _check_round_trip(store: ObjectStore) -> None:
    """Before a process first writes to a remote store: an object must be read as it was written.

    Servers that do not know the checksums that newer clients append keep them as content.
    """
    if store.uri in _checked:
        return
    path = f"{store._root}/{PROBE}"
    with store._files.open_output_stream(path) as sink:
        sink.write(PROBE_CONTENT)
    with store._files.open_input_file(path) as source:
        content = source.read()
    if content != PROBE_CONTENT:
        what = "the server returns other bytes than it was given"
        raise InputError(what, location=str(store), hint=NO_CHECKSUMS)
    _checked.add(store.uri)


@cache
def _has_conditional_writes(uri: str, shown: str) -> bool:
    """Whether a server refuses to create PROBE, which it has; tried once per process. If not, a warning says so."""
    reason = "its server has no conditional writes"
    if s3.is_available(uri):
        with suppress(OSError):
            if not s3.create(uri, PROBE, PROBE_CONTENT):
                return True
    else:
        reason = "boto3 is missing: install raycner[s3]" if uri.startswith("s3://") else "conditional writes need s3://"
    logging.getLogger(__name__).warning("%s: two processes may train one step at once (%s)", shown, reason)
    return False


def cache_folder() -> Path:
    """Where this node keeps copies of committed directories: RAYCNER_CACHE, or raycner in the user's cache folder."""
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("RAYCNER_CACHE") or Path(user) / "raycner").expanduser().absolute()


def cached(name: str, fill: Callable[[Path], object]) -> Path:
    """The directory `name` of this node's cache folder, to be read and mapped, never written to.

    Where it is missing, unfinished or damaged, `fill` writes its files into a folder: one process at a time, and a
    manifest last, so that a killed process leaves nothing that is taken for whole. Raises `InputError` when the cache
    folder cannot be written.
    """
    folder = cache_folder()
    cache = ObjectStore(str(folder))
    if cache.damage(name):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / f"{name}.lock"):
                if cache.damage(name):
                    cache.remove(name)
                    (folder / name).mkdir()
                    fill(folder / name)
                    cache.write(f"{name}/{MANIFEST}", Manifest.of(files_in(folder / name)).spell())
        except OSError as error:
            hint = "set RAYCNER_CACHE to a folder that can be written"
            raise InputError(f"cannot keep a copy here ({_reason(error)})", location=str(folder), hint=hint) from None
    with suppress(OSError):
        os.utime(folder / name)  # the time of last use, by which unused directories are evicted
    return folder / name


def _open(uri: str) -> tuple[Any, str]:
    """The filesystem of a URI or an absolute path, and the path of the store's root in it."""
    if "://" not in uri:
        return fs.LocalFileSystem(), uri
    if uri.startswith("s3://") and "allow_delayed_open" not in uri:
        # Small objects then cost one request and not the three of a multipart upload.
        uri += f"{'&' if '?' in uri else '?'}allow_delayed_open=true"
    files, root = fs.FileSystem.from_uri(uri)
    if not root:
        raise pa.ArrowInvalid("it names no bucket")
    return files, root


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _reason(error: Exception) -> str:
    """A short form of a filesystem's error: the code of an AWS error, the text of a system error."""
    text = str(error)
    if code := re.search(r"AWS Error (.+?) during", text):
        return code[1].lower().replace("_", " ")
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return text.partition("\n")[0][:200]
