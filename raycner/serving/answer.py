"""Answer: the entities of one text."""

from typing import NamedTuple

from raycner.inference.predictor import PredictedEntity


class Answer(NamedTuple):
    """The entities of a text, and RUN:STEP of the step that predicted them."""

    entities: list[PredictedEntity]
    model: str
