"""Encoders: words in, one state per word out. One file per kind; a file in this folder registers itself."""

from raycner.networks.encoders.encoder import (
    ENCODERS,
    Encoder,
    EncoderConfig,
    States,
    Tokens,
)
from raycner.registry import discover

__all__ = ["ENCODERS", "Encoder", "EncoderConfig", "States", "Tokens"]

discover(__name__, __path__)
