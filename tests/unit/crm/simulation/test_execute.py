from __future__ import annotations

from crm.cib.model import Element
from crm.scheduler.pipeline import schedule
from crm.simulation.execute import execute
from tests.unit.crm.scheduler.cibs import NOW_S, document, element, entry, history, primitive, state

STOPPED = {"target-role": "Stopped"}


def after(cib: Element) -> Element:
    return execute(cib, schedule(cib, NOW_S).graph, NOW_S).cib


def test_a_history_that_stands_twice_is_merged_as_an_update_of_the_state_merges_it() -> None:
    twice = state(
        "n1",
        history("web", entry("web")),
        history("web", entry("web", "monitor", rc=7)),
    )
    cib = element(document([primitive("web", meta=STOPPED)], nodes=("n1",), states=[twice]))
    first, second = [item for item in after(cib).walk() if item.tag == "lrm_resource"]
    assert [one.get("operation") for one in first.children] == ["start", "monitor", "stop"]
    assert [one.get("operation") for one in second.children] == ["monitor"]
    assert first.children[-1].get("call-id") == "1"


def test_a_history_that_stands_once_counts_on() -> None:
    once = state("n1", history("web", entry("web", call=4)))
    cib = element(document([primitive("web", meta=STOPPED)], nodes=("n1",), states=[once]))
    (found,) = [item for item in after(cib).walk() if item.tag == "lrm_resource"]
    assert [(one.get("operation"), one.get("call-id")) for one in found.children] == [
        ("start", "4"),
        ("stop", "5"),
    ]
