"""The DC's shell: drives controller and transition engine with LRMs, scheduler and the replicated CIB.

Present on every node, idle where it is not DC. What to do is decided by `controller/core.py` and
`transition/core.py`; how an order reaches a node, with retries, by `dc_orders.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, assert_never

import structlog

from crm import log_events
from crm.cib.document import cluster_options, whole
from crm.cib.history import failed
from crm.cib.model import Element
from crm.cib.status import FailureOffsets, failure_changes, status_section, uncounted_failures
from crm.controller import core as control
from crm.controller.nodes import MembershipChange, NodeTable, node_ids, with_nodes
from crm.dc_orders import Orders
from crm.fencing.watchdog import for_scheduler
from crm.fencing_shell import FencingShell
from crm.replica.events import BecameDc
from crm.replica.interface import Replica
from crm.scheduling import Plan, PlanRequest
from crm.tickets import Witness
from crm.transition import core as transition
from crm.transition.progress import Progress
from crm.transition.throttle import Limits, NodeLoad, limits_from
from hacluster.clock import Clock
from hacluster.digits import is_count
from hacluster.durations import parse_ms
from hacluster.errors import HaError
from hacluster.vocabulary.ids import NO_VIEW, OperationId, Term, ViewId
from hacluster.vocabulary.operation import ExecutionStatus, OperationResult

RECHECK_MS: Final = 15 * 60_000
FENCING_ACTIONS: Final = 1_000_000
"""Higher than any action of a graph."""

PUBLISH_AFTER_MS: Final = 20
PUBLISHED_A_MS: Final = 5
"""Histories of resources for which publishing waits a millisecond: spelling one out takes about 0.1 ms, so
that a DC with thousands of them spends at most half of its time on it while much happens."""

_NS_PER_MS: Final = 1_000_000

Spawn = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]
log = structlog.get_logger()


class Scheduler(Protocol):
    """The scheduler's worker process."""

    async def plan(self, request: PlanRequest) -> Plan:
        """Schedule. Raises HaError."""
        ...

    def finished(self, number: int, outcome: str, reason: str) -> None:
        """Have it noted how a transition ended."""
        ...


@dataclass(slots=True, kw_only=True)
class Local:
    """What this node knows of itself and its view.

    `settling`: there is no quorum, though the view's members have the votes for it: their first heartbeats in
    a new view, or the end of an excluded node's lease, are still to come. `was_dc`: in the view before.
    """

    node: str
    view: ViewId = NO_VIEW
    quorate: bool = False
    waiting: bool = False
    settling: bool = False
    was_dc: bool = False
    may_be_dc: bool = True  # not without a disk
    connectivity: Mapping[str, int] = field(default_factory=dict)  # of every node: crm.fencing.race


