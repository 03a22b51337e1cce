"""Who is told of what, and with which variables."""

from __future__ import annotations

import re

import pytest

from crm.alerts.core import Alerts, AttributeChanged, Call, Ended, Event, Fenced, NodeChanged, format_time
from crm.cib.codec import parse
from crm.cib.model import Element
from hacluster.vocabulary.operation import ExecutionStatus
from tests.builders import a_result, an_operation

WALL_NS = 1_700_000_000_123_456_789


def a_configuration(alerts: str) -> Element:
    return parse(f"<configuration><alerts>{alerts}</alerts></configuration>".encode(), source="test")


def told(alerts: str, *events: Event) -> list[Call]:
    core, configuration = Alerts("node1", "1"), a_configuration(alerts)
    return [call for event in events for call in core.handle(event, configuration, WALL_NS)]


NODE = NodeChanged(node="node2", node_id="2", state="lost")
FENCED = Fenced(target="node2", action="reboot", rc=0, text="by node1")
ATTRIBUTE = AttributeChanged(name="pingd", value="3")
START = Ended(a_result(an_operation("web", "start", expected=0), rc=1, exit_reason="port in use"))
ALL = (NODE, FENCED, START, ATTRIBUTE)


def kinds(alerts: str) -> list[str]:
    return [call.environment["CRM_alert_kind"] for call in told(alerts, *ALL)]


def test_without_a_choice_everything_but_attributes() -> None:
    assert kinds('<alert id="a" path="/bin/a"/>') == ["node", "fencing", "resource"]


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("<select_nodes/>", ["node"]),
        ("<select_fencing/><select_resources/>", ["fencing", "resource"]),
        ("<select_attributes/>", ["attribute"]),
        ('<select_attributes><attribute id="x" name="pingd"/></select_attributes>', ["attribute"]),
        ('<select_attributes><attribute id="x" name="other"/></select_attributes>', []),
    ],
)
def test_what_is_selected(select: str, expected: list[str]) -> None:
    assert kinds(f'<alert id="a" path="/bin/a"><select>{select}</select></alert>') == expected


def test_the_variables_of_each_kind() -> None:
    alert = '<alert id="a" path="/bin/a"><select><select_nodes/><select_fencing/><select_resources/><select_attributes/></select></alert>'  # noqa: E501
    node, fenced, resource, attribute = (call.environment for call in told(alert, *ALL))
    common = {"kind", "version", "node_sequence", "timestamp", "timestamp_epoch", "timestamp_usec"}

    def own(environment: object) -> dict[str, str]:
        assert isinstance(environment, dict)
        values = {
            name.removeprefix("CRM_alert_"): value
            for name, value in environment.items()
            if name.startswith("CRM_alert_")
        }
        former = {f"CRM_notify_{name}": value for name, value in values.items()}
        assert former.items() <= environment.items(), "what scripts for ClusterMon know them by"
        assert len(environment) == len(values) + len(former)
        assert common <= values.keys()
        return {name: value for name, value in values.items() if name not in common}

    assert own(node) == {"node": "node2", "nodeid": "2", "desc": "lost"}
    assert own(fenced) == {"node": "node2", "task": "reboot", "desc": "by node1", "rc": "0"}
    assert own(resource) == {
        "node": "node1", "rsc": "web", "task": "start", "interval": "0", "target_rc": "0", "status": "0",
        "rc": "1", "exec_time": "12", "desc": "port in use",
    }  # fmt: skip
    assert own(attribute) == {
        "node": "node1", "nodeid": "1", "attribute_name": "pingd", "attribute_value": "3"
    }  # fmt: skip
    assert [one["CRM_alert_node_sequence"] for one in (node, fenced, resource, attribute)] == list("1234")
    assert (node["CRM_alert_timestamp_epoch"], node["CRM_alert_timestamp_usec"]) == ("1700000000", "123456")
    assert re.fullmatch(r"\d\d:\d\d:20\.123456", node["CRM_alert_timestamp"])


