"""Actions are found by key and node, and made only when there is none (never twice)."""

from __future__ import annotations

from typing import Final

from crm.scheduler import operations, unfencing
from crm.scheduler.activity import is_active
from crm.scheduler.model import (
    Action,
    Needs,
    Node,
    NodeKind,
    Resource,
    Role,
    WorkingSet,
)
from crm.scheduler.options import NoQuorum
from hacluster.digits import is_count

UP_TASKS: Final = frozenset({"start", "promote", "migrate_from"})
_NESTING_MAX: Final = 5  # guests on guests; a cycle ends here
_NOTIFY_KINDS: Final = ("_confirmed-post_notify_", "_confirmed-pre_notify_", "_post_notify_", "_pre_notify_")


def key_of(resource_id: str, task: str, interval_ms: int = 0) -> str:
    """RSC_TASK_INTERVALms."""
    return f"{resource_id}_{task}_{interval_ms}"


def split_key(key: str) -> tuple[str, str, int] | None:
    """(resource id, task, interval) of a key; the task of a notification keeps its prefix."""
    head, _, interval = key.rpartition("_")
    if not head or not is_count(interval):
        return None
    for kind in _NOTIFY_KINDS:
        at = head.rfind(kind)
        if at > 0:
            return head[:at], head[at + 1 :], int(interval)
    for task in ("migrate_to", "migrate_from"):
        if head.endswith("_" + task):
            return head[: -len(task) - 1], task, int(interval)
    name, _, task = head.rpartition("_")
    return (name, task, int(interval)) if name else None


# --- finding


def find_key(resource: Resource | None, work: WorkingSet, key: str, node: Node | None) -> list[Action]:
    """Actions with that key on that node (None: on any), oldest first; one without a node gets it."""
    table = resource.actions_by_key if resource is not None else work.actions_by_key
    found: list[Action] = []
    for action in table.get(key, ()):
        if node is None or action.node is node:
            found.append(action)
        elif action.node is None:
            action.node = node
            found.append(action)
    return found


def first_with_task(resource: Resource, task: str, node: Node | None = None) -> Action | None:
    """The newest action with that task, on that node if one is given."""
    for action in reversed(resource.actions_by_task.get(task, ())):
        if node is None or action.node is node:
            return action
    return None


def actions_with_task(resource: Resource, task: str, node: Node) -> list[Action]:
    """All actions of the key RSC_TASK_0 on exactly that node, oldest first."""
    return [one for one in resource.actions_by_key.get(key_of(resource.id, task), ()) if one.node is node]


def set_task(action: Action, task: str) -> None:
    """Change the task of an action that exists (a recurring operation becomes its cancellation)."""
    resource = action.resource
    if resource is not None:
        resource.actions_by_task[action.task].remove(action)
        resource.actions_by_task.setdefault(task, []).append(action)
    action.task = task


def set_reason(action: Action, reason: str, *, overwrite: bool = False) -> None:
    """Say why an action is as it is; the first reason stays unless overwritten."""
    if overwrite or not action.reason:
        action.reason = reason


# --- making


def find_or_make(
    work: WorkingSet, resource: Resource | None, key: str, task: str, node: Node | None, *, optional: bool
) -> Action:
    """The action with that key on that node; updates whether it is optional and can run."""
    existing = find_key(resource, work, key, node)
    action = existing[0] if existing else _make(work, resource, key, task, node, optional=optional)
    if (
        resource is not None
        and action.node is not None
        and not action.pseudo
        and not resource.managed
        and "interval" not in action.meta
    ):
        action.optional = True
    elif not optional:
        action.optional = False
    if resource is not None:
        update_runnable(work, action)
    return action


def _make(
    work: WorkingSet, resource: Resource | None, key: str, task: str, node: Node | None, *, optional: bool
) -> Action:
    action = Action(
        id=work.next_action_id, key=key, task=task, node=node, resource=resource, optional=optional
    )
    work.next_action_id += 1
    action.on_dc = task == "lrm_delete"
    if resource is not None:
        parts = split_key(key)
        action.interval_ms = parts[2] if parts is not None else 0
        name = "notify" if task in {"notify", "notified"} else task
        action.operation = operations.find_operation(resource, name, action.interval_ms)
        action.meta = operations.operation_meta(work, resource, name, action.interval_ms)
        action.needs = _needs(resource, task)
        resource.actions.append(action)
        resource.actions_by_key.setdefault(key, []).append(action)
        resource.actions_by_task.setdefault(task, []).append(action)
        if action.operation is not None:
            action.extra = operations.operation_parameters(work, resource, action.operation, node)
    work.actions.append(action)
    work.actions_by_key.setdefault(key, []).append(action)
    return action


def _needs(resource: Resource, task: str) -> Needs:
    if task not in {"start", "promote"}:
        return Needs.NOTHING
    if resource.needs_fencing:
        return Needs.FENCING
    return Needs.QUORUM if resource.needs_quorum else Needs.NOTHING


def make_for_task(
    work: WorkingSet, resource: Resource, task: str, node: Node | None, *, optional: bool
) -> Action:
    """As `find_or_make` with the key RSC_TASK_0."""
    return find_or_make(work, resource, key_of(resource.id, task), task, node, optional=optional)


