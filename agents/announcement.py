"""Tell the neighbours that an address moved here: gratuitous ARP, unsolicited neighbour advertisements.

Building packets is pure; sending needs CAP_NET_RAW in the network namespace.
"""

from __future__ import annotations

import socket
import struct

BROADCAST_MAC = b"\xff" * 6
ETHERTYPE_ARP = 0x0806
ARP_REQUEST, ARP_REPLY = 1, 2
NEIGHBOUR_ADVERTISEMENT = 136
ALL_NODES = "ff02::1"

_ARP = struct.Struct("!HHBBH6s4s6s4s")
_FRAME_BYTES_MIN = 60
_ROUTER, _OVERRIDE = 0x80000000, 0x20000000
_OPTION_TARGET_LINK_LAYER = 2


def arp_frames(mac: bytes, address: bytes) -> tuple[bytes, bytes]:
    """The two gratuitous forms, as Ethernet frames: RFC 5227's announcement (a request), and a reply.

    Some stacks update their cache on one form only, so both are sent.
    """
    header = BROADCAST_MAC + mac + struct.pack("!H", ETHERTYPE_ARP)
    request = _ARP.pack(1, 0x0800, 6, 4, ARP_REQUEST, mac, address, b"\0" * 6, address)
    reply = _ARP.pack(1, 0x0800, 6, 4, ARP_REPLY, mac, address, BROADCAST_MAC, address)
    return (header + request).ljust(_FRAME_BYTES_MIN, b"\0"), (header + reply).ljust(_FRAME_BYTES_MIN, b"\0")


def advertisement(mac: bytes, address: bytes, *, router: bool) -> bytes:
    """An unsolicited neighbour advertisement (RFC 4861, 7.2.6); the kernel fills in the checksum."""
    flags = _OVERRIDE | (_ROUTER if router else 0)
    option = struct.pack("!BB", _OPTION_TARGET_LINK_LAYER, 1) + mac
    return struct.pack("!BBHI", NEIGHBOUR_ADVERTISEMENT, 0, 0, flags) + address + option


class ArpSender:
    """Broadcasts on one interface. Errors are OSErrors.

    There is no close: closing a packet socket makes the kernel wait for all processors, 8 ms or more
    (measured). Left to whoever announces on when the result has been told, this costs nobody's time.
    """

    def __init__(self, interface: str) -> None:
        self._interface = interface
        # Protocol 0: it shall receive nothing.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)

    def send(self, mac: bytes, address: bytes) -> None:
        """Both gratuitous forms once."""
        for frame in arp_frames(mac, address):
            self._socket.sendto(frame, (self._interface, ETHERTYPE_ARP))


def send_advertisement(index: int, mac: bytes, address: bytes, *, router: bool) -> None:
    """Advertise once to all nodes of the link, from the address itself. Raises OSError."""
    text = socket.inet_ntop(socket.AF_INET6, address)
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_INET6, kind, socket.IPPROTO_ICMPV6) as sender:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sender.bind((text, 0, 0, index))
        sender.sendto(advertisement(mac, address, router=router), (ALL_NODES, 0, 0, index))
