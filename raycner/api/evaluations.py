"""Evaluations: a step, an exported folder or a Hugging Face token classifier, scored on annotated sentences."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from raycner.api.notebook import as_html
from raycner.console import TextConsole
from raycner.evaluation.entity_report import EntityEvaluation
from raycner.evaluation.seqeval_report import seqeval_report
from raycner.reporting.evaluation_document import document
from raycner.reporting.terminal.evaluation_view import evaluation_view

if TYPE_CHECKING:
    from pandas import DataFrame


class EvaluateOptions(TypedDict, total=False):
    """The options of `evaluate` that `Run.evaluate` takes as well."""

    layout: str | None
    reading: Mapping[str, object] | None
    types: Sequence[str]
    rename: Mapping[str, str] | None
    decoding: str | None
    threshold: float | str | None
    encoder: str | None
    allow_pickle: bool
    resamples: int
    seed: int
    examples: int
    progress: bool | Console


def evaluate(
    model: str | PathLike[str],
    *files: str | PathLike[str],
    test: bool = False,
    store: str | PathLike[str] = "store",
    layout: str | None = None,
    reading: Mapping[str, object] | None = None,
    types: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    decoding: str | None = None,
    threshold: float | str | None = None,
    encoder: str | None = None,
    allow_pickle: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    examples: int = 2,
    progress: bool | Console = True,
) -> "Evaluation":
    """Score a model on annotated files, or with `test` on the test part of its own run.

        raycner.evaluate("demo-fg_pg-dld", test=True)
        raycner.evaluate("demo-fg_pg-dld:2", "news.conll", "more.jsonl").scores()
        raycner.evaluate("my_classifier", "test.conll", rename={"PER": "person"})

    `model` is RUN or RUN:STEP, an exported folder, or a folder or hub id of a token classifier. `layout` and `reading`
    say how files are read, where their names do not. `types` are the types to score, `rename` maps the model's types to
    the names that the files use. `decoding` and `threshold` read a step out otherwise than its run does. `resamples`
    are those of the 95 % intervals, drawn from `seed`. Raises `InputError` for a model or a file that cannot be read,
    and where nothing can be scored.
    """
    from raycner.inference import evaluate as inference

    with _counter(progress) as on_progress:
        evaluation = inference.evaluate(
            fspath(model),
            [fspath(file) for file in files],
            test=test,
            store=fspath(store),
            layout=layout,
            reading=reading,
            types=types,
            rename=rename,
            decoding=decoding,
            threshold=threshold,
            encoder=encoder,
            allow_pickle=allow_pickle,
            resamples=resamples,
            seed=seed,
            examples=examples,
            on_progress=on_progress,
        )
    return Evaluation(evaluation)


class Evaluation:
    """The scores of a model on annotated sentences: tables, frames, a document, and one page with figures."""

    def __init__(self, evaluation: EntityEvaluation) -> None:
        self.evaluation = evaluation

    @cached_property
    def data(self) -> dict[str, Any]:
        """The document that `raycner evaluate --json` prints."""
        return document(self.evaluation)

    def scores(self) -> "DataFrame":
        """One row per type, then micro, macro and weighted; in percent, `low` and `high` bound the 95 % interval."""
        from pandas import DataFrame

        averages = {name: self.data[name] for name in ("micro", "macro", "weighted")}
        rows = []
        for name, score in (*self.data["types"].items(), *averages.items()):
            low, high = score["f1_interval"] or (float("nan"), float("nan"))
            percents = {key: 100 * score[key] for key in ("precision", "recall", "f1")}
            counts = {key: score[key] for key in ("support", "predicted")}
            rows.append({"type": name, **percents, "low": 100 * low, "high": 100 * high, **counts})
        return DataFrame(rows)

    def confusion(self) -> "DataFrame":
        """Entities by gold type, down, and predicted type, across; O is missed or spurious."""
        from pandas import DataFrame, Index

        names = self.data["matrix"]["types"]
        return DataFrame(
            self.data["matrix"]["counts"], index=Index(names, name="gold"), columns=Index(names, name="predicted")
        )

    def seqeval(self) -> str:
        """seqeval's own report of the same entities, in strict mode. Raises `InputError` for nested entities."""
        sentences = self.evaluation.sentences
        return seqeval_report([s.gold for s in sentences], [s.predicted for s in sentences])

    def show(self, console: Console | None = None) -> None:
        """Print the tables."""
        console = console or TextConsole()
        console.print(evaluation_view(self.evaluation, console.width), highlight=False)

    def write_html(self, file: str | PathLike[str]) -> None:
        """Write one self-contained page with tables and figures."""
        from raycner.reporting.html import page
        from raycner.reporting.html.evaluation_section import HEADING, OPENING, evaluation_section

        page.write([evaluation_section(self.evaluation)], Path(file), HEADING, OPENING)

    def __repr__(self) -> str:
        report = self.evaluation.report
        micro, macro = 100 * report.scores.micro.f1, 100 * report.scores.macro.f1
        return (
            f"<Evaluation of {self.evaluation.model}: micro F1 {micro:.2f}, macro {macro:.2f}, "
            f"{report.sentences} sentences>"
        )

    def _repr_html_(self) -> str:
        return as_html(self.show)


@contextmanager
def _counter(progress: bool | Console) -> Iterator[Callable[[int], object]]:
    """Shows on a terminal how many sentences are predicted."""
    console = progress if isinstance(progress, Console) else TextConsole(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} sentences predicted"))
    hidden = progress is False or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as display:
        task = display.add_task("", total=None)
        yield lambda number: display.update(task, completed=number)
