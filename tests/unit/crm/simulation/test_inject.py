from __future__ import annotations

import pytest

from crm.cib import codec
from crm.cib.model import Element
from crm.simulation.inject import Modifications, OperationSpec, apply, parse_spec
from hacluster.errors import InvalidRequest

CIB = codec.parse("""
<cib have-quorum="1"><configuration><crm_config/><nodes><node id="1" uname="n1"/></nodes>
<resources><primitive id="web" class="ocf" provider="heartbeat" type="Dummy"/></resources></configuration>
<status><node_state id="1" uname="n1" in_ccm="true" crmd="online" join="member" expected="member">
<transient_attributes id="1"/><lrm id="1"><lrm_resources/></lrm></node_state></status></cib>
""")


def state(cib: Element, name: str) -> Element:
    status = cib.child("status")
    assert status is not None
    return next(item for item in status.all("node_state") if item.get("uname") == name)


def test_a_specification_is_read_from_the_right() -> None:
    assert parse_spec("my_db:0_migrate_to_0@node-1.example=7") == OperationSpec(
        text="my_db:0_migrate_to_0@node-1.example=7",
        resource="my_db:0",
        task="migrate_to",
        interval_ms=0,
        node="node-1.example",
        rc=7,
    )


@pytest.mark.parametrize("text", ["", "web", "web_start@n1=0", "web_start_0=1", "web_start_0@n1"])
def test_a_bad_specification_shows_the_form(text: str) -> None:
    with pytest.raises(InvalidRequest, match="RESOURCE_TASK_INTERVALms@NODE=RC"):
        parse_spec(text)


def test_a_fenced_node_has_no_history_and_a_failed_one_keeps_it() -> None:
    down, _ = apply(CIB, Modifications(nodes_down=("n1",)), 5)
    assert state(down, "n1").get("expected") == "down"
    assert not state(down, "n1").children
    failed, lines = apply(CIB, Modifications(nodes_fail=("n1",)), 5)
    assert state(failed, "n1").get("expected") == "member"
    assert state(failed, "n1").child("lrm") is not None
    assert [one.text for one in lines] == ["Failing node n1"]


def test_a_new_node_joins_the_configuration() -> None:
    changed, _ = apply(CIB, Modifications(nodes_up=("n2",)), 5)
    nodes = changed.path("configuration", "nodes")
    assert nodes is not None
    assert [node.get("uname") for node in nodes.children] == ["n1", "n2"]
    assert state(changed, "n2").get("crmd") == "online"


def test_an_injected_failure_counts() -> None:
    spec = parse_spec("web_monitor_10000@n1=7")
    once, _ = apply(CIB, Modifications(operations=(spec,)), 5)
    twice, lines = apply(once, Modifications(operations=(spec,)), 9)
    pairs = {item.get("name"): item.get("value") for item in twice.walk() if item.tag == "nvpair"}
    assert pairs["fail-count-web#monitor_10000"] == "2"
    assert pairs["last-failure-web#monitor_10000"] == "9"
    assert lines[0].text == "Injecting web_monitor_10000@n1=7 into the configuration"
    entry = next(item for item in twice.walk() if item.tag == "lrm_rsc_op")
    assert (entry.id, entry.get("rc-code"), entry.get("op-status")) == ("web_last_failure_0", "7", "4")


def test_unknown_things_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="no primitive 'db'"):
        apply(CIB, Modifications(operations=(parse_spec("db_start_0@n1=1"),)), 5)
    with pytest.raises(InvalidRequest, match="neither true nor false"):
        apply(CIB, Modifications(quorum="maybe"), 5)


def test_nothing_asked_changes_nothing() -> None:
    changed, lines = apply(CIB, Modifications(), 5)
    assert codec.digest(changed) == codec.digest(CIB)
    assert lines == []


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(InvalidRequest, match=r"no node 'n9'.*did you mean 'n1'"):
        apply(CIB, Modifications(nodes_down=("n9",)), 5)
    with pytest.raises(InvalidRequest, match=r"no node 'elsewhere'.*nodes: n1"):
        apply(CIB, Modifications(nodes_fail=("elsewhere",)), 5)
    with pytest.raises(InvalidRequest, match=r"no primitive 'wbe'.*did you mean 'web'"):
        apply(CIB, Modifications(operations=(parse_spec("wbe_monitor_0@n1=7"),)), 5)
    with pytest.raises(InvalidRequest, match=r"no node 'n7'"):
        apply(CIB, Modifications(operations=(parse_spec("web_monitor_0@n7=7"),)), 5)


def test_a_node_that_just_came_may_be_used_at_once() -> None:
    wanted = Modifications(nodes_up=("n2",), operations=(parse_spec("web_monitor_0@n2=0"),))
    changed, notes = apply(CIB, wanted, 5)
    assert state(changed, "n2").child("lrm") is not None
    assert [one.element.tag for one in notes] == ["modify_node", "inject_spec"]
