"""What agents' commands ask on this node's socket: transient attributes here, the rest from the CIB."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Final

from crm.api import resource_values
from crm.api.agent_socket import AttributeKey, AttributeSection, ClusterNode, Location
from crm.api.cluster import Cluster
from crm.cib.codec import parse, render
from crm.cib.diff import element_out
from crm.cib.ids import free_id, used_ids
from crm.cib.model import Element
from crm.cib.selection import select
from crm.cib.status import failure_of
from crm.replica.events import Outcome
from hacluster.errors import NotFound, Unavailable
from hacluster.v1 import crm_pb2

WRITE_DEADLINE_MS: Final = 8_000
_SET_TAGS: Final = {
    AttributeSection.CRM_CONFIG: "cluster_property_set",
    AttributeSection.NODES: "instance_attributes",
    AttributeSection.UTILIZATION: "utilization",
}


class Backend:
    """An AgentBackend over the cluster as this node sees it."""

    def __init__(
        self,
        cluster: Cluster,
        at_dc: Callable[[str, bytes], Awaitable[bytes]],
        status: Callable[[], Awaitable[crm_pb2.ClusterStatus]],
    ) -> None:
        """`at_dc`: the DC's answer to a method of the API (serialised). Raises HaError. `status`: of now."""
        self._cluster, self._at_dc, self._status = cluster, at_dc, status

    @property
    def local_node(self) -> str:
        """Our own name."""
        return self._cluster.local.node

    @property
    def quorate(self) -> bool:
        """Whether our partition has quorum."""
        return self._cluster.local.quorate

    def nodes(self) -> tuple[ClusterNode, ...]:
        """All configured nodes."""
        return tuple(
            ClusterNode(id=int(record.default_id), name=record.name, member=record.member)
            for record in self._cluster.nodes.records()
        )

    def attribute(self, key: AttributeKey) -> str | None:
        """The value as this node knows it, or None."""
        if key.section is not AttributeSection.STATUS:
            pair = _pair(self._cluster.replica.configuration, key)
            return pair.get("value") if pair is not None else None
        if key.node == self.local_node:
            return self._cluster.keeper.current.get(key.name)
        return _transient(self._cluster.cib().child("status") or Element("status"), key)

    async def set_attribute(self, key: AttributeKey, value: str | None, dampen_ms: int | None) -> None:
        """Set, or with None delete. Raises HaError when it is not kept."""
        if key.section is AttributeSection.STATUS:
            await self._set_transient(key, value or "", dampen_ms)
            return
        await self._write(lambda old: with_attribute(old, key, value))

    async def _set_transient(self, key: AttributeKey, value: str, dampen_ms: int | None) -> None:
        if key.node == self.local_node and failure_of(key.name) is None:
            self._cluster.keeper.change({key.name: value}, dampen_ms)
            return
        request = crm_pb2.SetAttributeRequest(node=key.node, name=key.name, value=value)
        if self._cluster.is_dc:
            self._cluster.set_attribute(key.node, {key.name: value}, "agent")
        else:
            await self._cluster.replica.forward("SetAttribute", request.SerializeToString(), "agent")

    def locations(self, resource: str) -> tuple[Location, ...]:
        """Where a resource runs by the last operations recorded. Raises NotFound."""
        if self._cluster.replica.configuration.by_id(resource) is None:
            raise NotFound(kind="resource", name=resource)
        base = resource.partition(":")[0]
        found = []
        for state in (self._cluster.cib().child("status") or Element("status")).all("node_state"):
            resources = state.path("lrm", "lrm_resources")
            for item in resources.all("lrm_resource") if resources is not None else ():
                role = _role(item)
                if item.id.partition(":")[0] == base and role:
                    found.append(Location(node=state.get("uname"), role=role))
        return tuple(found)

    def resource_xml(self, resource: str) -> str:
        """The configuration of a resource. Raises NotFound."""
        resources = self._cluster.replica.configuration.child("resources")
        found = resources.by_id(resource) if resources is not None else None
        if found is None:
            raise NotFound(kind="resource", name=resource)
        return render(found)

    def cib(self, xpath: str) -> str:
        """The CIB, or a part of it. Raises NotFound, InvalidRequest."""
        return select(self._cluster.cib(), xpath).decode()

    def parameter(self, resource: str, kind: str, name: str) -> str | None:
        """A value of a resource. Raises NotFound."""
        return resource_values.parameter(self._cluster.replica.configuration, resource, kind, name)

    async def set_parameter(self, resource: str, kind: str, name: str, value: str | None) -> None:
        """Set it, or with None delete it. Raises NotFound, Unavailable."""
        await self._write(lambda old: resource_values.with_parameter(old, resource, kind, name, value))

    async def ban(self, resource: str, node: str) -> None:
        """Keep a resource away from a node. Raises NotFound, Unavailable."""
        await self._write(lambda old: resource_values.banned(old, resource, node))

    async def clear(self, resource: str, node: str) -> None:
        """Take back bans and moves. Raises NotFound, Unavailable."""
        await self._write(lambda old: resource_values.cleared(old, resource, node))

    async def transition(self) -> tuple[str, ...]:
        """What the DC is still about to do. Raises HaError."""
        request = crm_pb2.ClusterStatusRequest().SerializeToString()
        raw = await self._at_dc("Status", request)
        return _actions(crm_pb2.ClusterStatus.FromString(raw))

    async def status(self) -> dict[str, Any]:
        """The state of the cluster and its CIB, as plain values; without a DC what this node knows."""
        status = await self._status()
        cib = parse(status.cib_xml, source="the DC's CIB")
        status.ClearField("cib_xml")
        term, view = status.term, status.view
        plain: dict[str, Any] = {
            "cluster_name": status.cluster_name,
            "node": status.node,
            "dc": status.dc,
            "term": f"{term.counter}.{term.node_id}" if status.dc else "",
            "view": f"{view.counter}.{view.coordinator}",
            "quorate": status.quorate,
            "waiting_for_all": status.waiting_for_all,
            "basis": status.basis,
            "age_ms": status.age_ms,
            "last_change_s": status.last_change_s,
            "last_change_by": status.last_change_by,
            "notices": list(status.notices),
            "nodes": [
                {"name": one.name, "state": one.state, "crm": one.crm, "lrm": one.lrm} for one in status.nodes
            ],
            "transition": {
                "state": status.transition.state,
                "number": status.transition.number,
                "done": status.transition.done,
                "actions": status.transition.actions,
                "running": list(status.transition.running),
                "waits": list(status.transition.waits),
            },
        }
        return {"status": plain, "cib": element_out(cib)}

    async def fence(self, node: str, action: str) -> str:
        """Begin to fence or unfence a node. Raises HaError."""
        request = crm_pb2.FenceRequest(node=node, action=action).SerializeToString()
        return str(crm_pb2.FenceReply.FromString(await self._at_dc("Fence", request)).id)

    def fencing_history(self, node: str) -> tuple[dict[str, Any], ...]:
        """Records of fencings, as plain values."""
        records = self._cluster.fencing.records.history.records(node)
        return tuple(asdict(record) for record in records)

    async def _write(self, change: Callable[[Element], Element]) -> None:
        changed = change(self._cluster.replica.configuration)
        if changed == self._cluster.replica.configuration:
            return
        outcome = await self._cluster.replica.write(
            changed,
            author="agent",
            client="agent's command",
            expected_digest=self._cluster.replica.digest,
            deadline_ms=WRITE_DEADLINE_MS,
        )
        if outcome.outcome is not Outcome.OK:
            raise Unavailable(why=outcome.reason or "the outcome of the write is unknown")


