"""Gloo between hosts. By default it binds to the address that the host name resolves to, often the loopback address."""

import fcntl
import os
import socket
import struct
from typing import Any

import ray.util
from ray.train.torch import TorchConfig

SIOCGIFADDR = 0x8915
"""Linux ioctl: the IPv4 address of a network interface."""


class _GlooBackend(TorchConfig().backend_cls):  # type: ignore[misc]
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        worker_group.execute(bind)
        super().on_start(worker_group, backend_config)


class GlooConfig(TorchConfig):  # type: ignore[misc]
    """Workers that communicate by gloo, over the addresses by which Ray knows their nodes."""

    def __init__(self, timeout_s: int) -> None:
        super().__init__(backend="gloo", timeout_s=timeout_s)

    @property
    def backend_cls(self) -> type[_GlooBackend]:
        return _GlooBackend


def bind() -> None:
    """Point gloo at the interface of this node's address, unless the environment names an interface."""
    node_address = ray.util.get_node_ip_address()
    for _, interface in socket.if_nameindex():
        if address(interface) == node_address:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)


def address(interface: str) -> str | None:
    """The IPv4 address of an interface, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            reply = fcntl.ioctl(probe.fileno(), SIOCGIFADDR, struct.pack("256s", interface.encode()))
        except OSError:
            return None
    return socket.inet_ntoa(reply[20:24])
