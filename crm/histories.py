"""Follows the history streams of all LRMs into the table of nodes, and says when a history is whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from crm import log_events, wire
from crm.controller.nodes import NodeTable
from hacluster.v1 import lrm_pb2
from hacluster.vocabulary.operation import OperationResult

log = structlog.get_logger()


class Listener(Protocol):
    """Who acts on what the LRMs say (the DC's shell)."""

    def on_result(self, node: str, result: OperationResult) -> None:
        """An operation began or ended; the table of nodes knows it already."""
        ...

    def on_forgotten(self, node: str, resource: str) -> None:
        """History was deleted there that we did not know to be deleted."""
        ...

    def on_synced(self, node: str, results: tuple[OperationResult, ...], changed: bool) -> None:
        """A whole history came, these results; `changed`: it is not what was known."""
        ...

    def on_lost(self, node: str) -> None:
        """The stream ended."""
        ...


@dataclass(slots=True)
class _Stream:
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    sequence: int = 0
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    told: list[OperationResult] = field(default_factory=list)


class Histories:
    """One stream a node."""

    def __init__(self, nodes: NodeTable, names: Iterable[str]) -> None:
        self._nodes = nodes
        self._streams = {name: _Stream() for name in names}
        self.listener: Listener | None = None
        self.on_result: Callable[[str, OperationResult], None] = lambda _node, _result: None

    def use(self, names: Iterable[str]) -> None:
        """Other nodes are configured; the streams of those that stay go on."""
        self._streams = {name: self._streams.get(name) or _Stream() for name in names}

    def begun(self, node: str) -> None:
        """A stream begins to tell from the beginning."""
        stream = self._streams[node]
        stream.synced.clear()
        stream.sequence, stream.told = 0, []
        self._nodes.begin_sync(node)

    def heard(self, node: str, event: lrm_pb2.HistoryEvent | None) -> None:
        """Take one event, or the end of the stream."""
        stream = self._streams[node]
        if event is None:
            stream.synced.clear()
            self._nodes.lost_sync(node)
            log.info(log_events.LRM_LOST, peer=node)
            if self.listener is not None:
                self.listener.on_lost(node)
            return
        which = event.WhichOneof("event")
        if which in ("result", "running"):
            message = event.result if which == "result" else event.running
            self._result(node, stream, wire.result_from(message))
        elif which == "forgotten":
            self._forgotten(node, event.forgotten)
        elif which == "synced":
            changed = self._nodes.synced(node)
            stream.synced.set()
            log.info(log_events.LRM_HEARD, peer=node, operations=len(stream.told))
            told, stream.told = tuple(stream.told), []
            if self.listener is not None:
                self.listener.on_synced(node, told, changed)
        stream.sequence = max(stream.sequence, event.sequence)
        stream.grown.set()

    async def until(self, node: str, sequence: int, timeout_ms: int) -> bool:
        """Wait until the history is whole and contains the event of that number; says whether it came."""
        stream = self._streams[node]
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                await stream.synced.wait()
                while stream.sequence < sequence:
                    stream.grown.clear()
                    await stream.grown.wait()
        except TimeoutError:
            return False
        return True

    def _result(self, node: str, stream: _Stream, result: OperationResult) -> None:
        telling = not stream.synced.is_set()
        self._nodes.take(node, result, initial=telling)
        if telling:
            stream.told.append(result)
            return
        self.on_result(node, result)
        if self.listener is not None:
            self.listener.on_result(node, result)

    def _forgotten(self, node: str, event: lrm_pb2.ResourceForgotten) -> None:
        news = self._nodes.forget(
            node, event.resource, event.action, event.interval_ms, failures_only=event.failures_only
        )
        if news and self.listener is not None:
            self.listener.on_forgotten(node, event.resource)
