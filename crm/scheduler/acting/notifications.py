"""Notifications of clones with notify=true: their points in time, and the notify actions of instances."""

from __future__ import annotations

from typing import Final

from crm.scheduler.actions import actions_with_task, find_or_make
from crm.scheduler.model import Action, Node, NodeKind, NotificationPoints, Rel, Resource, Role, WorkingSet
from crm.scheduler.relations import add_pair, order_actions
from crm.scheduler.scores import INFINITY
from hacluster.records import field, record

_COMPLETED: Final = {"start": "running", "stop": "stopped", "promote": "promoted", "demote": "demoted"}


@record()
class Lists:
    """(resource id, node) pairs for the variables of one kind of notification."""

    start: list[tuple[str, Node | None]] = field(default_factory=list)
    stop: list[tuple[str, Node | None]] = field(default_factory=list)
    promote: list[tuple[str, Node | None]] = field(default_factory=list)
    demote: list[tuple[str, Node | None]] = field(default_factory=list)
    active: list[tuple[str, Node | None]] = field(default_factory=list)
    inactive: list[tuple[str, Node | None]] = field(default_factory=list)
    promoted: list[tuple[str, Node | None]] = field(default_factory=list)
    unpromoted: list[tuple[str, Node | None]] = field(default_factory=list)


def _point(
    work: WorkingSet,
    resource: Resource,
    kind: str,
    key_task: str,
    task: str,
    follows: Action,
) -> Action:
    """`task`: the base task the notification is about; `key_task`: the one its key names."""
    confirmed = kind.startswith("confirmed-")
    key = f"{resource.id}_{kind}_notify_{key_task}_0"
    action = find_or_make(
        work, resource, key, "notified" if confirmed else "notify", None, optional=follows.optional
    )
    action.pseudo = True
    action.meta.update(
        notify_type=kind.removeprefix("confirmed-"),
        notify_operation=task,
        notify_key_type=kind,
        notify_key_operation=key_task,
    )
    return action


def create_notification_points(
    work: WorkingSet, clone: Resource, task: str, action: Action, complete: Action
) -> None:
    """pre, confirmed-pre before the action; post, confirmed-post after its completion."""
    if not clone.notify or not clone.is_clone:
        return
    points = NotificationPoints(task)
    points.pre = _point(work, clone, "pre", task, task, action)
    points.pre.runnable = True
    points.pre_done = _point(work, clone, "confirmed-pre", task, task, action)
    points.pre_done.runnable = True
    order_actions(points.pre, points.pre_done, Rel.ORDERED)
    order_actions(points.pre_done, action, Rel.ORDERED)
    completed = _COMPLETED[task]
    _post_points(work, clone, points, completed, complete)
    assert points.post is not None
    order_actions(points.pre_done, points.post, Rel.ORDERED)
    work.notifications.setdefault(clone.id, {})[task] = points
    _between_kinds(work, clone, points)


def _post_points(
    work: WorkingSet, resource: Resource, points: NotificationPoints, key_task: str, complete: Action
) -> None:
    points.post = _point(work, resource, "post", key_task, points.task, complete)
    points.post_done = _point(work, resource, "confirmed-post", key_task, points.task, complete)
    for one in (points.post, points.post_done):
        one.priority = INFINITY
        one.runnable = complete.runnable
    order_actions(complete, points.post, Rel.FIRST_IMPLIES_THEN)
    order_actions(points.post, points.post_done, Rel.FIRST_IMPLIES_THEN)


def _between_kinds(work: WorkingSet, clone: Resource, points: NotificationPoints) -> None:
    known = work.notifications[clone.id]

    def connect(first: str, then: str) -> None:
        done = known[first].post_done if first in known else None
        before = known[then].pre if then in known else None
        if done is not None and before is not None:
            order_actions(done, before, Rel.ORDERED)

    match points.task:
        case "stop":
            connect("stop", "start")
        case "demote":
            for first, then in (
                ("stop", "promote"),
                ("start", "promote"),
                ("demote", "promote"),
                ("demote", "start"),
                ("demote", "stop"),
            ):
                connect(first, then)
        case _:
            pass


# --- when the graph is written


def complete_notifications(work: WorkingSet, clone: Resource) -> None:
    """Collect who does what, give the variables to all concerned, and create the notify actions."""
    known = work.notifications.get(clone.id)
    if known is None:
        return
    for task in ("start", "stop", "promote", "demote"):
        points = known.get(task)
        if points is None:
            continue
        lists = _collect(clone)
        variables = _variables(work, clone, lists)
        _require_points(points, lists)
        for one in clone.primitives():
            for base in _COMPLETED:
                for action in one.actions_by_task.get(base, ()):
                    if not action.optional and action.node is not None:
                        action.meta.update(variables)
        if task != "stop" and not getattr(lists, task):
            continue
        for one in clone.primitives():
            _instance_notifications(work, one, points, variables)


def _collect(clone: Resource) -> Lists:
    lists = Lists()
    for one in clone.primitives():
        node = one.active_nodes[0] if one.active_nodes else None
        pair = (one.id, node)
        match one.orig_role:
            case Role.STOPPED | Role.UNKNOWN:
                lists.inactive.append((one.id, None))
            case Role.STARTED:
                lists.active.append(pair)
            case Role.UNPROMOTED:
                lists.unpromoted.append(pair)
                lists.active.append(pair)
            case _:
                lists.promoted.append(pair)
                lists.active.append(pair)
        for task in _COMPLETED:
            target: list[tuple[str, Node | None]] = getattr(lists, task)
            for action in reversed(one.actions_by_task.get(task, ())):
                if action.optional or action.node is None:
                    continue
                if action.runnable or (task == "stop" and action.node.unclean):
                    target.append((one.id, action.node))
    return lists


