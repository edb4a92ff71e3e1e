"""Layouts: the file formats that corpora are read from. One file a layout; a file in this folder registers itself."""

from raycner.data.layouts.layout import (
    LAYOUTS,
    Layout,
    ReadingConfig,
    Row,
)
from raycner.registry import discover

__all__ = ["LAYOUTS", "Layout", "ReadingConfig", "Row"]

discover(__name__, __path__)