def _actions(status: crm_pb2.ClusterStatus) -> tuple[str, ...]:
    """What a transition runs and waits for; nothing when it has ended."""
    transition = status.transition
    if transition.state not in ("running", "waiting"):
        return ()
    left = transition.actions - transition.done - len(transition.running)
    more = [f"{left} more actions"] if left > 0 else []
    return (*transition.running, *transition.waits, *more)


def _role(resource: Element) -> str:
    """The role after the newest operation of a history, "" when it is stopped."""
    role, newest = "", -2
    for entry in resource.all("lrm_rsc_op"):
        call, rc, task = int(entry.get("call-id", "-1")), entry.get("rc-code"), entry.get("operation")
        if call < newest:
            continue
        newest = call
        if task == "promote" and rc == "0":
            role = "Promoted"
        elif task == "demote" and rc == "0":
            role = "Unpromoted"
        elif task in ("start", "migrate_from"):
            role = "Started" if rc == "0" else ""
        elif task == "stop":
            role = "" if rc == "0" else "Started"
        elif task == "monitor":
            role = {"0": role or "Started", "8": "Promoted", "7": "", "5": ""}.get(rc, role)
    return role


def _transient(status: Element, key: AttributeKey) -> str | None:
    for state in status.all("node_state"):
        if state.get("uname") == key.node:
            for item in state.walk():
                if item.tag == "nvpair" and item.get("name") == key.name:
                    return item.get("value")
    return None


