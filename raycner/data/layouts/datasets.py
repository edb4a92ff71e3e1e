"""Hugging Face datasets: a folder that `save_to_disk` wrote, or a hub id."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pyarrow import fs, ipc

from raycner.data.layouts.layout import ReadingConfig, Row, layout
from raycner.data.layouts.parquet import Table, from_tables
from raycner.data.sources import RawFile, find, part_of
from raycner.errors import InputError


def found(source: str, notes: list[str]) -> list[RawFile]:
    """The Arrow files of a dataset: of a folder or a URI, or of a hub id such as `conll2003` or `NAME:CONFIG`, whose
    files are downloaded and kept where `datasets` keeps them."""
    if "://" in source or Path(source).expanduser().exists():
        return find(f"{source.rstrip('/')}/**/data*.arrow", notes)
    from datasets import load_dataset

    name, _, config = source.partition(":")
    try:
        splits = load_dataset(name, config or None)
    except Exception as error:  # whatever a hub, a network or a dataset's own form can bring
        reason = f"no such folder, and the hub says: {str(error).partition(chr(10))[0][:200]}"
        hint = "name a folder of save_to_disk, or a hub id that can be reached"
        raise InputError(reason, location=source, hint=hint) from None
    files = []
    for split, rows in splits.items():
        part = part_of(split)
        if part is None:
            notes.append(f"left out, as its name tells no part: {split}")
            continue
        paths = [Path(file["filename"]) for file in rows.cache_files]
        files += [RawFile(f"{source}/{split}/{path.name}", part, fs.LocalFileSystem(), str(path)) for path in paths]
    return files


@layout("datasets", find=found)
def datasets(files: Sequence[RawFile], reading: ReadingConfig, notes: list[str]) -> Iterator[Row]:
    """A dataset of `tokens` with `ner_tags` (ClassLabels or texts), or with `entities`: the columns of `parquet`."""
    yield from from_tables(files, _open, reading, notes)


def _open(file: RawFile) -> Table:
    def batches(columns: list[str]) -> Iterator[object]:
        return (batch.select(columns) for batch in ipc.open_stream(file.seekable()))

    return Table(ipc.open_stream(file.seekable()).schema, batches)
