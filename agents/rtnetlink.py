"""Links, addresses and routes of the kernel, by rtnetlink(7): the few messages an address agent needs.

pyroute2 does all of this and far more, but its import costs a cold agent 150 ms and a call a millisecond
(measured); here both are tens of microseconds.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFF_NOARP = 0x80
IFF_LOWER_UP = 0x10000
ARPHRD_ETHER = 1

IFA_F_SECONDARY = 0x01
IFA_F_NODAD = 0x02
IFA_F_DADFAILED = 0x08
IFA_F_TENTATIVE = 0x40
IFA_F_NOPREFIXROUTE = 0x200

FOREVER_S = 0xFFFFFFFF
TIMEOUT_S = 5.0

_HEADER = struct.Struct("=IHHII")
_IFADDR = struct.Struct("=BBBBI")
_IFINFO = struct.Struct("=BxHiII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_U32 = struct.Struct("=I")

_ERROR, _DONE = 2, 3
_NEWLINK, _GETLINK = 16, 18
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _GETROUTE = 24, 26
_REQUEST, _ACK, _DUMP, _DUMP_INTERRUPTED = 0x1, 0x4, 0x300, 0x10
_CREATE, _EXCLUSIVE = 0x400, 0x200

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_CARRIER_CHANGES = 1, 3, 35
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_BROADCAST, _IFA_CACHEINFO, _IFA_FLAGS = 1, 2, 3, 4, 6, 8
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_TABLE, _RTA_VIA = 1, 4, 5, 6, 15, 18
_MAIN_TABLE = 254
_UNICAST = 1
_DEAD_OR_DOWN = 0x1 | 0x10  # RTNH_F_DEAD, RTNH_F_LINKDOWN

_DUMP_ATTEMPTS = 5
_RECEIVE_BYTES = 1 << 18


class Link:
    """One network interface. `hardware` is its ARPHRD type, `mac` its link-layer address.

    `carrier_changes`: how often its carrier has come and gone; -1 when the kernel does not count.
    """

    __slots__ = ("carrier_changes", "flags", "hardware", "index", "mac", "name")

    def __init__(
        self, index: int, name: str, flags: int, hardware: int, mac: bytes, carrier_changes: int = -1
    ) -> None:
        self.index = index
        self.name = name
        self.flags = flags
        self.hardware = hardware
        self.mac = mac
        self.carrier_changes = carrier_changes


class Address:
    """One address of an interface: `local` in network order (4 or 16 bytes) with its prefix length."""

    __slots__ = ("flags", "index", "label", "local", "prefix")

    def __init__(self, index: int, local: bytes, prefix: int, flags: int, label: str) -> None:
        self.index = index
        self.local = local
        self.prefix = prefix
        self.flags = flags
        self.label = label


class Route:
    """One route of the main table to a network on a link (no gateway)."""

    __slots__ = ("index", "metric", "network", "prefix", "usable")

    def __init__(self, index: int, network: bytes, prefix: int, metric: int, usable: bool) -> None:
        self.index = index
        self.network = network
        self.prefix = prefix
        self.metric = metric
        self.usable = usable


class Rtnetlink:
    """One socket to the kernel, for the network namespace we are in. Errors are OSErrors with its errno."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.settimeout(TIMEOUT_S)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Rtnetlink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def links(self) -> dict[int, Link]:
        """All interfaces by index."""
        found = {}
        for body in self._dump(_GETLINK, _NEWLINK, _IFINFO.pack(0, 0, 0, 0, 0)):
            _family, hardware, index, flags, _change = _IFINFO.unpack_from(body)
            attributes = _attributes(body[_IFINFO.size :])
            name = attributes.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
            count = attributes.get(_IFLA_CARRIER_CHANGES)
            changes = _U32.unpack(count)[0] if count is not None else -1
            mac = attributes.get(_IFLA_ADDRESS, b"")
            found[index] = Link(index, name, flags, hardware, mac, changes)
        return found

    def addresses(self, family: int) -> list[Address]:
        """All addresses of one family, in the kernel's order."""
        found = []
        for body in self._dump(_GETADDR, _NEWADDR, _IFADDR.pack(family, 0, 0, 0, 0)):
            got_family, prefix, flags, _scope, index = _IFADDR.unpack_from(body)
            if got_family != family:
                continue
            attributes = _attributes(body[_IFADDR.size :])
            local = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS, b"")
            if _IFA_FLAGS in attributes:
                (flags,) = _U32.unpack(attributes[_IFA_FLAGS])
            label = attributes.get(_IFA_LABEL, b"").rstrip(b"\0").decode(errors="replace")
            found.append(Address(index, local, prefix, flags, label))
        return found

    def connected_routes(self, family: int) -> list[Route]:
        """Routes of the main table that lead to a network directly, without the default route."""
        found = []
        request = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
        for body in self._dump(_GETROUTE, _NEWROUTE, request):
            got_family, prefix, _, _, table, _, _, kind, flags = _ROUTE.unpack_from(body)
            attributes = _attributes(body[_ROUTE.size :])
            if _RTA_TABLE in attributes:
                (table,) = _U32.unpack(attributes[_RTA_TABLE])
            gateway = _RTA_GATEWAY in attributes or _RTA_VIA in attributes
            wanted = got_family == family and table == _MAIN_TABLE and kind == _UNICAST and not gateway
            if not wanted or _RTA_OIF not in attributes or _RTA_DST not in attributes:
                continue
            (index,) = _U32.unpack(attributes[_RTA_OIF])
            metric = _U32.unpack(attributes[_RTA_PRIORITY])[0] if _RTA_PRIORITY in attributes else 0
            found.append(Route(index, attributes[_RTA_DST], prefix, metric, not flags & _DEAD_OR_DOWN))
        return found

    def set_up(self, index: int) -> None:
        """`ip link set … up`."""
        self._change(_NEWLINK, 0, _IFINFO.pack(0, 0, index, IFF_UP, IFF_UP))

    def add_address(
        self,
        index: int,
        local: bytes,
        prefix: int,
        *,
        broadcast: bytes = b"",
        label: str = "",
        flags: int = 0,
        preferred_s: int = FOREVER_S,
    ) -> bool:
        """`ip address add`; False when it was there already."""
        body = _IFADDR.pack(_family(local), prefix, flags & 0xFF, 0, index)
        body += _attribute(_IFA_LOCAL, local) + _attribute(_IFA_ADDRESS, local)
        if broadcast:
            body += _attribute(_IFA_BROADCAST, broadcast)
        if label:
            body += _attribute(_IFA_LABEL, label.encode() + b"\0")
        if flags:
            body += _attribute(_IFA_FLAGS, _U32.pack(flags))
        if preferred_s != FOREVER_S:
            body += _attribute(_IFA_CACHEINFO, struct.pack("=IIII", preferred_s, FOREVER_S, 0, 0))
        try:
            self._change(_NEWADDR, _CREATE | _EXCLUSIVE, body)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
            return False
        return True

    def remove_address(self, address: Address) -> bool:
        """`ip address del`; False when it was gone already."""
        body = _IFADDR.pack(_family(address.local), address.prefix, 0, 0, address.index)
        body += _attribute(_IFA_LOCAL, address.local)
        try:
            self._change(_DELADDR, 0, body)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):
                raise
            return False
        return True

    def _change(self, kind: int, flags: int, body: bytes) -> None:
        for _answer in self._talk(kind, _REQUEST | _ACK | flags, body):
            continue  # only the acknowledgement matters, and it ends the loop

    def _dump(self, request: int, answer: int, body: bytes) -> list[bytes]:
        """All messages of a dump; it is begun again when the kernel says that things changed meanwhile."""
        for _attempt in range(_DUMP_ATTEMPTS):
            interrupted = False
            found = []
            for kind, flags, payload in self._talk(request, _REQUEST | _DUMP, body):
                interrupted = interrupted or bool(flags & _DUMP_INTERRUPTED)
                if kind == answer:
                    found.append(payload)
            if not interrupted:
                return found
        raise OSError(errno.EAGAIN, "the network configuration changes all the time")

    def _talk(self, kind: int, flags: int, body: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Send one request; the answers as (type, flags, payload) until it is done or acknowledged."""
        self._sequence += 1
        length = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(length, kind, flags, self._sequence, 0) + body)
        while True:
            received = self._socket.recv(_RECEIVE_BYTES)
            offset = 0
            while offset + _HEADER.size <= len(received):
                length, got, got_flags, sequence, _port = _HEADER.unpack_from(received, offset)
                payload = received[offset + _HEADER.size : offset + length]
                offset += _aligned(max(length, _HEADER.size))
                if sequence != self._sequence:
                    continue
                if got == _ERROR:
                    (code,) = struct.unpack_from("=i", payload)
                    if code:
                        raise OSError(-code, os.strerror(-code))
                    return
                if got == _DONE:
                    return
                yield got, got_flags, payload


def in_network(local: bytes, network: bytes, prefix: int) -> bool:
    """Whether an address lies in a network; both in network order and of one family."""
    if len(local) != len(network):
        return False
    shift = len(local) * 8 - prefix
    return int.from_bytes(local, "big") >> shift == int.from_bytes(network, "big") >> shift


def _family(local: bytes) -> int:
    return int(socket.AF_INET if len(local) == 4 else socket.AF_INET6)


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _attribute(kind: int, data: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(data)
    return _ATTRIBUTE.pack(length, kind) + data + b"\0" * (_aligned(length) - length)


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(length)
    return found
