"""Runs the scheduler in a worker process: started with posix_spawn, kept warm, killed when it takes too long.

The worker is `crm.scheduling_worker`; it also stores inputs and graphs for replay.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from crm import log_events
from crm.cib.codec import canonical, parse
from crm.cib.model import Element
from crm.cib.sharing import changes
from crm.scheduling_files import CHANGES, frame
from crm.transition.graph import TransitionGraph, from_element
from hacluster.errors import Timeout, Unavailable
from hacluster.vocabulary.ids import Term

TIMEOUT_MS: Final = 120_000
START_TIMEOUT_MS: Final = 30_000
DESCRIPTOR: Final = 3
_LARGE_BYTES: Final = 200_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What to plan from, and what to remember it by."""

    cib: Element
    now_s: int
    number: int
    term: Term
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The scheduler's answer; `took_ms` is its own time."""

    graph: TransitionGraph
    took_ms: int


class SchedulerWorker:
    """One worker process; requests are answered one after the other."""

    def __init__(
        self, folder: Path, *, timeout_ms: int = TIMEOUT_MS, module: str = "crm.scheduler.pipeline"
    ) -> None:
        self._folder = folder
        self._timeout_ms = timeout_ms
        self._module = module
        self._pid = 0
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._sent: Element | None = None  # what the worker has
        self._lock = asyncio.Lock()
        self.restarts = 0

    @property
    def pid(self) -> int:
        """The worker's process id, 0 while there is none."""
        return self._pid

    async def start(self) -> None:
        """Start the process and wait until it has imported the scheduler. Raises Unavailable, Timeout."""
        async with self._lock:
            await self._start()

    async def plan(self, request: PlanRequest) -> Plan:
        """Schedule. Raises Timeout (the worker is killed) or Unavailable (it died or raised an exception)."""
        async with self._lock:
            if self._writer is None:
                await self._start()
            header = {
                "task": "plan",
                "now_s": request.now_s,
                "number": request.number,
                "term": [request.term.counter, request.term.node_id],
                "cause": request.cause,
                "folder": str(self._folder),
            }
            reply, body = await self._ask(header, self._input(request.cib, header), self._timeout_ms)
            self._sent = None if reply["error"] else request.cib
        if reply["error"]:
            log.error(log_events.SCHEDULER_FAILED, reason=reply["error"], trace=reply.get("traceback", ""))
            raise Unavailable(why=f"the scheduler failed: {reply['error']}")
        if len(body) > _LARGE_BYTES:
            graph = await asyncio.to_thread(_graph, body)
        else:
            graph = _graph(body)
        return Plan(graph=graph, took_ms=int(reply["ms"]))

    def _input(self, cib: Element, header: dict[str, Any]) -> bytes:
        """The CIB, or what is new in it: most of it is what the worker read a moment ago."""
        if self._sent is None or self._sent.tag != cib.tag:
            return canonical(cib)
        header["form"] = CHANGES
        return changes(self._sent, cib)

    def finished(self, number: int, outcome: str, reason: str) -> None:
        """Have it noted how a transition ended; lost when the worker is being restarted."""
        if self._writer is None or self._writer.is_closing():
            return
        header = {
            "task": "finish",
            "number": number,
            "outcome": outcome,
            "reason": reason,
            "folder": str(self._folder),
        }
        self._writer.write(frame(header, b""))

    def stop(self) -> None:
        """End the process; a request under way fails."""
        self._kill()

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            self._pid = self._spawn(theirs)
        except OSError as error:
            ours.close()
            raise Unavailable(why=f"the scheduler's process cannot be started: {error}") from None
        finally:
            theirs.close()
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=1 << 26)
        await self._receive(START_TIMEOUT_MS, "the scheduler's start")

    def _spawn(self, theirs: socket.socket) -> int:
        root = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
        # posix_spawn, because a process with gRPC's threads must not run Python code after a fork.
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "crm.scheduling_worker", self._module],
            {**os.environ, "PYTHONPATH": path},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, theirs.fileno(), DESCRIPTOR),
            ],
            setsigdef=[signal.SIGINT, signal.SIGTERM],
        )

    async def _ask(
        self, header: dict[str, Any], body: bytes, timeout_ms: int
    ) -> tuple[dict[str, Any], bytes]:
        assert self._writer is not None, "no worker"
        self._writer.write(frame(header, body))
        return await self._receive(timeout_ms, "the scheduler")

    async def _receive(self, timeout_ms: int, what: str) -> tuple[dict[str, Any], bytes]:
        assert self._reader is not None, "no worker"
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                head = await self._reader.readexactly(8)
                header = await self._reader.readexactly(int.from_bytes(head[:4], "big"))
                body = await self._reader.readexactly(int.from_bytes(head[4:], "big"))
        except TimeoutError:
            self._kill()
            raise Timeout(what=what, after_ms=timeout_ms) from None
        except (asyncio.IncompleteReadError, OSError):
            self._kill()
            raise Unavailable(why=f"{what}: its process ended") from None
        except asyncio.CancelledError:
            self._kill()  # an answer may be under way: a new process is simpler than to sort that out
            raise
        return json.loads(header), body

    def _kill(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = self._sent = None
        if self._pid:
            self.restarts += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            self._pid = 0


def _graph(body: bytes) -> TransitionGraph:
    return from_element(parse(body, source="scheduler output"))
