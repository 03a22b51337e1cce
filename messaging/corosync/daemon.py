"""Puts ha-messaging on corosync together: `backend = "corosync"` in [cluster] of cluster.toml."""

from __future__ import annotations

import asyncio

import structlog

from hacluster.clock import SystemClock
from hacluster.sentinel_word import WordFile
from hacluster.settings import Settings
from hacluster.supervision import DaemonOptions, Notifier, run_after_run
from hacluster.vocabulary.ids import BootToken
from hacluster.vocabulary.sentinel import LEASE
from messaging import log_events
from messaging.assemble import MS, configured_nodes
from messaging.corosync.core import Config, CorosyncCore
from messaging.corosync.shell import CorosyncShell
from messaging.store import Store
from messaging.transport.ping import Pinger

log = structlog.get_logger()


class CorosyncDaemon:
    """One run."""

    def __init__(self, options: DaemonOptions, settings: Settings, token: BootToken) -> None:
        self._options, self._settings, self._token = options, settings, token
        self.exit_code = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, or corosync goes away. Who has left and is to join again does so."""
        await run_after_run(lambda over: self._one_run(over, stop), stop)

    async def _one_run(self, over: asyncio.Event, stop: asyncio.Event) -> None:
        settings, clock = self._settings, SystemClock()
        me = settings.node(self._options.node)
        assert me is not None
        store = Store(self._options.paths, self._token)
        incarnation = store.next_incarnation()
        core = CorosyncCore(
            Config(
                node_id=me.id,
                nodes=configured_nodes(settings),
                deadtime_ns=settings.timers.deadtime_ms * MS,
                wait_for_all=settings.quorum.wait_for_all,
                incarnation=incarnation,
                boot_token=self._token,
                durable=store.durable(),
                all_seen=store.all_seen,
            )
        )

        def restart(why: str) -> None:
            log.error(log_events.STOPPED, reason=why)
            self.exit_code = 1
            stop.set()

        def end_run(why: str) -> None:
            log.info(log_events.RUN_ENDS, reason=why)
            over.set()

        shell = CorosyncShell(
            core,
            node_id=me.id,
            store=store,
            clock=clock,
            keepalive_s=settings.timers.keepalive_ms / 1_000,
            restart=restart,
            end_run=end_run,
            lease_word=WordFile(self._options.paths.run, LEASE),
        )
        timers = settings.timers
        pinger = Pinger(
            settings.links,
            keepalive_ms=timers.keepalive_ms,
            deadping_ms=timers.deadping_ms,
            changed=lambda _count: shell.republish(),
        )
        log.info(log_events.STARTED, incarnation=incarnation, boot_token=self._token[:16], links=0)
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(shell.run(), name="corosync"),
                tasks.create_task(shell.write(), name="disk"),
                tasks.create_task(pinger.run(), name="ping"),
            ]
            await self._answer(shell, pinger, incarnation, clock, over)
            for task in background:
                task.cancel()
        log.info(log_events.STOPPED)

    async def _answer(
        self,
        shell: CorosyncShell,
        pinger: Pinger,
        incarnation: int,
        clock: SystemClock,
        over: asyncio.Event,
    ) -> None:
        from hacluster import rpc
        from hacluster.v1 import membership_pb2_grpc
        from messaging.corosync import service

        server = rpc.Server(names=[service.NAME])
        server.add(
            membership_pb2_grpc.add_MembershipServicer_to_server,
            service.CorosyncService(
                shell, pinger, self._settings, self._options.node, incarnation, clock.now_ns
            ),
        )
        server.listen_unix(self._options.paths.messaging_socket)
        await server.start()
        Notifier().tell("READY=1")
        log.info(log_events.SERVING, socket=str(self._options.paths.messaging_socket))
        await over.wait()
        await server.stop(0.1)
