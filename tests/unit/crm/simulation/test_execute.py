from __future__ import annotations

from crm.cib.model import Element
from crm.scheduler.pipeline import schedule
from crm.scheduler.scores import INFINITY
from crm.simulation.execute import execute
from crm.transition.graph import ActionKind, GraphAction, Synapse, TransitionGraph
from tests.unit.crm.scheduler.cibs import NOW_S, clone, document, element, entry, history, primitive, state

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


def test_entries_are_named_after_the_primitive_even_in_the_history_of_an_instance() -> None:
    old = state("n1", history("d:0", entry("d:0", call=2)))
    cib = element(document([clone("c", primitive("d"), meta=STOPPED)], nodes=("n1",), states=[old]))
    (found,) = [item for item in after(cib).walk() if item.tag == "lrm_resource"]
    assert (found.id, [one.id for one in found.children]) == ("d:0", ["d:0_start_0", "d_last_0"])
    assert [one.get("operation_key") for one in found.children] == ["d:0_start_0", "d_stop_0"]


def test_migrations_say_whence_and_whither() -> None:
    cib = element(
        document(
            [primitive("vm", meta={"allow-migrate": "true"})],
            constraints='<rsc_location id="l" rsc="vm" node="n1" score="-INFINITY"/>',
            states=[
                state("n1", history("vm", entry("vm"))),
                state("n2", history("vm", entry("vm", "monitor", rc=7))),
            ],
        )
    )
    moved = [one for one in after(cib).walk() if one.get("operation").startswith("migrate_")]
    assert [one.id for one in moved] == ["vm_migrate_to_0", "vm_migrate_from_0"]
    assert {(one.get("migrate_source"), one.get("migrate_target")) for one in moved} == {("n1", "n2")}


def test_what_an_entry_says_beyond_a_result_stays_when_it_is_written_over() -> None:
    old = entry("web", ident="web_last_0", more='op-force-restart=" state " exit-reason="why"')
    cib = element(
        document([primitive("web", meta=STOPPED)], nodes=("n1",), states=[state("n1", history("web", old))])
    )
    (found,) = [item for item in after(cib).walk() if item.tag == "lrm_rsc_op"]
    assert (found.get("operation"), found.get("op-force-restart"), found.get("exit-reason")) == (
        "stop",
        " state ",
        "",
    )


def synapse(number: int, what: str, *inputs: int, urgent: bool = False) -> Synapse:
    """One action; a name with a "/" is a task of resource web, any other a point in time."""
    task = what.partition("/")[2]
    xml = {"operation": task or what, "operation_key": f"web_{task}_0" if task else f"{what}_0"}
    action = GraphAction(
        id=number,
        kind=ActionKind.RESOURCE if task else ActionKind.PSEUDO,
        xml={**xml, "on_node": "n1"} if task else xml,
        children=(Element("primitive", {"id": "web", "class": "ocf", "type": "Dummy"}),) if task else (),
    )
    priority = INFINITY if urgent else 0
    return Synapse(id=number, actions=(action,), inputs=inputs, priority=priority)


def test_after_a_failure_only_what_ends_things_is_done() -> None:
    graph = TransitionGraph(
        synapses=(
            synapse(1, "web/stop"),
            synapse(2, "web/start", 1),
            synapse(3, "web/monitor", 1),  # could be done, but a new transition is due
            synapse(4, "begun", 1),
            synapse(5, "started", 2, urgent=True),  # what failed has been tried: that ends the start
            synapse(6, "web/notify", 5, urgent=True),
            synapse(7, "told", 6),
            synapse(8, "running", 2),  # what failed is not done
            synapse(9, "web/promote", 7),
        )
    )
    cib = element(document([primitive("web")], nodes=("n1",)))
    done = execute(cib, graph, NOW_S, failure_of=lambda action: 1 if action.operation == "start" else None)
    assert (done.failed, done.complete) == (True, False)
    kinds = ("Resource action", "Pseudo action")
    shown = [" ".join(one.split()[3:]) for one in done.lines if any(kind in one for kind in kinds)]
    assert shown == [
        "web stop on n1",
        "web start on n1",
        "begun_0",
        "started_0",
        "web notify on n1",
        "told_0",
    ]
