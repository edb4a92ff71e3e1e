"""Gloo between hosts: left to itself it binds to what a host's name leads to, which often is that host alone."""

import fcntl
import os
import socket
import struct
from typing import Any

import ray.util
from ray.train.torch import TorchConfig

SIOCGIFADDR = 0x8915
"""Linux: the IPv4 address of an interface."""


class _Bound(TorchConfig().backend_cls):  # type: ignore[misc]
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        worker_group.execute(bind)
        super().on_start(worker_group, backend_config)


class GlooConfig(TorchConfig):  # type: ignore[misc]
    """Workers that speak by gloo, from the addresses by which Ray knows their nodes."""

    def __init__(self) -> None:
        super().__init__(backend="gloo")

    @property
    def backend_cls(self) -> type[_Bound]:
        return _Bound


def bind() -> None:
    """Name the interface of this node's address to gloo, where the environment names none."""
    here = ray.util.get_node_ip_address()
    for _, interface in socket.if_nameindex():
        if address(interface) == here:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)


def address(interface: str) -> str | None:
    """Its IPv4 address, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            answer = fcntl.ioctl(asked.fileno(), SIOCGIFADDR, struct.pack("256s", interface.encode()))
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])
