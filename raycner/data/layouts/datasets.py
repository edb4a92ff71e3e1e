"""Hugging Face datasets: a folder that `save_to_disk` wrote, or a hub id."""

from collections.abc import Iterator
from pathlib import Path

from pyarrow import fs, ipc

from raycner.data.layouts.layout import LAYOUTS
from raycner.data.layouts.parquet import Table, TableLayout
from raycner.data.sources import RawFile, find, named_parts, part_of
from raycner.errors import InputError


@LAYOUTS.register("datasets")
class Datasets(TableLayout):
    """A dataset of `tokens` with `ner_tags` (ClassLabels or text), or with `entities`: the columns of `parquet`.

    The path is a folder or a URI of `save_to_disk`, or a hub id such as `conll2003` or `NAME:CONFIG`, whose files are
    downloaded and kept where `datasets` keeps them.
    """

    def find(self, notes: list[str]) -> list[RawFile]:
        if "://" in self.path or Path(self.path).expanduser().exists():
            return find(f"{self.path.rstrip('/')}/**/data*.arrow", notes)
        from datasets import load_dataset

        name, _, config = self.path.partition(":")
        try:
            splits = load_dataset(name, config or None)
        except Exception as error:  # a hub, a network or a dataset script can raise anything
            reason = f"no such folder, and the hub says: {str(error).partition(chr(10))[0][:200]}"
            hint = "name a folder of save_to_disk, or a hub id that can be reached"
            raise InputError(reason, location=self.path, hint=hint) from None
        files = []
        for split, rows in splits.items():
            part = part_of(split)
            if part is None:
                notes.append(f"left out, as its name is none of train, dev, test: {split}")
                continue
            paths = [Path(file["filename"]) for file in rows.cache_files]
            files += [
                RawFile(f"{self.path}/{split}/{path.name}", part, fs.LocalFileSystem(), str(path)) for path in paths
            ]
        return files

    def named_files(self, notes: list[str]) -> list[RawFile]:
        folders = self.parts.items()
        tables = {part: [f"{path.rstrip('/')}/**/data*.arrow" for path in paths] for part, paths in folders}
        return named_parts(tables, notes)

    def table(self, file: RawFile) -> Table:
        def batches(columns: list[str]) -> Iterator[object]:
            return (batch.select(columns) for batch in ipc.open_stream(file.seekable()))

        return Table(ipc.open_stream(file.seekable()).schema, batches)
