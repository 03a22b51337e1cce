"""Heartbeat's haresources -> a CIB: groups, where they prefer to be, and what watches them. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from crm.cib.model import Element, element
from hacluster.digits import is_count
from hacluster.errors import InvalidDocument, InvalidDocuments

MONITOR_INTERVAL: Final = "10s"
PREFERENCE: Final = "100"
WEB_SERVERS: Final = ("httpd", "apache", "apache2")
_DOCROOT_DEFAULT: Final = "/var/www/html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """What a name of haresources stands for, and how it was found, in words."""

    standard: str
    provider: str = ""
    type: str
    how: str

    @property
    def text(self) -> str:
        """standard:provider:type."""
        return ":".join(one for one in (self.standard, self.provider, self.type) if one)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What is installed where the import runs: questions that the shell answers from the file system."""

    resource_d: Callable[[str], bool] = lambda _name: False
    init_d: Callable[[str], bool] = lambda _name: False
    heartbeat_ocf: Callable[[str], bool] = lambda _name: False
    systemd: Callable[[str], bool] = lambda _name: False


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What ha.cf decides. `nodes` are (id, name); `as_is`: our own agents are not preferred."""

    nodes: Sequence[tuple[int, str]]
    auto_failback: bool
    stonith: bool
    cluster_name: str = ""
    as_is: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """The CIB, and for each name what it was taken for."""

    cib: Element
    notes: tuple[str, ...]


# Our own agents: what the arguments of the old script are called, and the timeouts that their meta-data
# advise where these are longer than the default.
@dataclass(frozen=True, slots=True)
class _Ours:
    type: str
    parameters: tuple[str, ...] = ()
    timeouts: Mapping[str, str] = field(default_factory=dict)


_OURS: Final[Mapping[str, _Ours]] = {
    "IPaddr": _Ours("IPaddr"),
    "IPaddr2": _Ours("IPaddr"),
    "Filesystem": _Ours(
        "Filesystem",
        ("device", "directory", "fstype", "options"),
        {"start": "60s", "stop": "60s", "monitor": "40s"},
    ),
    "Delay": _Ours("Delay", ("startdelay", "stopdelay", "mondelay")),
    "IPsrcaddr": _Ours("IPsrcaddr", ("ipaddress",)),
    "MailTo": _Ours("MailTo", ("email", "subject")),
    "Dummy": _Ours("Dummy"),
}


@dataclass(frozen=True, slots=True)
class _Arguments:
    """What the arguments of one of heartbeat's scripts are called by the OCF agent of that name.

    `least`: how many there must be; of the others the last may be left out. `usage` for who gave other ones.
    """

    names: tuple[str, ...]
    least: int
    usage: str
    none_too: bool = False


_OCF: Final[Mapping[str, _Arguments]] = {
    "ICP": _Arguments(("driveid", "device"), 2, "ICP::DRIVEID::DEVICE"),
    "LVM": _Arguments(("volgrpname",), 1, "LVM::VOLUMEGROUP"),
    "LinuxSCSI": _Arguments(("scsi",), 1, "LinuxSCSI::HOST:CHANNEL:TARGET[:LUN]"),
    "Raid1": _Arguments(("raidconf", "raiddev"), 2, "Raid1::CONFIGFILE::DEVICE"),
    "ServeRAID": _Arguments(("serveraid", "mergegroup"), 2, "ServeRAID::NUMBER::MERGEGROUP"),
    "WinPopup": _Arguments(("hostfile",), 0, "WinPopup[::HOSTFILE]"),
    "Xinetd": _Arguments(("service",), 1, "Xinetd::SERVICE"),
    "apache": _Arguments(("configfile",), 0, "apache[::CONFIGFILE]"),
    "db2": _Arguments(("instance",), 1, "db2::OWNER"),
    "ids": _Arguments(
        ("informixdir", "informixserver", "onconfig"), 3, "ids[::DIR::SERVER::ONCONFIG]", none_too=True
    ),
    "portblock": _Arguments(("protocol", "portno", "action"), 3, "portblock::tcp|udp::PORTS::block|unblock"),
}
_WAS: Final = _Arguments(("config",), 0, "WAS[::CONFIGFILE or PORT]")
_SPECIAL: Final = frozenset(("AudibleAlarm", "IPv6addr", "SendArp", "WAS"))
_IPV6: Final = {"ip": "ipv6addr"}
_WEB: Final = _Ours("WebServer", (), {"start": "40s", "stop": "60s"})


def convert(text: str, options: Options, installed: Installed, *, source: str = "haresources") -> Converted:
    """Read the text. Raises InvalidDocuments with everything that is wrong."""
    reader = _Reader(source, options, installed)
    for number, line in _lines(text):
        reader.line(number, line)
    if not reader.groups and not reader.errors:
        reader.fail(0, "no resources", "lines NODE RESOURCE RESOURCE …")
    if reader.errors:
        raise InvalidDocuments(errors=tuple(reader.errors))
    return Converted(cib=_cib(options, reader), notes=tuple(reader.notes))


def _lines(text: str) -> list[tuple[int, str]]:
    """Logical lines with the number of their first physical one."""
    found: list[tuple[int, str]] = []
    parts: list[str] = []
    start = 0
    for number, physical in enumerate(text.splitlines(), start=1):
        line = re.sub(r"(^|\s)#.*", "", physical).rstrip()
        if not parts:
            start = number
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        parts.append(line)
        joined = " ".join(parts).strip()
        parts = []
        if joined:
            found.append((start, joined))
    joined = " ".join(parts).strip()
    return [*found, (start, joined)] if joined else found


@dataclass(slots=True)
class _Reader:
    source: str
    options: Options
    installed: Installed
    groups: list[Element] = field(default_factory=list)
    locations: list[Element] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    errors: list[InvalidDocument] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    seen: dict[str, int] = field(default_factory=dict)

    def fail(self, line: int, what: str, remedy: str) -> None:
        self.errors.append(InvalidDocument(source=self.source, line=line, what=what, remedy=remedy))

    def line(self, number: int, line: str) -> None:
        """One line: one group."""
        first, *resources = line.split()
        node = next((name for _id, name in self.options.nodes if name.lower() == first.lower()), "")
        if not node:
            names = ", ".join(name for _id, name in self.options.nodes)
            self.fail(
                number, f"{first!r} is no node of ha.cf", f"one of {names}, as `uname -n` prints it there"
            )
        if not resources:
            self.fail(number, f"{first} gets no resources", "NODE RESOURCE RESOURCE …")
        members: list[Element] = []
        docroot = ""
        for word in resources:
            if word in self.seen:
                self.fail(
                    number,
                    f"{word} is in line {self.seen[word]} already",
                    "a resource may run once: remove one",
                )
                continue
            self.seen[word] = number
            member = self._resource(number, word, docroot)
            if member is None:
                continue
            members.append(member)
            if member.get("type") == "Filesystem":
                docroot = _parameter(member, "directory") or docroot
        if node and members:
            group = self._id(f"group_{len(self.groups) + 1}")
            self.groups.append(element("group", {"id": group}, *members))
            attributes = {"id": f"{group}-prefers-{node}", "rsc": group, "node": node, "score": PREFERENCE}
            self.locations.append(element("rsc_location", attributes))

    def _id(self, wanted: str) -> str:
        identifier = re.sub(r"[^\w.-]", "_", wanted)
        if not re.match(r"[A-Za-z_]", identifier):
            identifier = f"r_{identifier}"
        number = 2
        made = identifier
        while made in self.ids:
            made = f"{identifier}_{number}"
            number += 1
        self.ids.add(made)
        return made

    def _resource(self, number: int, word: str, docroot: str) -> Element | None:
        name, *arguments = word.split("::")
        if name == "OCF":
            self.fail(
                number,
                f"{word}: OCF::TYPE::INSTANCE reads files of heartbeat's",
                "define it with `hacli configure`",
            )
            return None
        if re.match(r"\d+\.\d+\.\d+\.\d+", name) or (":" in name and not arguments and _is_address(name)):
            name, arguments = "IPaddr", [name]
        agent = self._agent(name, arguments)
        if agent is None:
            self.fail(
                number,
                f"nothing called {name!r} is installed here",
                f"put the script into resource.d beside {self.source}, or install it, or correct the name",
            )
            return None
        parameters = self._parameters(number, word, name, agent, arguments, docroot)
        if parameters is None:
            return None
        self.notes.append(f"{self.source}:{number}: {word} -> {agent.text} ({agent.how})")
        ours = (
            _WEB if agent.type == "WebServer" else _OURS.get(name) if agent.provider == "hacluster" else None
        )
        return _primitive(self._id(_short(name)), agent, parameters, ours.timeouts if ours else {})

    def _agent(self, name: str, arguments: Sequence[str]) -> Agent | None:
        """The first of: our own, resource.d, init.d, ocf:heartbeat, systemd, for httpd our web server."""
        if name in _OURS and not self.options.as_is:
            return Agent(
                standard="ocf", provider="hacluster", type=_OURS[name].type, how="our own agent of that name"
            )
        if self.installed.resource_d(name):
            return Agent(standard="heartbeat", type=name, how="the script in resource.d")
        if self.installed.init_d(name) and not arguments:
            return Agent(standard="lsb", type=name, how="the script in init.d")
        if self.installed.heartbeat_ocf(name):
            return Agent(standard="ocf", provider="heartbeat", type=name, how="the installed OCF agent")
        if self.installed.systemd(name) and not arguments:
            return Agent(standard="systemd", type=name, how="the systemd unit")
        if name in WEB_SERVERS:
            how = "no script or unit of that name is installed here: our own web server"
            return Agent(standard="ocf", provider="hacluster", type="WebServer", how=how)
        if name in _OURS:
            return Agent(
                standard="ocf", provider="hacluster", type=_OURS[name].type, how="nothing else has that name"
            )
        return None

    def _parameters(
        self, number: int, word: str, name: str, agent: Agent, arguments: Sequence[str], docroot: str
    ) -> dict[str, str] | None:
        if agent.standard == "heartbeat":
            return {str(index): value for index, value in enumerate(arguments, start=1)}
        if name in ("IPaddr", "IPaddr2"):
            return self._address(number, word, arguments)
        if agent.type == "WebServer":
            if arguments:
                self.fail(number, f"{word}: {name} takes no arguments here", "remove what follows `::`")
                return None
            return {"docroot": docroot or _DOCROOT_DEFAULT}
        if agent.provider == "heartbeat" and (name in _OCF or name in _SPECIAL):
            return self._by_heartbeat(number, word, name, arguments)
        names = _OURS[name].parameters if name in _OURS else ()
        if len(arguments) > len(names):
            what = f"{word}: what the {len(arguments)} arguments of {name} mean to {agent.text} is not known"
            self.fail(
                number, what, "define the resource with `hacli configure primitive`, and take it out here"
            )
            return None
        if name == "Filesystem" and len(arguments) < 2:
            self.fail(number, f"{word}: device and folder are needed", "Filesystem::DEVICE::FOLDER::TYPE")
            return None
        return dict(zip(names, arguments, strict=False))

    def _by_heartbeat(
        self, number: int, word: str, name: str, arguments: Sequence[str]
    ) -> dict[str, str] | None:
        """As heartbeat's script of that name, which is not installed, told the OCF agent, which is."""
        if name == "AudibleAlarm":
            return {"nodelist": " ".join(arguments)} if arguments else {}
        if name == "IPv6addr":
            found = self._address(number, word, arguments)
            return {_IPV6.get(key, key): value for key, value in found.items()} if found is not None else None
        if name == "SendArp":
            address, _, nic = arguments[0].partition("/") if len(arguments) == 1 else ("", "", "")
            if _is_address(address) and nic and "/" not in nic:
                return {"ip": address, "nic": nic}
            self.fail(number, f"{word}: an address and a device are needed", "SendArp::ADDRESS/DEVICE")
            return None
        if name == "WAS" and len(arguments) <= 1:
            return {"port" if one.isdigit() else "config": one for one in arguments}
        known = _OCF.get(name, _WAS)
        enough = known.least <= len(arguments) or (known.none_too and not arguments)
        if not enough or len(arguments) > len(known.names):
            self.fail(number, f"{word}: {name} does not take {len(arguments)} arguments", known.usage)
            return None
        return dict(zip(known.names, arguments, strict=False))

    def _address(self, number: int, word: str, arguments: Sequence[str]) -> dict[str, str] | None:
        """ip[/bits[/nic[:label]][/broadcast]]."""
        usage = "ADDRESS[/BITS[/DEVICE[:LABEL]][/BROADCAST]]"
        if len(arguments) != 1:
            self.fail(number, f"{word}: one address is needed", usage)
            return None
        address, *rest = arguments[0].split("/")
        found = {"ip": address}
        if not _is_address(address) or len(rest) > 3:
            self.fail(number, f"{word}: {address!r} is not an address", usage)
            return None
        if rest:
            bits = rest.pop(0)
            most = ipaddress.ip_address(address).max_prefixlen
            if not is_count(bits) or not 0 < int(bits) <= most:
                self.fail(number, f"{word}: {bits!r} is not a prefix length", f"1 to {most}")
                return None
            found["cidr_netmask"] = bits
        for part in rest:
            if _is_address(part):
                found["broadcast"] = part
            elif "nic" not in found and re.fullmatch(r"[\w.@-]+(:[\w-]+)?", part):
                nic, _, label = part.partition(":")
                found["nic"] = nic
                if label:
                    found["iflabel"] = label
            else:
                self.fail(number, f"{word}: {part!r} is neither a device nor an address", usage)
                return None
        return found


