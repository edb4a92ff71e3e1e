"""detect: files of any layout that their names and first lines tell."""

from collections.abc import Iterator, Sequence

from raycner.data.layouts.layout import LAYOUTS, FileLayout, Row
from raycner.data.recognition import recognised
from raycner.data.sources import RawFile
from raycner.errors import InputError


@LAYOUTS.register("detect")
class Detect(FileLayout):
    """The layout of the files is recognised, noted, and read with its default settings; all have the same one.

    A file that only its name tells is read as `columns`, `jsonl` or `i2b2`. Name the layout to change its settings.
    """

    def rows(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
        layouts = {file.name: recognised(file, files) for file in files}
        unknown = [name for name, layout in layouts.items() if layout is None]
        if unknown:
            hint = f"set scenario.corpus.name to one of {', '.join(LAYOUTS.names)}"
            raise InputError("neither its name nor its content shows its layout", location=unknown[0], hint=hint)
        distinct = sorted({layout for layout in layouts.values() if layout})
        if len(distinct) != 1:
            what = f"files of several layouts: {', '.join(distinct)}"
            hint = "set scenario.corpus.name to one of them, and scenario.corpus.path to its files"
            raise InputError(what, location=self.source, hint=hint)
        notes.append(f"read as {distinct[0]} (detected)")
        settings = {"dev_share": self.dev_share, "test_share": self.test_share, "seed": self.seed}
        try:
            yield from LAYOUTS[distinct[0]](**settings).rows(files, notes)
        except InputError as error:
            hint = f"{error.hint}; its settings belong to scenario.corpus.name={distinct[0]}"
            raise error.with_hint(hint) from None
