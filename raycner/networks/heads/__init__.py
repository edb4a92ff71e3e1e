"""Heads: output layers that grow. One file a kind; a file in this folder registers itself."""

from raycner.networks.heads.head import (
    HEADS,
    GrowthConfig,
    Head,
    HeadConfig,
    Prediction,
)
from raycner.registry import discover

__all__ = ["HEADS", "GrowthConfig", "Head", "HeadConfig", "Prediction"]

discover(__name__, __path__)
