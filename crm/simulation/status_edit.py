"""Changes to the status section of a CIB: node states, history entries, attributes, tickets, quorum.

Works on a mutable picture of the section and gives back a new tree; the tree it was made from is untouched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from crm.cib.model import Element, element
from crm.transition.graph import GraphAction
from hacluster.digits import is_count

SIMULATED_CLUSTER: Final = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
"""Stands where a transition key names the cluster, as in Pacemaker's simulations."""


_MIGRATIONS: Final = frozenset({"migrate_to", "migrate_from"})


@dataclass(slots=True)
class _Resource:
    xml: dict[str, str]
    entries: list[Element]

    def put(self, entry: Element) -> None:
        """Add an entry, or write it over the one of the same id, whose other attributes stay."""
        for index, old in enumerate(self.entries):
            if old.id == entry.id:
                self.entries[index] = old.with_attribute_map(dict(entry.attributes))
                return
        self.entries.append(entry)


@dataclass(slots=True)
class _NodeState:
    xml: dict[str, str]
    lrm_id: str = ""
    resources: list[_Resource] = field(default_factory=list)  # a name may stand twice: both are kept
    attributes: tuple[Element, ...] = ()
    others: tuple[Element, ...] = ()
    order: list[str] = field(default_factory=list)  # of the children's tags, as they were

    def resource(self, name: str) -> _Resource | None:
        """The first history of that name."""
        return next((found for found in self.resources if found.xml.get("id") == name), None)

    def merge_doubles(self, name: str) -> bool:
        """Give the first history of each name the entries of the later ones, which stay, too.

        So it happens to a document whose node states are updated as a whole, matched by id. True when `name`
        stood more than once: what is recorded then counts its calls afresh.
        """
        first: dict[str, _Resource] = {}
        doubled = set()
        for resource in self.resources:
            known = first.setdefault(resource.xml.get("id", ""), resource)
            if known is not resource:
                doubled.add(resource.xml.get("id", ""))
                for entry in resource.entries:
                    known.put(entry)
        return name in doubled


