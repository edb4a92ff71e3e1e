"""Results as one HTML page: tables, figures, and how each run is had again, in a file that needs nothing else.

The page is a tree of sections. It loads nothing and runs nothing; whatever came out of a corpus or a settings file is
escaped by the template, and by matplotlib in figures. A plot of the page can be exported by itself.
"""

import base64
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import NamedTuple

import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from raycner.analysis import orders, progressions
from raycner.analysis.comparison import Comparison, Row
from raycner.analysis.formatting import DASH, duration, figure, listed, many
from raycner.analysis.orders import Orders
from raycner.analysis.progressions import Table
from raycner.analysis.published import MEASURES, Published
from raycner.analysis.scores import Run
from raycner.analysis.significance import sentence
from raycner.errors import InputError
from raycner.reporting import markdown
from raycner.reporting.html import plots, search_plots
from raycner.reporting.html.figures import BLUE, COLUMN, FAINT, INK, PAPER, RULE, Plot, printable
from raycner.reporting.report import Summary
from raycner.reporting.terminal import comparison_view as ranking
from raycner.reporting.terminal import published_view as beside
from raycner.reporting.terminal import search_view as searches
from raycner.reporting.terminal.pseudo_view import KEY
from raycner.reporting.terminal.tables import setting_lines, title
from raycner.storage.searches import RoundRecord, SearchRecord

PIXELS_PER_POINT = 4 / 3
MOST_ENLARGED = 1.35
"""Figures keep the size of print, or grow a little with the room they have; they never shrink, but scroll."""
WIDE = 1.2 * COLUMN
"""From this width on, in inches, a figure has a row of the page to itself."""
COLOURS = {INK: "ink", FAINT: "faint", RULE: "rule", PAPER: "paper", BLUE: "blue"}
"""Of figures, and the names by which the page has them, so that it can be dark."""
HEADING = "What the runs have reached"
OPENING = "Continual named entity recognition: scores are F1 in percent, on test unless it is said otherwise."
FOUND = "What the teacher found, by type"