def _holder(configuration: Element, key: AttributeKey) -> Element | None:
    if key.section is AttributeSection.CRM_CONFIG:
        return configuration.child("crm_config")
    nodes = configuration.child("nodes")
    for node in nodes.all("node") if nodes is not None else ():
        if node.get("uname") == key.node:
            return node
    return None


def _pair(configuration: Element, key: AttributeKey) -> Element | None:
    holder = _holder(configuration, key)
    for group in holder.all(_SET_TAGS[key.section]) if holder is not None else ():
        for pair in group.all("nvpair"):
            if pair.get("name") == key.name and key.set_id in ("", group.id):
                return pair
    return None


def with_attribute(configuration: Element, key: AttributeKey, value: str | None) -> Element:
    """The configuration with a permanent attribute or cluster option set, or removed. Raises NotFound."""
    holder = _holder(configuration, key)
    if holder is None:
        raise NotFound(kind="node", name=key.node)
    old = _pair(configuration, key)
    changed = holder
    if old is not None:
        changed = holder.mapped(lambda group: group.mapped(lambda pair: _replaced(pair, old, value)))
    elif value is not None:
        changed = _added(holder, key, value, used_ids(configuration))
    if key.section is AttributeSection.CRM_CONFIG:
        return configuration.with_child(changed)
    nodes = configuration.child("nodes")
    assert nodes is not None, "the node was found there"
    return configuration.with_child(nodes.with_child(changed))


def _replaced(pair: Element, old: Element, value: str | None) -> Element | None:
    if pair is not old:
        return pair
    return pair.with_attributes(value=value) if value is not None else None


def _added(holder: Element, key: AttributeKey, value: str, used: set[str]) -> Element:
    """The pair goes into the set that was named, else the first, else a new one. `used`: ids in use."""
    tag = _SET_TAGS[key.section]
    match key.section:
        case AttributeSection.CRM_CONFIG:
            default = "cib-bootstrap-options"
        case AttributeSection.UTILIZATION:
            default = f"nodes-{holder.id}-utilization"
        case _:
            default = f"nodes-{holder.id}"
    groups = [group for group in holder.all(tag) if key.set_id in ("", group.id)]
    group = groups[0] if groups else Element(tag, {"id": key.set_id or free_id(used, default)})
    identifier = free_id(used, f"{group.id}-{key.name}")
    pair = Element("nvpair", {"id": identifier, "name": key.name, "value": value})
    return holder.with_child(group.with_children((*group.children, pair)))
