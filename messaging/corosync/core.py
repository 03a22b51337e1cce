"""Corosync's groups and rings to views that ha-crm cannot tell from our own (cluster-protocol.md, 6.2, 17).

All ha-messagings are one process group, and see its changes and messages in one order. After each change each
member says who it is and the highest counter that it has stored; the next one is stored by all, and when all
have said so the view is installed: its ids grow though corosync does not sync its ring's number. Quorum is
votequorum's, and counts for a view only while both speak of the same ring. The lease lasts from corosync's
last answer to this process: who cannot ask it has no authority soon. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeAlias, assert_never

from hacluster.vocabulary.ids import NO_VIEW, BootToken, NodeId, ViewId
from hacluster.vocabulary.membership import Authority, Member, MembershipView, NodeState
from messaging import log_events
from messaging.fragments import TOPIC_CHARACTERS_MAX
from messaging.membership.core import CRM_IS_BACK
from messaging.membership.events import (
    ConfiguredNode,
    DaemonsChanged,
    Data,
    DataAnswered,
    DataRequested,
    Deliver,
    Durable,
    EndRun,
    Leave,
    LeaveRequested,
    Note,
    PeerStatus,
    Persist,
    Persisted,
    Publish,
    RaiseIncarnation,
    Status,
)
from messaging.membership.runs import Run, RunTable
from messaging.membership.talk import DATA_BYTES_MAX
from messaging.membership.waiting import MarkAllSeen

Process: TypeAlias = tuple[int, int]
"""(node, pid) of a group's member."""

LEASE_PERCENT: Final = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who its sender is, after the change that `tag` names; `counter`: the highest that it has stored.

    `runs`: the latest of each node that it knows of; `forgetful`: its disk was lost (`membership.runs`).
    """

    tag: str
    counter: int
    incarnation: int
    boot_token: str
    crm: int
    lrm: int
    runs: tuple[Run, ...] = ()
    forgetful: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """Its sender has stored the counter of `view`."""

    tag: str
    view: ViewId


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemons:
    """Its sender's ha-crm and ha-lrm are others now."""

    crm: int
    lrm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    """A small message of a daemon; `destination` 0: to all."""

    destination: int
    data: Data


