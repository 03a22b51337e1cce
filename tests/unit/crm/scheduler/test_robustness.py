"""Whatever is in the CIB: the scheduler ends, without an exception, and twice with the same result."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from crm.cib.codec import parse, render
from crm.cib.model import Element
from crm.scheduler.pipeline import schedule
from crm.transition.graph import to_element
from tests.unit.crm.scheduler.cibs import (
    NOW_S,
    clone,
    document,
    entry,
    group,
    op,
    primitive,
    running,
    state,
    stopped,
)

ROOT = Path(__file__).resolve().parents[4]
VALUES = ("", "-1", "0", "1", "INFINITY", "-INFINITY", "9" * 30, "true", "false", "Promoted", "x", "P1D")

RICH = document(
    [
        primitive("fence", agent="stonith:fence_test"),
        primitive("far", agent="ocf:pacemaker:remote"),
        primitive("vm", meta={"remote-node": "guest", "allow-migrate": "true"}, ops=op()),
        group("g", primitive("a", ops=op()), primitive("b", params={"p": "1"}), meta={"priority": "5"}),
        clone("c", primitive("x", ops=op()), meta={"interleave": "true", "notify": "true"}),
        clone(
            "m", group("mg", primitive("y"), primitive("z")), meta={"promotable": "true", "ordered": "true"}
        ),
        primitive("web", utilization={"cpu": "2"}, meta={"migration-threshold": "2"}),
    ],
    nodes=("n1", "n2", "n3"),
    options={"stonith-enabled": "true", "placement-strategy": "balanced"},
    constraints=(
        '<rsc_order id="o1" first="c" then="g"/><rsc_order id="o2" first="g" then="m" first-action="start"/>'
        '<rsc_colocation id="k1" rsc="g" with-rsc="m" with-rsc-role="Promoted" score="INFINITY"/>'
        '<rsc_colocation id="k2" rsc="web" with-rsc="g" score="-INFINITY"/>'
        '<rsc_location id="l1" rsc="web" node="n2" score="50"/>'
        '<rsc_ticket id="t1" rsc="web" ticket="site" loss-policy="freeze"/>'
        '<rsc_order id="s"><resource_set id="s1" require-all="false"><resource_ref id="a"/>'
        '<resource_ref id="x"/></resource_set><resource_set id="s2"><resource_ref id="web"/></resource_set>'
        "</rsc_order>"
    ),
    node_capacity={"n1": {"cpu": "4"}, "n2": {"cpu": "1"}, "n3": {"cpu": "4"}},
    states=[
        state(
            "n1",
            running("a", entry("a", "monitor", interval_ms=10000, rc=1, expected=0, call=2)),
            running("b"),
            running("x"),
            running("y"),
            running("z"),
            running("vm"),
            running("far", agent="ocf:pacemaker:remote"),
            attributes={"master-y": "10", "fail-count-a#monitor_10000": "1"},
        ),
        state("n2", running("web"), stopped("a"), stopped("b"), running("x"), online=False),
        state("n3", running("fence", agent="stonith:fence_test"), running("web"), running("old")),
        state("far", running("b")),
        state("guest", stopped("a")),
    ],
)


def mutated(item: Element, rng: random.Random, ids: list[str], rate: float) -> Element:
    """A copy in which some attributes and children are changed, gone, doubled or out of order."""
    attributes = dict(item.attributes)
    for name in list(attributes):
        if rng.random() >= rate:
            continue
        kind = rng.random()
        if kind < 0.2:
            del attributes[name]
        else:
            attributes[name] = rng.choice(ids) if kind < 0.5 else rng.choice(VALUES)
    children: list[Element] = []
    for child in item.children:
        luck = rng.random()
        if luck < rate / 3:
            continue
        children.append(mutated(child, rng, ids, rate))
        if luck > 1 - rate / 3:
            children.append(mutated(child, rng, ids, rate))
    if rng.random() < rate / 4:
        rng.shuffle(children)
    return Element(item.tag, attributes, tuple(children), item.text)


@pytest.mark.parametrize("seed", range(60))
def test_mutated_documents(seed: int) -> None:
    rng = random.Random(seed)
    cib = parse(RICH)
    ids = [item.id for item in cib.walk() if item.id]
    for rate in (0.01, 0.05, 0.2):
        schedule(mutated(cib, rng, ids, rate), NOW_S)


def test_cycles_end() -> None:
    names = ("a", "b", "c")
    rules = "".join(
        f'<rsc_order id="o{one}" first="{one}" then="{two}"/>'
        f'<rsc_colocation id="k{one}" rsc="{one}" with-rsc="{two}" score="INFINITY"/>'
        for one, two in zip(names, (*names[1:], names[0]), strict=True)
    )
    resources = [primitive(one, meta={"container": two}) for one, two in zip(names, "bca", strict=True)]
    schedule(parse(document(resources, constraints=rules)), NOW_S)


def test_a_long_chain_does_not_exhaust_the_stack() -> None:
    names = [f"r{number}" for number in range(400)]
    rules = "".join(f'<rsc_order id="o{two}" first="{one}" then="{two}"/>' for one, two in pairwise(names))
    off = {"target-role": "Stopped"}
    resources = [primitive(names[0], meta=off), *(primitive(name) for name in names[1:])]
    states = [
        state("n1", *(running(name) for name in names)),
        state("n2", *(stopped(name) for name in names)),
    ]
    result = schedule(parse(document(resources, constraints=rules, states=states)), NOW_S)
    stops = {action.key for action in result.graph.actions() if action.operation == "stop"}
    assert stops == {f"{name}_stop_0" for name in names}
    assert sys.getrecursionlimit() < 100_000


def test_absurd_numbers_are_bounded() -> None:
    text = document([clone("c", primitive(), meta={"clone-max": "999999999", "priority": "9" * 40})])
    result = schedule(parse(text), NOW_S)
    assert len(result.work.resources_by_id["c"].children) <= 200


def test_an_empty_document() -> None:
    assert schedule(parse("<cib/>"), NOW_S).graph.synapses == ()


def test_same_input_same_bytes() -> None:
    program = (
        "from tests.unit.crm.scheduler.test_robustness import RICH, outcome; "
        "import sys; sys.stdout.write(outcome(RICH))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert texts == {outcome(RICH)}


def outcome(text: str) -> str:
    """Everything that is decided, as one text."""
    result = schedule(parse(text), NOW_S)
    return render(to_element(result.graph)) + "\n".join(result.score_lines)