def _short(name: str) -> str:
    return {"IPaddr": "ip", "IPaddr2": "ip", "Filesystem": "fs"}.get(name, name.lower())


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _parameter(primitive: Element, name: str) -> str:
    for one in primitive.all("instance_attributes"):
        for pair in one.all("nvpair"):
            if pair.get("name") == name:
                return pair.get("value")
    return ""


def _pairs(prefix: str, values: Mapping[str, str]) -> tuple[Element, ...]:
    return tuple(
        element("nvpair", {"id": f"{prefix}-{name}", "name": name, "value": value})
        for name, value in values.items()
    )


def _primitive(
    identifier: str, agent: Agent, parameters: Mapping[str, str], timeouts: Mapping[str, str]
) -> Element:
    attributes = {"id": identifier, "class": agent.standard}
    if agent.provider:
        attributes["provider"] = agent.provider
    attributes["type"] = agent.type
    children: list[Element] = []
    if parameters:
        prefix = f"{identifier}-instance_attributes"
        children.append(element("instance_attributes", {"id": prefix}, *_pairs(prefix, parameters)))
    operations = [_operation(identifier, "monitor", MONITOR_INTERVAL, timeouts.get("monitor", ""))]
    operations += [
        _operation(identifier, name, "0", timeouts[name]) for name in ("start", "stop") if timeouts.get(name)
    ]
    children.append(element("operations", None, *operations))
    return element("primitive", attributes, *children)