class Recipe(NamedTuple):
    """How a run is had again."""

    name: str
    facts: str
    command: str
    settings: str
    """All of them, as YAML; the file that the command reads."""

    @property
    def file(self) -> str:
        return f"{self.name}.yaml"

    @property
    def link(self) -> str:
        """The file itself, for a click."""
        return f"data:application/yaml;base64,{base64.b64encode(self.settings.encode()).decode()}"


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page, under a heading."""

    title: str
    anchor: str
    said: Sequence[str] = ()
    """Paragraphs."""
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    command: str = ""
    recipes: Sequence[Recipe] = ()
    parts: Sequence["Section"] = ()
    folded: bool = False
    """Whether it opens on a click only."""

    def drawn(self) -> Iterator[Plot]:
        """Its plots, and those of its parts."""
        yield from self.plots
        for part in self.parts:
            yield from part.drawn()


def contents(found: Summary, searched: Sequence[SearchRecord] = ()) -> list[Section]:
    """All there is to show: scenarios, what was reckoned over several of them, searches."""
    runs = {run["run"]: run for run in found["runs"]}
    told = found.get("published", [None] * len(found["comparisons"]))
    pairs = enumerate(zip(found["comparisons"], told, strict=True), start=1)
    sections = [_scenario(f"scenario-{number}", *pair, runs) for number, pair in pairs]
    progressed = found.get("progressions", ())
    if tables := [*map(_orders, found.get("orders", ())), *(progressions.tables(progressed) if progressed else ())]:
        sections.append(Section(title="Over several scenarios", anchor="several", tables=tables))
    if fights := found.get("significance"):
        sections.append(
            Section(title="Duels", anchor="significance", said=[sentence(paired_test) for paired_test in fights])
        )
    return [*sections, *(_search(f"search-{n}", search, runs) for n, search in enumerate(searched, start=1))]


def html(sections: Sequence[Section], heading: str = HEADING, opening: str = OPENING) -> str:
    """The page."""
    rooms = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    rooms.filters["inline"] = _inline
    template = rooms.from_string(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    return printable(
        template.render(sections=sections, heading=heading, opening=opening, version=metadata.version("raycner"))
    )


def write(sections: Sequence[Section], file: Path, heading: str = HEADING, opening: str = OPENING) -> None:
    """Leave the page in a file, making its folder."""
    with _written(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(html(sections, heading, opening), encoding="utf-8")


def export(sections: Sequence[Section], folder: Path) -> int:
    """Leave every plot of the page in a folder, as PNG and as SVG; how many there are."""
    drawn = [plot for section in sections for plot in section.drawn()]
    with _written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for plot in drawn:
            plot.save(folder)
    return len(drawn)


@contextmanager
def _written(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"cannot be written ({(error.strerror or str(error)).lower()})"
        raise InputError(what, location=str(where), hint="name a place that you may write to") from None


def _scenario(anchor: str, comparison: Comparison, theirs: Published | None, by_name: Mapping[str, Run]) -> Section:
    rows = comparison["rows"]
    runs = [by_name[name] for row in rows for name in row["runs"]]
    drawn: list[Plot] = []
    if any(len(row["curve"]) > 1 for row in rows):
        drawn += [plots.curve(f"{anchor}-{measure}", comparison, measure, theirs) for measure in MEASURES]
    if any(row["finished"] and row["forgetting"] for row in rows):
        drawn.append(plots.retention(f"{anchor}-old-and-new", comparison, runs))
        drawn.append(plots.forgetting(f"{anchor}-forgetting", comparison))
    parts = [_published(f"{anchor}-published", theirs, comparison)] if theirs else []
    parts += [
        _row(f"{anchor}-{n}", row, [by_name[name] for name in row["runs"]]) for n, row in enumerate(rows, start=1)
    ]
    types = f"Types, in the order they are learned: {'; '.join(', '.join(names) for names in comparison['plan'])}."
    return Section(
        title=title(comparison),
        anchor=anchor,
        said=[types, *ranking.notes(comparison, runs)],
        tables=[_ranking(comparison, runs)],
        plots=drawn,
        parts=parts,
    )


def _ranking(comparison: Comparison, runs: Sequence[Run]) -> Table:
    columns = markdown.ranked(comparison, runs)
    columns["system"] = [_named(row) for row in comparison["rows"]]
    return _table("", ranking.legend(comparison), columns, 1)


def _published(anchor: str, found: Published, comparison: Comparison) -> Section:
    if found["setting"] is None:
        return Section(title="Published figures", anchor=anchor, said=[beside.UNKNOWN])
    rows, pairs = {row["label"]: row for row in comparison["rows"]}, found["pairs"]
    columns = {
        "system": [pair["theirs"]["system"] for pair in pairs],
        "published by": [pair["theirs"]["by"] for pair in pairs],
        "our row": [_named(rows[pair["row"]]) if pair["row"] else DASH for pair in pairs],
        **dict(beside.columns(found)),
    }
    drawn = [plots.beside(f"{anchor}-averages", found)]
    notes = " ".join(beside.notes(found))
    return Section(title=beside.heading(found), anchor=anchor, tables=[_table("", notes, columns, 3)], plots=drawn)


def _row(anchor: str, row: Row, runs: Sequence[Run]) -> Section:
    begun = [run for run in runs if run["steps"]]
    drawn = [plots.heatmap(f"{anchor}-types", begun)] if begun else []
    if any(step["epochs"] for run in begun for step in run["steps"]):
        drawn.append(plots.terms(f"{anchor}-losses", begun))
    if teacher := [_pseudo(run) for run in begun if any(step["pseudo"] for step in run["steps"])]:
        drawn.append(plots.pseudo(f"{anchor}-teacher", begun))
    said = [", ".join(setting_lines(row["settings"]))] if row["settings"] else []
    parts = [Section(title=FOUND, anchor=f"{anchor}-found", tables=teacher, folded=True)] if teacher else []
    recipes = list(map(_recipe, runs))
    return Section(title=row["title"], anchor=anchor, said=said, plots=drawn, parts=parts, recipes=recipes)


def _pseudo(run: Run) -> Table:
    asked = [(step["index"], *one) for step in run["steps"] for one in (step["pseudo"] or {}).items()]
    columns = {
        "type": [name for _, name, _ in asked],
        "step": [str(index + 1) for index, _, _ in asked],
        "found": [f"{said['proposed']:,}" for _, _, said in asked],
        "kept": [f"{said['kept']:,}" for _, _, said in asked],
        "from": [f"{said['threshold']:.3f}" for _, _, said in asked],
        "precision": [figure(said["precision"]) for _, _, said in asked],
    }
    return _table(f"Seed {run['seed']}", KEY, columns, 1)


def _recipe(run: Run) -> Recipe:
    """The settings are all there, so that no job of the repository is needed."""
    steps = f"{len(run['steps'])} of {many(len(run['plan']), 'step')}"
    workers = listed([str(number) for number in run["workers"]]) or "no"
    corpora = listed([f"{corpus['fingerprint']} {corpus['source']}".strip() for corpus in run["corpora"]])
    trained = f"trained {duration(run['seconds'])} on {workers} {'worker' if workers == '1' else 'workers'}"
    settings = yaml.safe_dump(run["config"], sort_keys=False, allow_unicode=True, width=100)
    facts = f"{steps}, {trained}; corpus {corpora}"
    return Recipe(run["run"], facts, shlex.join(["raycner", "run", f"{run['run']}.yaml"]), settings)


def _orders(found: Orders) -> Table:
    columns = {"system": [row["label"] for row in found["rows"]], **dict(orders.columns(found))}
    return _table(orders.heading(found), orders.NOTE, columns, 1)


def _search(anchor: str, search: SearchRecord, runs: Mapping[str, Run]) -> Section:
    parts = [_round(f"{anchor}-{number}", search, found) for number, found in enumerate(search.rounds, start=1)]
    winner = search.winner
    if winner is None:
        return Section(
            title=f"Search {searches.heading(search)}", anchor=anchor, said=["No trial finished."], parts=parts
        )
    sides = {"winner": winner.runs, "trial 0": winner.baseline}
    scores = [searches.reached([runs[name] for name in names if name in runs]) for names in sides.values()]
    headers = ("average micro", "average macro", "final micro", "final macro")
    columns = {"on test": list(sides)} | {h: [figure(one[n]) for one in scores] for n, h in enumerate(headers)}
    said = ["The line that runs the winner again:"]
    tables = [_table("", "F1 on test in percent, mean over seeds; the search itself saw dev only.", columns, 1)]
    heading = f"Search {searches.heading(search)}"
    return Section(title=heading, anchor=anchor, said=said, command=winner.command, tables=tables, parts=parts)


def _round(anchor: str, search: SearchRecord, found: RoundRecord) -> Section:
    drawn = [search_plots.trials(f"{anchor}-trials", search, found)]
    if len(search.objectives) > 1 and searches.pareto(found.trials):
        drawn.append(search_plots.front(f"{anchor}-front", search, found))
    if found.importances:
        drawn.append(search_plots.importances(f"{anchor}-importances", found))
    best = searches.best(search, found)
    columns = {
        "settings": ["\n".join(searches.spelt(trial.settings)) for trial in best],
        "trial": [str(trial.number) for trial in best],
    }
    for place, name in enumerate(search.objectives):
        columns[searches.TITLES[name]] = [f"{100 * trial.values[place]:+.1f}" for trial in best]
    columns |= {"trained": [str(trial.trained) for trial in best], "shared": [str(trial.shared) for trial in best]}
    note = "Scores on dev against trial 0, in points of F1; trained and shared: steps of the trial."
    said = [f"{searches.counts(found)}.", *searches.failures(found)]
    heading = "Trials" if len(search.rounds) == 1 else f"Trials for step {found.steps}"
    return Section(title=heading, anchor=anchor, said=said, tables=[_table("", note, columns, 1)], plots=drawn)


def _named(row: Row) -> str:
    return "\n  ".join([row["title"], *setting_lines(row["settings"])])


def _table(title: str, note: str, columns: Mapping[str, Sequence[str]], names: int) -> Table:
    rows = [[cell.strip() for cell in row] for row in zip(*columns.values(), strict=True)]
    return Table(title, note, list(columns), rows, names)


class Drawn(NamedTuple):
    """A plot as a part of the page."""

    svg: Markup
    wide: bool


def _inline(plot: Plot) -> Drawn:
    """Give a plot identifiers of its own and colours that follow the page's, and take the words of XML away."""
    text = plot.svg()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style.*?</style>|<defs>\s*</defs>| xmlns(:\w+)?=\"[^\"]*\"| version=\"1.1\"", "", text, flags=re.S)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{plot.name}-", text)
    for colour, name in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    points = float(text.split('width="', 1)[1].split("pt", 1)[0])
    width = points * PIXELS_PER_POINT
    style = f"min-width: {width:.0f}px; max-width: {MOST_ENLARGED * width:.0f}px"
    opening = Markup('<svg role="img" style="{}" aria-label="{}"').format(style, plot.caption)
    return Drawn(opening + Markup(text.removeprefix("<svg")), points / 72 > WIDE)
