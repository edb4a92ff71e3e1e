"""Results as one HTML page: tables, figures and the command that reproduces each run, in one self-contained file.

The page is a tree of sections. It loads nothing, and runs nothing but the script that sorts tables, which its security
policy names by hash. Text from a corpus or a settings file is escaped by the template, and by matplotlib in figures.
Every plot of the page can be exported by itself.
"""

import base64
import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from raycner.analysis.comparison import Comparison, Row
from raycner.analysis.findings import comparison_findings, findings
from raycner.analysis.formatting import duration, listed, many
from raycner.analysis.published import MEASURES, Published
from raycner.analysis.scores import Run, extra_test_sets, step_notes
from raycner.analysis.summary import Summary
from raycner.analysis.table import Table
from raycner.console import printable
from raycner.errors import InputError
from raycner.reporting.html import plots, search_plots
from raycner.reporting.html.figures import BLUE, COLUMN, FAINT, INK, PAPER, RULE, Plot
from raycner.reporting.tables import search as searches
from raycner.reporting.tables.comparison import ranking, remarks
from raycner.reporting.tables.gaps import by_type, gaps_tables
from raycner.reporting.tables.labels import row_cell, title
from raycner.reporting.tables.orders import orders_table
from raycner.reporting.tables.progressions import progressions_tables
from raycner.reporting.tables.published import UNKNOWN, published_tables, reasons
from raycner.reporting.tables.run import extra_test_table, pseudo_table, type_table
from raycner.reporting.tables.significance import significance_table
from raycner.storage.durable_files import output_file
from raycner.storage.searches import RoundRecord, SearchRecord
from raycner.version import __version__

PIXELS_PER_POINT = 4 / 3
MOST_ENLARGED = 1.35
"""Figures have the size of print or grow a little with the page; on a narrow page they scroll instead of shrinking."""
WIDE = 1.2 * COLUMN
"""From this width on, in inches, a figure takes a whole row of the page."""
COLOURS = {INK: "ink", FAINT: "faint", RULE: "rule", PAPER: "paper", BLUE: "blue"}
"""Colours of figures and their names on the page, which has a dark mode."""
HEADING = "Results"
OPENING = "Continual named entity recognition: scores are in percent, on test unless stated otherwise."
BY_TYPE, PSEUDO = "Precision, recall and support by type", "Pseudo-entities of the teacher by type"
READ = "What was read of the corpora"
MOST_ROWS, MOST_STEPS, MOST_SEEDS = 30, 288, 5
"""The rows, of all scenarios together, that have plots and a section; their steps, if each had as many as the longest;
and the seeds of a row whose details are shown. Every row is in the tables.

A plot takes a quarter of a second and, of 18 steps, a quarter of a megabyte.
"""


