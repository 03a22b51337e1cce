"""`hacli resource`: start, stop, move and look after resources."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from cli import goals
from cli.commands.changes import (
    change,
    edit_set,
    node_of,
    read,
    resource_of,
    scoped,
    set_pair,
    view,
    view_of,
    without_empty_sets,
)
from cli.context import EXIT_NOT_REACHED, EXIT_OK, Context, UsageError
from cli.goals import Goal
from cli.grammar.document import change_resource, find_resource, members, parent_of, section
from cli.grammar.edits import with_attribute
from cli.grammar.ids import Ids
from cli.grammar.pairs import is_promotable
from cli.grammar.pairs import value as pair_value
from cli.grammar.references import named_by
from cli.grammar.show import show as show_objects
from cli.grammar.words import boolean_of
from cli.safely import change_safely
from crm.cib.ids import used_ids
from crm.cib.model import Element, element
from hacluster.digits import is_count
from hacluster.durations import parse_ms
from hacluster.errors import InvalidRequest, NotFound

_CLIENT: Final = "hacli resource"


def _names(words: Sequence[str], usage: str) -> tuple[str, ...]:
    if not words:
        raise UsageError(what="name a resource", usage=usage)
    return tuple(words)


def _controlled(cib: Element, name: str) -> str:
    """Where target-role and the like belong: the clone of a cloned primitive, else the resource itself."""
    resource_of(cib, name)
    parent = parent_of(cib, name)
    while parent is not None and parent.tag not in ("clone", "master"):
        parent = parent_of(cib, parent.id)
    return name if parent is None else parent.id


def _with_control(cib: Element, name: str, attribute: str, value: str) -> Element:
    """Set it where it belongs; what is named, and inside of that, has none of its own that would win."""
    owner = _controlled(cib, name)
    here = name
    while here != owner:
        if pair_value(resource_of(cib, here), "meta_attributes", attribute):
            cib = without_empty_sets(
                set_pair(cib, here, "meta_attributes", attribute, None), here, "meta_attributes"
            )
        parent = parent_of(cib, here)
        assert parent is not None  # the owner is above
        here = parent.id
    return set_pair(cib, owner, "meta_attributes", attribute, value)


def status(context: Context, words: Sequence[str]) -> int:
    """`status [RSC…]`."""
    cib = read(context)
    for name in words:
        resource_of(cib, name)
    shown = view_of(cib)
    if context.options.structured:
        wanted = {one.id for name in words for one in resource_of(cib, name).walk()}
        rows = [
            {"id": name, "places": [{"node": p.node, "role": p.role, "failed": p.failed} for p in places]}
            for name, places in shown.placements().items()
            if not words or name in wanted
        ]
        context.emit("resources", {"resources": rows})
        return EXIT_OK
    if not words:
        context.print("")
        context.print("Full List of Resources:")
    for line in shown.resource_lines(words) or ["  * No resources"]:
        context.print(line)
    return EXIT_OK


def _set_meta(
    context: Context, names: Sequence[str], attribute: str, value: str, goal: Goal | None = None
) -> int:
    """Set a meta attribute. What else is interrupted is asked about; `goal` is what -w waits for."""

    def edit(cib: Element) -> Element:
        for name in names:
            cib = _with_control(cib, name, attribute, value)
        return cib

    cib = change_safely(
        context, f"{_CLIENT} {attribute}={value}", edit, about=tuple(names), acts=goal is not None
    )
    if goal is not None:
        context.goals.append(goal)
    for name in names:
        for member in _below(resource_of(cib, name), attribute, value):
            own = pair_value(member, "meta_attributes", attribute).lower()
            context.warning(f"{member.id} in {name} has {attribute}={own} of its own, which wins")
    return EXIT_OK


def _below(resource: Element, attribute: str, value: str) -> list[Element]:
    """The primitives below that say otherwise, and have it their way.

    In a group none does that is to run after one that stops: it goes with those before it.
    """
    stops = resource.tag == "group" and (attribute, value) == ("target-role", "Stopped")
    found: list[Element] = []
    for member in members(resource):
        if member.tag != "primitive":
            found += _below(member, attribute, value)
        elif pair_value(member, "meta_attributes", attribute).lower() not in ("", value.lower()):
            found.append(member)
        elif stops and not _goes_alone(resource):
            break
    return found


def _goes_alone(group: Element) -> bool:
    """Neither ordered nor colocated: what happens to one is nothing to the next."""
    return all(
        boolean_of(pair_value(group, "meta_attributes", name)) is False for name in ("ordered", "collocated")
    )


def start(context: Context, words: Sequence[str]) -> int:
    """`start RSC…`."""
    names = _names(words, "start RSC…")
    return _set_meta(context, names, "target-role", "Started", goals.running(names))


def stop(context: Context, words: Sequence[str]) -> int:
    """`stop RSC…`."""
    names = _names(words, "stop RSC…")
    return _set_meta(context, names, "target-role", "Stopped", goals.stopped(names))


def _role(context: Context, words: Sequence[str], new: str, old: str) -> int:
    if len(words) != 1:
        raise UsageError(what="name one resource", usage="promote|demote RSC")
    cib = read(context)
    name = _controlled(cib, words[0])
    if not is_promotable(resource_of(cib, name)):
        raise InvalidRequest(
            what=f"{words[0]} is not promotable", remedy="a clone with meta promotable=true is"
        )
    schema = cib.get("validate-with").rpartition("-")[2].split(".")
    is_old = len(schema) == 2 and all(is_count(part) for part in schema) and tuple(map(int, schema)) < (3, 7)
    goal = goals.in_role(name, new)
    return _set_meta(context, [name], "target-role", old if is_old else new, goal)


def promote(context: Context, words: Sequence[str]) -> int:
    """`promote RSC`."""
    return _role(context, words, "Promoted", "Master")


def demote(context: Context, words: Sequence[str]) -> int:
    """`demote RSC`."""
    return _role(context, words, "Unpromoted", "Slave")


def manage(context: Context, words: Sequence[str]) -> int:
    """`manage RSC…`."""
    return _set_meta(context, _names(words, "manage RSC…"), "is-managed", "true")


def unmanage(context: Context, words: Sequence[str]) -> int:
    """`unmanage RSC…`."""
    return _set_meta(context, _names(words, "unmanage RSC…"), "is-managed", "false")


def maintenance(context: Context, words: Sequence[str]) -> int:
    """`maintenance RSC [on|off]`."""
    if not 1 <= len(words) <= 2 or (len(words) == 2 and boolean_of(words[1]) is None):
        raise UsageError(what="maintenance is not understood", usage="maintenance RSC [on|off]")
    on = len(words) == 1 or boolean_of(words[1])
    return _set_meta(context, words[:1], "maintenance", "true" if on else "false")


def restart(context: Context, words: Sequence[str]) -> int:
    """`restart RSC…`: stop, wait, put the target role back as it was, wait."""
    from cli.waiting import wait_until_idle

    names = _names(words, "restart RSC…")
    if context.offline:
        raise InvalidRequest(what="restart needs a running cluster")
    cib = read(context)
    targets = [_controlled(cib, name) for name in names]
    before = {name: _own_role(resource_of(cib, name)) for name in targets}
    shown = view_of(cib)
    running = [name for name in targets if shown.active_nodes(resource_of(cib, name))]
    if not running:
        raise InvalidRequest(what=f"{', '.join(names)}: not running", remedy=f"use `start {' '.join(names)}`")
    _set_meta(context, targets, "target-role", "Stopped")
    result = wait_until_idle(context, context.options.wait_ms, f"stopping {', '.join(names)}")
    stopped = result == EXIT_OK and not any(
        view(context).active_nodes(resource_of(cib, name)) for name in targets
    )

    def back(cib: Element) -> Element:
        for name in targets:
            cib = set_pair(cib, name, "meta_attributes", "target-role", before[name])
            cib = without_empty_sets(cib, name, "meta_attributes")
        return cib

    change(context, f"{_CLIENT} restart", back)
    if not stopped:
        context.error(f"{', '.join(names)} did not stop; the target role is back as it was")
        return EXIT_NOT_REACHED
    if wait_until_idle(context, context.options.wait_ms, f"starting {', '.join(names)}") != EXIT_OK:
        return EXIT_NOT_REACHED
    context.goals.append(goals.running(running))
    unmet = context.goals[-1](view(context))
    if unmet:
        context.error(f"not reached: {unmet}")
    return EXIT_NOT_REACHED if unmet else EXIT_OK


def _own_role(resource: Element) -> str | None:
    for one in resource.all("meta_attributes"):
        for pair in one.all("nvpair"):
            if pair.get("name") == "target-role" and pair.get("value") != "Stopped":
                return pair.get("value")
    return None


def cleanup(context: Context, words: Sequence[str]) -> int:
    """`cleanup [RSC] [NODE]`: the cluster forgets failures and looks again."""
    rest = [word for word in words if word not in ("force", "-f", "--force")]
    if len(rest) > 2:
        raise UsageError(what="cleanup is not understood", usage="cleanup [RSC] [NODE]")
    if context.offline:
        raise InvalidRequest(what="forgetting failures and history needs a running cluster")
    resource, node = (*rest, "", "")[:2]
    cib = read(context)
    if resource and find_resource(cib, resource) is None:
        if node:
            raise NotFound(kind="resource", name=resource)
        node_of(cib, resource)  # one word may be a node
        resource, node = "", resource
    if node:
        node_of(cib, node)
    wanted = (
        [one.id for one in resource_of(cib, resource).walk() if one.tag == "primitive"] if resource else [""]
    )
    cleaned = [one for name in wanted for one in context.client.cleanup(name, node)]
    context.changed_cluster = True
    for one in cleaned:
        context.print(f"Cleaned up {one}")
    if not cleaned:
        context.info("there was nothing to clean up")
    return EXIT_OK


def refresh(context: Context, words: Sequence[str]) -> int:
    """`refresh [RSC] [NODE]`: the same call; the cluster forgets the whole history."""
    return cleanup(context, words)


def _resource_name(cib: Element, name: str) -> str:
    resource_of(cib, name)
    return name


def meta(context: Context, words: Sequence[str]) -> int:
    """`meta RSC set|delete|show NAME [VALUE]`."""
    return edit_set(context, words, "meta_attributes", f"{_CLIENT} meta", _resource_name)


def param(context: Context, words: Sequence[str]) -> int:
    """`param RSC set|delete|show NAME [VALUE]`."""
    return edit_set(context, words, "instance_attributes", f"{_CLIENT} param", _resource_name)


def utilization(context: Context, words: Sequence[str]) -> int:
    """`utilization RSC set|delete|show NAME [VALUE]`."""
    return edit_set(context, words, "utilization", f"{_CLIENT} utilization", _resource_name)


def failcount(context: Context, words: Sequence[str]) -> int:
    """`failcount RSC show|delete NODE [OP [INTERVAL]]`, `failcount RSC set NODE COUNT [OP [INTERVAL]]`."""
    match tuple(words):
        case (name, "show", node, *operation) if len(operation) <= 2:
            cib = read(context)
            node_of(cib, node)
            count = _failcount(cib, resource_of(cib, name).id, node, _operation_suffix(operation))
            if context.options.structured:
                context.emit("failcount", {"resource": name, "node": node, "failures": count})
            else:
                context.print(scoped("status", f"fail-count-{name}", count))
            return EXIT_OK
        case (name, "delete", node):
            return cleanup(context, (name, node))
        case (name, "delete", node, *operation) if len(operation) <= 2:
            return _set_failcount(context, name, node, "", operation)
        case (name, "set", node, count, *operation) if len(operation) <= 2:
            if not is_count(count) and count != "INFINITY":
                raise UsageError(what=f"{count!r} is no number of failures", usage=_FAILCOUNT_USAGE)
            return _set_failcount(context, name, node, count, operation or ["monitor", "10s"])
        case _:
            raise UsageError(what="failcount is not understood", usage=_FAILCOUNT_USAGE)


_FAILCOUNT_USAGE: Final = "failcount RSC show|delete NODE [OP [INTERVAL]] | set NODE COUNT [OP [INTERVAL]]"


def _operation_suffix(operation: Sequence[str]) -> str:
    """`OP_INTERVALms` of [OP [INTERVAL]]; empty for all operations."""
    if not operation:
        return ""
    try:
        interval_ms = parse_ms(operation[1]) if len(operation) == 2 else 0
    except ValueError as error:
        raise UsageError(what=str(error), usage=_FAILCOUNT_USAGE) from None
    return f"{operation[0]}_{interval_ms}"


def _set_failcount(context: Context, name: str, node: str, count: str, operation: Sequence[str]) -> int:
    """One operation's count; an empty one removes it."""
    if context.offline:
        raise InvalidRequest(what="failures are counted in a running cluster")
    cib = read(context)
    node_of(cib, node)
    resource = resource_of(cib, name)
    if resource.tag != "primitive":
        raise InvalidRequest(what=f"{name} is a {resource.tag}: failures are counted for primitives")
    context.client.set_attribute(node, f"fail-count-{name}#{_operation_suffix(operation)}", count)
    context.changed_cluster = True
    return EXIT_OK


