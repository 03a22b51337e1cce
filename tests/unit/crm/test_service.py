"""The client API and CrmNode over real sockets."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from crm.api import spelling
from crm.api.access import AccessControl
from crm.api.shares import Shares
from crm.cib import objects
from crm.cib.codec import parse, render
from crm.cib.model import Element
from crm.cib.selection import select
from crm.cib.versions import NO_VERSION
from crm.confirmation import Pending, pending_in, with_pending
from crm.peers.node import CrmPeer
from crm.peers.service import CrmNodeService, LocalPeer
from crm.replica.events import DcState, Outcome, WriteOutcome
from crm.scheduling_files import keep
from crm.service import NAME, CrmService, configuration_in
from hacluster import rpc
from hacluster.errors import ErrorCode, HaError, InvalidRequest, NoDc, NotFound
from hacluster.v1 import crm_pb2, crm_pb2_grpc, node_pb2, node_pb2_grpc
from hacluster.vocabulary.ids import Term
from tests.builders import a_result, an_operation
from tests.unit.crm.fakes import TERM, VIEW, World
from tests.unit.crm.test_cluster import CONFIGURATION, a_cluster

OPERATOR, NOBODY = 54_321, 54_322
GROUPS = {OPERATOR: frozenset({"operators"})}


class FakeLrmClient:
    async def metadata(self, agent: str) -> str:
        return f"<resource-agent name='{agent}'/>"

    async def list_agents(self, standard: str, provider: str) -> tuple[str, ...]:
        return (f"{standard}:{provider}:Dummy",)


@dataclass(frozen=True, kw_only=True)
class Served:
    """A cluster's DC with its public service, and who calls that."""

    world: World
    service: CrmService
    channel: grpc.aio.Channel
    stub: Any


@asynccontextmanager
async def a_service(tmp_path: Path) -> AsyncIterator[tuple[World, Any]]:
    async with served(tmp_path) as found:
        yield found.world, found.stub


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with a_cluster(tmp_path) as (world, cluster, _):
        acls = AccessControl(cluster, lambda uid: GROUPS.get(uid, frozenset()))

        def access(method: str, caller: rpc.Caller) -> None:
            acls.check(method.rpartition("/")[2], caller)

        service = CrmService(
            cluster,
            acls,
            cluster_name=lambda: "test",
            lrm=FakeLrmClient(),  # type: ignore[arg-type]
            transitions=tmp_path / "transitions",
            revisions=tmp_path / "revisions",
        )
        here = LocalPeer(cluster, "b" * 64, world.spawn)
        server = rpc.Server(names=[NAME], access=access)
        server.add(crm_pb2_grpc.add_CrmServicer_to_server, service)
        server.add(node_pb2_grpc.add_CrmNodeServicer_to_server, CrmNodeService(cluster, here))
        server.listen_unix(tmp_path / "crm.sock")
        await server.start()
        async with rpc.unix_channel(tmp_path / "crm.sock") as channel:
            stub = crm_pb2_grpc.CrmStub(channel)
            yield Served(world=world, service=service, channel=channel, stub=stub)
        await server.stop(0)


async def fails(call: Any) -> HaError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return rpc.error_of(caught.value, who="ha-crm")


async def test_status_and_the_cib(tmp_path: Path) -> None:
    async with a_service(tmp_path) as (world, stub):
        world.reign()
        world.hear("node1", a_result(an_operation()))
        await world.until(lambda: all(s.value == "integrated" for s in world.dc.standings.values()))
        status = await stub.Status(crm_pb2.ClusterStatusRequest())
        assert (status.cluster_name, status.node, status.dc, status.basis) == (
            "test",
            "node1",
            "node1",
            "majority",
        )
        assert [(n.name, n.crm, n.lrm, n.integrated) for n in status.nodes] == [
            ("node1", True, True, True),
            ("node2", True, True, True),
        ]
        assert parse(status.cib_xml).by_id("web_last_0") is not None
        whole = await stub.QueryCib(crm_pb2.QueryCibRequest())
        assert whole.from_dc
        assert whole.digest == "d"
        part = await stub.QueryCib(crm_pb2.QueryCibRequest(xpath="//primitive[@id='web']"))
        assert part.xml.strip() == b'<primitive id="web"/>'
        error = await fails(stub.QueryCib(crm_pb2.QueryCibRequest(xpath="//nonsense")))
        assert error.code is ErrorCode.NOT_FOUND


