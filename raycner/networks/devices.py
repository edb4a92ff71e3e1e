"""Devices: where a process computes, and in which precision."""

from typing import Literal

import torch

from raycner.networks.network import Network

Precision = Literal["auto", "fp32", "bf16", "fp64"]


_assigned: list[torch.device] = []
"""The device of this process, if it does not choose by itself."""


def assign(device: torch.device) -> None:
    """Compute on this device in this process from now on, whatever other devices are visible."""
    _assigned[:] = [device]


def device() -> torch.device:
    """The device assigned to this process; if none was, the current GPU, or the CPU without one."""
    if _assigned:
        return _assigned[0]
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def device_name(where: torch.device) -> str:
    """The name of a GPU, or the type of another device."""
    return torch.cuda.get_device_name(where) if where.type == "cuda" else where.type


def place(network: Network, precision: Precision) -> Network:
    """Move a network to this rank's device, in a precision; auto is bf16 where the device computes it well."""
    where = device()
    network.bf16 = precision == "bf16" or (precision == "auto" and does_bf16(where))
    return network.to(where, torch.float64 if precision == "fp64" else torch.float32)


def does_bf16(where: torch.device) -> bool:
    """Whether bf16 matrix products are much faster there: GPUs that have them, CPUs with AMX."""
    if where.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
