"""cluster.toml to frozen settings, or every error at once with file, line and remedy.

The same file lies on every node. Durations are text with a unit ("250ms"); bare numbers are seconds, as in
heartbeat's ha.cf.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from hacluster.durations import parse_ms
from hacluster.errors import InvalidDocument, InvalidDocuments
from hacluster.toml_lines import line_of
from hacluster.vocabulary.ids import NodeId, NodeName
from hacluster.vocabulary.membership import QuorumConfig

LINK_KINDS: Final = ("udp", "mcast", "bcast", "serial", "ping", "ping_group")
LINKS_MAX: Final = 8
TIMER_MS_MAX: Final = 24 * 3_600 * 1_000
"""A day: whoever asks for more has forgotten a unit."""
NODE_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timers:
    """Milliseconds; the rules between them are cluster-protocol's: K < W < D, D > 2K, I >= 2D.

    With `deadtime_auto`, `deadtime_ms` is only where deadtime begins.
    """

    keepalive_ms: int = 250
    warntime_ms: int = 1_250
    deadtime_ms: int = 2_500
    initdead_ms: int = 30_000
    deadping_ms: int = 2_500
    deadtime_auto: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One way for heartbeats. `targets` belong to ping and ping_group, `group` and `ttl` to mcast."""

    kind: str
    port: int = 694
    interface: str = ""
    group: str = ""
    ttl: int = 1
    targets: tuple[str, ...] = ()
    device: str = ""
    baud: int = 19_200
    mtu: int = 1_428


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One configured node; `addresses` are one for each link that carries IP, in the links' order.

    `diskless`: it keeps nothing over a boot, and so cannot vote or be DC.
    """

    id: NodeId
    name: NodeName
    addresses: tuple[str, ...]
    votes: int = 1
    diskless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    """How votes are counted. `wait_for_all` defaults to `two_node`.

    `tie_breakers`: "lowest", "highest", or names in the order of preference.
    """

    two_node: bool = False
    wait_for_all: bool = False
    tiebreak: NodeName | None = None
    tie_breakers: str | tuple[NodeName, ...] = ()
    last_man_standing: bool = False
    lms_window_ms: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """ha-qnet on a third machine, or a shared disk with slots (`device`)."""

    address: str = ""
    device: str = ""
    port: int = 5562
    votes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """TCP ports of gRPC with mTLS. `api`: for clients with users' certificates; 0: there is none."""

    crm: int = 5560
    lrm: int = 5561
    api: int = 0


BUILTIN: Final = "builtin"
COROSYNC: Final = "corosync"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of cluster.toml. `cluster_id` is 16 bytes.

    `revision` grows with each change that hacli distributes (`hacluster.shared_files`); `highest_id`: the
    highest node id that was ever given, because a removed node's id is not given again.
    """

    cluster_name: str
    cluster_id: bytes
    timers: Timers = field(default_factory=Timers)
    quorum: Quorum = field(default_factory=Quorum)
    ports: Ports = field(default_factory=Ports)
    links: tuple[Link, ...] = ()
    nodes: tuple[Node, ...] = ()
    insecure: bool = False
    allow_diskless: bool = False
    witness: Witness | None = None
    revision: int = 0
    highest_id: int = 0
    backend: str = BUILTIN

    def node(self, name: str) -> Node | None:
        """The configured node of that name, or None."""
        return next((node for node in self.nodes if node.name == name), None)

    def node_by_id(self, node_id: int) -> Node | None:
        """The configured node of that id, or None."""
        return next((node for node in self.nodes if node.id == node_id), None)

    def quorum_config(self) -> QuorumConfig:
        """What counts until the CIB log holds a configuration of its own."""
        order = self._tiebreak_order()
        return QuorumConfig(
            voters=tuple((node.id, node.votes) for node in self.nodes if node.votes > 0),
            two_node=self.quorum.two_node,
            wait_for_all=self.quorum.wait_for_all,
            tiebreak=order[0] if order else None,
            tiebreak_order=order,
            lms_window_ms=self.quorum.lms_window_ms if self.quorum.last_man_standing else 0,
            witness_votes=self.witness.votes if self.witness is not None else 0,
        )

    def _tiebreak_order(self) -> tuple[NodeId, ...]:
        """Against the configured voters, whoever happens to be up."""
        quorum, voters = self.quorum, sorted(node.id for node in self.nodes if node.votes > 0)
        if quorum.tiebreak:
            named = self.node(quorum.tiebreak)
            return (named.id,) if named else ()
        if isinstance(quorum.tie_breakers, str):
            return tuple(voters if quorum.tie_breakers == "lowest" else voters[::-1])
        nodes = [self.node(name) for name in quorum.tie_breakers]
        return tuple(node.id for node in nodes if node is not None and node.id in voters)


def load(path: Path) -> Settings:
    """Read and check the file. Raises InvalidDocuments naming each mistake."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidDocuments(
            errors=(_error(path, 0, "the file does not exist", "make it with `hacli cluster init`"),)
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDocuments(errors=(_error(path, 0, str(error), "make it readable"),)) from None
    return parse(text, source=str(path))


