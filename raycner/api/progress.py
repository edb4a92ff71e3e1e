"""Progress: who receives the events of a run or a search."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

from rich.console import Console

from raycner.callbacks.progress import ProgressDisplay
from raycner.console import TextConsole
from raycner.events import EventHandler, ignore_events

Progress: TypeAlias = bool | Console | EventHandler
"""True: a display on standard output, or in the notebook; a console: a display there; False: nothing; or a handler."""
Display: TypeAlias = Callable[[Console], AbstractContextManager[EventHandler]]


@contextmanager
def event_handler(progress: Progress, display: Display = ProgressDisplay) -> Iterator[EventHandler]:
    """The handler that `progress` asks for."""
    if isinstance(progress, Console):
        with display(progress) as handler:
            yield handler
    elif progress is True:
        with display(TextConsole()) as handler:
            yield handler
    elif progress is False:
        yield ignore_events
    else:
        yield progress
