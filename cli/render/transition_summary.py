"""What a transition does to each resource, one line each, in the words of crm_simulate. Pure.

Source of the rules: the observable output of Pacemaker's scheduler regression cases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crm.scheduler.activity import current_node
from crm.scheduler.model import Action, Node, Resource, Role, Variant, WorkingSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line: what happens to a resource, from where to where, and why."""

    word: str
    resource: str
    details: str
    reason: str = ""
    blocked: bool = False
    origin: str = ""
    target: str = ""
    before: Role = Role.UNKNOWN
    after: Role = Role.UNKNOWN

    def tail(self) -> str:
        """The reason as it is printed, empty when there is nothing to say."""
        if self.reason and self.blocked:
            return f"due to {self.reason} (blocked)"
        if self.reason:
            return f"due to {self.reason}"
        return "blocked" if self.blocked else ""


def summary_lines(work: WorkingSet) -> list[str]:
    """The items of "Transition Summary": fencing first, then resources in list order."""
    lines = [f"  * {text}" for text in fencing_texts(work)]
    found = list(changes(work))
    id_width, details_width = _widths(found)
    for change in found:
        line = f"  * {change.word:<8}   {change.resource:<{id_width}}   ( {change.details:>{details_width}} )"
        tail = change.tail()
        lines.append(f"{line}  {tail}" if tail else line)
    return lines


def _widths(found: list[Change]) -> tuple[int, int]:
    """Of the columns for ids and details. A longer id makes room for two more, as in crm_simulate."""
    id_width = details_width = 5
    for change in found:
        if len(change.resource) > id_width:
            id_width = len(change.resource) + 2
        details_width = max(details_width, len(change.details))
    return id_width, details_width


def fencing_texts(work: WorkingSet) -> Iterator[str]:
    """Actions without a resource that have a reason: fencing and unfencing, newest first."""
    for action in reversed(work.actions):
        if action.resource is not None or action.optional or not action.reason or action.task != "stonith":
            continue
        node = action.node
        assert node is not None, action.key
        operation = action.meta.get("stonith_action", "reboot")
        where = node.name
        if node.launcher is not None:
            where = f"{node.name} (resource: {node.launcher.id})"
        yield f"Fence ({operation}) {where} '{action.reason}'"


def changes(work: WorkingSet) -> Iterator[Change]:
    """What happens to each primitive, recursively in list order."""
    for resource in work.resources:
        yield from _resource(resource)


def _resource(resource: Resource) -> Iterator[Change]:
    if resource.variant is Variant.PRIMITIVE:
        yield from _primitive(resource)
    elif resource.variant is Variant.BUNDLE:
        assert resource.bundle is not None, resource.id
        for replica in resource.bundle.replicas:
            for part in (replica.ip, replica.container, replica.connection, replica.child):
                if part is not None:
                    yield from _resource(part)
    else:
        for child in resource.children:
            yield from _resource(child)


class _Found:
    """The actions of one primitive that decide its line."""

    def __init__(self, resource: Resource, current: Node | None, chosen: Node | None) -> None:
        self.resource = resource
        self.start = self._on("start", chosen)
        self.promote = self._on("promote", chosen)
        self.demote = self._on("demote", chosen)
        self.migrate_from = self._on("migrate_from", chosen)
        self.stop: Action | None = None
        if self.start is not None and self.start.runnable:
            self.stop = self._on("stop", current)
        else:
            self.stop = self._anywhere("stop")
        if self.stop is None and resource.stop_unexpected:
            self.stop = self._anywhere("stop")

    def _on(self, task: str, node: Node | None) -> Action | None:
        for action in self._actions(task):
            if node is None or action.node is None or action.node is node:
                return action
        return None

    def _anywhere(self, task: str) -> Action | None:
        return next(iter(self._actions(task)), None)

    def stop_on(self, node: Node) -> Action | None:
        """The oldest stop on that node."""
        return next((action for action in self._actions("stop") if action.node is node), None)

    def _actions(self, task: str) -> list[Action]:
        return self.resource.actions_by_key.get(f"{self.resource.id}_{task}_0", [])


