"""What is published of a setting, set beside what our runs of it have scored.

The figures are mean F1 over steps, in percent, and lie in two tables beside this module:

    published_averages.csv   corpus, setting, system, by, micro, micro_std, macro, macro_std,
                             printed_micro, printed_macro
    published_steps.csv      corpus, setting, system, micro, macro: the score after each step, of CFNER's own runs

A system is called as our tables call the method, and `by` says whose figure it is: CFNER (the EMNLP 2022 paper and its
repository), DLD (SIGIR 2023: its own rows, and its re-runs of the two it builds on), RDP and TBCL (later; at second
hand). Where a figure is `printed` otherwise than it stands here, it was corrected: CFNER's table for OntoNotes5
FG-2-PG-2 gives PODNet and LUCIR the figures of I2B2; here they have the averages of its repository's step-wise figures.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Literal, TypedDict

from raycner.analysis.comparison import Comparison, Row, Score
from raycner.analysis.scores import Run, bounded

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
"""The corpora that figures are published of, by their types in the order they are learned."""
COLDEST = 0.01
"""A teacher of ExtendNER at this temperature says one tag: that is the Self-Training of the published tables."""


class Figure(TypedDict):
    """What is published of one system in one setting."""

    system: str
    by: str
    micro: Score
    macro: Score
    printed: dict[Measure, float] | None
    """What the source prints instead, where that was corrected."""
    curve: dict[Measure, list[float]] | None
    """The score after each step."""


class Pair(TypedDict):
    """A published figure, and a finished row of ours that runs the same system; None where there is none."""

    theirs: Figure
    row: str | None
    """The row's label in its comparison."""
    ours: dict[Measure, Score] | None
    difference: dict[Measure, float] | None
    """Ours minus theirs."""


class Published(TypedDict):
    """All that is published of the setting of one comparison."""

    setting: str | None
    """As in "I2B2 FG-8-PG-2"; None, and nothing else said, where these types in these steps are nobody's setting."""
    pairs: list[Pair]
    unpublished: list[str]
    """The labels of finished rows that no figure is published of."""


def published(comparison: Comparison, runs: Sequence[Run]) -> Published:
    """The figures of a comparison's setting, each with our rows of that system; `runs` are those compared.

    A setting is known by its types, their order and the sizes of its steps, whatever the files were called.
    """
    setting = setting_of(comparison["plan"]) if bounded(comparison["scenario"]) == "fg_pg" else None
    figures = _figures().get(setting, []) if setting else []
    if not figures:
        return {"setting": None, "pairs": [], "unpublished": []}
    by_name = {run["run"]: run for run in runs}
    rows = [(row, system(by_name[row["runs"][0]])) for row in comparison["rows"] if row["finished"]]
    known = {figure["system"] for figure in figures}
    return {
        "setting": " ".join(setting) if setting else None,
        "pairs": [pair for figure in figures for pair in _pairs(figure, rows)],
        "unpublished": [row["label"] for row, name in rows if name not in known],
    }


def setting_of(plan: Sequence[Sequence[str]]) -> tuple[str, str] | None:
    """Corpus and FG-a-PG-b of the types that each step brings; None if the types are no known corpus's, or uneven."""
    corpus = CORPORA.get(tuple(name for names in plan for name in names))
    sizes = [len(names) for names in plan]
    if corpus is None or len(set(sizes[1:])) != 1:
        return None
    return corpus, f"FG-{sizes[0]}-PG-{sizes[1]}"


def system(run: Run) -> str | None:
    """What the published tables call the method of a run, in our names; None for what they cannot have, a control."""
    method = run["config"]["method"]
    if run["joint"]:
        return "joint" if method["name"] == "finetuning" else None
    return _called(method)


def _called(method: Mapping[str, Any]) -> str | None:
    if method["name"] == "dld":
        return None if method.get("decomposition") == "none" else f"dld({_called(method['base'])})"
    if method["name"] == "extend_ner" and method.get("teacher_temperature", 1.0) <= COLDEST:
        return "self_training"
    return str(method["name"])


def _pairs(figure: Figure, rows: Sequence[tuple[Row, str | None]]) -> Iterator[Pair]:
    same = [row for row, name in rows if name == figure["system"]]
    for row in same:
        micro, macro = row["average_micro"], row["average_macro"]
        assert micro
        assert macro
        ours: dict[Measure, Score] = {"micro": micro, "macro": macro}
        difference = {measure: ours[measure]["mean"] - figure[measure]["mean"] for measure in MEASURES}
        yield {"theirs": figure, "row": row["label"], "ours": ours, "difference": difference}
    if not same:
        yield {"theirs": figure, "row": None, "ours": None, "difference": None}


@cache
def _figures() -> dict[tuple[str, str], list[Figure]]:
    curves: dict[tuple[str, str, str], dict[Measure, list[float]]] = {
        (line["corpus"], line["setting"], line["system"]): {
            measure: [float(score) for score in line[measure].split()] for measure in MEASURES
        }
        for line in _lines("published_steps.csv")
    }
    figures: dict[tuple[str, str], list[Figure]] = {}
    for line in _lines("published_averages.csv"):
        key = line["corpus"], line["setting"], line["system"]
        figure: Figure = {
            "system": line["system"],
            "by": line["by"],
            "micro": _score(line, "micro"),
            "macro": _score(line, "macro"),
            "printed": {m: float(line[f"printed_{m}"]) for m in MEASURES} if line["printed_micro"] else None,
            "curve": curves.get(key) if line["by"] == "CFNER" else None,
        }
        figures.setdefault((line["corpus"], line["setting"]), []).append(figure)
    return figures


def _lines(name: str) -> list[dict[str, str]]:
    with resources.files("raycner.analysis").joinpath(name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _score(line: Mapping[str, str], measure: Measure) -> Score:
    std = line[f"{measure}_std"]
    return {"mean": float(line[measure]), "std": float(std) if std else None}