def _failcount(cib: Element, name: str, node: str, operation: str) -> str:
    total = 0
    for state in (cib.child("status") or Element("status")).all("node_state"):
        if state.get("uname") != node:
            continue
        for pair in state.walk():
            if pair.tag != "nvpair" or not pair.get("name").startswith(f"fail-count-{name}#"):
                continue
            if operation in ("", pair.get("name").partition("#")[2]):
                if pair.get("value") == "INFINITY":
                    return "INFINITY"
                total += int(pair.get("value") or 0)
    return str(total)


def constraints(context: Context, words: Sequence[str]) -> int:
    """`constraints RSC`: those that name it, or what it is in."""
    (name,) = _names(words[:1], "constraints RSC")
    cib = read(context)
    resource_of(cib, name)
    held = name
    names = {name}
    while (parent := parent_of(cib, held)) is not None:  # what holds its group or clone holds it
        held = parent.id
        names.add(held)
    chosen = [one for one in section(cib, "constraints").children if names & set(named_by(one))]
    if context.options.structured:
        rows = [{"id": one.id, "kind": one.tag, "text": show_objects(cib, (one,)).rstrip()} for one in chosen]
        context.emit("constraints", {"resource": name, "constraints": rows})
        return EXIT_OK
    context.print(show_objects(cib, chosen), end="")
    return EXIT_OK


