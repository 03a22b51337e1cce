"""Ping nodes: ICMP echo to fixed addresses, no members of anything (cluster-protocol.md, 4.6)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from hacluster.settings import Link
from messaging import log_events

log = structlog.get_logger()

DAMPEN_NS: Final = 5_000_000_000
_ECHO: Final = struct.Struct("!BBHHH")
_REQUEST: Final[dict[int, int]] = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REPLY: Final[dict[int, int]] = {socket.AF_INET: 0, socket.AF_INET6: 129}
_RAW_IPV4_HEADER: Final = 20


def checksum(data: bytes) -> int:
    """The Internet's (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_request(family: int, identifier: int, sequence: int, payload: bytes) -> bytes:
    """An ICMP or ICMPv6 echo request; the kernel puts in ICMPv6's checksum."""
    bare = _ECHO.pack(_REQUEST[family], 0, 0, identifier, sequence) + payload
    if family == socket.AF_INET6:
        return bare
    return _ECHO.pack(_REQUEST[family], 0, checksum(bare), identifier, sequence) + payload


def echo_reply(family: int, packet: bytes) -> tuple[int, int, bytes] | None:
    """Identifier, sequence and payload of an echo reply; None for anything else."""
    if len(packet) < _ECHO.size:
        return None
    kind, code, _, identifier, sequence = _ECHO.unpack_from(packet)
    if kind != _REPLY[family] or code:
        return None
    return identifier, sequence, packet[_ECHO.size :]


@dataclass(slots=True)
class Target:
    """One address and how it answers."""

    address: str
    group: int  # the link it belongs to
    is_group: bool
    last_ns: int = 0
    rtt_ns: int = 0
    alive: bool = False


class Pinger:
    """All ping and ping_group links. `changed(count)` hears how many are up, dampened."""

    def __init__(
        self, links: tuple[Link, ...], *, keepalive_ms: int, deadping_ms: int, changed: Callable[[int], None]
    ) -> None:
        self.targets = [
            Target(address=address, group=number, is_group=link.kind == "ping_group")
            for number, link in enumerate(links)
            if link.kind in ("ping", "ping_group")
            for address in link.targets
        ]
        self._keepalive_s = keepalive_ms / 1_000
        self._deadping_ns = deadping_ms * 1_000_000
        self._changed = changed
        self._sockets: dict[int, tuple[socket.socket, bool]] = {}
        self._identifier = os.getpid() & 0xFFFF
        self._nonce = os.urandom(8)
        self._sequence = 0
        self.told: int | None = None  # the dampened count
        self._differs_since_ns: int | None = None

    async def run(self) -> None:
        """Ask each keepalive until cancelled; returns at once when there is nobody to ask."""
        if not self.targets:
            return
        loop = asyncio.get_running_loop()
        families = {_family(target.address) for target in self.targets}
        for family in sorted(families):
            opened = _open(family)
            if opened is None:
                log.error(
                    log_events.PING,
                    reason="neither a ping socket nor a raw one may be opened",
                    remedy="widen net.ipv4.ping_group_range or give ha-messaging CAP_NET_RAW",
                )
                continue
            self._sockets[family] = opened
            loop.add_reader(opened[0], self._read, family)
        began_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        try:
            while True:
                self._ask()
                await asyncio.sleep(self._keepalive_s)
                self._judge(began_ns)
        finally:
            for sock, _ in self._sockets.values():
                loop.remove_reader(sock)
                sock.close()

    def _ask(self) -> None:
        self._sequence = (self._sequence + 1) & 0xFFFF
        for target in self.targets:
            family = _family(target.address)
            if family in self._sockets:
                stamp = struct.pack("!Q", time.clock_gettime_ns(time.CLOCK_BOOTTIME)) + self._nonce
                with contextlib.suppress(OSError):  # unreachable is what silence says
                    packet = echo_request(family, self._identifier, self._sequence, stamp)
                    self._sockets[family][0].sendto(packet, (target.address, 0))

    def _read(self, family: int) -> None:
        sock, raw = self._sockets[family]
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        while True:
            try:
                packet, source = sock.recvfrom(2_048)
            except OSError:
                return
            if raw and family == socket.AF_INET:
                packet = packet[_RAW_IPV4_HEADER:]
            reply = echo_reply(family, packet)
            if reply is None or len(reply[2]) != 16 or reply[2][8:] != self._nonce:
                continue
            for target in self.targets:
                if target.address == source[0].partition("%")[0]:
                    target.last_ns = now_ns
                    target.rtt_ns = max(1, now_ns - struct.unpack("!Q", reply[2][:8])[0])

    def _judge(self, began_ns: int) -> None:
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        for target in self.targets:
            alive = bool(target.last_ns) and now_ns - target.last_ns <= self._deadping_ns
            if alive != target.alive:
                target.alive = alive
                log.info(log_events.PING, target=target.address, alive=alive)
        count = self.count()
        if count == self.told:
            self._differs_since_ns = None
            return
        if self._differs_since_ns is None:
            self._differs_since_ns = now_ns
        first = self.told is None and (count or now_ns - began_ns > self._deadping_ns)
        if first or (self.told is not None and now_ns - self._differs_since_ns >= DAMPEN_NS):
            self.told, self._differs_since_ns = count, None
            self._changed(count)

    def count(self) -> int:
        """Live ping targets; a ping_group counts one while any of it answers."""
        singles = sum(target.alive for target in self.targets if not target.is_group)
        return singles + len({target.group for target in self.targets if target.is_group and target.alive})


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _open(family: int) -> tuple[socket.socket, bool] | None:
    """A ping socket, else a raw one (True); a new network namespace lets no group open ping sockets."""
    protocol = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
        except PermissionError:
            continue
        return sock, kind == socket.SOCK_RAW
    return None
