"""What ha-crm, ha-lrm and clients hear comes in the order in which it became true, however slow the disk."""

from __future__ import annotations

from dataclasses import replace

from hacluster.vocabulary.membership import NodeState, QuorumConfig
from messaging.membership.events import DaemonsChanged, Leave, LeaveRequested, Received
from messaging.packet import TO_ALL, Header, Kind
from tests.sim.engine import MS, SECOND, START_NS, World
from tests.sim.membership import MembershipCluster, MessagingProcess


def a_member() -> tuple[World, MembershipCluster, MessagingProcess]:
    world = World(1)
    cluster = MembershipCluster(world, 3)
    cluster.boot_all()
    world.run_until(START_NS + 5 * SECOND)
    assert cluster.one_view()
    return world, cluster, cluster.processes["n1"]


def test_a_slow_disk_lets_no_old_status_come_last() -> None:
    """While the disk still writes the new view, news come that need no disk."""
    world, cluster, process = a_member()
    told: list[int] = []
    process.on_publish.append(lambda _, status: told.append(len(status.authority.view.members)))
    cluster.nodes["n3"].power_cut(world.stream("test"))
    process.disk.sync_ns = (300 * MS, 300 * MS)
    world.run_until(START_NS + 8 * SECOND)
    cluster.nodes["n3"].boot()
    world.run_until(START_NS + 12 * SECOND)
    assert told[-1] == 3
    assert cluster.one_view()


def test_a_leave_that_somebody_has_kept_says_nothing_of_what_runs_there() -> None:
    """A node that has forgotten the later run of the other, or never knew it, takes it for news."""
    world, cluster, process = a_member()
    cluster.nodes["n3"].power_cut(world.stream("test"))
    cluster.nodes["n1"].power_cut(world.stream("test"))
    world.run_until(START_NS + 10 * SECOND)
    cluster.nodes["n1"].boot()
    world.run_until(START_NS + 20 * SECOND)

    def said() -> tuple[NodeState, bool]:
        assert process.status is not None
        node = next(node for node in process.status.nodes if node.name == "n3")
        return node.state, node.clean_leave

    kept = Header(Kind.LEAVE, 1, 0, 0, 3, TO_ALL, bytes(16), 1, 77)
    process.deliver(Received(kept, Leave(clean=True), process.node.clock.now_ns()))
    assert said() == (NodeState.LEFT, False), "the others must not take what ran there for gone"
    cluster.nodes["n3"].boot()
    world.run_until(START_NS + 30 * SECOND)
    assert said() == (NodeState.MEMBER, False)
    cluster.processes["n3"].deliver(LeaveRequested(Leave(clean=True)))
    world.run_until(START_NS + 31 * SECOND)
    assert said() == (NodeState.LEFT, True)


def test_who_has_left_joins_again_with_the_next_ha_crm() -> None:
    """`systemctl restart ha-crm`: the LEAVE of this run stands, so another one begins."""
    world, cluster, process = a_member()
    process.deliver(DaemonsChanged(crm_instance=7, lrm_instance=1))
    before = process.generation
    process.deliver(LeaveRequested(Leave(clean=True)))
    for instance in (0, 7, 0):  # the one that leaves loses its stream, and has it again
        process.deliver(DaemonsChanged(crm_instance=instance, lrm_instance=1))
    world.run_until(START_NS + 10 * SECOND)
    other = cluster.processes["n2"]
    assert other.status is not None
    assert [member.name for member in other.status.authority.view.members] == ["n2", "n3"]
    process.deliver(DaemonsChanged(crm_instance=8, lrm_instance=1))
    world.run_until(START_NS + 20 * SECOND)
    assert cluster.one_view()
    assert process.generation > before


def test_who_says_that_the_node_leaves_does_not_bring_it_back() -> None:
    """A ha-messaging that has just been restarted hears LEAVE first, and is watched a moment later."""
    world, cluster, process = a_member()
    before = process.generation
    process.deliver(LeaveRequested(Leave(clean=True), by=7))
    process.deliver(DaemonsChanged(crm_instance=7, lrm_instance=1))
    world.run_until(START_NS + 10 * SECOND)
    assert process.generation == before
    process.deliver(DaemonsChanged(crm_instance=8, lrm_instance=1))
    world.run_until(START_NS + 20 * SECOND)
    assert cluster.one_view()
    assert process.generation > before


def test_both_of_two_go_together_whoever_else_has_their_key() -> None:
    """n3 was taken out of the others' cluster.toml, and runs on: they miss nobody."""
    world, cluster, _ = a_member()
    for name in ("n1", "n2"):
        process = cluster.processes[name]
        cluster.nodes[name].power_cut(world.stream("test"))
        nodes = process.config.nodes[:2]
        quorum = QuorumConfig(voters=tuple((node.id, 1) for node in nodes), two_node=True, wait_for_all=True)
        process.config = replace(process.config, nodes=nodes, quorum=quorum)
    world.run_until(START_NS + 8 * SECOND)
    cluster.nodes["n1"].boot()
    cluster.nodes["n2"].boot()
    world.run_until(START_NS + 15 * SECOND)
    for name in ("n1", "n2"):
        status = cluster.processes[name].status
        assert status is not None
        assert [member.name for member in status.authority.view.members] == ["n1", "n2"]
        assert status.authority.quorate
