"""A cluster around one DcShell: a replicated CIB, LRMs and a scheduler that do what a test tells them."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from crm.cib.model import Element, element
from crm.cib.replication.basis import Basis
from crm.cib.replication.voters import VotersWanted
from crm.cib.versions import CibVersion
from crm.controller import core as control
from crm.controller.nodes import NodeTable
from crm.dc import DcShell, Local
from crm.dc_orders import Orders
from crm.fencing.history import FencingRecord
from crm.fencing_records import FencingRecords
from crm.fencing_shell import FencingShell
from crm.histories import Histories
from crm.replica.events import BecameDc, DcState, Outcome, ReplicaEvent, WriteOutcome
from crm.replica.interface import Change, ForwardHandler
from crm.scheduler.digests import digest_of
from crm.scheduling import Plan, PlanRequest
from crm.transition.graph import TransitionGraph
from hacluster.clock import SystemClock
from hacluster.errors import HaError, NoDc, NotFound
from hacluster.v1 import lrm_pb2, node_pb2
from hacluster.vocabulary.ids import BootToken, NodeId, NodeName, OperationId, Term, ViewId
from hacluster.vocabulary.membership import Authority, Member, MembershipView, QuorumConfig
from hacluster.vocabulary.operation import ExecutionStatus, Operation, OperationResult

TERM = Term(4, 1)
VIEW = ViewId(2, 1)
SILENT_AFTER_MS = 3_600_000
"""Nobody is a liar in a test that is not about lies, however long the machine has other things to do."""


class FakeReplica:
    """Holds a configuration; writes succeed at once."""

    def __init__(self) -> None:
        self.configuration = element("configuration", None, Element("crm_config"), Element("nodes"))
        self.version = CibVersion(0, 1, 0)
        self.digest = "d"
        self.dc = DcState(term=TERM, dc_node_id=1, is_me=True, established=True, basis=Basis.MAJORITY)
        self.status = Element("status")
        self.status_age_ms = 0
        self.published: list[Element] = []
        self.authors: list[tuple[str, str]] = []
        self.confirmed: list[tuple[int, str]] = []
        self.eligible, self.priority = True, 0
        self.vouched: list[bool] = []
        self.vouching = WriteOutcome(outcome=Outcome.OK)
        self.quorum = QuorumConfig(voters=())

    def set_authority(self, authority: Authority) -> None:
        raise AssertionError("not used")

    async def write(
        self,
        configuration: Element | Change,
        *,
        author: str,
        client: str = "",
        request_id: str = "",
        expected_digest: str = "",
        force: bool = False,
        deadline_ms: int = 10_000,
    ) -> WriteOutcome:
        self.authors.append((author, client))
        if isinstance(configuration, Element):
            self.configuration = configuration
        else:
            self.configuration = configuration(self.configuration)
        return WriteOutcome(outcome=Outcome.OK)

    async def vouch(self, *, by_quorum: bool) -> WriteOutcome:
        if not self.dc.is_me:
            raise NoDc
        self.vouched.append(by_quorum)
        return self.vouching

    async def outcome_of(self, request_id: str) -> WriteOutcome:
        return WriteOutcome(outcome=Outcome.UNKNOWN)

    def voters(self) -> tuple[int, QuorumConfig, tuple[int, ...]]:
        return 0, self.quorum, ()

    async def change_voters(
        self, term: Term, wanted: VotersWanted, *, author: str, request_id: str, deadline_ms: int
    ) -> WriteOutcome:
        raise AssertionError("not used")

    async def force_quorum(self, *, author: str) -> WriteOutcome:
        return WriteOutcome(outcome=Outcome.OK)

    async def dc_within(self, timeout_ms: int) -> bool:
        return self.dc.dc_node_id is not None

    async def forward(self, method: str, request: bytes, user: str, client: str = "") -> bytes:
        raise AssertionError("this node is DC")

    def on_forward(self, handler: ForwardHandler) -> None:
        raise AssertionError("not used")

    def fence_confirmed(self, node_id: int, boot_token: str) -> None:
        self.confirmed.append((node_id, boot_token))

    def publish_status(self, status: Element) -> None:
        self.published.append(status)

    def set_eligibility(self, *, eligible: bool, priority: int = 0, gives_up: bool = False) -> None:
        self.eligible, self.priority = eligible, priority

    def subscribe(self) -> asyncio.Queue[ReplicaEvent]:
        raise AssertionError("not used")


class FakeScheduler:
    """Answers with the graphs it was given, then with empty ones; `while_planning` comes before it."""

    def __init__(self) -> None:
        self.while_planning: deque[Callable[[], None]] = deque()
        self.graphs: deque[TransitionGraph | HaError] = deque()
        self.requests: list[PlanRequest] = []
        self.outcomes: list[tuple[int, str]] = []

    async def plan(self, request: PlanRequest) -> Plan:
        self.requests.append(request)
        await asyncio.sleep(0)
        if self.while_planning:
            self.while_planning.popleft()()
        graph = self.graphs.popleft() if self.graphs else TransitionGraph()
        if isinstance(graph, HaError):
            raise graph
        return Plan(graph=graph, took_ms=1)

    def finished(self, number: int, outcome: str, reason: str) -> None:
        self.outcomes.append((number, outcome))


class FakeLrm:
    """Remembers its orders; `raises` are errors for the next calls of Execute."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.accepted: list[Term] = []
        self.executed: list[tuple[OperationId, Operation]] = []
        self.orders: list[str] = []
        self.raises: deque[HaError] = deque()
        self.described: dict[str, str] = {}
        self.arrived = asyncio.Event()

    async def accept(self, term: Term, dc: str, view: ViewId) -> lrm_pb2.AcceptReply:
        self.accepted.append(term)
        return lrm_pb2.AcceptReply(node=self.node, boot_token="b" * 64)

    async def execute(
        self,
        identity: OperationId,
        operation: Operation,
        *,
        view: ViewId,
        boot_token: str,
        without_quorum: bool,
    ) -> lrm_pb2.ExecuteReply:
        if self.raises:
            raise self.raises.popleft()
        assert boot_token == "b" * 64
        self.executed.append((identity, operation))
        self.arrived.set()
        return lrm_pb2.ExecuteReply(call_id=len(self.executed))

    async def cancel(self, term: Term, resource: str, action: str, interval_ms: int) -> None:
        self.orders.append(f"cancel {resource} {action} {interval_ms}")

    async def delete_history(
        self,
        term: Term,
        resource: str,
        action: str = "",
        interval_ms: int = 0,
        *,
        failures_only: bool = False,
    ) -> None:
        self.orders.append(f"delete {resource} {action} {interval_ms} {failures_only}")

    async def status(self) -> lrm_pb2.LrmStatusReply:
        return lrm_pb2.LrmStatusReply(cpus=2, load_1min=0.5)

    async def metadata(self, agent: str) -> str:
        if agent not in self.described:
            raise NotFound(kind="agent", name=agent)
        return self.described[agent]


