"""A node with a real ha-lrm, a scripted ha-messaging beside it, and a DC's client, for test_lrm_*.py."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from hacluster import rpc
from hacluster.boot import boot_token
from hacluster.clock import SystemClock
from hacluster.paths import Paths
from hacluster.v1 import common_pb2, lrm_pb2, lrm_pb2_grpc, membership_pb2, membership_pb2_grpc
from lrm.exec import processes
from tests.unit.lrm.exec.cleanup import clear_cgroups

WITHIN_S = 30.0
PENDING = -1
CONFIGURATION = """
[cluster]
name = "lrm"
id = "9f86d081884c7d659a2feaa0c55ad015"
[ports]
lrm = {port}
[[link]]
kind = "udp"
port = 19694
[[node]]
id = 1
name = "node1"
addresses = ["127.0.0.1"]
"""


class ScriptedMessaging(membership_pb2_grpc.MembershipServicer):
    """Says what the test says."""

    def __init__(self) -> None:
        self.update = authority()
        self.changed = asyncio.Event()
        self.watching = 0
        self.instances: list[int] = []

    def say(self, update: membership_pb2.AuthorityUpdate) -> None:
        self.update = update
        self.changed.set()

    async def Watch(
        self, request: membership_pb2.WatchRequest, context: Any
    ) -> AsyncIterator[membership_pb2.AuthorityUpdate]:
        assert request.daemon == membership_pb2.WatchRequest.DAEMON_LRM
        self.instances.append(request.instance)
        self.watching += 1
        try:
            while True:
                self.changed.clear()
                yield self.update
                await self.changed.wait()
        finally:
            self.watching -= 1

    async def Status(self, request: Any, context: Any) -> membership_pb2.MessagingStatus:
        return membership_pb2.MessagingStatus()

    async def SetQuorumConfig(self, request: Any, context: Any) -> membership_pb2.SetQuorumConfigReply:
        return membership_pb2.SetQuorumConfigReply()

    async def EndWaiting(self, request: Any, context: Any) -> membership_pb2.EndWaitingReply:
        return membership_pb2.EndWaitingReply()

    async def SetBarred(self, request: Any, context: Any) -> membership_pb2.SetBarredReply:
        return membership_pb2.SetBarredReply()

    async def Leave(self, request: Any, context: Any) -> membership_pb2.LeaveReply:
        return membership_pb2.LeaveReply()

    async def ReloadKeys(self, request: Any, context: Any) -> membership_pb2.ReloadKeysReply:
        return membership_pb2.ReloadKeysReply()

    async def ReloadNodes(self, request: Any, context: Any) -> membership_pb2.ReloadNodesReply:
        return membership_pb2.ReloadNodesReply()

    async def SetInSync(self, request: Any, context: Any) -> membership_pb2.SetInSyncReply:
        return membership_pb2.SetInSyncReply()

    async def Send(self, request: Any, context: Any) -> membership_pb2.SendReply:
        return membership_pb2.SendReply()

    async def Receive(self, request: Any, context: Any) -> AsyncIterator[membership_pb2.Delivery]:
        await asyncio.Event().wait()
        yield membership_pb2.Delivery()


def authority(
    *, view: tuple[int, int] = (5, 1), quorate: bool = True, lease_ms: int = 3_600_000
) -> membership_pb2.AuthorityUpdate:
    return membership_pb2.AuthorityUpdate(
        view=membership_pb2.View(id=common_pb2.ViewId(counter=view[0], coordinator=view[1])),
        quorate=quorate,
        lease_end_boottime_ns=SystemClock().now_ns() + lease_ms * 1_000_000,
    )


@dataclass
class LrmNode:
    """Start it with `async with`; everything it started is gone afterwards."""

    root: Path
    port: int = 5561
    with_messaging: bool = True
    environment: dict[str, str] = field(default_factory=dict)
    within_s: float = WITHIN_S
    log_level: str = "debug"
    module: str = "lrm"  # what to run: benchmarks measure it by a module of theirs
    prefix: tuple[str, ...] = ()  # nsenter or unshare with its arguments: must execute what follows, not fork

    def __post_init__(self) -> None:
        self.paths = Paths(self.root)
        self.messaging = ScriptedMessaging()
        self.term, self.transition = (1, 1), 1
        self.pid = 0
        self.actions = 0
        self.events: list[lrm_pb2.HistoryEvent] = []
        self.event = asyncio.Event()

    async def __aenter__(self) -> LrmNode:
        self.paths.etc.mkdir(parents=True, exist_ok=True)
        self.paths.cluster_toml.write_text(CONFIGURATION.format(port=self.port))
        self.channel = rpc.unix_channel(self.paths.lrm_socket)
        self.stub = lrm_pb2_grpc.LrmStub(self.channel)
        await self.start_messaging()
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        if self.server is not None:
            await self.server.stop(0)
        if self.pid:
            await self.kill(signal.SIGTERM)
        lock = self.paths.run / "lrm-exec.lock"
        if lock.exists() and lock.read_text().strip():
            processes.send_signal(int(lock.read_text()), signal.SIGTERM)
            await until(lambda: not self.paths.lrm_exec_socket.exists(), "lrm-exec ends")
        clear_cgroups(self.paths)

    async def start_messaging(self) -> None:
        self.server: grpc.aio.Server | None = None
        if self.with_messaging:
            self.server = grpc.aio.server()
            membership_pb2_grpc.add_MembershipServicer_to_server(self.messaging, self.server)
            self.paths.run.mkdir(parents=True, exist_ok=True)
            self.server.add_insecure_port(f"unix:{self.paths.messaging_socket}")
            await self.server.start()

    async def start(self) -> None:
        """A new ha-lrm; returns when it serves and knows its authority."""
        log = os.open(self.root / "lrm.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        command = [sys.executable, "-m", self.module, "--root", str(self.root), "--node", "node1"]
        self.pid = os.posix_spawnp(
            [*self.prefix, *command][0],
            [*self.prefix, *command, "--log-level", self.log_level],
            {**os.environ, **self.environment},
            file_actions=[(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)],
        )
        os.close(log)
        await self.serving()
        if self.with_messaging:
            await until(
                lambda: "event=lrm.authority" in self.log().rpartition("lrm.started")[2],
                "authority",
                self.within_s,
            )

    def log(self) -> str:
        return (self.root / "lrm.log").read_text()

    async def serving(self) -> None:
        async with asyncio.timeout(self.within_s):
            while not await rpc.check_health(self.channel, timeout_ms=500):
                await asyncio.sleep(0.02)

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """End ha-lrm; its exit status as subprocess has it."""
        os.kill(self.pid, number)
        pid, self.pid = self.pid, 0
        async with asyncio.timeout(self.within_s):
            while True:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    return os.waitstatus_to_exitcode(status)
                await asyncio.sleep(0.01)

    @property
    def exec_pid(self) -> int:
        return int((self.paths.run / "lrm-exec.lock").read_text())

    async def accept(self, term: tuple[int, int] = (1, 1)) -> lrm_pb2.AcceptReply:
        self.term = term
        request = lrm_pb2.AcceptRequest(term=a_term(term), dc="node1")
        reply = await rpc.call(self.stub.Accept, request, timeout_ms=5_000, who="ha-lrm")
        assert isinstance(reply, lrm_pb2.AcceptReply)
        return reply

    async def execute(
        self,
        resource: str,
        action: str,
        agent: str = "ocf:hacluster:Dummy",
        *,
        interval_ms: int = 0,
        timeout_ms: int = 10_000,
        term: tuple[int, int] | None = None,
        number: int = 0,
        parameters: dict[str, str] | None = None,
        meta: dict[str, str] | None = None,
        **more_parameters: str,
    ) -> lrm_pb2.ExecuteReply:
        self.actions += 1
        request = lrm_pb2.ExecuteRequest(
            id=common_pb2.OperationId(
                term=a_term(term or self.term), transition=self.transition, action=number or self.actions
            ),
            view=common_pb2.ViewId(counter=5, coordinator=1),
            boot_token=boot_token(self.paths),
            operation=lrm_pb2.Operation(
                resource=resource,
                agent=agent,
                action=action,
                interval_ms=interval_ms,
                timeout_ms=timeout_ms,
                start_within_ms=5_000,
                parameters={**(parameters or {}), **more_parameters},
                meta=meta or {},
            ),
        )
        reply = await rpc.call(self.stub.Execute, request, timeout_ms=5_000, who="ha-lrm")
        assert isinstance(reply, lrm_pb2.ExecuteReply)
        return reply

    async def run(self, resource: str, action: str, agent: str = "", **more: Any) -> lrm_pb2.OperationResult:
        """Execute, and its result."""
        reply = await self.execute(resource, action, agent or "ocf:hacluster:Dummy", **more)
        return await self.result(reply.call_id)

    async def result(self, call_id: int) -> lrm_pb2.OperationResult:
        """The result of a call, from a fresh History stream."""
        async with asyncio.timeout(self.within_s):
            stream = self.stub.History(lrm_pb2.HistoryRequest())
            try:
                async for event in stream:
                    if event.HasField("result") and event.result.call_id == call_id:
                        return event.result
            finally:
                stream.cancel()
        raise AssertionError("the stream ended")

    async def recorded(self) -> list[lrm_pb2.HistoryEvent]:
        """All that History tells first."""
        events: list[lrm_pb2.HistoryEvent] = []
        stream = self.stub.History(lrm_pb2.HistoryRequest())
        async with asyncio.timeout(self.within_s):
            async for event in stream:
                if event.synced:
                    stream.cancel()
                    return events
                events.append(event)
        raise AssertionError("the stream ended")

    async def status(self) -> lrm_pb2.LrmStatusReply:
        reply = await rpc.call(self.stub.Status, lrm_pb2.LrmStatusRequest(), timeout_ms=5_000, who="ha-lrm")
        assert isinstance(reply, lrm_pb2.LrmStatusReply)
        return reply


def a_term(term: tuple[int, int]) -> common_pb2.Term:
    return common_pb2.Term(counter=term[0], node_id=term[1])


def an_agent(folder: Path, name: str, script: str, version: str = "1.1") -> str:
    """A sh agent of provider `test` below an OCF root; the case statement's body is `script`."""
    reload = "reload-agent" if version == "1.1" else "reload"
    path = folder / "resource.d/test" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = (
        f'<resource-agent name="{name}" version="1"><version>{version}</version><parameters>'
        '<parameter name="password"><content type="string"/></parameter>'
        '<parameter name="size" reloadable="1"><content type="integer"/></parameter>'
        '<parameter name="path" unique="1"><content type="string"/></parameter></parameters>'
        f'<actions><action name="start"/><action name="{reload}"/></actions></resource-agent>'
    )
    path.write_text(
        f"#!/bin/sh\ncase $1 in\nmeta-data) echo '{metadata}'; exit 0;;\n{script}\nesac\nexit 3\n"
    )
    path.chmod(0o755)
    return f"ocf:test:{name}"


async def until(true: Callable[[], bool], what: str, within_s: float = WITHIN_S) -> None:
    try:
        async with asyncio.timeout(within_s):
            while not true():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {within_s} s: {what}") from None