def scores(context: Context, words: Sequence[str]) -> int:
    """`scores`: the allocation scores of every resource on every node."""
    if words:
        raise UsageError(what="scores takes no arguments", usage="scores")
    from crm.scheduler.pipeline import schedule

    for line in schedule(read(context), int(time.time()), sanitized=True).score_lines:
        context.print(line)
    return EXIT_OK


def locate(context: Context, words: Sequence[str]) -> int:
    """`locate RSC`."""
    (name,) = _names(words[:1], "locate RSC")
    cib = read(context)
    nodes = view_of(cib).active_nodes(resource_of(cib, name))
    if context.options.structured:
        context.emit("locate", {"resource": name, "nodes": list(nodes)})
        return EXIT_OK
    if not nodes:
        context.print(f"resource {name} is NOT running")
    for node in nodes:
        context.print(f"resource {name} is running on: {node}")
    return EXIT_OK


def operations(context: Context, words: Sequence[str]) -> int:
    """`operations [RSC] [NODE]`: the history that the status section has."""
    found = list(_operations(read(context), frozenset(words)))
    if context.options.structured:
        context.emit("operations", {"operations": found})
        return EXIT_OK
    for one in found:
        name = f"{one['operation']}_{one['interval_ms']}ms" if one["interval_ms"] else one["operation"]
        detail = f" {one['reason']}" if one["reason"] else ""
        context.print(
            f"{one['resource']} on {one['node']}: {name} rc={one['rc']} exec={one['exec_ms']}ms{detail}"
        )
    return EXIT_OK