def pseudo_action(work: WorkingSet, key: str) -> Action:
    """The pseudo action with that key and no resource: optional and runnable when new."""
    existing = work.actions_by_key.get(key)
    if existing:
        return existing[0]
    action = _make(work, None, key, key, None, optional=True)
    action.pseudo = True
    return action


def resource_pseudo_action(
    work: WorkingSet, resource: Resource, task: str, *, optional: bool, runnable: bool
) -> Action:
    """A point in time of a collective: RSC_TASK_0 as a pseudo action."""
    action = make_for_task(work, resource, task, None, optional=optional)
    action.pseudo = True
    action.runnable = runnable
    return action


def update_runnable(work: WorkingSet, action: Action) -> None:
    """Decide anew whether a resource's action can run, by its node and by quorum."""
    resource = action.resource
    if action.pseudo or resource is None:
        return
    node = action.node
    if node is None:
        action.runnable = False
    elif not action.on_dc and not node.online and (node.kind is not NodeKind.GUEST or node.remote_reset):
        action.runnable = False
        if resource.managed and action.task == "stop" and not node.unclean:
            request_fencing(work, node, "stop is unrunnable")
    elif not action.on_dc and node.pending:
        action.runnable = False
    elif action.needs is Needs.NOTHING:
        action.reason = ""
        action.runnable = node.kind is not NodeKind.GUEST or can_fence(work, node)
    else:
        _apply_quorum(work, action, resource)


def _apply_quorum(work: WorkingSet, action: Action, resource: Resource) -> None:
    policy = work.options.no_quorum
    if work.have_quorum:
        policy = NoQuorum.IGNORE
    elif policy is NoQuorum.DEMOTE:
        if resource.orig_role in {Role.PROMOTED, Role.UNPROMOTED}:
            resource.next_role = min(resource.next_role, Role.UNPROMOTED)
            policy = NoQuorum.IGNORE
        else:
            policy = NoQuorum.STOP
    if policy is NoQuorum.STOP:
        action.runnable = False
        set_reason(action, "no quorum", overwrite=True)
    elif policy is NoQuorum.FREEZE:
        if not is_active(resource, every=True) or resource.next_role > resource.orig_role:
            action.runnable = False
            set_reason(action, "quorum freeze", overwrite=True)
    else:
        action.runnable = True


# --- fencing requests


def can_fence(work: WorkingSet, node: Node, depth: int = 0) -> bool:
    """Whether the cluster may fence this node now."""
    if node.kind is NodeKind.GUEST:
        launcher = node.launcher
        if launcher is None:
            return True
        return depth < _NESTING_MAX and all(
            host.online or can_fence(work, host, depth + 1) for host in launcher.active_nodes
        )
    if not work.options.fencing_enabled or not work.have_fencing:
        return False
    if work.have_quorum or work.options.no_quorum is NoQuorum.IGNORE:
        return True
    if not node.online:
        return False
    if node.connection is not None and not work.options.fence_remote_without_quorum:
        return all(entry.node.online for entry in node.connection.allowed.values())
    return True


def fence_action(
    work: WorkingSet,
    node: Node,
    task: str,
    *,
    optional: bool,
    reason: str,
    priority_delay: bool = False,
) -> Action:
    """The action that fences (or unfences, "on") a node; required only where fencing is possible."""
    kind = task or work.options.fencing_action
    key = f"stonith-{node.name}-{kind}"
    existing = work.actions_by_key.get(key)
    if existing:
        action = existing[0]
    else:
        action = _make(work, None, key, "stonith", node, optional=True)
        action.meta.update(on_node=node.name, on_node_uuid=node.id, stonith_action=kind)
        if work.unfencing_in_use and unfencing.add_device_digests(work, action, node):
            optional = False
    if work.options.priority_fencing_delay_s > 0 and (
        priority_delay or "priority-fencing-delay" in action.meta
    ):
        action.meta["priority-fencing-delay"] = str(_priority_delay_s(work, node))
    if not optional and can_fence(work, node):
        action.optional = False
        set_reason(action, reason)
    elif reason:
        set_reason(action, reason)
    return action


def _priority_delay_s(work: WorkingSet, node: Node) -> int:
    if node.kind is not NodeKind.CLUSTER or node.online:
        return 0
    members = [one for one in work.nodes if one.kind is NodeKind.CLUSTER]
    if sum(one.online for one in members) > len(members) // 2:
        return 0
    priorities = [one.priority for one in members]
    if min(priorities) == max(priorities) or node.priority < max(priorities):
        return 0
    return work.options.priority_fencing_delay_s


def request_fencing(work: WorkingSet, node: Node, reason: str, *, priority_delay: bool = False) -> None:
    """Mark a node as one that must be fenced before anything it ran may run elsewhere."""
    connection = node.connection
    if node.kind is NodeKind.GUEST:
        launcher = node.launcher
        if launcher is not None and not launcher.failed and launcher.managed:
            node.remote_reset = True
            launcher.failed = launcher.stop_if_failed = True
        elif launcher is None and connection is not None:
            connection.failed = True
        return
    if node.kind is NodeKind.REMOTE:
        if connection is None or connection.managed:
            node.remote_reset = True
            if not node.unclean:
                node.unclean = True
            fence_action(work, node, "", optional=True, reason=reason)
        else:
            node.unclean = True
        return
    node.unclean = True
    fence_action(work, node, "", optional=True, reason=reason, priority_delay=priority_delay)