def parse(text: str, *, source: str = "cluster.toml") -> Settings:
    """Check the text. Raises InvalidDocuments naming each mistake."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"line (\d+)", str(error))
        line = int(match[1]) if match else 0
        raise InvalidDocuments(errors=(_error(source, line, str(error), "correct the TOML"),)) from None
    reader = _Reader(data, text, source)
    settings = reader.read()
    if reader.errors:
        raise InvalidDocuments(errors=tuple(sorted(reader.errors, key=lambda error: error.line)))
    return settings


def _error(source: object, line: int, what: str, remedy: str) -> InvalidDocument:
    return InvalidDocument(source=str(source), line=line, what=what, remedy=remedy)


_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "": ("cluster", "timers", "quorum", "witness", "ports", "link", "node"),
    "witness": ("address", "port", "device", "votes"),
    "cluster": ("name", "id", "insecure", "allow_diskless", "revision", "highest_id", "backend"),
    "timers": ("keepalive", "warntime", "deadtime", "initdead", "deadping"),
    "quorum": (
        "two_node",
        "wait_for_all",
        "tiebreak",
        "auto_tie_breaker",
        "last_man_standing",
        "lms_window",
    ),
    "ports": ("crm", "lrm", "api"),
    "link": ("kind", "port", "interface", "group", "ttl", "targets", "device", "baud", "mtu"),
    "node": ("id", "name", "addresses", "votes", "diskless"),
}
_LINK_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "udp": ("port", "interface", "mtu"),
    "mcast": ("port", "interface", "mtu", "group", "ttl"),
    "bcast": ("port", "interface", "mtu"),
    "serial": ("device", "baud"),
    "ping": ("targets",),
    "ping_group": ("targets",),
}


class _Reader:
    """One pass over the parsed document; collects errors instead of raising."""

    def __init__(self, data: Mapping[str, Any], text: str, source: str) -> None:
        self.data, self.text, self.source = data, text, source
        self.errors: list[InvalidDocument] = []

    def read(self) -> Settings:
        self._known("", self.data, 0)
        cluster = self._table("cluster")
        links = tuple(self._link(item, n) for n, item in enumerate(self._tables("link")))
        nodes = tuple(self._node(item, n, links) for n, item in enumerate(self._tables("node")))
        settings = Settings(
            cluster_name=self._text("cluster", 0, cluster, "name", "hacluster"),
            cluster_id=self._cluster_id(cluster),
            timers=self._timers(self._table("timers")),
            quorum=self._quorum(self._table("quorum"), nodes),
            ports=self._ports(self._table("ports")),
            links=links,
            nodes=nodes,
            insecure=self._flag("cluster", cluster, "insecure", False),
            allow_diskless=self._flag("cluster", cluster, "allow_diskless", False),
            witness=self._witness(self._table("witness")),
            revision=self._number("cluster", 0, cluster, "revision", 0, 0, 2**53),
            highest_id=self._number("cluster", 0, cluster, "highest_id", 0, 0, 65_534),
            backend=self._backend(cluster),
        )
        self._whole(settings)
        return settings

    def fail(self, table: str, index: int, key: str, what: str, remedy: str) -> None:
        self.errors.append(_error(self.source, line_of(self.text, table, index, key), what, remedy))

    def _known(self, table: str, values: Mapping[str, Any], index: int) -> None:
        for key in values:
            if key not in _KNOWN[table]:
                close = difflib.get_close_matches(key, _KNOWN[table], 1)
                place = f"[{table}]" if table else "the file"
                remedy = f"did you mean {close[0]}?" if close else "one of " + ", ".join(_KNOWN[table])
                where = (table, key) if table else (key, "")
                self.fail(where[0], index, where[1], f"{key!r} is not known in {place}", remedy)

    def _table(self, name: str) -> Mapping[str, Any]:
        value = self.data.get(name, {})
        if not isinstance(value, dict):
            self.fail("", 0, name, f"{name} must be a table", f"write [{name}] on a line of its own")
            return {}
        self._known(name, value, 0)
        return value

    def _tables(self, name: str) -> list[Mapping[str, Any]]:
        value = self.data.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.fail(name, 0, "", f"{name} must be a list of tables", f"write [[{name}]] before each")
            return []
        for index, item in enumerate(value):
            self._known(name, item, index)
        return value

    def _text(self, table: str, index: int, values: Mapping[str, Any], key: str, default: str) -> str:
        value = values.get(key, default)
        if not isinstance(value, str):
            self.fail(table, index, key, f"{key} must be text", f'write {key} = "..."')
            return default
        return value

    def _flag(self, table: str, values: Mapping[str, Any], key: str, default: bool) -> bool:
        value = values.get(key, default)
        if not isinstance(value, bool):
            self.fail(table, 0, key, f"{key} must be true or false", "no quotes, lower case")
            return default
        return value

    def _number(
        self, table: str, index: int, values: Mapping[str, Any], key: str, default: int, low: int, high: int
    ) -> int:
        value = values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.fail(table, index, key, f"{key} = {value!r} is out of bounds", f"a number {low} to {high}")
            return default
        return value

    def _cluster_id(self, cluster: Mapping[str, Any]) -> bytes:
        value = cluster.get("id", "")
        if not isinstance(value, str) or not re.fullmatch(r"[0-9a-fA-F]{32}", value):
            remedy = "32 hexadecimal digits, the same on every node; `hacli cluster init` makes them"
            self.fail("cluster", 0, "id" if "id" in cluster else "", "the cluster has no valid id", remedy)
            return b"\0" * 16
        return bytes.fromhex(value)

    def _duration(
        self, values: Mapping[str, Any], key: str, default_ms: int, *, table: str = "timers"
    ) -> int:
        value = values.get(key)
        if value is None:
            return default_ms
        try:
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
            found_ms = int(value * 1_000) if is_number else parse_ms(str(value))
        except OverflowError:  # inf
            found_ms = TIMER_MS_MAX + 1
        except ValueError as error:
            self.fail(table, 0, key, f"{key}: {error}", 'for example "250ms" or 2')
            return default_ms
        if found_ms > TIMER_MS_MAX:
            self.fail(table, 0, key, f"{key} = {value!r} is more than a day", 'for example "250ms" or 2')
            return default_ms
        return found_ms

    def _timers(self, values: Mapping[str, Any]) -> Timers:
        keepalive = self._duration(values, "keepalive", 250)
        auto = values.get("deadtime") == "auto"
        begin = max(2_500, 10 * keepalive) if auto else 2_500
        deadtime = begin if auto else self._duration(values, "deadtime", begin)
        timers = Timers(
            keepalive_ms=keepalive,
            deadtime_ms=deadtime,
            warntime_ms=self._duration(values, "warntime", deadtime // 2),
            initdead_ms=self._duration(values, "initdead", max(30_000, 2 * deadtime)),
            deadping_ms=self._duration(values, "deadping", deadtime),
            deadtime_auto=auto,
        )
        rules = (
            (20 <= timers.keepalive_ms <= 60_000, "keepalive", "keepalive must be 20 ms to 60 s"),
            (timers.deadtime_ms > 2 * timers.keepalive_ms, "deadtime", "deadtime must exceed 2 x keepalive"),
            (
                timers.keepalive_ms < timers.warntime_ms < timers.deadtime_ms,
                "warntime",
                "warntime must lie between keepalive and deadtime",
            ),
            (timers.initdead_ms >= 2 * timers.deadtime_ms, "initdead", "initdead must be >= 2 x deadtime"),
            (timers.deadping_ms > timers.keepalive_ms, "deadping", "deadping must exceed keepalive"),
        )
        now = "now " + ", ".join(
            f"{name[:-3]} {value} ms" for name, value in asdict(timers).items() if name.endswith("_ms")
        )
        for holds, key, what in rules:
            if not holds:
                self.fail("timers", 0, key, what, now)
        return timers

    def _backend(self, cluster: Mapping[str, Any]) -> str:
        backend = self._text("cluster", 0, cluster, "backend", BUILTIN)
        if backend not in (BUILTIN, COROSYNC):
            self.fail("cluster", 0, "backend", f"{backend!r} is no backend", f"{BUILTIN} or {COROSYNC}")
        elif backend == COROSYNC and self.data.get("witness"):
            what = "a witness of ours has no vote among corosync's"
            self.fail("witness", 0, "", what, "corosync-qdevice is that there")
        return backend

    def _witness(self, values: Mapping[str, Any]) -> Witness | None:
        if not values:
            return None
        votes = self._number("witness", 0, values, "votes", 1, 1, 1_000)
        address, device = values.get("address", ""), values.get("device", "")
        if device:
            if not isinstance(device, str) or not device.startswith("/"):
                self.fail("witness", 0, "device", f"{device!r} is no absolute path", "/dev/disk/by-id/...")
            if address:
                what = "a witness is a machine (address) or a disk (device)"
                self.fail("witness", 0, "device", what, "keep one of the two")
            return Witness(device=str(device), votes=votes)
        try:
            ipaddress.ip_address(address)
        except ValueError:
            self.fail("witness", 0, "address", f"{address!r} is not an IP address", "where ha-qnet listens")
            return None
        return Witness(
            address=address,
            port=self._number("witness", 0, values, "port", 5562, 1, 65_535),
            votes=votes,
        )

    def _ports(self, values: Mapping[str, Any]) -> Ports:
        ports = Ports(
            crm=self._number("ports", 0, values, "crm", 5560, 1, 65_535),
            lrm=self._number("ports", 0, values, "lrm", 5561, 1, 65_535),
            api=self._number("ports", 0, values, "api", 0, 0, 65_535),
        )
        if ports.api in (ports.crm, ports.lrm):
            self.fail(
                "ports", 0, "api", f"port {ports.api} is the nodes' own", "choose another, such as 5564"
            )
        return ports

    def _quorum(self, values: Mapping[str, Any], nodes: tuple[Node, ...]) -> Quorum:
        two_node = self._flag("quorum", values, "two_node", False)
        if two_node and sum(1 for node in nodes if node.votes) != 2:
            self.fail("quorum", 0, "two_node", "two_node needs exactly two voting nodes", "remove it")
        tiebreak = values.get("tiebreak")
        if tiebreak is not None and tiebreak not in {node.name for node in nodes}:
            self.fail("quorum", 0, "tiebreak", f"tiebreak {tiebreak!r} is no node", "name a [[node]]")
            tiebreak = None
        lms = self._flag("quorum", values, "last_man_standing", False)
        if "lms_window" in values and not lms:
            what = "lms_window without last_man_standing"
            self.fail("quorum", 0, "lms_window", what, "add last_man_standing = true")
        window_ms = self._duration(values, "lms_window", 10_000, table="quorum") if lms else 10_000
        if window_ms < 1_000:
            self.fail("quorum", 0, "lms_window", "lms_window must be 1 s or more", "10 s is the default")
        return Quorum(
            two_node=two_node,
            wait_for_all=self._flag("quorum", values, "wait_for_all", two_node),
            tiebreak=tiebreak,
            tie_breakers=self._tie_breakers(values, nodes),
            last_man_standing=lms,
            lms_window_ms=window_ms,
        )

    def _tie_breakers(self, values: Mapping[str, Any], nodes: tuple[Node, ...]) -> str | tuple[NodeName, ...]:
        value = values.get("auto_tie_breaker", ())
        if value in ("lowest", "highest"):
            return str(value)
        names = {node.name for node in nodes if node.votes}
        if not isinstance(value, list | tuple) or not all(name in names for name in value):
            what = f"{value!r} is no tie-breaker"
            remedy = '"lowest", "highest", or a list of names of voting nodes'
            self.fail("quorum", 0, "auto_tie_breaker", what, remedy)
            return ()
        if value and "tiebreak" in values:
            what = "tiebreak and auto_tie_breaker say the same thing"
            self.fail("quorum", 0, "auto_tie_breaker", what, "keep one of them")
        return tuple(NodeName(name) for name in value)

    def _link(self, values: Mapping[str, Any], index: int) -> Link:
        kind = self._text("link", index, values, "kind", "udp")
        if kind not in LINK_KINDS:
            self.fail("link", index, "kind", f"{kind!r} is no kind of link", "one of " + " ".join(LINK_KINDS))
            return Link(kind="udp")
        for key in values:
            if key != "kind" and key in _KNOWN["link"] and key not in _LINK_KEYS[kind]:
                remedy = "remove it; such a link has " + ", ".join(_LINK_KEYS[kind])
                self.fail("link", index, key, f"{key} means nothing on a {kind} link", remedy)
        link = Link(
            kind=kind,
            port=self._number("link", index, values, "port", 694, 1, 65_535),
            interface=self._text("link", index, values, "interface", ""),
            group=self._text("link", index, values, "group", ""),
            ttl=self._number("link", index, values, "ttl", 1, 0, 255),
            targets=self._addresses("link", index, values, "targets"),
            device=self._text("link", index, values, "device", ""),
            baud=self._number("link", index, values, "baud", 19_200, 300, 4_000_000),
            mtu=self._number("link", index, values, "mtu", 1_428, 576, 65_535),
        )
        if kind == "mcast" and not _is_multicast(link.group):
            self.fail(
                "link", index, "group", "group must be a multicast address", 'such as group = "225.0.0.1"'
            )
        if kind in ("ping", "ping_group") and not link.targets:
            self.fail("link", index, "targets", f"a {kind} link needs targets", 'targets = ["192.0.2.1"]')
        if kind == "serial" and not link.device:
            self.fail("link", index, "device", "a serial link needs a device", 'device = "/dev/ttyS0"')
        return link

    def _addresses(self, table: str, index: int, values: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.fail(table, index, key, f"{key} must be a list of addresses", f'{key} = ["192.0.2.1"]')
            return ()
        for item in value:
            try:
                ipaddress.ip_address(item)
            except ValueError:
                self.fail(table, index, key, f"{item!r} is not an IP address", "write the address, no name")
        return tuple(value)

    def _node(self, values: Mapping[str, Any], index: int, links: tuple[Link, ...]) -> Node:
        name = self._text("node", index, values, "name", "")
        if not NODE_NAME.fullmatch(name):
            self.fail("node", index, "name", f"{name!r} is not a node name", "as `uname -n` prints it")
        addresses = self._addresses("node", index, values, "addresses")
        carriers = sum(1 for link in links if link.kind in ("udp", "mcast", "bcast"))
        if len(addresses) < max(1, carriers):
            what = f"node {name} has {len(addresses)} addresses for {carriers} links"
            self.fail("node", index, "addresses", what, "one address for each link, in their order")
        diskless = values.get("diskless", False)
        if not isinstance(diskless, bool):
            self.fail("node", index, "diskless", "diskless must be true or false", "no quotes, lower case")
            diskless = False
        return Node(
            id=NodeId(self._number("node", index, values, "id", 0, 1, 65_534)),
            name=NodeName(name),
            addresses=addresses,
            votes=self._number("node", index, values, "votes", 0 if diskless else 1, 0, 1_000),
            diskless=diskless,
        )

    def _whole(self, settings: Settings) -> None:
        if not settings.nodes:
            self.fail("", 0, "", "there is no [[node]]", "describe each node of the cluster")
        carriers = [link for link in settings.links if link.kind in ("udp", "mcast", "bcast", "serial")]
        if not 1 <= len(carriers) <= LINKS_MAX:
            self.fail("link", 0, "", f"{len(carriers)} links carry heartbeats", f"1 to {LINKS_MAX} [[link]]")
        for what in ("id", "name"):
            seen: dict[object, int] = {}
            for index, node in enumerate(settings.nodes):
                value = getattr(node, what)
                if value in seen:
                    self.fail("node", index, what, f"two nodes have the {what} {value}", "make it unique")
                seen[value] = index
        for index, node in enumerate(settings.nodes):
            if node.diskless and not settings.allow_diskless:
                what = f"node {node.name} is diskless, and the cluster does not allow that"
                self.fail("node", index, "diskless", what, "say allow_diskless = true in [cluster]")
            if node.diskless and node.votes:
                what = f"node {node.name} is diskless: it cannot vote"
                self.fail("node", index, "votes", what, "votes = 0, or give it a disk")
        if settings.witness is not None and settings.quorum.two_node:
            what = "two_node and a [witness] say two different things"
            self.fail("quorum", 0, "two_node", what, "with a witness, two_node = false")
        owners: dict[str, int] = {}
        for index, node in enumerate(settings.nodes):
            for address in dict.fromkeys(node.addresses):
                if owners.setdefault(address, index) != index:
                    self.fail(
                        "node", index, "addresses", f"two nodes have the address {address}", "correct one"
                    )


def _is_multicast(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_multicast
    except ValueError:
        return False
