"""The operation history of one node: which resource an entry is about, and the role that follows from it."""

from __future__ import annotations

from typing import Final

from crm.cib.model import Element
from crm.scheduler import values
from crm.scheduler.actions import find_or_make, key_of, request_fencing
from crm.scheduler.active_nodes import add_active_node
from crm.scheduler.activity import locations
from crm.scheduler.basic_actions import demote_on, stop_on
from crm.scheduler.failures import without_number
from crm.scheduler.model import (
    Node,
    NodeKind,
    OnFail,
    Resource,
    Role,
    Status,
    Variant,
    WorkingSet,
)
from crm.scheduler.readings import Reading
from crm.scheduler.scores import INFINITY
from crm.scheduler.stages.shutdown_locks import read_lock
from crm.scheduler.stages.unpack_nodes import create_remote_node
from crm.scheduler.stages.unpack_operation import HistoryRun, process_entry
from crm.scheduler.stages.unpack_resources import (
    link_connection,
    make_instance,
    target_role,
    unpack_resource,
)
from crm.scheduler.tables import ban


def unpack_node_history(work: WorkingSet, node: Node, state: Element) -> None:
    """All <lrm_resource> of a node, in document order."""
    leftovers: list[Resource] = []
    section = state.path("lrm", "lrm_resources")
    for item in section.all("lrm_resource") if section is not None else ():
        resource = _unpack_lrm_resource(work, node, item)
        if resource is not None and resource.container_id:
            leftovers.append(resource)
    for resource in leftovers:
        _map_to_launcher(work, resource)


def _map_to_launcher(work: WorkingSet, resource: Resource) -> None:
    launcher = work.resources_by_id.get(resource.container_id)
    if launcher is None or resource.launcher is not None:
        return
    resource.launcher = launcher
    launcher.launched.append(resource)
    if resource.is_remote_connection:
        guest = work.nodes_by_name.get(resource.id)
        if guest is not None:
            guest.kind = NodeKind.GUEST
            guest.attributes["#kind"] = "container"


def _unpack_lrm_resource(work: WorkingSet, node: Node, item: Element) -> Resource | None:
    reading = work.readings.of(item)
    entries = reading.entries
    locked = values.integer(item.attributes.get("shutdown-lock")) if work.options.shutdown_lock else 0
    if not item.id or (not entries and not locked):
        return None
    resource = _find_resource(work, node, item.id)
    if resource is None:
        if not entries:
            return None
        resource = _removed_resource(work, item)
        if resource is None:
            return None
    if work.options.shutdown_lock:
        read_lock(work, resource, node, item)
    saved_role = resource.orig_role
    resource.orig_role = Role.UNKNOWN
    run = HistoryRun(resource, node)
    if reading.is_stopped_probe and resource.failure_timeout_ms == 0:
        resource.orig_role, resource.next_role = Role.STOPPED, Role.UNKNOWN
    else:
        for entry in entries:
            process_entry(work, run, entry)
        _recurring_operations(work, resource, node, reading)
    _apply_state(work, resource, node, run.on_fail)
    limit = target_role(resource)
    if limit is not Role.UNKNOWN and (resource.next_role is Role.UNKNOWN or limit < resource.next_role):
        resource.next_role = limit
    resource.orig_role = max(resource.orig_role, saved_role)
    return resource


# --- which resource


def _find_resource(work: WorkingSet, node: Node, name: str) -> Resource | None:
    found = work.resources_by_id.get(name) or work.history_ids.get(name)
    if found is None:
        zero = work.resources_by_id.get(without_number(name) + ":0")
        if zero is None or zero.unique:
            return None
        found = zero
    elif not found.is_primitive:
        return None
    parent = found.top()
    if parent.is_clone and not parent.unique:
        if parent.parent is not None:
            found = _replica_part(parent.parent, node)
        else:
            found = _anonymous_instance(work, node, parent, without_number(name))
    if found is not None and name not in {found.id, found.history_id}:
        found.history_id = name
        work.history_ids.setdefault(name, found)
    return found


def _replica_part(bundle: Resource, node: Node) -> Resource | None:
    assert bundle.bundle is not None
    for replica in bundle.bundle.replicas:
        if replica.node is node:
            return replica.child
    return None


def _member_named(instance: Resource, base: str) -> Resource | None:
    for one in instance.primitives():
        if without_number(one.id) == base:
            return one
    return None


def _anonymous_instance(work: WorkingSet, node: Node, clone: Resource, base: str) -> Resource | None:
    found: Resource | None = None
    inactive: Resource | None = None
    skip_inactive = False
    primitive = Variant.PRIMITIVE
    for instance in clone.children:
        # Each node's history meets each instance here: most are primitives on one node, nothing pending.
        places = instance.active_nodes
        if instance.variant is not primitive or instance.pending_node is not None:
            places = locations(instance, current=True, pending=True)
        if places:
            if places[0] is node:
                found = _member_named(instance, base)
                if found is not None and found.active_nodes:
                    skip_inactive = True
                    found = None
                if found is not None:
                    break
        elif not skip_inactive and inactive is None and not instance.blocked:
            inactive = _member_named(instance, base)
            if inactive is not None and inactive.pending_node not in {None, node}:
                inactive = None
    if found is None and not skip_inactive:
        found = inactive
    if (
        found is not None
        and not found.needs_fencing
        and (not node.online or node.unclean)
        and node.kind is not NodeKind.GUEST
        and clone.clone_max != len(work.nodes)
    ):
        found = None
    if found is None:
        surplus = make_instance(work, clone)
        found = _member_named(surplus, base) if surplus is not None else None
    return found


