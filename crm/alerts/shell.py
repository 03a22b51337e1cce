"""Hands calls of alert agents to this node's ha-lrm, which runs them; only the log hears how that went."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import structlog

from crm import log_events
from crm.alerts import core
from crm.cib.model import Element
from crm.controller.nodes import MembershipChange, NodeTable
from crm.fencing.history import FencingRecord, FencingState
from hacluster.clock import wall_ns
from hacluster.errors import ErrorCode, HaError
from hacluster.vocabulary.operation import OperationResult

WAITING_MAX: Final = 1_000
ATTEMPTS: Final = 5
RETRY_S: Final = 0.5

log = structlog.get_logger()


class AlertRunner(Protocol):
    """This node's ha-lrm."""

    async def run_alert(self, alert: str, path: str, environment: Mapping[str, str], timeout_ms: int) -> None:
        """Have it run; returns at once. Raises HaError."""
        ...


class AlertShell:
    """What happens on this node, told to those who want to know."""

    def __init__(
        self,
        node: str,
        nodes: NodeTable,
        runner: AlertRunner,
        configuration: Callable[[], Element],
    ) -> None:
        self._node, self._nodes, self._runner, self._configuration = node, nodes, runner, configuration
        self._core = core.Alerts(node, nodes[node].default_id)
        self._waiting: asyncio.Queue[core.Call] = asyncio.Queue(WAITING_MAX)

    async def run(self) -> None:
        """Hand over calls until cancelled."""
        while True:
            call = await self._waiting.get()
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    await self._runner.run_alert(call.alert, call.path, call.environment, call.timeout_ms)
                    break
                except HaError as error:
                    refused = error.code is ErrorCode.INVALID_REQUEST  # and will be the next time, too
                    if refused or attempt == ATTEMPTS:
                        log.warning(log_events.ALERT_NOT_SENT, alert=call.alert, reason=str(error))
                    if refused:
                        break
                await asyncio.sleep(RETRY_S)

    def membership(self, change: MembershipChange) -> None:
        """Nodes came and went."""
        for name in change.joined:
            self._tell_node(name, "member")
        for name in change.gone:
            self._tell_node(name, "lost")

    def result(self, node: str, result: OperationResult) -> None:
        """An operation ended somewhere; its own node tells of it."""
        if node == self._node:
            self.tell(core.Ended(result))

    def fencing(self, record: FencingRecord) -> None:
        """A fencing is further on: its end is told, and each time that everything has failed."""
        rc = {FencingState.DONE: 0, FencingState.FAILED: 1}.get(record.state)
        if rc is None:
            return
        by, wanted = record.executor or "nobody", record.client or "the cluster"
        text = f"Operation {record.action} of {record.target} by {by} for {wanted}@{record.dc}: "
        text += "OK" if rc == 0 else record.why
        self.tell(core.Fenced(target=record.target, action=record.action, rc=rc, text=text))

    def attributes(self, before: Mapping[str, str], now: Mapping[str, str]) -> None:
        """This node's transient attributes were those, and are these."""
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                self.tell(core.AttributeChanged(name=name, value=now.get(name, "")))

    def tell(self, event: core.Event) -> None:
        """Tell those who want to know; what cannot wait any more is dropped, and the log says so."""
        for call in self._core.handle(event, self._configuration(), wall_ns()):
            try:
                self._waiting.put_nowait(call)
            except asyncio.QueueFull:
                reason = f"{WAITING_MAX} alerts wait already"
                log.warning(log_events.ALERT_NOT_SENT, alert=call.alert, reason=reason)

    def _tell_node(self, name: str, state: str) -> None:
        self.tell(core.NodeChanged(node=name, node_id=self._nodes[name].default_id, state=state))
