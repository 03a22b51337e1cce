"""What `status` shows on request: resources by node, in brief, each instance; operations, counts. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cli.render.cluster_status import KIND_WORDS, Item, node_items, node_status, resource_items
from cli.render.node_sections import RC_WORDS, histories, visible_attributes
from cli.render.status_primitive import StatusContext, base_name, flags_of, state_word
from crm.cib.model import Element
from crm.scheduler import history
from crm.scheduler.model import Node, Resource, WorkingSet
from crm.scheduler.scores import render
from crm.scheduler.values import natural_key

NOT_RUNNING: Final = 7
INFINITY: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The words that were given, as crm_mon means them. What is inactive, and tickets, are always shown."""

    by_node: bool = False
    brief: bool = False
    detail: bool = False
    operations: bool = False
    timing: bool = False
    fail_counts: bool = False
    attributes: bool = False
    headers: bool = True
    reminders: bool = True

    @classmethod
    def of(cls, words: Sequence[str]) -> Choice:
        """From `bynode brief detail ops timing failcounts verbose quiet noheaders`; others are no matter."""
        given = frozenset(words)
        verbose = "verbose" in given
        return cls(
            by_node="bynode" in given,
            brief="brief" in given,
            detail="detail" in given or verbose,
            operations=verbose or bool(given & {"ops", "timing"}),
            timing="timing" in given or verbose,
            fail_counts="failcounts" in given or verbose,
            attributes=verbose,
            headers=not given & {"noheaders", "quiet"},
            reminders="quiet" not in given,
        )


def lists(work: WorkingSet, choice: Choice) -> tuple[list[str], list[str]]:
    """Nodes, then resources, in the order and depth that were asked for; each with its heading."""
    context = StatusContext(work, detail=choice.detail)
    if choice.by_node:
        idle = [one for one in work.resources if not _is_anywhere(one) and not one.removed]
        rest = _brief(idle) if choice.brief else _items(context, idle)
        nodes = ["Node List:", *(_by_node(context, brief=choice.brief) if work.nodes else ["  * No nodes"])]
        return nodes, ["Inactive Resources:", *rest] if rest else []
    if choice.detail:
        states = [f"  * {_node_name(context, node)}: {node_status(work, node)[0]}" for node in work.nodes]
    else:
        states = [str(Item(item.depth - 1, item.text)) for item in node_items(context)]
    resources = (_brief(work.resources) if choice.brief else _items(context)) or ["  * No resources"]
    return ["Node List:", *(states or ["  * No nodes"])], ["Full List of Resources:", *resources]


def sections(work: WorkingSet, choice: Choice) -> list[str]:
    """Node attributes, operations and fail counts, each after an empty line, as far as there are any."""
    found: list[str] = []
    for wanted, title, lines in (
        (choice.attributes, "Node Attributes:", _attributes(work)),
        (choice.operations, "Operations:", _operations(work, timing=choice.timing)),
        (choice.fail_counts, "Migration Summary:", _fail_counts(work)),
    ):
        if wanted and (shown := list(lines)):
            found += ["", title, *shown]
    return found


def _node_name(context: StatusContext, node: Node) -> str:
    known = f" ({node.id})" if context.detail and node.id != node.name else ""
    return f"{KIND_WORDS[node.kind]} {node.name}{known}"


def _is_anywhere(resource: Resource) -> bool:
    return any(one.active_nodes for one in resource.primitives())


def _items(context: StatusContext, wanted: Sequence[Resource] | None = None) -> list[str]:
    every = context.work.resources
    context.work.resources = list(every if wanted is None else wanted)
    lines = [str(Item(item.depth - 1, item.text)) for item in resource_items(context)]
    context.work.resources = every
    return lines