async def test_reads_say_how_certain_they_are(tmp_path: Path) -> None:
    read = crm_pb2.QueryCibRequest
    async with a_service(tmp_path) as (world, stub):
        world.reign()
        await world.until(lambda: bool(world.dc.standings))
        assert (await stub.QueryCib(read(read=read.READ_QUORUM))).certain
        assert (await stub.QueryCib(read())).certain
        assert world.replica.vouched == [True, False]
        assert not (await stub.QueryCib(read(local=True))).certain
        assert world.replica.vouched == [True, False]
        world.replica.vouching = WriteOutcome(outcome=Outcome.OK, reason="alone")
        reply = await stub.QueryCib(read(read=read.READ_DC))
        assert (reply.certain, reply.reason) == (False, "alone")
        world.replica.vouching = WriteOutcome(outcome=Outcome.FAILED, reason="nobody to ask")
        assert (await fails(stub.QueryCib(read(read=read.READ_QUORUM)))).code is ErrorCode.NO_QUORUM
        assert (await stub.QueryCib(read())).reason == "nobody to ask"
        world.replica.vouching = WriteOutcome(outcome=Outcome.UNKNOWN, reason="late")
        assert (await fails(stub.QueryCib(read(read=read.READ_DC)))).code is ErrorCode.UNAVAILABLE


async def test_watching(tmp_path: Path) -> None:
    async with served(tmp_path) as found:
        world, stub = found.world, found.stub
        stream = stub.Watch(crm_pb2.WatchClusterRequest())
        first = await stream.read()
        assert not first.notices
        world.local.quorate = False
        found.service.status()
        world.dc.changed()
        found.service._cluster.changes.touch()
        async with asyncio.timeout(5):
            second = await stream.read()
        assert second.notices
        stream.cancel()


async def test_one_user_watches_so_often_and_no_oftener(tmp_path: Path) -> None:
    async with served(tmp_path) as found:
        world, stub = found.world, found.stub
        api = found.service
        api._watches = Shares("watches", 2, 3)
        streams = [stub.Watch(crm_pb2.WatchClusterRequest()) for _ in range(2)]
        for stream in streams:
            assert (await stream.read()).node == "node1"
        error = await fails(anext(aiter(stub.Watch(crm_pb2.WatchClusterRequest()))))
        assert error.code is ErrorCode.RESOURCE_EXHAUSTED
        assert "local has 2 watches open already" in str(error)
        streams[0].cancel()
        await world.until(lambda: api._watches._held.total() == 1)
        assert (await stub.Watch(crm_pb2.WatchClusterRequest()).read()).node == "node1"


async def test_one_user_has_so_many_writes_under_way(tmp_path: Path) -> None:
    async with served(tmp_path) as found:
        stub, api = found.stub, found.service
        api._writes = Shares("writes", 0, 9)
        request = crm_pb2.WriteCibRequest(configuration_xml=render(CONFIGURATION).encode())
        error = await fails(stub.WriteCib(request))
        assert error.code is ErrorCode.RESOURCE_EXHAUSTED
        api._writes = Shares("writes", 1, 9)
        assert (await stub.WriteCib(request)).outcome == crm_pb2.WriteReply.OUTCOME_OK
        assert (await stub.WriteCib(request)).outcome == crm_pb2.WriteReply.OUTCOME_OK


async def test_who_watches_is_told_what_was_spelled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path) as found:
        world, stub = found.world, found.stub
        spelled: list[Element] = []

        def spell(cib: Element) -> str:
            spelled.append(cib)
            return render(cib)

        monkeypatch.setattr(spelling, "render", spell)
        streams = [stub.Watch(crm_pb2.WatchClusterRequest()) for _ in range(8)]
        first = await asyncio.gather(*(stream.read() for stream in streams))
        world.local.quorate = False
        found.service._cluster.changes.touch()
        async with asyncio.timeout(5):
            told = await asyncio.gather(*(stream.read() for stream in streams))
        assert {(status.quorate, parse(status.cib_xml).get("have-quorum")) for status in told} == {
            (False, "0")
        }
        assert len({status.cib_xml for status in (*first, *told)}) == 2
        assert len(spelled) == 2
        for stream in streams:
            stream.cancel()


