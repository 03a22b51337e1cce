"""Walks one transition graph: what may be done now, what is confirmed, when to give up. Pure.

A synapse fires once all its inputs are confirmed. A failed action, or any surprise, aborts the transition:
nothing of the same or a lower priority is begun any more, what runs is waited for, then it has ended and the
controller computes a new one. Operations that an earlier transition left running are waited for resource by
resource; one that the graph wants just so is taken over instead of being run twice.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, assert_never

from crm.cib.history import failed
from crm.transition import orders
from crm.transition.graph import ActionKind, GraphAction, TransitionGraph
from crm.transition.progress import Progress
from crm.transition.throttle import Limits, Throttle
from hacluster.vocabulary.ids import OperationId, Term
from hacluster.vocabulary.operation import ExecutionStatus, Operation, OperationResult

INFINITY: Final = 1_000_000
_MS: Final = 1_000_000


class Outcome(StrEnum):
    """How a transition ended."""

    COMPLETE = "complete"
    ABORTED = "aborted"
    TERMINATED = "terminated"  # nothing more can fire, though not all is done


class State(StrEnum):
    """Of one action."""

    WAITING = "waiting"
    HELD = "held"  # could run, but an operation of an earlier transition still does, or a limit is reached
    RUNNING = "running"
    CONFIRMED = "confirmed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Begin:
    """The transition may act."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """An LRM reported the end of an operation, ours or another's."""

    node: str
    result: OperationResult


@dataclass(frozen=True, slots=True)
class Done:
    """An action without a result of its own (cancel, delete, a cluster action) has been carried out."""

    action: int


@dataclass(frozen=True, slots=True)
class Refused:
    """An action could not be handed over, and never will be."""

    action: int
    why: str


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The timer of an action fired."""

    action: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Something changed: begin nothing of this priority or below any more."""

    why: str
    priority: int = INFINITY


@dataclass(frozen=True, slots=True)
class NodeGone:
    """A node left the view, or its LRM started anew in another boot: nothing it ran will report."""

    node: str


@dataclass(frozen=True, slots=True)
class NodeFenced:
    """It is certain that the node runs nothing."""

    node: str


@dataclass(frozen=True, slots=True)
class LimitsChanged:
    """Another limit of running operations, or another load on a node."""

    limits: Limits


@dataclass(frozen=True, slots=True)
class NodeUnfenced:
    """Its devices have let the node in ("on"). Of what it runs that says nothing."""

    node: str