class FakePeer:
    """Another node's ha-crm: keeps attributes."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.values: dict[str, str] = {}
        self.sequence = 1
        self.left = False
        self.succeeds: list[Term] = []
        self.fencing: list[FencingRecord] = []

    def _message(self) -> node_pb2.NodeAttributes:
        return node_pb2.NodeAttributes(node=self.node, instance=5, sequence=self.sequence, values=self.values)

    async def integrate(self, term: Term, dc: str, view: ViewId) -> node_pb2.NodeAttributes:
        return self._message()

    async def change_attributes(self, term: Term, changes: Mapping[str, str]) -> node_pb2.NodeAttributes:
        self.values.update(changes)
        self.values = {name: value for name, value in self.values.items() if value}
        self.sequence += 1
        return self._message()

    async def succeed_dc(self, term: Term) -> None:
        self.succeeds.append(term)

    async def leave_cluster(self, term: Term) -> None:
        self.left = True

    async def tell_fencing(self, term: Term, records: Sequence[FencingRecord]) -> None:
        self.fencing += records


class World:
    """node1 is DC; node1 and node2 are members.

    Whoever is confirmed off and stays in the view has `silent_after_ms` before that is a lie.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        timings: control.Timings | None = None,
        *,
        two_node: bool = False,
        silent_after_ms: int = SILENT_AFTER_MS,
    ) -> None:
        self._tasks, self.two_node = tasks, two_node
        self.names = ("node1", "node2")
        self.nodes = NodeTable(((1, "node1"), (2, "node2")), digest_of)
        self.view(*self.names)
        self.local = Local(node="node1", view=VIEW, quorate=True)
        self.replica, self.scheduler = FakeReplica(), FakeScheduler()
        self.lrms = {name: FakeLrm(name) for name in self.names}
        self.peers = {name: FakePeer(name) for name in self.names}
        self.histories = Histories(self.nodes, self.names)
        self.sequences = dict.fromkeys(self.names, 0)
        self.spawned: set[asyncio.Task[None]] = set()
        self.orders = Orders(
            local=self.local,
            nodes=self.nodes,
            histories=self.histories,
            lrms=self.lrms,
            peers=self.peers,
            clock=SystemClock(),
            spawn=self.spawn,
            without_quorum=lambda: False,
        )
        self.fencing = FencingShell(
            local=self.local,
            nodes=self.nodes,
            replica=self.replica,
            lrms=self.lrms,
            clock=SystemClock(),
            spawn=self.spawn,
            rng=random.Random(1),
            two_node=lambda: self.two_node,
            keepalive_ms=20,
            deadtime_ms=40,
            silent_after_ms=silent_after_ms,
            records=FencingRecords(Path("/proc/none/fencing.json"), "node1", SystemClock()),
        )
        self.dc = DcShell(
            local=self.local,
            nodes=self.nodes,
            replica=self.replica,
            scheduler=self.scheduler,
            orders=self.orders,
            fencing=self.fencing,
            clock=SystemClock(),
            spawn=self.spawn,
            uuid="u",
            timings=timings,
            settle_ms=60,
        )
        self.histories.listener = self.dc
        self.fencing.records.tell = lambda records: self.orders.tell_fencing(records, self.dc.term)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self._tasks.create_task(work, name=name)
        self.spawned.add(task)
        task.add_done_callback(self.spawned.discard)
        return task

    def close(self) -> None:
        self.dc.stopped_being_dc("the test is over")
        for task in list(self.spawned):
            task.cancel()

    def view(self, *names: str, counter: int = 2) -> None:
        members = tuple(
            Member(
                id=NodeId(int(name[-1])),
                name=NodeName(name),
                incarnation=1,
                boot_token=BootToken("b" * 64),
                crm_instance=7,
                lrm_instance=7,
            )
            for name in names
        )
        self.nodes.set_view(MembershipView(id=ViewId(counter, 1), members=members), {}, 1_000)

    def sync(self, node: str) -> None:
        """The LRM's stream tells that it has no history."""
        self.histories.begun(node)
        self.histories.heard(node, lrm_pb2.HistoryEvent(synced=True, initial=True))

    def reign(self, *, sync: bool = True) -> None:
        if sync:
            for name in self.names:
                self.sync(name)
        self.dc.became_dc(BecameDc(TERM, VIEW, Basis.MAJORITY, established=True))

    def result(self, node: str, index: int = -1, **changes: Any) -> None:
        """The operation that was ordered last (or the one at `index`) has ended."""
        identity, operation = self.lrms[node].executed[index]
        result = OperationResult(
            id=identity,
            call_id=len(self.lrms[node].executed),
            operation=operation,
            status=ExecutionStatus.DONE,
            rc=0,
            last_change_s=1_000,
        )
        self.hear(node, replace(result, **changes))

    def hear(self, node: str, result: OperationResult) -> None:
        self.nodes.take(node, result, initial=False)
        self.dc.on_result(node, result)

    async def until(self, what: Any, timeout_s: float = 30.0) -> None:
        """Wait until `what()` is true."""
        async with asyncio.timeout(timeout_s):
            while not what():  # noqa: ASYNC110 - what is waited for lies in several objects
                await asyncio.sleep(0.001)

    async def executed(self, node: str, *keys: str) -> None:
        """Wait until exactly these operations were ordered."""
        await self.until(lambda: [op.key for _, op in self.lrms[node].executed] == list(keys))


PATIENT = control.Timings(integration_ms=20_000, node_pending_ms=30_000, retry_ms=5, retry_ms_max=20)


@asynccontextmanager
async def a_world(
    timings: control.Timings = PATIENT, *, two_node: bool = False, silent_after_ms: int = SILENT_AFTER_MS
) -> AsyncIterator[World]:
    """A world whose tasks have ended when it is left."""
    async with asyncio.TaskGroup() as tasks:
        world = World(tasks, timings, two_node=two_node, silent_after_ms=silent_after_ms)
        yield world
        world.close()