def test_recipients_and_what_they_add() -> None:
    calls = told(
        '<alert id="a" path="/bin/a"><meta_attributes id="m"><nvpair id="m1" name="timeout" value="5s"/>'
        '</meta_attributes><instance_attributes id="i"><nvpair id="i1" name="level" value="low"/>'
        '<nvpair id="i2" name="CRM_alert_kind" value="forged"/>'
        '<nvpair id="i3" name="CRM_notify_rc" value="forged"/></instance_attributes>'
        '<recipient id="r1" value="root@x"/>'
        '<recipient id="r2" value="ops@x"><meta_attributes id="n"><nvpair id="n1" name="timeout" value="9s"/>'
        '<nvpair id="n2" name="timestamp-format" value="%s"/></meta_attributes><instance_attributes id="j">'
        '<nvpair id="j1" name="level" value="high"/></instance_attributes></recipient>'
        '<recipient id="r3" value="nobody"><meta_attributes id="o">'
        '<nvpair id="o1" name="enabled" value="false"/></meta_attributes></recipient></alert>',
        NODE,
    )
    assert [(call.timeout_ms, call.environment["level"]) for call in calls] == [
        (5_000, "low"),
        (9_000, "high"),
    ]
    assert [call.environment["CRM_alert_recipient"] for call in calls] == ["root@x", "ops@x"]
    assert {call.environment["CRM_alert_kind"] for call in calls} == {"node"}
    assert not any("CRM_notify_rc" in call.environment for call in calls), "a node has none"
    assert calls[1].environment["CRM_alert_timestamp"] == "1700000000"


@pytest.mark.parametrize(
    ("action", "interval_ms", "rc", "status", "is_told"),
    [
        ("monitor", 0, 7, ExecutionStatus.DONE, False),
        ("monitor", 0, 0, ExecutionStatus.DONE, True),
        ("monitor", 10_000, 7, ExecutionStatus.DONE, True),
        ("start", 0, 7, ExecutionStatus.DONE, True),
        ("monitor", 0, 1, ExecutionStatus.TIMEOUT, True),
        ("start", 0, 1, ExecutionStatus.NOT_RUN, False),
        ("start", 0, 0, ExecutionStatus.PENDING, False),
    ],
)
def test_of_probes_only_surprises_are_told(
    action: str, interval_ms: int, rc: int, status: ExecutionStatus, is_told: bool
) -> None:
    operation = an_operation("web", action, interval_ms=interval_ms, expected=7)
    event = Ended(a_result(operation, rc=rc, status=status))
    assert bool(told('<alert id="a" path="/bin/a"/>', event)) is is_told


def test_without_alerts_nothing_is_counted() -> None:
    core = Alerts("node1", "1")
    assert core.handle(NODE, parse(b"<configuration/>", source="test"), WALL_NS) == []
    assert core.sequence == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%3N", "123"),
        ("%N", "123456789"),
        ("%012N", "123456789000"),
        ("%06N", "123456"),
        ("%%06N", "%06N"),
        ("%00N", "123456789"),
        ("a%" + "0" * 6_000 + "3N", "a123"),
    ],
)
def test_fractions_of_a_second(text: str, expected: str) -> None:
    assert format_time(text, WALL_NS) == expected


@pytest.mark.parametrize(
    "text", ["%9999999999N", "%" + "9" * 6_000 + "N", "%2147483647d", "%99999999999999s"]
)
def test_no_width_takes_the_memory(text: str) -> None:
    assert len(format_time(text, WALL_NS)) < 10_000


def test_no_alert_has_longer_than_an_hour() -> None:
    """ha-lrm refuses more, and then nobody would be told."""
    meta = '<meta_attributes id="m"><nvpair id="m1" name="timeout" value="2h"/></meta_attributes>'
    (call,) = told(f'<alert id="a" path="/bin/a">{meta}</alert>', NODE)
    assert call.timeout_ms == 3_600_000