def _operations(cib: Element, wanted: frozenset[str]) -> Iterator[dict[str, str | int]]:
    for state in (cib.child("status") or Element("status")).all("node_state"):
        resources = state.path("lrm", "lrm_resources")
        for one in resources.all("lrm_resource") if resources is not None else ():
            if wanted and not wanted & {one.id, one.id.partition(":")[0], state.get("uname")}:
                continue
            for op in one.all("lrm_rsc_op"):
                yield {
                    "resource": one.id,
                    "node": state.get("uname"),
                    "operation": op.get("operation"),
                    "interval_ms": int(op.get("interval") or 0),
                    "rc": op.get("rc-code"),
                    "exec_ms": op.get("exec-time") or "0",
                    "reason": op.get("exit-reason"),
                }


def _trace(
    words: Sequence[str], usage: str, edit: Callable[[Element, Ids], Element], *other: str
) -> Callable[[Element], Element]:
    if not 1 <= len(words) <= 4:
        raise UsageError(what="name a resource", usage=usage)
    name, wanted, interval = (*words, "", "")[:3]

    def run(cib: Element) -> Element:
        resource = resource_of(cib, name)
        if resource.tag != "primitive":
            raise InvalidRequest(what=f"{name} is a {resource.tag}: only agents of primitives are traced")
        ids = Ids(used_ids(cib))
        operations = resource.child("operations") or element("operations")
        every = dict.fromkeys([*(op.get("name") for op in operations.all("op")), *other])
        names = [wanted] if wanted else list(every)
        for one in dict.fromkeys(names if wanted else other):
            if not any(op.get("name") == one and _same_interval(op, interval) for op in operations.all("op")):
                if not _same_interval(element("op"), interval):
                    raise InvalidRequest(
                        what=f"{name} has no operation {one} with the interval {interval}",
                        remedy=f"one that is configured, or 0 (see `hacli configure show {name}`)",
                    )
                made = ids.take(f"{name}-{one}-{interval or '0'}")
                op = element("op", {"name": one, "interval": interval or "0", "id": made})
                operations = operations.with_children((*operations.children, op))
        changed = operations.mapped(
            lambda op: edit(op, ids) if op.get("name") in names and _same_interval(op, interval) else op
        )
        changed = changed.mapped(lambda op: None if _says_nothing(op) else op)
        kept = resource.with_child(changed)
        if not changed.children and not changed.id:
            kept = resource.mapped(lambda one: None if one.tag == "operations" else one)
        return change_resource(cib, name, lambda _old: kept)

    return run


