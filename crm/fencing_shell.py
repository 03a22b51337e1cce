"""Drives the fencing core with the LRMs of the members: a device's agent is an operation like any other.

What confirms that a node is gone is decided in `fencing/core.py`; who may fence, and when, by the scheduler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from crm import log_events, wire
from crm.cib.document import cluster_options
from crm.controller.nodes import NodeTable
from crm.fencing import core
from crm.fencing.devices import TIMEOUT_MS, levels, node_attributes
from crm.replica.interface import Replica
from crm.replica.settings_in_cib import fencing_enabled
from hacluster.clock import Clock
from hacluster.durations import parse_ms
from hacluster.errors import HaError
from hacluster.vocabulary.ids import OperationId, ResourceId
from hacluster.vocabulary.operation import ExecutionStatus, Operation, OperationResult

if TYPE_CHECKING:
    from crm.dc import DcShell, Local, Spawn
    from crm.dc_orders import Lrm

TWO_NODE_DELAY_MS: Final = 2_000
"""two-node-delay = auto: longer than most devices take, so that the other side's shot is first."""
MARGIN: Final = 1.2
ALERT_ROUNDS: Final = 3

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Call:
    target: str
    attempt: int
    node: str
    device: str


class FencingShell:
    """The fencer of one node; it acts while the node is DC."""

    dc: DcShell

    def __init__(
        self,
        *,
        local: Local,
        nodes: NodeTable,
        replica: Replica,
        lrms: Mapping[str, Lrm],
        clock: Clock,
        spawn: Spawn,
        rng: core.Rng,
        two_node: bool,
        silent_after_ms: int,
    ) -> None:
        """`silent_after_ms`: within this time after its end a node has left the view, whatever happens."""
        self._local, self._nodes, self._replica = local, nodes, replica
        self._lrms, self._clock, self._spawn, self._two_node = lrms, clock, spawn, two_node
        self._fencer = core.Fencer(rng)
        self._calls: dict[OperationId, _Call] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._silent_after_ms = silent_after_ms
        self._looks: dict[str, asyncio.TimerHandle] = {}

    def notices(self) -> list[str]:
        """What people should know: nodes that are being fenced, why that has failed so far, and who waits."""
        return [
            f"{target} is being fenced" + (f"; so far: {why}" if why else "")
            for target, why in self._fencer.targets.items()
        ] + [*self._lied(), *self._unfenced()]

    def _lied(self) -> list[str]:
        return [
            f"{record.name} was confirmed to be off by {' and '.join(record.fenced_by)}, but lives on in the "
            f"same boot: it is not used, and whoever said so is not believed again, until it has rebooted"
            for record in self._nodes.records()
            if record.lied
        ]

    def _unfenced(self) -> list[str]:
        """Lost nodes that nobody is fencing: without a device the scheduler asks for nothing."""
        configuration = self._replica.configuration
        if not fencing_enabled(configuration):
            return []
        return [
            f"{record.name} is lost and no device can fence it: what it may run, and with two nodes "
            f"also changes, wait (is it off for sure? `hacli node clearstate {record.name}`)"
            for record in self._nodes.records()
            if not (record.member or record.left_cleanly or record.fenced)
            and record.name not in self._fencer.targets
            and not levels(configuration, record.name, node_attributes(configuration, record.name))
        ]

    def fence(self, target: str, how: str) -> None:
        """The transition engine wants it; asking twice is harmless."""
        configuration = self._replica.configuration
        options = cluster_options(configuration)
        attributes = node_attributes(configuration, target)
        members = [name for name in self._nodes.members() if name != target and self._lrm_answers(name)]
        members.sort(key=lambda name: name != self._local.node)
        order = core.Wanted(
            target=target,
            how=how,
            levels=levels(configuration, target, attributes),
            executors=tuple(members),
            timeout_ms=_timeout_ms(options),
            extra_delay_ms=self._race_delay_ms(target, options.get("two-node-delay", "auto")),
        )
        log.warning(log_events.FENCING_WANTED, peer=target, action=how)
        self.tell(order)

    def returned(self, target: str) -> None:
        """It is a member again (or the operator said that it is off): no shot any more."""
        self.tell(core.Returned(target))

    def look_for_liars(self) -> None:
        """Nodes that are confirmed off and members all the same: dead for sure they fall silent soon."""
        for record in self._nodes.records():
            if record.fenced and record.member and record.name not in self._looks:
                self._looks[record.name] = asyncio.get_running_loop().call_later(
                    self._silent_after_ms / 1_000, self._look, record.name, record.boot_token
                )

    def _look(self, target: str, boot_token: str) -> None:
        del self._looks[target]
        if self._nodes.still_there(target, boot_token):
            names = ",".join(self._nodes[target].fenced_by)
            log.critical(log_events.FENCING_LIED, peer=target, device=names)
            self.dc.node_lives_on(target)

    def stand_down(self) -> None:
        """Another node is DC."""
        for target in list(self._fencer.targets):
            self.tell(core.Returned(target))

    def take(self, result: OperationResult) -> bool:
        """A result from an LRM; says whether it was that of a fence agent."""
        call = self._calls.get(result.id)
        if call is None or result.status is ExecutionStatus.PENDING:
            return call is not None
        del self._calls[result.id]
        good = result.status is ExecutionStatus.DONE and result.rc == 0
        why = "" if good else f"{result.status.name.lower()}, rc {result.rc} on {call.node}"
        record = self._nodes[call.target]
        if good and record.lied and call.device in record.fenced_by:
            good, why = False, f"it says so, as before, when {call.target} lived on"
        self.tell(core.Ran(call.target, call.attempt, good, f"{why} {result.exit_reason}".strip()))
        return True

    def tell(self, event: core.Event) -> None:
        """Tell the core, and do what it says."""
        for effect in self._fencer.handle(event, self._clock.now_ns()):
            match effect:
                case core.Run():
                    self._spawn(self._run(effect), f"fence {effect.target}")
                case core.Fenced(target=target, how=how, devices=names):
                    log.warning(log_events.FENCED, peer=target, action=how, device=",".join(names))
                    if how == "on":
                        self.dc.node_unfenced(target)
                    else:
                        self.dc.node_fenced(target, names)
                case core.Failed():
                    level = log.error if effect.rounds >= ALERT_ROUNDS else log.warning
                    level(
                        log_events.FENCING_FAILED,
                        peer=effect.target,
                        rounds=effect.rounds,
                        reason=effect.why,
                        pause_ms=effect.pause_ms,
                    )
                case core.SetTimer(target, at_ns):
                    self._set_timer(target, at_ns)
                case core.ClearTimer(target):
                    self._clear_timer(target)
        self.dc.changed()

    def _may_not(self, target: str) -> str:
        """Last look before a shot: why it would not be ours to fire; empty: it is.

        Fencing outlives reigns and views, and without quorum others may have the node among them by now. Who
        is in our own view is ours to fence all the same (no-quorum-policy fence).
        """
        policy = cluster_options(self._replica.configuration).get("no-quorum-policy", "stop").lower()
        if self._local.quorate or policy == "ignore" or self._nodes[target].member:
            return ""
        return "this node's partition has no quorum"

    async def _run(self, order: core.Run) -> None:
        if why := self._may_not(order.target):
            self.tell(core.Ran(order.target, order.attempt, False, why))
            return
        action, parameters = order.device.call(order.action, order.target)
        identity = self.dc.fencing_id(order.attempt)
        operation = Operation(
            resource=ResourceId(f"{order.device.id}-fencing"),  # the device's own monitor must not hold it up
            agent=order.device.agent,
            action=action,
            timeout_ms=order.timeout_ms,
            parameters=parameters,
            meta={"on_node": order.executor, "fence_target": order.target},
            transition_key=f"{identity.action}:{identity.transition}:0:fencing",
        )
        log.warning(
            log_events.FENCING_TRIED,
            peer=order.target,
            device=order.device.id,
            action=action,
            executor=order.executor,
        )
        self._calls[identity] = _Call(order.target, order.attempt, order.executor, order.device.id)
        try:
            reply = await self._lrms[order.executor].execute(
                identity,
                operation,
                view=self._local.view,
                boot_token=self._nodes[order.executor].boot_token,
                without_quorum=True,
            )
        except HaError as error:
            self._calls.pop(identity, None)
            self.tell(core.Ran(order.target, order.attempt, False, str(error)))
            return
        if reply.HasField("result"):
            self.take(wire.result_from(reply.result))
            return
        await asyncio.sleep(order.timeout_ms * MARGIN / 1_000 + 5)
        if self._calls.pop(identity, None) is not None:
            self.tell(core.Ran(order.target, order.attempt, False, f"{order.executor} does not answer"))

    def _race_delay_ms(self, target: str, option: str) -> int:
        """Two nodes that lost each other must not shoot at one moment: who was DC shoots first."""
        if not self._two_node or option in ("off", "0", "false") or self._nodes[target].member:
            return 0
        if option != "auto":
            try:
                return 0 if self._local.was_dc else parse_ms(option)
            except ValueError:
                return TWO_NODE_DELAY_MS
        return 0 if self._local.was_dc else TWO_NODE_DELAY_MS

    def _lrm_answers(self, name: str) -> bool:
        record = self._nodes[name]
        return record.synced and not (record.held or record.given_up or record.fenced or record.lied)

    def _set_timer(self, target: str, at_ns: int) -> None:
        self._clear_timer(target)
        after_s = max(at_ns - self._clock.now_ns(), 0) / 1_000_000_000

        def fired() -> None:
            self._timers.pop(target, None)
            self.tell(core.TimerFired(target))

        self._timers[target] = asyncio.get_running_loop().call_later(after_s, fired)

    def _clear_timer(self, target: str) -> None:
        handle = self._timers.pop(target, None)
        if handle is not None:
            handle.cancel()


def _timeout_ms(options: Mapping[str, str]) -> int:
    text = options.get("fencing-timeout") or options.get("stonith-timeout") or ""
    try:
        return parse_ms(text)
    except ValueError:
        return TIMEOUT_MS
