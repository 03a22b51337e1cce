"""Three nodes: quorum, a DC that hangs, a cold start, each daemon killed on each node, bad packets."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from cli.demo.ground import until
from cli.demo.node import SERVICES
from cli.demo.timeline import Record
from tests.live.running import SLOW, Running, running, wait_process_replaced

pytestmark = [pytest.mark.netns, pytest.mark.alone]

NAMES = ("n1", "n2", "n3")
COLD_START_S = 5.0
NEW_DC_S = 3.5
WHOLE_WITHIN_S = 5.0
STOPS_WITHIN_NS = 500_000_000


@pytest.fixture
def three() -> Iterator[Running]:
    with running(NAMES) as live:
        yield live
        live.audit()


@pytest.fixture
def slow_three() -> Iterator[Running]:
    with running(NAMES, times=SLOW) as live:
        yield live
        live.audit()


def test_cold_start() -> None:
    """Until one DC is followed by all, and until the page comes."""
    with running(NAMES, boot=False) as live:
        at_ns = live.boot()
        live.cluster.wait_dc(COLD_START_S)
        live.wait_served(live.one)
        took_s = (time.monotonic_ns() - at_ns) / 1e9
        assert took_s <= COLD_START_S
        live.audit()


def test_split_brain_with_quorum(three: Running) -> None:
    """Two against one: the one's quorum ends before anything starts on the two, and it stops all at once.

    How long its stops take nobody on the other side can know: that nothing is ever active twice is what a
    fence is for (tests/live/test_fence_races.py has this very split with one). Together again, it returns.
    """
    one, *rest = three.nodes
    three.watch.seen.exclusive = False
    at_ns = time.monotonic_ns()
    three.lab.split([one], rest)
    three.cluster.wait_members([node.name for node in rest], 10, on=rest)
    until(lambda: three.watch.places()["web"] in (["n2"], ["n3"]), 20)
    until(lambda: all("n1" not in where for where in three.watch.places().values()), 1)
    assert not three.cluster.messaging(one).authority.quorate
    records = [record for record in three.records() if record.at_ns > at_ns]
    lost = first(records, "messaging.quorum", node="n1", quorate=False)
    stops = first(records, "lrm.operation_begun", node="n1", operation="stop")
    starts = min(first(records, "lrm.operation_begun", node=node.name, operation="start") for node in rest)
    assert math.isfinite(starts), "web was started on the two, and nobody has seen it"
    assert lost < starts, f"{(lost - starts) / 1e6:.0f} ms too late"
    assert stops - lost < STOPS_WITHIN_NS, f"{(stops - lost) / 1e6:.0f} ms until the first stop"
    three.watch.seen.exclusive = True
    three.lab.heal()
    three.wait_served(one)
    three.wait_quiet()


def first(records: list[Record], event: str, *, node: str, **fields: object) -> float:
    """When that was logged there first, in ns; never: infinity."""
    found = (
        record.at_ns
        for record in records
        if (record.event, record.node) == (event, node) and fields.items() <= record.fields.items()
    )
    return min(found, default=math.inf)


def test_split_brain_without_quorum(three: Running) -> None:
    """One against one against one: nobody serves; together again, all is as before."""
    three.lab.split(*[[node] for node in three.nodes])
    until(lambda: all(where == [] for where in three.watch.places().values()), 20)
    three.lab.heal()
    three.wait_served(three.one)
    three.wait_quiet()


def test_hung_dc(slow_three: Running) -> None:
    """SIGSTOP of the DC's ha-crm: the others have a new DC in 3.5 s, and no resource is touched."""
    slow_three.forgiven = ("supervisor.service_hangs",)
    old = slow_three.lab[slow_three.wait_quiet()]
    at_ns = old.kill_service("crm", signal.SIGSTOP)
    slow_three.cluster.wait_dc(NEW_DC_S, not_node=old)
    assert (time.monotonic_ns() - at_ns) / 1e9 <= NEW_DC_S
    slow_three.wait_quiet(15)
    assert slow_three.touched_since(at_ns) == []


def test_each_daemon_killed_on_each_node(slow_three: Running) -> None:
    for node in slow_three.nodes:
        for service in SERVICES:
            pid = node.service_pid(service)
            at_ns = node.kill_service(service)
            wait_process_replaced(node, service, pid, WHOLE_WITHIN_S)
            until(partial(slow_three.cluster.whole, node), WHOLE_WITHIN_S)
            slow_three.wait_quiet(WHOLE_WITHIN_S)
            assert slow_three.touched_since(at_ns) == [], f"{service} on {node.name}"


def test_bad_packets_are_counted_and_change_nothing(three: Running) -> None:
    view = three.cluster.messaging(three.one).authority.view.id
    at_ns = time.monotonic_ns()
    own = three.lab.client_address(1)
    targets = [node.interfaces[0].ip for node in three.nodes]
    script = Path(__file__).with_name("bad_packets_script.py")
    stranger = three.lab.guest(str(script), own, "694", *targets, address=own)
    before = sum(three.cluster.messaging(three.one).dropped.values())
    until(lambda: sum(three.cluster.messaging(three.one).dropped.values()) > before + 2_000, 20)
    assert stranger.stdin is not None
    stranger.stdin.close()
    reasons = {reason for reason, count in three.cluster.messaging(three.one).dropped.items() if count}
    assert {"bad_length", "bad_magic"} <= reasons
    assert three.cluster.messaging(three.one).authority.view.id == view
    assert three.touched_since(at_ns) == []
