"""The transition engine with any graph, any order of results, failures, refusals and aborts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from crm.transition import core
from crm.transition.graph import GraphAction, Synapse, TransitionGraph
from crm.transition.throttle import Limits
from hacluster.vocabulary.operation import ExecutionStatus, OperationResult
from tests.unit.crm.transition.test_core import TERM, a_pending, an_action

NODES = ("node1", "node2")
TASKS = ("start", "stop", "monitor", "monitor/10000", "~pseudo", "cancel/10000", "delete", "lrm_delete")


@st.composite
def graphs(draw: st.DrawFn) -> TransitionGraph:
    """An acyclic graph: inputs are earlier actions."""
    synapses = []
    for number in range(1, draw(st.integers(1, 12)) + 1):
        task, node = draw(st.sampled_from(TASKS)), draw(st.sampled_from(NODES))
        action, _, _ = an_action(f"{number} {task} r{draw(st.integers(0, 3))} {node}")
        inputs = draw(st.lists(st.integers(1, number - 1), max_size=3)) if number > 1 else []
        priority = draw(st.sampled_from((0, 0, 5)))
        synapses.append(
            Synapse(id=number, actions=(action,), inputs=tuple(dict.fromkeys(inputs)), priority=priority)
        )
    return TransitionGraph(synapses=tuple(synapses), xml={"cluster-delay": "60s"})


@dataclass
class Played:
    """What an engine ordered, and what was answered so far."""

    run: core.TransitionRun
    graph: TransitionGraph
    begun: list[int] = field(default_factory=list)
    confirmed: set[int] = field(default_factory=set)
    open: dict[int, core.Effect] = field(default_factory=dict)
    timers: set[int] = field(default_factory=set)
    finished: core.Finished | None = None
    aborted: bool = False

    def tell(self, event: core.Event) -> None:
        effects = self.run.handle(event, 0)
        self.run.check()
        for effect in effects:
            assert self.finished is None, "an order after the end"
            self.take(effect)

    def take(self, effect: core.Effect) -> None:
        match effect:
            case core.Execute() | core.CancelRecurring() | core.DeleteHistory():
                assert effect.action not in self.begun, "begun twice"
                self.begun.append(effect.action)
                self.open[effect.action] = effect
                self.check_inputs(effect.action)
            case core.SetTimer(action=action):
                self.timers.add(action)
            case core.ClearTimer(action):
                self.timers.remove(action)
            case core.Finished():
                self.finished = effect
            case _:
                pass

    def check_inputs(self, action: int) -> None:
        synapse = next(s for s in self.graph.synapses if s.actions[0].id == action)
        for number in synapse.inputs:
            assert self.run.state_of(number) is core.State.CONFIRMED, f"{action} before its input {number}"

    def action(self, number: int) -> GraphAction:
        return next(action for action in self.graph.actions() if action.id == number)

    def answer(self, number: int, draw: st.DataObject) -> None:
        effect = self.open.pop(number)
        how = draw.draw(st.sampled_from(("ok", "ok", "ok", "fail", "refuse", "time out", "not run")))
        if how == "refuse":
            self.tell(core.Refused(number, "no authority"))
        elif how == "time out":
            self.tell(core.TimedOut(number))
        elif isinstance(effect, core.Execute):
            status = ExecutionStatus.NOT_RUN if how == "not run" else ExecutionStatus.DONE
            rc = {"ok": 0, "fail": 1, "not run": 1}[how]
            result = OperationResult(
                id=effect.id, call_id=1, operation=effect.operation, status=status, rc=rc
            )
            self.tell(core.Arrived(effect.node, result))
        else:
            self.tell(core.Done(number))


@settings(max_examples=100, deadline=None)
@given(graph=graphs(), data=st.data(), jobs=st.integers(1, 4))
def test_every_transition_ends_and_keeps_the_order(
    graph: TransitionGraph, data: st.DataObject, jobs: int
) -> None:
    pending = {}
    if data.draw(st.booleans()):
        node, old = a_pending(f"91 start r{data.draw(st.integers(0, 3))} node1")
        pending = {node: (old,)}
    run = core.TransitionRun(
        graph, term=TERM, number=4, uuid="u", limits=Limits(node_actions=jobs), pending=pending
    )
    played = Played(run, graph)
    played.tell(core.Begin())
    for _ in range(60):
        if played.finished is not None:
            break
        choices = ["answer"] if played.open else []
        if pending:
            choices.append("old")
        assert choices, "nothing runs, and it does not end"
        choices += ["abort", "gone"] if data.draw(st.integers(0, 9)) == 0 else []
        match data.draw(st.sampled_from(choices)):
            case "answer":
                played.answer(data.draw(st.sampled_from(sorted(played.open))), data)
            case "old":
                ((node, (old,)),) = pending.items()
                pending = {}
                played.tell(core.Arrived(node, dataclasses.replace(old, status=ExecutionStatus.DONE, rc=0)))
            case "abort":
                played.tell(core.Abort("a surprise"))
            case "gone":
                played.tell(core.NodeGone("node2"))
                for number in [n for n in played.open if played.action(n).node == "node2"]:
                    del played.open[number]
            case _:
                raise AssertionError
    assert played.finished is not None, "it never ends"
    assert not played.timers, "timers of a transition that has ended"
    confirmed = [a.id for a in graph.actions() if run.state_of(a.id) is core.State.CONFIRMED]
    complete = len(confirmed) == len(graph.actions())
    assert complete == (played.finished.outcome is core.Outcome.COMPLETE)
