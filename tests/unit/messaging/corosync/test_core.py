"""Views from corosync's groups: a total order in small, with restarts, splits, disks, and small messages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hacluster.vocabulary.ids import NO_VIEW, BootToken, NodeId, NodeName, ViewId
from hacluster.vocabulary.membership import NodeState
from messaging.corosync import wire
from messaging.corosync.core import (
    Accept,
    Config,
    CorosyncCore,
    Daemons,
    Effect,
    Event,
    GroupChanged,
    Heard,
    Hello,
    LeaveGroup,
    Packet,
    QuorumTold,
    RingChanged,
    Say,
    Small,
    Ticked,
)
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
    Persist,
    Persisted,
    RaiseIncarnation,
)
from messaging.membership.runs import Run
from messaging.membership.waiting import MarkAllSeen

S = 1_000_000_000
DEADTIME_NS = 2 * S
NODES = tuple(ConfiguredNode(id=NodeId(n), name=NodeName(f"n{n}")) for n in (1, 2, 3))


class Side:
    """One node: its core, what it has on disk."""

    def __init__(self, node: int, *, wait_for_all: bool = False) -> None:
        self.node, self.pid, self.wait_for_all = node, 100 * node, wait_for_all
        self.durable, self.incarnation = Durable(), 0
        self.effects: list[Effect] = []
        self.held: list[Persist] = []
        self.hold_disk = False
        self.start()

    def start(self) -> None:
        self.incarnation += 1
        self.pid += 1
        self.core = CorosyncCore(
            Config(
                node_id=NodeId(self.node),
                nodes=NODES,
                deadtime_ns=DEADTIME_NS,
                wait_for_all=self.wait_for_all,
                incarnation=self.incarnation,
                boot_token=BootToken(f"{self.node:064x}"),
                durable=self.durable,
                all_seen=False,
            )
        )

    @property
    def process(self) -> tuple[int, int]:
        return (self.node, self.pid)


class Corosync:
    """Rings of nodes, one order of messages in each, a group of those that run."""

    def __init__(self, *nodes: int, wait_for_all: bool = False) -> None:
        self.sides = {n: Side(n, wait_for_all=wait_for_all) for n in nodes}
        self.now_ns, self.seq = S, 0
        self.rings: list[list[int]] = []
        self.running: set[int] = set(nodes)

    def ring(self, *rings: list[int], died: tuple[int, ...] = ()) -> None:
        self.rings = list(rings)
        for nodes in rings:
            self.seq += 4
            for n in nodes:
                self.give(n, QuorumTold(quorate=2 * len(nodes) > len(NODES), ring_seq=self.seq))
                self.give(n, RingChanged(ring=(self.seq, nodes[0]), nodes=tuple(nodes)))
            self.group(nodes, died)
        self.settle()

    def group(self, nodes: list[int], died: tuple[int, ...] = ()) -> None:
        members = tuple(self.sides[n].process for n in nodes if n in self.running)
        for n in nodes:
            if n in self.running:
                self.give(n, GroupChanged(members=members, died=died))

    def kill(self, node: int) -> None:
        self.running.discard(node)
        ring = next(nodes for nodes in self.rings if node in nodes)
        self.group(ring, died=(node,))
        self.settle()

    def restart(self, node: int, *, same_process: bool = False) -> None:
        self.sides[node].start()
        self.sides[node].pid -= same_process
        self.running.add(node)
        ring = next(nodes for nodes in self.rings if node in nodes)
        self.give(node, RingChanged(ring=(self.seq, ring[0]), nodes=tuple(ring)))
        self.give(node, QuorumTold(quorate=2 * len(ring) > len(NODES), ring_seq=self.seq))
        self.group(ring)
        self.settle()

    def tick(self, after_ns: int = 0) -> None:
        self.now_ns += after_ns
        for n in self.running:
            self.give(n, Ticked(self.now_ns))
        self.settle()

    def give(self, node: int, event: Event) -> list[Effect]:
        side = self.sides[node]
        effects = side.core.handle(event, self.now_ns)
        side.effects += effects
        return effects

    def settle(self, stop: Callable[[Packet], bool] = lambda _packet: False) -> None:
        """Disks write, messages go to all of the ring in one order."""
        for _ in range(1_000):
            busy = False
            for node in sorted(self.running):
                side = self.sides[node]
                effects, side.effects = side.effects, []
                for effect in effects:
                    busy = True
                    if isinstance(effect, Persist) and side.hold_disk:
                        side.held.append(effect)
                    elif isinstance(effect, Persist):
                        side.durable = effect.durable
                        self.give(node, Persisted(effect.token))
                    elif isinstance(effect, Say):
                        packet = wire.decode(wire.encode(effect.packet))
                        assert packet == effect.packet
                        if stop(packet):
                            return
                        ring = next(nodes for nodes in self.rings if node in nodes)
                        for other in ring:
                            if other in self.running:
                                self.give(other, Heard(sender=side.process, packet=packet))
                    elif isinstance(
                        effect, Deliver | DataAnswered | MarkAllSeen | LeaveGroup | RaiseIncarnation
                    ):
                        self.seen.setdefault(node, []).append(effect)
            if not busy:
                return
        raise AssertionError("it does not come to rest")

    @property
    def seen(self) -> dict[int, list[Effect]]:
        return self.__dict__.setdefault("_seen", {})  # type: ignore[no-any-return]

    def view(self, node: int) -> tuple[ViewId, list[int]]:
        view = self.sides[node].core.status(self.now_ns).authority.view
        return view.id, [int(member.id) for member in view.members]

    def quorate(self, node: int) -> bool:
        return self.sides[node].core.status(self.now_ns).authority.quorate

    def state(self, node: int, other: int) -> NodeState:
        return self.sides[node].core.status(self.now_ns).nodes[other - 1].state


def test_all_install_one_view_and_ids_grow() -> None:
    world = Corosync(1, 2, 3)
    world.ring([1, 2, 3])
    world.tick()
    first = world.view(1)
    assert first[1] == [1, 2, 3]
    assert {str(world.view(n)) for n in (1, 2, 3)} == {str(first)}
    assert all(world.quorate(n) for n in (1, 2, 3))
    world.ring([1, 2], [3])
    world.tick()
    assert (world.view(1), world.view(2)[0]) == ((world.view(2)[0], [1, 2]), world.view(1)[0])
    assert (world.quorate(1), world.quorate(3)) == (True, False)
    assert world.view(3)[1] == [3]
    assert world.state(1, 3) is NodeState.LOST
    world.ring([1, 2, 3])
    world.tick()
    assert world.view(3)[0] > first[0]
    assert world.view(3) == world.view(1)


def test_who_is_back_within_deadtime_is_not_lost() -> None:
    world = Corosync(1, 2, 3)
    world.ring([1, 2, 3])
    world.tick()
    before = world.view(1)
    world.kill(3)
    world.tick(DEADTIME_NS // 2)
    assert world.view(1) == before
    assert (world.quorate(1), world.state(1, 3)) == (True, NodeState.LATE)
    world.restart(3)
    world.tick()
    assert world.view(1)[1] == [1, 2, 3]
    assert world.view(1)[0] > before[0]
    member = world.sides[1].core.status(world.now_ns).authority.view.member(3)
    assert member is not None
    assert member.incarnation == 2
    world.kill(2)
    world.tick(DEADTIME_NS + 1)
    assert world.view(1)[1] == [1, 3]
    assert world.state(1, 2) is NodeState.LOST


def test_nobody_installs_what_is_not_on_every_disk() -> None:
    world = Corosync(1, 2, 3)
    world.sides[2].hold_disk = True
    world.ring([1, 2, 3])
    assert {world.view(n)[0] for n in (1, 2, 3)} == {NO_VIEW}
    side = world.sides[2]
    side.hold_disk = False
    side.durable = side.held[0].durable
    world.give(2, Persisted(side.held[0].token))
    world.settle()
    assert {world.view(n)[0] for n in (1, 2, 3)} == {ViewId(1, NodeId(1))}
    world.give(2, Persisted(side.held[0].token + 7))
    world.settle()


def test_the_same_id_never_names_other_members() -> None:
    """Node 2 has installed a view with node 1, of which node 1 has heard nothing; its disk knows."""
    world = Corosync(1, 2, 3)
    world.rings = [[1, 2]]
    accepts: list[Packet] = []

    def last_accept(packet: Packet) -> bool:
        accepts.extend([packet] if isinstance(packet, Accept) else [])
        return len(accepts) == 2

    for n in (1, 2):
        world.give(n, RingChanged(ring=(4, 1), nodes=(1, 2)))
        world.give(n, QuorumTold(quorate=True, ring_seq=4))
    world.seq = 4
    world.group([1, 2])
    world.settle(last_accept)
    for sender in (1, 2):
        world.give(2, Heard(sender=world.sides[sender].process, packet=accepts[0]))
    assert world.view(2) == (ViewId(1, NodeId(1)), [1, 2])
    assert world.view(1)[0] == NO_VIEW
    world.ring([1, 3], [2])
    assert world.view(1) == (ViewId(2, NodeId(1)), [1, 3])


def test_authority_ends_with_the_ring_and_with_corosyncs_answers() -> None:
    world = Corosync(1, 2, 3, wait_for_all=True)
    assert world.sides[1].core.status(S).authority.waiting
    world.ring([1, 2, 3])
    world.tick()
    assert world.quorate(1)
    assert MarkAllSeen() in world.seen[1]
    assert not world.sides[1].core.status(world.now_ns).authority.waiting
    world.now_ns += DEADTIME_NS
    assert not world.quorate(1), "corosync has not answered for a deadtime"
    world.tick()
    assert world.quorate(1)
    world.give(1, RingChanged(ring=(world.seq + 4, 1), nodes=(1, 2)))
    assert not world.quorate(1), "a node of the view is gone, and the new view is not there yet"
    world.give(1, QuorumTold(quorate=False, ring_seq=world.seq + 4))
    assert not world.quorate(1)


def test_one_alone_is_quorate_by_two_node_only() -> None:
    world = Corosync(1, 2, 3)

    def told() -> tuple[bool, bool]:
        authority = world.sides[1].core.status(world.now_ns).authority
        return authority.quorate, authority.by_votes

    assert told() == (False, False)
    world.ring([1, 2], [3])
    world.tick()
    assert told() == (True, True)
    world.ring([2], [3], [1])
    world.tick()
    assert told() == (False, False)
    world.give(1, QuorumTold(quorate=True, ring_seq=world.seq))
    assert told() == (True, False)


def test_small_messages_belong_to_their_view() -> None:
    world = Corosync(1, 2, 3)

    def ask(token: int, destination: int = 0, topic: str = "election", payload: bytes = b"x") -> DataAnswered:
        world.seen.clear()
        effects = world.give(
            1,
            DataRequested(token=token, topic=topic, payload=payload, destination=destination, any_view=False),
        )
        world.settle()
        return next(effect for effect in effects if isinstance(effect, DataAnswered))

    assert "in no view" in ask(1).refusal
    world.ring([1, 2, 3])
    world.tick()
    assert ask(2).number == 1
    got = {node: [e.data.payload for e in es if isinstance(e, Deliver)] for node, es in world.seen.items()}
    assert got == {1: [], 2: [b"x"], 3: [b"x"]}
    ask(3, destination=3)
    assert [node for node, es in world.seen.items() if any(isinstance(e, Deliver) for e in es)] == [3]
    assert "topic" in ask(4, topic="").refusal
    assert "bytes" in ask(5, payload=bytes(70_000)).refusal
    world.ring([1, 2], [3])
    assert "not in the view" in ask(6, destination=3).refusal
    old = Data(number=9, view=ViewId(1, NodeId(1)), topic="t", payload=b"old")
    effects = world.give(2, Heard(sender=world.sides[1].process, packet=Small(destination=0, data=old)))
    assert not any(isinstance(effect, Deliver) for effect in effects)
    effects = world.give(
        2,
        Heard(
            sender=world.sides[1].process,
            packet=Small(destination=0, data=old._replace(any_view=True)),
        ),
    )
    assert any(isinstance(effect, Deliver) for effect in effects)


def test_daemons_and_leaving_are_told() -> None:
    world = Corosync(1, 2, 3)
    world.ring([1, 2, 3])
    world.give(2, DaemonsChanged(crm_instance=7, lrm_instance=8))
    world.settle()
    member = world.sides[1].core.status(world.now_ns).authority.view.member(2)
    assert member is not None
    assert (member.crm_instance, member.lrm_instance) == (7, 8)
    world.give(3, LeaveRequested(Leave(clean=True)))
    world.settle()
    assert LeaveGroup() in world.seen[3]
    world.running.discard(3)
    world.group([1, 2, 3], died=(3,))
    world.settle()
    assert world.view(1)[1] == [1, 2], "at once, without deadtime"
    assert world.state(1, 3) is NodeState.LEFT
    assert world.sides[1].core.status(world.now_ns).nodes[2].clean_leave


def left(world: Corosync, at: int) -> tuple[NodeState, bool]:
    """What node `at` says of node 3."""
    status = world.sides[at].core.status(world.now_ns).nodes[2]
    return status.state, status.clean_leave


def test_an_old_leave_does_not_count_when_the_next_run_was_in_a_view() -> None:
    """n1 hears n3 leave, is alone, and is with n2 again after n3 was."""
    world = Corosync(1, 2, 3)
    world.ring([1, 2, 3])
    world.give(3, LeaveRequested(Leave(clean=True)))
    world.settle()
    world.kill(3)
    assert left(world, 1) == left(world, 2) == (NodeState.LEFT, True)
    world.ring([1], [2, 3])
    world.restart(3)
    world.ring([1, 2], [3])
    assert world.sides[1].core.status(world.now_ns).authority.quorate
    assert left(world, 1) == (NodeState.LEFT, False)
    assert left(world, 2) == (NodeState.LOST, False)
    assert world.sides[1].core.status(world.now_ns).nodes[2].last_run == 2


def test_who_did_not_hear_leave_learns_it() -> None:
    world = Corosync(1, 2, 3)
    world.ring([1], [2, 3])
    world.give(3, LeaveRequested(Leave(clean=True)))
    world.settle()
    world.kill(3)
    assert left(world, 1) == (NodeState.UNKNOWN, False)
    world.ring([1, 2], [3])
    assert left(world, 1) == (NodeState.LEFT, True)


def test_a_node_that_lost_its_disk_is_not_asked_who_has_left() -> None:
    """It begins again above the run that others know, and counts when a majority without it has told."""
    world = Corosync(1, 2, 3)
    world.ring([1, 2, 3])
    world.give(3, LeaveRequested(Leave(clean=True)))
    world.settle()
    world.kill(3)
    world.kill(2)
    world.restart(2)
    world.kill(2)
    world.sides[2].durable, world.sides[2].incarnation = Durable(), 0
    world.restart(2)
    raised = [effect for effect in world.seen[2] if isinstance(effect, RaiseIncarnation)]
    assert raised == [RaiseIncarnation(2)]
    assert world.sides[2].durable.forgetful
    world.sides[2].incarnation = raised[0].highest
    world.kill(2)
    world.restart(2)
    assert left(world, 1) == left(world, 2) == (NodeState.LEFT, False)
    world.restart(3)
    world.give(3, LeaveRequested(Leave(clean=True)))
    world.settle()
    world.kill(3)
    assert left(world, 1) == left(world, 2) == (NodeState.LEFT, True)


def test_another_ha_crm_brings_back_who_has_left() -> None:
    world = Corosync(1, 2)
    world.ring([1, 2])
    ended = [EndRun(CRM_IS_BACK)]
    for instance, leave, wanted in ((7, False, []), (0, True, []), (7, False, []), (8, False, ended)):
        if leave:
            world.give(2, LeaveRequested(Leave(clean=True)))
        effects = world.give(2, DaemonsChanged(crm_instance=instance, lrm_instance=8))
        world.settle()
        assert [effect for effect in effects if isinstance(effect, EndRun)] == wanted


def test_who_says_that_the_node_leaves_does_not_bring_it_back() -> None:
    world = Corosync(1, 2)
    world.ring([1, 2])
    world.give(2, LeaveRequested(Leave(clean=True), by=7))
    for instance, wanted in ((7, []), (8, [EndRun(CRM_IS_BACK)])):
        effects = world.give(2, DaemonsChanged(crm_instance=instance, lrm_instance=8))
        world.settle()
        assert [effect for effect in effects if isinstance(effect, EndRun)] == wanted


@pytest.mark.parametrize("said", [False, True], ids=["no word came through", "it had left"])
def test_the_next_run_in_the_same_process_is_a_change_too(said: bool) -> None:
    world = Corosync(1, 2, 3)
    world.ring([1, 2, 3])
    before = world.view(1)[0]
    if said:
        world.give(2, LeaveRequested(Leave(clean=True)))
        world.settle()
    world.kill(2)
    world.restart(2, same_process=True)
    world.tick()
    assert world.view(1)[1] == [1, 2, 3]
    assert world.view(1)[0] > before
    assert {str(world.view(n)) for n in (1, 2, 3)} == {str(world.view(1))}
    members = world.sides[1].core.status(world.now_ns).authority.view.members
    assert [member.incarnation for member in members] == [1, 2, 1]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff\xfe\n",
        b"[1]\n",
        b'{"v": 2, "daemons": [1, 2]}\n',
        b'{"v": 1}\n',
        b'{"v": 1, "daemons": [1]}\n',
        b'{"v": 1, "daemons": [1, -2]}\n',
        b'{"v": 1, "hello": [1, 2, 3, 4], "tag": "t", "boot": "xy"}\n',
        b'{"v": 1, "hello": [1, 2, 3, 4], "tag": "t", "boot": "ab", "runs": [[2, 1, 0], [1, 1, 0]]}\n',
        b'{"v": 1, "hello": [1, 2, 3, 4], "tag": "t", "boot": "ab", "runs": [[2, 0, 0]]}\n',
        b'{"v": 1, "hello": [1, 2, 3, 4], "tag": "t", "boot": "ab", "runs": [[2, 1]]}\n',
        b'{"v": 1, "hello": [1, 2, 3, 4], "tag": "t", "boot": "ab", "runs": 7}\n',
        b'{"v": 1, "leave": true}\n',
        wire.encode(Small(destination=0, data=Data(topic="t" * 65))),
        wire.encode(Small(destination=0, data=Data(topic="t", payload=bytes(70_000)))),
    ],
)
def test_what_is_none_of_ours_is_dropped(message: bytes) -> None:
    assert wire.decode(message) is None


def test_packets_come_back_as_they_were() -> None:
    packets: list[Packet] = [
        Hello(tag="4.1:1/2", counter=9, incarnation=3, boot_token="ab" * 32, crm=1, lrm=2),
        Hello(
            tag="t",
            counter=9,
            incarnation=3,
            boot_token="ab" * 32,
            crm=1,
            lrm=2,
            runs=(Run(1, 3), Run(2, 9, left=True)),
            forgetful=True,
        ),
        Accept(tag="t", view=ViewId(5, NodeId(2))),
        Daemons(crm=1, lrm=0),
        Leave(clean=False, active_unmanaged=("a", "b")),
        Small(destination=3, data=Data(number=1, view=ViewId(2, NodeId(1)), topic="t", payload=b"a\nb")),
    ]
    assert [wire.decode(wire.encode(packet)) for packet in packets] == packets
