"""Two nodes, one fault: the rows of docs/two-node-faults.md."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from functools import partial

import pytest

from cli.demo.ground import until
from cli.demo.node import SERVICES, Node
from tests.live.cluster import Times
from tests.live.documents import Primitive, tutorial
from tests.live.running import SLOW, Running, running, wait_process_replaced

pytestmark = [pytest.mark.netns, pytest.mark.alone]

WHOLE_WITHIN_S = 5.0
STOPPED_WITHIN_S = 8.0
BOUND_MS = Times().deadtime + Times().keepalive + 300


@pytest.fixture
def two() -> Iterator[Running]:
    with running() as live:
        yield live
        live.audit()


@pytest.fixture
def slow_two() -> Iterator[Running]:
    with running(times=SLOW) as live:
        yield live
        live.audit()


def test_power_cut(two: Running) -> None:
    at_ns = two.power_cut(two.one)
    two.wait_served(two.other)
    two.check_outage(at_ns, BOUND_MS)
    two.boot(two.one)
    two.wait_served(two.one)  # it is preferred, and nothing sticks
    two.wait_quiet()


def test_power_cut_of_the_idle_node(two: Running) -> None:
    at_ns = two.power_cut(two.other)
    two.cluster.wait_members([two.one.name], 5)
    two.cluster.wait_dc(10)
    time.sleep(1)  # nothing is to happen in it
    assert two.touched_since(at_ns) == []
    two.boot(two.other)
    two.wait_quiet()
    assert two.touched_since(at_ns) == []


def test_power_cut_with_fencing_enabled() -> None:
    """Nobody can confirm: nothing is started elsewhere, and `hacli status` says what it waits for.

    That node 1 boots again is a confirmation by itself.
    """
    device = Primitive(id="fence", agent="stonith:fence_nobody", monitor="60s")
    properties = {"stonith-enabled": "true"}
    with running(properties=properties, alone=[device]) as live:
        live.forgiven = ("crm.fencing_",)
        live.power_cut(live.one)
        until(lambda: "must be fenced" in " ".join(live.cluster.status(live.other).transition.waits), 10)
        time.sleep(2)  # nothing is to happen in it
        assert all(where == [] for where in live.watch.places().values())
        assert "waiting" in live.other.hacli("status")
        live.boot(live.one)
        live.wait_served(live.one)
        live.wait_quiet()
        live.audit()


def test_only_link_cut() -> None:
    """Without fencing both run everything until the link is back; then one does, the other has stopped."""
    with running(exclusive=False) as live:
        live.lab.cut(live.one, live.other)
        both = sorted(node.name for node in live.nodes)
        until(lambda: all(sorted(where) == both for where in live.watch.places().values()), 20)
        live.lab.heal()
        live.wait_served(live.one)
        live.wait_quiet()
        live.audit()


def test_one_of_two_links_cut() -> None:
    with running(links=2) as live:
        view = live.cluster.messaging(live.one).authority.view.id
        at_ns = time.monotonic_ns()
        live.lab.cut(live.one, live.other, links=[0])

        def link_state() -> dict[int, str]:
            return {link.link: link.state for link in live.cluster.messaging(live.one).links}

        until(lambda: link_state() == {0: "down", 1: "up"}, 10, what=f"link 0 down: {link_state()}")
        assert live.cluster.messaging(live.one).authority.view.id == view
        live.lab.heal()
        until(lambda: link_state() == {0: "up", 1: "up"}, 10, what=f"link 0 up: {link_state()}")
        assert live.cluster.messaging(live.one).authority.view.id == view
        assert live.touched_since(at_ns) == []
        live.audit()


def test_cable_pulled() -> None:
    """Node 1 cannot be reached by anybody; node 2 serves the clients. Plugged again, one of them stops."""
    with running(exclusive=False) as live:
        at_ns = live.lab.pull(live.one)
        until(lambda: live.other.name in live.watch.places()["web"], 20)
        live.client.wait_served(5)
        live.check_outage(at_ns, BOUND_MS)
        live.lab.plug(live.one)
        live.wait_served(live.one)
        live.wait_quiet()
        live.audit()


def test_daemon_killed(slow_two: Running) -> None:
    """Each service on each node, by SIGKILL: nobody touches a resource, and it is whole again in 5 s."""
    for node in slow_two.nodes:
        for service in SERVICES:
            pid = node.service_pid(service)
            at_ns = node.kill_service(service)
            wait_process_replaced(node, service, pid, WHOLE_WITHIN_S)
            until(partial(slow_two.cluster.whole, node), WHOLE_WITHIN_S)
            slow_two.wait_quiet(WHOLE_WITHIN_S)
            assert slow_two.touched_since(at_ns) == [], f"{service} on {node.name}"


def test_daemon_stopped(slow_two: Running) -> None:
    """SIGSTOP: the supervisor kills it after 5 s without an answer; at work again within 8 s."""
    slow_two.forgiven = ("supervisor.service_hangs",)
    dc = slow_two.lab[slow_two.wait_quiet()]
    follower = next(node for node in slow_two.nodes if node is not dc)
    for node, service in ((dc, "crm"), (follower, "crm"), (slow_two.one, "lrm")):
        at_ns = node.kill_service(service, signal.SIGSTOP)
        pid = node.service_pid(service)
        wait_process_replaced(node, service, pid, STOPPED_WITHIN_S)
        slow_two.wait_quiet(STOPPED_WITHIN_S)
        took_s = (time.monotonic_ns() - at_ns) / 1e9 - 0.5  # wait_quiet watches for half a second
        assert took_s <= STOPPED_WITHIN_S, f"{service} on {node.name}"
        assert slow_two.touched_since(at_ns) == [], f"{service} on {node.name}"


def test_messaging_stopped_is_a_node_loss() -> None:
    """The peer takes over, and everything is whole once the supervisor has replaced it."""
    with running(exclusive=False) as live:
        live.forgiven = ("supervisor.service_hangs",)
        at_ns = live.one.kill_service("messaging", signal.SIGSTOP)
        until(lambda: live.other.name in live.watch.places()["web"], 20)
        live.wait_served(live.one, 30)
        live.wait_quiet()
        assert (time.monotonic_ns() - at_ns) / 1e9 < 30
        live.audit()


def test_all_daemons_killed(slow_two: Running) -> None:
    at_ns = time.monotonic_ns()
    for service in SERVICES:
        slow_two.one.kill_service(service)
    until(lambda: slow_two.cluster.whole(slow_two.one), WHOLE_WITHIN_S)
    slow_two.wait_quiet(10)
    assert slow_two.touched_since(at_ns) == []


def kill_web_server(node: Node) -> None:
    listeners = node.exec("ss", "-Hltnp", "sport = :80").stdout
    node.exec("kill", "-9", *sorted({word.partition(",")[0] for word in listeners.split("pid=")[1:]}))


def test_resource_killed(two: Running) -> None:
    kill_web_server(two.one)
    until(lambda: two.watch.places()["web"] == [], 5)
    two.wait_served(two.one, 10)
    two.wait_quiet()
    assert two.fail_count("web", two.one) == "1"


def test_start_fails() -> None:
    """The group goes where all of it starts."""
    broken = Primitive(id="picky", agent="ocf:hacluster:Dummy", parameters={"fail": "start@n1"})
    with running(group=[*tutorial(), broken], boot=False) as live:
        live.boot()
        live.wait_served(live.other)
        live.wait_quiet()
        assert live.fail_count("picky", live.one) == "INFINITY"
        live.audit()


def test_start_hangs() -> None:
    """Ended at its timeout, on each node; what stands before it in the group runs."""
    hanging = Primitive(
        id="slow",
        agent="ocf:hacluster:Delay",
        parameters={"startdelay": "60s", "stopdelay": "0s"},
        timeouts={"start": "1s"},
    )
    with running(group=[*tutorial(), hanging], boot=False) as live:
        live.boot()
        until(lambda: all(live.fail_count("slow", node) == "INFINITY" for node in live.nodes), 30)
        live.wait_quiet()
        assert len({where[0] for where in live.watch.places().values()}) == 1
        live.audit()


def test_monitor_fails() -> None:
    """In place up to migration-threshold, then elsewhere."""
    broken = Primitive(
        id="ill",
        agent="ocf:hacluster:Dummy",
        parameters={"fail": "monitor=1@n1"},
        meta={"migration-threshold": "2"},
    )
    group = [*tutorial(), broken]
    with running(group=group, boot=False) as live:
        live.boot()
        live.wait_served(live.other, 30)
        live.wait_quiet()
        live.audit()


def test_stop_fails() -> None:
    """Without fencing it is blocked: it may still be active, so nothing of it is started elsewhere."""
    stuck = Primitive(id="stuck", agent="ocf:hacluster:Dummy", parameters={"fail": "stop@n1"})
    with running(group=[*tutorial(), stuck]) as live:
        live.other.hacli("node", "standby", live.one.name)
        until(lambda: live.fail_count("stuck", live.one) == "INFINITY", 10)
        live.wait_quiet()
        assert live.watch.all_on(live.one.name)
        live.audit()


def test_short_pause(slow_two: Running) -> None:
    at_ns = slow_two.one.freeze()
    time.sleep(SLOW.deadtime / 2_000)
    slow_two.one.thaw()
    thawed_ns = time.monotonic_ns()
    slow_two.wait_quiet()
    assert slow_two.touched_since(thawed_ns + 300_000_000) == []
    assert [change for change in slow_two.watch.seen.changes if change.at_ns > at_ns] == []


def test_long_pause() -> None:
    """The other has taken over; whoever was paused finds out and stops its copies."""
    with running(exclusive=False) as live:
        live.one.freeze()
        until(lambda: live.other.name in live.watch.places()["web"], 10)
        time.sleep(3)  # the pause
        live.one.thaw()
        live.wait_served(live.one, 30)
        live.wait_quiet()
        live.audit()


def test_clean_stop(two: Running) -> None:
    at_ns = time.monotonic_ns()
    assert two.one.shut_down() == 0
    two.watch.tell(two.one)
    two.wait_served(two.other)
    two.cluster.wait_members([two.other.name], 5)
    assert two.client.longest_outage_ms(at_ns) <= 2_000
    two.boot(two.one)
    two.wait_served(two.one)


def test_full_restart(two: Running) -> None:
    for node in (two.other, two.one):
        assert node.shut_down() == 0
        two.watch.tell(node)
    at_ns = two.boot()
    two.wait_served(two.one)
    assert (time.monotonic_ns() - at_ns) / 1e9 <= 5.0
    two.wait_quiet()


def test_power_cut_of_both(two: Running) -> None:
    for node in two.nodes:
        two.power_cut(node)
    two.boot()
    two.wait_served(two.one)
    two.wait_quiet()


def test_one_boots_alone(two: Running) -> None:
    for node in two.nodes:
        two.power_cut(node)
    two.boot(two.other)
    until(lambda: two.cluster.status(two.other).waiting_for_all, 10)
    time.sleep(2)  # nothing is to happen in it
    assert all(where == [] for where in two.watch.places().values())
    two.boot(two.one)
    two.wait_served(two.one)


def test_one_boots_alone_and_the_operator_lets_it_go_on(two: Running) -> None:
    for node in two.nodes:
        two.power_cut(node)
    two.boot(two.other)
    until(lambda: (status := two.cluster.status(two.other)).waiting_for_all and bool(status.dc), 60)
    two.other.hacli("-F", "cluster", "force-quorum")
    two.wait_served(two.other)
    assert not two.cluster.status(two.other).waiting_for_all
    two.boot(two.one)
    two.wait_served(two.one)
    two.wait_quiet()


def test_cluster_toml_edited_on_one_node(slow_two: Running) -> None:
    """Node 2's file names node 1 by another id: neither takes the other for lost, so nothing runs twice."""
    slow_two.forgiven = ("messaging.config_differs", "messaging.stranger_with_our_key")
    file = "/etc/hacluster/cluster.toml"
    right = (slow_two.other.disk / file[1:]).read_text()
    wrong = right.replace("id = 1\n", "id = 7\n")
    assert wrong != right
    slow_two.other.write(file, wrong)
    pid = slow_two.other.service_pid("messaging")
    at_ns = slow_two.other.kill_service("messaging")
    wait_process_replaced(slow_two.other, "messaging", pid, WHOLE_WITHIN_S)
    until(lambda: "is alive, but its cluster.toml" in slow_two.one.hacli("status"), 10)
    time.sleep(4 * SLOW.deadtime / 1_000)  # nothing is to happen in it
    assert "messaging.stranger_with_our_key" in slow_two.other.log("messaging")
    assert slow_two.touched_since(at_ns) == []
    assert slow_two.cluster.members(slow_two.other) == []
    slow_two.other.write(file, right)
    slow_two.other.kill_service("messaging")
    until(lambda: slow_two.cluster.whole(slow_two.other), 10)
    slow_two.wait_quiet(10)
    assert slow_two.touched_since(at_ns) == []


def test_wrong_key() -> None:
    with running(boot=False) as live:
        wrong = "auth 1\n1 sha256 dGhlIHdyb25nIGtleSBvZiBhbm90aGVyIGNsdXN0ZXI=\n"
        live.other.write("/etc/hacluster/authkeys", wrong, 0o600)
        live.boot()
        until(lambda: live.cluster.messaging(live.one).dropped.get("bad_tag", 0) > 5, 10)
        assert live.other.name not in live.cluster.members(live.one)
        assert all(where == [] for where in live.watch.places().values())
        live.audit()
