"""The transition graph: which actions are written, with what inputs, parameters and meta attributes."""

from __future__ import annotations

from typing import Final

from crm.cib.model import Element
from crm.scheduler.acting.notifications import complete_notifications
from crm.scheduler.actions import pseudo_action
from crm.scheduler.activity import current_node
from crm.scheduler.checks import effective_parameters
from crm.scheduler.model import Action, BundleData, Node, NodeKind, Resource, Variant, WorkingSet
from crm.scheduler.propagation.flags import flags_of
from crm.scheduler.propagation.inputs import is_input, is_written, merge_relations
from crm.scheduler.remote_state import connection_of
from crm.scheduler.router import graph_node_of_guest, router_node
from crm.transition.graph import ActionKind, GraphAction, Synapse, TransitionGraph
from hacluster.digits import is_count

FEATURE_SET: Final = "3.20.0"
_CLUSTER_EVENTS: Final = frozenset({"do_shutdown", "clear_failcount"})
_MAINTENANCE: Final = "maintenance_nodes"


class GraphWriter:
    """Writes actions in a fixed order; each one once."""

    def __init__(self, work: WorkingSet) -> None:
        self._work = work
        self._synapses: list[Synapse] = []
        self._written: set[int] = set()
        self._named: dict[int, Action] = {}

    def write(self) -> TransitionGraph:
        """The whole graph."""
        work = self._work
        _maintenance(work)
        for resource in work.resources:
            self._resource(resource)
        for action in work.actions_by_key.get(_MAINTENANCE, ()):
            self._action(action)
        for action in reversed(list(work.actions)):
            self._action(action)
        unwritten = tuple(
            _graph_action(work, action)
            for number, action in self._named.items()
            if number not in self._written
        )
        return TransitionGraph(synapses=tuple(self._synapses), xml=_head(work), unwritten=unwritten)

    def _bundle(self, data: BundleData) -> None:
        """What is inside; the bundle's own points in time come with the rest at the end."""
        parts = [data.child]
        for replica in data.replicas:
            parts += [replica.ip, replica.container, replica.connection]
        for part in parts:
            if part is not None:
                self._resource(part)

    def _resource(self, resource: Resource) -> None:
        if resource.bundle is not None:
            self._bundle(resource.bundle)
            return
        if resource.variant is Variant.CLONE:
            for action in list(resource.actions):
                flags_of(action, None)
            complete_notifications(self._work, resource)
            for child in resource.children:
                self._resource(child)
        for action in reversed(list(resource.actions)):
            self._action(action)
        for child in resource.children:
            self._resource(child)

    def _action(self, action: Action) -> None:
        if action.in_graph or not is_written(action):
            return
        action.in_graph = True
        merge_relations(action)
        inputs: list[int] = []
        for link in action.before:
            if is_input(action, link):
                inputs.append(link.action.id)
                self._named[link.action.id] = link.action
        priority = action.priority
        if action.resource is not None:
            priority = max(priority, action.resource.priority)
        self._written.add(action.id)
        self._synapses.append(
            Synapse(
                id=len(self._synapses),
                actions=(_graph_action(self._work, action),),
                inputs=tuple(sorted(inputs)),
                priority=max(0, priority),
            )
        )


def _head(work: WorkingSet) -> dict[str, str]:
    options = work.options
    head = {
        "cluster-delay": options.get("cluster-delay") or "60s",
        "fencing-timeout": options.get("fencing-timeout") or "60s",
        "failed-stop-offset": "INFINITY",
        "failed-start-offset": "INFINITY" if options.start_failure_is_fatal else "1",
        "batch-limit": options.get("batch-limit") or "0",
        "transition_id": "0",
    }
    limit = options.get("migration-limit")
    if limit is not None and is_count(limit) and int(limit) > 0:
        head["migration-limit"] = limit
    if work.recheck_by_s > 0:
        head["recheck-by"] = str(work.recheck_by_s)
    return head


def _maintenance(work: WorkingSet) -> None:
    work.maintenance_changed = [
        node
        for node in work.nodes
        if node.is_guest_or_remote and node.maintenance is not node.remote_maintenance_known
    ]
    if work.maintenance_changed:
        pseudo_action(work, _MAINTENANCE).optional = False


# --- one action


def _kind(action: Action) -> ActionKind:
    if action.task == "stonith":
        return ActionKind.PSEUDO if action.pseudo else ActionKind.CLUSTER
    if action.task in _CLUSTER_EVENTS or action.task == "lrm_delete":
        return ActionKind.CLUSTER
    return ActionKind.PSEUDO if action.pseudo else ActionKind.RESOURCE


def _needs_node(action: Action) -> bool:
    return action.task == "stonith" or _kind(action) is not ActionKind.PSEUDO


def _graph_action(work: WorkingSet, action: Action) -> GraphAction:
    kind = _kind(action)
    with_node = _needs_node(action) and action.node is not None
    xml = _identity(action)
    meta = dict(action.meta)
    if with_node:
        node = action.node
        assert node is not None
        router = router_node(action)
        xml["on_node"], xml["on_node_uuid"] = node.name, node.id
        if router is not None:
            xml["router_node"] = router.name
        meta.setdefault("on_node", node.name)
        meta.setdefault("on_node_uuid", node.id)
    resource = action.resource
    if resource is not None and resource.lock_node is not None and resource.lock_node is action.node:
        xml["shutdown-lock"] = str(resource.lock_time)
    children: list[Element] = []
    if resource is not None and kind is not ActionKind.PSEUDO:
        children.append(_primitive(resource))
    if with_node and (downed := _downed(work, action)):
        children.append(Element("downed", {}, tuple(Element("node", {"id": name}) for name in downed)))
    if action.key == _MAINTENANCE:
        children.append(_maintenance_element(work))
    return GraphAction(
        id=action.id,
        kind=kind,
        xml=xml,
        attributes=_attributes(work, action, meta),
        children=tuple(children),
    )


