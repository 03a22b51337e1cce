"""The CIB as the read-only commands need it, asked of ha-crm or read from CIB_file.

States come from the newest operation of each history, as Pacemaker's tools read them; nothing is scheduled.
"""

from __future__ import annotations

from agents.callback import client
from agents.callback.client import EXIT_NO_INPUT, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from xml.etree.ElementTree import Element

TRUE = frozenset({"1", "true", "yes", "on", "y", "t"})
FALSE = frozenset({"", "0", "false", "no", "off", "n", "f"})
RESOURCES = frozenset({"primitive", "group", "clone", "master", "bundle"})
_EXPECTED_OF_PROBES = frozenset({"0", "7", "8", "5", "190", "191"})
_FINE = frozenset({"0", "190"})


class Node:
    """One node as the status section has it."""

    def __init__(self, id_: str, name: str) -> None:
        self.id, self.name = id_, name
        self.kind = "member"
        self.online = self.pending = self.unclean = self.shutdown = self.expected_up = False
        self.is_dc = False
        self.feature_set = ""
        self.attributes: dict[str, str] = {}
        self.transient: dict[str, str] = {}
        self.state: Element | None = None

    def says(self, name: str) -> bool:
        """Whether one of its attributes, permanent or transient, is true."""
        return any(store.get(name, "").lower() in TRUE for store in (self.transient, self.attributes))


class Instance:
    """One resource on one node: what its history says."""

    def __init__(self, history: Element, node: Node) -> None:
        self.id = history.get("id", "")
        self.node = node
        kind = [history.get(name, "") for name in ("class", "provider", "type")]
        self.agent = ":".join(part for part in kind if part)
        self.operations = sorted(history.findall("lrm_rsc_op"), key=_call)
        self.role = "Stopped"
        self.failed = self.blocked = False
        for entry in self.operations:
            self._take(entry)

    @property
    def active(self) -> bool:
        """Whether it runs, or may run, there."""
        return self.role != "Stopped"

    def _take(self, entry: Element) -> None:
        task, rc = entry.get("operation", ""), entry.get("rc-code", "")
        if entry.get("op-status") in ("-1", "-3") or rc in ("193", ""):
            if task == "start":
                self.role = "Starting"
            return
        interval = entry.get("interval", "0")
        failed = rc not in _FINE and rc != target_rc(entry)
        if task == "monitor" and interval == "0" and rc in _EXPECTED_OF_PROBES:
            failed = False
        self.failed, self.blocked = failed, failed and task == "stop"
        if task == "stop":
            self.role = "Started" if failed else "Stopped"
        elif task in ("start", "migrate_from"):
            self.role = "Started"
        elif task == "promote":
            self.role = self.role if failed else "Promoted"
        elif task == "demote":
            self.role = self.role if failed else "Unpromoted"
        elif task in ("monitor", "status"):
            self.role = self._after_monitor(rc)

    def _after_monitor(self, rc: str) -> str:
        if rc in ("8", "191", "9"):
            return "Promoted"
        if rc in ("7", "5"):
            return "Stopped"
        return self.role if self.active else "Started"


