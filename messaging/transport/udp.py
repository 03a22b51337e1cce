"""UDP heartbeats: unicast, multicast and broadcast, IPv4 and IPv6; a socket a link, never blocking.

Datagrams are handed on with the moment at which the kernel had them. A link whose address or interface is not
there (yet) is tried again each second; the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from hacluster.settings import Link
from messaging import log_events
from messaging.packet import TO_ALL

log = structlog.get_logger()

RECEIVE_BUFFER_BYTES: Final = 1 << 20
DATAGRAMS_A_PASS: Final = 512
RETRY_S: Final = 1.0
BROADCAST: Final = "255.255.255.255"

_CS6: Final = 0xC0
_SO_TIMESTAMPNS: Final = 35
_SO_RCVBUFFORCE: Final = 33
_TIMESPEC: Final = struct.Struct("@qq")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_TIMESPEC.size)

Address = tuple[str, int] | tuple[str, int, int, int]
Taken = Callable[[int, bytes, int, str], None]
"""link, datagram, arrival (CLOCK_BOOTTIME ns), source address"""


class UdpLink:
    """One link. `own` is this node's address on it, `peers` the others' by node id."""

    def __init__(
        self,
        number: int,
        link: Link,
        own: str,
        peers: Mapping[int, str],
        taken: Taken,
        *,
        toml_number: int = 0,
    ) -> None:
        """`number` counts the links that carry heartbeats, `toml_number` all of cluster.toml."""
        self.number, self.toml_number, self.link, self.own = number, toml_number, link, own
        self._taken = taken
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._complained = ""
        self._buffer = bytearray(65_536)
        self._last_pass_ns = 0
        self.sent = self.send_failures = 0
        self.use_peers(peers)

    def use_peers(self, peers: Mapping[int, str]) -> None:
        """The other nodes' addresses on this link, by id."""
        link = self.link
        self._addresses = dict(peers)
        self._peers = {node: self._resolve(address, link.port) for node, address in peers.items()}
        self._all = tuple(self._peers.values())
        if link.kind == "mcast":
            self._all = (self._resolve(link.group, link.port),)
        elif link.kind == "bcast":
            self._all = ((BROADCAST, link.port),)

    def _resolve(self, address: str, port: int) -> Address:
        """With the scope that IPv6 needs."""
        if ":" not in address:
            return (address, port)
        host, _, zone = address.partition("%")
        scope = 0
        if zone or ipaddress.ip_address(host).is_link_local or ipaddress.ip_address(host).is_multicast:
            scope = self._interface_index(zone)
        return (host, port, 0, scope)

    def _interface_index(self, zone: str = "") -> int:
        """Of the named interface, or the one that has our address; 0 leaves it to the routes."""
        name = zone or self.link.interface
        if name:
            with contextlib.suppress(OSError):
                return socket.if_nametoindex(name)
            return 0
        if ":" not in self.own:
            return 0
        ours = ipaddress.ip_address(self.own.partition("%")[0]).packed.hex()
        with contextlib.suppress(OSError):
            for line in Path("/proc/net/if_inet6").read_text().splitlines():
                fields = line.split()
                if fields[0] == ours:
                    return int(fields[1], 16)
        return 0

    # Opening.

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Bind and listen; on failure say so once and try again each second until `close`."""
        self._loop, self._retry = loop, None
        try:
            self._socket = self._bound()
        except OSError as error:
            if error.strerror != self._complained:
                self._complained = error.strerror or str(error)
                log.error(
                    log_events.LINK_FAILED,
                    link=self.number,
                    address=self.own,
                    port=self.link.port,
                    reason=self._complained,
                    remedy=_remedy(error),
                )
            self._retry = loop.call_later(RETRY_S, self.open, loop)
            return
        self._complained = ""
        self._last_pass_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        loop.add_reader(self._socket, self.drain)
        log.info(
            log_events.LINK_OPEN, link=self.number, kind=self.link.kind, address=self.own, port=self.link.port
        )

    def _bound(self) -> socket.socket:
        """A socket ready to use. Raises OSError."""
        family = socket.AF_INET6 if ":" in self.own else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._tune(sock)
            if self.link.interface:
                self._bind_to_device(sock)
            if self.link.kind == "mcast":
                self._join(sock, family)
            elif self.link.kind == "bcast":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((BROADCAST, self.link.port))
            else:
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind(self._resolve(self.own, self.link.port))
        except OSError:
            sock.close()
            raise
        return sock

    def _tune(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _CS6)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _CS6)

    def _bind_to_device(self, sock: socket.socket) -> None:
        """Only packets of that interface; without the right to it, addresses alone must do."""
        try:
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_BINDTODEVICE, os.fsencode(self.link.interface) + b"\0"
            )
        except PermissionError:
            log.warning(
                log_events.LINK_FAILED,
                link=self.number,
                reason=f"may not bind to {self.link.interface}",
                remedy="give ha-messaging CAP_NET_RAW",
            )

    def _join(self, sock: socket.socket, family: int) -> None:
        """Member of the group; our own packets come back only where all nodes share a loopback address."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        loopback = int(ipaddress.ip_address(self.own.partition("%")[0]).is_loopback)
        index = self._interface_index()
        if family == socket.AF_INET6:
            group = socket.inet_pton(family, self.link.group.partition("%")[0])
            sock.bind((self.link.group.partition("%")[0], self.link.port, 0, index))
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("@I", index))
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, self.link.ttl)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, loopback)
            return
        own = socket.inet_aton(self.own)
        sock.bind((self.link.group, self.link.port))
        request = socket.inet_aton(self.link.group) + own + struct.pack("@i", index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(4) + own + struct.pack("@i", index))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, self.link.ttl)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, loopback)

    def close(self) -> None:
        """Stop listening and trying."""
        if self._retry is not None:
            self._retry.cancel()
        if self._socket is not None:
            if self._loop is not None:
                self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def address_of(self, node: int) -> str:
        """The node's address on this link; empty when there is none."""
        return self._addresses.get(node, "")

    # Packets.

    def send(self, datagram: bytes, destination: int) -> None:
        """To one node or all; what cannot leave now is lost, as on any network.

        A group hears what is for one of it too: our sockets listen to the group's address alone.
        """
        if self._socket is None:
            return
        if destination == TO_ALL or self.link.kind != "udp":
            addresses = self._all
        elif destination in self._peers:
            addresses = (self._peers[destination],)
        else:
            return
        for address in addresses:
            try:
                self._socket.sendto(datagram, address)
                self.sent += 1
            except OSError:
                self.send_failures += 1

    def drain(self) -> None:
        """Read what is there, at most a pass' worth: timers and other links must have their turn."""
        sock = self._socket
        if sock is None:
            return
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        offset_ns = now_ns - time.time_ns()
        floor_ns, self._last_pass_ns = self._last_pass_ns, now_ns
        buffer, taken, number = self._buffer, self._taken, self.number
        buffers = [buffer]
        for _ in range(DATAGRAMS_A_PASS):
            try:
                size, ancillary, _flags, source = sock.recvmsg_into(buffers, _ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.ECONNREFUSED, errno.ENETDOWN, errno.EHOSTUNREACH):
                    continue
                raise
            arrived_ns = now_ns
            if ancillary and len(ancillary[0][2]) == _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
                stamped_ns = seconds * 1_000_000_000 + nanoseconds + offset_ns
                arrived_ns = min(max(stamped_ns, floor_ns), now_ns)
            taken(number, bytes(memoryview(buffer)[:size]), arrived_ns, source[0])


def _remedy(error: OSError) -> str:
    match error.errno:
        case errno.EADDRNOTAVAIL:
            return "no interface has this node's address of this link: see cluster.toml and `ip address`"
        case errno.EADDRINUSE:
            return "another process has this port: is ha-messaging running already?"
        case errno.EACCES | errno.EPERM:
            return "ports below 1024 need CAP_NET_BIND_SERVICE"
        case errno.ENODEV:
            return "the link names an interface that does not exist"
        case _:
            return "see cluster.toml, [[link]]"
