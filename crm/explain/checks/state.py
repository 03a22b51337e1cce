"""The state a cluster is in, where somebody has to look at it: what crm_verify says of the status section."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crm.cib.model import element
from crm.cib.schema import Problem
from crm.explain.checks.finding import warning
from crm.explain.contributions import failure_text
from crm.explain.facts import listed
from crm.scheduler.actions import can_fence
from crm.scheduler.model import MultipleActive, Resource, WorkingSet

_ANSWERS: Final = {
    MultipleActive.BLOCK: "it waits for somebody to look at it",
    MultipleActive.STOP_ONLY: "it will be stopped everywhere",
    MultipleActive.STOP_START: "it will be stopped everywhere and started once",
    MultipleActive.STOP_UNEXPECTED: "it will be stopped where it should not be",
}


def check(work: WorkingSet) -> Iterator[Problem]:
    """Findings about a working set that was scheduled."""
    yield from _several(work)
    yield from _failures(work)
    yield from _stops(work)
    yield from _removed(work)
    yield from _nodes(work)


def _primitives(work: WorkingSet) -> Iterator[Resource]:
    return (one for top in work.resources for one in top.primitives())


def _several(work: WorkingSet) -> Iterator[Problem]:
    for one in _primitives(work):
        moving = one.partial_source is not None or one.partial_target is not None
        if len(one.active_nodes) > 1 and not moving:
            places = listed(sorted(node.name for node in one.active_nodes))
            answer = _ANSWERS.get(one.multiple_active, "")
            yield warning(one.id, f"it is active on {places}: {answer}", f"see `hacli why {one.id}`")


def _failures(work: WorkingSet) -> Iterator[Problem]:
    for failed in work.failed_operations:
        if failed.masked_probe:
            continue
        name = failed.resource.id
        yield warning(
            name,
            f"{failure_text(failed)} on {failed.node.name}",
            f"when the cause is mended: `hacli resource cleanup {name.partition(':')[0]} {failed.node.name}`",
        )


def _stops(work: WorkingSet) -> Iterator[Problem]:
    """Stops that failed so that trying again is of no use; nothing is recovered after them."""
    said = {(one.resource.id.partition(":")[0], one.node.name) for one in work.failed_operations}
    for node in work.nodes:
        for item in node.state.walk() if node.state is not None else ():
            name = item.get("operation_key").removesuffix("_stop_0")
            hard = (
                item.tag == "lrm_rsc_op" and item.get("operation") == "stop" and item.get("rc-code") in _HARD
            )
            if hard and (name, node.name) not in said:
                said.add((name, node.name))
                what = f"its stop ended with rc={item.get('rc-code')} on {node.name}: it is not recovered"
                yield warning(
                    name, what, f"when the cause is mended: `hacli resource cleanup {name} {node.name}`"
                )


_HARD: Final = ("2", "3", "4", "5", "6")


def _removed(work: WorkingSet) -> Iterator[Problem]:
    for one in _primitives(work):
        if one.removed and one.active_nodes:
            places = listed(sorted(node.name for node in one.active_nodes))
            what = f"it is active on {places}, but no longer in the configuration"
            yield warning(one.id, what, "it will be stopped, unless stop-removed-resources=false")


def _nodes(work: WorkingSet) -> Iterator[Problem]:
    for node in work.nodes:
        if node.unclean:
            able = can_fence(work, node)
            end = "it is to be fenced" if able else "but it cannot be fenced"
            if not able and work.options.fencing_enabled and not work.have_fencing:
                end += ": there is no fencing device"
            yield warning(node.name, f"it is unclean, {end}", f"see `hacli why fenced {node.name}`")
    known = {node.name for node in work.nodes} | {node.id for node in work.nodes}
    for state in (work.cib.child("status") or element("status")).all("node_state"):
        name = state.get("uname") or state.id
        if name and name not in known and state.id not in known:
            yield warning(name, "it has a state, but is no longer in the configuration", "it is ignored")
