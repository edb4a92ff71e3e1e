"""Slices from a file: which training sentences each step sees, as a published division lists them."""

from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from raycner.data.scenarios.experience import Rows
from raycner.errors import InputError

SLICES = TypeAdapter(list[list[int]])
LOCATION = "scenario.protocol.slices"


def read_slices(path: str, steps: int, total: int) -> list[Rows]:
    """The rows of each of so many steps, in the order of the corpus of `total` training sentences.

    The file is JSON: a list per step of row ids, the numbers of training sentences from 0. Raises `InputError` unless
    each row is one of the corpus and in at most one step.
    """
    try:
        listed = SLICES.validate_json(Path(path).expanduser().read_bytes(), strict=True)
    except OSError as error:
        raise InputError(str(error), location=LOCATION, hint="name a JSON file that every node can read") from None
    except ValidationError as error:
        problem = error.errors()[0]
        what = f"{path}{''.join(f'[{index}]' for index in problem['loc'])}: {problem['msg']}"
        raise InputError(what, location=LOCATION, hint="write a list of row ids per step: [[0, 2], [1, 3]]") from None
    if len(listed) != steps:
        hint = "give one list per step, or change scenario.protocol.first and per_step"
        raise InputError(f"{path} has {len(listed)} lists for {steps} steps", location=LOCATION, hint=hint)
    step_of: dict[int, int] = {}
    for step, rows in enumerate(listed, start=1):
        if not rows:
            raise InputError(f"{path} gives step {step} no sentence", location=LOCATION, hint="give every step some")
        for row in rows:
            if not 0 <= row < total:
                hint = "rows are the numbers of training sentences, from 0"
                what = f"{path} gives step {step} row {row}, but the corpus has rows 0 to {total - 1}"
                raise InputError(what, location=LOCATION, hint=hint)
            if row in step_of:
                what = f"{path} lists row {row} twice, in step {step_of[row]} and in step {step}"
                raise InputError(what, location=LOCATION, hint="slices share no sentence: list it once")
            step_of[row] = step
    return [np.asarray(sorted(rows), dtype=np.int64) for rows in listed]
