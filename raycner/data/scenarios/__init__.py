"""Scenarios: in which order types are learned. One file a family of protocols; a file here registers itself."""

from raycner.data.scenarios.scenario import (
    PROTOCOLS,
    Experience,
    Scenario,
    ScenarioConfig,
    Split,
)
from raycner.registry import discover

__all__ = ["PROTOCOLS", "Experience", "Scenario", "ScenarioConfig", "Split"]

discover(__name__, __path__)
