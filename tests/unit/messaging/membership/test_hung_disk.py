"""A node whose disk hangs is heard and never accepts: the others do not change views for it all the time."""

from __future__ import annotations

from tests.sim.engine import SECOND, START_NS, SYNC_NS, World
from tests.sim.membership import MembershipCluster


def test_the_others_rest_while_a_disk_hangs_and_take_its_node_back_afterwards() -> None:
    world = World(1)
    cluster = MembershipCluster(world, 3)
    cluster.boot_all()
    world.run_until(START_NS + 5 * SECOND)
    assert cluster.one_view()
    hung = cluster.processes["n3"]
    hung.disk.sync_ns = (3 * SECOND, 3 * SECOND)
    views: set[str] = set()
    cluster.processes["n1"].on_publish.append(lambda _, status: views.add(str(status.authority.view.id)))
    cluster.processes["n2"].crash()
    world.run_until(world.now_ns + SECOND // 2)
    cluster.processes["n2"].start()
    world.run_until(world.now_ns + 60 * SECOND)
    assert len(views) < 16
    hung.disk.sync_ns = SYNC_NS
    world.run_until(world.now_ns + 25 * SECOND)
    assert cluster.one_view()
