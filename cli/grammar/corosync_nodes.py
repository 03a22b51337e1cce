"""Nodes and links of a corosync.conf as text: added, changed and taken out in place. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cli.grammar.corosync_text import (
    get,
    has_section,
    insert_section,
    put,
    remove_key,
    remove_section,
    sections,
)
from hacluster.digits import is_count
from hacluster.errors import InvalidRequest, NotFound

LINKS_MAX: Final = 8  # knet's
_ADDRESS: Final = re.compile(r"ring(\d)_addr")
_HOST: Final = re.compile(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?")
_INTERFACE: Final = ("totem", "interface")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A node of the nodelist; `links`: its addresses by the number of the link."""

    index: int
    nodeid: str
    name: str
    links: Mapping[int, str]

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name or self.links.get(0, "") or self.nodeid


def peers(text: str, *, source: str = "corosync.conf") -> tuple[Peer, ...]:
    """The nodes, in order. Raises InvalidDocument."""
    return tuple(
        Peer(
            index=index,
            nodeid=keys.get("nodeid", ""),
            name=keys.get("name", ""),
            links={int(match[1]): value for key, value in keys.items() if (match := _ADDRESS.fullmatch(key))},
        )
        for index, keys in enumerate(sections(text, ("nodelist", "node"), source=source))
    )


def add_node(text: str, addresses: tuple[str, ...], name: str, *, source: str = "corosync.conf") -> str:
    """With one more node, an address a link, and the next nodeid. Raises InvalidRequest, InvalidDocument."""
    here = peers(text, source=source)
    if not here:
        raise InvalidRequest(
            what=f"{source} has no nodelist", remedy="write one, with a nodeid for each node"
        )
    numbers = sorted({number for peer in here for number in peer.links})
    if len(addresses) != len(numbers):
        raise InvalidRequest(
            what=f"{len(addresses)} address(es), and the nodes have {len(numbers)} link(s)",
            remedy="give one for each link, with commas",
        )
    for address in addresses:
        _check_address(address, here)
    if name and any(name in (peer.name, peer.nodeid) for peer in here):
        raise InvalidRequest(what=f"there is a node {name} already")
    if name and not _HOST.fullmatch(name):
        raise InvalidRequest(what=f"{name!r} is no name of a node")
    used = [int(peer.nodeid) for peer in here if is_count(peer.nodeid)]
    lines = [f"ring{number}_addr: {address}" for number, address in zip(numbers, addresses, strict=True)]
    lines += [f"nodeid: {max(used, default=0) + 1}", *([f"name: {name}"] if name else [])]
    changed = insert_section(text, ("nodelist",), "node", lines, source=source)
    return _two_nodes(changed, len(here) + 1, source)


def remove_node(text: str, who: str, *, source: str = "corosync.conf") -> str:
    """Without the node of that name, address or nodeid. Raises NotFound, InvalidRequest, InvalidDocument."""
    here = peers(text, source=source)
    found = _peer(here, who)
    if len(here) == 1:
        raise InvalidRequest(what=f"{who} is the only node")
    return _two_nodes(
        remove_section(text, ("nodelist", "node"), found.index, source=source), len(here) - 1, source
    )


def _two_nodes(text: str, count: int, source: str) -> str:
    """`two_node` is for two nodes and no others; where it is written down it follows."""
    if not get(text, "quorum.two_node", source=source):
        return text
    return put(text, "quorum.two_node", "1" if count == 2 else "0", source=source)


def add_link(
    text: str, addresses: Mapping[str, str], options: Mapping[str, str], *, source: str = "corosync.conf"
) -> tuple[str, int]:
    """With one more link, every node's address on it, and its number. Raises as `add_node`."""
    here = peers(text, source=source)
    transport = get(text, "totem.transport", source=source)
    if transport and transport[-1] != "knet":
        raise InvalidRequest(what=f"transport {transport[-1]} has one link", remedy="knet has up to eight")
    wanted = {_peer(here, who).index: address for who, address in addresses.items()}
    missing = [peer.label for peer in here if peer.index not in wanted]
    if missing or not here:
        raise InvalidRequest(what=f"no address is given for {', '.join(missing) or 'any node'}")
    used = {number for peer in here for number in peer.links}
    number = next((one for one in range(LINKS_MAX) if one not in used), None)
    if number is None:
        raise InvalidRequest(what=f"there are {LINKS_MAX} links already, and knet has no more")
    if len(set(wanted.values())) != len(wanted):
        raise InvalidRequest(what="an address is given twice")
    for index, address in wanted.items():
        _check_address(address, here)
        text = put(text, f"nodelist.node.{index}.ring{number}_addr", address, source=source)
    return (_with_options(text, number, options, source) if options else text), number


