"""Runs fence agents at the members' LRMs; asks devices what they are and which nodes they know (cached)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from agents.metadata import parse
from crm import log_events, wire
from crm.controller.nodes import NodeTable
from crm.fencing.devices import AgentFacts, Device, HostCheck, Known, described, listed
from hacluster.clock import Clock
from hacluster.errors import ErrorCode, HaError
from hacluster.vocabulary.ids import OperationId, ResourceId
from hacluster.vocabulary.operation import (
    FENCE_DEVICE,
    FENCING_KEY,
    ExecutionStatus,
    Operation,
    OperationResult,
)

if TYPE_CHECKING:
    from crm.dc import DcShell, Local, Spawn
    from crm.dc_orders import Lrm

MARGIN: Final = 1.2
ANSWER_S: Final = 5.0
CACHED_MS: Final = 60_000
FACTS_AGAIN_MS: Final = 30_000
RECENT_MAX: Final = 200
STATUS_KNOWN: Final = frozenset({0, 2, 7})
"""What `status` answers for a node the device knows: on, off (an executor maps 2 to OCF's 7)."""

_NS_PER_MS: Final = 1_000_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEnd:
    """How an agent ended. `final`: not to be repeated at once (it used up its time, or nobody ran it).

    `lost`: its executor is, and it may be running still.
    """

    good: bool
    why: str = ""
    final: bool = False
    lost: bool = False
    rc: int = -1
    output: str = ""
    took_ms: int = 0


@dataclass(slots=True)
class _Answer:
    known: Known
    at_ns: int
    parameters: Mapping[str, str]


@dataclass(slots=True)
class _Wait:
    """`to_the_end`: even when the executor is lost, unless it has booted anew."""

    executor: str
    to_the_end: bool = False
    end: asyncio.Future[OperationResult | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


@dataclass(frozen=True, slots=True)
class Use:
    """What an agent is run for; `fencing`: the record's id, "" to ask a device something."""

    fencing: str
    device: str
    action: str
    target: str
    executor: str


@dataclass(slots=True)
class FenceAgents:
    """One node's; used while it is DC."""

    local: Local
    nodes: NodeTable
    lrms: Mapping[str, Lrm]
    clock: Clock
    spawn: Spawn
    dc: DcShell = field(init=False)
    _waiting: dict[OperationId, _Wait] = field(default_factory=dict)
    _recent: dict[OperationId, OperationResult] = field(default_factory=dict)
    _facts: dict[str, AgentFacts] = field(default_factory=dict)
    _facts_tried_ns: dict[str, int] = field(default_factory=dict)
    _answers: dict[str, _Answer] = field(default_factory=dict)
    _unanswered: dict[Use, OperationId] = field(default_factory=dict)
    _number: int = 0

    def known(self, devices: Sequence[Device]) -> tuple[Device, ...]:
        """The devices with what has been found out about them so far."""
        found = []
        for device in devices:
            answer = self._answers.get(device.id)
            usable = answer is not None and answer.parameters == device.parameters
            known = answer.known if answer is not None and usable else None
            found.append(described(device, self._facts.get(str(device.agent)), known))
        return tuple(found)

    async def learn(self, devices: Sequence[Device]) -> None:
        """Read the meta-data of agents that are not known yet; one that fails is tried again later."""
        now_ns = self.clock.now_ns()
        wanted = {
            str(device.agent)
            for device in devices
            if str(device.agent) not in self._facts
            and now_ns - self._facts_tried_ns.get(str(device.agent), -FACTS_AGAIN_MS * _NS_PER_MS)
            >= FACTS_AGAIN_MS * _NS_PER_MS
        }
        for agent in sorted(wanted):
            self._facts_tried_ns[agent] = now_ns
        await asyncio.gather(*(self._learn(agent) for agent in sorted(wanted)))

    async def _learn(self, agent: str) -> None:
        try:
            metadata = parse(await self.lrms[self.local.node].metadata(agent), agent)
        except HaError as error:
            log.info(log_events.FENCE_AGENT_UNKNOWN, agent=agent, reason=str(error))
            return
        on = [action for action in metadata.actions if action.name == "on"]
        self._facts[agent] = AgentFacts(
            actions=frozenset(action.name for action in metadata.actions),
            parameters=frozenset(parameter.name for parameter in metadata.parameters),
            automatic=any(action.automatic for action in on),
            on_target=any(action.on_target for action in on),
        )

    async def ask(self, devices: Sequence[Device], target: str, executors: Sequence[str]) -> None:
        """Ask those devices that have to be asked whether they know the target, and whose answer is old."""
        now_ns = self.clock.now_ns()
        await asyncio.gather(
            *(
                self._ask(device, target, [name for name in executors if name not in device.banned])
                for device in devices
                if self._is_old(device, target, now_ns)
            )
        )

    def _is_old(self, device: Device, target: str, now_ns: int) -> bool:
        if device.host_check not in (HostCheck.DYNAMIC, HostCheck.STATUS):
            return False
        answer = self._answers.get(device.id)
        if answer is None or answer.parameters != device.parameters:
            return True
        if now_ns - answer.at_ns >= CACHED_MS * _NS_PER_MS:
            return True
        return (
            device.host_check is HostCheck.STATUS and target not in answer.known.hosts | answer.known.others
        )

    async def _ask(self, device: Device, target: str, executors: Sequence[str]) -> None:
        dynamic = device.host_check is HostCheck.DYNAMIC
        action = "list" if dynamic else "status"
        for executor in executors:
            timeout_ms = device.timeout_ms(action, CACHED_MS)
            use = Use("", device.id, action, "" if dynamic else target, executor)
            end = await self.run(self.reserve(use), device, use, timeout_ms)
            if dynamic and end.good:
                self._answers[device.id] = _Answer(
                    Known(listed(end.output)), self.clock.now_ns(), dict(device.parameters)
                )
                return
            if not dynamic and end.rc >= 0 and not end.final:
                before = self._answers.get(device.id)
                known = before.known if before is not None else Known()
                one = frozenset({target})
                knows = end.rc in STATUS_KNOWN
                self._answers[device.id] = _Answer(
                    Known(known.hosts | one, known.others - one)
                    if knows
                    else Known(known.hosts - one, known.others | one),
                    self.clock.now_ns(),
                    dict(device.parameters),
                )
                return
            log.warning(log_events.FENCE_DEVICE_SILENT, device=device.id, executor=executor, reason=end.why)

    def reserve(self, use: Use) -> OperationId:
        """The identity of a run that is about to begin.

        When the last order for the same use got no answer it is that order's: the order may have arrived, and
        a second shot would meet a node that is booting. ha-lrm carries out an order once, and tells its end.
        """
        before = self._unanswered.pop(use, None)
        if before is not None and before.term == self.dc.term:
            return before
        self._number += 1
        return self.dc.fencing_id(self._number)

    async def adopt(
        self, identity: OperationId, executor: str, timeout_ms: int, *, to_the_end: bool = False
    ) -> AgentEnd:
        """Wait for the end of an agent that has been started; `to_the_end`: though its executor is lost."""
        recent = self._recent.get(identity)
        if recent is not None:
            return _end(recent, executor)
        return await self._ended(identity, _Wait(executor, to_the_end), timeout_ms)

    def gone(self, node: str, *, rebooted: bool = False) -> None:
        """It has left the view: agents that it runs are not waited for, another member is asked.

        But while it may yet let itself in ("on" by the node itself) it must not count as fenced. `rebooted`:
        nothing of its former life runs any more. What was done to it before says nothing of what it is now.
        """
        for use in [use for use in self._unanswered if node in (use.target, use.executor)]:
            del self._unanswered[use]
        for wait in self._waiting.values():
            if wait.executor == node and (rebooted or not wait.to_the_end) and not wait.end.done():
                wait.end.set_result(None)

    def take(self, result: OperationResult) -> bool:
        """A result from an LRM; says whether it was that of a fence agent."""
        if "fence_target" not in result.operation.meta:
            return False
        if result.status is ExecutionStatus.PENDING:
            return True
        while len(self._recent) >= RECENT_MAX:
            self._recent.pop(next(iter(self._recent)))
        self._recent[result.id] = result
        wait = self._waiting.get(result.id)
        if wait is not None and not wait.end.done():
            wait.end.set_result(result)
        return True

    async def run(self, identity: OperationId, device: Device, use: Use, timeout_ms: int) -> AgentEnd:
        """Have a member run the agent, and wait for its end. `identity`: what `reserve` gave for this use."""
        action, target, executor = use.action, use.target, use.executor
        boot = self.nodes[target].boot_token if target in self.nodes else ""
        told, parameters = device.call(action, target, boot)
        suffix = "" if device.action_limit == 1 else f"-{target}"
        operation = Operation(
            resource=ResourceId(f"{device.id}-fencing{suffix}"),  # the device's monitor must not hold it up
            agent=device.agent,
            action=told,
            timeout_ms=timeout_ms,
            parameters=parameters,
            meta={"on_node": executor, "fence_target": target, FENCE_DEVICE: device.id},
            transition_key=f"{identity.action}:{identity.transition}:0:{FENCING_KEY}",
        )
        # Registered before the order is given: the result may be faster than the order's answer.
        wait = self._waiting[identity] = _Wait(executor, action == "on" and executor == target)
        try:
            reply = await self.lrms[executor].execute(
                identity,
                operation,
                view=self.local.view,
                boot_token=self.nodes[executor].boot_token,
                without_quorum=True,
            )
        except HaError as error:
            self._waiting.pop(identity, None)
            lost = error.code in (ErrorCode.UNREACHABLE, ErrorCode.TIMEOUT)  # the order may have arrived
            if lost and use.fencing and action != "on":
                self._unanswered[use] = identity
            return AgentEnd(good=False, why=str(error), final=True, lost=lost)
        if reply.HasField("result"):
            self._waiting.pop(identity, None)
            return _end(wire.result_from(reply.result), executor)
        return await self._ended(identity, wait, timeout_ms)

    async def _ended(self, identity: OperationId, wait: _Wait, timeout_ms: int) -> AgentEnd:
        self._waiting[identity] = wait
        executor = wait.executor
        try:
            async with asyncio.timeout(timeout_ms * MARGIN / 1_000 + ANSWER_S):
                result = await wait.end
        except TimeoutError:
            return AgentEnd(good=False, why=f"{executor} does not answer", final=True)
        else:
            if result is None:
                return AgentEnd(good=False, why=f"{executor} is gone", final=True, lost=True)
            return _end(result, executor)
        finally:
            self._waiting.pop(identity, None)


def _end(result: OperationResult, executor: str) -> AgentEnd:
    good = result.status is ExecutionStatus.DONE and result.rc == 0
    why = "" if good else f"{result.status.name.lower()}, rc {result.rc} on {executor} {result.exit_reason}"
    return AgentEnd(
        good=good,
        why=why.strip(),
        final=result.status is not ExecutionStatus.DONE,
        rc=result.rc if result.status is ExecutionStatus.DONE else -1,
        output=result.output,
        took_ms=result.executed_ms,
    )
