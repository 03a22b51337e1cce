"""corosync.conf -> settings, for the import. Pure; every key is taken, named as left out, or an error."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from hacluster.digits import is_count
from hacluster.errors import InvalidDocument, InvalidDocuments
from hacluster.ha_cf import cluster_id
from hacluster.settings import BUILTIN, COROSYNC, NODE_NAME, Link, Node, Quorum, Settings, Timers, Witness
from hacluster.vocabulary.ids import NodeId, NodeName

Resolve = Callable[[str], Sequence[str]]
"""Addresses of a host name, in order; none when it is not known."""

# What corosync 3 does without the key.
TOKEN_MS_DEFAULT: Final = 3_000
COEFFICIENT_MS_DEFAULT: Final = 650
LMS_WINDOW_MS_DEFAULT: Final = 10_000
RINGS_MAX: Final = 8

_KEEPALIVES_A_DEADTIME: Final = 10
_KEEPALIVE_MS_MIN: Final = 20
_KEEPALIVE_MS_MAX: Final = 1_000
_INITDEAD_MS_MIN: Final = 30_000

IGNORED: Final[Mapping[str, str]] = {
    "logging": "logs go to the journal, or to standard error",
    "system": "priority and memory are the service units' matter",
    "resources": "watchdogs are ha-sentinel's",
    "nozzle": "there are no tap devices",
    "uidgid": "sockets belong to the services' users",
    "service": "no services are loaded into one another",
    "totem.interface": "there is a [[link]] for each ring; ports are our own",
}
_TOTEM_KEYS: Final = """
    version cluster_name transport token token_coefficient secauth crypto_cipher crypto_hash
    crypto_model keyfile key link_mode ip_version netmtu rrp_mode consensus join send_join merge
    window_size max_messages max_network_delay miss_count_const rrp_problem_count_timeout
    token_warning hold retransmit downcheck token_retransmit token_retransmits_before_loss_const
    fail_recv_const seqno_unchanged_const heartbeat_failures_allowed threads knet_compression_model
    knet_compression_threshold knet_compression_level knet_pmtud_interval knet_mtu
    cancel_token_hold_on_retransmit block_unlisted_ips nodeid clear_node_high_bit config_version
    allow_knet_handle_fallback
"""
_QUORUM_KEYS: Final = """
    provider expected_votes votes two_node wait_for_all last_man_standing last_man_standing_window
    auto_tie_breaker auto_tie_breaker_node allow_downscale expected_votes_tracking
"""
_TOTEM: Final = tuple(_TOTEM_KEYS.split())
_QUORUM: Final = tuple(_QUORUM_KEYS.split())
_NODE: Final = ("name", "nodeid", "quorum_votes", *(f"ring{n}_addr" for n in range(RINGS_MAX)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What a corosync.conf says. `notes` tell what was taken how; `warnings`: what is lost."""

    settings: Settings
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Section:
    """`values`: key -> (value, line)."""

    name: str
    line: int
    values: dict[str, tuple[str, int]] = field(default_factory=dict)
    inside: list[_Section] = field(default_factory=list)

    def all(self, name: str) -> Iterator[_Section]:
        return (one for one in self.inside if one.name == name)


def convert(
    text: str,
    *,
    source: str = "corosync.conf",
    keep_corosync: bool = False,
    resolve: Resolve = lambda _host: (),
    hosts: str = "/etc/hosts",
) -> Converted:
    """Read the text. Raises InvalidDocuments with everything that is wrong, each with its line.

    With `keep_corosync` the cluster goes on with corosync's messaging.
    """
    reader = _Reader(source, keep_corosync, resolve, hosts)
    reader.parse(text)
    converted = reader.finish() if not reader.errors else None
    if reader.errors or converted is None:
        raise InvalidDocuments(errors=tuple(sorted(reader.errors, key=lambda error: error.line)))
    return converted


