"""Inspections: what is read of files, before or after they are prepared as a corpus."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from raycner.api.jobs import Job, Overrides, load_config
from raycner.api.notebook import as_html
from raycner.api.progress import Progress, event_handler
from raycner.console import TextConsole
from raycner.data.inspection import CORPUS, CorpusContents, Reach, as_it_is, of_corpus, recognised_layout
from raycner.data.layouts.layout import FileLayout, build_layout
from raycner.data.scenarios.scenario import Scenario
from raycner.data.sentence_table import SentenceTable
from raycner.data.sources import Part
from raycner.errors import InputError
from raycner.events import Message
from raycner.reporting.corpus_document import document

if TYPE_CHECKING:
    from pandas import DataFrame

    from raycner.networks.encoders.encoder import Encoder, EncoderConfig


def inspect(
    path: str | PathLike[str] | None = None,
    *,
    layout: str | None = None,
    reading: Mapping[str, object] | None = None,
    encoder: str | PathLike[str] | None = None,
) -> "Inspection":
    """Read a file, a folder or a pattern, and report what was read. Nothing is stored.

        raycner.inspect("data/news")
        raycner.inspect("data/news.tsv", layout="columns", reading={"tag_column": 1, "comment": "#"})

    `layout` is recognised if none is named; `reading` are its settings, among them `train`, `dev` and `test` in place
    of `path`. `encoder` is a folder or a hub id, whose reach is compared with the sentences. Raises `InputError` for
    what cannot be read.
    """
    settings = {**({} if path is None else {"path": fspath(path)}), **(reading or {})}
    chosen = recognised_layout(settings) if layout is None else build_layout({**settings, "name": layout}, CORPUS)
    if not isinstance(chosen, FileLayout):
        raise InputError(f"the layout {chosen.name} reads no file", location=f"{CORPUS}.name", hint="name another")
    network = None if encoder is None else _pretrained(fspath(encoder)).build(fresh=False)
    with as_it_is(chosen) as (contents, tables):
        return Inspection([(contents, _reach(network, tables))])


def inspect_job(
    job: Job,
    overrides: Overrides = (),
    /,
    *,
    encoder: str | PathLike[str] | None = None,
    progress: Progress = True,
    **settings: object,
) -> "Inspection":
    """Read the corpora of a job into its store, and report what was read.

    `encoder` is compared with the sentences; without one, the job's own if it is a folder. Raises `InputError` for
    what cannot be read; what the protocol cannot divide is read, and `problem` says why it cannot.
    """
    from raycner.orchestration import run_steps

    config = load_config(job, overrides, settings)
    scenario = config.scenario
    with event_handler(progress) as handler:
        store = run_steps.open_store(config)
        corpora = Scenario.read(scenario, store, lambda line: handler(Message(line)))
    network = _encoder(config.model.encoder, encoder)
    try:
        Scenario(scenario, corpora)
        problem = None
    except InputError as error:
        problem = error
    layouts = scenario.protocol.corpora(scenario.corpus)
    distinct = {corpus.source: (layout, corpus) for layout, corpus in zip(layouts, corpora, strict=False)}
    pairs = [(of_corpus(layout, corpus), _reach(network, corpus.parts)) for layout, corpus in distinct.values()]
    return Inspection(pairs, problem)


class Inspection:
    """What was read of corpora: tables, a frame, a document, and one page."""

    def __init__(
        self, corpora: Sequence[tuple[CorpusContents, Reach | None]], problem: InputError | None = None
    ) -> None:
        """Each with what an encoder cannot read of it, where there is one. `problem` is why the protocol of a job
        cannot divide them."""
        self.corpora, self.problem = tuple(corpora), problem

    @cached_property
    def data(self) -> dict[str, Any]:
        """The document that `raycner inspect --json` prints."""
        return document(self.corpora)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was detected, repaired, left out or guessed, and what else matters."""
        return tuple(note for contents, _ in self.corpora for note in contents.notes)

    def entities(self) -> "DataFrame":
        """The number of entities: one row per corpus and type, one column per part."""
        from pandas import DataFrame

        return DataFrame(
            [
                {
                    "corpus": contents.source,
                    "type": name,
                    **{part: p.entities[name] for part, p in contents.parts.items()},
                }
                for contents, _ in self.corpora
                for name in contents.types
            ]
        )

    def show(self, console: Console | None = None) -> None:
        """Print the tables."""
        from raycner.reporting.terminal.corpus_view import corpora_view

        console = console or TextConsole()
        console.print(corpora_view(self.corpora, console.width), highlight=False)

    def write_html(self, file: str | PathLike[str]) -> None:
        """Write one self-contained page."""
        from raycner.reporting.html import page
        from raycner.reporting.html.corpus_section import HEADING, OPENING, corpus_section

        sections = [corpus_section(*pair, f"corpus-{number}") for number, pair in enumerate(self.corpora, start=1)]
        page.write(sections, Path(file), HEADING, OPENING)

    def __repr__(self) -> str:
        sizes = [
            f"{contents.source}: " + ", ".join(f"{part} {held.sentences}" for part, held in contents.parts.items())
            for contents, _ in self.corpora
        ]
        return f"<Inspection of {'; '.join(sizes)}>"

    def _repr_html_(self) -> str:
        return as_html(self.show)


def _encoder(config: "EncoderConfig", path: str | PathLike[str] | None) -> "Encoder | None":
    """The encoder at a path, or that of the configuration if its files are here; without its weights."""
    if path is not None:
        return _pretrained(fspath(path)).build(fresh=False)
    own = getattr(config, "path", "")
    return config.build(fresh=False) if own and Path(own).expanduser().is_dir() else None


def _pretrained(path: str) -> "EncoderConfig":
    from raycner.networks.encoders import ENCODERS

    config: EncoderConfig = ENCODERS["pretrained"](path=path)
    return config


def _reach(encoder: "Encoder | None", tables: Mapping[Part, SentenceTable]) -> Reach | None:
    if encoder is None:
        return None
    from raycner.networks.encoders.reach import reach

    return reach(encoder, tables)
