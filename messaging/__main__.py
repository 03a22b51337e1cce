"""ha-messaging: `python -m messaging [--root DIR] [--node NAME]`. Links run before gRPC is imported."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import signal
import sys
from pathlib import Path
from typing import Any

import structlog

from hacluster import logging as ha_logging
from hacluster import settings as ha_settings
from hacluster.boot import boot_token
from hacluster.clock import SystemClock
from hacluster.collector import keep_out_of_collections
from hacluster.errors import HaError, InvalidDocument, Unavailable
from hacluster.owned_files import open_owned
from hacluster.paths import Paths
from hacluster.sentinel_word import WordFile
from hacluster.supervision import (
    DaemonOptions,
    Notifier,
    end_on_bugs,
    keep_to_ourselves,
    options_from,
    parser,
    report_and_code,
    run_after_run,
    until_stopped,
)
from hacluster.vocabulary.ids import BootToken
from hacluster.vocabulary.sentinel import LEASE
from messaging import assemble, keys, log_events
from messaging.membership.events import ConnectivityChanged
from messaging.membership.shell import MembershipShell
from messaging.packet import Keyring
from messaging.priority import raise_priority
from messaging.store import Store
from messaging.transport.carrier import Connectivity
from messaging.transport.ping import Pinger

log = structlog.get_logger()

LAB_VARIABLE = "HACLUSTER_LAB"  # set in every node of a lab: it shares the machine
DAMAGED = "nothing, a view that exists takes this node in; or remove the files, if no other node is left"


Versions = tuple[tuple[int, int], ...]


def versions_of(paths: Paths) -> Versions:
    """Which cluster.toml and authkeys there are now."""
    found = []
    for path in (paths.cluster_toml, paths.authkeys):
        try:
            stat = path.stat()
            found.append((stat.st_ino, stat.st_mtime_ns))
        except OSError:
            found.append((0, 0))
    return tuple(found)


def main() -> int:
    """Run until SIGTERM. Exit codes: see hacluster.supervision."""
    keep_to_ourselves()
    options = options_from(parser("ha-messaging", "says who is here: heartbeats and views").parse_args())
    ha_logging.configure(
        format=options.log_format, level=options.log_level, service="messaging", node=options.node
    )
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    try:
        read = versions_of(options.paths)
        settings = ha_settings.load(options.paths.cluster_toml)
        if settings.node(options.node) is None:
            raise InvalidDocument(
                source=str(options.paths.cluster_toml),
                line=0,
                what=f"it has no node {options.node}",
                remedy="give --node, or add the node to the file",
            )
        if settings.backend == ha_settings.COROSYNC:
            return _on_corosync(options, settings)
        assemble.check(settings, options.paths)
        keyring = _keys(options.paths, settings)
        token = boot_token(options.paths)
        lock = _lock(options.paths)
        if options.paths.root == Path("/") and LAB_VARIABLE not in os.environ:
            log.info(log_events.PRIORITY, **raise_priority())
        else:
            log.info(log_events.PRIORITY, reason="in a lab or below a root, no priority is asked for")
        code = asyncio.run(_serve(options, settings, keyring, token, read))
        os.close(lock)
    except HaError as error:
        print(f"ha-messaging: {error}", file=sys.stderr)
        return report_and_code(error)
    return code


def _on_corosync(options: DaemonOptions, settings: ha_settings.Settings) -> int:
    """The exit code."""
    from messaging.corosync.daemon import CorosyncDaemon

    token, lock = boot_token(options.paths), _lock(options.paths)
    daemon = CorosyncDaemon(options, settings, token)

    async def serve() -> None:
        end_on_bugs(asyncio.get_running_loop())
        await until_stopped(daemon.run)

    asyncio.run(serve())
    os.close(lock)
    return daemon.exit_code


def _keys(paths: Paths, settings: ha_settings.Settings) -> Keyring:
    keyring, warnings = keys.load(paths.authkeys, cluster_id=settings.cluster_id, insecure=settings.insecure)
    for warning in warnings:
        log.warning(log_events.KEY_WARNING, what=warning)
    log.info(log_events.KEYS_LOADED, keys=" ".join(map(str, keyring.keys)), signing=keyring.signing)
    return keyring


def _lock(paths: Paths) -> int:
    """One ha-messaging a node: two would fight over one incarnation. Raises Unavailable."""
    lock = open_owned(paths.run / "messaging.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        where = paths.run / "messaging.lock"
        raise Unavailable(why=f"another ha-messaging runs on this node ({where} is locked)") from None
    return lock


async def _serve(
    options: DaemonOptions,
    settings: ha_settings.Settings,
    keyring: Keyring,
    token: BootToken,
    read: Versions,
) -> int:
    """The exit code."""
    daemon = Daemon(options, settings, keyring, token, read)
    end_on_bugs(asyncio.get_running_loop())
    await until_stopped(daemon.run)
    return daemon.exit_code


class Daemon:
    """Puts ha-messaging together and takes it apart again."""

    def __init__(
        self,
        options: DaemonOptions,
        settings: ha_settings.Settings,
        keyring: Keyring,
        token: BootToken,
        read: Versions,
    ) -> None:
        """`read`: which files the settings and the keys are from."""
        self._read = read
        self._options, self._settings, self._keyring, self._token = options, settings, keyring, token
        self._clock = SystemClock()
        self.exit_code = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set. Who has left and is to join again does so with another incarnation."""
        await run_after_run(lambda over: self._one_run(over, stop), stop)

    async def _one_run(self, over: asyncio.Event, stop: asyncio.Event) -> None:
        me = self._settings.node(self._options.node)
        assert me is not None
        store = Store(self._options.paths, self._token, diskless=me.diskless)
        incarnation = store.next_incarnation()
        shell = self._shell(store, me, incarnation, over, stop)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._reload, shell)
        gc.unfreeze()  # what a former run has left
        gc.collect()
        for link in shell.links:
            link.open(loop)
        if shell.witness is not None:
            shell.witness.open(loop)
        shell.begin()
        log.info(
            log_events.STARTED, incarnation=incarnation, boot_token=self._token[:16], links=len(shell.links)
        )
        timers = self._settings.timers
        pinger = Pinger(
            self._settings.links,
            keepalive_ms=timers.keepalive_ms,
            deadping_ms=timers.deadping_ms,
            changed=lambda _count: shell.republish(),
        )
        connectivity = Connectivity(
            me.addresses,
            lambda: sum(target.alive for target in pinger.targets),
            lambda score: shell.dispatch(ConnectivityChanged(score)),
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(shell.write(), name="disk"),
                    tasks.create_task(shell.keep_seen(), name="seen"),
                    tasks.create_task(pinger.run(), name="ping"),
                    tasks.create_task(connectivity.run(), name="connectivity"),
                ]
                await self._answer(shell, pinger, incarnation, over)
                shell.end()
                for task in background:
                    task.cancel()
        finally:
            shell.end()  # when a task has failed, too
            for link in shell.links:
                link.close()
            if shell.witness is not None:
                shell.witness.close()
        log.info(log_events.STOPPED)

    async def _answer(
        self, shell: MembershipShell, pinger: Pinger, incarnation: int, over: asyncio.Event
    ) -> None:
        """gRPC, imported while heartbeats are on their way already."""
        rpc, service, register = await asyncio.to_thread(_import_service)
        server = rpc.Server(names=[service.NAME])
        server.add(
            register,
            service.MembershipService(
                shell,
                pinger,
                self._settings,
                self._options.node,
                incarnation,
                self._clock.now_ns,
                lambda force: self.reload_keys(shell, force=force),
                lambda: self.reload_nodes(shell),
            ),
        )
        server.listen_unix(self._options.paths.messaging_socket)
        await server.start()
        self._look_again(shell)
        keep_out_of_collections()
        Notifier().tell("READY=1")
        log.info(log_events.SERVING, socket=str(self._options.paths.messaging_socket))
        await over.wait()
        await server.stop(0.1)

    def _shell(
        self,
        store: Store,
        me: ha_settings.Node,
        incarnation: int,
        over: asyncio.Event,
        stop: asyncio.Event,
    ) -> MembershipShell:
        durable = store.durable()
        if not durable.trusted:
            file = str(self._options.paths.var / "messaging/view.*")
            log.error(log_events.STATE_DAMAGED, file=file, remedy=DAMAGED)
        return assemble.shell_of(
            self._settings,
            me,
            self._keyring,
            store,
            durable,
            incarnation=incarnation,
            boot_token=self._token,
            clock=self._clock,
            restart=lambda why: self._restart(why, stop),
            end_run=lambda why: self._end_run(why, over),
            lease_word=WordFile(self._options.paths.run, LEASE),
        )

    def _restart(self, why: str, stop: asyncio.Event) -> None:
        log.error(log_events.STOPPED, reason=why)
        self.exit_code = 1
        stop.set()

    def _look_again(self, shell: MembershipShell) -> None:
        """Files that were written after we had read them, and before anybody could tell us."""
        if (read := versions_of(self._options.paths)) == self._read:
            return
        self._read = read
        self._reload(shell)
        try:
            self.reload_nodes(shell)
        except HaError as error:
            log.error(log_events.NODES_KEPT, reason=str(error))

    def _end_run(self, why: str, over: asyncio.Event) -> None:
        log.info(log_events.RUN_ENDS, reason=why)
        over.set()

    def _reload(self, shell: MembershipShell) -> None:
        """SIGHUP: new keys, or the old ones and a word."""
        try:
            self.reload_keys(shell, force=False)
        except HaError as error:
            log.error(log_events.KEYS_KEPT, reason=str(error))

    def reload_keys(self, shell: MembershipShell, *, force: bool) -> Keyring:
        """Read authkeys anew and use it. Raises HaError and keeps the old keys when that must not be."""
        keyring = _keys(self._options.paths, self._settings)
        shell.use_keys(keyring, force=force)
        self._keyring = keyring
        return keyring

    def reload_nodes(self, shell: MembershipShell) -> list[str]:
        """Read cluster.toml anew and use its nodes; their names. Raises HaError, and all stays as it is."""
        settings = ha_settings.load(self._options.paths.cluster_toml)
        me = self._settings.node(self._options.node)
        assert me is not None
        assemble.use_nodes(self._settings, settings, me, shell)
        self._settings = settings
        return [node.name for node in settings.nodes]


def _import_service() -> tuple[Any, Any, Any]:
    from hacluster import rpc
    from hacluster.v1 import membership_pb2_grpc
    from messaging import service

    return rpc, service, membership_pb2_grpc.add_MembershipServicer_to_server


if __name__ == "__main__":
    sys.exit(main())
