"""What is done, and in what order: recovery, ordering, fencing, shutdown, reload, migration."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from crm.transition import orders
from crm.transition.graph import GraphAction
from tests.unit.crm.scheduler.cibs import (
    NOW_S,
    clone,
    document,
    doing,
    entry,
    group,
    history,
    inputs,
    name_of,
    names,
    op,
    plan,
    primitive,
    running,
    state,
    stopped,
)

FENCING = primitive("fence", agent="stonith:fence_test")
FENCED = {"stonith-enabled": "true"}


def ordering(first: str, then: str, more: str = "") -> str:
    return f'<rsc_order id="o-{first}-{then}" first="{first}" then="{then}" {more}/>'


def action(text: str, wanted: str) -> GraphAction:
    for one in plan(text).graph.actions():
        if name_of(one) == wanted:
            return one
    raise AssertionError(wanted)


def test_probe_everywhere_then_start_then_monitor() -> None:
    result = plan(document([primitive(ops=op())]))
    assert names(result) == {
        "web_monitor_0@n1",
        "web_monitor_0@n2",
        "web_start_0@n1",
        "web_monitor_10000@n1",
    }
    assert inputs(result, "web_start_0@n1") == {"web_monitor_0@n1", "web_monitor_0@n2"}
    assert inputs(result, "web_monitor_10000@n1") == {"web_start_0@n1"}


@pytest.mark.parametrize(
    ("more", "delay_ms"),
    [
        ('start-delay="1500ms"', "1500"),
        ('interval-origin="{now}"', "0"),
        ('interval-origin="{minute_ago_and_3_s}"', "7000"),
        ('interval-origin="{in_3_s}"', "3000"),
        ('interval-origin="{in_3_s}" start-delay="20s"', "20000"),
        ('interval-origin="never"', ""),
        ("", ""),
    ],
)
def test_when_a_recurring_operation_begins(more: str, delay_ms: str) -> None:
    """With an origin at whole intervals from it (Pacemaker Explained, "Resource Operations")."""
    instants = {"now": NOW_S, "minute_ago_and_3_s": NOW_S - 63, "in_3_s": NOW_S + 3}
    text = {name: datetime.fromtimestamp(at_s, UTC).isoformat() for name, at_s in instants.items()}
    ops = op().replace("/>", f" {more.format(**text)}/>")
    found = action(document([primitive(ops=ops)]), "web_monitor_10000@n1")
    assert orders.meta(found, "start_delay") == delay_ms


def test_a_settled_cluster_has_nothing_to_do() -> None:
    text = document(
        [primitive(ops=op())],
        states=[
            state("n1", running("web", entry("web", "monitor", interval_ms=10000, call=2))),
            state("n2", stopped("web")),
        ],
    )
    assert names(plan(text)) == set()


def test_target_role_stopped_stops() -> None:
    text = document(
        [primitive(meta={"target-role": "Stopped"})],
        states=[state("n1", running("web")), state("n2", stopped("web"))],
    )
    assert doing(plan(text)) == {"web_stop_0@n1"}


def test_a_failed_monitor_restarts_in_place() -> None:
    failure = entry("web", "monitor", interval_ms=10000, rc=1, expected=0, call=2)
    text = document(
        [primitive(ops=op())],
        states=[state("n1", running("web", failure)), state("n2", stopped("web"))],
    )
    result = plan(text)
    assert names(result) == {"web_stop_0@n1", "web_start_0@n1", "web_monitor_10000@n1"}
    assert inputs(result, "web_start_0@n1") == {"web_stop_0@n1"}


@pytest.mark.parametrize(
    ("on_fail", "expected"),
    [
        ("ignore", set()),
        ("block", set()),
        ("stop", {"web_stop_0@n1"}),
        ("migrate", {"web_stop_0@n1", "web_start_0@n2"}),
        ("standby", {"web_stop_0@n1", "web_start_0@n2"}),
    ],
)
def test_on_fail(on_fail: str, expected: set[str]) -> None:
    failure = entry("web", "monitor", interval_ms=10000, rc=1, expected=0, call=2)
    text = document(
        [primitive(ops=op(on_fail=on_fail))],
        states=[state("n1", running("web", failure)), state("n2", stopped("web"))],
    )
    assert doing(plan(text)) == expected


def test_a_failed_stop_without_fencing_blocks() -> None:
    failure = entry("web", "stop", rc=1, expected=0, call=2)
    text = document([primitive()], states=[state("n1", running("web", failure)), state("n2", stopped("web"))])
    result = plan(text)
    assert doing(result) == set()
    assert result.work.resources_by_id["web"].blocked


def test_a_failed_stop_with_fencing_fences() -> None:
    failure = entry("web", "stop", rc=1, expected=0, call=2)
    text = document(
        [FENCING, primitive()],
        options=FENCED,
        states=[
            state("n1", running("web", failure), stopped("fence", "stonith:fence_test")),
            state("n2", stopped("web"), running("fence", agent="stonith:fence_test")),
        ],
    )
    result = plan(text)
    assert {"stonith-n1-reboot@n1", "web_start_0@n2"} <= doing(result)
    assert "stonith-n1-reboot@n1" in inputs(result, "web_start_0@n2")


def test_a_lost_node_is_fenced_before_anything_moves() -> None:
    text = document(
        [FENCING, primitive()],
        options=FENCED,
        states=[
            state("n1", running("web"), online=False),
            state("n2", stopped("web"), running("fence", agent="stonith:fence_test")),
        ],
    )
    result = plan(text)
    assert doing(result) == {"stonith-n1-reboot@n1", "web_start_0@n2"}
    assert "stonith-n1-reboot@n1" in inputs(result, "web_start_0@n2")


def test_without_quorum_nothing_is_fenced_and_everything_stops() -> None:
    text = document(
        [FENCING, primitive()],
        options=FENCED,
        quorum=False,
        states=[
            state("n1", running("web"), running("fence", agent="stonith:fence_test")),
            state("n2", online=False),
        ],
    )
    done = doing(plan(text))
    assert "web_stop_0@n1" in done
    assert not any(name.startswith("stonith-") for name in done)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("stop", {"web_stop_0@n1"}), ("freeze", set()), ("ignore", set())],
)
def test_no_quorum_policy(policy: str, expected: set[str]) -> None:
    text = document(
        [primitive()],
        options={"no-quorum-policy": policy},
        quorum=False,
        states=[state("n1", running("web")), state("n2", stopped("web"))],
    )
    assert doing(plan(text)) == expected


def test_standby_moves_and_maintenance_does_nothing() -> None:
    states = [state("n1", running("web")), state("n2", stopped("web"))]
    standby = document([primitive()], states=states, node_attributes={"n1": {"standby": "on"}})
    assert doing(plan(standby)) == {"web_stop_0@n1", "web_start_0@n2"}
    maintenance = document([primitive()], states=states, node_attributes={"n1": {"maintenance": "true"}})
    assert doing(plan(maintenance)) == set()
    everywhere = document([primitive()], states=states, options={"maintenance-mode": "true"})
    assert doing(plan(everywhere)) == set()


def test_shutdown_waits_for_stops() -> None:
    text = document(
        [primitive()],
        states=[
            state("n1", stopped("web")),
            state("n2", running("web"), attributes={"shutdown": str(NOW_S)}),
        ],
    )
    result = plan(text)
    assert doing(result) == {"web_stop_0@n2", "do_shutdown-n2@n2", "web_start_0@n1"}
    assert inputs(result, "do_shutdown-n2@n2") == {"web_stop_0@n2"}


def test_mandatory_ordering_both_ways() -> None:
    text = document([primitive("a"), primitive("b")], constraints=ordering("a", "b"))
    assert "a_start_0@n1" in inputs(plan(text), "b_start_0@n2")
    down = document(
        [primitive("a", meta={"target-role": "Stopped"}), primitive("b")],
        constraints=ordering("a", "b"),
        states=[state("n1", running("a"), stopped("b")), state("n2", running("b"), stopped("a"))],
    )
    result = plan(down)
    assert doing(result) == {"a_stop_0@n1", "b_stop_0@n2"}
    assert inputs(result, "a_stop_0@n1") == {"b_stop_0@n2"}


def test_optional_ordering_does_not_imply() -> None:
    text = document(
        [primitive("a", meta={"target-role": "Stopped"}), primitive("b")],
        constraints=ordering("a", "b", 'kind="Optional"'),
        states=[state("n1", running("a"), stopped("b")), state("n2", running("b"), stopped("a"))],
    )
    assert doing(plan(text)) == {"a_stop_0@n1"}


def test_asymmetrical_ordering_only_starts() -> None:
    text = document(
        [primitive("a", meta={"target-role": "Stopped"}), primitive("b")],
        constraints=ordering("a", "b", 'symmetrical="false"'),
        states=[state("n1", running("a"), stopped("b")), state("n2", running("b"), stopped("a"))],
    )
    assert doing(plan(text)) == {"a_stop_0@n1"}


def test_sets_with_one_or_more() -> None:
    sets = (
        '<rsc_order id="o"><resource_set id="s1" sequential="false" require-all="false">'
        '<resource_ref id="a"/><resource_ref id="b"/></resource_set>'
        '<resource_set id="s2"><resource_ref id="c"/></resource_set></rsc_order>'
    )
    off = primitive("a", meta={"target-role": "Stopped"})
    result = plan(document([off, primitive("b"), primitive("c")], constraints=sets))
    assert {"b_start_0@n1", "c_start_0@n2"} <= doing(result)
    assert "one-or-more:s1" in inputs(result, "c_start_0@n2")


def test_groups_start_in_order_and_stop_in_reverse() -> None:
    members = [primitive("a"), primitive("b")]
    result = plan(document([group("g", *members)]))
    assert "a_start_0@n1" in inputs(result, "b_start_0@n1")
    down = document(
        [group("g", *members, meta={"target-role": "Stopped"})],
        states=[state("n1", running("a"), running("b")), state("n2", stopped("a"), stopped("b"))],
    )
    assert "b_stop_0@n1" in inputs(plan(down), "a_stop_0@n1")


def test_changed_parameters_restart() -> None:
    text = document(
        [primitive(params={"port": "81"})],
        states=[
            state("n1", history("web", entry("web", params={"port": "80"}))),
            state("n2", stopped("web")),
        ],
    )
    assert doing(plan(text)) == {"web_stop_0@n1", "web_start_0@n1"}


def test_changed_reloadable_parameters_reload() -> None:
    more = 'op-force-restart=" root " op-restart-digest="b25fd20e4cc5d10f0b5ac6cbc1a7e4ae"'
    from crm.scheduler.digests import digest_of

    more = more.replace("b25fd20e4cc5d10f0b5ac6cbc1a7e4ae", digest_of({"root": "/srv"}))
    started = entry("web", params={"port": "80", "root": "/srv"}, more=more)
    text = document(
        [primitive(params={"port": "81", "root": "/srv"})],
        states=[state("n1", history("web", started)), state("n2", stopped("web"))],
    )
    assert doing(plan(text)) == {"web_reload-agent_0@n1"}


def test_a_removed_resource_is_stopped_and_cleaned_up() -> None:
    text = document([], states=[state("n1", running("old")), state("n2")])
    result = plan(text)
    assert doing(result) == {"old_stop_0@n1", "old_delete_0@n1"}
    assert inputs(result, "old_delete_0@n1") == {"old_stop_0@n1"}


def test_a_removed_monitor_is_cancelled() -> None:
    text = document(
        [primitive()],
        states=[
            state("n1", running("web", entry("web", "monitor", interval_ms=10000, call=2))),
            state("n2", stopped("web")),
        ],
    )
    assert action(text, "web_monitor_10000@n1").operation == "cancel"


def test_live_migration() -> None:
    text = document(
        [primitive(meta={"allow-migrate": "true"})],
        node_attributes={"n1": {"standby": "on"}},
        states=[state("n1", running("web")), state("n2", stopped("web"))],
    )
    result = plan(text)
    assert doing(result) == {"web_migrate_to_0@n1", "web_migrate_from_0@n2", "web_stop_0@n1"}
    assert inputs(result, "web_migrate_from_0@n2") == {"web_migrate_to_0@n1"}
    assert inputs(result, "web_stop_0@n1") == {"web_migrate_from_0@n2"}


def test_multiply_active_is_stopped_everywhere_and_started_once() -> None:
    text = document([primitive()], states=[state("n1", running("web")), state("n2", running("web"))])
    done = doing(plan(text))
    assert {"web_stop_0@n1", "web_stop_0@n2"} < done
    assert sum("start" in name for name in done) == 1


def test_notifications_frame_a_promotion() -> None:
    text = document(
        [clone("c", primitive("db"), meta={"promotable": "true", "notify": "true"})],
        states=[
            state("n1", running("db"), attributes={"master-db": "10"}),
            state("n2", running("db"), attributes={"master-db": "5"}),
        ],
    )
    result = plan(text)
    found = names(result)
    assert {"db_pre_notify_promote_0@n1", "db_post_notify_promote_0@n2"} <= found
    promote = action(text, "db_promote_0@n1")
    assert promote.attributes["CRM_meta_notify_promote_uname"] == "n1"
    assert promote.attributes["CRM_meta_notify_promote_resource"] == "db:0"


def test_a_lost_ticket_stops() -> None:
    text = document(
        [primitive()],
        constraints='<rsc_ticket id="t" rsc="web" ticket="site" loss-policy="stop"/>',
        states=[state("n1", running("web")), state("n2", stopped("web"))],
    )
    assert doing(plan(text)) == {"web_stop_0@n1"}
    granted = text.replace("<status>", '<status><tickets><ticket_state id="site" granted="true"/></tickets>')
    assert doing(plan(granted)) == set()


def test_shutdown_lock_keeps_a_resource_down() -> None:
    text = document(
        [primitive()],
        options={"shutdown-lock": "true"},
        states=[
            state("n1", history("web", entry("web", "stop"), more=f'shutdown-lock="{NOW_S - 60}"')),
            state("n2", stopped("web")),
        ],
        node_attributes={"n1": {"standby": "on"}},
    )
    assert doing(plan(text)) == set()
    limited = text.replace('name="shutdown-lock" value="true"', 'name="shutdown-lock-limit" value="30s"')
    assert doing(plan(limited)) == {"web_start_0@n2"}


def test_a_remote_node_is_reached_through_its_connection() -> None:
    text = document(
        [primitive("far", agent="ocf:pacemaker:remote"), primitive("web")],
        constraints='<rsc_location id="l" rsc="web" node="far" score="100"/>',
    )
    result = plan(text)
    assert {"far_start_0@n1", "web_start_0@far"} <= doing(result)
    assert "far_start_0@n1" in inputs(result, "web_start_0@far")
    assert action(text, "web_start_0@far").xml["router_node"] == "n1"


def test_recheck_by_says_when_a_rule_ends() -> None:
    rule = (
        '<rsc_location id="l" rsc="web"><rule id="r" score="100">'
        '<date_expression id="d" operation="lt" end="2030-01-01"/></rule></rsc_location>'
    )
    result = plan(document([primitive()], constraints=rule))
    assert result.graph.xml["recheck-by"] == "1893456000"
