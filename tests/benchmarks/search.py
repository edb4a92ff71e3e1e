"""What a search costs: trained steps an hour against one process a trial, one after another, over the same settings.

    python tests/benchmarks/search.py [--trials 24]

Both sides try the very settings that the search tried, on the embedded corpus in four steps. The plain side runs
`raycner run` once a trial, in a store of its own, as a shell loop would. The search shares, prunes and works abreast.
A step counts once for each trial that has it: what is measured is how soon the same trials are known.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from raycner.storage.searches import SearchRecord, TrialRecord
from raycner.storage.store import ObjectStore

STUDY = "search_spaces/extend_ner.py"
JOB = ("scenario.reading.sentences=1000", "optim.epochs=4", "optim.first.epochs=6")


def raycner(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "raycner", *words], check=True, stdout=subprocess.DEVNULL)


def alone(settings: Mapping[str, Any], job: tuple[str, ...]) -> float:
    """Seconds of one trial in a process and a store of its own."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        said = [f"{key}={value}" for key, value in settings.items()]
        raycner("run", "jobs/demo.yaml", "method.name=extend_ner", "compute.workers=0", *job, *said, f"store={folder}")
    return time.monotonic() - began


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--trials", type=int, default=24)
    asked.add_argument("--alone", type=int, default=6, help="of how many trials the plain side is measured")
    told = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        raycner("search", STUDY, *JOB, f"store={folder}", f"--trials={told.trials}")
        searching = time.monotonic() - began
        store = ObjectStore(folder)
        (record,) = SearchRecord.all(store)
        trials: list[TrialRecord] = list(record.rounds[0].trials)
        trained = sum(trial.trained for trial in trials)
    sample = [trial.settings for trial in trials[:: max(1, len(trials) // told.alone)]]
    each = [alone(settings, JOB) for settings in sample]
    plainly = sum(each) / len(each) * len(trials)
    steps = record.steps * len(trials)
    pruned = sum(trial.state == "pruned" for trial in trials)
    print(f"{len(trials)} trials of {record.steps} steps; {pruned} pruned, {trained} steps trained of {steps}")
    print(f"search             {searching:7.0f} s   {3600 * steps / searching:7.0f} steps of trials an hour")
    print(f"one after another  {plainly:7.0f} s   {3600 * steps / plainly:7.0f}   (of {len(each)} trials measured)")
    print(f"ratio              {plainly / searching:7.2f}")
    print(f"best against trial 0 on dev: {100 * max(t.values[0] for t in trials if t.state == 'complete'):+.1f}")


if __name__ == "__main__":
    main()
