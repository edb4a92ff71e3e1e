"""Published figures of a setting, paired with the scores of our runs of it.

The figures are mean F1 over steps, in percent, in two files next to this module:

    published_averages.csv   corpus, setting, system, by, micro, micro_std, macro, macro_std,
                             printed_micro, printed_macro
    published_steps.csv      corpus, setting, system, micro, macro: the score after each step, of CFNER's own runs

A system has the name of our method, and `by` says who published the figure: CFNER (the EMNLP 2022 paper and its
repository), DLD (SIGIR 2023: its own rows, and its re-runs of the two it builds on), RDP and TBCL (later; at second
hand). What a run of ours did otherwise than CFNER's recipe is a list of departures: they are the known reasons of a
difference. A figure that the source prints differently (`printed`) was corrected: CFNER's table for OntoNotes5
FG-2-PG-2 gives PODNet and LUCIR the figures of I2B2; here they have the averages of its repository's step-wise figures.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Any, Literal

from raycner.analysis.comparison import Comparison, Row
from raycner.analysis.scores import Run, protocol_name
from raycner.analysis.statistics import Score
from raycner.settings import spell

Measure = Literal["micro", "macro"]
MEASURES: tuple[Measure, ...] = ("micro", "macro")

_ONTONOTES5 = (
    *("CARDINAL", "DATE", "EVENT", "FAC", "GPE", "LANGUAGE", "LAW", "LOC", "MONEY", "NORP", "ORDINAL", "ORG"),
    *("PERCENT", "PERSON", "PRODUCT", "QUANTITY", "TIME", "WORK_OF_ART"),
)
_I2B2 = (
    *("AGE", "CITY", "COUNTRY", "DATE", "DOCTOR", "HOSPITAL", "IDNUM", "MEDICALRECORD", "ORGANIZATION", "PATIENT"),
    *("PHONE", "PROFESSION", "STATE", "STREET", "USERNAME", "ZIP"),
)
CORPORA = {
    ("location", "misc", "organisation", "person"): "CoNLL2003",
    ("LOC", "MISC", "ORG", "PER"): "CoNLL2003",
    _I2B2: "I2B2",
    _ONTONOTES5: "OntoNotes5",
}
"""The corpora of the published figures, by their types in the order they are learned."""
COLDEST = 0.01
"""At this temperature a teacher of ExtendNER predicts one tag: the Self-Training of the published tables."""


NOTABLE = 3.0
"""Points of difference, in micro or macro, above which reasons are shown."""
Cause = Literal["encoder", "decoder", "head", "loss", "optimiser", "updates", "slices"]


@dataclass(frozen=True, kw_only=True)
class Departure:
    """One way in which a run of ours was made otherwise than the published one: a known reason of a difference."""

    cause: Cause
    ours: str
    theirs: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The published scores of one system in one setting."""

    system: str
    by: str
    micro: Score
    macro: Score
    printed: Mapping[Measure, float] | None
    """What the source prints instead; None unless that was corrected."""
    curve: Mapping[Measure, tuple[float, ...]] | None
    """The score after each step."""

    def score(self, measure: Measure) -> Score:
        return self.micro if measure == "micro" else self.macro


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A published figure and a finished row of ours that runs the same system; None when there is no such row."""

    theirs: Figure
    row: str | None
    """The label of the row in its comparison."""
    ours: Mapping[Measure, Score] | None
    difference: Mapping[Measure, float] | None
    """Ours minus theirs."""
    departures: tuple[Departure, ...] = ()

    @property
    def notable(self) -> bool:
        return any(abs(points) > NOTABLE for points in (self.difference or {}).values())


@dataclass(frozen=True, kw_only=True)
class Published:
    """The published figures of the setting of one comparison."""

    setting: str | None
    """As in "I2B2 FG-8-PG-2"; None where these types in these steps are no published setting."""
    pairs: tuple[Pair, ...] = ()
    unpublished: tuple[str, ...] = ()
    """The labels of finished rows without a published figure."""


def published(comparison: Comparison, runs: Sequence[Run]) -> Published:
    """The figures of the setting of a comparison, each with our rows of that system; `runs` are those compared.

    A setting is recognised by its types, their order and the sizes of its steps, whatever the names of the files.
    """
    setting = setting_of(comparison.plan) if protocol_name(comparison.scenario) == "fg_pg" else None
    figures = _figures().get(setting, []) if setting else []
    if not figures:
        return Published(setting=None)
    by_name = {run.run: run for run in runs}
    rows = [(row, system(by_name[row.runs[0]])) for row in comparison.rows if row.finished]
    systems = {figure.system for figure in figures}
    return Published(
        setting=" ".join(setting or ()),
        pairs=tuple(pair for figure in figures for pair in _pairs(figure, rows, by_name)),
        unpublished=tuple(row.label for row, name in rows if name not in systems),
    )


def setting_of(plan: Sequence[Sequence[str]]) -> tuple[str, str] | None:
    """Corpus and FG-a-PG-b of the types that each step brings; None for an unknown set of types, or uneven steps."""
    corpus = CORPORA.get(tuple(name for names in plan for name in names))
    sizes = [len(names) for names in plan]
    if corpus is None or len(set(sizes[1:])) != 1:
        return None
    return corpus, f"FG-{sizes[0]}-PG-{sizes[1]}"


def system(run: Run) -> str | None:
    """The published name of the method of a run, spelled as our methods are; None for a control of our own."""
    method, scenario = run.config["method"], run.config["scenario"]
    if scenario.get("memory", {}).get("size") or scenario.get("reservoir", {}).get("path"):
        return None  # the published systems keep no sentences
    if run.joint:
        return "joint" if method["name"] == "finetuning" else None
    return _system_name(method)


def _system_name(method: Mapping[str, Any]) -> str | None:
    if method["name"] == "dld":
        return None if method.get("decomposition") == "none" else f"dld({_system_name(method['base'])})"
    if method["name"] == "duplet":
        base = _system_name(method["base"])
        published = method.get("twin", "erased") == "erased" and method.get("consistency_weight", 1.0) > 0
        return ("tbcl" if base == "rdp" else f"duplet({base})") if published else None
    if method["name"] == "rdp" and method.get("prototypes") == "none":
        return None
    if method["name"] == "extend_ner" and method.get("teacher_temperature", 1.0) <= COLDEST:
        return "self_training"
    return str(method["name"])


def departures(run: Run) -> tuple[Departure, ...]:
    """What a run of the FG-PG protocol did otherwise than the recipe of CFNER's repository, as far as it is recorded.

    The repository attends padding, scores the corpus as one sequence and draws its slices without a seed, which no
    setting of ours repeats; of these only the slices are named, since a file can hold them.
    """
    facts: dict[Cause, tuple[str, str]] = {
        "encoder": (_encoder(run), "bert-base-cased"),
        "decoder": (run.decoder or "that of the head", "argmax"),
        "head": (_head(run), "cosine, normalised along the sentence"),
        "loss": _loss(run),
        "optimiser": (str(run.config["optim"].get("optimizer", "")), "sgd"),
        "updates": (_updates(run), f"{20 if len(run.plan[-1]) > 1 else 10} epochs, batches of 8"),
        "slices": (_slices(run), "the repository's own draw"),
    }
    differing = {cause: sides for cause, sides in facts.items() if sides[0] and sides[0] != sides[1]}
    return tuple(Departure(cause=cause, ours=ours, theirs=theirs) for cause, (ours, theirs) in differing.items())


def _encoder(run: Run) -> str:
    encoder = run.config["model"]["encoder"]
    return PurePosixPath(encoder.get("path") or encoder["name"]).name


def _head(run: Run) -> str:
    head = run.config["model"]["head"]
    along = ", normalised along the sentence" if head.get("norm_axis") == "sequence" else ""
    return f"{head['name']}{along}"


def _loss(run: Run) -> tuple[str, str]:
    """Ours and theirs, where the defaults of a method are not CFNER's, or the published formula was not available."""
    method = run.config["method"]
    match method["name"]:
        case "extend_ner":
            theirs = {"weighting": "mean", "kd_weight": 1.0, "student_temperature": 2.0}
            ours = {name: method[name] for name, value in theirs.items() if method.get(name, value) != value}
            return _listed(ours), _listed({name: theirs[name] for name in ours})
        case "self_training":
            return "entities as pseudo-labels", "a teacher of temperature 0.01"
        case "dld":
            return f"form={method.get('form')}, words={method.get('words')}, inferred", "formula not available"
        case _:
            return "", ""


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={spell(value)}" for name, value in settings.items())