class DcShell:
    """One node's DC side."""

    def __init__(
        self,
        *,
        local: Local,
        nodes: NodeTable,
        replica: Replica,
        scheduler: Scheduler,
        orders: Orders,
        fencing: FencingShell,
        clock: Clock,
        spawn: Spawn,
        uuid: str,
        first_number: int = 1,
        timings: control.Timings | None = None,
        settle_ms: int = 5_000,
    ) -> None:
        """`settle_ms`: how long a DC waits for quorum that may still come (2 deadtimes)."""
        self._local, self._nodes, self._replica = local, nodes, replica
        self._scheduler, self._orders, self._fencing = scheduler, orders, fencing
        self._clock, self._spawn, self._uuid = clock, spawn, uuid
        self._controller = control.Controller(timings or control.Timings())
        self._timers: dict[str | int, asyncio.TimerHandle] = {}
        self._run: transition.TransitionRun | None = None
        self._plan: Plan | None = None
        self._next_number = first_number
        self._planning = 0
        self._offsets = FailureOffsets()
        self._settle_ms = settle_ms
        self._publishing: asyncio.TimerHandle | None = None
        self._loads: dict[str, NodeLoad] = {}
        self._crown: BecameDc | None = None
        self._patience: asyncio.TimerHandle | None = None
        self.notice = ""
        self.witness = Witness()
        self.changed: Callable[[], None] = lambda: None
        orders.dc = fencing.dc = self

    @property
    def phase(self) -> control.Phase:
        """What the DC is about; NOT_DC elsewhere."""
        return self._controller.phase

    @property
    def term(self) -> Term:
        """Of the reign; meaningful while `phase` is not NOT_DC."""
        return self._controller.term

    @property
    def standings(self) -> Mapping[str, control.Standing]:
        """How far each member is."""
        return self._controller.standings

    @property
    def run_number(self) -> int:
        """Of the transition that runs, or ran last."""
        return self._run.number if self._run is not None else 0

    def progress(self) -> Progress | None:
        """Of the transition that runs, or ran last."""
        return self._run.progress() if self._run is not None else None

    # What happens around.

    def became_dc(self, event: BecameDc) -> None:
        """This node became DC, or its basis changed. News of an older view is ignored.

        Without quorum a DC would do what no-quorum-policy says, and stop everything: so it waits until it is
        clear that quorum will not come, and does not act in between.
        """
        if event.view != self._local.view:
            return
        self._crown = event
        if self._local.settling:
            self._wait_for_quorum()
        else:
            self._reign(event)

    def stopped_being_dc(self, why: str) -> None:
        """Someone else decides, or nobody."""
        self._crown = None
        self._stop_waiting()
        self._stop_reign(why)

    def quorum_changed(self) -> None:
        """Quorum was won or lost within the view, or begins or ceases to settle."""
        if self._crown is None:
            return
        if self._local.settling:
            self._stop_reign("quorum is settling")
            self._wait_for_quorum()
        elif self.phase is control.Phase.NOT_DC:
            self._reign(self._crown)
        else:
            self.tell(control.Changed("quorum changed"))

    def superseded(self, why: str) -> None:
        """An LRM obeys a newer DC. The replicated CIB will say who it is; until then nothing is done here."""
        if self._crown is not None and self.phase is not control.Phase.NOT_DC:
            self._stop_reign(why)
            self._wait_for_quorum()

    def _wait_for_quorum(self) -> None:
        self._stop_waiting()
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(self._settle_ms / 1_000, self._out_of_patience)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _out_of_patience(self) -> None:
        self._patience = None
        if self._crown is not None and self.phase is control.Phase.NOT_DC:
            self._reign(self._crown)

    def _reign(self, event: BecameDc) -> None:
        self._stop_waiting()
        self._nodes.adopt_status(self._replica.status, own=self._local.node)
        self.witness.adopt(self._replica.status)
        members = self._nodes.members()
        log.info(log_events.REIGN, term=str(event.term), members=",".join(members), basis=event.basis.value)
        for record in self._nodes.records():
            if record.fenced:
                self._confirm_to_replica(record.name)
        self._fencing.look_for_liars()
        self.tell(control.BecameDc(event.term, members))
        self._fencing.adopt()
        if event.established:
            self._spawn(self._write_nodes(), "write nodes")

    def _stop_reign(self, why: str) -> None:
        if self.phase is not control.Phase.NOT_DC:
            log.info(log_events.REIGN_OVER, reason=why)
        self.tell(control.StoppedBeingDc(why))

    def membership_changed(self, change: MembershipChange, *, apart: bool = False) -> None:
        """A node came, went, or has booted anew. `apart`: before that this node's partition had no quorum."""
        self._fencing.gone(change, apart=apart)
        for node in (*change.gone, *change.rebooted):
            self._tell_run(transition.NodeGone(node))
        for node in change.rebooted:
            self._tell_run(transition.NodeFenced(node))
        for node in (*change.rebooted, *change.joined, *change.left):
            self._fencing.returned(node)
        self._fencing.look_for_liars()
        if change.gone or change.joined or change.rebooted or change.left:
            self.tell(control.Changed("membership changed"))

    def configuration_changed(self, author: str) -> None:
        """The replicated CIB committed something."""
        self.tell(control.Changed(f"configuration changed by {author or 'unknown'}"))
        self.changed()

    def attributes_changed(self, node: str) -> None:
        """A node's transient attributes are not what they were."""
        self.tell(control.Changed(f"attributes of {node} changed"))
        self.publish_soon()

    def loads_changed(self, loads: Mapping[str, NodeLoad]) -> None:
        """The LRMs' answers about processors and load."""
        self._loads = dict(loads)
        self._tell_run(transition.LimitsChanged(self._limits()))

    # What the LRMs say (histories.Listener).

    def on_result(self, node: str, result: OperationResult) -> None:
        """An operation began or ended."""
        if self._fencing.take(result):
            return
        self.publish_soon()
        if self.phase is control.Phase.NOT_DC or result.status is ExecutionStatus.PENDING:
            return
        self._count_failure(node, result)
        owned = self._run is not None and self._run.owns(result.id)
        self._tell_run(transition.Arrived(node, result))
        if owned:
            log.info(
                log_events.ACTION_DONE,
                operation=result.operation.key,
                peer=node,
                rc=result.rc,
                status=result.status.name.lower(),
                executed_ms=result.executed_ms,
                queued_ms=result.queued_ms,
            )
        elif _is_news(result):
            key = result.operation.key
            log.info(log_events.UNEXPECTED_RESULT, operation=key, peer=node, rc=result.rc)
            self.tell(control.Changed(f"{key} on {node}: rc {result.rc}"))

    def on_forgotten(self, node: str, resource: str) -> None:
        """History was deleted."""
        self.publish_soon()
        self.tell(control.Changed(f"history of {resource} on {node} was deleted"))

    def on_synced(self, node: str, results: tuple[OperationResult, ...], changed: bool) -> None:
        """A history is whole: it may contain what a running transition waits for."""
        self.publish_soon()
        for result in results:
            if self._fencing.take(result):
                continue
            if result.status is not ExecutionStatus.PENDING and self._run is not None:
                if self._run.owns(result.id):
                    self._count_failure(node, result)
                self._tell_run(transition.Arrived(node, result))
        if changed:
            self.tell(control.Changed(f"history of {node} was read again"))

    def on_lost(self, node: str) -> None:
        """An LRM's stream ended."""
        self.tell(control.Disconnected(node, "its ha-lrm does not answer"))

    def node_fenced(self, node: str, by: tuple[str, ...]) -> None:
        """It is certain that the node runs nothing: what waited for that may go on."""
        self._nodes.set_fenced(node, by)
        self._confirm_to_replica(node)
        self._fencing.returned(node)
        self._tell_run(transition.NodeFenced(node))
        if self.phase is not control.Phase.RUNNING:  # a plan being made would fence it once more
            self.tell(control.Changed(f"{node} is fenced"))
        self._fencing.look_for_liars()
        self.publish_soon()

    def node_lives_on(self, node: str) -> None:
        """It was confirmed to be off, and is not."""
        self.tell(control.Changed(f"{node} lives on"))
        self.publish_soon()

    def _confirm_to_replica(self, node: str) -> None:
        """A survivor of two may then commit to the CIB alone."""
        record = self._nodes[node]
        if not record.member:
            self._replica.fence_confirmed(int(record.default_id), record.boot_token)

    def node_unfenced(self, node: str, digests: tuple[str, str]) -> None:
        """A member has its resources' devices back, by devices with these digests (all, secure)."""
        everything, secure = {"#digests-all": digests[0]}, {"#digests-secure": digests[1]}
        self.change_attributes(node, {"#node-unfenced": str(self._clock.wall_s())} | everything | secure)
        self._tell_run(transition.NodeUnfenced(node))

    def fencing_given_up(self, node: str) -> None:
        """What an operator wanted has failed: what was not begun because of it is wanted again."""
        self.tell(control.Changed(f"{node} could not be fenced or unfenced"))

    def fencing_id(self, attempt: int) -> OperationId:
        """Names the use of a fence device, beside the actions of a graph."""
        return OperationId(self.term, self.run_number, FENCING_ACTIONS + attempt)

    # The controller.

    def tell(self, event: control.Event) -> None:
        """Tell the controller, and do what it says."""
        for effect in self._controller.handle(event, self._clock.now_ns()):
            self._apply(effect)

    def _apply(self, effect: control.Effect) -> None:
        match effect:
            case control.Integrate(node):
                self._orders.integrate(node, self.term)
            case control.Hold(node):
                log.warning(log_events.NODE_HELD, peer=node)
                self._nodes[node].held = True
                self.publish_soon()
            case control.GiveUp(node):
                log.error(log_events.NODE_GIVEN_UP, peer=node)
                self._nodes[node].given_up = True
                self._tell_run(transition.NodeGone(node))
                self.publish_soon()
            case control.Release(node):
                log.info(log_events.NODE_RELEASED, peer=node)
                self._nodes[node].held = self._nodes[node].given_up = False
                self.publish_soon()
            case control.Plan(why):
                self._planning += 1
                self._spawn(self._make_plan(why, self._planning), "plan")
            case control.StartTransition():
                self._start_transition()
            case control.AbortTransition(why, priority):
                log.info(log_events.TRANSITION_ABORTED, transition=self.run_number, reason=why)
                self._tell_run(transition.Abort(why, priority))
            case control.Abandon(why):
                self._abandon(why)
            case control.Idle(why):
                self.notice = why
                log.info(log_events.IDLE, reason=why)
                self.changed()
            case control.SetTimer(key, at_ns):
                self._set_timer(key, at_ns, lambda: self.tell(control.TimerFired(key)))
            case control.ClearTimer(key):
                self._clear_timer(key)
            case _:
                assert_never(effect)

    def integrated(self, node: str, term: Term) -> None:
        """The node's LRM obeys, its history is whole, its attributes are here."""
        if term != self.term or self.phase is control.Phase.NOT_DC:
            return
        log.info(log_events.INTEGRATED, peer=node, term=str(term))
        record = self._nodes[node]
        record.held = record.given_up = False
        changes = uncounted_failures(record.history.failures(), record.effective_attributes, self._offsets)
        if changes:
            self.change_attributes(node, changes)
        self._orders.tell_fencing(self._fencing.records.history.records(), term, node)
        self.tell(control.Integrated(node))
        self.publish_soon()

    async def _make_plan(self, why: str, planning: int) -> None:
        request = PlanRequest(
            cib=self.scheduler_input(),
            now_s=self._clock.wall_s(),
            number=self._next_number,
            term=self.term,
            cause=why,
        )
        try:
            plan = await self._scheduler.plan(request)
        except HaError as error:
            log.error(log_events.PLAN_FAILED, reason=str(error))
            if planning == self._planning:
                self.tell(control.PlanFailed(str(error)))
            return
        if planning != self._planning:
            return
        actions = len(plan.graph.actions())
        log.info(
            log_events.PLANNED,
            transition=request.number,
            actions=actions,
            reason=why,
            scheduler_ms=plan.took_ms,
        )
        self._plan = plan
        self.tell(control.Planned(actions, self._recheck_ms(plan)))

    def scheduler_input(self) -> Element:
        """The CIB as the scheduler is to see it now."""
        configuration = self._known_nodes(self._replica.configuration)
        tickets = self.witness.section(configuration)
        status = status_section(self._nodes.facts(configuration), for_scheduler=True, tickets=tickets)
        return whole(
            for_scheduler(configuration, self._fencing.guarded()),
            status,
            self._replica.version,
            quorate=self._local.quorate,
            dc_uuid=node_ids(configuration).get(self._local.node, ""),
            execution_date_s=self._clock.wall_s(),
        )

    def status(self) -> Element:
        """The status section as people are shown it."""
        configuration = self._known_nodes(self._replica.configuration)
        return status_section(self._nodes.facts(configuration), tickets=self.witness.section(configuration))

    def _known_nodes(self, configuration: Element) -> Element:
        seen = [(record.default_id, record.name) for record in self._nodes.records() if record.seen]
        return with_nodes(configuration, seen)

    async def _write_nodes(self) -> None:
        """Nodes that were seen belong into the configuration, as Pacemaker's controller puts them there."""
        if self._known_nodes(self._replica.configuration) is self._replica.configuration:
            return
        outcome = await self._replica.write(self._known_nodes, author="cluster", client="ha-crm")
        log.info(log_events.NOTICE, reason=f"nodes written: {outcome.outcome} {outcome.reason}".strip())

    def _recheck_ms(self, plan: Plan) -> int:
        options = cluster_options(self._replica.configuration)
        try:
            interval_ms = parse_ms(options.get("cluster-recheck-interval", ""))
        except ValueError:
            interval_ms = RECHECK_MS
        by = plan.graph.xml.get("recheck-by", "")
        if is_count(by):
            until_ms = max((int(by) - self._clock.wall_s()) * 1_000, 1_000)
            return min(interval_ms, until_ms) if interval_ms else until_ms
        return interval_ms

    # The transition.

    def _start_transition(self) -> None:
        assert self._plan is not None, "a transition without a plan"
        plan, number = self._plan, self._next_number
        self._next_number += 1
        xml = plan.graph.xml
        self._offsets = FailureOffsets(
            start=xml.get("failed-start-offset", "INFINITY"), stop=xml.get("failed-stop-offset", "INFINITY")
        )
        running = {name: self._nodes[name].history.running() for name in self._nodes.members()}
        pending = {name: operations for name, operations in running.items() if operations}
        self._run = transition.TransitionRun(
            plan.graph, term=self.term, number=number, uuid=self._uuid, limits=self._limits(), pending=pending
        )
        log.info(log_events.TRANSITION_BEGUN, transition=number, actions=len(plan.graph.actions()))
        self.notice = ""
        self._tell_run(transition.Begin())
        self.changed()

    def _limits(self) -> Limits:
        return limits_from(cluster_options(self._replica.configuration), self._loads)

    def tell_run(self, run: transition.TransitionRun, event: transition.Event) -> None:
        """Tell a transition, unless it is not the present one any more."""
        if run is self._run:
            self._tell_run(event)

    def _tell_run(self, event: transition.Event) -> None:
        if self._run is None or self._run.outcome is not None:
            return
        for effect in self._run.handle(event, self._clock.now_ns()):
            self._apply_order(self._run, effect)

    def _apply_order(self, run: transition.TransitionRun, effect: transition.Effect) -> None:
        match effect:
            case transition.SetTimer(action=action, at_ns=at_ns):
                self._set_timer(action, at_ns, lambda: self.tell_run(run, transition.TimedOut(action)))
            case transition.ClearTimer(action):
                self._clear_timer(action)
            case transition.Failed(action=action, label=label, why=why):
                log.warning(log_events.ACTION_FAILED, operation=label, reason=why)
            case transition.Finished(outcome=outcome, why=why, retry=retry):
                self._orders.withdraw(run)
                log.info(
                    log_events.TRANSITION_ENDED, transition=run.number, outcome=outcome.value, reason=why
                )
                self._scheduler.finished(run.number, outcome.value, why)
                self.tell(control.TransitionEnded(outcome, why, retry))
                self.changed()
            case transition.FenceNode(node=node, how=how):
                delay_ms = effect.delay_s * 1_000
                self._fencing.fence(node, how, delay_ms=delay_ms, digests=effect.digests)
            case _:
                self._orders.give(run, effect, self.term)
                self.changed()

    def _abandon(self, why: str) -> None:
        if self._run is not None and self._run.outcome is None:
            self._orders.withdraw(self._run)
            self._scheduler.finished(self._run.number, "abandoned", why)
        self._orders.end_reign()
        self._run = None
        self._plan = None
        self._planning += 1
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()
        for record in self._nodes.records():
            record.held = record.given_up = False
            record.unconfirmed.clear()  # who reigns next compares histories with what the keepers have

    # Failures, attributes, publication.

    def _count_failure(self, node: str, result: OperationResult) -> None:
        attributes = self._nodes[node].effective_attributes
        changes = failure_changes(result, attributes, now_s=self._clock.wall_s(), offsets=self._offsets)
        if changes:
            log.warning(
                log_events.FAILURE_COUNTED,
                operation=result.operation.key,
                peer=node,
                rc=result.rc,
                reason=result.exit_reason,
            )
            self.change_attributes(node, changes)

    def change_attributes(self, node: str, changes: Mapping[str, str]) -> bool:
        """Set transient attributes of a node: at once for the scheduler, then at their keeper."""
        changed = self._nodes.change_attributes(node, changes)
        self._orders.keep_attributes(node, changes, self.term)
        self.publish_soon()
        return changed

    def publish_soon(self) -> None:
        """Send the status section to the other nodes, changes of a few milliseconds together."""
        self.changed()
        if self._publishing is None and self.phase is not control.Phase.NOT_DC:
            known = sum(len(record.history.elements()) for record in self._nodes.records())
            after_ms = max(PUBLISH_AFTER_MS, known // PUBLISHED_A_MS)
            loop = asyncio.get_running_loop()
            self._publishing = loop.call_later(after_ms / 1_000, self._publish)

    def _publish(self) -> None:
        self._publishing = None
        if self.phase is not control.Phase.NOT_DC:
            self._replica.publish_status(self.status())

    # Timers.

    def _set_timer(self, key: str | int, at_ns: int, fire: Callable[[], None]) -> None:
        self._clear_timer(key)
        after_s = max(at_ns - self._clock.now_ns(), 0) / 1_000 / _NS_PER_MS

        def fired() -> None:
            self._timers.pop(key, None)
            fire()

        self._timers[key] = asyncio.get_running_loop().call_later(after_s, fired)

    def _clear_timer(self, key: str | int) -> None:
        handle = self._timers.pop(key, None)
        if handle is not None:
            handle.cancel()


def _is_news(result: OperationResult) -> bool:
    """Whether a result that no running action waits for may change the plan."""
    if result.status in (ExecutionStatus.CANCELLED, ExecutionStatus.NOT_RUN):
        return False
    return failed(result) or result.operation.interval_ms == 0
