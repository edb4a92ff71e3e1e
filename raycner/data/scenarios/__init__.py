"""Scenarios: in which order types are learned. One file per protocol; a file in this folder registers itself."""

from raycner.data.scenarios.experience import Experience, Split
from raycner.data.scenarios.protocol import PROTOCOLS, Protocol
from raycner.data.scenarios.scenario import Scenario, ScenarioConfig
from raycner.registry import discover

__all__ = ["PROTOCOLS", "Experience", "Protocol", "Scenario", "ScenarioConfig", "Split"]

discover(__name__, __path__)