async def test_writing(tmp_path: Path) -> None:
    async with a_service(tmp_path) as (world, stub):
        request = crm_pb2.WriteCibRequest(
            configuration_xml=b"<cib><configuration><crm_config/></configuration></cib>"
        )
        reply = await stub.WriteCib(request)
        assert reply.outcome == crm_pb2.WriteReply.OUTCOME_OK
        assert [child.tag for child in world.replica.configuration.children] == ["crm_config"]
        reply = await stub.WriteOutcome(crm_pb2.WriteOutcomeRequest(request_id="x"))
        assert reply.outcome == crm_pb2.WriteReply.OUTCOME_UNKNOWN
        error = await fails(stub.WriteCib(crm_pb2.WriteCibRequest(configuration_xml=b"<resources/>")))
        assert error.code is ErrorCode.INVALID_REQUEST
        named = crm_pb2.WriteCibRequest(configuration_xml=b"<configuration/>", client="\x1b]0;x\x07")
        assert "control characters" in str(await fails(stub.WriteCib(named)))
        error = await fails(stub.WriteCib(crm_pb2.WriteCibRequest(configuration_xml=b"<cib>")))
        assert error.code is ErrorCode.INVALID_DOCUMENT


async def test_attributes_and_clean_up(tmp_path: Path) -> None:
    async with a_service(tmp_path) as (world, stub):
        world.reign()
        await stub.SetAttribute(crm_pb2.SetAttributeRequest(node="node2", name="x", value="1"))
        await world.until(lambda: world.peers["node2"].values == {"x": "1"})
        error = await fails(stub.SetAttribute(crm_pb2.SetAttributeRequest(node="node9", name="x")))
        assert error.code is ErrorCode.NOT_FOUND
        world.hear("node1", a_result(an_operation(), rc=1))
        reply = await stub.Cleanup(crm_pb2.CleanupRequest(resource="web"))
        assert list(reply.cleaned) == ["web@node1"]


async def test_transitions(tmp_path: Path) -> None:
    async with a_service(tmp_path) as (world, stub):
        world.reign()
        error = await fails(stub.GetTransition(crm_pb2.GetTransitionRequest()))
        assert error.code is ErrorCode.NOT_FOUND
        folder = str(tmp_path / "transitions")
        header = {"folder": folder, "number": 5, "now_s": 9, "cause": "c", "term": [4, 1]}
        keep(header, b"<cib/>", {"error": "", "actions": 3}, b"<transition_graph/>")
        listed = await stub.ListTransitions(crm_pb2.ListTransitionsRequest())
        assert [(t.number, t.actions, t.outcome, t.term.counter) for t in listed.transitions] == [
            (5, 3, "running", 4)
        ]
        newest = await stub.GetTransition(crm_pb2.GetTransitionRequest())
        assert (newest.input_xml, newest.graph_xml) == (b"<cib/>", b"<transition_graph/>")


async def test_a_revision_that_is_not_kept_is_named_without_its_file(tmp_path: Path) -> None:
    async with a_service(tmp_path) as (world, stub):
        world.reign()
        wanted = crm_pb2.GetRevisionRequest(admin_epoch=0, epoch=99)
        error = await fails(stub.GetRevision(wanted))
        assert error.code is ErrorCode.NOT_FOUND
        assert "there is no revision '0.99' (" in str(error)
        assert "Errno" not in str(error)
        (tmp_path / "revisions").mkdir()
        (tmp_path / "revisions" / "0.99.gz").write_bytes(b"\x1f\x8b torn")
        error = await fails(stub.GetRevision(wanted))
        assert "'0.99' (the DC cannot read what it has kept: " in str(error)


