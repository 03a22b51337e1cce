"""Where resources go: locations, stickiness, colocations, groups, clones, promotion, capacity."""

from __future__ import annotations

import pytest

from tests.unit.crm.scheduler.cibs import (
    clone,
    document,
    doing,
    entry,
    group,
    history,
    plan,
    primitive,
    running,
    score,
    state,
    stopped,
)


def location(resource: str, node: str, value: str, name: str = "loc", more: str = "") -> str:
    return f'<rsc_location id="{name}" rsc="{resource}" node="{node}" score="{value}" {more}/>'


def colocation(dependent: str, primary: str, value: str, more: str = "") -> str:
    name = f"col-{dependent}"
    return f'<rsc_colocation id="{name}" rsc="{dependent}" with-rsc="{primary}" score="{value}" {more}/>'


def test_equal_nodes_are_taken_in_order_of_load_then_name() -> None:
    result = plan(document([primitive("a"), primitive("b"), primitive("c")]))
    assert doing(result) == {"a_start_0@n1", "b_start_0@n2", "c_start_0@n1"}


def test_a_preference_decides() -> None:
    result = plan(document([primitive()], constraints=location("web", "n2", "50")))
    assert doing(result) == {"web_start_0@n2"}
    assert score(result, "web", "n2") == "50"


def test_stickiness_outweighs_a_weaker_preference() -> None:
    text = document(
        [primitive()],
        constraints=location("web", "n2", "50"),
        rsc_defaults={"resource-stickiness": "100"},
        states=[state("n1", running("web")), state("n2", stopped("web"))],
    )
    assert doing(plan(text)) == set()


def test_a_stronger_preference_moves_a_resource() -> None:
    text = document(
        [primitive()],
        constraints=location("web", "n2", "150"),
        rsc_defaults={"resource-stickiness": "100"},
        states=[state("n1", running("web")), state("n2", stopped("web"))],
    )
    assert doing(plan(text)) == {"web_stop_0@n1", "web_start_0@n2"}


def test_minus_infinity_wins_over_infinity() -> None:
    both = location("web", "n1", "INFINITY", "a") + location("web", "n1", "-INFINITY", "b")
    result = plan(document([primitive()], constraints=both))
    assert score(result, "web", "n1") == "-INFINITY"
    assert doing(result) == {"web_start_0@n2"}


def test_in_an_asymmetric_cluster_only_named_nodes_count() -> None:
    options = {"symmetric-cluster": "false"}
    assert doing(plan(document([primitive()], options=options))) == set()
    allowed = document([primitive()], options=options, constraints=location("web", "n2", "0"))
    assert doing(plan(allowed)) == {"web_start_0@n2"}


def test_mandatory_colocation_keeps_together_and_bans_elsewhere() -> None:
    rules = location("db", "n2", "10") + colocation("web", "db", "INFINITY")
    result = plan(document([primitive("web"), primitive("db")], constraints=rules))
    assert doing(result) == {"web_start_0@n2", "db_start_0@n2"}
    assert score(result, "web", "n1") == "-INFINITY"


def test_a_dependent_cannot_run_without_its_primary() -> None:
    off = primitive("db", meta={"target-role": "Stopped"})
    rules = colocation("web", "db", "INFINITY")
    assert doing(plan(document([primitive("web"), off], constraints=rules))) == set()


def test_anticolocation_separates() -> None:
    rules = (
        location("db", "n1", "10") + location("web", "n1", "10", "w") + colocation("web", "db", "-INFINITY")
    )
    result = plan(document([primitive("web"), primitive("db")], constraints=rules))
    assert doing(result) == {"web_start_0@n2", "db_start_0@n1"}


def test_a_dependents_wish_counts_for_its_primary() -> None:
    rules = location("web", "n2", "30") + colocation("web", "db", "INFINITY")
    result = plan(document([primitive("web"), primitive("db")], constraints=rules))
    assert doing(result) == {"web_start_0@n2", "db_start_0@n2"}
    assert score(result, "db", "n2") == "30"


def test_without_influence_the_primary_stays() -> None:
    rules = (
        location("web", "n2", "30")
        + '<rsc_colocation id="c" rsc="web" with-rsc="db" score="INFINITY" influence="false"/>'
    )
    text = document(
        [primitive("web"), primitive("db")],
        constraints=rules,
        states=[state("n1", running("db"), stopped("web")), state("n2", stopped("db"), stopped("web"))],
    )
    assert doing(plan(text)) == {"web_start_0@n1"}


def test_colocation_by_node_attribute() -> None:
    text = document(
        [primitive("web"), primitive("db")],
        nodes=("n1", "n2", "n3"),
        node_attributes={"n1": {"rack": "a"}, "n2": {"rack": "b"}, "n3": {"rack": "b"}},
        constraints=location("db", "n2", "10")
        + location("web", "n2", "-INFINITY", "w")
        + colocation("web", "db", "INFINITY", 'node-attribute="rack"'),
    )
    assert doing(plan(text)) == {"web_start_0@n3", "db_start_0@n2"}


def test_members_of_a_group_go_together() -> None:
    text = document([group("g", primitive("a"), primitive("b"))], constraints=location("g", "n2", "10"))
    assert doing(plan(text)) == {"a_start_0@n2", "b_start_0@n2"}