class _Reader:
    """One pass over the lines, one over the sections."""

    def __init__(self, source: str, keep_corosync: bool, resolve: Resolve, hosts: str) -> None:
        self._source, self._keep, self._resolve, self._hosts = source, keep_corosync, resolve, hosts
        self._top = _Section("", 0)
        self.errors: list[InvalidDocument] = []
        self._notes: list[str] = []
        self._warnings: list[str] = []

    def _fail(self, line: int, what: str, remedy: str) -> None:
        self.errors.append(InvalidDocument(source=self._source, line=line, what=what, remedy=remedy))

    def parse(self, text: str) -> None:
        """`name {`, `key: value`, `}`, and comments."""
        path = [self._top]
        for number, raw in enumerate(text.splitlines(), start=1):
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            if line.endswith("{"):
                section = _Section(line[:-1].strip(), number)
                path[-1].inside.append(section)
                path.append(section)
            elif line == "}":
                if len(path) == 1:
                    self._fail(number, "a } that closes nothing", "remove it")
                    continue
                path.pop()
            elif ":" in line and len(path) > 1:
                key, _, value = line.partition(":")
                path[-1].values[key.strip()] = (value.strip(), number)
            else:
                self._fail(number, f"{line!r} is no section and no key", "write `key: value` in a section")
        if len(path) > 1:
            self._fail(path[-1].line, f"the section {path[-1].name} is not closed", "add a }")

    # Values.

    def _known(self, section: _Section, known: Sequence[str]) -> None:
        for key, (_, line) in section.values.items():
            if key not in known:
                close = difflib.get_close_matches(key, known, 1)
                remedy = f"did you mean {close[0]}?" if close else "corosync.conf(5) does not know it either"
                self._fail(line, f"{key} is not known in {section.name}", remedy)

    def _number(self, section: _Section, key: str, default: int, low: int = 0, high: int = 10**7) -> int:
        value, line = section.values.get(key, (str(default), section.line))
        if not is_count(value) or not low <= int(value) <= high:
            self._fail(line, f"{key} is {value!r}", f"a number from {low} to {high}")
            return default
        return int(value)

    def _flag(self, section: _Section, key: str, default: bool = False) -> bool:
        return bool(self._number(section, key, int(default), 0, 1))

    def _one(self, name: str) -> _Section:
        found = list(self._top.all(name))
        for more in found[1:]:
            self._fail(more.line, f"a second section {name}", "one of each")
        return found[0] if found else _Section(name, 0)

    # The whole.

    def finish(self) -> Converted | None:
        totem, quorum, nodelist = self._one("totem"), self._one("quorum"), self._one("nodelist")
        for section in self._top.inside:
            if section.name in IGNORED:
                self._notes.append(self._left_out(section, section.name))
            elif section.name not in ("totem", "quorum", "nodelist"):
                self._fail(section.line, f"section {section.name} is not known", "see corosync.conf(5)")
        self._known(totem, _TOTEM)
        for section in totem.inside:
            if section.name == "interface":
                self._notes.append(self._left_out(section, "totem.interface"))
            else:
                self._fail(section.line, f"section {section.name} is not known in totem", "interface")
        nodes = self._nodes(nodelist)
        if self.errors:
            return None
        name = totem.values.get("cluster_name", ("hacluster", 0))[0] or "hacluster"
        tokens = self._timers(totem, len(nodes))
        rules, witness = self._quorum(quorum, nodes)
        if self.errors:
            return None
        settings = Settings(
            cluster_name=name,
            cluster_id=cluster_id(name, [node.name for node in nodes]),
            timers=tokens,
            quorum=rules,
            links=(Link(kind="udp"),) * len(nodes[0].addresses),
            nodes=nodes,
            witness=witness,
            backend=COROSYNC if self._keep else BUILTIN,
        )
        return Converted(settings=settings, notes=tuple(self._notes), warnings=tuple(self._warnings))

    def _left_out(self, section: _Section, why: str) -> str:
        return f"{self._source}:{section.line}: {section.name} is left out: {IGNORED[why]}"

    def _timers(self, totem: _Section, nodes: int) -> Timers:
        """deadtime is what corosync calls its token, with the coefficient of the nodes beyond two."""
        token_ms = self._number(totem, "token", TOKEN_MS_DEFAULT, 100)
        more_ms = max(0, nodes - 2) * self._number(totem, "token_coefficient", COEFFICIENT_MS_DEFAULT)
        deadtime_ms = token_ms + more_ms
        keepalive_ms = max(_KEEPALIVE_MS_MIN, min(_KEEPALIVE_MS_MAX, deadtime_ms // _KEEPALIVES_A_DEADTIME))
        timers = Timers(
            keepalive_ms=keepalive_ms,
            warntime_ms=deadtime_ms // 2,
            deadtime_ms=deadtime_ms,
            initdead_ms=max(_INITDEAD_MS_MIN, 2 * deadtime_ms),
            deadping_ms=deadtime_ms,
        )
        line = totem.values.get("token", ("", totem.line))[1]
        self._notes.append(
            f"{self._source}:{line}: token {token_ms} ms"
            + (f" and {more_ms} ms for {nodes} nodes" if more_ms else "")
            + f": deadtime {deadtime_ms} ms, keepalive {keepalive_ms} ms"
        )
        return timers

    # Nodes.

    def _nodes(self, nodelist: _Section) -> tuple[Node, ...]:
        sections = list(nodelist.all("node"))
        if not sections:
            self._fail(
                nodelist.line, "there is no nodelist with nodes", "list each node with nodeid and name"
            )
        nodes = [node for section in sections if (node := self._node(section)) is not None]
        for what in ("id", "name"):
            seen: dict[object, int] = {}
            for node, section in zip(nodes, sections, strict=False):
                if (value := getattr(node, what)) in seen:
                    self._fail(section.line, f"two nodes have the {what} {value}", "make it unique")
                seen[value] = section.line
        for node, section in zip(nodes, sections, strict=False):
            if len(node.addresses) != len(nodes[0].addresses):
                here, first = len(node.addresses), len(nodes[0].addresses)
                what = f"node {node.name} has {here} rings, {nodes[0].name} has {first}"
                self._fail(section.line, what, "the same rings on every node")
        return tuple(nodes)

    def _node(self, section: _Section) -> Node | None:
        self._known(section, _NODE)
        if "nodeid" not in section.values:
            self._fail(section.line, "a node has no nodeid", "write the one that corosync-quorumtool shows")
            return None
        number = self._number(section, "nodeid", 1, 1, 65_534)
        rings = [
            section.values[f"ring{n}_addr"] for n in range(RINGS_MAX) if f"ring{n}_addr" in section.values
        ]
        if not rings:
            self._fail(section.line, f"node {number} has no ring0_addr", "its address")
            return None
        name, line = section.values.get("name", rings[0])
        if not NODE_NAME.fullmatch(name) or _is_address(name):
            self._fail(line, f"{name!r} is no node's name", "add `name:` with what `uname -n` says there")
            return None
        addresses = [self._address(*ring) for ring in rings]
        votes = self._number(section, "quorum_votes", 1, 0, 1_000)
        return Node(id=NodeId(number), name=NodeName(name), addresses=tuple(addresses), votes=votes)

    def _address(self, host: str, line: int) -> str:
        if _is_address(host):
            return host
        found = self._resolve(host)
        if not found:
            self._fail(line, f"the address of {host} is not known", f"add it to {self._hosts}")
            return host
        return found[0]

    # Quorum.

    def _quorum(self, quorum: _Section, nodes: Sequence[Node]) -> tuple[Quorum, Witness | None]:
        self._known(quorum, _QUORUM)
        if quorum.values.get("provider", ("corosync_votequorum", 0))[0] != "corosync_votequorum":
            value, line = quorum.values["provider"]
            self._fail(line, f"provider {value} is not known", "corosync_votequorum")
        two_node = self._flag(quorum, "two_node")
        if two_node and len(nodes) != 2:
            line = quorum.values["two_node"][1]
            self._fail(line, f"two_node with {len(nodes)} nodes", "two_node: 0, or exactly two nodes")
        votes = sum(node.votes for node in nodes)
        expected, line = quorum.values.get("expected_votes", (str(votes), 0))
        if expected != str(votes):
            self._warnings.append(
                f"{self._source}:{line}: expected_votes {expected} is left out: the nodes have {votes}"
            )
        if self._flag(quorum, "allow_downscale"):
            line = quorum.values["allow_downscale"][1]
            self._warnings.append(
                f"{self._source}:{line}: allow_downscale is left out: a node that leaves goes on to count"
            )
        window_ms = self._number(quorum, "last_man_standing_window", LMS_WINDOW_MS_DEFAULT, 1)
        witness = self._device(quorum)
        rules = Quorum(
            two_node=two_node and witness is None,
            wait_for_all=self._flag(quorum, "wait_for_all", two_node),
            tie_breakers=self._tie_breakers(quorum, nodes),
            last_man_standing=self._flag(quorum, "last_man_standing"),
            lms_window_ms=window_ms,
        )
        return rules, witness

    def _tie_breakers(self, quorum: _Section, nodes: Sequence[Node]) -> str | tuple[NodeName, ...]:
        if not self._flag(quorum, "auto_tie_breaker"):
            return ()
        value, line = quorum.values.get("auto_tie_breaker_node", ("lowest", 0))
        if value in ("lowest", "highest"):
            return value
        names = {str(node.id): node.name for node in nodes}
        for word in value.split():
            if word not in names:
                self._fail(
                    line, f"auto_tie_breaker_node names {word}, which is no nodeid", "lowest, or nodeids"
                )
        return tuple(names[word] for word in value.split() if word in names)

    def _device(self, quorum: _Section) -> Witness | None:
        for section in quorum.inside:
            if section.name != "device":
                self._fail(section.line, f"section {section.name} is not known in quorum", "device")
        device = next(quorum.all("device"), None)
        if device is None or self._keep:
            return None
        where = f"{self._source}:{device.line}"
        model = device.values.get("model", ("", device.line))[0]
        net = next(device.all("net"), _Section("net", device.line))
        host, line = net.values.get("host", ("", net.line))
        if model != "net" or not host:
            self._warnings.append(f"{where}: a quorum device of model {model or 'none'} is left out")
            return None
        address = self._address(host, line)
        if not self.errors:
            self._warnings.append(
                f"{where}: the qnetd on {host} becomes a witness: ha-qnet has to run there instead of "
                "corosync-qnetd (docs/manual/messaging.md, Witness)"
            )
        return Witness(address=address)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