class StatusEdit:
    """A CIB whose status is being changed.

    `now_s` is the time that rules and failures go by; `stamp_s` stamps new history entries and must not lie
    before those that are there (a stored CIB's own time is that of its computation).
    """

    def __init__(self, cib: Element, now_s: int, stamp_s: int | None = None) -> None:
        self._cib, self._now_s = cib, now_s
        self._stamp_s = now_s if stamp_s is None else stamp_s
        self._root_changes: dict[str, str | None] = {}
        status = cib.child("status")
        self._others: list[Element] = []
        self._nodes: list[_NodeState] = []
        for child in status.children if status is not None else ():
            if child.tag == "node_state":
                self._nodes.append(_read_node(child))
            else:
                self._others.append(child)

    def cib(self) -> Element:
        """The changed document."""
        states = tuple(_write_node(node) for node in self._nodes)
        status = Element("status", {}, (*states, *self._others))
        return self._cib.with_child(status).with_attribute_map(self._root_changes)

    def node_names(self) -> list[str]:
        """Names of all nodes that have a state."""
        return [node.xml.get("uname", "") for node in self._nodes]

    def set_quorum(self, *, quorate: bool) -> None:
        """Set have-quorum of the document."""
        self._root_changes["have-quorum"] = "1" if quorate else "0"

    def set_ticket(self, ticket: str, *, granted: bool | None, standby: bool | None) -> None:
        """Set a ticket's state; None leaves that part as it is."""
        tickets = next((child for child in self._others if child.tag == "tickets"), element("tickets"))
        state = tickets.by_id(ticket, "ticket_state") or element("ticket_state", {"id": ticket})
        changes: dict[str, str | None] = {}
        if granted is not None:
            changes["granted"] = "true" if granted else "false"
            if granted:
                changes["last-granted"] = str(self._now_s)
        if standby is not None:
            changes["standby"] = "true" if standby else "false"
        changed = tickets.with_child(state.with_attribute_map(changes))
        self._others = [child for child in self._others if child.tag != "tickets"] + [changed]

    def node_id(self, name: str) -> str:
        """The id of the node's state, which is made when there is none."""
        return self._node(name).xml.get("id", name)

    def node_is_up(self, name: str) -> None:
        """A member that joined."""
        node = self._set_state(
            name, {"in_ccm": "true", "crmd": "online", "join": "member", "expected": "member"}
        )
        self._know(node.xml)

    def node_is_off(self, name: str) -> None:
        """A node that left as expected, or was fenced: history and transient attributes are gone."""
        node = self._set_state(
            name, {"in_ccm": "false", "crmd": "offline", "join": "down", "expected": "down"}
        )
        node.resources.clear()
        node.lrm_id = ""
        node.attributes = ()

    def node_failed(self, name: str) -> None:
        """A node that vanished: its history stays and it is expected to be there."""
        self._set_state(name, {"in_ccm": "false", "crmd": "offline", "join": "member", "expected": "member"})

    def _set_state(self, name: str, values: dict[str, str]) -> _NodeState:
        node = self._node(name)
        node.xml.update(values)
        return node

    def _node(self, name: str, node_id: str = "") -> _NodeState:
        for node in self._nodes:
            if node.xml.get("uname") == name or (node_id and node.xml.get("id") == node_id):
                return node
        configured = self._cib.path("configuration", "nodes")
        for known in configured.all("node") if configured is not None else ():
            if known.get("uname") == name:
                node_id = known.id
        made = _NodeState({"id": node_id or name, "uname": name})
        self._nodes.append(made)
        return made

    def _know(self, xml: dict[str, str]) -> None:
        """A node that the configuration does not have yet is added to it."""
        configuration = self._cib.child("configuration") or element("configuration")
        nodes = configuration.child("nodes") or element("nodes")
        if all(node.get("uname") != xml["uname"] for node in nodes.all("node")):
            nodes = nodes.with_child(element("node", dict(xml)))
            self._cib = self._cib.with_child(configuration.with_child(nodes))

    def set_attribute(self, node_name: str, name: str, value: str) -> None:
        """Set a transient node attribute."""
        node = self._node(node_name)
        key = node.xml.get("id", node_name)
        whole = node.attributes[0] if node.attributes else element("transient_attributes", {"id": key})
        values = whole.child("instance_attributes") or element("instance_attributes", {"id": f"status-{key}"})
        pair = element("nvpair", {"id": f"status-{key}-{name}", "name": name, "value": value})
        node.attributes = (whole.with_child(values.with_child(pair)), *node.attributes[1:])

    def attribute(self, node_name: str, name: str) -> str:
        """A transient node attribute; empty when not set."""
        for whole in self._node(node_name).attributes:
            for pair in whole.walk():
                if pair.tag == "nvpair" and pair.get("name") == name:
                    return pair.get("value")
        return ""

    def record(
        self, action: GraphAction, primitive: Element, *, name: str, rc: int, failed: bool, digest: str
    ) -> None:
        """Write the entry that a resource action leaves in the history of its node.

        It goes into the history `name`, or that of the primitive's id where there is none; the entry is
        named after the primitive's id.
        """
        node = self._node(action.node, action.xml.get("on_node_uuid", ""))
        ambiguous = node.merge_doubles(name)
        resource = node.resource(name) or node.resource(primitive.id)
        if resource is None:
            agent = {name: primitive.get(name) for name in ("class", "provider", "type")}
            xml = {"id": primitive.id, **{name: value for name, value in agent.items() if value}}
            resource = _Resource(xml, [])
            node.resources.append(resource)
        operation = _Operation.of(action, primitive.id)
        call = 1 if ambiguous else _last_call(resource.entries) + 1
        for entry_id in operation.entry_ids(failed=failed):
            resource.put(self._entry(action, operation, entry_id, rc, failed, digest, call))

    def _entry(
        self,
        action: GraphAction,
        operation: _Operation,
        entry_id: str,
        rc: int,
        failed: bool,
        digest: str,
        call: int,
    ) -> Element:
        expected = action.attributes.get("CRM_meta_op_target_rc", "0") or "0"
        status = "4" if failed else "0"
        transition_key = f"{action.id}:-1:{expected}:{SIMULATED_CLUSTER}"
        values = {
            "id": entry_id,
            "operation_key": operation.key,
            "operation": operation.task,
            "crm_feature_set": action.attributes.get("crm_feature_set", ""),
            "transition-key": transition_key,
            "transition-magic": f"{status}:{rc};{transition_key}",
            "on_node": action.node,
            "exit-reason": "Simulated action result" if failed else "",
            "call-id": str(call),
            "rc-code": str(rc),
            "op-status": status,
            "interval": operation.interval,
            "last-rc-change": str(self._stamp_s),
            "exec-time": "0",
            "queue-time": "0",
            "op-digest": digest,
        }
        if operation.task in _MIGRATIONS:
            for name in ("migrate_source", "migrate_target"):
                values[name] = action.attributes.get(f"CRM_meta_{name}", "")
        kept = {name: value for name, value in values.items() if value or name == "exit-reason"}
        return element("lrm_rsc_op", kept)