Packet: TypeAlias = Hello | Accept | Daemons | Small | Leave


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupChanged:
    """These are the group's processes now; `died`: nodes whose process has ended."""

    members: tuple[Process, ...]
    died: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RingChanged:
    """Corosync's ring (number, representative) and its nodes."""

    ring: tuple[int, int]
    nodes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumTold:
    """By votequorum, of the ring with that number."""

    quorate: bool
    ring_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A packet of the group, our own among them."""

    sender: Process
    packet: Packet


@dataclass(frozen=True, slots=True)
class Ticked:
    """A keepalive is over. `answered_ns`: when corosync was asked last of what it has answered."""

    answered_ns: int


Event: TypeAlias = (
    GroupChanged
    | RingChanged
    | QuorumTold
    | Heard
    | Ticked
    | Persisted
    | DaemonsChanged
    | DataRequested
    | LeaveRequested
)


@dataclass(frozen=True, slots=True)
class Say:
    """To the whole group, us included."""

    packet: Packet


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    """Nothing more is wanted of it."""


Effect: TypeAlias = (
    Say
    | LeaveGroup
    | EndRun
    | RaiseIncarnation
    | Persist
    | Publish
    | Deliver
    | DataAnswered
    | MarkAllSeen
    | Note
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """`deadtime_ns`: how long a process of the group may be gone while its node is here."""

    node_id: NodeId
    nodes: tuple[ConfiguredNode, ...]
    deadtime_ns: int
    wait_for_all: bool
    incarnation: int
    boot_token: BootToken
    durable: Durable
    all_seen: bool


class CorosyncCore:
    """One run of one node's ha-messaging on corosync."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._durable = config.durable
        self._all_seen = config.all_seen
        self._group: tuple[Process, ...] = ()
        self._ring, self._ring_nodes = (0, 0), ()  # type: tuple[int, int], tuple[int, ...]
        self._quorum = QuorumTold(quorate=False, ring_seq=0)
        self._away: dict[int, int] = {}  # node whose process died: until when it may come back
        self._hellos: dict[Process, Hello] = {}
        self._accepts: dict[Process, ViewId] = {}
        self._said = ""  # the tag of our last hello
        self._proposed = NO_VIEW
        self._view, self._view_ring = MembershipView(), (0, 0)
        self._daemons = (0, 0)
        self._last_crm = 0  # which was connected last, or said that the node leaves
        self._left: dict[int, Leave] = {}
        self._runs = RunTable(config.durable.runs, forgetful=config.durable.forgetful)
        self._was_member: set[int] = set()
        self._answered_ns = 0
        self._leaving = False
        self._raise: tuple[int, int] | None = None  # above which incarnation, once this token is on disk
        self._forgetful: frozenset[int] = frozenset()  # members of the view
        self._token = self._number = 0
        self._published: Status | None = None
        self._out: list[Effect] = []

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """Take one event; the effects in order."""
        match event:
            case GroupChanged():
                self._group_changed(event, now_ns)
            case RingChanged(ring=ring, nodes=nodes):
                self._ring, self._ring_nodes = ring, nodes
                self._begin()
            case QuorumTold():
                self._quorum = event
            case Heard(sender=sender, packet=packet):
                self._heard(sender, packet)
            case Ticked(answered_ns=answered_ns):
                self._answered_ns = answered_ns
                self._look_for_the_dead(now_ns)
            case Persisted(token) if self._raise is not None and token == self._raise[0]:
                self._out.append(RaiseIncarnation(self._raise[1]))
            case Persisted(token) if token != self._token or self._proposed == NO_VIEW:
                pass  # another change has come meanwhile
            case Persisted():
                self._out.append(Say(Accept(tag=self._said, view=self._proposed)))
            case DaemonsChanged():
                if event.crm_instance:
                    if self._leaving and event.crm_instance != self._last_crm:
                        self._out.append(EndRun(CRM_IS_BACK))
                    self._last_crm = event.crm_instance
                self._daemons = (event.crm_instance, event.lrm_instance)
                self._out.append(Say(Daemons(crm=event.crm_instance, lrm=event.lrm_instance)))
            case DataRequested():
                self._requested(event)
            case LeaveRequested(leave, by):
                self._leaving, self._last_crm = True, by or self._last_crm
                self._out += [Note("info", log_events.LEAVING, (("clean", leave.clean),)), Say(leave)]
            case _:
                assert_never(event)
        self._publish(now_ns)
        effects, self._out = self._out, []
        return effects

    def status(self, now_ns: int) -> Status:
        """All that is published, as of now."""
        lease_ns = self._lease_end_ns()
        quorate = lease_ns > now_ns
        authority = Authority(
            view=self._view,
            quorate=quorate,
            waiting=self._config.wait_for_all and not self._all_seen,
            lease_end_ns=lease_ns,
            by_votes=quorate and len(self._view.members) > 1,  # votequorum's two_node lets only one alone act
        )
        return Status(authority=authority, nodes=tuple(self._node(node) for node in self._config.nodes))

    @property
    def in_view(self) -> bool:
        """Whether a view is installed."""
        return self._view.id != NO_VIEW

    # Rounds.

    def _group_changed(self, event: GroupChanged, now_ns: int) -> None:
        if not set(event.members) <= set(self._group):
            # Also who comes back as the same process, in its next run: what was said before does not count.
            self._said, self._accepts = "", {}
            self._hellos = {one: replace(hello, tag="") for one, hello in self._hellos.items()}
        self._group = event.members
        self._hellos = {one: hello for one, hello in self._hellos.items() if one in self._group}
        self._accepts = {one: view for one, view in self._accepts.items() if one in self._group}
        present = {node for node, _ in event.members}
        for node in event.died:
            if self._view.member(node) is not None and node not in self._left and node not in present:
                self._away[node] = now_ns + self._config.deadtime_ns
        for node in present:
            self._away.pop(node, None)
        if not self._away:
            self._begin()

    def _look_for_the_dead(self, now_ns: int) -> None:
        if self._away and min(self._away.values()) <= now_ns:
            self._away.clear()
            self._begin()

    def _tag(self) -> str:
        group = ",".join(f"{node}/{pid}" for node, pid in self._group)
        return f"{self._ring[0]}.{self._ring[1]}:{group}"

    def _begin(self) -> None:
        """Say who we are, once for each change; a change that others still have to see is waited for."""
        nodes = {node for node, _ in self._group}
        whole = self._config.node_id in nodes and nodes <= set(self._ring_nodes)
        if self._leaving or not whole or self._tag() == self._said:
            return
        self._away.clear()
        self._said, self._proposed = self._tag(), NO_VIEW
        self._out.append(Say(self._hello()))

    def _hello(self) -> Hello:
        return Hello(
            tag=self._said,
            counter=self._durable.promised,
            incarnation=self._config.incarnation,
            boot_token=self._config.boot_token,
            crm=self._daemons[0],
            lrm=self._daemons[1],
            runs=self._runs.all,
            forgetful=self._runs.forgetful,
        )

    def _heard(self, sender: Process, packet: Packet) -> None:
        node = sender[0]
        match packet:
            case Hello():
                self._hellos[sender] = packet
                self._left.pop(node, None)
                self._learn(packet)
                if packet.tag == self._tag():
                    self._begin()
                    self._propose()
            case Accept():
                self._accepts[sender] = packet.view
                self._install()
            case Daemons():
                known = self._hellos.get(sender)
                if known is not None:
                    self._hellos[sender] = replace(known, crm=packet.crm, lrm=packet.lrm)
                self._refresh(node, packet)
            case Leave():
                self._left[node] = packet
                if packet.clean and sender in self._hellos:
                    self._runs.learn([Run(node, self._hellos[sender].incarnation, left=True)])
                if node == self._config.node_id and self._leaving:
                    self._view = MembershipView()
                    self._out.append(LeaveGroup())
            case Small():
                self._deliver(sender, packet)
            case _:
                assert_never(packet)

    def _learn(self, hello: Hello) -> None:
        """What another knows of configured nodes; of our own, what our disk has lost."""
        self._runs.learn(run for run in hello.runs if self._configured(run.node) is not None)
        highest = self._runs.of(self._config.node_id).incarnation
        if highest > self._config.incarnation and not self._raise:
            self._runs.forgetful = True
            self._durable = replace(self._durable, forgetful=True)
            self._token += 1
            self._raise = (self._token, highest)
            self._out.append(Persist(self._durable, self._token))

    def _propose(self) -> None:
        """All have said who they are after this change: the next counter, stored before it is spoken of."""
        tag = self._tag()
        hellos = [self._hellos.get(process) for process in self._group]
        if self._said != tag or self._proposed != NO_VIEW:
            return
        said = [hello for hello in hellos if hello is not None and hello.tag == tag]
        if len(said) != len(self._group):
            return
        counter = max(hello.counter for hello in said) + 1
        self._proposed = ViewId(counter, NodeId(min(node for node, _ in self._group)))
        for (node, _), hello in zip(self._group, said, strict=True):
            if self._configured(node) is not None:
                self._runs.learn([Run(node, hello.incarnation)])
        self._durable = replace(
            self._durable,
            promised=counter,
            boot_token=self._config.boot_token,
            runs=self._runs.kept(None),
            forgetful=self._runs.forgetful,
        )
        self._token += 1
        self._out.append(Persist(self._durable, self._token))

    def _install(self) -> None:
        view = self._proposed
        if view == NO_VIEW or view == self._view.id or self._said != self._tag():
            return
        if any(self._accepts.get(process) != view for process in self._group):
            return
        members = [self._member(process) for process in sorted(self._group)]
        self._view = MembershipView(id=view, members=tuple(m for m in members if m is not None))
        self._view_ring = self._ring
        self._forgetful = frozenset(one[0] for one in self._group if self._hellos[one].forgetful)
        if self._runs.forgetful and self._told():
            self._runs.forgetful = False  # the disk has it with the next view
        self._was_member.update(int(member.id) for member in self._view.members)
        names = " ".join(member.name for member in self._view.members)
        fields = (("view", str(view)), ("members", names), ("ring", f"{self._ring[0]}"))
        self._out.append(Note("info", log_events.INSTALLED, fields))

    def _told(self) -> bool:
        """Whether those of the view whose disks were not lost are a majority, or there are no others."""
        votes = sum(node.votes for node in self._config.nodes)
        told = sum(m.votes for m in self._view.members if int(m.id) not in self._forgetful)
        return not self._forgetful or 2 * told > votes

    def _member(self, process: Process) -> Member | None:
        hello, node = self._hellos[process], self._configured(process[0])
        if node is None:
            self._out.append(Note("warning", log_events.STRANGER, (("node", process[0]),)))
            return None
        return Member(
            id=node.id,
            name=node.name,
            incarnation=hello.incarnation,
            boot_token=BootToken(hello.boot_token),
            votes=node.votes,
            crm_instance=hello.crm,
            lrm_instance=hello.lrm,
        )

    def _configured(self, node: int) -> ConfiguredNode | None:
        return next((one for one in self._config.nodes if one.id == node), None)

    def _refresh(self, node: int, daemons: Daemons) -> None:
        members = tuple(
            replace(member, crm_instance=daemons.crm, lrm_instance=daemons.lrm)
            if member.id == node
            else member
            for member in self._view.members
        )
        self._view = replace(self._view, members=members)

    # Authority.

    def _lease_end_ns(self) -> int:
        """0 when there is no quorum for the view that we are in.

        While others come, or a process is away for a moment, the view stands; not when a node of it is gone.
        """
        here = self._view.id != NO_VIEW and {int(m.id) for m in self._view.members} <= set(self._ring_nodes)
        same = self._quorum.ring_seq in (self._ring[0], self._view_ring[0])
        if not here or not same or not self._quorum.quorate:
            return 0
        return self._answered_ns + self._config.deadtime_ns * LEASE_PERCENT // 100

    def _publish(self, now_ns: int) -> None:
        status = self.status(now_ns)
        if status.authority.quorate and not self._all_seen:
            self._all_seen = True  # votequorum has waited for all
            self._out.append(MarkAllSeen())
            status = self.status(now_ns)
        if status != self._published:
            before = self._published.authority if self._published is not None else None
            now = status.authority
            changed = before is None or (before.view.id, before.quorate) != (now.view.id, now.quorate)
            if changed:
                fields = (
                    ("view", str(now.view.id)),
                    ("quorate", now.quorate),
                    ("waiting", now.waiting),
                )
                self._out.append(Note("info", log_events.QUORUM, fields))
            self._published = status
            self._out.append(Publish(status))

    def _node(self, node: ConfiguredNode) -> PeerStatus:
        processes = [process for process in self._group if process[0] == node.id]
        hello = next((self._hellos[p] for p in processes if p in self._hellos), None)
        in_view = self._view.member(node.id)
        left = not processes and self._runs.of(node.id).left
        if node.id in self._left or left:
            state = NodeState.LEFT
        elif in_view is not None:
            late = node.id in self._away or node.id not in self._ring_nodes
            state = NodeState.LATE if late else NodeState.MEMBER
        elif processes:
            state = NodeState.JOINING
        else:
            state = NodeState.LOST if node.id in self._was_member else NodeState.UNKNOWN
        token = in_view.boot_token if in_view is not None else hello.boot_token if hello is not None else ""
        return PeerStatus(
            id=node.id,
            name=node.name,
            state=state,
            incarnation=hello.incarnation if hello is not None else 0,
            boot_token=BootToken(token),
            clean_leave=state is NodeState.LEFT and self._runs.of(node.id).left and self._told(),
            last_run=self._runs.of(node.id).incarnation,
        )

    # Small messages.

    def _requested(self, event: DataRequested) -> None:
        refusal = ""
        if not 1 <= len(event.topic) <= TOPIC_CHARACTERS_MAX:
            refusal = f"a topic has 1 to {TOPIC_CHARACTERS_MAX} characters"
        elif len(event.payload) > DATA_BYTES_MAX:
            refusal = f"a message has at most {DATA_BYTES_MAX} bytes"
        elif self._view.id == NO_VIEW:
            refusal = "this node is in no view"
        elif event.destination and self._view.member(event.destination) is None:
            refusal = f"node {event.destination} is not in the view"
        if refusal:
            self._out.append(DataAnswered(token=event.token, refusal=refusal))
            return
        self._number += 1
        data = Data(
            number=self._number,
            view=self._view.id,
            any_view=event.any_view,
            topic=event.topic,
            payload=event.payload,
        )
        self._out.append(Say(Small(destination=event.destination, data=data)))
        self._out.append(DataAnswered(token=event.token, number=self._number, view=self._view.id))

    def _deliver(self, sender: Process, small: Small) -> None:
        hello = self._hellos.get(sender)
        ours = small.destination in (0, self._config.node_id) and sender[0] != self._config.node_id
        if ours and hello is not None and (small.data.any_view or small.data.view == self._view.id):
            self._out.append(
                Deliver(sender=NodeId(sender[0]), incarnation=hello.incarnation, data=small.data)
            )
