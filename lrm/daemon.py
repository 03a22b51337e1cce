"""Puts ha-lrm together: journal, queue, executor, gRPC server; and takes it apart again."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

import structlog

from hacluster import rpc
from hacluster.clock import Clock
from hacluster.collector import keep_out_of_collections
from hacluster.errors import Unavailable
from hacluster.owned_files import put_owned, read_owned
from hacluster.sentinel_word import WordFile
from hacluster.settings import Settings
from hacluster.supervision import EXIT_FAILURE, DaemonOptions, Notifier
from hacluster.tls import TlsFolder
from hacluster.v1 import lrm_pb2_grpc
from hacluster.vocabulary.ids import BootToken, NodeName
from hacluster.vocabulary.sentinel import ACTIVITY, CLEAN, Word
from lrm import authority, log_events, service
from lrm.alerts import Alerts
from lrm.calls import Calls
from lrm.executor import Executor, empty_agent_tmp
from lrm.files import service as files_service
from lrm.files.keeper import FilesKeeper, Follower, GrpcMessaging
from lrm.journal.store import Opened, Store
from lrm.queue.core import Limits, Queue
from lrm.queue.events import AuthorityChanged, Event
from lrm.shell import LrmShell

log = structlog.get_logger()

CRM_USER: Final = "hacluster"
PARALLEL_MIN: Final = 16
PARALLEL_PER_CPU: Final = 8
_BIND_TRIES: Final = 25
_TELL_SENTINEL_S: Final = 0.25
_BIND_RETRY_S: Final = 0.2


class Daemon:
    """One run of ha-lrm."""

    def __init__(
        self,
        *,
        options: DaemonOptions,
        settings: Settings,
        boot_token: BootToken,
        instance: int,
        clock: Clock,
    ) -> None:
        self._paths = options.paths
        self._node = NodeName(options.node)
        self._settings = settings
        self._boot_token = boot_token
        self._instance = instance
        self._clock = clock

    async def run(self, stop: asyncio.Event, connection: socket.socket) -> None:
        """Serve until `stop` is set."""
        store = Store(self._paths.var / "lrm/journal", self._boot_token)
        opened = store.open()
        self._log_journal(opened)
        self._prepare_agent_tmp()
        queue = Queue(
            opened.ledger,
            node=self._node,
            boot_token=self._boot_token,
            limits=Limits(parallel=max(PARALLEL_MIN, PARALLEL_PER_CPU * (os.cpu_count() or 1))),
        )
        shell = LrmShell(
            queue=queue,
            store=store,
            clock=self._clock,
            node=self._node,
            boot_token=self._boot_token,
            instance=self._instance,
            die=_die,
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._serve(tasks, shell, opened, stop, connection)
        finally:
            store.close()

    async def _serve(
        self,
        tasks: asyncio.TaskGroup,
        shell: LrmShell,
        opened: Opened,
        stop: asyncio.Event,
        connection: socket.socket,
    ) -> None:
        node_id = next(node.id for node in self._settings.nodes if node.name == self._node)
        executor = Executor(
            paths=self._paths,
            node=self._node,
            instance=self._instance,
            journal_id=opened.journal_id,
            calls=Calls(self._paths, self._node, str(node_id)),
            clock=self._clock,
            tasks=tasks,
            tell=lambda event: _tell(shell, event),
            flights=shell.queue.in_flight,
            has_started=shell.queue.ledger.has_started,
            never_began=shell.queue.ledger.never_began,
        )
        shell.connect(executor)
        shell.start()
        alerts = Alerts(executor, self._node)
        word = WordFile(self._paths.run, ACTIVITY)
        files = FilesKeeper(self._paths, self._node, self._settings, GrpcMessaging(self._paths))
        server = rpc.Server(
            keepalive_ms=max(self._settings.timers.deadtime_ms // 2, 100),
            names=[service.NAME, files_service.NAME],
            access=service.access(lambda: files.names),
        )
        files_service.register(server, files, self._paths, self._node)
        server.add(lrm_pb2_grpc.add_LrmServicer_to_server, service.LrmService(shell, executor, alerts))
        server.listen_unix(self._paths.lrm_socket, mode=0o600)
        _give_to_ha_crm(self._paths.lrm_socket)
        tls = await self._listen_tcp(server)
        background = [
            tasks.create_task(executor.link.run(connection), name="lrm-exec"),
            tasks.create_task(executor.watch(), name="watch lrm-exec"),
            tasks.create_task(
                authority.watch(
                    self._paths.messaging_socket,
                    self._instance,
                    lambda told: _tell(shell, AuthorityChanged(told)),
                ),
                name="membership",
            ),
            tasks.create_task(shell.watch_lag(), name="lag"),
            tasks.create_task(alerts.run(), name="alerts"),
            tasks.create_task(self._tell_sentinel(shell, word), name="sentinel"),
        ]
        if tls is not None:
            background.append(tasks.create_task(tls.watch(), name="certificates"))
            following = Follower(files, self._node, tls).run()
            background.append(tasks.create_task(following, name="shared files"))
        await server.start()
        keep_out_of_collections()
        Notifier().tell("READY=1")
        log.info(log_events.STARTED, boot_token=self._boot_token[:16], instance=self._instance)
        await stop.wait()
        shell.stop()
        await server.stop()
        executor.bye()
        await executor.close()
        for task in background:
            task.cancel()
        if not shell.queue.ledger.may_be_active():
            self._write(word, Word(self._clock.now_ns(), 0, CLEAN))
        log.info(log_events.STOPPED, running=len(shell.queue.in_flight()))

    async def _tell_sentinel(self, shell: LrmShell, word: WordFile) -> None:
        """How much may be active here: a sentinel that guards this node feeds its watchdog by that."""
        while True:
            self._write(word, Word(self._clock.now_ns(), shell.queue.ledger.may_be_active()))
            await asyncio.sleep(_TELL_SENTINEL_S)

    def _write(self, word: WordFile, what: Word) -> None:
        try:
            word.write(what)
        except OSError as error:  # an old word is on the safe side
            log.warning(log_events.SENTINEL_NOT_TOLD, reason=str(error))

    async def _listen_tcp(self, server: rpc.Server) -> TlsFolder | None:
        """Listen on this node's addresses, if there is TLS; the former ha-lrm may need a moment to let go."""
        if not (self._paths.tls / "node.pem").exists():
            log.warning(log_events.NO_TLS, file=str(self._paths.tls / "node.pem"))
            return None
        tls = TlsFolder(self._paths.tls)
        me = next(node for node in self._settings.nodes if node.name == self._node)
        for address in me.addresses:
            for attempt in range(_BIND_TRIES):
                try:
                    server.listen_tcp(address, self._settings.ports.lrm, tls)
                    break
                except Unavailable:
                    if attempt == _BIND_TRIES - 1:
                        raise
                    await asyncio.sleep(_BIND_RETRY_S)
        return tls

    def _log_journal(self, opened: Opened) -> None:
        if opened.void:
            log.info(log_events.JOURNAL_VOID, reason=opened.void)
        if opened.cut_bytes:
            log.warning(log_events.JOURNAL_CUT, size_bytes=opened.cut_bytes)
        ledger = opened.ledger
        log.info(
            log_events.JOURNAL_READ,
            max_term=str(ledger.max_term),
            results=len(ledger.results()),
            in_flight=len(list(ledger.flights())),
            recurring=len(ledger.recurring),
        )

    def _prepare_agent_tmp(self) -> None:
        """Empty HA_RSCTMP once a boot: agents believe what they find there."""
        marker = self._paths.run / "agent-tmp-boot"
        if read_owned(marker) == self._boot_token.encode():
            self._paths.agent_tmp.mkdir(parents=True, exist_ok=True)
            return
        removed = empty_agent_tmp(self._paths.agent_tmp)
        put_owned(marker, self._boot_token.encode())
        log.info(log_events.AGENT_TMP_EMPTIED, folder=str(self._paths.agent_tmp), removed=removed)


def _give_to_ha_crm(path: Path) -> None:
    """The socket is for root, who may always, and for the user that ha-crm runs as (where there is one).

    Not for that user's group: who reaches Execute is root, and the group's members are only ha-crm's clients.
    """
    if os.geteuid() != 0:
        return
    try:
        user_id = pwd.getpwnam(CRM_USER).pw_uid
    except KeyError:
        return  # not installed as a package: ha-crm runs as root, too
    with suppress(OSError):  # a user namespace knows no other users: ha-crm is root there
        os.chown(path, user_id, -1)


def _die() -> NoReturn:
    """End at once: the next ha-lrm reads the journal and is right again."""
    sys.stderr.flush()
    os._exit(EXIT_FAILURE)


def _tell(shell: LrmShell, event: Event) -> None:
    shell.tell(event)
