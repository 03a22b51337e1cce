"""The Membership service on corosync: the same calls, so that ha-crm and ha-lrm cannot tell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from grpc import aio

from hacluster.errors import InvalidRequest, Unavailable
from hacluster.settings import Settings
from hacluster.v1 import membership_pb2, membership_pb2_grpc
from messaging import wire
from messaging.corosync.shell import CorosyncShell
from messaging.membership.events import Leave
from messaging.service import DAEMONS
from messaging.transport.ping import Pinger

NAME = "hacluster.v1.Membership"
BY_COROSYNC = "this is corosync's: change corosync.conf and reload it there"

Context = aio.ServicerContext[Any, Any]


class CorosyncService(membership_pb2_grpc.MembershipServicer):
    """Knows protobuf and nothing else; `hacluster.rpc` turns HaError into a status."""

    def __init__(
        self,
        shell: CorosyncShell,
        pinger: Pinger,
        settings: Settings,
        node: str,
        incarnation: int,
        now_ns: Callable[[], int],
    ) -> None:
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
        """Nodes and ping nodes; links are corosync's (corosync-cfgtool -s)."""
        timers, now_ns = self._settings.timers, self._now_ns()
        return membership_pb2.MessagingStatus(
            node=self._node,
            incarnation=self._incarnation,
            authority=wire.authority_to(self._shell.core.status(now_ns), self._attributes()),
            pings=[
                membership_pb2.PingStatus(
                    target=target.address,
                    alive=target.alive,
                    rtt_us=target.rtt_ns // 1_000,
                    silent_ms=(now_ns - target.last_ns) // 1_000_000 if target.last_ns else 0,
                )
                for target in self._pinger.targets
            ],
            keepalive_ms=timers.keepalive_ms,
            deadtime_ms=timers.deadtime_ms,
        )

    async def SetBarred(
        self, request: membership_pb2.SetBarredRequest, context: Context
    ) -> membership_pb2.SetBarredReply:
        """Corosync's groups are its own; to take back what never was is harmless."""
        if not request.boot_token:
            return membership_pb2.SetBarredReply()
        raise InvalidRequest(what="on corosync no node can be barred", remedy="stop corosync on that node")

    async def SetQuorumConfig(
        self, request: membership_pb2.QuorumConfig, context: Context
    ) -> membership_pb2.SetQuorumConfigReply:
        """Who votes is corosync's; what ha-crm has committed is no contradiction while the nodes agree."""
        try:
            wire.quorum_from(request)
        except ValueError as error:
            raise InvalidRequest(what=str(error)) from None
        return membership_pb2.SetQuorumConfigReply()

    async def EndWaiting(
        self, request: membership_pb2.EndWaitingRequest, context: Context
    ) -> membership_pb2.EndWaitingReply:
        """Who waits for whom is votequorum's."""
        raise InvalidRequest(
            what="on corosync wait_for_all is votequorum's",
            remedy="corosync-cmapctl -s quorum.cancel_wait_for_all u8 1",
        )

    async def ReloadKeys(
        self, request: membership_pb2.ReloadKeysRequest, context: Context
    ) -> membership_pb2.ReloadKeysReply:
        """There are none of ours."""
        raise InvalidRequest(what="corosync has keys of its own", remedy=BY_COROSYNC)

    async def ReloadNodes(
        self, request: membership_pb2.ReloadNodesRequest, context: Context
    ) -> membership_pb2.ReloadNodesReply:
        """Not while it runs."""
        raise InvalidRequest(what="nodes come and go by corosync.conf", remedy=BY_COROSYNC)

    async def Leave(
        self, request: membership_pb2.LeaveRequest, context: Context
    ) -> membership_pb2.LeaveReply:
        """Out of all views, until another run of ha-crm connects."""
        leave = Leave(clean=request.clean, active_unmanaged=tuple(request.active_unmanaged))
        await self._shell.leave(leave, request.instance)
        return membership_pb2.LeaveReply()

    async def Send(self, request: membership_pb2.SendRequest, context: Context) -> membership_pb2.SendReply:
        """On its way to the others, or refused for a reason."""
        answer = self._shell.say(
            topic=request.topic,
            payload=request.payload,
            destination=request.destination,
            any_view=request.any_view,
        )
        if answer.refusal and not self._shell.core.in_view:
            raise Unavailable(why=answer.refusal)
        if answer.refusal:
            raise InvalidRequest(what=answer.refusal)
        return membership_pb2.SendReply(number=answer.number, view=wire.view_to(answer.view))

    async def SetInSync(
        self, request: membership_pb2.SetInSyncRequest, context: Context
    ) -> membership_pb2.SetInSyncReply:
        """No witness of ours has a vote among corosync's."""
        raise Unavailable(why="there is no witness")

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