def _require_points(points: NotificationPoints, lists: Lists) -> None:
    if not getattr(lists, points.task):
        return
    for point in (points.pre, points.pre_done, points.post, points.post_done):
        if point is not None:
            point.optional = False


def _texts(pairs: list[tuple[str, Node | None]]) -> tuple[str, str]:
    """(resource ids, node names), one entry a resource; a single blank where there is none."""
    ordered = sorted(
        pairs, key=lambda pair: (pair[0].encode(), pair[1].id.encode() if pair[1] is not None else b"")
    )
    seen: set[str] = set()
    ids: list[str] = []
    names: list[str] = []
    for name, node in ordered:
        if name in seen:
            continue
        seen.add(name)
        ids.append(name)
        if node is not None:
            names.append(node.name)
    return " ".join(ids) or " ", " ".join(names) or " "


def _variables(work: WorkingSet, clone: Resource, lists: Lists) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, pairs in (
        ("stop", lists.stop),
        ("start", lists.start),
        ("demote", lists.demote),
        ("promote", lists.promote),
        ("active", lists.active),
        ("unpromoted", lists.unpromoted),
        ("slave", lists.unpromoted),
        ("promoted", lists.promoted),
        ("master", lists.promoted),
    ):
        found[f"notify_{name}_resource"], found[f"notify_{name}_uname"] = _texts(pairs)
    found["notify_inactive_resource"] = _texts(lists.inactive)[0]
    available = sorted((entry.node for entry in clone.allowed.values()), key=lambda node: node.name.encode())
    found["notify_available_uname"] = " ".join(node.name for node in available) or " "
    found["notify_all_uname"] = " ".join(node.name for node in work.nodes) or " "
    if clone.meta.get("container-attribute-target") == "host":
        hosts = [_host_name(node) for node in work.nodes]
        found["notify_all_hosts"] = " ".join(hosts) or " "
    return found


def _host_name(node: Node) -> str:
    launcher = node.launcher if node.kind is NodeKind.GUEST else None
    if launcher is None:
        return node.name
    return launcher.active_nodes[0].name if launcher.active_nodes else node.name


def _instance_notifications(
    work: WorkingSet, resource: Resource, points: NotificationPoints, variables: dict[str, str]
) -> None:
    task = points.task
    if task in {"stop", "demote"} and resource.orig_role is not Role.STOPPED:
        for node in resource.active_nodes:
            stops = actions_with_task(resource, "stop", node)
            stop = stops[-1] if stops else None
            if stop is not None and stop.pseudo and (node.unclean or node.remote_reset):
                continue
            _notify(work, resource, points, node, variables, post=False)
            if task == "demote" or stop is None or stop.optional:
                _notify(work, resource, points, node, variables, post=True)
    if task in {"start", "promote"} and resource.next_role is not Role.STOPPED:
        place = resource.assigned_node
        if place is None:
            return
        starts = actions_with_task(resource, "start", place)
        start = starts[-1] if starts else None
        if start is not None and _connection_will_not_start(start):
            return
        if task != "start" or start is None or start.optional:
            _notify(work, resource, points, place, variables, post=False)
        _notify(work, resource, points, place, variables, post=True)


def _connection_will_not_start(start: Action) -> bool:
    node = start.node
    connection = node.connection if node is not None and node.kind is not NodeKind.CLUSTER else None
    if connection is None:
        return False
    starts = connection.actions_by_task.get("start", ())
    return bool(starts) and not any(one.runnable for one in starts)


def _notify(
    work: WorkingSet,
    resource: Resource,
    points: NotificationPoints,
    node: Node,
    variables: dict[str, str],
    *,
    post: bool,
) -> None:
    point, done = (points.post, points.post_done) if post else (points.pre, points.pre_done)
    if point is None or done is None or not node.online or not point.runnable:
        return
    kind = "post" if post else "pre"
    key = f"{resource.id}_{kind}_notify_{points.task}_0"
    action = find_or_make(work, resource, key, "notify", node, optional=point.optional)
    for name, value in point.meta.items():
        action.meta.setdefault(name, value)
    action.meta.update(variables)
    add_pair(point, action, Rel.ORDERED)
    add_pair(action, done, Rel.ORDERED)
    if not post:
        return
    action.priority = INFINITY
    for one in resource.actions:
        if one.meta.get("interval", "0") != "0" and one.task != "cancel":
            add_pair(done, one, Rel.ORDERED)


# --- implied stops of fenced nodes


def notify_implied_stop(work: WorkingSet, resource: Resource, stop: Action, fencing: Action) -> None:
    """Tell the others that a resource's stop is implied by fencing.

    Who stays is judged now, not after orderings have made further stops necessary.
    """
    points = NotificationPoints("stop")
    _post_points(work, resource, points, "stonith", fencing)
    lists = Lists(stop=[(resource.id, stop.node)])
    ids, names = _texts(lists.stop)
    variables = {"notify_stop_resource": ids, "notify_stop_uname": names}
    for point in (points.post, points.post_done):
        if point is not None:
            point.optional = False
    for base in _COMPLETED:
        for action in resource.actions_by_task.get(base, ()):
            if not action.optional and action.node is not None:
                action.meta.update(variables)
    for one in resource.top().primitives():
        if one is not resource:
            _instance_notifications(work, one, points, variables)