def _maintenance_element(work: WorkingSet) -> Element:
    nodes = (
        Element("node", {"id": node.id, "node_in_maintenance": "1" if node.maintenance else "0"})
        for node in work.maintenance_changed
    )
    return Element("maintenance", {}, tuple(nodes))


def _identity(action: Action) -> dict[str, str]:
    xml = {"operation": action.task}
    if action.task == "lrm_delete":
        xml["mode"] = "cib"
    resource = action.resource
    if resource is None or not resource.history_id:
        xml["operation_key"] = action.key
        return xml
    xml["internal_operation_key"] = action.key
    name = resource.history_id
    if action.task == "notify" and "notify_type" in action.meta:
        kind, operation = action.meta["notify_type"], action.meta.get("notify_operation", "")
        xml["operation_key"] = f"{name}_{kind}_notify_{operation}_0"
    else:
        xml["operation_key"] = f"{name}_{action.cancel_task or action.task}_{action.interval_ms}"
    return xml


def _primitive(resource: Resource) -> Element:
    attributes = {"id": resource.id}
    history_id = resource.history_id
    if resource.removed and history_id:
        attributes = {"id": history_id, "long-id": resource.id}
    elif not resource.unique:
        plain, _, _ = resource.id.rpartition(":")
        plain = plain or resource.id
        attributes = {"id": plain}
        if history_id and history_id != plain:
            attributes["long-id"] = history_id
        else:
            attributes["long-id"] = resource.id
    for name, value in (
        ("class", resource.agent_class),
        ("provider", resource.provider),
        ("type", resource.agent_type),
    ):
        if value:
            attributes[name] = value
    return Element("primitive", attributes)


def _downed(work: WorkingSet, action: Action) -> list[str]:
    node = action.node
    assert node is not None
    if action.task == "do_shutdown":
        return [node.id]
    if action.task == "stonith":
        if action.meta.get("stonith_action") not in {"off", "reboot"}:
            return []
        guests = [
            one.id
            for one in work.nodes
            if one.kind is NodeKind.GUEST and one.launcher is not None and node in one.launcher.active_nodes
        ]
        return [node.id, *guests]
    resource = action.resource
    if action.task == "stop" and resource is not None and resource.is_remote_connection:
        for link in action.before:
            first = link.action
            moved = first.resource is resource and first.task == "migrate_from" and link.flags
            if moved and (first.in_graph or is_written(first)):
                return []
        return [resource.id]
    return []


def _meta_name(name: str) -> str | None:
    if "#" in name or ":" in name:
        return None
    return "CRM_meta_" + name.replace("-", "_")


def _attributes(work: WorkingSet, action: Action, meta: dict[str, str]) -> dict[str, str]:
    found = {"crm_feature_set": FEATURE_SET, **action.extra}
    resource = action.resource
    if resource is not None and (action.node is not None or resource.is_primitive):
        for name, value in effective_parameters(work, resource, action.node).items():
            found.setdefault(name, value)
    for name, value in meta.items():
        full = _meta_name(name)
        if full is not None:
            found.setdefault(full, value)
    here = resource
    while here is not None:
        _add_resource_meta(here, found)
        here = here.parent
    for name, value in _guest_extras(action).items():
        found.setdefault(name, value)
    return found


def _add_resource_meta(resource: Resource, found: dict[str, str]) -> None:
    if resource.is_primitive:
        if resource.instance_number >= 0:
            found["CRM_meta_clone"] = str(resource.instance_number)
        remote = resource.meta.get("remote-node")
        if remote is not None:
            found["CRM_meta_remote_node"] = remote
        replica = resource.replica
        if replica is not None and replica.child is resource and replica.address:
            found["pcmk_external_ip"] = replica.address
    if resource.launcher is not None:
        found["CRM_meta_container"] = resource.launcher.id
    if not resource.is_clone:
        return
    found["CRM_meta_globally_unique"] = "true" if resource.unique else "false"
    found["CRM_meta_notify"] = "true" if resource.notify else "false"
    found["CRM_meta_clone_max"] = str(resource.clone_max)
    found["CRM_meta_clone_node_max"] = str(resource.clone_node_max)
    if resource.promotable:
        for prefix in ("promoted", "master"):
            found[f"CRM_meta_{prefix}_max"] = str(resource.promoted_max)
            found[f"CRM_meta_{prefix}_node_max"] = str(resource.promoted_node_max)


def _guest_extras(action: Action) -> dict[str, str]:
    node = action.node
    if node is None or node.kind is not NodeKind.GUEST or action.resource is None:
        return {}
    launcher = node.launcher
    if launcher is None or connection_of(node) is None:
        return {}
    host: Node | None = graph_node_of_guest(action, launcher, current_node(launcher))
    extras: dict[str, str] = {}
    target = action.resource.meta.get("container-attribute-target")
    if host is not None:
        extras["CRM_meta_physical_host"] = host.name
        if target is not None:
            extras["CRM_meta_container_attribute_target"] = target
    return extras


def write_graph(work: WorkingSet) -> TransitionGraph:
    """The graph of a working set whose flags are settled."""
    return GraphWriter(work).write()
