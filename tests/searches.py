"""Small searches that tests share: a study in a file, the command, and what it left in the store."""

from pathlib import Path

import runs
from raycner.__main__ import main
from raycner.storage.searches import SearchRecord, TrialRecord
from raycner.storage.store import ObjectStore

ROOT = Path(__file__).parent.parent
SPACE = """from raycner import Study

def space(trial):
    trial.suggest_float("method.base.kd_weight", 0.1, 10.0, log=True)
    {more}

STUDY = Study(base="jobs/demo.yaml", overrides={overrides!r}, space=space, finalists=1, {fields}
              first=[{{"method.base.kd_weight": 1.0, {first}}}])
"""
POOR = "trial.suggest_categorical('optim.head_lr', [0.05, 1e-9, 2e-9, 3e-9, 4e-9, 5e-9])"
"""All rates but one learn nothing, where LEARNS is set."""
LEARNS = ("scenario.corpus.sentences=240", "optim.first.epochs=6", "optim.epochs=4")
"""Settings with which the small run has scores above zero from its first step."""


def space(
    folder: Path, fields: str = "trials=4, pruning='none',", more: str = "pass", first: str = "", *overrides: str
) -> Path:
    """The file of a study over the small run, which searches in this process unless --parallel is given."""
    path = folder / "space.py"
    jobs = (*runs.SMALL, "compute.workers=0", f"store={folder / 'store'}", *overrides)
    path.write_text(SPACE.format(more=more, overrides=jobs, fields=fields, first=first))
    return path


def search(path: Path, *words: str) -> int:
    """`raycner search PATH WORDS`: its exit status."""
    return main(["search", str(path), *words])


def record_of(folder: Path) -> SearchRecord:
    """The one search of the folder's store."""
    (record,) = SearchRecord.all(ObjectStore(str(folder / "store")))
    return record


def trials(record: SearchRecord) -> list[TrialRecord]:
    return [trial for one in record.rounds for trial in one.trials]


def written(folder: Path) -> dict[str, int]:
    """When each committed step was committed."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("store/steps/*/MANIFEST")}