async def test_agents(tmp_path: Path) -> None:
    async with a_service(tmp_path) as (_, stub):
        reply = await stub.AgentMetadata(crm_pb2.AgentMetadataRequest(agent="ocf:x:Dummy"))
        assert "ocf:x:Dummy" in reply.xml
        found = await stub.AgentList(crm_pb2.AgentListRequest(standard="ocf", provider="x"))
        assert list(found.agents) == ["ocf:x:Dummy"]


async def test_what_is_the_dc_s_is_handed_to_it(tmp_path: Path) -> None:
    async with served(tmp_path) as found:
        world, stub = found.world, found.stub
        forwarded: list[str] = []

        async def forward(method: str, request: bytes, user: str, client: str = "") -> bytes:
            forwarded.append(method)
            if method == "Status":
                raise NoDc
            return await found.service.forwarded(method, request, user, client)

        world.replica.forward = forward  # type: ignore[method-assign]
        world.replica.dc = DcState(term=TERM, dc_node_id=2)
        status = await stub.Status(crm_pb2.ClusterStatusRequest())
        assert (status.node, status.dc) == ("node1", "node2"), "our own view where the DC does not answer"
        error = await fails(stub.Cleanup(crm_pb2.CleanupRequest()))
        assert error.code is ErrorCode.NO_DC
        assert forwarded == ["Status", "Cleanup"]
        with pytest.raises(InvalidRequest):
            await found.service.forwarded("WriteCib", b"", "u", "c")


async def test_without_a_dc_status_is_our_own_view(tmp_path: Path) -> None:
    """Nobody is asked, and it is not waited for as long as a write would."""
    async with served(tmp_path) as found:
        found.world.replica.dc = DcState(term=TERM, dc_node_id=None)
        status = await found.stub.Status(crm_pb2.ClusterStatusRequest())
        assert (status.node, status.dc) == ("node1", "")
        mine = await found.service.status_for_agents()
        assert (mine.node, mine.dc, bool(mine.cib_xml)) == ("node1", "", True)


async def test_what_the_dc_asks_of_a_node(tmp_path: Path) -> None:
    async with served(tmp_path) as found:
        peer = CrmPeer("node1", found.channel)
        reply = await peer.change_attributes(TERM, {"x": "1"})
        assert (reply.node, dict(reply.values)) == ("node1", {"x": "1"})
        assert dict((await peer.integrate(TERM, "node1", VIEW)).values) == {"x": "1"}
        with pytest.raises(HaError) as caught:
            await peer.integrate(Term(1, 1), "node2", VIEW)
        assert caught.value.code is ErrorCode.STALE_TERM
        with pytest.raises(HaError) as caught:
            await peer.push_attributes(node_pb2.NodeAttributes(node="node2"))
        assert caught.value.code is ErrorCode.PERMISSION_DENIED, "a node pushes its own only"


def test_parts_of_the_cib() -> None:
    cib = parse("<cib><a id='1'/><a id='2'/></cib>")
    assert parse(select(cib, "")) == cib
    assert parse(select(cib, "//a")).tag == "xpath-query"
    with pytest.raises(InvalidRequest):
        select(cib, "//a[")
    with pytest.raises(NotFound):
        select(cib, "count(//a)")
    assert configuration_in(CONFIGURATION) is CONFIGURATION


LIMITED = """<configuration><crm_config><cluster_property_set id="o"><nvpair id="o-a" name="enable-acl"
value="true"/><nvpair id="o-m" name="maintenance-mode" value="false"/>
<nvpair id="o-s" name="secret" value="xyz"/>
</cluster_property_set></crm_config><nodes/><resources/><constraints/><acls><acl_group id="operators">
<role id="r"/></acl_group><acl_role id="r"><acl_permission id="p1" kind="read" xpath="//crm_config"/>
<acl_permission id="p2" kind="write" xpath="//nvpair[@name='maintenance-mode']"/>
<acl_permission id="p3" kind="deny" xpath="//nvpair[@name='secret']"/></acl_role></acls></configuration>"""


