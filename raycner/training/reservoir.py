"""Drawing from a reservoir: the sentences in which the teacher is sure of entities of old types."""

import numpy as np

from raycner.data.scenarios.reservoir import ReservoirKey
from raycner.data.scenarios.scenario import Split
from raycner.training.teacher import Teacher


def draw(reservoir: Split, key: ReservoirKey, teacher: Teacher, *seed: int) -> Split:
    """Of each old type, `size` sentences with an entity of it whose confidence is high enough, in random order.

    They have no annotations. Every rank draws the same.
    """
    shuffled = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed))).permutation(len(reservoir))
    sure = [
        {entity.type for entity, confidence in prediction.items() if confidence >= key.confidence}
        for prediction in teacher.predictions(reservoir)
    ]
    drawn = {
        position
        for kind in teacher.inventory.types
        for position in [i for i in shuffled.tolist() if kind in sure[i]][: key.size]
    }
    return Split(reservoir.corpus, reservoir.part, reservoir.rows[sorted(drawn)], reservoir.visible)
