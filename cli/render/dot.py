"""A transition as Graphviz text in crm_simulate's form: an arrow from what comes first to what waits. Pure.

Bold and green is what will be done (pseudo events with orange letters); dashed and red what cannot be done,
with purple letters where it is not managed; with `every`, dashed and blue what need not be done.
"""

from __future__ import annotations

from crm.scheduler.actions import key_of
from crm.scheduler.kinds import Rel
from crm.scheduler.model import Action, WorkingSet
from crm.scheduler.propagation.inputs import is_input


def dot_text(work: WorkingSet, *, every: bool = False) -> str:
    """Newest actions first, as the reference writes them."""
    lines = [' digraph "g" {']
    shown: set[int] = set()
    for action in reversed(work.actions):
        style = _style(action, every=every)
        if style is not None:
            shown.add(action.id)
            frame, letters, line = style
            lines.append(
                f'{_quoted(action_name(action))} [ style={line} color="{frame}" fontcolor="{letters}"]'
            )
    for action in reversed(work.actions):
        seen: set[int] = set()
        for link in action.before:
            if link.action.id in seen:
                continue
            line = _arrow(action, link.action, link.flags)
            if line == "bold" or (line and (every or _both(action, link.action, link.flags, shown))):
                seen.add(link.action.id)
                names = f"{_quoted(action_name(link.action))} -> {_quoted(action_name(action))}"
                lines.append(f"{names} [ style = {line}]")
    return "\n".join([*lines, "}"]) + "\n"


def _style(action: Action, *, every: bool) -> tuple[str, str, str] | None:
    """(colour of the frame, of the letters, line), None for what is not shown."""
    letters = "orange" if action.pseudo else "black"
    if action.in_graph:
        return "green", letters, "bold"
    if action.resource is not None and not action.resource.managed:
        return ("red", "purple", "dashed") if every or not action.optional else None
    if action.optional:
        return ("blue", letters, "dashed") if every else None
    return "red", letters, "dashed"


def _arrow(action: Action, first: Action, flags: int) -> str:
    if not flags:
        return ""
    if action.in_graph and first.in_graph and _is_direct(action, first):
        return "bold"
    return "dashed"


def _is_direct(action: Action, first: Action) -> bool:
    return any(link.action is first and is_input(action, link) for link in action.before)


def _both(action: Action, first: Action, flags: int, shown: set[int]) -> bool:
    return action.id in shown and first.id in shown and flags != Rel.IF_ON_SAME_NODE_OR_TARGET


def action_name(action: Action) -> str:
    """What an action is called in a drawing: the key the agents know, and its node."""
    resource = action.resource
    node = f" {action.node.name}" if action.node is not None else ""
    if not node and resource is not None and not action.pseudo:
        node = " <none>"
    if action.task == "stonith":
        return f"stonith '{action.meta.get('stonith_action', '')}'{node}"
    if resource is None:
        return (action.task if node else action.key) + node
    prefix = "Cancel " if action.cancel_task else ""
    name = resource.history_id or ""
    if not name:
        return prefix + action.key + node
    if action.task == "notify" and "notify_type" in action.meta:
        operation = action.meta.get("notify_key_operation", "")
        return f"{name}_{action.meta['notify_type']}_notify_{operation}_0{node}"
    return prefix + key_of(name, action.cancel_task or action.task, action.interval_ms) + node


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