def _same_interval(op: Element, interval: str) -> bool:
    try:
        return not interval or parse_ms(op.get("interval", "0")) == parse_ms(interval)
    except ValueError:
        return op.get("interval") == interval


def _says_nothing(op: Element) -> bool:
    return (
        op.tag == "op" and not op.children and op.get("interval") in ("0", "0s") and len(op.attributes) == 3
    )


_TRACED: Final = ("start", "stop")  # whether they are configured or not; the others only where they are


def trace(context: Context, words: Sequence[str]) -> int:
    """`trace RSC [OP] [INTERVAL] [DIR]`: trace_ra=1 for the operation, and where to (trace_dir)."""
    folder = words[3] if len(words) == 4 else ""

    def add(op: Element, ids: Ids) -> Element:
        op = with_attribute(op, "instance_attributes", "trace_ra", "1", ids)
        return with_attribute(op, "instance_attributes", "trace_dir", folder, ids) if folder else op

    change(context, f"{_CLIENT} trace", _trace(words, "trace RSC [OP] [INTERVAL] [DIR]", add, *_TRACED))
    return EXIT_OK


def untrace(context: Context, words: Sequence[str]) -> int:
    """`untrace RSC [OP] [INTERVAL]`."""

    def remove(op: Element, ids: Ids) -> Element:
        for attribute in ("trace_ra", "trace_dir"):
            op = with_attribute(op, "instance_attributes", attribute, None, ids)
        return op.mapped(lambda one: None if one.tag == "instance_attributes" and not one.children else one)

    change(context, f"{_CLIENT} untrace", _trace(words, "untrace RSC [OP] [INTERVAL]", remove))
    return EXIT_OK
