"""The client against a server of our own on a unix socket."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cli.client import Client
from cli.cluster_source import ClusterSource
from cli.context import EXIT_CONFLICT, EXIT_UNSAFE, Context, Options
from cli.grammar.document import configuration_of
from cli.waiting import wait_until_idle
from cli.workspace import ATTEMPTS_MAX
from crm.cib import codec
from crm.cib.model import Element
from crm.confirmation import pending_in, rolled_back
from hacluster.errors import Conflict, HaError, InvalidRequest, NoDc, NoQuorum, PermissionDenied, Unreachable
from hacluster.paths import Paths
from hacluster.rpc import Server
from hacluster.v1 import crm_pb2, crm_pb2_grpc, membership_pb2
from tests.unit.cli.runner import hacli

CIB = """<cib epoch="4"><configuration><crm_config/><nodes><node id="1" uname="n1"/></nodes>
<resources><primitive id="d" class="ocf" provider="hacluster" type="Dummy"/></resources><constraints/>
</configuration><status/></cib>"""


class FakeCrm(crm_pb2_grpc.CrmServicer):
    """Holds one CIB; `script` says what the next writes answer."""

    def __init__(self) -> None:
        self.cib = codec.parse(CIB)
        self.script: list[str] = []
        self.writes: list[crm_pb2.WriteCibRequest] = []
        self.asked = 0
        self.states: list[str] = []
        self.member = self.left = False
        self.pings: list[membership_pb2.PingStatus] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.past: list[tuple[str, bytes]] = []  # author and configuration of each revision, from 0.1 on

    @property
    def digest(self) -> str:
        configuration = self.cib.child("configuration")
        assert configuration is not None
        return codec.digest(configuration)

    async def QueryCib(self, request, context):  # type: ignore[no-untyped-def]
        return crm_pb2.QueryCibReply(xml=codec.render(self.cib).encode(), digest=self.digest, from_dc=True)

    def _store(self, request: crm_pb2.WriteCibRequest) -> None:
        new = codec.parse(request.configuration_xml)
        self.cib = self.cib.mapped(lambda part: new if part.tag == "configuration" else part)
        self.keep(request.client)

    def keep(self, client: str) -> None:
        self.past.append((f"root@n1/{client}", codec.render(configuration_of(self.cib)).encode()))

    async def ListRevisions(self, request, context):  # type: ignore[no-untyped-def]
        revisions = [
            crm_pb2.RevisionSummary(epoch=number, author=author)
            for number, (author, _) in enumerate(self.past, 1)
        ]
        return crm_pb2.ListRevisionsReply(revisions=revisions)

    async def GetRevision(self, request, context):  # type: ignore[no-untyped-def]
        return crm_pb2.GetRevisionReply(configuration_xml=self.past[request.epoch - 1][1])

    async def WriteCib(self, request, context):  # type: ignore[no-untyped-def]
        self.writes.append(request)
        what = self.script.pop(0) if self.script else "ok"
        reply = crm_pb2.WriteReply(request_id=request.request_id)
        match what:
            case "conflict":
                raise Conflict(what="the digest differs")
            case "theirs":
                self.cib = retyped(self.cib)
                raise Conflict(what="the digest differs")
            case "unknown":
                self._store(request)
                reply.outcome = crm_pb2.WriteReply.OUTCOME_UNKNOWN
            case "failed":
                reply.outcome, reply.reason = crm_pb2.WriteReply.OUTCOME_FAILED, "schema: no"
            case "quorum":
                reply.outcome, reply.reason = crm_pb2.WriteReply.OUTCOME_FAILED, "no quorum"
            case _:
                self._store(request)
                reply.outcome = crm_pb2.WriteReply.OUTCOME_OK
        return reply

    async def WriteOutcome(self, request, context):  # type: ignore[no-untyped-def]
        self.asked += 1
        assert request.request_id == self.writes[-1].request_id
        outcome = crm_pb2.WriteReply.OUTCOME_OK if self.asked > 1 else crm_pb2.WriteReply.OUTCOME_UNKNOWN
        return crm_pb2.WriteReply(outcome=outcome)

    def _status(self) -> crm_pb2.ClusterStatus:
        status = crm_pb2.ClusterStatus(
            node="n1", dc="n1", quorate=True, cib_xml=codec.render(self.cib).encode()
        )
        if self.member:
            status.nodes.add(name="n1", state="member", lrm=True)
        if self.left:
            status.dc, status.quorate = "", False
            status.nodes.add(name="n1", state="left")
            status.nodes.add(name="n2", state="joining")
        status.transition.state = self.states.pop(0) if self.states else "idle"
        if status.transition.state == "waiting":
            status.transition.waits.append("fencing of n2")
        status.notices.append("a write of n2 was lost")
        return status

    async def Status(self, request, context):  # type: ignore[no-untyped-def]
        return self._status()

    async def Watch(self, request, context) -> AsyncIterator[crm_pb2.ClusterStatus]:  # type: ignore[no-untyped-def]
        yield self._status()
        yield self._status()

    async def SetAttribute(self, request, context):  # type: ignore[no-untyped-def]
        if self.script and self.script.pop(0) == "election":
            raise NoDc
        self.attributes.append((request.node, request.name, request.value))
        return crm_pb2.SetAttributeReply()

    async def ForceQuorum(self, request, context):  # type: ignore[no-untyped-def]
        if not self.script:
            return crm_pb2.WriteReply(outcome=crm_pb2.WriteReply.OUTCOME_OK)
        return crm_pb2.WriteReply(outcome=crm_pb2.WriteReply.OUTCOME_FAILED, reason=self.script.pop())

    async def Links(self, request, context):  # type: ignore[no-untyped-def]
        status = membership_pb2.MessagingStatus(node="n1", pings=self.pings)
        return crm_pb2.LinksReply(messaging_status=status.SerializeToString())

    async def Cleanup(self, request, context):  # type: ignore[no-untyped-def]
        return crm_pb2.CleanupReply(cleaned=[f"{request.resource}@{request.node or 'n1'}"])


@pytest.fixture
def crm() -> Iterator[tuple[FakeCrm, Paths]]:
    """A server in a thread with a loop of its own; sockets want short paths."""
    fake = FakeCrm()  # type: ignore[abstract]
    with tempfile.TemporaryDirectory(prefix="hc") as folder:
        paths = Paths(Path(folder))
        ready, stop = threading.Event(), asyncio.Event()
        loop = asyncio.new_event_loop()

        async def serve() -> None:
            server = Server(names=("hacluster.v1.Crm",))
            server.add(crm_pb2_grpc.add_CrmServicer_to_server, fake)
            server.listen_unix(paths.crm_socket)
            await server.start()
            ready.set()
            await stop.wait()
            await server.stop(0)

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
        thread.start()
        assert ready.wait(10)
        yield fake, paths
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def retyped(cib: Element) -> Element:
    return codec.parse(codec.render(cib).replace('type="Dummy"', 'type="Other"'))


def renamed(cib: Element) -> Element:
    return codec.parse(codec.render(cib).replace('id="d"', 'id="e"'))


def test_reads_and_writes_with_the_digest_it_read(crm: tuple[FakeCrm, Paths]) -> None:
    fake, paths = crm
    client = Client(paths)
    source = ClusterSource(client)
    before = source.read()
    assert before.digest == fake.digest
    after = source.write(renamed(before.cib), before.digest, "a test")
    assert after.cib.by_id("e") is not None
    assert fake.writes[0].expected_digest == before.digest
    assert fake.writes[0].client == "a test"
    client.close()


def test_an_unknown_outcome_is_asked_for_until_it_is_known(crm: tuple[FakeCrm, Paths]) -> None:
    fake, paths = crm
    fake.script = ["unknown"]
    client = Client(paths)
    source = ClusterSource(client)
    before = source.read()
    source.write(renamed(before.cib), before.digest, "a test")
    assert fake.asked == 2
    assert len(fake.writes) == 1
    client.close()


@pytest.mark.parametrize(
    ("what", "error"), [("conflict", Conflict), ("failed", InvalidRequest), ("quorum", NoQuorum)]
)
def test_refusals_have_their_names(crm: tuple[FakeCrm, Paths], what: str, error: type[Exception]) -> None:
    fake, paths = crm
    fake.script = [what]
    client = Client(paths)
    source = ClusterSource(client)
    before = source.read()
    with pytest.raises(error):
        source.write(renamed(before.cib), before.digest, "a test")
    client.close()


def test_a_session_says_conflict_and_writes_nothing(crm: tuple[FakeCrm, Paths]) -> None:
    fake, paths = crm
    fake.script = ["theirs"]
    status, text = hacli(["--root", str(paths.root), "configure", "rename", "d", "e"])
    assert status == EXIT_CONFLICT
    assert "changed by somebody else meanwhile: d" in text
    assert "- primitive d ocf:hacluster:Dummy" in text
    assert "+ primitive d ocf:hacluster:Other" in text
    assert fake.cib == retyped(codec.parse(CIB))


def test_what_others_wrote_about_other_objects_stays(crm: tuple[FakeCrm, Paths]) -> None:
    fake, paths = crm
    fake.script = ["theirs"]
    assert hacli(["--root", str(paths.root), "configure", "primitive", "x", "Dummy"]) == (0, "")
    types = [one.get("type") for one in fake.cib.walk() if one.tag == "primitive"]
    assert types == ["Other", "Dummy"]


def test_a_commit_with_confirmation_carries_its_undo(crm: tuple[FakeCrm, Paths]) -> None:
    fake, paths = crm
    root = ["--root", str(paths.root)]
    before = fake.cib
    words = ["--confirm", "5m", "--guard", "d", "--reason", "a try", "configure", "primitive", "x", "Dummy"]
    status, text = hacli([*root, *words])
    assert status == 0
    assert "undone in 300s unless you say `hacli confirm`, or when one of d does not run" in text
    pending = pending_in(configuration_of(fake.cib))
    assert pending is not None
    assert (pending.within_ms, pending.guards) == (300_000, ("d",))
    assert pending.by.endswith(": hacli configure: a try")
    assert rolled_back(configuration_of(fake.cib)) == configuration_of(before)
    # People do not see it, another commit keeps it, and only one can wait.
    assert "confirm" not in hacli([*root, "configure", "show"])[1]
    assert hacli([*root, "resource", "stop", "d"])[0] == 0
    assert pending_in(configuration_of(fake.cib)) == pending
    status, text = hacli([*root, "--confirm", "5m", "resource", "start", "d"])
    assert status == 1
    assert "waits for its confirmation" in text
    # Undone now: what was committed on top stays, but for what it is about.
    assert hacli([*root, "rollback"])[0] == 0
    assert [one.id for one in fake.cib.walk() if one.tag == "primitive"] == ["d"]
    assert hacli([*root, "confirm"])[0] == 1  # nothing waits any more


def test_undo_is_about_the_last_change_and_not_its_confirmation(crm: tuple[FakeCrm, Paths]) -> None:
    fake, paths = crm
    fake.keep("hacli")
    before = configuration_of(fake.cib)
    root = ["--root", str(paths.root)]
    change = ["configure", "location", "l", "d", "100:", "n1"]
    assert hacli([*root, "--confirm", "5m", *change])[0] == 0
    assert pending_in(configuration_of(fake.cib)) is not None
    assert hacli([*root, "confirm"])[0] == 0
    assert configuration_of(fake.cib).by_id("l") is not None
    code, said = hacli([*root, "undo"])
    assert (code, "nothing to do" in said) == (0, False)
    assert "INFO: this takes back 0.2 (" in said
    assert configuration_of(fake.cib) == before


def test_an_undo_is_not_taken_back_without_a_word(crm: tuple[FakeCrm, Paths]) -> None:
    fake, paths = crm
    fake.keep("hacli")
    root = ["--root", str(paths.root)]
    assert hacli([*root, "configure", "location", "l", "d", "100:", "n1"])[0] == 0
    made = configuration_of(fake.cib)
    assert hacli([*root, "undo"])[0] == 0
    undone = configuration_of(fake.cib)
    for options in ([], ["-n"], ["--safe"]):
        code, said = hacli([*root, *options, "undo"])
        assert code == EXIT_UNSAFE
        assert "the last change, 0.3 (" in said
        assert "hacli undo 0.2), took back another, which would be made again; nothing was changed" in said
        assert configuration_of(fake.cib) == undone
    code, said = hacli([*root, "-F", "undo"])
    assert (code, "WARNING: the last change, 0.3 (" in said) == (0, True)
    assert configuration_of(fake.cib) == made
    # One that is named was meant.
    code, said = hacli([*root, "undo", "0.2"])
    assert (code, "this takes back 0.2 (" in said) == (0, True)
    assert configuration_of(fake.cib) == undone


def test_a_small_change_is_tried_again_after_a_conflict(
    crm: tuple[FakeCrm, Paths], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, paths = crm
    monkeypatch.setattr("cli.workspace.PAUSE_S", 0)
    fake.script = ["conflict", "conflict"]
    status, text = hacli(["--root", str(paths.root), "resource", "stop", "d"])
    assert (status, text) == (0, "")
    assert len(fake.writes) == 3
    fake.script = ["conflict"] * ATTEMPTS_MAX
    assert hacli(["--root", str(paths.root), "resource", "start", "d"])[0] == EXIT_CONFLICT


def test_without_a_daemon_it_says_what_to_look_at(tmp_path: Path) -> None:
    client = Client(Paths(tmp_path))
    with pytest.raises(Unreachable, match="systemctl status"):
        client.status()
    client.close()


def test_a_socket_nobody_serves(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.run.mkdir(parents=True)
    paths.crm_socket.touch()
    client = Client(paths)
    with pytest.raises((Unreachable, PermissionDenied)):
        client.query_cib()
    client.close()


def test_waiting_ends_when_idle_lasts(crm: tuple[FakeCrm, Paths], monkeypatch: pytest.MonkeyPatch) -> None:
    fake, paths = crm
    monkeypatch.setattr("cli.waiting.SETTLED_S", 0.02)
    monkeypatch.setattr("cli.waiting.PAUSE_S", 0.01)
    fake.states = ["running", "idle", "running", "running"]
    context = Context(Options(root=str(paths.root)))
    assert wait_until_idle(context, 5_000) == 0
    assert fake.states == []
    context.close()


def test_waiting_says_what_it_waits_for(
    crm: tuple[FakeCrm, Paths], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake, paths = crm
    monkeypatch.setattr("cli.waiting.PAUSE_S", 0.01)
    fake.states = ["waiting"] * 1000
    context = Context(Options(root=str(paths.root)))
    assert wait_until_idle(context, 200) == 1
    assert "fencing of n2" in capsys.readouterr().err
    context.close()


def test_status_shows_notices(crm: tuple[FakeCrm, Paths]) -> None:
    _fake, paths = crm
    status, text = hacli(["--root", str(paths.root), "status"])
    assert status == 0
    assert "Current DC: n1" in text
    assert "a write of n2 was lost" in text
    assert "* d\t(ocf:hacluster:Dummy):\t Stopped" in text
    status, text = hacli(["--root", str(paths.root), "status", "--json"])
    assert '"dc": "n1"' in text


def test_standby_until_reboot_is_a_transient_attribute(crm: tuple[FakeCrm, Paths]) -> None:
    fake, paths = crm
    assert hacli(["--root", str(paths.root), "node", "standby", "n1", "reboot"]) == (0, "")
    assert hacli(["--root", str(paths.root), "node", "online", "n1"]) == (0, "")
    assert fake.attributes == [("n1", "standby", "on"), ("n1", "standby", "")]
    assert fake.writes == []


def test_a_change_of_a_node_is_recorded_as_what_was_called(crm: tuple[FakeCrm, Paths]) -> None:
    fake, paths = crm
    verbs = ("standby", "online", "maintenance", "ready")
    for verb in verbs:
        assert hacli(["--root", str(paths.root), "node", verb, "n1"])[0] == 0
    recorded = [write.client.partition(": ")[2] for write in fake.writes]
    assert recorded == [f"hacli node {verb}" for verb in verbs]


def test_an_election_is_waited_for(crm: tuple[FakeCrm, Paths], monkeypatch: pytest.MonkeyPatch) -> None:
    fake, paths = crm
    monkeypatch.setattr("cli.client.OUTCOME_PAUSE_S", 0.01)
    client = Client(paths)
    fake.script = ["election", "election"]
    client.set_attribute("n1", "site", "a")
    assert fake.attributes == [("n1", "site", "a")]
    monkeypatch.setattr("cli.client.DC_WITHIN_S", 0.05)
    fake.script = ["election"] * 1_000
    with pytest.raises(HaError, match="there is no DC yet"):
        client.set_attribute("n1", "site", "b")
    client.close()
    assert len(fake.attributes) == 1


def test_the_dc_is_one_of_the_members(crm: tuple[FakeCrm, Paths], monkeypatch: pytest.MonkeyPatch) -> None:
    fake, paths = crm
    monkeypatch.setattr("cli.client.OUTCOME_PAUSE_S", 0.01)
    monkeypatch.setattr("cli.client.DC_WITHIN_S", 0.05)
    client = Client(paths)
    assert client.dc() == ""  # it is DC, but gone
    fake.member = True
    assert client.dc() == "n1"
    client.close()


def test_who_renames_what_runs_is_not_told_to_destroy_it(crm: tuple[FakeCrm, Paths]) -> None:
    fake, paths = crm
    running = CIB.replace(
        "<status/>",
        """<status><node_state id="1" uname="n1" in_ccm="true" crmd="online" join="member" expected="member">
        <lrm id="1"><lrm_resources><lrm_resource id="d" class="ocf" provider="hacluster" type="Dummy">
        <lrm_rsc_op id="d_last_0" operation="start" call-id="2" rc-code="0" op-status="0" interval="0"
        transition-key="1:1:0:x"/></lrm_resource></lrm_resources></lrm></node_state></status>""",
    )
    fake.cib = codec.parse(running)
    code, said = hacli(["--root", str(paths.root), "configure", "rename", "d", "e"])
    assert (code, "d is running on n1" in said, "delete" in said) == (1, True, False)
    code, said = hacli(["--root", str(paths.root), "configure", "delete", "d"])
    assert (code, "or `delete --force d`" in said) == (1, True)


def test_force_quorum_wants_to_be_meant(crm: tuple[FakeCrm, Paths]) -> None:
    fake, paths = crm
    root = ["--root", str(paths.root)]
    code, said = hacli([*root, "cluster", "force-quorum"])
    assert (code, "the others must be off" in said) == (1, True)
    assert hacli([*root, "-F", "cluster", "force-quorum"])[0] == 0
    fake.script.append("this partition has quorum already")
    code, said = hacli([*root, "-F", "cluster", "force-quorum"])
    assert (code, "has quorum already" in said) == (1, True)


def test_health_names_silent_ping_targets(crm: tuple[FakeCrm, Paths]) -> None:
    fake, paths = crm
    fake.member = True
    fake.pings = [
        membership_pb2.PingStatus(target="192.0.2.1", alive=True),
        membership_pb2.PingStatus(target="192.0.2.2"),
    ]
    code, said = hacli(["--root", str(paths.root), "cluster", "health"])
    assert (code, [line for line in said.splitlines() if "ping" in line]) == (1, ["ping 192.0.2.2: SILENT"])


def test_health_knows_maintenance_mode(crm: tuple[FakeCrm, Paths]) -> None:
    """Nobody looks after anything then."""
    fake, paths = crm
    fake.member = True
    root = ["--root", str(paths.root)]
    assert "maintenance" not in hacli([*root, "cluster", "health"])[1]
    assert hacli([*root, "configure", "property", "maintenance-mode=true"])[0] == 0
    code, said = hacli([*root, "cluster", "health"])
    assert (code, "maintenance mode: nothing is started" in said) == (1, True)


def test_a_node_that_has_left_says_nothing_about_the_others(crm: tuple[FakeCrm, Paths]) -> None:
    fake, paths = crm
    fake.left = True
    root = ["--root", str(paths.root), "cluster"]
    code, said = hacli([*root, "health"])
    assert (code, said.count("\n"), said.startswith("n1 is STOPPED: it has left")) == (1, 1, True)
    code, said = hacli([*root, "quorum"])
    assert (code, "n1 is STOPPED" in said, "joining" in said, "nothing" in said) == (1, True, False, False)
    fake.left = False
    assert "DC: n1\n" in hacli([*root, "quorum"])[1]


def test_cleanup_tells_what_was_cleaned(crm: tuple[FakeCrm, Paths]) -> None:
    _fake, paths = crm
    assert hacli(["--root", str(paths.root), "resource", "cleanup", "d"]) == (0, "Cleaned up d@n1\n")
    assert hacli(["--root", str(paths.root), "resource", "cleanup", "nobody"])[0] == 1


def test_watch_yields_until_the_stream_ends(crm: tuple[FakeCrm, Paths]) -> None:
    _fake, paths = crm
    client = Client(paths)
    assert [status.node for status in client.watch()] == ["n1", "n1"]
    client.close()
