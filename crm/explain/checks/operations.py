"""Operations: values that are none, on-fail where it is not possible, roles that are not watched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crm.cib.model import Element
from crm.cib.schema import Problem
from crm.explain.checks.finding import (
    agent_class,
    closest,
    is_promotable,
    parents,
    resources,
    section,
    warning,
)
from crm.scheduler.values import duration_ms

ON_FAIL: Final = (
    "ignore", "block", "demote", "stop", "restart", "standby", "fence", "restart-container", "reset-remote",
)  # fmt: skip
ATTRIBUTES: Final = (
    "interval", "timeout", "start-delay", "interval-origin", "enabled", "record-pending", "role", "requires",
    "on-fail", "description",
)  # fmt: skip
PARAMETERS: Final = ("OCF_CHECK_LEVEL", "trace_ra", "trace_dir", "trace_file", "failure-timeout")
NAMES: Final = (
    "start", "stop", "monitor", "promote", "demote", "notify", "migrate_to", "migrate_from", "validate-all",
    "meta-data", "reload", "reload-agent",
)  # fmt: skip


def check(cib: Element, *, fencing: bool) -> Iterator[Problem]:
    """All findings about <op>. `fencing`: whether it is enabled."""
    inside = parents(cib)
    templates = {one.id: one for one in section(cib, "resources").all("template")}
    for one in resources(cib):
        if one.tag != "primitive":
            continue
        promotable = _is_promotable(one, inside)
        operations = list(_operations(one))
        for op in operations:
            yield from _operation(one, op, promotable=promotable, fencing=fencing)
        template = templates.get(one.get("template"))
        every = operations + (list(_operations(template)) if template is not None else [])
        if promotable and agent_class(cib, one) == "ocf":  # others are left out of what can be promoted
            yield from _unwatched_role(one, every)
    for one in (*section(cib, "op_defaults").walk(), *section(cib, "rsc_defaults").walk()):
        if one.tag == "nvpair" and one.get("name") == "timeout" and duration_ms(one.get("value")) is None:
            yield warning(one.id, f"timeout={one.get('value')!r} is no duration", "write it as 20s")


def _operations(primitive: Element) -> Iterator[Element]:
    return (op for part in primitive.all("operations") for op in part.all("op"))


def _is_promotable(primitive: Element, inside: dict[str, Element]) -> bool:
    here = inside.get(primitive.id)
    while here is not None:
        if is_promotable(here):
            return True
        here = inside.get(here.id)
    return False


def _given(op: Element, name: str) -> str:
    """An operation's attribute, or its meta attribute of that name."""
    if op.get(name):
        return op.get(name)
    return next((pair.get("value") for pair in op.walk() if pair.get("name") == name), "")


def _operation(primitive: Element, op: Element, *, promotable: bool, fencing: bool) -> Iterator[Problem]:
    name, where = op.get("name"), primitive.id
    if name and name not in NAMES and (meant := closest(name, NAMES)):
        yield warning(where, f"there is no operation {name!r}", f"did you mean {meant}?")
    for unit in ("interval", "timeout", "start-delay"):
        text = _given(op, unit)
        if text and (duration_ms(text) is None or text.lstrip().startswith("-")):
            yield warning(where, f"{unit}={text!r} of {name} is no duration", "write it as 20s")
    yield from _misspelled(where, op, f" of operation {name}")
    role = op.get("role").lower()
    if role in ("promoted", "master", "unpromoted", "slave") and not promotable:
        what = (
            f"{name} is for the role {op.get('role')}, but {primitive.id} cannot be promoted: it never runs"
        )
        yield warning(where, what, "leave the role out, or make its clone promotable")
    on_fail = _given(op, "on-fail")
    reason = _why_not(op, on_fail, promotable=promotable, fencing=fencing) if on_fail else ""
    if reason:
        yield warning(where, f"on-fail={on_fail} of {name} is ignored: {reason}", "use another on-fail")


def _misspelled(where: str, holder: Element, of_what: str) -> Iterator[Problem]:
    """What was meant as an attribute of the operation, and has become a parameter of the agent."""
    for pair in holder.walk():
        name = pair.get("name")
        if pair.tag != "nvpair" or not name or name in ATTRIBUTES or name in PARAMETERS:
            continue
        meant = closest(name.lower().replace("_", "-"), ATTRIBUTES)
        if meant and name not in ATTRIBUTES:
            what = f"there is no attribute {name}{of_what}: the agent is given it as a parameter"
            yield warning(where, what, f"did you mean {meant}?")


def _why_not(op: Element, on_fail: str, *, promotable: bool, fencing: bool) -> str:
    name = op.get("name")
    recurring = (duration_ms(op.get("interval", "0")) or 0) > 0
    if on_fail not in ON_FAIL:
        meant = closest(on_fail, ON_FAIL)
        return f"one of {', '.join(ON_FAIL)}" + (f"; {meant} is meant?" if meant else "")
    if name == "stop" and on_fail in ("stop", "restart", "demote", "standby"):
        return f"a failed stop cannot be answered by {on_fail}"
    if on_fail == "demote":
        if not promotable:
            return "it cannot be promoted"
        watched = name == "monitor" and recurring and op.get("role").lower() in ("promoted", "master")
        if name != "promote" and not watched:
            return "only promote, and monitors of the role Promoted, can be answered by demote"
    if on_fail == "fence" and not fencing:
        return "fencing is disabled (stonith-enabled=false)"
    return ""


def _unwatched_role(primitive: Element, operations: list[Element]) -> Iterator[Problem]:
    monitors = [
        op
        for op in operations
        if op.get("name") == "monitor" and (duration_ms(op.get("interval", "0")) or 0) > 0
    ]
    roles = {op.get("role").lower() for op in monitors}
    if monitors and not roles & {"promoted", "master"}:
        yield warning(
            primitive.id,
            "no recurring monitor has the role Promoted: the promoted instance is not watched",
            f"`hacli configure monitor {primitive.id}:Promoted 11s:60s`, with an interval of its own",
        )
