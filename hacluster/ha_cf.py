"""Heartbeat's ha.cf -> settings, for the import. Pure; every directive is known or named as ignored."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from hacluster.digits import is_count
from hacluster.durations import parse_ms
from hacluster.errors import InvalidDocument, InvalidDocuments
from hacluster.settings import NODE_NAME, Link, Node, Quorum, Settings, Timers
from hacluster.vocabulary.ids import NodeId, NodeName

Resolve = Callable[[str], Sequence[str]]
"""Addresses of a host name, in order; none when it is not known. No names are looked up in the network."""

# What heartbeat did without the directive.
KEEPALIVE_MS_DEFAULT: Final = 2_000
DEADTIME_MS_DEFAULT: Final = 30_000
NAME_DEFAULT: Final = "linux-ha"

IGNORED: Final[Mapping[str, str]] = {
    "apiauth": "who may talk to a daemon is a matter of the sockets' permissions",
    "autojoin": "nodes are listed in cluster.toml; none joins by itself",
    "compression": "packets are small; nothing is compressed",
    "compression_threshold": "packets are small; nothing is compressed",
    "conn_logd_time": "there is no log daemon of our own",
    "coredumps": "the service manager decides",
    "debug": "the option --log-level of the daemons",
    "debugfile": "logs go to the journal, or to standard error",
    "hbaping": "fibre channel HBAs are not pinged",
    "hbgenmethod": "incarnations are kept on disk",
    "hbversion": "nothing to choose",
    "hopfudge": "heartbeats are not forwarded from node to node",
    "log_badpack": "bad packets are always counted and logged once a minute",
    "logfacility": "logs go to the journal, or to standard error",
    "logfile": "logs go to the journal, or to standard error",
    "max_rexmit_delay": "what is lost is repeated by the next heartbeat",
    "memreserve": "memory is locked as it is used",
    "msgfmt": "the wire format is our own",
    "node_reset": "fencing devices are resources",
    "quorum_server": "quorum is counted among the nodes of cluster.toml",
    "realtime": "real-time scheduling is asked for always",
    "respawn": "resources and services are the cluster's or the service manager's to start",
    "rtprio": "real-time scheduling is asked for always",
    "stonith_host": "devices are resources: define a primitive of class stonith",
    "stonith": "devices are resources: define a primitive of class stonith",
    "syslogmsgfmt": "logs are key=value",
    "traditional_compression": "packets are small; nothing is compressed",
    "use_logd": "there is no log daemon of our own",
    "uuidfrom": "nodes are known by name and id",
    "watchdog": "the service manager's WatchdogSec, and /dev/watchdog through a fencing device",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What a ha.cf says. `notes` tell what was taken how; `uses_crm`: resources are in a CIB already."""

    settings: Settings
    auto_failback: bool
    stonith: bool
    uses_crm: bool
    notes: tuple[str, ...]


def convert(
    text: str,
    *,
    source: str = "ha.cf",
    name: str = "",
    resolve: Resolve = lambda _host: (),
    hosts: str = "/etc/hosts",
    addresses: Mapping[str, Sequence[str]] | None = None,
) -> Converted:
    """Read the text. Raises InvalidDocuments with everything that is wrong.

    `name` is the cluster's, else that of the directive `cluster`. `addresses` (node -> one for each link) win
    over the ucast lines, which win over `resolve`; `hosts` is the file that this one reads.
    """
    reader = _Reader(source, hosts)
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split() if line.lstrip().startswith("#") else _words(line)
        if words:
            reader.directive(number, words[0], words[1:])
    converted = reader.finish(name, resolve, addresses or {})
    if reader.errors:
        raise InvalidDocuments(errors=tuple(sorted(reader.errors, key=lambda error: error.line)))
    return converted


def _words(line: str) -> list[str]:
    """A `#` begins a comment at the start of a word."""
    words: list[str] = []
    for word in line.split():
        if word.startswith("#"):
            break
        words.append(word)
    return words


def cluster_id(name: str, nodes: Sequence[str]) -> bytes:
    """The same on every node that imports the same cluster: from its name and its sorted nodes."""
    return hashlib.sha256("\n".join([name, *sorted(nodes)]).encode()).digest()[:16]


