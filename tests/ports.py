"""Ports and networks on loopback that no other test of this machine takes, whatever process it runs in.

A port that was free a moment ago may be somebody's when it is used. Those given here stay this process's
until it ends: it holds a name in the abstract namespace of Unix sockets for each, and the kernel gives none
of them to clients.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

_LOWEST: Final = 20_000
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES: Final = 1_000

_dice: Final = random.SystemRandom()
_kept: Final[list[socket.socket]] = []


def free_ports(count: int) -> list[int]:
    """TCP and UDP ports of loopback addresses, for this process and those that it starts."""
    return [free_port() for _ in range(count)]


def free_port() -> int:
    """One of them."""
    of_clients = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    for _ in range(_TRIES):
        port = _dice.randrange(_LOWEST, max(of_clients, _LOWEST + 1_000))
        if _free("127.0.0.1", port) and _keep(f"port {port}"):
            return port
    raise AssertionError("all ports are taken: what runs here?")


def loopback_net() -> str:
    """The first three parts of addresses, as in 127.70.3: all with a fourth one are the caller's."""
    for _ in range(_TRIES):
        net = f"127.{_dice.randrange(64, 224)}.{_dice.randrange(250)}"
        if _keep(f"net {net}"):
            return net
    raise AssertionError("all networks are taken: what runs here?")


def _keep(name: str) -> bool:
    keeper = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        keeper.bind(f"\0hacluster-tests {name}")
    except OSError:
        keeper.close()
        return False
    _kept.append(keeper)
    return True


def _free(address: str, port: int) -> bool:
    """Whether a server can have it: a daemon of this machine may listen there."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True