class Recipe(NamedTuple):
    """How a run is reproduced."""

    name: str
    facts: str
    command: str
    settings: str
    """All of them, as YAML: the file that the command reads."""

    @property
    def file(self) -> str:
        return f"{self.name}.yaml"

    @property
    def link(self) -> str:
        """The file as a link."""
        return f"data:application/yaml;base64,{base64.b64encode(self.settings.encode()).decode()}"


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page, under a heading."""

    title: str
    anchor: str
    findings: Sequence[str] = ()
    """What it shows, in words."""
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    command: str = ""
    recipes: Sequence[Recipe] = ()
    parts: Sequence["Section"] = ()
    folded: bool = False
    """Whether it is collapsed until it is clicked."""

    def all_plots(self) -> Iterator[Plot]:
        """Its plots, and those of its parts."""
        yield from self.plots
        for part in self.parts:
            yield from part.all_plots()


def contents(summary: Summary, searched: Sequence[SearchRecord] = ()) -> list[Section]:
    """The sections of the page: scenarios, tables over several of them, searches."""
    runs = {run.run: run for run in summary.runs}
    theirs = summary.published or [None] * len(summary.comparisons)
    shares = _shares(summary.comparisons)
    scenarios = enumerate(zip(summary.comparisons, theirs, shares, strict=True), start=1)
    sections = [_scenario(f"scenario-{number}", *scenario, runs) for number, scenario in scenarios]
    tables = [orders_table(orders, summary.runs) for orders in summary.orders]
    if summary.progressions:
        tables += progressions_tables(summary.progressions, summary.runs)
    if tables:
        sections.append(Section(title="Over several scenarios", anchor="several", tables=tables))
    if summary.gaps:
        sections.append(_gaps(summary))
    if summary.significance:
        tables = [significance_table(paired, summary) for paired in summary.significance]
        sections.append(Section(title="Paired tests", anchor="significance", tables=tables))
    return [*sections, *(_search(f"search-{n}", search, runs) for n, search in enumerate(searched, start=1))]


def html(sections: Sequence[Section], heading: str = HEADING, opening: str = OPENING) -> str:
    """The page."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["inline"] = _inline
    environment.tests["sortable"] = _sortable
    source = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    script = resources.files(__package__).joinpath("sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = {"sections": sections, "heading": heading, "opening": opening, "version": __version__}
    return printable(environment.from_string(source).render(page, script=Markup(script), digest=digest))


def write(sections: Sequence[Section], file: Path, heading: str = HEADING, opening: str = OPENING) -> None:
    """Write the page to a file, creating its folder."""
    page = html(sections, heading, opening).encode()
    with _writing(file), output_file(file) as stream:
        stream.write(page)


def export(sections: Sequence[Section], folder: Path) -> int:
    """Write every plot of the page to a folder, as PNG and as SVG; returns how many there are."""
    plots = [plot for section in sections for plot in section.all_plots()]
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for plot in plots:
            plot.save(folder)
    return len(plots)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"cannot be written ({(error.strerror or str(error)).lower()})"
        raise InputError(what, location=str(path), hint="name a place that you may write to") from None


def _shares(comparisons: Sequence[Comparison]) -> list[int]:
    """How many rows of each scenario are drawn: all of the small ones, equally many of the large ones."""
    shares, rows = [0] * len(comparisons), [len(comparison.rows) for comparison in comparisons]
    left = min(MOST_ROWS, MOST_STEPS // max((len(comparison.plan) for comparison in comparisons), default=1))
    for place, scenario in enumerate(sorted(range(len(rows)), key=rows.__getitem__)):
        shares[scenario] = min(rows[scenario], left // (len(rows) - place))
        left -= shares[scenario]
    return shares


def _scenario(
    anchor: str, comparison: Comparison, published: Published | None, share: int, by_name: Mapping[str, Run]
) -> Section:
    runs = [by_name[name] for row in comparison.rows for name in row.runs]
    drawn = replace(comparison, rows=comparison.rows[:share])
    parts = [_published(f"{anchor}-published", published, comparison)] if published else []
    parts += [
        _row(f"{anchor}-{n}", row, [by_name[name] for name in row.runs]) for n, row in enumerate(drawn.rows, start=1)
    ]
    parts += _corpora(f"{anchor}-corpora", runs)
    types = f"Types, in the order they are learned: {'; '.join(', '.join(names) for names in comparison.plan)}."
    return Section(
        title=title(comparison),
        anchor=anchor,
        findings=comparison_findings(comparison),
        paragraphs=[types, *remarks(comparison, runs), *_undrawn(len(comparison.rows) - share)],
        tables=[ranking(comparison, runs)],
        plots=_scenario_plots(anchor, drawn, published, runs),
        parts=parts,
    )


def _scenario_plots(anchor: str, drawn: Comparison, published: Published | None, runs: Sequence[Run]) -> list[Plot]:
    """Plots of all drawn rows of a scenario."""
    figures: list[Plot] = []
    if any(len(row.curve) > 1 for row in drawn.rows):
        figures += [plots.curve(f"{anchor}-{measure}", drawn, measure, published) for measure in MEASURES]
    if any(row.finished and row.forgetting for row in drawn.rows):
        figures.append(plots.retention(f"{anchor}-old-and-new", drawn, runs))
        figures.append(plots.forgetting(f"{anchor}-forgetting", drawn))
        figures.append(plots.forgetting_by_type(f"{anchor}-forgetting-by-type", drawn, runs))
    if sum(row.average_macro is not None for row in drawn.rows) > 1:
        figures.append(plots.cost(f"{anchor}-cost", drawn, runs))
    return figures


def _undrawn(rows: int) -> list[str]:
    """What is left out of a scenario."""
    if not rows:
        return []
    left_out = f"Left out: the plots, the tables by type and the settings of the last {many(rows, 'row')} of the table."
    return [f"{left_out} A report on them alone (`raycner report RUN... --html FILE`) has them."]


def _corpora(anchor: str, runs: Sequence[Run]) -> list[Section]:
    """What the readers of the corpora noted, when it is clicked; nothing where they noted nothing."""
    corpora = [corpus for run in runs for corpus in run.corpora]
    notes = dict.fromkeys(f"{corpus.source}: {note}." for corpus in corpora for note in corpus.notes)
    return [Section(title=READ, anchor=anchor, paragraphs=list(notes), folded=True)] if notes else []


def _gaps(summary: Summary) -> Section:
    """What was never learned and what was forgotten, in all scenarios with a joint run; by type when it is clicked."""
    tables = [table for gaps in summary.gaps for table in gaps_tables(gaps, summary)]
    by_types = Section(title="By type", anchor="gaps-by-type", tables=list(map(by_type, summary.gaps)), folded=True)
    return Section(title="Gap to the joint bound", anchor="gaps", tables=tables, parts=[by_types])


def _published(anchor: str, published: Published, comparison: Comparison) -> Section:
    averages = next(published_tables(published, comparison), None)
    if averages is None:
        return Section(title="Published figures", anchor=anchor, paragraphs=[UNKNOWN])
    figures = [plots.published(f"{anchor}-averages", published)]
    explained = [reasons(published, comparison)] if any(pair.notable for pair in published.pairs) else []
    tables = [replace(averages, title=""), *explained]
    return Section(title=averages.title, anchor=anchor, tables=tables, plots=figures)


def _row(anchor: str, row: Row, runs: Sequence[Run]) -> Section:
    """The runs of a row; their tables are by seed."""
    started = [run for run in runs if run.steps]
    detailed = started[:MOST_SEEDS]
    figures = [plots.heatmap(f"{anchor}-types", started)] if started else []
    if started and len(started[0].steps) > 1:
        figures.append(plots.precision_recall(f"{anchor}-precision-recall", started))
    if any(step.epochs for run in started for step in run.steps):
        figures.append(plots.terms(f"{anchor}-losses", started))
    by_type = [_type_table(run) for run in detailed]
    parts = [Section(title=BY_TYPE, anchor=f"{anchor}-by-type", tables=by_type, folded=True)] if by_type else []
    taught = [run for run in started if any(step.pseudo for step in run.steps)]
    if taught:
        figures.append(plots.pseudo(f"{anchor}-teacher", started))
        tables = [replace(pseudo_table(run), title=f"Seed {run.seed}") for run in taught[:MOST_SEEDS]]
        parts.append(Section(title=PSEUDO, anchor=f"{anchor}-pseudo", tables=tables, folded=True))
    name = row_cell(row)
    return Section(
        title=name.text,
        anchor=anchor,
        findings=_in_words(started),
        paragraphs=[*([", ".join(name.details)] if name.details else []), *_undetailed(runs), *_notes(detailed)],
        tables=[_extra_test_table(run) for run in detailed if extra_test_sets(run)],
        plots=figures,
        parts=parts,
        recipes=list(map(_recipe, runs[:MOST_SEEDS])),
    )


def _in_words(started: Sequence[Run]) -> list[str]:
    """The first of the runs in words."""
    if not started:
        return []
    first, *others = started
    seed = f"Seed {first.seed}: " if others else ""
    return [f"{seed}{line}" for line in findings(first).lines]


def _undetailed(runs: Sequence[Run]) -> list[str]:
    """What is left out of a row."""
    rest = len(runs) - MOST_SEEDS
    return [f"Left out: the tables by type and the settings of the last {many(rest, 'seed')}."] if rest > 0 else []


def _notes(runs: Sequence[Run]) -> Iterator[str]:
    """The remarks on the steps of runs, by seed."""
    for run in runs:
        yield from (f"Seed {run.seed}, {steps}: {note}." for steps, note in step_notes(run))


def _type_table(run: Run) -> Table:
    """Precision, recall, F1 and support after the last step of a run."""
    last = run.steps[-1]
    return replace(type_table(run, last), title=f"Seed {run.seed}, after step {last.index + 1}")


def _extra_test_table(run: Run) -> Table:
    """Micro- and macro-F1 on the extra test sets after each step of a run."""
    return replace(extra_test_table(run), title=f"Extra test sets, seed {run.seed}")


def _recipe(run: Run) -> Recipe:
    """The recipe has all settings, so that it needs no job file of the repository."""
    steps = f"{len(run.steps)} of {many(len(run.plan), 'step')}"
    workers = listed([str(number) for number in run.workers]) or "no"
    corpora = listed([f"{corpus.fingerprint} {corpus.source}".strip() for corpus in run.corpora])
    trained = f"trained {duration(run.seconds)} on {workers} {'worker' if workers == '1' else 'workers'}"
    settings = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True, width=100)
    facts = f"{steps}, {trained}; corpus {corpora}"
    return Recipe(run.run, facts, shlex.join(["raycner", "run", f"{run.run}.yaml"]), settings)


def _search(anchor: str, search: SearchRecord, runs: Mapping[str, Run]) -> Section:
    parts = [_round(f"{anchor}-{number}", search, round_) for number, round_ in enumerate(search.rounds, start=1)]
    heading, winner = f"Search {searches.heading(search)}", search.winner
    if winner is None:
        return Section(title=heading, anchor=anchor, paragraphs=["No trial finished."], parts=parts)
    tables, command = [searches.winner_table(winner, runs)], ["The command that runs the winner again:"]
    return Section(title=heading, anchor=anchor, paragraphs=command, command=winner.command, tables=tables, parts=parts)


def _round(anchor: str, search: SearchRecord, round_: RoundRecord) -> Section:
    figures = [search_plots.trials(f"{anchor}-trials", search, round_)]
    if len(search.objectives) > 1 and searches.pareto(round_.trials):
        figures.append(search_plots.front(f"{anchor}-front", search, round_))
    if round_.importances:
        figures.append(search_plots.importances(f"{anchor}-importances", round_))
    if len(search_plots.finished(round_)) > 1 and search_plots.searched(round_):
        figures.append(search_plots.slices(f"{anchor}-slices", round_))
        figures.append(search_plots.parallel(f"{anchor}-parallel", round_))
    lines = [f"{searches.counts(round_)}.", *searches.failures(round_)]
    heading = "Trials" if len(search.rounds) == 1 else f"Trials for step {round_.steps}"
    table = searches.trials_table(search, round_)
    return Section(title=heading, anchor=anchor, paragraphs=lines, tables=[table], plots=figures)


def _sortable(table: Table) -> bool:
    """Whether the order of its rows carries no meaning: every row has a name of its own."""
    return len(table.rows) > 2 and all(row and not row[0].blank for row in table.rows)


class Picture(NamedTuple):
    """A plot as an element of the page."""

    svg: Markup
    wide: bool


def _inline(plot: Plot) -> Picture:
    """A plot as an element of the page, with unique identifiers and the colours of the page."""
    text = plot.svg()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style.*?</style>|<defs>\s*</defs>| xmlns(:\w+)?=\"[^\"]*\"| version=\"1.1\"", "", text, flags=re.S)
    text = re.sub(r" font-family: [^;\"]*;|(?<=\n) +", "", text)  # the page has its own font
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{plot.name}-", text)
    for colour, name in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    points = float(text.split('width="', 1)[1].split("pt", 1)[0])
    width = points * PIXELS_PER_POINT
    style = f"min-width: {width:.0f}px; max-width: {MOST_ENLARGED * width:.0f}px"
    opening = Markup('<svg role="img" style="{}" aria-label="{}"').format(style, plot.caption)
    return Picture(opening + Markup(text.removeprefix("<svg")), points / 72 > WIDE)