@dataclass(slots=True)
class _Reader:
    source: str
    hosts: str
    errors: list[InvalidDocument] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    times: dict[str, tuple[int, int]] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    unicast: dict[str, list[str]] = field(default_factory=dict)
    port: int = 694
    baud: int = 19_200
    name: str = ""
    auto_failback: bool | None = None
    stonith: bool = False
    uses_crm: bool = False

    def fail(self, line: int, what: str, remedy: str) -> None:
        self.errors.append(InvalidDocument(source=self.source, line=line, what=what, remedy=remedy))

    def note(self, line: int, text: str) -> None:
        self.notes.append(f"{self.source}:{line}: {text}")

    def directive(self, line: int, word: str, rest: Sequence[str]) -> None:
        """One line of the file."""
        keyword = word.lower()
        if keyword in ("keepalive", "deadtime", "warntime", "initdead", "deadping"):
            self._time(line, keyword, rest)
        elif keyword in ("mcast", "bcast", "ucast", "serial", "ping", "ping_group"):
            self._link(line, keyword, rest)
        elif keyword == "node":
            self._node(line, rest)
        elif keyword in ("udpport", "baud"):
            self._number(line, keyword, rest)
        elif keyword in ("auto_failback", "nice_failback"):
            self._failback(line, keyword, rest)
        elif keyword in ("crm", "pacemaker"):
            self.uses_crm = bool(rest) and rest[0].lower() not in ("no", "off", "false", "0")
        elif keyword == "cluster":
            self.name = rest[0] if rest else ""
        elif keyword in IGNORED:
            self.stonith = self.stonith or keyword in ("stonith", "stonith_host")
            self.note(line, f"{keyword} is not needed: {IGNORED[keyword]}")
        else:
            self.fail(line, f"{word!r} is not a directive of ha.cf", "correct the word, or remove the line")

    def _time(self, line: int, keyword: str, rest: Sequence[str]) -> None:
        if len(rest) != 1:
            self.fail(line, f"{keyword} needs one time", f"{keyword} 2, or {keyword} 1500ms")
            return
        try:
            self.times[keyword] = (parse_ms(rest[0]), line)
        except ValueError as error:
            self.fail(line, f"{keyword}: {error}", "bare numbers are seconds")

    def _number(self, line: int, keyword: str, rest: Sequence[str]) -> None:
        high = 65_535 if keyword == "udpport" else 4_000_000
        if len(rest) != 1 or not is_count(rest[0]) or not 1 <= int(rest[0]) <= high:
            self.fail(line, f"{keyword} needs a number", f"1 to {high}")
        elif keyword == "udpport":
            self.port = int(rest[0])
        else:
            self.baud = int(rest[0])

    def _node(self, line: int, rest: Sequence[str]) -> None:
        if not rest:
            self.fail(line, "node names no node", "node NAME, as `uname -n` prints it there")
        for one in rest:
            if not NODE_NAME.fullmatch(one):
                self.fail(line, f"{one!r} is not the name of a node", "as `uname -n` prints it there")
            elif one.lower() in (known.lower() for known in self.nodes):
                self.fail(line, f"node {one} is there twice", "remove one")
            else:
                self.nodes[one] = line

    def _failback(self, line: int, keyword: str, rest: Sequence[str]) -> None:
        word = rest[0].lower() if len(rest) == 1 else ""
        meaning = {
            "on": True,
            "yes": True,
            "true": True,
            "legacy": True,
            "off": False,
            "no": False,
            "false": False,
        }
        if word not in meaning:
            self.fail(line, f"{keyword} is on, off or legacy", f"{keyword} on")
        elif keyword == "nice_failback":
            self.auto_failback = not meaning[word]
        else:
            self.auto_failback = meaning[word]

    def _link(self, line: int, kind: str, rest: Sequence[str]) -> None:
        match kind, tuple(rest):
            case "mcast", (interface, group, port, ttl, *_loop) if is_count(port) and is_count(ttl):
                if not _is_address(group) or not ipaddress.ip_address(group).is_multicast:
                    self.fail(line, f"{group!r} is not a multicast address", "as 225.0.0.1")
                self.links.append(
                    Link(kind="mcast", interface=interface, group=group, port=int(port), ttl=int(ttl))
                )
            case "bcast", (_, *_):
                self.links += [Link(kind="bcast", interface=one) for one in rest]
            case "ucast", (interface, address):
                if not _is_address(address):
                    self.fail(line, f"{address!r} is not an address", "write the address, no name")
                self.unicast.setdefault(interface, []).append(address)
                if len(self.unicast[interface]) == 1:
                    self.links.append(Link(kind="udp", interface=interface))
            case "serial", (_, *_):
                self.links += [Link(kind="serial", device=one) for one in rest]
            case "ping", (_, *_):
                self._targets(line, rest)
                self.links += [Link(kind="ping", targets=(one,)) for one in rest]
            case "ping_group", (_, _, *_):
                self._targets(line, rest[1:])
                self.links.append(Link(kind="ping_group", targets=tuple(rest[1:])))
            case _:
                self.fail(line, f"{kind} is not understood: {' '.join(rest)}", _LINK_USAGE[kind])

    def _targets(self, line: int, hosts: Sequence[str]) -> None:
        for host in hosts:
            if not _is_address(host):
                self.fail(line, f"{host!r} is not an address", "write the address, no name")

    # the whole

    def finish(self, name: str, resolve: Resolve, given: Mapping[str, Sequence[str]]) -> Converted:
        """Settings from what was read; failures are in `errors`."""
        if len(self.nodes) < 1:
            self.fail(0, "no node is named", "a line `node NAME` for each, as `uname -n` prints it there")
        for unknown in set(given) - set(self.nodes):
            self.fail(0, f"the address given for {unknown} is for no node of this file", "check --node")
        links = tuple(
            replace(one, port=self.port) if one.kind in ("udp", "bcast") else replace(one, baud=self.baud)
            for one in self.links
        )
        carriers = [one for one in links if one.kind in ("udp", "mcast", "bcast")]
        if not any(one.kind in ("udp", "mcast", "bcast", "serial") for one in links):
            self.fail(0, "no link is named", "add mcast, bcast or ucast")
        if not carriers and any(one.kind == "serial" for one in links):
            self.fail(
                0, "only serial links", "the daemons need IP between the nodes: add mcast, bcast or ucast"
            )
        nodes = tuple(
            Node(
                id=NodeId(number),
                name=NodeName(node),
                addresses=self._addresses(node, carriers, resolve, given),
            )
            for number, node in enumerate(self.nodes, start=1)
        )
        if self.auto_failback is None:
            self.notes.append(f"{self.source}: no auto_failback: taken as on (heartbeat's `legacy`)")
        two = len(self.nodes) == 2
        if not two and len(self.nodes) > 2:
            self.notes.append(
                f"{self.source}: heartbeat knew no quorum; with {len(self.nodes)} nodes a majority decides"
            )
        final_name = name or self.name or NAME_DEFAULT
        return Converted(
            settings=Settings(
                cluster_name=final_name,
                cluster_id=cluster_id(final_name, list(self.nodes)),
                timers=self._timers(),
                quorum=Quorum(two_node=two, wait_for_all=False),
                links=links,
                nodes=nodes,
            ),
            auto_failback=self.auto_failback is not False,
            stonith=self.stonith,
            uses_crm=self.uses_crm,
            notes=tuple(self.notes),
        )

    def _timers(self) -> Timers:
        def of(name: str, default: int) -> tuple[int, int]:
            return self.times.get(name, (default, 0))

        keepalive, keepalive_line = of("keepalive", KEEPALIVE_MS_DEFAULT)
        deadtime, deadtime_line = of("deadtime", DEADTIME_MS_DEFAULT)
        if not 20 <= keepalive <= 60_000:
            self.fail(keepalive_line, f"keepalive {keepalive} ms", "20 ms to 60 s")
        if deadtime <= 2 * keepalive:
            self.fail(
                deadtime_line or keepalive_line,
                f"deadtime {deadtime} ms is not more than twice keepalive {keepalive} ms",
                "a lost packet would kill a node: raise deadtime",
            )
        warntime, line = of("warntime", deadtime // 2)
        if not keepalive < warntime < deadtime:
            if line:
                self.note(
                    line,
                    f"warntime {warntime} ms is not between keepalive and deadtime: half of deadtime taken",
                )
            warntime = max(keepalive + 1, deadtime // 2)
        initdead, line = of("initdead", max(30_000, 2 * deadtime))
        if initdead < 2 * deadtime:
            self.note(line, f"initdead {initdead} ms is less than twice deadtime: {2 * deadtime} ms taken")
            initdead = 2 * deadtime
        deadping, line = of("deadping", deadtime)
        if deadping <= keepalive:
            self.note(line, f"deadping {deadping} ms is not more than keepalive: {deadtime} ms taken")
            deadping = deadtime
        return Timers(
            keepalive_ms=keepalive,
            warntime_ms=warntime,
            deadtime_ms=deadtime,
            initdead_ms=initdead,
            deadping_ms=deadping,
        )

    def _addresses(
        self, node: str, carriers: Sequence[Link], resolve: Resolve, given: Mapping[str, Sequence[str]]
    ) -> tuple[str, ...]:
        """One for each IP link. Notes where they are from; a failure when one is missing."""
        own = tuple(given.get(node, ()))
        known = tuple(resolve(node))
        found: list[str] = []
        for index, link in enumerate(carriers):
            if own:
                address = own[index] if index < len(own) else ""
            else:
                address = self._unicast_address(node, link, known)
                if not address and index < len(known):
                    address = known[index]
            if not address or not _is_address(address):
                place = f"link {index + 1} ({link.kind} {link.interface or link.group})"
                more = ",ADDRESS" * (len(carriers) - 1)
                self.fail(
                    self.nodes[node],
                    f"the address of {node} on {place} is not known",
                    f"say --node {node}=ADDRESS{more}, or put {node} into {self.hosts}",
                )
                return ()
            found.append(address)
        where = (
            "as given" if own else f"from ucast and {self.hosts}" if self.unicast else f"from {self.hosts}"
        )
        if found:
            self.notes.append(f"{self.source}: node {node} has {', '.join(found)} ({where})")
        return tuple(found)

    def _unicast_address(self, node: str, link: Link, known: Sequence[str]) -> str:
        """Which of a device's ucast addresses is a node's: one that its name resolves to, else by order."""
        if link.kind != "udp":
            return ""
        listed = self.unicast.get(link.interface, [])
        for address in listed:
            if address in known:
                return address
        if len(listed) == len(self.nodes):
            return listed[list(self.nodes).index(node)]
        return ""


_LINK_USAGE: Final = {
    "mcast": "mcast DEVICE GROUP PORT TTL LOOP",
    "bcast": "bcast DEVICE…",
    "ucast": "ucast DEVICE ADDRESS",
    "serial": "serial DEVICE…",
    "ping": "ping ADDRESS…",
    "ping_group": "ping_group NAME ADDRESS…",
}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
