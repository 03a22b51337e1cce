"""How well this node is connected: its links' devices that run, the ping targets that answer (4.7, 11.4)."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final

EVERY_S: Final = 1.0
_GET_FLAGS: Final = 0x8913
_GET_ADDRESS: Final = 0x8915
_RUNNING: Final = 0x40
_REQUEST: Final = struct.Struct("16s24x")


class Connectivity:
    """Looks once a second, and tells when the score is another."""

    def __init__(
        self,
        addresses: Sequence[str],
        pings: Callable[[], int],
        changed: Callable[[int], None],
        *,
        every_s: float = EVERY_S,
    ) -> None:
        """`addresses`: our own, one for each link."""
        self._addresses, self._pings, self._changed = tuple(addresses), pings, changed
        self._every_s = every_s
        self._told = -1

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(self._every_s)

    def look(self) -> None:
        """Once."""
        score = running(self._addresses) + self._pings()
        if score != self._told:
            self._told = score
            self._changed(score)


def running(addresses: Sequence[str]) -> int:
    """How many of our addresses are on a device that has a carrier; one of which nothing is known counts."""
    devices = _devices()
    return sum(devices.get(address, True) for address in addresses)


def _devices() -> dict[str, bool]:
    """First IPv4 address of each device: whether it runs."""
    found: dict[str, bool] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        for _, name in socket.if_nameindex():
            request = _REQUEST.pack(name.encode())
            try:
                address = fcntl.ioctl(sock, _GET_ADDRESS, request)[20:24]
                flags = struct.unpack_from("H", fcntl.ioctl(sock, _GET_FLAGS, request), 16)[0]
            except OSError:
                continue  # a device without an IPv4 address
            found[socket.inet_ntoa(address)] = bool(flags & _RUNNING)
    return found