def _by_node(context: StatusContext, *, brief: bool) -> Iterator[str]:
    for node in context.work.nodes:
        here = [
            one
            for top in context.work.resources
            for one in top.primitives()
            if any(node is active for active in one.active_nodes)
        ]
        yield f"  * {_node_name(context, node)}: {node_status(context.work, node)[0]}:"
        yield "    * Resources:" if here else "    * No active resources"
        if brief:
            counts: dict[str, int] = {}
            for one in here:
                counts[one.class_agent] = counts.get(one.class_agent, 0) + 1
            yield from (f"      * {count}\t({agent}):\tActive" for agent, count in sorted(counts.items()))
            continue
        for one in here:
            flags = flags_of(context, one, node)
            orphan = " ORPHANED" if one.removed else ""
            words = f" ({', '.join(flags)})" if flags else ""
            state = state_word(context, one)
            yield f"      * {base_name(one)}\t({one.class_agent}):\t{orphan} {state}{words}"


def _brief(resources: Sequence[Resource]) -> list[str]:
    """How many of an agent's resources are active where, of all there are."""
    totals: dict[str, int] = {}
    active: dict[str, dict[str, int]] = {}
    for top in resources:
        for one in top.primitives():
            if one.removed and not one.active_nodes:
                continue
            totals[one.class_agent] = totals.get(one.class_agent, 0) + 1
            places = active.setdefault(one.class_agent, {})
            for node in one.active_nodes:
                places[node.name] = places.get(node.name, 0) + 1
    lines: list[str] = []
    for agent, total in sorted(totals.items()):
        places = active[agent]
        lines += [
            f"  * {places[name]}/{total}\t({agent}):\tActive {name}"
            for name in sorted(places, key=natural_key)
        ] or [f"  * 0/{total}\t({agent}):\tActive"]
    return lines


def _attributes(work: WorkingSet) -> Iterator[str]:
    for node in work.nodes:
        pairs = visible_attributes(node)
        if node.online and pairs:
            yield f"  * Node: {node.name}:"
            yield from (f"    * {name:<32}\t: {value}" for name, value in pairs)


def _threshold(threshold: int) -> str:
    return str(threshold) if threshold >= INFINITY else render(threshold)


def _fail_counts(work: WorkingSet) -> Iterator[str]:
    for node, found in histories(work):
        yield f"  * Node: {node.name}:"
        for one in found:
            last = f" last-failure='{one.last}'" if one.last else ""
            yield (
                f"    * {one.resource}: migration-threshold={_threshold(one.threshold)}"
                f" fail-count={render(one.count)}{last}"
            )


def _operations(work: WorkingSet, *, timing: bool) -> Iterator[str]:
    thresholds = {one.id: one.migration_threshold for top in work.resources for one in top.primitives()}
    thresholds |= {name.partition(":")[0]: value for name, value in thresholds.items()}
    for node in work.nodes:
        heading = [f"  * Node: {node.name}:"]
        resources = node.state.path("lrm", "lrm_resources") if node.state is not None else None
        for one in resources.all("lrm_resource") if resources is not None else ():
            lines = [
                _operation(op, timing=timing) for op in history.by_age(one.all("lrm_rsc_op")) if _is_told(op)
            ]
            if not lines:
                continue
            yield from heading
            heading.clear()
            known = thresholds.get(one.id)
            yield f"    * {one.id}:" + (
                f" migration-threshold={_threshold(known)}:" if known is not None else ""
            )
            yield from lines


def _is_told(op: Element) -> bool:
    """Probes that found nothing, as they should, are not worth a line."""
    return not (history.is_probe(op) and history.rc_of(op) == NOT_RUNNING)


def _operation(op: Element, *, timing: bool) -> str:
    words = []
    interval_ms = history.interval_ms(op)
    if interval_ms:
        words.append(f'interval="{interval_ms}ms"')
    rc = history.rc_of(op)
    if timing:
        changed_s = history.last_change_s(op)
        if changed_s:
            at = time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(changed_s))
            words.append(f'last-rc-change="{at}"')
        words += [f'exec-time="{op.get("exec-time", "0")}ms"', f'queue-time="{op.get("queue-time", "0")}ms"']
    if rc is not None and (timing or rc != 0):
        words.append(f"rc={rc} ({RC_WORDS.get(rc, 'unknown')})" if rc >= 0 else "pending")
    task = "probe" if history.is_probe(op) else history.task_of(op)
    return f"      * ({op.get('call-id')}) {task}" + (f": {' '.join(words)}" if words else "")