@asynccontextmanager
async def as_user(server: Path, uid: int) -> AsyncIterator[crm_pb2_grpc.CrmStub]:
    """The API as a user of this node has it: by a connection whose other end names him."""
    public, numbers = server.with_name(f"public-{uid}"), itertools.count(1)
    relays: set[asyncio.Task[Any]] = set()

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            target.write(data)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        relays.add(task)
        inside = socket.socket(socket.AF_UNIX)
        inside.bind(str(rpc.path_of_user(server.parent, uid, next(numbers))))
        inside.connect(str(server))
        answers, asking = await asyncio.open_unix_connection(sock=inside)
        try:
            await asyncio.gather(copy(reader, asking), copy(answers, writer))
        finally:
            asking.close()
            writer.close()

    async with await asyncio.start_unix_server(relay, public):
        async with rpc.unix_channel(public) as channel:
            yield crm_pb2_grpc.CrmStub(channel)
        for task in relays:  # a channel lives on for as long as anybody remembers an error of its
            task.cancel()
        await asyncio.gather(*relays, return_exceptions=True)


async def test_who_is_limited_sees_and_changes_what_his_roles_say(tmp_path: Path) -> None:
    async with a_service(tmp_path) as (world, _), as_user(tmp_path / "crm.sock", OPERATOR) as stub:
        world.replica.configuration = parse(LIMITED)
        world.reign()
        seen = await stub.QueryCib(crm_pb2.QueryCibRequest(local=True))
        assert b"maintenance-mode" in seen.xml
        assert b"xyz" not in seen.xml
        assert b"acl_role" not in seen.xml
        assert b"xyz" not in (await stub.Status(crm_pb2.ClusterStatusRequest())).cib_xml
        assert b"xyz" not in (await anext(aiter(stub.Watch(crm_pb2.WatchClusterRequest())))).cib_xml
        hidden = crm_pb2.QueryCibRequest(xpath="//nvpair[@name='secret']")
        assert (await fails(stub.QueryCib(hidden))).code is ErrorCode.NOT_FOUND
        before = render(world.replica.configuration)
        false, true = (f'name="maintenance-mode" value="{value}"' for value in ("false", "true"))
        on = seen.xml.replace(false.encode(), true.encode())
        write = crm_pb2.WriteCibRequest(configuration_xml=on, expected_digest=seen.digest)
        assert (await stub.WriteCib(write)).outcome == crm_pb2.WriteReply.OUTCOME_OK
        wanted = parse(before.replace(false, true))
        assert world.replica.configuration == wanted, "what he cannot see is as it was"
        off = on.replace(b'"enable-acl" value="true"', b'"enable-acl" value="false"')
        error = await fails(stub.WriteCib(crm_pb2.WriteCibRequest(configuration_xml=off)))
        assert error.code is ErrorCode.PERMISSION_DENIED
        assert "nvpair[@id='o-a'] may not be changed" in str(error)
        stale = crm_pb2.WriteCibRequest(configuration_xml=on, expected_digest="another")
        assert (await fails(stub.WriteCib(stale))).code is ErrorCode.CONFLICT
        for call in (
            stub.Cleanup(crm_pb2.CleanupRequest()),
            stub.ForceQuorum(crm_pb2.ForceQuorumRequest()),
            stub.SetAttribute(crm_pb2.SetAttributeRequest(node="node1", name="a", value="1")),
            stub.ListTransitions(crm_pb2.ListTransitionsRequest()),
        ):
            assert (await fails(call)).code is ErrorCode.PERMISSION_DENIED


async def test_without_a_role_nothing_and_without_acls_everything(tmp_path: Path) -> None:
    async with a_service(tmp_path) as (world, root), as_user(tmp_path / "crm.sock", NOBODY) as stub:
        world.replica.configuration = parse(LIMITED)
        world.reign()
        error = await fails(stub.QueryCib(crm_pb2.QueryCibRequest()))
        assert error.code is ErrorCode.PERMISSION_DENIED
        assert b"xyz" in (await root.QueryCib(crm_pb2.QueryCibRequest())).xml
        world.replica.configuration = parse(
            LIMITED.replace('"enable-acl"\nvalue="true"', '"enable-acl" value="no"')
        )
        assert b"xyz" in (await stub.QueryCib(crm_pb2.QueryCibRequest())).xml
        await stub.SetAttribute(crm_pb2.SetAttributeRequest(node="node1", name="a", value="1"))
        world.replica.version = NO_VERSION
        assert (await fails(stub.QueryCib(crm_pb2.QueryCibRequest()))).code is ErrorCode.UNAVAILABLE


