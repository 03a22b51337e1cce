"""How well this node is connected: its links' devices that run, the ping targets that answer (4.7, 11.4)."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Final

EVERY_S: Final = 1.0
_GET_FLAGS: Final = 0x8913
_GET_LIST: Final = 0x8912
_RUNNING: Final = 0x40
_REQUEST: Final = struct.Struct("16s24x")
_LIST: Final = struct.Struct("iP")
_ENTRY: Final = struct.Struct("16sH2x4s16x")


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
    """Each IPv4 address of this machine: whether its device runs."""
    found: dict[str, bool] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        for name, address in _addresses(sock):
            try:
                flags = struct.unpack_from("H", fcntl.ioctl(sock, _GET_FLAGS, _REQUEST.pack(name)), 16)[0]
            except OSError:
                continue  # it has just gone
            found[socket.inet_ntoa(address)] = bool(flags & _RUNNING)
    return found


def _addresses(sock: socket.socket) -> Iterator[tuple[bytes, bytes]]:
    """Labels and addresses, in one call (a list of the devices by netlink costs several times as much)."""
    room = 16
    while True:
        buffer = array("B", bytes(room * _ENTRY.size))
        request = _LIST.pack(len(buffer), buffer.buffer_info()[0])
        used = _LIST.unpack(fcntl.ioctl(sock, _GET_LIST, request))[0]
        if used < len(buffer):
            break
        room *= 4
    for name, family, address in _ENTRY.iter_unpack(buffer.tobytes()[: used - used % _ENTRY.size]):
        if family == socket.AF_INET:
            yield name, address
