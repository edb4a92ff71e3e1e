"""The command line, one file a verb. Each verb calls the function of the same name in the Python API."""

from raycner.cli.program import main

__all__ = ["main"]
