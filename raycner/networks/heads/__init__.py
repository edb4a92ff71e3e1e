"""Heads: output layers that grow. One file per kind; a file in this folder registers itself."""

from raycner.networks.heads.head import (
    HEADS,
    GrowthConfig,
    Head,
    HeadConfig,
    LinearLayer,
    Prediction,
)
from raycner.registry import discover

__all__ = ["HEADS", "GrowthConfig", "Head", "HeadConfig", "LinearLayer", "Prediction"]

discover(__name__, __path__)