def _primitive(resource: Resource) -> Iterator[Change]:
    current, chosen = current_node(resource), resource.assigned_node
    if resource.removed and not resource.active_nodes:
        return
    if not resource.managed or (current is None and chosen is None):
        return
    origin_role = resource.orig_role
    if resource.active_nodes and origin_role is Role.STOPPED:
        origin_role = Role.STARTED
    found = _Found(resource, current, chosen)
    line = _Line(resource, origin_role, resource.next_role)
    if origin_role is resource.next_role:
        yield from _same_role(line, found, current, chosen)
    else:
        yield from _other_role(line, found, current, chosen)


@dataclass(frozen=True, slots=True)
class _Line:
    """Makes the change's text for one resource."""

    resource: Resource
    before: Role
    after: Role

    def make(
        self,
        word: str,
        origin: Node | None,
        target: Node | None,
        action: Action | None,
        reason_from: Action | None = None,
    ) -> Change:
        """`action` decides whether it is blocked; the reason is `reason_from`'s, or `action`'s."""
        source = reason_from or action
        return Change(
            word=word,
            resource=self.resource.id,
            details=self._details(origin, target),
            reason=source.reason if source is not None else "",
            blocked=action is not None and not action.runnable,
            origin=origin.name if origin is not None else "",
            target=target.name if target is not None else "",
            before=self.before,
            after=self.after,
        )

    def _details(self, origin: Node | None, target: Node | None) -> str:
        before, after = self.before.label, self.after.label
        roles = self.before > Role.STARTED or self.after > Role.UNPROMOTED
        if origin is None:
            name = target.name if target is not None else ""
            return f"{before} -> {after} {name}" if roles else name
        if target is None:
            return f"{before} {origin.name}" if roles else origin.name
        same_role, same_node = self.before is self.after, origin is target
        if same_role and same_node:
            return f"{before} {origin.name}" if roles else origin.name
        if same_role:
            return f"{origin.name} -> {target.name} {before}" if roles else f"{origin.name} -> {target.name}"
        if same_node:
            return f"{before} -> {after} {origin.name}"
        return f"{before} {origin.name} -> {after} {target.name}"


def _same_role(line: _Line, found: _Found, current: Node | None, chosen: Node | None) -> Iterator[Change]:
    resource, start, stop = line.resource, found.start, found.stop
    if chosen is None:
        return
    moving = current is not None and current is not chosen
    if found.migrate_from is not None and found.migrate_from.runnable and current is not None:
        yield line.make("Migrate", current, chosen, start)
    elif resource.reload:
        yield line.make("Reload", current, chosen, start)
    elif start is None or start.optional:
        demote, promote = found.demote, found.promote
        if demote is not None and promote is not None and not demote.optional and not promote.optional:
            yield line.make("Re-promote", current, chosen, promote, demote)
    elif not start.runnable:
        reason = stop if stop is not None and stop.reason else start
        yield line.make("Stop", current, None, stop, reason)
    elif moving:
        yield line.make("Recover" if resource.failed else "Move", current, chosen, stop)
    elif resource.failed:
        yield line.make("Recover", current, None, stop)
    else:
        yield line.make("Restart", current, chosen, start)


def _other_role(line: _Line, found: _Found, current: Node | None, chosen: Node | None) -> Iterator[Change]:
    resource, start, stop = line.resource, found.start, found.stop
    moving = current is not None and chosen is not None and current is not chosen
    if stop is not None and (line.after is Role.STOPPED or (start is not None and not start.runnable)):
        for node in resource.active_nodes:
            there = found.stop_on(node)
            if there is None:
                continue
            reason = there if there.reason else start
            yield line.make("Stop", node, None, there, reason or there)
    elif resource.failed and resource.stop_if_failed and stop is not None:
        yield line.make("Recover", current, chosen, stop, start)
    elif moving:
        yield line.make("Move", current, chosen, stop)
    elif resource.reload:
        yield line.make("Reload", current, chosen, start)
    elif stop is not None and not stop.optional:
        yield line.make("Restart", current, chosen, start)
    elif line.before is Role.PROMOTED:
        yield line.make("Demote", current, chosen, found.demote)
    elif line.after is Role.PROMOTED:
        yield line.make("Promote", current, chosen, found.promote)
    elif line.before is Role.STOPPED and line.after > Role.STOPPED:
        yield line.make("Start", current, chosen, start)
