"""Continual named entity recognition: learn new entity types step by step, without forgetting the old ones, on Ray."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raycner.inference.predictor import Predictor
    from raycner.tuning.study import Study

__version__ = "0.1.0"
__all__ = ["Predictor", "Study", "__version__"]


def __getattr__(name: str) -> Any:
    """The public nouns, each fetched from its room when it is asked for: `import raycner` alone stays light."""
    if name == "Study":
        from raycner.tuning.study import Study

        return Study
    if name == "Predictor":
        from raycner.inference.predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
