"""A local file of lines that only grows, kept in a store: new lines are written every few seconds, by a thread.

    KEY             the file up to the end of some line
    KEY.d/OFFSET    lines that begin at that byte

An object store receives chunks, because writing the whole file with each line would send a quadratic number of bytes. A
chunk says where it begins, so the chunks and the file agree after any kill: `close` writes the whole file at KEY, and
then removes the chunks. A folder has the whole file at any time, for programs that open it.
"""

import logging
import threading
from pathlib import Path

from raycner.errors import InputError
from raycner.storage.store import ObjectStore

SECONDS = 5.0
"""The least time between two writes."""


class GrowingFile:
    """The copy of a local file in a store. One process at a time may write it: the caller holds a lock."""

    def __init__(self, store: ObjectStore, key: str, file: Path) -> None:
        """Fetch the file, if the store has it."""
        self._store, self._key, self._file = store, key, file
        content = self._stored()
        if content:
            file.write_bytes(content)
        self._saved = self._marked = len(content)
        self._has_more, self._is_closed = threading.Event(), threading.Event()
        self._error: InputError | None = None
        self._thread = threading.Thread(target=self._write_chunks, name=f"copy of {key}", daemon=True)

    def save(self) -> None:
        """Have the file as it is now written: the first time at once, later within SECONDS.

        Raises `InputError` if an earlier part could not be written.
        """
        if self._error is not None:
            raise self._error
        self._marked = self._file.stat().st_size
        if self._thread.ident is None:
            self._write_chunk()
            self._thread.start()
        self._has_more.set()

    def close(self) -> None:
        """Write what is missing, as one object, and remove the chunks."""
        self._is_closed.set()
        self._has_more.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._file.exists():
            self._store.write(self._key, self._file.read_bytes())
        self._store.remove(f"{self._key}.d")

    def _stored(self) -> bytes:
        """The file as the store has it: empty where it has none."""
        chunks = [key for key in self._store.list(f"{self._key}.d") if key.rpartition("/")[2].isdecimal()]
        whole, *parts = self._store.read_many([self._key, *chunks])
        content = whole if isinstance(whole, bytes) else b""
        for chunk, part in zip(chunks, parts, strict=True):
            offset = int(chunk.rpartition("/")[2])
            before = content[:offset]
            follows = len(before) == offset and (not before or before.endswith(b"\n"))
            if isinstance(part, bytes) and follows and len(content) < offset + len(part):
                content = before + part
        return content

    def _write_chunks(self) -> None:
        while not self._is_closed.is_set():
            self._has_more.wait()
            self._has_more.clear()
            if self._is_closed.is_set():
                return
            try:
                self._write_chunk()
            except InputError as error:
                logging.getLogger(__name__).warning("%s", error)
                self._error = error
                return
            self._is_closed.wait(SECONDS)

    def _write_chunk(self) -> None:
        start, end = self._saved, self._marked
        if end <= start:
            return
        key = f"{self._key}.d/{start:012d}"
        if self._store.is_local:
            start, key = 0, self._key
        with self._file.open("rb") as file:
            file.seek(start)
            self._store.write(key, file.read(end - start))
        self._saved = end