def _updates(run: Run) -> str:
    optim = run.config["optim"]
    if not (optim.get("epochs") and optim.get("batch_size")):
        return f"at least {optim.get('updates')} updates a step"
    return f"{optim['epochs']} epochs, batches of {optim['batch_size']}"


def _slices(run: Run) -> str:
    protocol = run.config["scenario"]["protocol"]
    if protocol.get("sampling") == "file":
        return "the repository's own draw"
    return f"{protocol.get('sampling', 'greedy')}, drawn with seed {protocol.get('split_seed', 0)}"


def _pairs(figure: Figure, rows: Sequence[tuple[Row, str | None]], runs: Mapping[str, Run]) -> Iterator[Pair]:
    same = [row for row, name in rows if name == figure.system]
    for row in same:
        assert row.average_micro
        assert row.average_macro
        ours: dict[Measure, Score] = {"micro": row.average_micro, "macro": row.average_macro}
        difference = {measure: ours[measure].mean - figure.score(measure).mean for measure in MEASURES}
        made = departures(runs[row.runs[0]])
        yield Pair(theirs=figure, row=row.label, ours=ours, difference=difference, departures=made)
    if not same:
        yield Pair(theirs=figure, row=None, ours=None, difference=None)


@cache
def _figures() -> dict[tuple[str, str], list[Figure]]:
    curves: dict[tuple[str, str, str], dict[Measure, tuple[float, ...]]] = {
        (line["corpus"], line["setting"], line["system"]): {
            measure: tuple(float(score) for score in line[measure].split()) for measure in MEASURES
        }
        for line in _lines("published_steps.csv")
    }
    figures: dict[tuple[str, str], list[Figure]] = {}
    for line in _lines("published_averages.csv"):
        key = line["corpus"], line["setting"], line["system"]
        figure = Figure(
            system=line["system"],
            by=line["by"],
            micro=_score(line, "micro"),
            macro=_score(line, "macro"),
            printed={m: float(line[f"printed_{m}"]) for m in MEASURES} if line["printed_micro"] else None,
            curve=curves.get(key) if line["by"] == "CFNER" else None,
        )
        figures.setdefault((line["corpus"], line["setting"]), []).append(figure)
    return figures


def _lines(name: str) -> list[dict[str, str]]:
    with resources.files(__package__).joinpath(name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _score(line: Mapping[str, str], measure: Measure) -> Score:
    std = line[f"{measure}_std"]
    return Score(mean=float(line[measure]), std=float(std) if std else None)