def update_link(
    text: str,
    number: int,
    addresses: Mapping[str, str],
    options: Mapping[str, str],
    *,
    source: str = "corosync.conf",
) -> str:
    """With other addresses or options of a link; an empty value takes an option out. Raises as `add_node`."""
    here = peers(text, source=source)
    _check_link(here, number)
    for who, address in addresses.items():
        peer = _peer(here, who)
        _check_address(address, here)
        text = put(text, f"nodelist.node.{peer.index}.ring{number}_addr", address, source=source)
    return _with_options(text, number, options, source) if options else text


def remove_link(text: str, number: int, *, source: str = "corosync.conf") -> str:
    """Without a link, its addresses and options. Raises NotFound, InvalidRequest, InvalidDocument."""
    here = peers(text, source=source)
    _check_link(here, number)
    if len({one for peer in here for one in peer.links}) == 1:
        raise InvalidRequest(what=f"link {number} is the only one")
    for peer in here:
        text = remove_key(text, ("nodelist", "node"), peer.index, f"ring{number}_addr", source=source)
    at = _interface(text, number, source)
    return text if at is None else remove_section(text, _INTERFACE, at, source=source)


def link_options(text: str, number: int, *, source: str = "corosync.conf") -> Mapping[str, str]:
    """What the interface section of a link says, its number aside."""
    at = _interface(text, number, source)
    if at is None:
        return {}
    found = dict(sections(text, _INTERFACE, source=source)[at])
    found.pop("linknumber", None)
    return found


def _interface(text: str, number: int, source: str) -> int | None:
    """Which interface section is that link's; the first one of several without numbers is link 0's."""
    for index, keys in enumerate(sections(text, _INTERFACE, source=source)):
        if keys.get("linknumber", keys.get("ringnumber", "0")) == str(number):
            return index
    return None


def _with_options(text: str, number: int, options: Mapping[str, str], source: str) -> str:
    if not has_section(text, ("totem",), source=source):
        raise InvalidRequest(what=f"{source} has no totem section")
    at = _interface(text, number, source)
    if at is None:
        text = insert_section(text, ("totem",), "interface", [f"linknumber: {number}"], source=source)
        at = len(sections(text, _INTERFACE, source=source)) - 1
    for name, value in options.items():
        if name in ("linknumber", "ringnumber"):
            raise InvalidRequest(what=f"{name} is the link itself, and no option of it")
        if value:
            text = put(text, f"totem.interface.{at}.{name}", value, source=source)
        else:
            text = remove_key(text, _INTERFACE, at, name, source=source)
    return text


def _peer(here: tuple[Peer, ...], who: str) -> Peer:
    found = [peer for peer in here if who in (peer.name, peer.nodeid, *peer.links.values())]
    if not found:
        raise NotFound(kind="node", name=who)
    if len(found) > 1:
        raise InvalidRequest(what=f"{who} could be {' or '.join(peer.label for peer in found)}")
    return found[0]


def _check_link(here: tuple[Peer, ...], number: int) -> None:
    if not any(number in peer.links for peer in here):
        raise NotFound(kind="link", name=str(number))


def _check_address(address: str, here: tuple[Peer, ...]) -> None:
    taken = next((peer for peer in here if address in peer.links.values()), None)
    if taken is not None:
        raise InvalidRequest(what=f"{address} is {taken.label}'s already")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        if not _HOST.fullmatch(address):
            raise InvalidRequest(what=f"{address!r} is neither an address nor a name") from None
