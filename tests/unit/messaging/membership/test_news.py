"""What ha-crm, ha-lrm and clients hear comes in the order in which it became true, however slow the disk."""

from __future__ import annotations

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
