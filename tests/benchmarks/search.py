"""What a search costs, on the embedded corpus in four steps.

    python tests/benchmarks/search.py [--trials 24]

Trained steps an hour against one process a trial, one after another. Both sides try the very settings that the search
tried. The plain side runs `raycner run` once a trial, in a store of its own, as a shell loop would; the search shares,
prunes and works in parallel. A step counts once for each trial that has it: what is measured is how soon the same
trials are known.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from raycner.storage.searches import SearchRecord
from raycner.storage.store import ObjectStore

STUDY = "search_spaces/extend_ner.py"
JOB = ("scenario.corpus.sentences=1000", "optim.epochs=4", "optim.first.epochs=6")


def raycner(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "raycner", *words], check=True, stdout=subprocess.DEVNULL)


def alone(settings: Mapping[str, Any], job: tuple[str, ...]) -> float:
    """Seconds of one trial in a process and a store of its own."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        overrides = [f"{key}={value}" for key, value in settings.items()]
        raycner(
            "run", "jobs/demo.yaml", "method.name=extend_ner", "compute.workers=0", *job, *overrides, f"store={folder}"
        )
    return time.monotonic() - began


def speed(trials: int, sampled: int) -> None:
    """A search, and of its trials every so manieth alone."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        raycner("search", STUDY, *JOB, f"store={folder}", f"--trials={trials}", f"--parallel={os.cpu_count()}")
        searching = time.monotonic() - began
        (record,) = SearchRecord.all(ObjectStore(folder))
    tried = record.rounds[0].trials
    each = [alone(trial.settings, JOB) for trial in tried[:: max(1, len(tried) // sampled)]]
    plainly = sum(each) / len(each) * len(tried)
    steps = record.steps * len(tried)
    trained, pruned = sum(trial.trained for trial in tried), sum(trial.state == "pruned" for trial in tried)
    print(f"{len(tried)} trials of {record.steps} steps: {pruned} pruned, {trained} steps trained of {steps}")
    print(f"search             {searching:7.0f} s   {3600 * steps / searching:7.0f} steps of trials an hour")
    print(f"one after another  {plainly:7.0f} s   {3600 * steps / plainly:7.0f}   ({len(each)} trials measured)")
    print(f"ratio              {plainly / searching:7.2f}")
    print(f"best against trial 0 on dev {100 * best(record):+.1f}")


def best(record: SearchRecord) -> float:
    """The winner's gain, after all steps."""
    return max(trial.values[0] for trial in record.rounds[-1].trials if trial.state == "complete")


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--trials", type=int, default=24)
    asked.add_argument("--alone", type=int, default=6, help="how many trials the plain side is measured on")
    args = asked.parse_args()
    speed(args.trials, args.alone)


if __name__ == "__main__":
    main()
