"""How the DC's orders reach the nodes: one task an order, tried again until it is answered or withdrawn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from crm import log_events, wire
from crm.cib.status import failure_attributes
from crm.controller.nodes import NodeTable
from crm.fencing.history import FencingRecord
from crm.histories import Histories
from crm.transition import core as transition
from crm.transition.throttle import NodeLoad
from hacluster.clock import Clock
from hacluster.errors import ErrorCode, HaError
from hacluster.v1 import lrm_pb2, node_pb2
from hacluster.vocabulary.ids import OperationId, Term, ViewId
from hacluster.vocabulary.operation import Operation

if TYPE_CHECKING:
    from crm.dc import DcShell, Local

RETRY_MS: Final = 100
RETRY_MS_MAX: Final = 1_000
HISTORY_TIMEOUT_MS: Final = 1_000
LOADS_EVERY_MS: Final = 15_000
_NS_PER_MS: Final = 1_000_000
_FINAL: Final = frozenset(
    {
        ErrorCode.STALE_TERM,
        ErrorCode.NO_AUTHORITY,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.PERMISSION_DENIED,
        ErrorCode.NOT_FOUND,
    }
)
"""Answers that another attempt will not change."""

log = structlog.get_logger()


class Lrm(Protocol):
    """One node's ha-lrm, as far as the DC orders something there."""

    async def accept(self, term: Term, dc: str, view: ViewId) -> lrm_pb2.AcceptReply:
        """Announce the DC."""
        ...

    async def execute(
        self,
        identity: OperationId,
        operation: Operation,
        *,
        view: ViewId,
        boot_token: str,
        without_quorum: bool,
    ) -> lrm_pb2.ExecuteReply:
        """Order an operation."""
        ...

    async def cancel(self, term: Term, resource: str, action: str, interval_ms: int) -> None:
        """End a recurring operation."""
        ...

    async def delete_history(
        self,
        term: Term,
        resource: str,
        action: str = "",
        interval_ms: int = 0,
        *,
        failures_only: bool = False,
    ) -> None:
        """Have history forgotten."""
        ...

    async def status(self) -> lrm_pb2.LrmStatusReply:
        """Load and queue."""
        ...

    async def metadata(self, agent: str) -> str:
        """An agent's meta-data."""
        ...


class Peer(Protocol):
    """One other node's ha-crm."""

    async def integrate(self, term: Term, dc: str, view: ViewId) -> node_pb2.NodeAttributes:
        """Fetch its attributes."""
        ...

    async def change_attributes(self, term: Term, changes: Mapping[str, str]) -> node_pb2.NodeAttributes:
        """Have it keep other values."""
        ...

    async def succeed_dc(self, term: Term) -> None:
        """Be the next DC. Raises HaError."""
        ...

    async def leave_cluster(self, term: Term) -> None:
        """Its resources are gone."""
        ...

    async def tell_fencing(self, term: Term, records: Sequence[FencingRecord]) -> None:
        """What became of fencings."""
        ...


