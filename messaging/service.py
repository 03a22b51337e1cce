"""The Membership service: translates, delegates, translates. Imported once the links run: gRPC is slow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from grpc import aio

from hacluster.errors import InvalidRequest, ResourceExhausted, Unavailable
from hacluster.settings import Settings
from hacluster.v1 import membership_pb2, membership_pb2_grpc
from messaging import wire
from messaging.membership.events import Leave
from messaging.membership.shell import MembershipShell
from messaging.packet import Keyring
from messaging.transport.link import Carrier
from messaging.transport.links import advised_deadtime_ns
from messaging.transport.ping import Pinger

NAME = "hacluster.v1.Membership"

Context = aio.ServicerContext[Any, Any]

DAEMONS = {
    membership_pb2.WatchRequest.DAEMON_UNSPECIFIED: "",
    membership_pb2.WatchRequest.DAEMON_CRM: "crm",
    membership_pb2.WatchRequest.DAEMON_LRM: "lrm",
}


class MembershipService(membership_pb2_grpc.MembershipServicer):
    """Knows protobuf and nothing else; `hacluster.rpc` turns HaError into a status."""

    def __init__(
        self,
        shell: MembershipShell,
        pinger: Pinger,
        settings: Settings,
        node: str,
        incarnation: int,
        now_ns: Callable[[], int],
        reload_keys: Callable[[bool], Keyring],
        reload_nodes: Callable[[], list[str]],
    ) -> None:
        self._reload_nodes = reload_nodes
        self._reload_keys = reload_keys
        self._shell, self._pinger, self._settings = shell, pinger, settings
        self._node, self._incarnation, self._now_ns = node, incarnation, now_ns

    def _attributes(self) -> dict[str, str]:
        told = self._pinger.told
        return {} if told is None else {"pingd": str(told)}

    async def Watch(
        self, request: membership_pb2.WatchRequest, context: Context
    ) -> AsyncIterator[membership_pb2.AuthorityUpdate]:
        """The present state, then every change."""
        daemon = DAEMONS.get(request.daemon)
        if daemon is None or bool(daemon) != bool(request.instance):
            raise InvalidRequest(what="a daemon names its instance, a tool none", remedy="set both or none")
        watcher = self._shell.watch(daemon, request.instance)
        try:
            while True:
                status = await self._shell.next_update(watcher)
                yield wire.authority_to(status, self._attributes())
        finally:
            self._shell.unwatch(watcher)

    async def Status(
        self, request: membership_pb2.MessagingStatusRequest, context: Context
    ) -> membership_pb2.MessagingStatus:
        """Nodes, links, counters."""
        core, figures, timers = self._shell.core, self._shell.figures, self._settings.timers
        now_ns = self._now_ns()
        advised_ns = advised_deadtime_ns(
            core.detector.largest_gap_ns(now_ns), timers.keepalive_ms * 1_000_000
        )
        return membership_pb2.MessagingStatus(
            node=self._node,
            incarnation=self._incarnation,
            authority=wire.authority_to(core.status(now_ns), self._attributes()),
            links=self._links(self._shell.links),
            pings=[
                membership_pb2.PingStatus(
                    target=target.address,
                    alive=target.alive,
                    rtt_us=target.rtt_ns // 1_000,
                    silent_ms=(now_ns - target.last_ns) // 1_000_000 if target.last_ns else 0,
                )
                for target in self._pinger.targets
            ],
            dropped=figures.dropped,
            loop_lag_max_us=figures.lag_max_ns // 1_000,
            health_score=core.detector.health,
            keepalive_ms=timers.keepalive_ms,
            deadtime_ms=core.detector.deadtime.ns // 1_000_000,
            deadtime_auto=core.detector.deadtime.auto,
            signing_key=self._shell.keyring.signing,
            key_ids=sorted(self._shell.keyring.keys),
            counters=core.talk.counters,
            witness=self._witness(now_ns),
            advised_deadtime_ms=advised_ns // 1_000_000,
        )

    def _witness(self, now_ns: int) -> membership_pb2.WitnessStatus | None:
        side, view = self._shell.core.authority.witness, self._shell.core.agreement.installed
        if self._settings.witness is None:
            return None
        return membership_pb2.WitnessStatus(
            granted=view is not None and side.support_until_ns(view) > now_ns,
            silent_ms=(now_ns - side.reached_ns) // 1_000_000 if side.reached_ns else 0,
            reason=side.reason,
        )

    def _links(self, links: Sequence[Carrier]) -> list[membership_pb2.LinkStatus]:
        return [
            membership_pb2.LinkStatus(
                link=link.toml_number,
                kind=link.link.kind,
                peer=peer.name,
                state=peer.links[link.number].state.value,
                address=link.address_of(peer.id),
                received=peer.links[link.number].received,
                expected=peer.links[link.number].expected,
                lost=peer.links[link.number].lost,
                duplicates=peer.links[link.number].duplicates,
                out_of_order=peer.links[link.number].out_of_order,
                gap_max_us=peer.links[link.number].gap_max_ns // 1_000,
                rtt_min_us=peer.links[link.number].rtt_min_ns // 1_000,
                sent=link.sent,
            )
            for link in links
            for peer in self._shell.core.detector.peers.values()
        ]

    async def SetQuorumConfig(
        self, request: membership_pb2.QuorumConfig, context: Context
    ) -> membership_pb2.SetQuorumConfigReply:
        """A committed configuration: on disk before the answer."""
        try:
            quorum = wire.quorum_from(request)
        except ValueError as error:
            raise InvalidRequest(what=str(error)) from None
        await self._shell.set_quorum(quorum)
        return membership_pb2.SetQuorumConfigReply()

    async def EndWaiting(
        self, request: membership_pb2.EndWaitingRequest, context: Context
    ) -> membership_pb2.EndWaitingReply:
        """The DC of that view has nothing to wait for."""
        try:
            view = wire.view_from(request.view)
        except ValueError as error:
            raise InvalidRequest(what=str(error)) from None
        self._shell.end_waiting(view)
        return membership_pb2.EndWaitingReply()

    async def ReloadKeys(
        self, request: membership_pb2.ReloadKeysRequest, context: Context
    ) -> membership_pb2.ReloadKeysReply:
        """authkeys anew, or why not."""
        keyring = self._reload_keys(request.force)
        return membership_pb2.ReloadKeysReply(signing_key=keyring.signing, key_ids=sorted(keyring.keys))

    async def ReloadNodes(
        self, request: membership_pb2.ReloadNodesRequest, context: Context
    ) -> membership_pb2.ReloadNodesReply:
        """The nodes of cluster.toml anew, or why not."""
        return membership_pb2.ReloadNodesReply(nodes=self._reload_nodes())

    async def Leave(
        self, request: membership_pb2.LeaveRequest, context: Context
    ) -> membership_pb2.LeaveReply:
        """Out of all views, until another run of ha-crm connects."""
        leave = Leave(clean=request.clean, active_unmanaged=tuple(request.active_unmanaged))
        await self._shell.leave(leave, request.instance)
        return membership_pb2.LeaveReply()

    async def Send(self, request: membership_pb2.SendRequest, context: Context) -> membership_pb2.SendReply:
        """On its way to the others, or refused for a reason."""
        answer = await self._shell.say(
            topic=request.topic,
            payload=request.payload,
            destination=request.destination,
            any_view=request.any_view,
        )
        if answer.exhausted:
            raise ResourceExhausted(what=answer.refusal)
        if answer.refusal and self._shell.core.agreement.installed is None:
            raise Unavailable(why=answer.refusal)
        if answer.refusal:
            raise InvalidRequest(what=answer.refusal)
        return membership_pb2.SendReply(number=answer.number, view=wire.view_to(answer.view))

    async def SetBarred(
        self, request: membership_pb2.SetBarredRequest, context: Context
    ) -> membership_pb2.SetBarredReply:
        """In no view from now on, in this boot."""
        await self._shell.set_barred(request.node_id, request.boot_token)
        return membership_pb2.SetBarredReply()

    async def SetInSync(
        self, request: membership_pb2.SetInSyncRequest, context: Context
    ) -> membership_pb2.SetInSyncReply:
        """To the witness, and its answer."""
        if not request.term_counter:
            raise InvalidRequest(what="who speaks to the witness has a term")
        term = (request.term_counter, request.term_node)
        answer = await self._shell.set_in_sync(tuple(request.in_sync), term, request.serial)
        return membership_pb2.SetInSyncReply(
            in_sync=answer.in_sync, term_counter=answer.term[0], term_node=answer.term[1]
        )

    async def Receive(
        self, request: membership_pb2.ReceiveRequest, context: Context
    ) -> AsyncIterator[membership_pb2.Delivery]:
        """What is sent on the topic from now on."""
        if not request.topic:
            raise InvalidRequest(what="a topic has 1 to 64 characters")
        listener = self._shell.listen(request.topic)
        try:
            while True:
                yield wire.delivery_to(await self._shell.next_delivery(listener))
        finally:
            self._shell.unlisten(listener)
