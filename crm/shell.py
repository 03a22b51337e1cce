"""Puts ha-crm together: replicated CIB, DC, peers, API; one task group, taken apart again at the end."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import Any, Final

import structlog

from crm import log_events, wire
from crm.alerts.shell import AlertShell
from crm.api.access import AccessControl
from crm.api.agent_socket import AgentSocket
from crm.api.backend import Backend
from crm.api.changes import Changes
from crm.api.cluster import Cluster
from crm.api.ports import listen, server_for_users
from crm.api.public_socket import PublicSocket
from crm.attributes import AttributeKeeper, DampeningTimers
from crm.cib.document import cluster_options
from crm.cib.history import NodeHistory
from crm.cib.schema import refusal
from crm.confirming import watch_confirmations
from crm.controller.core import Phase
from crm.controller.leaving import LEAVE_WITHOUT_DC_MS
from crm.controller.nodes import NodeTable
from crm.dc import DcShell, Local
from crm.dc_orders import Orders
from crm.election.quorum import could_be_quorate
from crm.fencing.history import FencingRecord
from crm.fencing_records import FencingRecords
from crm.fencing_shell import FencingShell
from crm.guard import Guard
from crm.histories import Histories
from crm.last_stops import running, stop_everything
from crm.nodes_file import NodesFile
from crm.peers import service as node_service
from crm.peers.claims import ClaimsByData
from crm.peers.crm import GrpcCrmPeers
from crm.peers.lrm import LrmPeer
from crm.peers.messaging import MembershipPeer, in_heartbeats
from crm.peers.node import CrmPeer
from crm.peers.voters import VotersKeeper
from crm.peers.waiting import WaitingEnder
from crm.replica import service as replica_service
from crm.replica.assemble import replica_shell
from crm.replica.events import (
    BecameDc,
    Committed,
    Corrupt,
    FollowsDc,
    Orphans,
    ReplicaEvent,
    StoppedBeingDc,
    VotersCommitted,
)
from crm.revisions import Revisions
from crm.scheduler.digests import digest_of
from crm.scheduling import SchedulerWorker
from crm.scheduling_files import newest
from crm.service import NAME, CrmService
from hacluster import rpc
from hacluster.clock import Clock
from hacluster.collector import keep_out_of_collections
from hacluster.errors import HaError
from hacluster.paths import Paths
from hacluster.settings import Node, Settings
from hacluster.supervision import EXIT_FENCED, EXIT_OK, Notifier
from hacluster.tls import ReloadingChannel, TlsFolder
from hacluster.v1 import crm_pb2_grpc, membership_pb2, node_pb2_grpc
from hacluster.vocabulary.ids import NO_VIEW, BootToken, NodeId
from hacluster.vocabulary.membership import Authority, MembershipView
from hacluster.vocabulary.operation import OperationResult

PINGD_DAMPEN_MS: Final = 5_000
LAG_MS: Final = 50
LAG_EVERY_MS: Final = 100
PUSH_RETRY_MS: Final = 200
PUSH_ATTEMPTS: Final = 25
LEAVE_MS_MAX: Final = 85_000

log = structlog.get_logger()


class CrmShell:
    """One run of ha-crm."""

    def __init__(
        self,
        *,
        settings: Settings,
        paths: Paths,
        node: Node,
        boot_token: BootToken,
        instance: int,
        clock: Clock,
        tls: TlsFolder,
    ) -> None:
        self._settings, self._paths, self._node, self._clock = settings, paths, node, clock
        self._boot_token, self._tls = boot_token, tls
        self._tasks: asyncio.TaskGroup | None = None
        self._spawned: set[asyncio.Task[None]] = set()
        self._stop, self._stays_out = asyncio.Event(), False
        self.exit_code = EXIT_OK
        self._followers: dict[str, asyncio.Task[None]] = {}
        self.changes = Changes()
        self.local = Local(node=node.name, may_be_dc=not node.diskless)
        names = [str(other.name) for other in settings.nodes]
        self.nodes = NodeTable(((other.id, other.name) for other in settings.nodes), digest_of)
        self.histories = Histories(self.nodes, names)
        self._had_view = False  # a run of ha-crm that saw none yet knows nothing of before it
        self._lrm_wanted = {name: asyncio.Event() for name in names}
        self._lrm_wanted[node.name].set()
        self._crm_peers = GrpcCrmPeers(settings, tls, node.id)
        self.messaging = MembershipPeer(rpc.unix_channel(paths.messaging_socket), instance)
        self.replica = replica_shell(
            settings,
            paths,
            node.name,
            boot_token=boot_token,
            instance=in_heartbeats(instance),
            peers=self._crm_peers,
            clock=clock,
            witness=self.messaging.tell_witness,
            validate=refusal,
        )
        self.replica.set_eligibility(eligible=self.local.may_be_dc)
        self._lrms: dict[str, LrmPeer] = {
            other.name: LrmPeer(other.name, self._lrm_channel(other)) for other in settings.nodes
        }
        self.voters = VotersKeeper(self.replica, self.messaging.set_quorum)
        self._waiting = WaitingEnder(self.local, self.replica, self.messaging.end_waiting)
        self._claims = ClaimsByData(self.messaging, self.replica.serve)
        self._crm_peers.claimed = self._claims.say
        self.keeper = AttributeKeeper(
            paths.run / "attributes.json",
            boot_token,
            instance,
            later=DampeningTimers(self._settle).later,
            changed=self._attributes_changed,
        )
        self._told_attributes = dict(self.keeper.published)
        self.worker = SchedulerWorker(paths.var / "transitions")
        self.revisions = Revisions(paths.var / "revisions")
        self._nodes_file = NodesFile(paths.cluster_toml, settings, self.use_nodes)
        self._peer_service = replica_service.CrmPeerService(self.replica, settings)
        peers: dict[str, Any] = {}
        self._build_dc(instance, peers)
        self._build_services(peers)

    def _build_dc(self, instance: int, peers: dict[str, Any]) -> None:
        """The DC's side. `peers` is filled later."""
        self.orders = Orders(
            local=self.local,
            nodes=self.nodes,
            histories=self.histories,
            lrms=self._lrms,
            peers=peers,
            clock=self._clock,
            spawn=self.spawn,
            without_quorum=self._without_quorum,
        )
        self.fencing = FencingShell(
            local=self.local,
            nodes=self.nodes,
            replica=self.replica,
            lrms=self._lrms,
            clock=self._clock,
            spawn=self.spawn,
            rng=random.SystemRandom(),
            two_node=lambda: self.replica.voters()[1].two_node,
            keepalive_ms=self._settings.timers.keepalive_ms,
            deadtime_ms=self._settings.timers.deadtime_ms,
            silent_after_ms=3 * self._settings.timers.deadtime_ms,
            records=FencingRecords(self._paths.var / "fencing/history.json", self._node.name, self._clock),
        )
        self.dc = DcShell(
            local=self.local,
            nodes=self.nodes,
            replica=self.replica,
            scheduler=self.worker,
            orders=self.orders,
            fencing=self.fencing,
            clock=self._clock,
            spawn=self.spawn,
            uuid=_uuid(self._settings.cluster_id, instance),
            first_number=newest(self._paths.var / "transitions") + 1,
            settle_ms=2 * self._settings.timers.deadtime_ms,
        )
        self.dc.changed = self.changes.touch
        self.fencing.bar = self.messaging.bar
        self.histories.listener = self.dc

    def _build_services(self, peers: dict[str, Any]) -> None:
        """The cluster as clients, agents and other nodes see it."""
        self.cluster = Cluster(
            local=self.local,
            nodes=self.nodes,
            replica=self.replica,
            dc=self.dc,
            orders=self.orders,
            fencing=self.fencing,
            keeper=self.keeper,
            messaging=self.messaging,
            clock=self._clock,
            changes=self.changes,
            running=lambda: running(self._lrms[self._node.name]),
            is_kept=lambda file: (self._paths.var / "cib" / file).exists(),
        )
        self.alerts = AlertShell(
            self._node.name,
            self.nodes,
            self._lrms[self._node.name],
            lambda: self.replica.configuration,
        )
        self.histories.on_result = self._result
        self.guard = Guard(
            self._paths.run,
            self._node.name,
            self._boot_token,
            self.keeper,
            self._clock,
            lambda: self.replica.configuration,
            alone=lambda: not (self.local.quorate or self.local.settling),
            failed_stops=lambda: self._history().failed_stops(),
            stay_out=self._stay_out_soon,
        )
        self.fencing.records.on_news = self._fencing_news
        self.fencing.records.tell = lambda records: self.orders.tell_fencing(records, self.dc.term)
        self._here = node_service.LocalPeer(self.cluster, self._boot_token, self.spawn)
        peers[self._node.name] = self._here
        for other in self._settings.nodes:
            if other.name != self._node.name:
                peers[other.name] = CrmPeer(other.name, self._crm_channel(other))
        self._all_peers = peers
        inner = self._paths.run / "c/s"  # short: a socket's path has 107 bytes
        self._public = PublicSocket(self._paths.crm_socket, inner)
        self._acls = AccessControl(self.cluster, self._public.groups_of)
        self._api = CrmService(
            self.cluster,
            self._acls,
            cluster_name=lambda: self._settings.cluster_name,
            lrm=self._lrms[self._node.name],
            transitions=self._paths.var / "transitions",
            revisions=self._paths.var / "revisions",
        )
        self.replica.on_forward(self._api.forwarded)

    def _lrm_channel(self, other: Node) -> Any:
        if other.name == self._node.name:
            return rpc.unix_channel(self._paths.lrm_socket)
        return self._channel(other, self._settings.ports.lrm)

    def _crm_channel(self, other: Node) -> Any:
        return self._channel(other, self._settings.ports.crm)

    def _channel(self, other: Node, port: int) -> Any:
        keepalive_ms = max(self._settings.timers.deadtime_ms // 2, 100)
        return ReloadingChannel(
            self._tls,
            lambda tls: rpc.tcp_channel(
                other.addresses[0],
                port,
                tls,
                server_name=other.name,
                keepalive_ms=keepalive_ms,
                others=other.addresses[1:],
            ),
        )

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """A task of this daemon."""
        assert self._tasks is not None, "not running"
        task = self._tasks.create_task(work, name=name)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)
        return task

    def use_nodes(self, settings: Settings) -> None:
        """Go on with the nodes of that cluster.toml: others came or went (nobody goes who is in the view)."""
        names = [str(other.name) for other in settings.nodes]
        added = [other for other in settings.nodes if other.name not in self._lrms]
        gone = [name for name in self._lrms if name not in names]
        self._settings = settings
        for name in gone:
            self._followers.pop(name).cancel()
            for table in (self._lrms, self._all_peers, self._lrm_wanted):
                table.pop(name)
        closing = self._crm_peers.use(settings)
        for channel in closing:
            self.spawn(channel.close(), "close channel")
        self.nodes.use((other.id, other.name) for other in settings.nodes)
        self.histories.use(names)
        self._peer_service.use(settings)
        for other in added:
            self._lrm_wanted[other.name] = asyncio.Event()
            self._lrms[other.name] = LrmPeer(other.name, self._lrm_channel(other))
            self._all_peers[other.name] = CrmPeer(other.name, self._crm_channel(other))
            self._followers[other.name] = self.spawn(self._follow(other.name), f"history {other.name}")
        self.replica.use_others(tuple(int(o.id) for o in settings.nodes if o.id != self._node.id))
        log.info(log_events.NODES, added=",".join(o.name for o in added), gone=",".join(gone))
        self.changes.touch()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set. An unexpected exception ends the process, to be started again."""
        events = self.replica.subscribe()
        keepalive_ms = max(self._settings.timers.deadtime_ms // 2, 100)
        server = rpc.Server(
            keepalive_ms=keepalive_ms,
            names=[NAME, node_service.NAME, replica_service.SERVICE_NAME],
            access=self._access,
        )
        server.add(crm_pb2_grpc.add_CrmServicer_to_server, self._api)
        server.add(
            node_pb2_grpc.add_CrmNodeServicer_to_server, node_service.CrmNodeService(self.cluster, self._here)
        )
        replica_service.register(server, self._peer_service)
        self._public.inner.parent.mkdir(parents=True, exist_ok=True)
        self._public.inner.parent.chmod(0o700)
        server.listen_unix(self._public.inner)
        servers = [server]
        await listen(server, self._node, self._settings.ports.crm, self._tls)
        if port := self._settings.ports.api:
            servers.append(server_for_users(self._api, self._acls, keepalive_ms))
            await listen(servers[-1], self._node, port, self._tls)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self.spawn(self.replica.run(), "replica")
            self.spawn(self._replica_events(events), "replica events")
            self.spawn(self.messaging.follow(self._authority), "membership")
            self.spawn(self._claims.run(), "claims")
            self.spawn(self.voters.run(), "voters")
            self.spawn(self._waiting.run(), "end of wait_for_all")
            self.spawn(self._start_worker(), "scheduler start")
            self.spawn(self.orders.loads(self.dc.loads_changed), "loads")
            backend = Backend(self.cluster, self._api.for_agents, self._api.status_for_agents)
            self.spawn(AgentSocket(self._paths.agent_socket, backend).serve(), "agents")
            self.spawn(self.alerts.run(), "alerts")
            self.spawn(self.fencing.keep_learning(), "fence agents")
            self.spawn(self.guard.watch(), "sentinel")
            self.spawn(self._watch_lag(), "lag")
            self.spawn(self.revisions.run(), "revisions")
            self.spawn(watch_confirmations(self.cluster), "confirmations")
            for name in self._lrms:
                self._followers[name] = self.spawn(self._follow(name), f"history {name}")
            self.spawn(self._nodes_file.watch(), "nodes")
            await asyncio.gather(*(one.start() for one in servers))
            self._public.listen()
            self.spawn(self._public.serve(), "clients")
            self.spawn(self._tls.watch(), "certificates")
            keep_out_of_collections()
            Notifier().tell("READY=1")
            log.info(log_events.STARTED, boot_token=self._boot_token[:16])
            self._stop = stop
            await stop.wait()
            await self._leave_cleanly()
            self.dc.stopped_being_dc("ha-crm stops")
            self._peer_service.end_streams()
            await asyncio.gather(*(one.stop() for one in servers))
            self.worker.stop()
            for task in list(self._spawned):
                task.cancel()
        await self._crm_peers.close()
        log.info(log_events.STOPPED)

    def _history(self) -> NodeHistory:
        return self.nodes[self._node.name].history  # a reboot brings another one

    def _stay_out_soon(self, why: str) -> None:
        if not self._stays_out:
            self._stays_out = True
            # Now: a DC that believes in its own fencing forgets what runs here in a moment.
            self.spawn(self._stay_out(why, self._history().active()), "stay out")

    async def _stay_out(self, why: str, active: tuple[str, ...]) -> None:
        """This node was fenced and lives: stop what runs here, leave, and do not come back by itself."""
        log.critical(log_events.STAYS_OUT, reason=why)
        self.local.may_be_dc = False
        self.replica.set_eligibility(eligible=False)
        self.dc.stopped_being_dc(why)
        name = self._node.name
        left = await stop_everything(self._lrms[name], active, self._boot_token)
        if left != () and self.guard.guarded_by():
            self.guard.die("fenced, and a stop has failed")
        try:
            await self.messaging.leave(active if left is None else left, known=left is not None)
        except HaError as error:
            log.error(log_events.NODE_LEAVES, peer=name, reason=str(error))
        self.cluster.left.set()
        self.exit_code = EXIT_FENCED
        self._stop.set()

    async def _leave_cleanly(self) -> None:
        """A clean stop: the resources move away first, then the node says that it leaves.

        Bounded: by then whoever stops the services would kill this one. Without a DC in reach nothing can be
        moved; what runs here is then named, and the others treat the node as lost. Without a view, too: the
        others may be installing one with this node in it.
        """
        try:
            async with asyncio.timeout(LEAVE_MS_MAX / 1_000):
                await self.cluster.stop_node(without_dc_ms=LEAVE_WITHOUT_DC_MS)
        except TimeoutError:
            log.error(log_events.NODE_LEAVES, peer=self._node.name, reason="not empty in time")
        except HaError as error:
            log.error(log_events.NODE_LEAVES, peer=self._node.name, reason=str(error))

    def _access(self, method: str, caller: rpc.Caller) -> None:
        is_node = any(self._settings.node(name) for name in caller.names)
        self._acls.judge(method, caller, is_node=is_node)

    # What comes in.

    def _authority(self, update: membership_pb2.AuthorityUpdate | None) -> None:
        if update is None:
            authority, states = Authority(view=MembershipView(), quorate=False), {}
        else:
            authority, states = wire.authority_from(update), wire.node_states_from(update)
            self.local.connectivity = wire.connectivity_from(update)
        local = self.local
        new_view = authority.view.id != local.view
        if new_view:
            if any(member.name not in self.nodes for member in authority.view.members):
                self._nodes_file.look()  # ha-messaging has the new file already
            members = ",".join(member.name for member in authority.view.members)
            log.info(log_events.VIEW, view=str(authority.view.id), members=members, quorate=authority.quorate)
            local.was_dc = self.replica.dc.is_me
            self.dc.stopped_being_dc("a new view")
        before = (local.quorate, local.waiting, local.settling)
        local.view, local.quorate, local.waiting = authority.view.id, authority.quorate, authority.waiting
        present = {member.id for member in authority.view.members}
        enough = could_be_quorate(self.replica.voters()[1], present)
        local.settling = not authority.quorate and not authority.waiting and enough
        quorum_changed = before != (local.quorate, local.waiting, local.settling)
        self.cluster.notes.states = states or self.cluster.notes.states
        if update is not None:
            apart = self._had_view and not before[0]
            self._had_view |= bool(authority.view.members)
            runs = wire.last_runs_from(update)
            change = self.nodes.set_view(authority.view, states, self._clock.wall_s(), apart=apart, runs=runs)
            for name, wanted in self._lrm_wanted.items():
                if self.nodes[name].member or name == self._node.name:
                    wanted.set()
                else:
                    wanted.clear()
            self.replica.set_authority(authority)
            self.voters.suggested(update.suggested if update.HasField("suggested") else None)
            self.dc.membership_changed(change, apart=apart)
            self.alerts.membership(change)
            if update.attributes:
                changed = {
                    name: value
                    for name, value in update.attributes.items()
                    if self.keeper.current.get(name) != value
                }
                if changed:
                    self.keeper.change(changed, PINGD_DAMPEN_MS)
        else:
            local.view = NO_VIEW
            self.replica.set_authority(authority)
        if quorum_changed and not new_view:
            self.dc.quorum_changed()
        self.changes.touch()

    async def _replica_events(self, events: asyncio.Queue[ReplicaEvent]) -> None:
        while True:
            self._replica_event(await events.get())
            self.changes.touch()

    def _replica_event(self, event: ReplicaEvent) -> None:
        notes = self.cluster.notes
        match event:
            case BecameDc():
                self._note_revision("")
                self.dc.became_dc(event)
            case StoppedBeingDc(why):
                self.dc.stopped_being_dc(why)
            case FollowsDc(node_id, term):
                self.fencing.stand_down()
                self._note_revision("")
                log.info(log_events.FOLLOWS, dc=self._name_of(node_id), term=str(term))
                self.spawn(self._push_attributes(), "push attributes")
            case Committed(_, _, author):
                notes.last_change_by, notes.last_change_s = author, self._clock.wall_s()
                self._note_revision(author)
                self.dc.configuration_changed(author)
            case Orphans(count, answered, node, file):
                notes.orphans[file] = (
                    f"{count} configuration changes made on {node} while apart were not merged "
                    f"({answered} of them had been answered OK): see `hacli cib orphans` there"
                )
                log.error(log_events.NOTICE, reason=notes.orphans[file])
            case VotersCommitted():
                self.voters.committed(event)
            case Corrupt(why):
                notes.corrupt = f"the CIB on {self._node.name} is damaged: {why}"
                log.error(log_events.NOTICE, reason=notes.corrupt)

    def _result(self, node: str, result: OperationResult) -> None:
        self.alerts.result(node, result)
        if node == self._node.name and result.operation.action == "stop":
            self.guard.consider()

    def _fencing_news(self, record: FencingRecord) -> None:
        self.alerts.fencing(record)
        self.guard.fenced(record)

    def _note_revision(self, author: str) -> None:
        """Keep the configuration of now; without an author it is one that was found."""
        replica = self.replica
        self.revisions.note(replica.configuration, replica.version, author, self._clock.wall_s())

    def _name_of(self, node_id: int) -> str:
        node = self._settings.node_by_id(NodeId(node_id))
        return node.name if node is not None else str(node_id)

    async def _follow(self, name: str) -> None:
        await self._lrms[name].follow(
            self._lrm_wanted[name],
            lambda event: self.histories.heard(name, event),
            lambda: self.histories.begun(name),
        )

    # This node's attributes.

    def _settle(self, name: str) -> None:
        self.keeper.settle(name)

    def _attributes_changed(self) -> None:
        self.changes.touch()
        told, self._told_attributes = self._told_attributes, dict(self.keeper.published)
        self.alerts.attributes(told, self._told_attributes)
        if self.dc.phase is not Phase.NOT_DC:
            if self.orders.take_attributes(self._here.attributes()):
                self.dc.attributes_changed(self._node.name)
        elif self._tasks is not None:
            self.spawn(self._push_attributes(), "push attributes")

    async def _push_attributes(self) -> None:
        """Tell the DC; given up when a new DC will ask for itself."""
        for _ in range(PUSH_ATTEMPTS):
            dc = self.replica.dc.dc_node_id
            peer = self._all_peers.get(self._name_of(dc)) if dc is not None else None
            if not isinstance(peer, CrmPeer):
                return
            try:
                await peer.push_attributes(self._here.attributes())
                return
            except HaError:
                await asyncio.sleep(PUSH_RETRY_MS / 1_000)
        log.warning(log_events.ATTRIBUTES_NOT_KEPT, reason="the DC does not take them")

    def _without_quorum(self) -> bool:
        options = cluster_options(self.replica.configuration)
        return options.get("no-quorum-policy", "stop").lower() == "ignore"

    # Housekeeping.

    async def _start_worker(self) -> None:
        try:
            await self.worker.start()
        except HaError as error:
            log.error(log_events.SCHEDULER_FAILED, reason=str(error))  # tried again with the next plan

    async def _watch_lag(self) -> None:
        while True:
            before = time.monotonic_ns()
            await asyncio.sleep(LAG_EVERY_MS / 1_000)
            late_ms = (time.monotonic_ns() - before) // 1_000_000 - LAG_MS - LAG_EVERY_MS
            if late_ms > 0:
                log.warning(log_events.LOOP_LAG, late_ms=late_ms + LAG_MS)


def _uuid(cluster_id: bytes, instance: int) -> str:
    """Names this run of the transition engine in transition keys, as Pacemaker's te_uuid does."""
    raw = (cluster_id[:8] + (instance & (1 << 64) - 1).to_bytes(8, "big")).hex()
    return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"
