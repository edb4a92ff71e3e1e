"""Drills drawn by number: which verb runs, which of its processes dies, and at which point of its progress.

    make test-chaos N=500       drills 0 to 499
    make test-chaos ONLY=137    one of them, or several: ONLY=137,140

Each kill is a line of `drills.log`. After it, the same line runs again to its end, and the store and the outputs are
those of a run that nobody disturbed: same ledgers and weights, no committed step trained again, nothing left behind.
"""

import os
from pathlib import Path
from time import strftime

import pytest

from drills.conftest import SECONDS
from drills.drawn import Drills
from drills.verbs import Draw

pytestmark = pytest.mark.chaos
LOG = Path(os.environ.get("RAYCNER_DRILL_LOG", "drills.log"))
ONLY = os.environ.get("RAYCNER_DRILL_ONLY")
NUMBERS = [int(number) for number in ONLY.split(",")] if ONLY else range(int(os.environ.get("RAYCNER_DRILLS") or 60))


@pytest.fixture(scope="module")
def drills(tmp_path_factory: pytest.TempPathFactory) -> Drills:
    return Drills(tmp_path_factory.mktemp("drills"))


@pytest.mark.parametrize("number", NUMBERS)
def test_a_drawn_drill(number: int, drills: Drills, request: pytest.FixtureRequest) -> None:
    draw, outcome = Draw.of(number), None
    result = "FAILED"
    try:
        outcome = drills.run(draw)
        result = f"recovered in {outcome.seconds:.1f} s: {outcome.event}"
    except AssertionError as error:
        result = f"FAILED: {' '.join(str(error).split())[:1000]}"
        raise
    finally:
        request.config.stash[SECONDS][f"{draw.verb}: {draw.victim} killed"].append(outcome and outcome.seconds)
        with LOG.open("a", encoding="utf-8") as log:
            log.write(f"{strftime('%Y-%m-%d %H:%M:%S')} drill {number}, {draw.verb}, {draw.victim}: {result}\n")