async def test_the_author_of_a_change_is_who_the_kernel_says(tmp_path: Path) -> None:
    async with a_service(tmp_path) as (world, _), as_user(tmp_path / "crm.sock", NOBODY) as stub:
        world.reign()
        request = crm_pb2.WriteCibRequest(
            configuration_xml=render(world.replica.configuration).encode(),
            client=f"{NOBODY}: hacli configure",
        )
        await stub.WriteCib(request)
        assert world.replica.authors[-1] == (str(NOBODY), "hacli configure")


async def test_the_way_back_of_a_commit_is_the_servers_own(tmp_path: Path) -> None:
    """Who may write all of crm_config neither reads it nor has the DC undo more than he changed."""
    text = LIMITED.replace("//nvpair[@name='maintenance-mode']", "//crm_config")
    plain = parse(text)
    without_acls = plain.mapped(lambda one: None if one.tag == "acls" else one)
    forged = objects.encode(objects.changes(plain, without_acls))
    pending = Pending(id="1", until_s=9, within_ms=9, by="x", undo=forged)
    async with a_service(tmp_path) as (world, _), as_user(tmp_path / "crm.sock", OPERATOR) as stub:
        world.replica.configuration = with_pending(plain, pending)
        world.reign()
        seen = await stub.QueryCib(crm_pb2.QueryCibRequest(local=True))
        assert b"confirm-id" in seen.xml
        assert b"confirm-undo" not in seen.xml
        assert b"confirm-undo" not in (await stub.Status(crm_pb2.ClusterStatusRequest())).cib_xml
        world.replica.configuration = plain
        seen = await stub.QueryCib(crm_pb2.QueryCibRequest(local=True))
        shown = configuration_in(parse(seen.xml.decode()))
        evil = render(with_pending(shown, pending)).encode()
        await stub.WriteCib(crm_pb2.WriteCibRequest(configuration_xml=evil))
        stands = pending_in(world.replica.configuration)
        assert stands is not None
        assert objects.decode(stands.undo) == ()


async def test_tickets(tmp_path: Path) -> None:
    async with a_service(tmp_path) as (world, stub):

        async def change(action: str, ticket: str = "T") -> Any:
            request = crm_pb2.SetTicketRequest(ticket=ticket, action=action, request_id="r")
            return await stub.SetTicket(request)

        def state() -> tuple[str, str, str]:
            one = world.dc.status().by_id("T", "ticket_state")
            assert one is not None
            return one.get("granted"), one.get("standby"), one.get("last-granted")

        world.reign()
        reply = await change("grant")
        assert reply.outcome == crm_pb2.WriteReply.OUTCOME_OK
        assert state()[0] == "true"
        planned = world.dc.scheduler_input().by_id("T", "ticket_state")
        assert planned is not None
        assert planned.get("granted") == "true"
        # Whoever writes a configuration does not change what is granted, whatever it says.
        await stub.WriteCib(crm_pb2.WriteCibRequest(configuration_xml=b"<configuration/>"))
        assert state()[0] == "true"
        old = render(world.replica.configuration).encode()
        assert b"hacluster-tickets" in old
        await change("revoke")
        await stub.WriteCib(crm_pb2.WriteCibRequest(configuration_xml=old))
        assert state()[0] == "false"
        await change("standby")
        assert state()[:2] == ("false", "true")
        await change("grant")
        assert state()[:2] == ("true", "true")
        error = await fails(change("delete"))
        assert "revoke it first" in str(error)
        error = await fails(change("sell"))
        assert error.code is ErrorCode.INVALID_REQUEST
        error = await fails(change("delete", "none"))
        assert error.code is ErrorCode.NOT_FOUND
        # The next DC knows what this one said, and a cluster that has been stopped knows nothing.
        world.dc.witness.adopt(world.dc.status())
        assert state()[0] == "true"
        world.dc.witness.adopt(parse(b"<status/>"))
        assert state()[0] == "false"
