"""Arrow streams on disk, opened without reading them: the form that `datasets.Dataset.from_file` opens as well."""

import mmap
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import ipc

FILE_MAGIC = b"ARROW1"
"""How Arrow's file form begins, which raycner wrote up to 0.1; padded to 8 bytes, a stream follows it."""


def map_table(path: Path) -> pa.Table:
    """The table in an Arrow stream, memory-mapped: its columns are views of the file.

    Raises `pyarrow.ArrowInvalid` when the file holds no Arrow stream.
    """
    return _stream(pa.memory_map(str(path))).read_all()


class MappedBatches:
    """The batches of an Arrow stream, memory-mapped, whose pages leave the resident set once they were read.

    The kernel may map a whole large folio where one page is read, so that opening a file maps most of it.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.batches: list[pa.RecordBatch] = []
        for batch in _stream(pa.BufferReader(pa.py_buffer(self._pages))):
            self.batches.append(batch)
            self.release()
        self.release()

    def release(self) -> None:
        """Unmap the pages that were read; they stay in the page cache, and are mapped again when they are read."""
        if hasattr(self._pages, "madvise"):
            self._pages.madvise(mmap.MADV_DONTNEED)


def read_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow stream, one after another. Unlike a mapped table, those that were read hold no memory."""
    with pa.OSFile(str(path)) as file:
        yield from _stream(file)


def schema_of(path: Path) -> pa.Schema:
    """The schema of an Arrow stream."""
    with pa.OSFile(str(path)) as file:
        return _stream(file).schema


def _stream(source: pa.NativeFile) -> ipc.RecordBatchStreamReader:
    is_file_form = source.read(len(FILE_MAGIC)) == FILE_MAGIC
    source.seek(8 if is_file_form else 0)
    return ipc.open_stream(source)
