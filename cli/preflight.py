"""What a careful administrator looks at before a node joins: names, clocks, versions, ports, multicast."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hacluster.settings import Link, Node, Settings

CLOCK_WARN_MS: Final = 1_000
CLOCK_BAD_MS: Final = 60_000
CONNECT_S: Final = 2.0
LISTEN_S_MIN: Final = 2.0
MAGIC: Final = b"HA"


class Level(StrEnum):
    """How bad it is: `bad` stops a join."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return self.what + (f" ({self.remedy})" if self.remedy else "")


def names(nodes: Iterable[Node]) -> Iterator[Finding]:
    """Names need not resolve, for cluster.toml has addresses; but they must not say something else."""
    for node in nodes:
        try:
            found = {str(entry[4][0]) for entry in socket.getaddrinfo(node.name, None)}
        except OSError:
            yield Finding(
                Level.WARNING, f"the name {node.name} does not resolve here", "a line of /etc/hosts is enough"
            )
            continue
        outside = {one for one in found if not ipaddress.ip_address(one.partition("%")[0]).is_loopback}
        if outside and not outside & set(node.addresses):
            yield Finding(
                Level.WARNING,
                f"{node.name} resolves to {' '.join(sorted(outside))}, cluster.toml says "
                f"{' '.join(node.addresses)}",
                "correct /etc/hosts or DNS",
            )
        else:
            yield Finding(Level.OK, f"the name {node.name} resolves to {' '.join(sorted(found))}")


def clock(who: str, ahead_ms: int) -> Finding:
    """The other clock against ours. Nothing decides by it but rules of the CIB and certificates."""
    seconds = f"{abs(ahead_ms) / 1_000:.1f} s {'ahead of' if ahead_ms > 0 else 'behind'} ours"
    if abs(ahead_ms) < CLOCK_WARN_MS:
        return Finding(Level.OK, f"the clock of {who} agrees with ours")
    level = Level.WARNING if abs(ahead_ms) < CLOCK_BAD_MS else Level.BAD
    return Finding(level, f"the clock of {who} is {seconds}", "synchronise both (chrony, systemd-timesyncd)")


def version(who: str, theirs: str, ours: str) -> Finding:
    """Nodes of two releases may work together while one is replaced, and no longer."""
    if theirs == ours:
        return Finding(Level.OK, f"{who} has the same release ({ours})")
    return Finding(
        Level.WARNING, f"{who} has hacluster {theirs}, here is {ours}", "install the same release everywhere"
    )


def own_addresses(addresses: Iterable[str], settings: Settings) -> Iterator[Finding]:
    """Each is on this machine, and what will listen there can."""
    ports = [(settings.ports.crm, socket.SOCK_STREAM, "TCP"), (settings.ports.lrm, socket.SOCK_STREAM, "TCP")]
    links = [link for link in settings.links if link.kind in ("udp", "mcast", "bcast")]
    for number, address in enumerate(addresses):
        wanted = list(ports)
        if number < len(links):
            wanted.append((links[number].port, socket.SOCK_DGRAM, "UDP"))
        problems = list(_ports_taken(address, wanted))
        yield from problems
        if not problems:
            shown = ", ".join(f"{word} {port}" for port, _kind, word in wanted)
            yield Finding(Level.OK, f"{address} is this machine's, and its ports are free ({shown})")


def _ports_taken(address: str, wanted: Iterable[tuple[int, socket.SocketKind, str]]) -> Iterator[Finding]:
    for port, kind, word in wanted:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with closing(socket.socket(family, kind)) as probe:
            try:
                probe.bind((address, port))
            except OSError as error:
                yield _cannot_bind(address, port, word, error)
                if error.errno == errno.EADDRNOTAVAIL:
                    return


def _cannot_bind(address: str, port: int, word: str, error: OSError) -> Finding:
    if error.errno == errno.EADDRNOTAVAIL:
        return Finding(Level.BAD, f"{address} is no address of this machine", "ip address")
    if error.errno == errno.EADDRINUSE:
        return Finding(Level.BAD, f"{word} port {port} of {address} is taken", f"ss -lnp 'sport = :{port}'")
    return Finding(Level.BAD, f"{word} port {port} of {address}: {error.strerror}", "run it as root")


def reachable(nodes: Iterable[Node], settings: Settings) -> Iterator[Finding]:
    """Each node's TCP ports on each of its addresses. One that is down is a warning."""
    for node in nodes:
        for address in dict.fromkeys(node.addresses):
            shut = [
                (port, why)
                for port in (settings.ports.crm, settings.ports.lrm)
                if (why := _connect(address, port))
            ]
            for port, why in shut:
                yield Finding(
                    Level.WARNING,
                    f"{node.name}: {address} port {port}: {why}",
                    "is it up? does a firewall stand between?",
                )
            if not shut:
                ports = f"{settings.ports.crm} and {settings.ports.lrm}"
                yield Finding(Level.OK, f"{node.name}: {address} answers on the ports {ports}")


def _connect(address: str, port: int) -> str:
    """Empty when it can be reached."""
    try:
        with closing(socket.create_connection((address, port), CONNECT_S)):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def multicast(address_of: Iterable[tuple[Link, str]], settings: Settings) -> Iterator[Finding]:
    """Whether the members' heartbeats can be heard here, on links that need no list of receivers.

    `address_of`: each such link with our address on it. To be asked while no ha-messaging runs here.
    """
    for link, address in address_of:
        if link.kind not in ("mcast", "bcast"):
            continue
        where = f"{link.group or 'broadcast'} port {link.port} on {link.interface or address}"
        within_s = max(LISTEN_S_MIN, 3 * settings.timers.keepalive_ms / 1_000)
        try:
            heard = _heard(link, address, settings.cluster_id[:4], within_s)
        except OSError as error:
            yield Finding(Level.BAD, f"cannot listen to {where}: {error.strerror or error}")
            continue
        if heard:
            yield Finding(Level.OK, f"heartbeats of {heard} come in by {where}")
        else:
            yield Finding(
                Level.BAD,
                f"no heartbeat of this cluster within {within_s:g} s by {where}",
                "switches: IGMP snooping needs a querier; or use a link of kind udp",
            )


def _heard(link: Link, address: str, cluster: bytes, within_s: float) -> str:
    """Who was heard first; empty: nobody."""
    is_six = ":" in (link.group or address)
    with closing(socket.socket(socket.AF_INET6 if is_six else socket.AF_INET, socket.SOCK_DGRAM)) as ear:
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ear.bind((link.group or "", link.port))
        if link.kind == "mcast":
            _join_group(ear, link, address, is_six=is_six)
        end = time.monotonic() + within_s
        while (left := end - time.monotonic()) > 0:
            ear.settimeout(left)
            try:
                data, sender = ear.recvfrom(65_536)
            except TimeoutError:
                break
            if data[:2] == MAGIC and data[12:16] == cluster:
                return str(sender[0])
    return ""


def _join_group(ear: socket.socket, link: Link, address: str, *, is_six: bool) -> None:
    group = socket.inet_pton(socket.AF_INET6 if is_six else socket.AF_INET, link.group)
    if is_six:
        index = socket.if_nametoindex(link.interface) if link.interface else 0
        ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("@I", index))
        return
    ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + socket.inet_aton(address))
