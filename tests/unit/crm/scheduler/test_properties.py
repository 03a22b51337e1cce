"""What holds for any cluster: transitions can be carried out, leave nothing to do, and never start twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.cib.codec import parse
from crm.cib.model import Element
from crm.scheduler.pipeline import Transition, schedule
from crm.simulation.execute import execute, known_names
from tests.unit.crm.scheduler.cibs import (
    NOW_S,
    clone,
    document,
    entry,
    group,
    history,
    op,
    primitive,
    running,
    state,
    stopped,
)

SCENARIOS = Path(__file__).resolve().parents[3] / "scenarios" / "scheduler"
# Being asked to leave, a cancelled monitor, a fail count, a locked history, the agent of a history stay in a
# simulated status; others take two transitions, as they do with the reference.
NOT_AT_ONCE = {
    "clean-shutdown-of-the-active-node",
    "connections-in-an-asymmetric-cluster",
    "guest-that-is-off-behind-a-failed-connection",
    "locked-and-active-in-place",
    "maintenance-of-one-node",
    "not-deleted-where-it-is-probed",
    "promotable-group-in-pieces",
    "service-on-a-guest-that-is-not-connected",
    "stop-set-before-a-start-set",
}
NODES = ("n1", "n2", "n3")
NAMES = ("a", "b", "c", "d", "e")


def applied(cib: Element, transition: Transition) -> Element:
    """The CIB after everything went as expected."""
    done = execute(cib, transition.graph, NOW_S, known=known_names(transition.work))
    assert done.complete, "the graph holds a loop, or waits for what is not in it"
    return done.cib


@pytest.mark.parametrize(
    "folder",
    [one for one in sorted(SCENARIOS.iterdir()) if one.name not in NOT_AT_ONCE],
    ids=lambda folder: folder.name,
)
def test_an_applied_transition_yields_an_empty_one(folder: Path) -> None:
    cib = parse((folder / "cib.xml").read_bytes())
    first = schedule(cib, NOW_S)
    assert first.graph.synapses
    assert not schedule(applied(cib, first), NOW_S).graph.synapses


score = st.sampled_from(["-INFINITY", "-100", "-1", "1", "50", "100", "INFINITY"])


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Five primitives, some of them in a group or cloned, active anywhere, with a few constraints."""
    where = {name: draw(st.sets(st.sampled_from(NODES), max_size=2)) for name in NAMES}
    failed = draw(st.sets(st.sampled_from(NAMES), max_size=2))
    pieces = {name: primitive(name, ops=op()) for name in NAMES}
    shape = draw(st.sampled_from(["plain", "group", "clone"]))
    resources = [pieces["a"], pieces["b"]]
    names = ["a", "b"]
    if shape == "group":
        resources.append(group("g", pieces["c"], pieces["d"], pieces["e"]))
        names.append("g")
    elif shape == "clone":
        resources += [clone("k", pieces["c"], meta={"interleave": "true"}), pieces["d"], pieces["e"]]
        names += ["k", "d", "e"]
    else:
        resources += [pieces["c"], pieces["d"], pieces["e"]]
        names += ["c", "d", "e"]
    order = draw(st.permutations(names))
    rules = ""
    for index, name in enumerate(names):
        node, value = draw(st.sampled_from(NODES)), draw(score)
        rules += f'<rsc_location id="l{index}" rsc="{name}" node="{node}" score="{value}"/>'
    # Only from earlier to later in one permutation, so that the constraints alone contain no circle.
    for index in range(len(order) - 1):
        first, then = order[index], order[index + 1]
        if draw(st.booleans()):
            rules += f'<rsc_order id="o{index}" first="{first}" then="{then}"/>'
        if draw(st.booleans()):
            rules += f'<rsc_colocation id="k{index}" rsc="{then}" with-rsc="{first}" score="{draw(score)}"/>'
    states = []
    for node in NODES:
        known = []
        for name in NAMES:
            if node not in where[name]:
                known.append(stopped(name))
            elif name in failed:
                broken = entry(name, "monitor", interval_ms=10000, rc=1, expected=0, call=2)
                known.append(history(name, entry(name), broken))
            else:
                known.append(running(name, entry(name, "monitor", interval_ms=10000, call=2)))
        states.append(state(node, *known))
    standby = draw(st.sampled_from([None, *NODES]))
    attributes = {standby: {"standby": "on"}} if standby is not None else None
    return document(resources, nodes=NODES, constraints=rules, states=states, node_attributes=attributes)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(documents())
def test_any_cluster_settles(text: str) -> None:
    cib = parse(text)
    for _ in range(4):
        transition = schedule(cib, NOW_S)
        if not transition.graph.synapses:
            return
        never_twice(transition)
        cib = applied(cib, transition)
    raise AssertionError("still something to do after four transitions")


def never_twice(transition: Transition) -> None:
    """Nobody is started on a node without having been stopped, before that, everywhere else."""
    graph = transition.graph
    by_id = {action.id: action for action in graph.actions()}
    inputs = {synapse.actions[0].id: synapse.inputs for synapse in graph.synapses}
    for action in graph.actions():
        if action.operation != "start" or action.kind.value != "rsc_op":
            continue
        earlier: set[int] = set()
        waiting = list(inputs[action.id])
        while waiting:
            number = waiting.pop()
            if number not in earlier:
                earlier.add(number)
                waiting.extend(inputs.get(number, ()))
        stops = {
            by_id[number].node
            for number in earlier
            if by_id[number].operation == "stop" and by_id[number].kind.value == "rsc_op"
        }
        name = action.xml.get("internal_operation_key", action.key).rsplit("_start_", 1)[0]
        resource = transition.work.resources_by_id[name]
        assert {node.name for node in resource.active_nodes} <= stops, action.key
