"""Methods: how forgetting is resisted. One file a method; a file in this folder registers itself."""

from raycner.methods.method import (
    METHODS,
    Method,
    Student,
    Teacher,
)
from raycner.registry import discover

__all__ = ["METHODS", "Method", "Student", "Teacher"]

discover(__name__, __path__)