class Document:
    """A CIB, and what is in it."""

    def __init__(self, root: Element) -> None:
        self.root = root
        self.nodes = self._read_nodes()
        self.instances = [
            Instance(history, node)
            for node in self.nodes
            if node.state is not None and node.online
            for history in node.state.iterfind("lrm/lrm_resources/lrm_resource")
        ]
        promotable = {
            inner.get("id")
            for item in root.iterfind("configuration/resources//*")
            if item.tag == "master" or (item.tag == "clone" and meta(item, "promotable").lower() in TRUE)
            for inner in primitives(item)
        }
        for one in self.instances:
            if one.role == "Started" and one.id.partition(":")[0] in promotable:
                one.role = "Unpromoted"

    def option(self, name: str, default: str = "") -> str:
        """A cluster option; of several sets the first that has it."""
        for pair in self.root.iterfind("configuration/crm_config/cluster_property_set/nvpair"):
            if pair.get("name") == name:
                return pair.get("value", "")
        return default

    def resources(self) -> list[Element]:
        """The outermost resources, in the order of the configuration."""
        return [one for one in self.root.iterfind("configuration/resources/*") if one.tag in RESOURCES]

    def resource(self, name: str) -> Element | None:
        """The resource of that id, at any depth."""
        for item in self.root.iterfind("configuration/resources//*"):
            if item.tag in RESOURCES and item.get("id") == name:
                return item
        return None

    def of(self, name: str) -> list[Instance]:
        """What is known of a primitive on all nodes; instances of a clone too."""
        return [one for one in self.instances if one.id == name or one.id.partition(":")[0] == name]

    def orphans(self) -> list[Instance]:
        """Active ones that the configuration does not know."""
        known = {item.get("id") for item in self.root.iterfind("configuration/resources//primitive")}
        return [one for one in self.instances if one.active and one.id.partition(":")[0] not in known]

    def _read_nodes(self) -> list[Node]:
        found: dict[str, Node] = {}
        for item in self.root.iterfind("configuration/nodes/node"):
            node = found[item.get("uname", "")] = Node(item.get("id", ""), item.get("uname", ""))
            node.kind = item.get("type", "member")
            node.attributes = _pairs(item, "instance_attributes/nvpair")
        for state in self.root.iterfind("status/node_state"):
            name = state.get("uname", "")
            node = found.setdefault(name, Node(state.get("id", ""), name))
            self._read_state(node, state)
        return list(found.values())

    def _read_state(self, node: Node, state: Element) -> None:
        node.state = state
        node.transient = _pairs(state, "transient_attributes/instance_attributes/nvpair")
        here = state.get("in_ccm", "").lower() not in FALSE
        crmd = state.get("crmd", "").lower()
        running = crmd == "online" or (crmd.isdecimal() and crmd != "0")
        joined = state.get("join") == "member"
        node.online = here and running and joined
        node.pending = here and not node.online
        node.expected_up = state.get("expected") == "member"
        node.unclean = node.expected_up and not here
        node.shutdown = node.transient.get("shutdown", "0") not in ("", "0")
        node.feature_set = node.transient.get("#feature-set", "")
        node.is_dc = self.root.get("dc-uuid") == node.id


def read(environ: Mapping[str, str]) -> Document:
    """The CIB of CIB_file, if that is set, else the cluster's. Raises Refused."""
    from xml.etree import ElementTree

    path = environ.get("CIB_file", "")
    if path:
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            raise Refused(EXIT_NO_INPUT, f"{path} cannot be read: {error.strerror}") from error
    else:
        text = query(environ, "")
    if "<!DOCTYPE" in text[:4096]:
        raise Refused(EXIT_NO_INPUT, f"{path} has a document type: a CIB has none")
    try:
        return Document(ElementTree.fromstring(text))  # noqa: S314  (no document type, so no entities)
    except ElementTree.ParseError as error:
        raise Refused(EXIT_NO_INPUT, f"{path or 'the answer'} is no XML: {error}") from error


def query(environ: Mapping[str, str], xpath: str) -> str:
    """The XML of the CIB, or of what an XPath names in it. Raises Refused."""
    answer = client.ask({"command": "cib", "xpath": xpath, "resource": ""}, environ)
    return str(answer["xml"])


def target_rc(entry: Element) -> str:
    """The exit code that was expected of an operation."""
    parts = entry.get("transition-key", "").split(":")
    return parts[2] if len(parts) > 3 else "0"


def meta(item: Element, name: str) -> str:
    """A resource's own meta attribute; rules are not looked at."""
    return _pairs(item, "meta_attributes/nvpair").get(name, "")


def primitives(item: Element) -> Iterator[Element]:
    """The primitives of a resource, itself included."""
    if item.tag == "primitive":
        yield item
    for child in item:
        if child.tag in RESOURCES:
            yield from primitives(child)


def _call(entry: Element) -> int:
    text = entry.get("call-id", "-1")
    return int(text) if text.removeprefix("-").isdecimal() else -1


def _pairs(item: Element, path: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in item.iterfind(path):
        values.setdefault(pair.get("name", ""), pair.get("value", ""))
    return values