@dataclass(frozen=True, slots=True)
class _Operation:
    """What an action is called in the history of a resource."""

    resource: str
    task: str
    interval: str
    notification: str = ""  # TYPE_notify_TASK of a notification

    @staticmethod
    def of(action: GraphAction, resource: str) -> _Operation:
        """A reload counts as a start."""
        task = "start" if action.operation == "reload-agent" else action.operation
        kind, told = (action.attributes.get(f"CRM_meta_notify_{name}", "") for name in ("type", "operation"))
        notification = f"{kind}_notify_{told}" if task == "notify" else ""
        return _Operation(
            resource, task, action.attributes.get("CRM_meta_interval", "0") or "0", notification
        )

    @property
    def key(self) -> str:
        """RSC_TASK_INTERVALms."""
        return f"{self.resource}_{self.task}_{self.interval}"

    def entry_ids(self, *, failed: bool) -> list[str]:
        """The entries it leaves: migrations and notifications are kept apart, and so are failures."""
        if self.notification:
            return [f"{self.resource}_{self.notification}_0"]
        if self.task in _MIGRATIONS:
            return [self.key]
        last = f"{self.resource}_last_0"
        recurring = self.interval != "0"
        if failed:
            return [f"{self.resource}_last_failure_0", *([] if recurring else [last])]
        return [self.key] if recurring else [last]


def _last_call(entries: list[Element]) -> int:
    calls = [entry.get("call-id", "0") for entry in entries]
    return max((int(call) for call in calls if is_count(call)), default=0)


def _read_node(state: Element) -> _NodeState:
    node = _NodeState(dict(state.attributes))
    others: list[Element] = []
    for child in state.children:
        node.order.append(child.tag)
        if child.tag == "lrm":
            node.lrm_id = child.id
            for item in child.walk():
                if item.tag == "lrm_resource":
                    node.resources.append(_Resource(dict(item.attributes), list(item.all("lrm_rsc_op"))))
        elif child.tag == "transient_attributes":
            node.attributes = (*node.attributes, child)
        else:
            others.append(child)
    node.others = tuple(others)
    return node


def _write_node(node: _NodeState) -> Element:
    children: list[Element] = []
    if node.resources or node.lrm_id:
        resources = tuple(
            Element("lrm_resource", dict(resource.xml), tuple(resource.entries))
            for resource in node.resources
        )
        lrm = {"id": node.lrm_id or node.xml.get("id", "")}
        children.append(Element("lrm", lrm, (Element("lrm_resources", {}, resources),)))
    children += [*node.attributes, *node.others]
    children.sort(
        key=lambda child: node.order.index(child.tag) if child.tag in node.order else len(node.order)
    )
    return Element("node_state", dict(node.xml), tuple(children))