def test_a_failed_member_takes_its_group_along() -> None:
    failed = {"fail-count-b#monitor_10000": "INFINITY"}
    text = document(
        [group("g", primitive("a"), primitive("b"))],
        states=[
            state("n1", running("a"), running("b"), attributes=failed),
            state("n2", stopped("a"), stopped("b")),
        ],
    )
    moved = doing(plan(text))
    assert {"a_stop_0@n1", "b_stop_0@n1", "a_start_0@n2", "b_start_0@n2"} <= moved


def test_an_anonymous_clone_runs_once_a_node() -> None:
    starts = doing(plan(document([clone("c", primitive())])))
    assert starts == {"web:0_start_0@n1", "web:1_start_0@n2"}


def test_clone_max_limits() -> None:
    result = plan(document([clone("c", primitive(), meta={"clone-max": "1"})]))
    assert len(doing(result)) == 1


def test_unique_instances_may_share_a_node() -> None:
    meta = {"globally-unique": "true", "clone-max": "3", "clone-node-max": "2"}
    starts = doing(plan(document([clone("c", primitive(), meta=meta)])))
    assert len(starts) == 3
    assert {name.split("@")[1] for name in starts} == {"n1", "n2"}


def test_the_best_promotion_score_is_promoted() -> None:
    text = document(
        [clone("c", primitive("db"), meta={"promotable": "true"})],
        states=[
            state("n1", running("db"), attributes={"master-db": "5"}),
            state("n2", running("db"), attributes={"master-db": "10"}),
        ],
    )
    result = plan(text)
    assert {name for name in doing(result) if "promote" in name} == {"db_promote_0@n2"}


def test_nobody_is_promoted_without_a_promotion_score() -> None:
    text = document(
        [clone("c", primitive("db"), meta={"promotable": "true"})],
        states=[state("n1", running("db")), state("n2", running("db"))],
    )
    assert doing(plan(text)) == set()


def test_colocation_with_the_promoted_role() -> None:
    text = document(
        [clone("c", primitive("db"), meta={"promotable": "true"}), primitive("ip")],
        constraints=colocation("ip", "c", "INFINITY", 'with-rsc-role="Promoted"'),
        states=[
            state("n1", running("db"), stopped("ip"), attributes={"master-db": "5"}),
            state("n2", running("db"), stopped("ip"), attributes={"master-db": "10"}),
        ],
    )
    assert {"db_promote_0@n2", "ip_start_0@n2"} <= doing(plan(text))


@pytest.mark.parametrize("strategy", ["utilization", "balanced", "minimal"])
def test_capacity_limits_placement(strategy: str) -> None:
    text = document(
        [primitive("a", utilization={"cpu": "2"}), primitive("b", utilization={"cpu": "2"})],
        node_capacity={"n1": {"cpu": "3"}, "n2": {"cpu": "2"}},
        options={"placement-strategy": strategy},
    )
    starts = doing(plan(text))
    assert {name.split("@")[1] for name in starts} == {"n1", "n2"}


def test_what_does_not_fit_anywhere_does_not_run() -> None:
    text = document(
        [primitive("a", utilization={"cpu": "9"})],
        node_capacity={"n1": {"cpu": "3"}, "n2": {"cpu": "2"}},
        options={"placement-strategy": "utilization"},
    )
    assert doing(plan(text)) == set()


def test_migration_threshold_and_its_expiry() -> None:
    failures = {"fail-count-web#monitor_10000": "3", "last-failure-web#monitor_10000": "1699999000"}
    states = [state("n1", running("web"), attributes=failures), state("n2", stopped("web"))]
    over = document([primitive(meta={"migration-threshold": "3"})], states=states)
    assert doing(plan(over)) == {"web_stop_0@n1", "web_start_0@n2"}
    under = document([primitive(meta={"migration-threshold": "4"})], states=states)
    assert doing(plan(under)) == set()
    expired = document(
        [primitive(meta={"migration-threshold": "3", "failure-timeout": "60s"})], states=states
    )
    assert "web_stop_0@n1" not in doing(plan(expired))


def test_exclusive_discovery() -> None:
    more = 'resource-discovery="exclusive"'
    result = plan(document([primitive()], constraints=location("web", "n2", "0", more=more)))
    assert doing(result) == {"web_start_0@n2"}
    probes = {a.node for a in result.graph.actions() if a.operation == "monitor"}
    assert probes == {"n2"}


def test_node_health_moves_resources() -> None:
    text = document(
        [primitive()],
        options={"node-health-strategy": "migrate-on-red"},
        states=[
            state("n1", running("web"), attributes={"#health-disk": "red"}),
            state("n2", stopped("web")),
        ],
    )
    assert doing(plan(text)) == {"web_stop_0@n1", "web_start_0@n2"}


def test_a_failed_probe_that_means_not_installed_bars_the_node() -> None:
    text = document(
        [primitive()],
        states=[
            state("n1", history("web", entry("web", "monitor", rc=5, expected=7))),
            state("n2", stopped("web")),
        ],
    )
    assert doing(plan(text)) == {"web_start_0@n2"}
