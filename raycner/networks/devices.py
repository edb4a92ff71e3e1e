"""Devices: where a process computes, and what suits it there."""

import torch


def device() -> torch.device:
    """This rank's device: the GPU it was given, or the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def does_bf16(where: torch.device) -> bool:
    """Whether bf16 matrix products are much faster there: GPUs that have them, CPUs with AMX."""
    if where.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
