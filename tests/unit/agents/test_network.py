"""Packets and tables of the address agent, without a network."""

from __future__ import annotations

import socket

import pytest

from agents import announcement
from agents.rtnetlink import Rtnetlink, in_network

MAC = bytes.fromhex("020000000001")
IPV4 = socket.inet_aton("10.0.0.5")
IPV6 = socket.inet_pton(socket.AF_INET6, "fd00::5")


def test_gratuitous_arp_byte_by_byte() -> None:
    request, reply = announcement.arp_frames(MAC, IPV4)
    head = "ffffffffffff0200000000010806000108000604"
    assert request.hex() == head + "00010200000000010a0000050000000000000a000005" + "00" * 18
    assert reply.hex() == head + "00020200000000010a000005ffffffffffff0a000005" + "00" * 18


def test_advertisement_byte_by_byte() -> None:
    packet = announcement.advertisement(MAC, IPV6, router=False)
    assert packet.hex() == "8800000020000000" + IPV6.hex() + "0201" + MAC.hex()
    assert announcement.advertisement(MAC, IPV6, router=True)[4] == 0xA0


@pytest.mark.parametrize(
    ("address", "network", "prefix", "inside"),
    [
        ("10.0.0.5", "10.0.0.0", 24, True),
        ("10.0.1.5", "10.0.0.0", 24, False),
        ("10.0.1.5", "10.0.0.0", 23, True),
        ("10.0.0.5", "10.0.0.5", 32, True),
        ("10.0.0.5", "0.0.0.0", 0, True),
        ("fd00::5", "fd00::", 64, True),
        ("fd00:0:0:1::5", "fd00::", 64, False),
        ("10.0.0.5", "fd00::", 8, False),
    ],
)
def test_in_network(address: str, network: str, prefix: int, inside: bool) -> None:
    def packed(text: str) -> bytes:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)

    assert in_network(packed(address), packed(network), prefix) is inside


def test_the_kernel_is_understood() -> None:
    """Reading needs no privilege, and there is a loopback interface everywhere."""
    with Rtnetlink() as kernel:
        links = kernel.links()
        (lo,) = (link for link in links.values() if link.name == "lo")
        assert lo.flags & 0x8
        addresses = kernel.addresses(socket.AF_INET)
        for address in addresses:
            assert address.index in links
            assert len(address.local) == 4
        for route in kernel.connected_routes(socket.AF_INET):
            assert route.index in links