def _removed_resource(work: WorkingSet, item: Element) -> Resource | None:
    if not item.get("class") or not item.get("type"):
        return None
    attributes = {
        name: item.get(name) for name in ("id", "class", "provider", "type") if name in item.attributes
    }
    resource = unpack_resource(work, Element("primitive", attributes), None)
    if resource is None:
        return None
    resource.removed = True
    work.resources.append(resource)
    resource.container_id = item.get("container")
    if resource.is_remote_connection:
        own = work.nodes_by_name.get(resource.id)
        if own is None:
            own = create_remote_node(work, resource.id, NodeKind.REMOTE)
        link_connection(work, resource)
        own.shutdown = True
    if resource.agent_class == "stonith":
        work.have_fencing = True
    if not work.options.stop_removed_resources:
        resource.managed = False
    else:
        ban(work, resource, None, -INFINITY, "removed", resource.id)
    return resource


# --- recurring operations that exist


def _recurring_operations(work: WorkingSet, resource: Resource, node: Node, reading: Reading) -> None:
    if not node.online:
        return
    start, stop = reading.start, reading.stop
    for index, facts in enumerate(reading.entries):
        if (start < stop and index <= stop) or index < start:
            continue
        if facts.interval_ms == 0 or facts.status == Status.PENDING:
            continue
        key = key_of(resource.id, facts.task, facts.interval_ms)
        find_or_make(work, resource, key, facts.task, node, optional=True)


# --- what follows for the resource


def _apply_state(work: WorkingSet, resource: Resource, node: Node, on_fail: OnFail) -> None:
    role = resource.orig_role
    if role is not Role.UNKNOWN:
        here: Resource | None = resource
        while here is not None:
            here.probed_nodes.setdefault(node.id, node)
            if here.unique:
                break
            here = here.parent
    if role > Role.STOPPED and not node.online and not node.maintenance and resource.managed:
        _fence_for_active(work, resource, node)
    act_on = OnFail.IGNORE if node.unclean else on_fail
    _act_on_failure(work, resource, node, act_on)
    if resource.failed and resource.is_remote_connection:
        own = work.nodes_by_name.get(resource.id)
        if own is not None and own.unclean:
            own.unseen = False
    if resource.orig_role not in {Role.STOPPED, Role.UNKNOWN}:
        add_active_node(work, resource, node, failed=on_fail is not OnFail.IGNORE)
        if act_on is not OnFail.IGNORE:
            resource.failed = True
            if act_on not in {OnFail.DEMOTE, OnFail.BLOCK}:
                resource.stop_if_failed = True
    elif resource.history_id is not None and ":" in resource.history_id:
        resource.history_id = None
    else:
        for action in resource.actions_by_task.get("stop", ()):
            if action.node is node:
                action.optional = True
    if (
        resource.orig_role is Role.STOPPED
        and resource.partial_source is node
        and resource.partial_target is not None
        and resource.active_nodes
    ):
        resource.orig_role = Role.STARTED


def _fence_for_active(work: WorkingSet, resource: Resource, node: Node) -> None:
    reason = f"{resource.id} is thought to be active there"
    if node.kind is NodeKind.GUEST:
        resource.failed = resource.stop_if_failed = True
    elif work.options.fencing_enabled:
        if node.kind is NodeKind.REMOTE and node.connection is not None and not node.connection.failed:
            node.unseen = True
            reason = (
                f"{resource.id} is active there (fencing will be revoked if remote connection can be "
                "re-established elsewhere)"
            )
    else:
        return
    request_fencing(work, node, reason)


_ROLES_DOWN: Final = frozenset({Role.STOPPED, Role.UNKNOWN})


def _act_on_failure(work: WorkingSet, resource: Resource, node: Node, on_fail: OnFail) -> None:
    active = resource.orig_role not in _ROLES_DOWN
    match on_fail:
        case OnFail.DEMOTE:
            resource.failed = True
            demote_on(work, resource, node, optional=False)
        case OnFail.FENCE:
            request_fencing(work, node, f"{resource.id} failed there")
        case OnFail.STANDBY:
            node.standby = node.standby_on_fail = True
        case OnFail.BLOCK:
            resource.managed, resource.blocked = False, True
        case OnFail.BAN:
            ban(work, resource, node, -INFINITY, "failure", resource.id)
        case OnFail.STOP:
            resource.next_role = Role.STOPPED
        case OnFail.RESTART:
            if active:
                resource.failed = resource.stop_if_failed = True
                stop_on(work, resource, node, optional=False)
        case OnFail.RESTART_CONTAINER:
            resource.failed = resource.stop_if_failed = True
            if resource.launcher is not None and resource.is_in_bundle():
                work.stop_needed.append(resource.launcher)
            elif resource.launcher is not None:
                stop_on(work, resource.launcher, node, optional=False)
            elif active:
                stop_on(work, resource, node, optional=False)
        case OnFail.RESET_REMOTE:
            _reset_remote(work, resource, node)
        case _:
            pass


def _reset_remote(work: WorkingSet, resource: Resource, node: Node) -> None:
    resource.failed = resource.stop_if_failed = True
    own = work.nodes_by_name.get(resource.id)
    unfenced = own is not None and own.kind is NodeKind.REMOTE and not own.remote_was_fenced
    if work.options.fencing_enabled and own is not None and unfenced:
        request_fencing(work, own, "remote connection is unrecoverable")
    if resource.orig_role > Role.STOPPED:
        stop_on(work, resource, node, optional=False)
    if resource.reconnect_interval_ms:
        resource.next_role = Role.STOPPED