class Orders:
    """Carries out what the DC's cores order."""

    dc: DcShell

    def __init__(
        self,
        *,
        local: Local,
        nodes: NodeTable,
        histories: Histories,
        lrms: Mapping[str, Lrm],
        peers: Mapping[str, Peer],
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        without_quorum: Callable[[], bool],
    ) -> None:
        self._local, self._nodes, self._histories = local, nodes, histories
        self._lrms, self._peers, self._clock, self._spawn = lrms, peers, clock, spawn
        self._without_quorum = without_quorum
        self._boot_tokens: dict[str, str] = {}
        self._of_reign: set[asyncio.Task[None]] = set()
        self._of_run: dict[transition.TransitionRun, set[asyncio.Task[None]]] = {}

    def give(self, run: transition.TransitionRun, effect: transition.Effect, term: Term) -> None:
        """Carry out one order of the transition engine."""
        match effect:
            case transition.Execute():
                self._for_run(run, self._execute(run, effect), f"execute {effect.operation.key}")
            case transition.CancelRecurring(action=action, node=node):
                key = f"{effect.resource}_{effect.operation}_{effect.interval_ms}"
                log.info(log_events.ACTION, operation=f"cancel {key}", peer=node)

                async def cancel() -> None:
                    # Forgotten here first, so that the LRM's news of it is none and disturbs no plan.
                    self._nodes.forget(
                        node, effect.resource, effect.operation, effect.interval_ms, failures_only=False
                    )
                    await self._lrms[node].cancel(term, effect.resource, effect.operation, effect.interval_ms)

                self._for_run(run, self._until_done(run, action, cancel), f"cancel {key}")
            case transition.DeleteHistory(action=action, node=node, resource=resource):
                log.info(log_events.ACTION, operation=f"delete {resource}", peer=node)

                async def delete() -> None:
                    await self.delete_history(node, term, resource)

                self._for_run(run, self._until_done(run, action, delete), f"delete {resource}")
            case transition.ClearFailures(node=node, resource=resource):
                if self.clear_failures(node, resource, term):
                    self.dc.attributes_changed(node)  # what waited for that can be planned now
            case transition.ShutDownNode(node=node):
                self._for_reign(self._shut_down(node, term), f"shut down {node}")
            case _:
                raise AssertionError(f"{effect} is no order")

    def withdraw(self, run: transition.TransitionRun) -> None:
        """The transition has ended: nothing of it is tried any more."""
        for task in self._of_run.pop(run, set()):
            task.cancel()

    def end_reign(self) -> None:
        """Another DC: everything under way ends."""
        for task in list(self._of_reign):
            task.cancel()

    def integrate(self, node: str, term: Term) -> None:
        """Take a member in, however long it takes."""
        self._for_reign(self._integrate(node, term), f"integrate {node}")

    def keep_attributes(self, node: str, changes: Mapping[str, str], term: Term) -> None:
        """Have a node keep attribute changes, for as long as it takes."""
        self._for_reign(self._keep_attributes(node, dict(changes), term), f"attributes of {node}")

    def clear_failures(
        self, node: str, resource: str, term: Term, task: str = "", interval_ms: int = 0
    ) -> bool:
        """Remove fail counts of a resource (or of one operation) on a node, and the failures themselves."""
        names = failure_attributes(self._nodes[node].effective_attributes, resource, task, interval_ms)
        if names:
            self.dc.change_attributes(node, dict.fromkeys(names, ""))
        failures = [
            entry
            for entry in self._nodes[node].history.failures()
            if entry.id == f"{resource}_last_failure_0"
        ]
        for entry in failures:
            operation, interval = entry.get("operation"), int(entry.get("interval", "0"))
            if task and (operation, interval) != (task, interval_ms):
                continue
            self._nodes.forget(node, resource, operation, interval, failures_only=True)

            async def delete(operation: str = operation, interval: int = interval) -> None:
                await self._lrms[node].delete_history(term, resource, operation, interval, failures_only=True)

            self._for_reign(self._persistently(delete, f"clear failures on {node}"), f"clear {resource}")
        return bool(names or failures)

    async def delete_history(self, node: str, term: Term, resource: str) -> None:
        """Have everything about a resource forgotten. Raises HaError."""
        self._nodes.forget(node, resource, "", 0, failures_only=False)
        if self._nodes[node].member:
            await self._lrms[node].delete_history(term, resource)

    def tell_fencing(self, records: Sequence[FencingRecord], term: Term, node: str = "") -> None:
        """Tell a member, or all, what became of fencings; who does not hear it is told at the next join."""
        for name in (node,) if node else self._nodes.members():
            if name == self._local.node or name not in self._peers or not records:
                continue

            async def tell(name: str = name) -> None:
                try:
                    await self._peers[name].tell_fencing(term, records)
                except HaError as error:
                    log.info(log_events.FENCING_NOT_TOLD, peer=name, reason=str(error))

            self._spawn(tell(), f"fencing told to {name}")

    async def loads(self, changed: Callable[[Mapping[str, NodeLoad]], None]) -> None:
        """Ask the members' LRMs for their load, for ever."""
        while True:
            loads: dict[str, NodeLoad] = {}
            for name in self._nodes.members():
                try:
                    status = await self._lrms[name].status()
                except HaError:
                    continue
                loads[name] = NodeLoad(cpus=max(status.cpus, 1), load_1min=status.load_1min)
            changed(loads)
            await asyncio.sleep(LOADS_EVERY_MS / 1_000)

    async def _execute(self, run: transition.TransitionRun, effect: transition.Execute) -> None:
        log.info(log_events.ACTION, operation=effect.operation.key, peer=effect.node)
        reply: list[lrm_pb2.ExecuteReply] = []

        async def execute() -> None:
            reply.append(
                await self._lrms[effect.node].execute(
                    effect.id,
                    effect.operation,
                    view=self._local.view,
                    boot_token=self._boot_tokens.get(effect.node, self._nodes[effect.node].boot_token),
                    without_quorum=self._without_quorum(),
                )
            )

        error = await self._attempts(execute, effect.wait_ms)
        if error is not None:
            log.warning(
                log_events.ACTION_REFUSED,
                operation=effect.operation.key,
                peer=effect.node,
                reason=str(error),
            )
            self._refused(run, effect.action, error)
        elif reply[-1].HasField("result"):
            result = wire.result_from(reply[-1].result)
            self.dc.tell_run(run, transition.Arrived(effect.node, result))

    async def _until_done(
        self, run: transition.TransitionRun, action: int, attempt: Callable[[], Awaitable[None]]
    ) -> None:
        error = await self._attempts(attempt, 60_000)
        if error is None:
            self.dc.tell_run(run, transition.Done(action))
        else:
            self._refused(run, action, error)

    def _refused(self, run: transition.TransitionRun, action: int, error: HaError) -> None:
        if error.code is ErrorCode.STALE_TERM:
            self.dc.superseded(str(error))
        else:
            self.dc.tell_run(run, transition.Refused(action, str(error)))

    async def _attempts(self, attempt: Callable[[], Awaitable[None]], within_ms: int) -> HaError | None:
        """Try until it works, the answer is final, or the time is over; the last error otherwise."""
        deadline_ns = self._clock.now_ns() + within_ms * _NS_PER_MS
        pause_ms = RETRY_MS
        while True:
            try:
                await attempt()
            except HaError as error:
                if error.code in _FINAL or self._clock.now_ns() >= deadline_ns:
                    return error
            else:
                return None
            await asyncio.sleep(pause_ms / 1_000)
            pause_ms = min(pause_ms * 2, RETRY_MS_MAX)

    async def _persistently(self, attempt: Callable[[], Awaitable[None]], what: str) -> None:
        error = await self._attempts(attempt, 600_000)
        if error is not None:
            log.warning(log_events.ATTRIBUTES_NOT_KEPT, operation=what, reason=str(error))

    async def _integrate(self, node: str, term: Term) -> None:
        pause_ms = RETRY_MS
        while True:
            try:
                fetch = self._fetch_attributes(node, term)
                complete, _ = await asyncio.gather(self._accept(node, term), fetch)
                if complete:
                    self.dc.integrated(node, term)
                    return
            except HaError as error:
                if error.code is ErrorCode.STALE_TERM:
                    log.warning(log_events.ACTION_REFUSED, peer=node, reason=str(error))
                    self.dc.superseded(str(error))
            await asyncio.sleep(pause_ms / 1_000)
            pause_ms = min(pause_ms * 2, RETRY_MS_MAX)

    def peer(self, node: str) -> Peer | None:
        """Its ha-crm."""
        return self._peers.get(node)

    async def _accept(self, node: str, term: Term) -> bool:
        reply = await self._lrms[node].accept(term, self._local.node, self._local.view)
        self._boot_tokens[node] = reply.boot_token
        return await self._histories.until(node, reply.history_sequence, HISTORY_TIMEOUT_MS)

    async def _fetch_attributes(self, node: str, term: Term) -> None:
        """A member without a running ha-crm keeps the attributes that are known here."""
        peer = self._peers.get(node)
        if peer is None or self._nodes[node].crm_instance == 0:
            return
        try:
            reply = await peer.integrate(term, self._local.node, self._local.view)
        except HaError as error:
            log.debug(log_events.ATTRIBUTES_NOT_KEPT, peer=node, reason=str(error))
            return
        self.take_attributes(reply)

    def take_attributes(self, message: node_pb2.NodeAttributes) -> bool:
        """What a node's ha-crm says of its attributes. Says whether that is news."""
        if message.node not in self._nodes:
            return False
        version = (message.instance, message.sequence)
        return self._nodes.set_attributes(message.node, version, dict(message.values))

    async def _keep_attributes(self, node: str, changes: Mapping[str, str], term: Term) -> None:
        async def change() -> None:
            self.take_attributes(await self._peers[node].change_attributes(term, changes))
            self._nodes.confirm_attributes(node, changes)

        await self._persistently(change, f"attributes of {node}")

    async def _shut_down(self, node: str, term: Term) -> None:
        log.info(log_events.NODE_LEAVES, peer=node)

        async def leave() -> None:
            await self._peers[node].leave_cluster(term)

        error = await self._attempts(leave, 30_000)
        if error is not None:
            log.warning(log_events.ACTION_REFUSED, peer=node, operation="shutdown", reason=str(error))

    def _for_reign(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._spawn(work, name)
        self._of_reign.add(task)
        task.add_done_callback(self._of_reign.discard)

    def _for_run(self, run: transition.TransitionRun, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._spawn(work, name)
        tasks = self._of_run.setdefault(run, set())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