def _operation(identifier: str, name: str, interval: str, timeout: str) -> Element:
    attributes = {"id": f"{identifier}-{name}-{interval}", "name": name, "interval": interval}
    return element("op", attributes | ({"timeout": timeout} if timeout else {}))


def _cib(options: Options, reader: _Reader) -> Element:
    properties = {"stonith-enabled": "true" if options.stonith else "false"}
    if options.cluster_name:
        properties["cluster-name"] = options.cluster_name
    sets = "cib-bootstrap-options"
    stickiness = {"resource-stickiness": "0" if options.auto_failback else "INFINITY"}
    nodes = (element("node", {"id": str(number), "uname": name}) for number, name in options.nodes)
    configuration = element(
        "configuration",
        None,
        element("crm_config", None, element("cluster_property_set", {"id": sets}, *_pairs(sets, properties))),
        element("nodes", None, *nodes),
        element("resources", None, *reader.groups),
        element("constraints", None, *reader.locations),
        element(
            "rsc_defaults",
            None,
            element("meta_attributes", {"id": "rsc-options"}, *_pairs("rsc-options", stickiness)),
        ),
    )
    attributes = {"validate-with": "pacemaker-3.9", "admin_epoch": "0", "epoch": "1", "num_updates": "0"}
    return element("cib", attributes, configuration, element("status"))
