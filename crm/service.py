"""gRPC service Crm: the API of hacli and other tools. Translates, hands on what only the DC can answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc

from crm import revisions, wire
from crm.api import reading
from crm.api.access import AccessControl
from crm.api.cluster import Cluster
from crm.api.public_socket import name_of
from crm.api.selecting import Selections
from crm.api.shares import Shares
from crm.api.voters import change_voters, voters_reply
from crm.cib.codec import is_text, parse
from crm.cib.history import FEATURE_SET
from crm.cib.model import Element
from crm.cib.versions import CibVersion
from crm.controller.core import Phase, Standing
from crm.peers.lrm import LrmPeer
from crm.replica.events import Outcome, WriteOutcome
from crm.scheduling_files import read_kept, summaries
from crm.tickets import carried, tickets_in
from hacluster import rpc
from hacluster.errors import ErrorCode, HaError, InvalidRequest, NotFound
from hacluster.v1 import common_pb2, crm_pb2, crm_pb2_grpc
from hacluster.vocabulary.membership import NodeState

Context = grpc.aio.ServicerContext[Any, Any]
NAME: Final = "hacluster.v1.Crm"
WATCH_PAUSE_MS: Final = 50
WATCHED_BYTES_A_MS: Final = 3_000
"""A large CIB is sent less often: to spell 3 kB takes about half a millisecond."""

WATCHES_EACH_MAX: Final = 64
WATCHES_MAX: Final = 256
WRITES_EACH_MAX: Final = 256
WRITES_MAX: Final = 512
"""Of those that wait for their answer."""

WRITE_DEADLINE_MS: Final = 10_000
STATUS_PATIENCE_MS: Final = 400
"""`hacli status` is for when something is wrong: it answers within a second, and rides out most elections."""

_OUTCOMES: Final = {
    Outcome.OK: crm_pb2.WriteReply.OUTCOME_OK,
    Outcome.FAILED: crm_pb2.WriteReply.OUTCOME_FAILED,
    Outcome.UNKNOWN: crm_pb2.WriteReply.OUTCOME_UNKNOWN,
}
Reply = TypeVar("Reply")


class CrmService(crm_pb2_grpc.CrmServicer):
    """Knows protobuf, and which requests are the DC's."""

    def __init__(
        self,
        cluster: Cluster,
        access: AccessControl,
        *,
        cluster_name: Callable[[], str],
        lrm: LrmPeer,
        transitions: Path,
        revisions: Path,
    ) -> None:
        self._access = access
        self._cluster, self._name, self._lrm, self._folder = cluster, cluster_name, lrm, transitions
        self._revisions = revisions
        self._selections, self._limited = Selections(), Selections()
        self._watches = Shares("watches", WATCHES_EACH_MAX, WATCHES_MAX)
        self._writes = Shares("writes", WRITES_EACH_MAX, WRITES_MAX)
        self._at_dc: dict[str, Callable[[bytes, str], Awaitable[bytes]]] = {
            "Status": self._status_at_dc,
            "QueryCib": self._query_at_dc,
            "SetAttribute": self._set_attribute_at_dc,
            "SetTicket": self._set_ticket_at_dc,
            "Cleanup": self._cleanup_at_dc,
            "Voters": self._voters_at_dc,
            "ChangeVoters": self._change_voters_at_dc,
            "ConfirmFenced": self._confirm_fenced_at_dc,
            "ForgiveNode": self._forgive_node_at_dc,
            "MoveDc": self._move_dc_at_dc,
            "Fence": self._fence_at_dc,
            "FencingDevices": self._fencing_devices_at_dc,
            "ListTransitions": self._list_at_dc,
            "GetTransition": self._get_at_dc,
            "ListRevisions": self._list_revisions_at_dc,
            "GetRevision": self._get_revision_at_dc,
        }

    async def forwarded(self, method: str, request: bytes, user: str, client: str) -> bytes:
        """What another node hands to us as the DC. Raises HaError."""
        handler = self._at_dc.get(method)
        if handler is None:
            raise InvalidRequest(what=f"{method} is not the DC's to answer")
        return await handler(request, user)

    async def _at_the_dc(self, method: str, request: Any, context: Context) -> bytes:
        user = self._user(context)
        if self._cluster.is_dc:
            return await self._at_dc[method](request.SerializeToString(), user)
        raw: bytes = request.SerializeToString()
        return await self._cluster.replica.forward(method, raw, user, client=NAME)

    def _user(self, context: Context) -> str:
        return name_of(rpc.caller_of(context))

    # Reads.

    async def QueryCib(self, request: crm_pb2.QueryCibRequest, context: Context) -> crm_pb2.QueryCibReply:
        """See crm.proto. What an XPath names is looked for in what the caller may see."""
        caller = rpc.caller_of(context)
        limited = self._access.rules(caller) is not None
        wanted = crm_pb2.QueryCibRequest(
            local=request.local, xpath="" if limited else request.xpath, read=request.read
        )
        reply = await self._queried(wanted, context)
        if limited:
            shown = parse(self._access.shown(reply.xml, caller))
            reply.xml = await self._limited.select(shown, request.xpath)
        return reply

    async def _queried(self, request: crm_pb2.QueryCibRequest, context: Context) -> crm_pb2.QueryCibReply:
        if request.local:
            return await self._query(request.xpath)
        try:
            return crm_pb2.QueryCibReply.FromString(await self._at_the_dc("QueryCib", request, context))
        except HaError as error:
            if request.read or error.code not in (ErrorCode.NO_DC, ErrorCode.UNREACHABLE):
                raise
            return await self._query(request.xpath)

    async def _query_at_dc(self, raw: bytes, _user: str) -> bytes:
        request = crm_pb2.QueryCibRequest.FromString(raw)
        vouched = await reading.vouched(self._cluster.replica, request.read)
        reply = await self._query(request.xpath)
        reply.certain, reply.reason = not vouched, vouched
        return reply.SerializeToString()

    async def _query(self, xpath: str) -> crm_pb2.QueryCibReply:
        replica, cib = self._cluster.replica, self._cluster.cib()
        reply = crm_pb2.QueryCibReply(
            version=_version(replica.version),
            digest=replica.digest,
            from_dc=self._cluster.is_dc,
            age_ms=replica.status_age_ms,
        )
        reply.xml = await self._selections.select(cib, xpath)
        return reply

    async def Status(self, request: crm_pb2.ClusterStatusRequest, context: Context) -> crm_pb2.ClusterStatus:
        """See crm.proto. Without a DC in reach the answer is this node's own view."""
        status = (
            self.status()
            if request.local
            else await self._status(lambda: self._at_the_dc("Status", request, context))
        )
        status.cib_xml = self._access.shown(status.cib_xml, rpc.caller_of(context))
        return status

    async def status_for_agents(self) -> crm_pb2.ClusterStatus:
        """The same over the socket of this node's agents, for whom nothing is hidden."""
        request = crm_pb2.ClusterStatusRequest().SerializeToString()
        return await self._status(lambda: self.for_agents("Status", request))

    async def _status(self, at_the_dc: Callable[[], Awaitable[bytes]]) -> crm_pb2.ClusterStatus:
        """The DC's view; without one, and none within a moment, this node's own."""
        if self._cluster.is_dc or not await self._cluster.replica.dc_within(STATUS_PATIENCE_MS):
            return self.status()
        try:
            status = crm_pb2.ClusterStatus.FromString(await at_the_dc())
        except HaError as error:
            if error.code not in (ErrorCode.NO_DC, ErrorCode.UNREACHABLE, ErrorCode.TIMEOUT):
                raise
            return self.status()
        status.notices.extend(self._cluster.own_notices())
        return status

    async def for_agents(self, method: str, raw: bytes) -> bytes:
        """The DC's answer to what an agent's command on this node asks. Raises HaError."""
        if self._cluster.is_dc:
            return await self._at_dc[method](raw, "agent")
        return await self._cluster.replica.forward(method, raw, "agent", client=NAME)

    async def _status_at_dc(self, _raw: bytes, _user: str) -> bytes:
        return self.status().SerializeToString()

    async def Watch(
        self, request: crm_pb2.WatchClusterRequest, context: Context
    ) -> AsyncIterator[crm_pb2.ClusterStatus]:
        """See crm.proto: this node's own view, which follows the DC's within milliseconds."""
        changes = self._cluster.changes
        with self._watches.one_for(self._user(context)):
            while True:
                count = changes.count
                status = self.status(rpc.caller_of(context))
                yield status
                await changes.after(count)
                await asyncio.sleep((WATCH_PAUSE_MS + len(status.cib_xml) // WATCHED_BYTES_A_MS) / 1_000)

    def status(self, caller: rpc.Caller | None = None) -> crm_pb2.ClusterStatus:
        """The cluster as this node sees it, and as far as the caller may see it; None: everything."""
        cluster, replica = self._cluster, self._cluster.replica
        return crm_pb2.ClusterStatus(
            cluster_name=self._name(),
            node=cluster.local.node,
            dc=cluster.dc_name(),
            term=wire.term_to(replica.dc.term),
            view=wire.view_id_to(cluster.local.view),
            quorate=cluster.local.quorate,
            waiting_for_all=cluster.local.waiting,
            basis=replica.dc.authority,
            version=_version(replica.version),
            nodes=self._nodes(),
            transition=self._transition(),
            notices=cluster.notices(),
            cib_digest=replica.digest,
            cib_xml=self._access.spelled(caller),
            age_ms=replica.status_age_ms,
            last_change_by=cluster.notes.last_change_by,
            last_change_s=cluster.notes.last_change_s,
        )

    def _nodes(self) -> list[crm_pb2.ClusterNode]:
        states = self._cluster.notes.states
        return [
            crm_pb2.ClusterNode(
                id=int(record.default_id),
                name=record.name,
                state=states.get(record.name, (NodeState.UNKNOWN, False))[0].value,
                crm=record.crm_instance != 0,
                lrm=record.lrm_instance != 0,
                integrated=self._cluster.standing(record.name) is Standing.INTEGRATED,
                feature_set=FEATURE_SET,
            )
            for record in self._cluster.nodes.records()
        ]

    def _transition(self) -> crm_pb2.TransitionStatus:
        dc = self._cluster.dc
        progress = dc.progress()
        phase = {Phase.INTEGRATING: "integrating", Phase.PLANNING: "planning"}.get(dc.phase, "")
        if progress is None:
            return crm_pb2.TransitionStatus(state=phase or "idle")
        return crm_pb2.TransitionStatus(
            number=dc.run_number,
            state=phase or progress.state,
            actions=progress.actions,
            done=progress.done,
            running=progress.running,
            waits=progress.waits,
        )

    # Writes.

    async def WriteCib(self, request: crm_pb2.WriteCibRequest, context: Context) -> crm_pb2.WriteReply:
        """See crm.proto."""
        if not is_text(request.client + request.request_id):  # both are written into documents
            raise InvalidRequest(what="control characters in the client's name or the request id")
        caller = rpc.caller_of(context)
        condition = self._access.condition(request.expected_digest, caller)
        given = configuration_in(parse(request.configuration_xml, source="the new configuration"))
        replica = self._cluster.replica
        if not condition and tickets_in(replica.configuration):
            condition = replica.digest  # or a ticket could come back that is revoked just now
        with self._writes.one_for(self._user(context)):
            outcome = await replica.write(
                carried(replica.configuration, self._access.meant(given, caller)),
                author=self._user(context),
                client=request.client.removeprefix(f"{self._user(context)}: "),  # what it says of itself, too
                request_id=request.request_id,
                expected_digest=condition,
                force=request.force,
                deadline_ms=request.deadline_ms or WRITE_DEADLINE_MS,
            )
        return _write_reply(outcome, request.request_id)

    async def WriteOutcome(
        self, request: crm_pb2.WriteOutcomeRequest, context: Context
    ) -> crm_pb2.WriteReply:
        """See crm.proto."""
        outcome = await self._cluster.replica.outcome_of(request.request_id)
        return _write_reply(outcome, request.request_id)

    async def ForceQuorum(self, request: crm_pb2.ForceQuorumRequest, context: Context) -> crm_pb2.WriteReply:
        """See crm.proto."""
        outcome = await self._cluster.replica.force_quorum(author=self._user(context))
        return _write_reply(outcome, "")

    async def Voters(self, request: crm_pb2.VotersRequest, context: Context) -> crm_pb2.VotersReply:
        """See crm.proto."""
        return crm_pb2.VotersReply.FromString(await self._at_the_dc("Voters", request, context))

    async def _voters_at_dc(self, _raw: bytes, _user: str) -> bytes:
        return voters_reply(self._cluster.replica).SerializeToString()

    async def ChangeVoters(
        self, request: crm_pb2.ChangeVotersRequest, context: Context
    ) -> crm_pb2.WriteReply:
        """See crm.proto."""
        if not is_text(request.request_id):  # it is written into the log
            raise InvalidRequest(what="control characters in the request id")
        return crm_pb2.WriteReply.FromString(await self._at_the_dc("ChangeVoters", request, context))

    async def _change_voters_at_dc(self, raw: bytes, user: str) -> bytes:
        request = crm_pb2.ChangeVotersRequest.FromString(raw)
        outcome, request_id = await change_voters(self._cluster.replica, request, user)
        return _write_reply(outcome, request_id).SerializeToString()

    async def SetAttribute(
        self, request: crm_pb2.SetAttributeRequest, context: Context
    ) -> crm_pb2.SetAttributeReply:
        """See crm.proto."""
        self._cluster.check_attribute(request.name, request.value)
        return crm_pb2.SetAttributeReply.FromString(await self._at_the_dc("SetAttribute", request, context))

    async def _set_attribute_at_dc(self, raw: bytes, user: str) -> bytes:
        request = crm_pb2.SetAttributeRequest.FromString(raw)
        self._cluster.check_attribute(request.name, request.value)
        self._cluster.set_attribute(request.node, {request.name: request.value}, user)
        return crm_pb2.SetAttributeReply().SerializeToString()

    async def SetTicket(self, request: crm_pb2.SetTicketRequest, context: Context) -> crm_pb2.WriteReply:
        """See crm.proto."""
        if not is_text(request.client + request.request_id):
            raise InvalidRequest(what="control characters in the client's name or the request id")
        return crm_pb2.WriteReply.FromString(await self._at_the_dc("SetTicket", request, context))

    async def _set_ticket_at_dc(self, raw: bytes, user: str) -> bytes:
        request = crm_pb2.SetTicketRequest.FromString(raw)
        outcome = await self._cluster.set_ticket(
            request.ticket,
            request.action,
            user,
            client=request.client.removeprefix(f"{user}: "),
            request_id=request.request_id,
            deadline_ms=WRITE_DEADLINE_MS,
        )
        return _write_reply(outcome, request.request_id).SerializeToString()

    async def Cleanup(self, request: crm_pb2.CleanupRequest, context: Context) -> crm_pb2.CleanupReply:
        """See crm.proto."""
        return crm_pb2.CleanupReply.FromString(await self._at_the_dc("Cleanup", request, context))

    async def _cleanup_at_dc(self, raw: bytes, _user: str) -> bytes:
        request = crm_pb2.CleanupRequest.FromString(raw)
        cleaned = await self._cluster.clean_up(
            request.resource, request.node, request.operation, request.interval_ms
        )
        return crm_pb2.CleanupReply(cleaned=cleaned).SerializeToString()

    async def ConfirmFenced(
        self, request: crm_pb2.ConfirmFencedRequest, context: Context
    ) -> crm_pb2.ConfirmFencedReply:
        """See crm.proto."""
        raw = await self._at_the_dc("ConfirmFenced", request, context)
        return crm_pb2.ConfirmFencedReply.FromString(raw)

    async def _confirm_fenced_at_dc(self, raw: bytes, user: str) -> bytes:
        request = crm_pb2.ConfirmFencedRequest.FromString(raw)
        self._cluster.confirm_fenced(request.node, user, force=request.force)
        return crm_pb2.ConfirmFencedReply().SerializeToString()

    async def ForgiveNode(
        self, request: crm_pb2.ForgiveNodeRequest, context: Context
    ) -> crm_pb2.ForgiveNodeReply:
        """See crm.proto."""
        return crm_pb2.ForgiveNodeReply.FromString(await self._at_the_dc("ForgiveNode", request, context))

    async def _forgive_node_at_dc(self, raw: bytes, user: str) -> bytes:
        request = crm_pb2.ForgiveNodeRequest.FromString(raw)
        await self._cluster.forgive(request.node, user, force=request.force)
        return crm_pb2.ForgiveNodeReply().SerializeToString()

    async def MoveDc(self, request: crm_pb2.MoveDcRequest, context: Context) -> crm_pb2.MoveDcReply:
        """See crm.proto."""
        return crm_pb2.MoveDcReply.FromString(await self._at_the_dc("MoveDc", request, context))

    async def _move_dc_at_dc(self, raw: bytes, user: str) -> bytes:
        await self._cluster.move_dc(crm_pb2.MoveDcRequest.FromString(raw).node, user)
        return crm_pb2.MoveDcReply().SerializeToString()

    async def Fence(self, request: crm_pb2.FenceRequest, context: Context) -> crm_pb2.FenceReply:
        """See crm.proto."""
        return crm_pb2.FenceReply.FromString(await self._at_the_dc("Fence", request, context))

    async def _fence_at_dc(self, raw: bytes, user: str) -> bytes:
        request = crm_pb2.FenceRequest.FromString(raw)
        record = self._cluster.fence(request.node, request.action, user)
        return crm_pb2.FenceReply(id=record.id).SerializeToString()

    async def FencingHistory(
        self, request: crm_pb2.FencingHistoryRequest, context: Context
    ) -> crm_pb2.FencingHistoryReply:
        """See crm.proto."""
        records = self._cluster.fencing.records.history.records(request.node)
        return crm_pb2.FencingHistoryReply(records=[wire.fencing_record_to(record) for record in records])

    async def FencingDevices(
        self, request: crm_pb2.FencingDevicesRequest, context: Context
    ) -> crm_pb2.FencingDevicesReply:
        """See crm.proto."""
        return crm_pb2.FencingDevicesReply.FromString(
            await self._at_the_dc("FencingDevices", request, context)
        )

    async def _fencing_devices_at_dc(self, raw: bytes, _user: str) -> bytes:
        wanted = await self._cluster.fencing.usable(crm_pb2.FencingDevicesRequest.FromString(raw).node)
        levels = [
            crm_pb2.FencingLevel(
                devices=[device.id for device in level],
                executors=wanted.by_device.get(level[0].id, wanted.executors),
            )
            for level in wanted.levels
        ]
        return crm_pb2.FencingDevicesReply(levels=levels).SerializeToString()

    async def StopNode(self, request: crm_pb2.StopNodeRequest, context: Context) -> crm_pb2.StopNodeReply:
        """See crm.proto."""
        await self._cluster.stop_node()
        return crm_pb2.StopNodeReply()

    # Transitions, links, agents.

    async def ListTransitions(
        self, request: crm_pb2.ListTransitionsRequest, context: Context
    ) -> crm_pb2.ListTransitionsReply:
        """See crm.proto."""
        raw = await self._at_the_dc("ListTransitions", request, context)
        return crm_pb2.ListTransitionsReply.FromString(raw)

    async def _list_at_dc(self, _raw: bytes, _user: str) -> bytes:
        found = await asyncio.to_thread(summaries, self._folder)
        reply = crm_pb2.ListTransitionsReply(transitions=[_summary(item) for item in found])
        return reply.SerializeToString()

    async def GetTransition(
        self, request: crm_pb2.GetTransitionRequest, context: Context
    ) -> crm_pb2.GetTransitionReply:
        """See crm.proto."""
        raw = await self._at_the_dc("GetTransition", request, context)
        return crm_pb2.GetTransitionReply.FromString(raw)

    async def _get_at_dc(self, raw: bytes, _user: str) -> bytes:
        number = crm_pb2.GetTransitionRequest.FromString(raw).number
        found = await asyncio.to_thread(summaries, self._folder)
        wanted = [item for item in found if number in (0, int(item["number"]))]
        if not wanted:
            raise NotFound(kind="transition", name=str(number or "newest"))
        try:
            cib, graph = await asyncio.to_thread(read_kept, self._folder, int(wanted[-1]["number"]))
        except OSError as error:
            remedy = f"the DC cannot read what it has kept: {error}"
            raise NotFound(kind="transition", name=str(number or "newest"), remedy=remedy) from None
        reply = crm_pb2.GetTransitionReply(summary=_summary(wanted[-1]), input_xml=cib, graph_xml=graph)
        return reply.SerializeToString()

    async def ListRevisions(
        self, request: crm_pb2.ListRevisionsRequest, context: Context
    ) -> crm_pb2.ListRevisionsReply:
        """See crm.proto."""
        raw = await self._at_the_dc("ListRevisions", request, context)
        return crm_pb2.ListRevisionsReply.FromString(raw)

    async def _list_revisions_at_dc(self, _raw: bytes, _user: str) -> bytes:
        found = await asyncio.to_thread(revisions.heads, self._revisions)
        return crm_pb2.ListRevisionsReply(revisions=map(_revision, found)).SerializeToString()

    async def GetRevision(
        self, request: crm_pb2.GetRevisionRequest, context: Context
    ) -> crm_pb2.GetRevisionReply:
        """See crm.proto."""
        raw = await self._at_the_dc("GetRevision", request, context)
        return crm_pb2.GetRevisionReply.FromString(raw)

    async def _get_revision_at_dc(self, raw: bytes, _user: str) -> bytes:
        wanted = crm_pb2.GetRevisionRequest.FromString(raw)
        name = f"{wanted.admin_epoch}.{wanted.epoch}"
        try:
            head, xml = await asyncio.to_thread(
                revisions.read, self._revisions, wanted.admin_epoch, wanted.epoch
            )
        except FileNotFoundError:
            remedy = "`hacli history config` lists those that the DC keeps"
            raise NotFound(kind="revision", name=name, remedy=remedy) from None
        except (OSError, EOFError, ValueError, TypeError) as error:
            remedy = f"the DC cannot read what it has kept: {error}"
            raise NotFound(kind="revision", name=name, remedy=remedy) from None
        return crm_pb2.GetRevisionReply(summary=_revision(head), configuration_xml=xml).SerializeToString()

    async def Links(self, request: crm_pb2.LinksRequest, context: Context) -> crm_pb2.LinksReply:
        """See crm.proto."""
        status = await self._cluster.messaging.status()
        return crm_pb2.LinksReply(messaging_status=status.SerializeToString())

    async def AgentMetadata(
        self, request: crm_pb2.AgentMetadataRequest, context: Context
    ) -> crm_pb2.AgentMetadataReply:
        """See crm.proto."""
        return crm_pb2.AgentMetadataReply(xml=await self._lrm.metadata(request.agent))

    async def AgentList(self, request: crm_pb2.AgentListRequest, context: Context) -> crm_pb2.AgentListReply:
        """See crm.proto."""
        return crm_pb2.AgentListReply(agents=await self._lrm.list_agents(request.standard, request.provider))


def configuration_in(document: Element) -> Element:
    """The <configuration> of what a client sent. Raises InvalidRequest."""
    if document.tag == "configuration":
        return document
    inner = document.child("configuration") if document.tag == "cib" else None
    if inner is None:
        raise InvalidRequest(
            what=f"<{document.tag}> is neither a <configuration> nor a <cib> with one",
            remedy="send the whole configuration",
        )
    return inner


def _version(version: CibVersion) -> crm_pb2.CibVersion:
    return crm_pb2.CibVersion(
        admin_epoch=version.admin_epoch, epoch=version.epoch, num_updates=version.num_updates
    )


def _write_reply(outcome: WriteOutcome, request_id: str) -> crm_pb2.WriteReply:
    return crm_pb2.WriteReply(
        outcome=_OUTCOMES[outcome.outcome],
        reason=outcome.reason,
        version=_version(outcome.version),
        digest=outcome.digest,
        request_id=request_id,
    )


def _summary(item: dict[str, Any]) -> crm_pb2.TransitionSummary:
    counter, node_id = item["term"]
    return crm_pb2.TransitionSummary(
        number=int(item["number"]),
        started_s=int(item["started_s"]),
        cause=str(item["cause"]),
        actions=int(item["actions"]),
        outcome=str(item["outcome"]),
        term=common_pb2.Term(counter=int(counter), node_id=int(node_id)),
    )


def _revision(head: revisions.Head) -> crm_pb2.RevisionSummary:
    return crm_pb2.RevisionSummary(
        admin_epoch=head.admin_epoch, epoch=head.epoch, changed_s=head.changed_s, author=head.author
    )
