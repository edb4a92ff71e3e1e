"""Weights of strangers: safetensors, which hold numbers and nothing else, and the error for a file that is none."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from raycner.errors import InputError


def load_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by name. Raises `InputError` where there is none, or where it is damaged."""
    try:
        return load_file(file)
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        hint = "make the file again; weights are read from safetensors alone"
        raise InputError(f"no readable weights ({reason})", location=str(file), hint=hint) from None
