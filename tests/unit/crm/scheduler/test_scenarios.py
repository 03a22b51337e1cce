"""Scenarios as data: scenarios/scheduler/NAME/{cib.xml,expected.txt}; `pytest --rewrite`, read the diff."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm.cib.codec import parse
from crm.scheduler.explain import explain
from crm.scheduler.pipeline import Transition, schedule
from tests.unit.crm.scheduler.cibs import NOW_S, name_of

SCENARIOS = Path(__file__).resolve().parents[3] / "scenarios" / "scheduler"


def describe(transition: Transition) -> str:
    """What is done after what, then why each resource is where it is."""
    graph = transition.graph
    by_id = {action.id: action for action in (*graph.unwritten, *graph.actions())}
    lines = ["actions"]
    for synapse in graph.synapses:
        for action in synapse.actions:
            before = sorted(name_of(by_id[number]) for number in synapse.inputs)
            mark = "*" if action.kind.value == "pseudo_event" else " "
            lines.append(f" {mark}{name_of(action)}")
            lines.extend(f"     after {name}" for name in before)
    lines += ["", "resources"]
    for resource in transition.work.resources:
        lines.extend(f"  {line}" for line in explain(transition.work, resource.id))
    fencing = [
        f"  {action.key}: {action.reason}"
        for action in transition.work.actions
        if action.task == "stonith" and not action.optional
    ]
    if fencing:
        lines += ["", "fencing", *fencing]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("folder", sorted(SCENARIOS.iterdir()), ids=lambda folder: folder.name)
def test_scenario(folder: Path, rewrite: bool) -> None:
    text = describe(schedule(parse((folder / "cib.xml").read_bytes(), source=folder.name), NOW_S))
    expected = folder / "expected.txt"
    if rewrite:
        expected.write_text(text)
        return
    assert text == expected.read_text(), f"{expected}: read the difference, then pytest --rewrite"
