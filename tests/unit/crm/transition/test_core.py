"""The transition engine, by scenarios: a small graph, what happens, what it orders."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from crm.cib.model import Element
from crm.transition import core, orders
from crm.transition.graph import ActionKind, GraphAction, Synapse, TransitionGraph
from crm.transition.throttle import Limits, NodeLoad
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import OperationId, ResourceId, Term
from hacluster.vocabulary.operation import ExecutionStatus, Operation, OperationResult
from tests.datadriven import Command, run_file

SCENARIOS = Path(__file__).parents[3] / "scenarios" / "transition"
TERM = Term(7, 1)
OLD = Term(6, 2)


def an_action(line: str) -> tuple[GraphAction, tuple[int, ...], int]:
    """`3 start web node1 <- 1 2 name=value priority=5`: one action with its inputs."""
    left, _, right = line.partition("<-")
    words = [word for word in left.split() if "=" not in word]
    options = dict(word.split("=", 1) for word in line.split() if "=" in word)
    inputs = tuple(int(word) for word in right.split() if "=" not in word)
    number, task, resource = int(words[0]), words[1], words[2]
    node = words[3] if len(words) > 3 else ""
    priority = int(options.pop("priority", "0"))
    task, _, interval = task.partition("/")
    kind = ActionKind.RESOURCE
    if task in ("stonith", "do_shutdown", "clear_failcount", "lrm_delete"):
        kind = ActionKind.CLUSTER
    if task.startswith("~"):
        kind, task = ActionKind.PSEUDO, task[1:]
    agent = {"class": "ocf", "provider": "x", "type": options.pop("AGENT", "Dummy")}
    attributes = {f"CRM_meta_{name}": value for name, value in options.items() if name.islower()}
    attributes |= {name: value for name, value in options.items() if not name.islower()}
    if interval:
        attributes["CRM_meta_interval"] = interval
    name = options.get("operation", task) if task == "cancel" else task
    xml = {"operation": task, "operation_key": f"{resource}_{name}_{interval or 0}"}
    if node:
        xml["on_node"] = node
    primitive = Element("primitive", {"id": resource, **agent})
    children = (primitive,) if task not in ("stonith", "do_shutdown") else ()
    action = GraphAction(id=number, kind=kind, xml=xml, attributes=attributes, children=children)
    return action, inputs, priority


def a_graph(text: str, **xml: str) -> TransitionGraph:
    synapses = []
    for index, line in enumerate(text.splitlines()):
        action, inputs, priority = an_action(line)
        synapses.append(Synapse(id=index, actions=(action,), inputs=inputs, priority=priority))
    return TransitionGraph(synapses=tuple(synapses), xml={"cluster-delay": "60s", **xml})


def a_pending(text: str) -> tuple[str, OperationResult]:
    """`9 start web node2`: an operation of an earlier transition that still runs."""
    action, _, _ = an_action(text)
    operation = orders.operation_of(action, f"{action.id}:3:0:old")
    status = ExecutionStatus.PENDING
    result = OperationResult(
        id=OperationId(OLD, 3, action.id), call_id=1, operation=operation, status=status, rc=193
    )
    return action.node, result


class World:
    """One run and the words of a scenario file."""

    def __init__(self) -> None:
        self.run: core.TransitionRun | None = None
        self.graph = TransitionGraph()
        self.pending: list[tuple[str, OperationResult]] = []
        self.now_ns = 0

    def handle(self, command: Command) -> str:
        options = dict(command.options)
        self.now_ns = int(options.pop("at", self.now_ns // 1_000_000)) * 1_000_000
        if command.name == "pending":
            self.pending = [a_pending(line) for line in command.input.splitlines()]
            return ""
        if command.name == "graph":
            return self.begin(command, options)
        assert self.run is not None
        if command.name == "progress":
            return "\n".join(f"{n}: {v}" for n, v in dataclasses.asdict(self.run.progress()).items())
        return self.tell(self.event(command, options))

    def begin(self, command: Command, options: dict[str, str]) -> str:
        own = ("jobs", "load")
        self.graph = a_graph(command.input, **{k: v for k, v in options.items() if k not in own})
        loads = {}
        if "load" in options:
            loads["node1"] = NodeLoad(cpus=1, load_1min=float(options["load"]))
        pending: dict[str, tuple[OperationResult, ...]] = {}
        for node, result in self.pending:
            pending[node] = (*pending.get(node, ()), result)
        self.run = core.TransitionRun(
            self.graph,
            term=TERM,
            number=4,
            uuid="u",
            limits=Limits(node_actions=int(options.get("jobs", "0")), loads=loads),
            pending=pending,
        )
        return self.tell(core.Begin())

    def event(self, command: Command, options: dict[str, str]) -> core.Event:
        action = int(command.words[0]) if command.words and command.words[0].isdigit() else 0
        match command.name:
            case "result":
                return self.arrived(action, options, command)
            case "done":
                return core.Done(action)
            case "refused":
                return core.Refused(action, options["why"])
            case "timer":
                return core.TimedOut(action)
            case "abort":
                return core.Abort(options["why"], int(options.get("priority", core.INFINITY)))
            case "gone":
                return core.NodeGone(command.words[0])
            case "fenced":
                return core.NodeFenced(command.words[0])
            case "unfenced":
                return core.NodeUnfenced(command.words[0])
            case "load":
                load = NodeLoad(cpus=int(options["cpus"]), load_1min=float(options["load"]))
                return core.LimitsChanged(Limits(loads={command.words[0]: load}))
            case _:
                raise AssertionError(f"{command.place}: unknown command {command.name}")

    def arrived(self, action: int, options: dict[str, str], command: Command) -> core.Event:
        status = ExecutionStatus[options.get("status", "done").upper()]
        rc = int(options.get("rc", "0"))
        if "old" in command.words:
            node, result = next(item for item in self.pending if item[1].id.action == action)
            return core.Arrived(node, dataclasses.replace(result, status=status, rc=rc))
        item = next(a for a in self.graph.actions() if a.id == action)
        operation = orders.operation_of(item, orders.transition_key(item, 4, "u"))
        identity = OperationId(TERM, 4, action)
        return core.Arrived(
            item.node,
            OperationResult(id=identity, call_id=9, operation=operation, status=status, rc=rc),
        )

    def tell(self, event: core.Event) -> str:
        assert self.run is not None
        effects = self.run.handle(event, self.now_ns)
        self.run.check()
        return "\n".join(map(self.text, effects))

    def text(self, effect: core.Effect) -> str:
        match effect:
            case core.Execute():
                operation = effect.operation
                return f"execute {effect.action} {operation.key}@{effect.node} key={operation.transition_key}"
            case core.SetTimer():
                return f"timer {effect.action} at={effect.at_ns // 1_000_000}"
            case core.ClearTimer(action):
                return f"clear {action}"
            case _:
                name = re.sub(r"(?<!^)([A-Z])", r" \1", type(effect).__name__).lower()
                values = dataclasses.asdict(effect).items()
                return f"{name}: " + " ".join(f"{k}={str(v)!r}" for k, v in values)


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.txt")), ids=lambda path: path.stem)
def test_transition(path: Path, rewrite: bool) -> None:
    run_file(path, World().handle, rewrite=rewrite)


def test_an_operation_carries_what_the_graph_says() -> None:
    primitive = Element("primitive", {"id": "web", "long-id": "web:0", "class": "lsb", "type": "nginx"})
    action = GraphAction(
        id=5,
        kind=ActionKind.RESOURCE,
        xml={"operation": "monitor", "operation_key": "web_monitor_10000", "on_node": "n"},
        attributes={
            "CRM_meta_interval": "10000",
            "CRM_meta_timeout": "30000",
            "CRM_meta_start_delay": "2000",
            "CRM_meta_on_fail": "block",
            "CRM_meta_op_target_rc": "8",
            "port": "80",
        },
        children=(primitive,),
    )
    key = orders.transition_key(action, 12, "uuid")
    assert orders.operation_of(action, key) == Operation(
        resource=ResourceId("web"),
        agent=AgentName("lsb", "", "nginx"),
        action="monitor",
        interval_ms=10_000,
        timeout_ms=30_000,
        start_delay_ms=2_000,
        parameters={"port": "80"},
        meta={
            "interval": "10000",
            "timeout": "30000",
            "start_delay": "2000",
            "on_fail": "block",
            "op_target_rc": "8",
        },
        transition_key="5:12:8:uuid",
        on_fail_block=True,
    )
    assert orders.wait_ms(action, 60_000) == 92_000


@pytest.mark.parametrize(("load", "expected"), [(0.1, 8), (3.2, 8), (3.9, 4), (5.2, 2), (6.5, 1), (60.0, 1)])
def test_a_busy_node_gets_fewer_operations(load: float, expected: int) -> None:
    limits = Limits(loads={"n": NodeLoad(cpus=4, load_1min=load)})
    assert limits.under_load("n") == expected
    assert limits.of_node("n") == 8
    assert limits.under_load("unknown") == 4
