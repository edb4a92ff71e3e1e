"""Layouts: how raw files encode annotated sentences. One file per layout; a file in this folder registers itself."""

from raycner.data.layouts.layout import LAYOUTS, FileLayout, Layout, Row
from raycner.registry import discover

__all__ = ["LAYOUTS", "FileLayout", "Layout", "Row"]

discover(__name__, __path__)
