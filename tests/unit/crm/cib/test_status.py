"""The status section, and the attributes that count failures."""

from __future__ import annotations

import pytest

from crm.cib.codec import render
from crm.cib.status import (
    FailureOffsets,
    Join,
    NodeFacts,
    failure_attributes,
    failure_changes,
    failure_of,
    history_of,
    status_section,
    uncounted_failures,
)
from hacluster.vocabulary.operation import ExecutionStatus
from tests.builders import a_result, an_operation
from tests.unit.crm.cib.test_history import a_history

OFFSETS = FailureOffsets()


def a_node(**changes: object) -> NodeFacts:
    facts: dict[str, object] = {
        "id": "1",
        "name": "node1",
        "member_since_s": 100,
        "online_since_s": 101,
        "join": Join.MEMBER,
        "expected_up": True,
    }
    return NodeFacts(**{**facts, **changes})  # type: ignore[arg-type]


def test_the_section() -> None:
    resources = a_history(a_result(an_operation("ip"))).elements()
    attributes = {"fail-count-web#monitor_10000": "1", "#feature-set": "3.19.7"}
    nodes = [
        a_node(resources=resources, attributes=attributes),
        a_node(id="2", name="node2", member_since_s=0, online_since_s=0, join=Join.DOWN, expected_up=False),
    ]
    section = status_section(nodes)
    assert history_of(section, "node1") == resources
    assert history_of(section, "node2") == ()
    text = render(section)
    assert '<node_state id="1" uname="node1" in_ccm="100" crmd="101"' in text
    assert 'join="member" expected="member">' in text
    assert '<node_state id="2" uname="node2" in_ccm="0" crmd="0"' in text
    assert 'join="down" expected="down"/>' in text
    assert (
        '<nvpair id="status-1-fail-count-web.monitor_10000" name="fail-count-web#monitor_10000" value="1"/>'
        in text
    )
    assert '<nvpair id="status-1-.feature-set" name="#feature-set" value="3.19.7"/>' in text


def test_a_held_node_is_pending_for_people_and_in_maintenance_for_the_scheduler() -> None:
    node = a_node(held=True)
    (shown,) = status_section([node]).children
    assert shown.get("join") == "pending"
    assert shown.child("transient_attributes") is None
    (planned,) = status_section([node], for_scheduler=True).children
    assert planned.get("join") == "member"
    assert planned.by_id("status-1-maintenance") is not None


@pytest.mark.parametrize(
    ("action", "interval_ms", "before", "count"),
    [
        ("start", 0, None, "INFINITY"),
        ("stop", 0, None, "INFINITY"),
        ("promote", 0, "1", "2"),
        ("monitor", 10_000, None, "1"),
        ("monitor", 10_000, "4", "5"),
        ("monitor", 10_000, "999999", "INFINITY"),
        ("monitor", 10_000, "INFINITY", "INFINITY"),
        ("monitor", 0, None, None),
        ("migrate_to", 0, None, None),
    ],
)
def test_counting(action: str, interval_ms: int, before: str | None, count: str | None) -> None:
    name = f"fail-count-web#{action}_{interval_ms}"
    attributes = {name: before} if before else {}
    result = a_result(an_operation(action=action, interval_ms=interval_ms), rc=1)
    changes = failure_changes(result, attributes, now_s=5_000, offsets=OFFSETS)
    assert changes.get(name) == count
    if count is not None:
        assert changes[f"last-failure-web#{action}_{interval_ms}"] == "5000"


def test_a_failed_start_counts_one_where_it_is_not_fatal() -> None:
    changes = failure_changes(a_result(rc=1), {}, now_s=5, offsets=FailureOffsets(start="1"))
    assert changes["fail-count-web#start_0"] == "1"


def test_what_is_not_counted() -> None:
    def changes(**kind: object) -> dict[str, str]:
        return failure_changes(a_result(**kind), {}, now_s=5, offsets=OFFSETS)  # type: ignore[arg-type]

    assert changes(rc=0) == {}
    assert changes(rc=1, status=ExecutionStatus.NOT_RUN) == {}
    ignored = an_operation(action="monitor", interval_ms=1_000, meta={"on_fail": "ignore"})
    assert changes(operation=ignored, rc=1, at_s=9) == {"last-failure-web#monitor_1000": "9"}


def test_failures_that_no_dc_saw_are_counted_once() -> None:
    monitor = an_operation(action="monitor", interval_ms=10_000)
    probe = an_operation("db", action="monitor", expected=7)
    history = a_history(a_result(monitor, rc=7, at_s=700), a_result(probe, rc=0))
    changes = uncounted_failures(history.failures(), {}, OFFSETS)
    assert changes == {
        "fail-count-web#monitor_10000": "1",
        "last-failure-web#monitor_10000": "700",
    }
    assert uncounted_failures(history.failures(), changes, OFFSETS) == {}


def test_what_a_failure_attribute_is_about() -> None:
    assert failure_of("fail-count-web#monitor_10000") == ("web", "monitor", 10_000)
    assert failure_of("last-failure-web:1#migrate_to_0") == ("web:1", "migrate_to", 0)
    assert failure_of("fail-count-web") is None
    assert failure_of("shutdown") is None


def test_the_attributes_of_one_resource() -> None:
    attributes = {
        "fail-count-web#start_0": "1",
        "last-failure-web#start_0": "5",
        "fail-count-web#monitor_10000": "1",
        "fail-count-webserver#start_0": "1",
        "shutdown": "1",
    }
    assert failure_attributes(attributes, "web") == (
        "fail-count-web#monitor_10000",
        "fail-count-web#start_0",
        "last-failure-web#start_0",
    )
    assert failure_attributes(attributes, "web", "start", 0) == (
        "fail-count-web#start_0",
        "last-failure-web#start_0",
    )
