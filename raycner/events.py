"""Events: what a run tells while it goes on."""

from collections.abc import Callable
from typing import Any

EventHandler = Callable[..., None]
"""Is told what happens, `emit(event, **facts)`; `ProgressDisplay` names the events."""


def ignore_events(event: str, **facts: Any) -> None:
    """A emit that nobody reads."""
