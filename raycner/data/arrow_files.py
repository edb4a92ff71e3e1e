"""Arrow streams on disk, opened without reading them: the form that `datasets.Dataset.from_file` opens as well."""

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
    source = pa.memory_map(str(path))
    is_file_form = source.read(len(FILE_MAGIC)) == FILE_MAGIC
    source.seek(8 if is_file_form else 0)
    return ipc.open_stream(source).read_all()


def read_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow stream, one after another. Unlike a mapped table, those that were read hold no memory."""
    with pa.OSFile(str(path)) as file:
        yield from ipc.open_stream(file)
