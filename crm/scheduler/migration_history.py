"""Live migrations in the history: interrupted, failed and dangling ones."""

from __future__ import annotations

from typing import Final

from crm.cib.model import Element
from crm.scheduler import history
from crm.scheduler.active_nodes import add_active_node
from crm.scheduler.model import Node, Resource, Role, Status, WorkingSet

_CHANGES_STATE: Final = frozenset({"start", "stop", "migrate_to", "migrate_from"})
_UNKNOWN_RC: Final = 193
_NOT_RUNNING: Final = 7


def _entries(work: WorkingSet, resource: Resource, node_name: str) -> tuple[Element, ...]:
    found = work.histories.get((node_name, resource.id))
    return found.all("lrm_rsc_op") if found is not None else ()


def _find(
    work: WorkingSet, resource: Resource, node_name: str, task: str, source: str = ""
) -> Element | None:
    for item in _entries(work, resource, node_name):
        if item.get("operation") != task:
            continue
        if source and task == "migrate_from" and item.get("migrate_source") != source:
            continue
        if source and task == "migrate_to" and item.get("migrate_target") != source:
            continue
        return item
    return None


def _is_success(item: Element | None) -> bool:
    return item is not None and history.rc_of(item) == 0 and history.status_of(item) == Status.DONE


def _known_on(work: WorkingSet, resource: Resource, node_name: str) -> bool:
    return any(history.rc_of(item) != _UNKNOWN_RC for item in _entries(work, resource, node_name))


def _newer_change(work: WorkingSet, resource: Resource, node_name: str, than: Element) -> bool:
    return any(
        item.get("operation") in _CHANGES_STATE and history.is_newer(item, than)
        for item in _entries(work, resource, node_name)
    )


def _newer_stopped_monitor(work: WorkingSet, resource: Resource, node_name: str, than: Element) -> bool:
    for item in _entries(work, resource, node_name):
        if item.get("operation") == "monitor":
            return (
                history.rc_of(item) == _NOT_RUNNING
                and history.status_of(item) == Status.DONE
                and history.is_newer(item, than)
            )
    return False


def _newer_state(
    work: WorkingSet,
    resource: Resource,
    node_name: str,
    migrate_to: Element | None,
    migrate_from: Element | None,
) -> bool:
    than = migrate_from if migrate_from is not None else migrate_to
    if migrate_to is not None and migrate_from is not None:
        source = migrate_to.get("migrate_source")
        if source == node_name:
            than = migrate_to
    if than is None:
        return False
    return _newer_change(work, resource, node_name, than) or _newer_stopped_monitor(
        work, resource, node_name, than
    )


def migrate_to_success(work: WorkingSet, resource: Resource, node: Node, item: Element) -> None:
    """A completed migrate_to: the other half decides where the resource is now."""
    source, target = item.get("migrate_source"), item.get("migrate_target")
    if not source or not target:
        return
    source_newer = _newer_change(work, resource, source, item)
    migrate_from = _find(work, resource, target, "migrate_from", source)
    if migrate_from is not None and source_newer:
        return
    newer_on_target = _newer_state(work, resource, target, item, migrate_from)
    if source_newer and newer_on_target:
        return
    pending = migrate_from is not None and history.status_of(migrate_from) == Status.PENDING
    if migrate_from is not None and not pending and _is_success(migrate_from):
        resource.orig_role = Role.STOPPED
        resource.dangling_sources.append(node)
        return
    resource.orig_role = Role.STARTED
    target_node = work.nodes_by_name.get(target)
    source_node = work.nodes_by_name.get(source)
    active_on_target = not newer_on_target and target_node is not None and target_node.online
    if migrate_from is not None and not pending:
        if active_on_target:
            assert target_node is not None
            add_active_node(work, resource, target_node, failed=True)
        else:
            _mark_failed(resource)
        return
    if target_node is not None and target_node.online and not _known_on(work, resource, target):
        return
    if active_on_target:
        assert target_node is not None
        add_active_node(work, resource, target_node, failed=False)
        if source_node is not None and source_node.online:
            resource.partial_source = source_node
            resource.partial_target = target_node
    elif not source_newer:
        _mark_failed(resource)


def _mark_failed(resource: Resource) -> None:
    resource.failed = resource.stop_if_failed = True
    resource.migratable = False


def migrate_to_failure(work: WorkingSet, resource: Resource, node: Node, item: Element) -> None:
    """A failed migrate_to: it may run on the source still, or on the target already."""
    source, target = item.get("migrate_source"), item.get("migrate_target")
    if not source or not target:
        return
    resource.orig_role = Role.STARTED
    migrate_from = _find(work, resource, target, "migrate_from", source)
    if not _is_success(migrate_from):
        migrate_from = None
    if _known_on(work, resource, target) and not _newer_state(work, resource, target, item, migrate_from):
        target_node = work.nodes_by_name.get(target)
        if target_node is not None and target_node.online:
            add_active_node(work, resource, target_node, failed=False)
    elif not _newer_change(work, resource, source, item):
        resource.dangling_sources.append(node)


def migrate_from_failure(work: WorkingSet, resource: Resource, item: Element) -> None:
    """A failed migrate_from: it may run on the source still."""
    source, target = item.get("migrate_source"), item.get("migrate_target")
    if not source or not target:
        return
    resource.orig_role = Role.STARTED
    migrate_to = _find(work, resource, source, "migrate_to", target)
    if not _is_success(migrate_to):
        migrate_to = None
    if _known_on(work, resource, source) and not _newer_state(work, resource, source, migrate_to, item):
        source_node = work.nodes_by_name.get(source)
        if source_node is not None and source_node.online:
            add_active_node(work, resource, source_node, failed=True)