Event = (
    Begin | Arrived | Done | Refused | TimedOut | Abort | NodeGone | NodeFenced | NodeUnfenced | LimitsChanged
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execute:
    """Hand the operation to the node's LRM; its result comes back as Arrived."""

    action: int
    id: OperationId
    node: str
    operation: Operation
    wait_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRecurring:
    """End a recurring operation; answered by Done."""

    action: int
    node: str
    resource: str
    operation: str
    interval_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteHistory:
    """Forget a resource on a node; answered by Done."""

    action: int
    node: str
    resource: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearFailures:
    """Set a resource's fail counts on a node to nothing."""

    action: int
    node: str
    resource: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutDownNode:
    """The node has nothing left to run and may leave."""

    action: int
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceNode:
    """Make certain that the node runs nothing (NodeFenced answers) or, by "on", that it may (NodeUnfenced).

    `delay_s`: the scheduler's priority-fencing-delay. `digests`: of the devices that unfence, all and secure.
    """

    action: int
    node: str
    how: str
    delay_s: int = 0
    digests: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTimer:
    """Say TimedOut at this instant, unless ClearTimer comes first."""

    action: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class ClearTimer:
    """The action has ended."""

    action: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """For the log: an action failed, and what that means."""

    action: int
    label: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The transition is over; `retry` asks for another attempt after a pause."""

    outcome: Outcome
    why: str
    retry: bool = False


Effect = (
    Execute
    | CancelRecurring
    | DeleteHistory
    | ClearFailures
    | ShutDownNode
    | FenceNode
    | SetTimer
    | ClearTimer
    | Failed
    | Finished
)


@dataclass(slots=True)
class _Synapse:
    index: int
    priority: int
    missing: int
    actions: tuple[GraphAction, ...]
    inputs: tuple[int, ...] = field(default=())


class TransitionRun:
    """One transition from Begin to Finished.

    `pending`: operations that run, or wait, at LRMs for an earlier transition, by node. `uuid` is the last
    field of the transition keys.
    """

    def __init__(
        self,
        graph: TransitionGraph,
        *,
        term: Term,
        number: int,
        uuid: str,
        limits: Limits,
        pending: Mapping[str, tuple[OperationResult, ...]],
    ) -> None:
        self.number = number
        self._term, self._uuid = term, uuid
        self._network_ms = orders.network_delay_ms(graph.xml)
        self._actions = {action.id: action for action in graph.actions()}
        self._states = dict.fromkeys(self._actions, State.WAITING)
        self._synapses = [
            _Synapse(n, item.priority, len(set(item.inputs)), item.actions, item.inputs)
            for n, item in enumerate(graph.synapses)
        ]
        self._dependents: dict[int, list[_Synapse]] = {}
        for synapse in self._synapses:
            for number_of_input in sorted(set(synapse.inputs)):
                self._dependents.setdefault(number_of_input, []).append(synapse)
        self._ready: list[tuple[int, int, int]] = []
        for synapse in self._synapses:
            if synapse.missing == 0:
                self._make_ready(synapse)
        self._held: list[tuple[int, int, int]] = []
        self._throttle = Throttle(limits, graph.xml)
        self._foreign: dict[tuple[str, str], list[OperationResult]] = {}
        for node, results in pending.items():
            for result in results:
                if result.operation.interval_ms == 0:
                    self._foreign.setdefault((node, result.operation.resource), []).append(result)
        self._adopted: dict[OperationId, int] = {}
        self._running: set[int] = set()  # but for fencing, which may outlive the transition
        self._fencing: set[int] = set()
        self._confirmed = 0
        self._abort_priority: int | None = None
        self._why = ""
        self._retry = False
        self.outcome: Outcome | None = None

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """Take one event; after Finished everything is ignored."""
        if self.outcome is not None:
            return []
        effects: list[Effect] = []
        match event:
            case Begin() | LimitsChanged():
                if isinstance(event, LimitsChanged):
                    self._throttle.limits = event.limits
            case Arrived(node, result):
                self._arrived(node, result, effects)
            case Done(action):
                self._confirm(action, effects)
            case Refused(action, why):
                self._retry = True
                self._fail(action, why, effects, restart=True)
            case TimedOut(action):
                self._fail(action, "no result in time", effects, restart=True)
            case Abort(why, priority):
                self._abort(why, priority)
            case NodeGone(node):
                self._node_gone(node, effects)
            case NodeFenced(node) | NodeUnfenced(node):
                for item in [self._actions[number] for number in sorted(self._fencing)]:
                    if item.node == node and orders.unfences(item) is isinstance(event, NodeUnfenced):
                        self._confirm(item.id, effects)
            case _:
                assert_never(event)
        self._pump(effects, now_ns)
        self._finish_if_over(effects)
        return effects

    def check(self) -> None:
        """Invariants: a fired synapse had all its inputs, nothing runs after the end."""
        states = list(self._states.items())
        running = {action for action, state in states if state is State.RUNNING}
        assert running == self._running | self._fencing, "the sets of running actions are wrong"
        assert self._confirmed == sum(state is State.CONFIRMED for _, state in states), "wrong count"
        assert self.outcome is None or all(map(self._may_outlive, self._running)), "it ended too early"
        assert all(synapse.missing >= 0 for synapse in self._synapses), "an input was confirmed twice"

    def progress(self) -> Progress:
        """How far it is."""
        waits = [orders.fencing_label(self._actions[n]) for n in sorted(self._fencing)]
        waits += [
            f"{orders.label(self._actions[self._action_at(item).id])}: {self._hold_reason(item)}"
            for item in sorted(self._held)
        ]
        running = [orders.label(self._actions[n]) for n in sorted(self._running)]
        if self._abort_priority is not None:
            state = "aborted"
        else:
            state = "waiting" if self._fencing and not running else "running"
        return Progress(
            actions=len(self._states),
            done=self._confirmed,
            running=tuple(running),
            waits=tuple(waits),
            state=state if self.outcome is None else "idle",
        )

    def state_of(self, action: int) -> State:
        """Of one action."""
        return self._states[action]

    def owns(self, identity: OperationId) -> bool:
        """Whether an operation of this id belongs to a running action of this transition."""
        mine = (identity.term, identity.transition) == (self._term, self.number)
        return identity in self._adopted or (mine and self._states.get(identity.action) is State.RUNNING)

    def _arrived(self, node: str, result: OperationResult, effects: list[Effect]) -> None:
        action = self._adopted.pop(result.id, None)
        foreign = self._settle_foreign(node, result)
        if action is None and (result.id.term, result.id.transition) == (self._term, self.number):
            action = result.id.action
        if action is not None and self._states.get(action) is State.RUNNING:
            self._ended(action, result, effects)
        elif foreign:
            self._abort(f"{result.operation.key} of an earlier transition ended on {node}", INFINITY)

    def _settle_foreign(self, node: str, result: OperationResult) -> bool:
        place = (node, result.operation.resource)
        before = self._foreign.get(place, [])
        after = [item for item in before if item.id != result.id]
        if len(after) == len(before):
            return False
        if after:
            self._foreign[place] = after
        else:
            del self._foreign[place]
        return True

    def _ended(self, action: int, result: OperationResult, effects: list[Effect]) -> None:
        item = self._actions[action]
        if result.status in (ExecutionStatus.NOT_RUN, ExecutionStatus.UNKNOWN, ExecutionStatus.CANCELLED):
            self._retry = self._retry or result.status is ExecutionStatus.NOT_RUN
            why = result.exit_reason or result.status.name.lower().replace("_", " ")
            self._fail(action, why, effects, restart=True)
        elif not failed(result) or orders.meta(item, "on_fail") == "ignore":
            self._confirm(action, effects)
        else:
            why = f"rc {result.rc}, expected {orders.expected_rc(item)}"
            if result.status is not ExecutionStatus.DONE:
                why = f"{result.status.name.lower()}, {why}"
            self._fail(action, why, effects)

    def _confirm(self, action: int, effects: list[Effect]) -> None:
        if self._states.get(action) not in (State.RUNNING, State.WAITING, State.HELD):
            return
        if self._states[action] is State.RUNNING:
            self._leave(action, effects)
        self._states[action] = State.CONFIRMED
        self._confirmed += 1
        for synapse in self._dependents.get(action, ()):
            synapse.missing -= 1
            if synapse.missing == 0:
                self._make_ready(synapse)

    def _make_ready(self, synapse: _Synapse) -> None:
        for position in range(len(synapse.actions)):
            heapq.heappush(self._ready, (-synapse.priority, synapse.index, position))

    def _fail(self, action: int, why: str, effects: list[Effect], *, restart: bool = False) -> None:
        """`restart`: nothing failed at the resource, but the plan does not hold any more."""
        if self._states.get(action) is not State.RUNNING:
            return
        self._leave(action, effects)
        self._states[action] = State.FAILED
        item = self._actions[action]
        effects.append(Failed(action=action, label=orders.label(item), why=why))
        priority = INFINITY if restart else self._priority_of(action) + 1
        self._abort(f"{orders.label(item)}: {why}", priority)

    def _priority_of(self, action: int) -> int:
        return next((s.priority for s in self._synapses if any(item.id == action for item in s.actions)), 0)

    def _leave(self, action: int, effects: list[Effect]) -> None:
        self._throttle.ended(self._actions[action])
        self._running.discard(action)
        if action in self._fencing:
            self._fencing.discard(action)
        else:
            effects.append(ClearTimer(action))

    def _abort(self, why: str, priority: int) -> None:
        if self._abort_priority is None or priority > self._abort_priority:
            self._abort_priority = priority
            self._why = why

    def _node_gone(self, node: str, effects: list[Effect]) -> None:
        for place in [place for place in self._foreign if place[0] == node]:
            del self._foreign[place]
        for action in sorted(self._running):
            if self._actions[action].node == node:
                self._fail(action, f"{node} is gone", effects, restart=True)
        self._abort(f"{node} is gone", INFINITY)

    def _pump(self, effects: list[Effect], now_ns: int) -> None:
        """Begin what can begin, in order of priority, then of the graph."""
        for item in self._held:
            heapq.heappush(self._ready, item)
        self._held = []
        while self._ready:
            item = heapq.heappop(self._ready)
            action = self._action_at(item)
            if self._states[action.id] not in (State.WAITING, State.HELD):
                continue
            if self._abort_priority is not None and -item[0] < self._abort_priority:
                continue
            if self._adopt(action, effects, now_ns):
                continue
            if self._hold_reason(item):
                self._states[action.id] = State.HELD
                self._held.append(item)
                continue
            self._begin(action, effects, now_ns)

    def _action_at(self, item: tuple[int, int, int]) -> GraphAction:
        return self._synapses[item[1]].actions[item[2]]

    def _hold_reason(self, item: tuple[int, int, int]) -> str:
        action = self._action_at(item)
        if action.kind is not ActionKind.RESOURCE:
            return ""
        foreign = self._foreign.get((action.node, orders.resource_of(action)))
        if foreign:
            return f"{foreign[0].operation.key} of an earlier transition is running"
        return self._throttle.full(action)

    def _adopt(self, action: GraphAction, effects: list[Effect], now_ns: int) -> bool:
        """Take over an operation of an earlier transition that is the very one wanted here."""
        if action.kind is not ActionKind.RESOURCE:
            return False
        for result in self._foreign.get((action.node, orders.resource_of(action)), ()):
            operation = result.operation
            same = (operation.action, operation.interval_ms) == (
                action.operation,
                orders.number(action, "interval"),
            )
            if same and result.id not in self._adopted:
                wanted = orders.operation_of(action, operation.transition_key)
                if replace(wanted, start_within_ms=operation.start_within_ms) != operation:
                    return False  # another agent, timeout, clone number, ... make it another operation
                self._adopted[result.id] = action.id
                self._run(action, effects, now_ns)
                return True
        return False

    def _run(self, action: GraphAction, effects: list[Effect], now_ns: int) -> int:
        wait_ms = orders.wait_ms(action, self._network_ms)
        self._states[action.id] = State.RUNNING
        self._running.add(action.id)
        self._throttle.began(action)
        effects.append(SetTimer(action=action.id, at_ns=now_ns + wait_ms * _MS))
        return wait_ms

    def _begin(self, action: GraphAction, effects: list[Effect], now_ns: int) -> None:
        match action.kind:
            case ActionKind.PSEUDO:
                self._confirm(action.id, effects)
            case ActionKind.CLUSTER:
                self._begin_cluster(action, effects, now_ns)
            case ActionKind.RESOURCE:
                self._begin_resource(action, effects, now_ns)
            case _:
                assert_never(action.kind)

    def _begin_cluster(self, action: GraphAction, effects: list[Effect], now_ns: int) -> None:
        number, node, resource = action.id, action.node, orders.resource_of(action)
        match action.operation:
            case "stonith":
                self._states[number] = State.RUNNING
                self._fencing.add(number)
                how, delay_s, digests = orders.fencing_of(action)
                fence = FenceNode(action=number, node=node, how=how, delay_s=delay_s, digests=digests)
                effects.append(fence)
                return
            case "do_shutdown":
                self._run(action, effects, now_ns)
                effects.append(ShutDownNode(action=number, node=node))
            case "clear_failcount":
                self._run(action, effects, now_ns)
                effects.append(ClearFailures(action=number, node=node, resource=resource))
            case "lrm_delete":
                self._run(action, effects, now_ns)
                effects.append(DeleteHistory(action=number, node=node, resource=resource))
            case _:  # nothing to do for it outside the graph
                self._confirm(number, effects)
                return
        if orders.flag(action, "op_no_wait"):
            self._confirm(number, effects)

    def _begin_resource(self, action: GraphAction, effects: list[Effect], now_ns: int) -> None:
        number, node, resource = action.id, action.node, orders.resource_of(action)
        wait_ms = self._run(action, effects, now_ns)
        match action.operation:
            case "cancel":
                effects.append(
                    CancelRecurring(
                        action=number,
                        node=node,
                        resource=resource,
                        operation=orders.meta(action, "operation", "monitor"),
                        interval_ms=orders.number(action, "interval"),
                    )
                )
            case "delete":
                effects.append(DeleteHistory(action=number, node=node, resource=resource))
            case _:
                key = orders.transition_key(action, self.number, self._uuid)
                effects.append(
                    Execute(
                        action=number,
                        id=OperationId(self._term, self.number, number),
                        node=node,
                        operation=orders.operation_of(action, key),
                        wait_ms=wait_ms,
                    )
                )
        if orders.flag(action, "op_no_wait"):
            self._confirm(number, effects)

    def _finish_if_over(self, effects: list[Effect]) -> None:
        if any(not self._may_outlive(action) for action in self._running):
            return
        effects.extend(ClearTimer(action) for action in sorted(self._running))
        if self._confirmed == len(self._states):
            self._finish(Outcome.COMPLETE, "", effects)
        elif self._abort_priority is not None:
            self._finish(Outcome.ABORTED, self._why, effects)
        elif not self._fencing and not self._held:
            stuck = [orders.label(self._actions[n]) for n, s in self._states.items() if s is State.WAITING]
            self._finish(Outcome.TERMINATED, f"{', '.join(stuck[:5])} cannot be reached", effects)

    def _may_outlive(self, action: int) -> bool:
        """The first run of a recurring monitor, which its LRM may have put off, does not delay another plan.

        If it fails later, that is a failure like any other of a monitor.
        """
        aborted = self._abort_priority is not None
        return aborted and orders.number(self._actions[action], "interval") > 0

    def _finish(self, outcome: Outcome, why: str, effects: list[Effect]) -> None:
        self.outcome = outcome
        effects.append(Finished(outcome=outcome, why=why, retry=self._retry))
