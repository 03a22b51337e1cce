"""What is known of the nodes, and what the status section says of it."""

from __future__ import annotations

import pytest

from crm.cib.codec import parse, render
from crm.cib.document import whole
from crm.cib.model import Element, element
from crm.cib.status import Join, NodeFacts, status_section
from crm.cib.versions import CibVersion
from crm.controller.nodes import MembershipChange, NodeTable, node_ids, with_nodes
from crm.scheduler.pipeline import schedule
from hacluster.vocabulary.ids import BootToken, NodeId, NodeName, ViewId
from hacluster.vocabulary.membership import Member, MembershipView, NodeState
from hacluster.vocabulary.operation import ExecutionStatus
from tests.builders import a_result, an_operation
from tests.unit.crm.cib.test_history import digest

EMPTY = Element("configuration")
NODES = ((1, "node1"), (2, "node2"), (3, "node3"))


def a_view(*names: str, counter: int = 1, boot: str = "a") -> MembershipView:
    members = tuple(
        Member(
            id=NodeId(int(name[-1])),
            name=NodeName(name),
            incarnation=1,
            boot_token=BootToken(boot * 64),
            lrm_instance=5,
        )
        for name in names
    )
    return MembershipView(id=ViewId(counter, 1), members=members)


def a_table(*members: str) -> NodeTable:
    table = NodeTable(NODES, digest)
    table.set_view(a_view(*members), {}, 100)
    return table


def test_nodes_that_were_never_seen_are_not_in_the_status() -> None:
    table = a_table("node1", "node2")
    assert [(f.name, f.join, f.member_since_s) for f in table.facts(EMPTY)] == [
        ("node1", Join.MEMBER, 100),
        ("node2", Join.MEMBER, 100),
    ]


def test_lost_and_left_nodes() -> None:
    table = a_table("node1", "node2", "node3")
    states = {"node2": (NodeState.LOST, False), "node3": (NodeState.LEFT, True)}
    assert table.set_view(a_view("node1", counter=2), states, 200) == MembershipChange(
        gone=("node2", "node3")
    )
    facts = {f.name: f for f in table.facts(EMPTY)}
    assert (facts["node2"].expected_up, facts["node2"].online_since_s) == (True, 0)
    assert (facts["node3"].expected_up, facts["node3"].join) == (False, Join.DOWN)
    assert facts["node1"].member_since_s == 100


def test_a_clean_leave_may_be_heard_after_the_view_without_the_node() -> None:
    table = a_table("node1", "node2", "node3")
    alone = a_view("node1", counter=2)
    goes = {"node2": (NodeState.LOST, False), "node3": (NodeState.LOST, False)}
    table.set_view(alone, goes, 200)
    table.set_fenced("node3", ("device",))
    left = {"node2": (NodeState.LEFT, True), "node3": (NodeState.LEFT, True)}
    assert table.set_view(alone, left, 201) == MembershipChange(left=("node2",))
    assert not {f.name: f for f in table.facts(EMPTY)}["node2"].expected_up
    assert table.set_view(alone, left, 202) == MembershipChange()


def test_a_node_that_says_that_it_leaves_before_it_was_in_a_view_is_not_to_be_fenced() -> None:
    table = a_table("node1", "node2")
    states = {"node3": (NodeState.LEFT, True)}
    view = a_view("node1", "node2")
    assert table.set_view(view, {"node3": (NodeState.LEFT, False)}, 101) == MembershipChange()
    assert len(table.facts(EMPTY)) == 2, "one that may run something is as unknown as before"
    assert table.set_view(view, states, 101) == MembershipChange(left=("node3",))
    facts = {f.name: f for f in table.facts(EMPTY)}
    assert (facts["node3"].expected_up, facts["node3"].join) == (False, Join.DOWN)


def test_a_lost_node_keeps_its_history_and_a_rebooted_one_does_not() -> None:
    table = a_table("node1", "node2")
    table.take("node2", a_result(), initial=False)
    table.set_attributes("node2", (7, 1), {"x": "1"})
    table.set_view(a_view("node1", counter=2), {}, 200)
    assert [r.id for r in table.facts(EMPTY)[1].resources] == ["web"]
    change = table.set_view(a_view("node1", "node2", counter=3), {}, 300)
    assert change == MembershipChange(joined=("node2",))
    assert table["node2"].history.resources() == ("web",)
    assert table["node2"].attributes == {"x": "1"}
    change = table.set_view(a_view("node1", "node2", counter=4, boot="b"), {}, 400)
    assert change == MembershipChange(rebooted=("node1", "node2"))
    assert table["node2"].history.resources() == ()
    assert table["node2"].attributes == {}


def test_the_short_form_of_a_boot_token_is_the_same_boot() -> None:
    table = a_table("node1")
    short = a_view("node1", counter=2)
    member = Member(id=NodeId(1), name=NodeName("node1"), incarnation=2, boot_token=BootToken("a" * 16))
    change = table.set_view(MembershipView(id=short.id, members=(member,)), {}, 200)
    assert change == MembershipChange()
    assert table["node1"].boot_token == "a" * 64


def test_a_resync_replaces_the_history_only_when_it_is_whole() -> None:
    table = a_table("node1")
    table.begin_sync("node1")
    table.take("node1", a_result(), initial=True)
    assert table.synced("node1")
    table.begin_sync("node1")
    table.take("node1", a_result(an_operation("db")), initial=True)
    assert table["node1"].history.resources() == ("web",)
    table.take("node1", a_result(an_operation("db"), status=ExecutionStatus.PENDING), initial=True)
    assert table.synced("node1")
    assert table["node1"].history.resources() == ("db",)
    assert [item.operation.resource for item in table["node1"].history.running()] == ["db"]
    table.begin_sync("node1")
    table.take("node1", a_result(an_operation("db")), initial=True)
    table.take("node1", a_result(an_operation("db"), status=ExecutionStatus.PENDING), initial=True)
    assert not table.synced("node1"), "nothing is different"


def test_attributes_have_versions() -> None:
    table = a_table("node1")
    assert table.set_attributes("node1", (9, 5), {"a": "1"})
    assert not table.set_attributes("node1", (9, 4), {"a": "old"})
    assert table.set_attributes("node1", (10, 1), {"a": "2"}), "another run of the keeper counts from 1"
    assert table.change_attributes("node1", {"b": "3", "a": ""})
    assert not table.change_attributes("node1", {"b": "3"})
    assert table["node1"].effective_attributes == {"b": "3"}
    assert not table.set_attributes("node1", (10, 2), {"a": "2"}), "a push that crossed the change"
    assert table["node1"].effective_attributes == {"b": "3"}
    table.set_attributes("node1", (10, 3), {"b": "3"})
    table.confirm_attributes("node1", {"b": "3", "a": ""})
    assert table["node1"].unconfirmed == {}
    assert table["node1"].effective_attributes == {"b": "3"}


def test_held_and_given_up() -> None:
    table = a_table("node1")
    table["node1"].held = True
    assert table.facts(EMPTY)[0].held
    table["node1"].given_up = True
    (fact,) = table.facts(EMPTY)
    assert (fact.held, fact.online_since_s, fact.join, fact.expected_up) == (False, 0, Join.DOWN, True)
    assert fact.member_since_s == 100


def test_a_new_dc_fills_gaps_from_the_old_one_s_status() -> None:
    old = a_table("node1", "node2", "node3")
    old.set_attributes("node3", (7, 1), {"y": "2"})
    old.set_attributes("node1", (7, 1), {"z": "3"})
    old.take("node2", a_result(), initial=False)
    old.set_attributes("node2", (7, 1), {"x": "1"})
    table = a_table("node1", "node3")
    table.set_attributes("node3", (6, 1), {"y": "1"})
    table.begin_sync("node3")
    table.synced("node3")
    table.adopt_status(status_section(old.facts(EMPTY)), own="node1")
    assert table["node2"].history.elements() == old["node2"].history.elements()
    assert table["node3"].attributes == {"y": "2"}, "the last DC was told of changes, we were not"
    assert table["node1"].attributes == {}, "our own are ours to know"
    facts = {f.name: f for f in table.facts(EMPTY)}
    assert facts["node2"].expected_up


@pytest.mark.parametrize("fenced", [False, True])
@pytest.mark.parametrize("boot", ["a", "c"])
def test_what_was_certain_before_this_node_was_cut_off_is_not_so_afterwards(fenced: bool, boot: str) -> None:
    """node3 came back to the others meanwhile, and was lost; nobody told us of either."""
    left = {"node3": (NodeState.LEFT, True)}
    table = a_table("node1", "node2", "node3")
    table.set_view(a_view("node1", "node2", counter=2), {} if fenced else left, 200)
    if fenced:
        table.set_fenced("node3", ("f",))
        left = {}
    table.set_view(a_view("node1", counter=3), left, 300)
    others = a_table("node1", "node2", "node3")
    others.set_view(a_view("node2", "node3", counter=4, boot=boot), {}, 300)
    others.set_view(a_view("node1", "node2", counter=5, boot=boot), {}, 400)
    table.set_view(a_view("node1", "node2", counter=5), left, 400, apart=True)
    table.adopt_status(status_section(others.facts(EMPTY)), own="node1")
    table.set_view(a_view("node1", "node2", counter=6), left, 500)
    facts = {fact.name: fact for fact in table.facts(EMPTY)}
    assert facts["node3"].expected_up, "it has to be fenced"
    assert facts["node3"].boot_token[:16] == boot * 16, "in the boot that the others know"
    again = {"node3": (NodeState.LOST, False)}
    table.set_view(a_view("node1", "node2", counter=7), again, 600)
    left = {"node3": (NodeState.LEFT, True)}
    assert table.set_view(a_view("node1", "node2", counter=8), left, 700).left == ("node3",)


def test_what_the_others_know_of_a_stopped_node_counts_for_who_was_cut_off() -> None:
    left = {"node3": (NodeState.LEFT, True)}
    tables = [a_table("node1", "node2", "node3") for _ in range(2)]
    for table in tables:
        table.set_view(a_view("node1", "node2", counter=2), left, 200)
    tables[0].set_view(a_view("node1", counter=3), left, 300)
    tables[0].set_view(a_view("node1", "node2", counter=4), left, 400, apart=True)
    assert "node3" not in {fact.name for fact in tables[0].facts(EMPTY)}
    tables[0].adopt_status(status_section(tables[1].facts(EMPTY)), own="node1")
    assert not {fact.name: fact for fact in tables[0].facts(EMPTY)}["node3"].expected_up


def test_who_was_cut_off_believes_the_others_that_a_later_boot_was_fenced() -> None:
    table, others = a_table("node1", "node2", "node3"), a_table("node1", "node2", "node3")
    table.set_view(a_view("node1", counter=3), {}, 300)
    others.set_view(a_view("node2", "node3", counter=4, boot="c"), {}, 300)
    others.set_view(a_view("node1", "node2", counter=5, boot="c"), {}, 400)
    others.set_fenced("node3", ("f",))
    table.set_view(a_view("node1", "node2", counter=5, boot="c"), {}, 400, apart=True)
    table.adopt_status(status_section(others.facts(EMPTY)), own="node1")
    assert (table["node3"].fenced, table["node3"].fenced_by) == (True, ("f",))
    assert table["node3"].boot_token == "c" * 16


def test_who_was_fenced_and_lived_and_left_cleanly_since_may_come_back() -> None:
    """It was told, has stopped what it ran, and said so; then somebody started it by hand."""
    table = a_table("node1", "node2", "node3")
    table.set_fenced("node3", ("f",))
    table.set_view(a_view("node1", "node2", counter=2), {"node3": (NodeState.LEFT, False)}, 200)
    assert table["node3"].fenced_by == ("f",), "what could not be stopped may run"
    table.set_view(a_view("node1", "node2", counter=2), {"node3": (NodeState.LEFT, True)}, 200)
    assert not {fact.name: fact for fact in table.facts(EMPTY)}["node3"].expected_up
    table.set_view(a_view("node1", "node2", "node3", counter=3), {}, 300)
    assert not table["node3"].heard_though_fenced
    assert {fact.name: fact for fact in table.facts(EMPTY)}["node3"].join is Join.MEMBER


def test_ids_come_from_the_configuration() -> None:
    nodes = element("nodes", None, element("node", {"id": "uuid-1", "uname": "node1"}))
    configuration = element("configuration", None, Element("crm_config"), nodes)
    assert [fact.id for fact in a_table("node1", "node2").facts(configuration)] == ["uuid-1", "2"]
    grown = with_nodes(configuration, [("1", "node1"), ("2", "node2")])
    assert node_ids(grown) == {"node1": "uuid-1", "node2": "2"}
    assert with_nodes(grown, [("1", "node1"), ("2", "node2")]) is grown


def test_a_configuration_without_nodes_gets_the_section_in_its_place() -> None:
    configuration = element("configuration", None, Element("crm_config"), Element("resources"))
    grown = with_nodes(configuration, [("1", "node1")])
    assert [child.tag for child in grown.children] == ["crm_config", "nodes", "resources"]


def test_that_a_node_was_fenced_is_told_to_the_next_dc_for_one_boot_only() -> None:
    old = a_table("node1", "node2")
    old.set_view(a_view("node1", counter=2), {}, 200)
    old.set_fenced("node2", ("f1", "f2"))
    status = status_section(old.facts(EMPTY))
    assert 'boot-token="aaaaaaaaaaaaaaaa"' in render(status)

    def adopted(boot: str) -> NodeTable:
        table = NodeTable(NODES, digest)
        table.set_view(a_view("node1", "node2", boot=boot), {}, 100)
        table.take("node2", a_result(), initial=False)
        table.set_view(a_view("node1", counter=2, boot=boot), {}, 200)
        table.adopt_status(status, own="node1")
        return table

    same = adopted("a")
    assert same["node2"].fenced
    assert same["node2"].history.resources() == ()
    before = status_section(a_table("node1", "node2").facts(EMPTY))
    same.adopt_status(before, own="node1")
    assert same["node2"].fenced, "an older status does not make it unfenced"
    later = adopted("c")
    assert not later["node2"].fenced, "that was another boot: it is to be fenced again"
    assert later["node2"].history.resources() == ("web",)


def facts_of(table: NodeTable, name: str) -> NodeFacts:
    return {fact.name: fact for fact in table.facts(EMPTY)}[name]


def test_a_fenced_member_is_down_until_it_has_booted_anew() -> None:
    """Also when it has left and is back in that boot: the device says that it is off."""
    table = a_table("node1", "node2")
    table.set_fenced("node2", ("f",))
    assert (facts_of(table, "node2").member_since_s, facts_of(table, "node2").online_since_s) == (0, 0)
    table.set_view(a_view("node1", counter=2), {}, 200)
    assert not facts_of(table, "node2").expected_up
    table.set_view(a_view("node1", "node2", counter=3), {}, 300)
    assert (facts_of(table, "node2").online_since_s, facts_of(table, "node2").join) == (0, Join.DOWN)
    table.set_view(a_view("node1", "node2", counter=4, boot="b"), {}, 400)
    assert (facts_of(table, "node2").online_since_s, facts_of(table, "node2").join) == (300, Join.MEMBER)


def test_a_fenced_node_that_lives_on_is_unclean() -> None:
    table = a_table("node1", "node2")
    table.set_fenced("node2", ("f",))
    assert not table.still_there("node2", "c" * 64), "that would be another boot"
    assert table.still_there("node2", "a" * 64)
    table.take("node2", a_result(), initial=False)
    facts = facts_of(table, "node2")
    assert (facts.join, facts.expected_up, facts.lied, facts.online_since_s) == (Join.DOWN, True, True, 0)
    assert [each.id for each in facts.resources] == ["web"], "what it runs is known, and true"
    table.set_view(a_view("node1", counter=2), {}, 200)
    table.set_view(a_view("node1", "node2", counter=3), {}, 300)
    assert table["node2"].lied, "to leave and to return proves nothing"
    states = {"node2": (NodeState.LEFT, True)}
    table.set_view(a_view("node1", counter=4), states, 400)
    assert not table["node2"].lied, "with nothing active it says so itself"


def test_a_barred_node_that_is_heard_lives_on_though_no_view_has_it() -> None:
    table = a_table("node1", "node2")
    table.set_fenced("node2", ("f",))
    table.set_view(a_view("node1", counter=2), {"node2": (NodeState.BARRED, False)}, 200)
    assert table["node2"].heard_though_fenced
    assert table.still_there("node2", "a" * 64)
    table.set_view(a_view("node1", counter=2), {"node2": (NodeState.LOST, False)}, 300)
    assert not table["node2"].barred
    assert table["node2"].lied, "silence alone proves nothing"
    table.set_view(a_view("node1", counter=2), {"node2": (NodeState.LEFT, False)}, 400)
    assert table["node2"].lied, "something ran there"
    table.set_view(a_view("node1", counter=2), {"node2": (NodeState.LEFT, True)}, 400)
    assert (table["node2"].lied, table["node2"].left_cleanly) == (False, True)


def test_one_that_is_forgiven_is_a_node_as_others_and_the_liars_stay_known() -> None:
    table = a_table("node1", "node2")
    table.set_fenced("node2", ("f", "g"))
    assert table.still_there("node2", "a" * 64)
    table.forgive("node2")
    table.set_view(a_view("node1", "node2", counter=2), {}, 200)
    facts = facts_of(table, "node2")
    assert (facts.join, facts.online_since_s > 0, facts.lied) == (Join.MEMBER, True, False)
    assert (table["node2"].forgiven, table["node2"].fenced_by) == (True, ("f", "g"))
    following = a_table("node1", "node2")
    following.adopt_status(status_section(table.facts(EMPTY)), own="node1")
    node = following["node2"]
    assert (node.forgiven, node.lied, node.fenced, node.fenced_by) == (True, False, False, ("f", "g"))
    table.set_fenced("node2", ("h",))
    assert not table["node2"].forgiven, "another device, whose word counts"


def test_one_that_fell_silent_was_fenced_indeed() -> None:
    table = a_table("node1", "node2")
    table.set_fenced("node2", ("f",))
    table.set_view(a_view("node1", counter=2), {}, 200)
    assert not table.still_there("node2", "a" * 64)
    assert table["node2"].fenced


def test_a_node_that_left_cleanly_returns_in_the_same_boot() -> None:
    """Its services were stopped and started; a DC that knew of the leave from its predecessor only."""
    old = a_table("node1", "node2")
    old.set_view(a_view("node1", counter=2), {"node2": (NodeState.LEFT, True)}, 200)
    table = a_table("node1", "node2")
    table.set_view(a_view("node1", counter=2), {}, 200)
    table.adopt_status(status_section(old.facts(EMPTY)), own="node1")
    assert table["node2"].fenced
    table.set_view(a_view("node1", "node2", counter=3), {}, 300)
    assert facts_of(table, "node2").join is Join.MEMBER


def test_the_next_dc_knows_who_lied_and_who_has_yet_to_fall_silent() -> None:
    old = a_table("node1", "node2", "node3")
    old.set_fenced("node2", ("f",))
    old.set_fenced("node3", ("g", "h"))
    assert old.still_there("node2", "a" * 64)
    status = status_section(old.facts(EMPTY))
    table = a_table("node1", "node2", "node3")
    table.adopt_status(status, own="node1")
    assert (table["node2"].lied, table["node2"].fenced, table["node2"].fenced_by) == (True, False, ("f",))
    assert (table["node3"].lied, table["node3"].fenced, table["node3"].fenced_by) == (False, True, ("g", "h"))
    rebooted = NodeTable(NODES, digest)
    rebooted.set_view(a_view("node1", "node2", "node3", boot="b"), {}, 100)
    rebooted.adopt_status(status, own="node1")
    assert [facts_of(rebooted, name).join for name in ("node2", "node3")] == [Join.MEMBER, Join.MEMBER]


def test_a_node_that_lives_on_is_to_be_fenced_for_the_scheduler() -> None:
    table = a_table("node1", "node2")
    table.set_fenced("node2", ("f",))
    assert table.still_there("node2", "a" * 64)
    configuration = parse(
        """<configuration><crm_config><cluster_property_set id="p"><nvpair id="p-s" name="stonith-enabled"
        value="true"/></cluster_property_set></crm_config><nodes/><resources><primitive id="f" class="stonith"
        type="fence_x"/></resources><constraints/></configuration>"""
    )
    configuration = with_nodes(configuration, [("1", "node1"), ("2", "node2")])
    status = status_section(table.facts(configuration), for_scheduler=True)
    cib = whole(configuration, status, CibVersion(0, 1, 0), quorate=True, dc_uuid="1", execution_date_s=200)
    fencing = [action.node for action in schedule(cib, 200).graph.actions() if action.operation == "stonith"]
    assert fencing == ["node2"]


def test_a_later_run_of_an_absent_node_voids_what_was_known() -> None:
    """It came back to others while we were cut off; quorum may come back to us without any member."""
    table = a_table("node1", "node2", "node3")
    left = {"node3": (NodeState.LEFT, True)}
    runs = {"node1": 2, "node2": 7, "node3": 4}
    table.set_view(a_view("node1", "node2", counter=2), left, 200, runs=runs)
    assert not {fact.name: fact for fact in table.facts(EMPTY)}["node3"].expected_up
    stale = {"node3": (NodeState.LEFT, False)}
    change = table.set_view(a_view("node1", "node2", counter=2), stale, 300, runs={**runs, "node3": 5})
    assert change == MembershipChange(gone=("node3",))
    assert not table["node3"].left_cleanly
    assert table.set_view(a_view("node1", "node2", counter=2), stale, 300, runs=runs) == MembershipChange()
    change = table.set_view(a_view("node1", "node2", counter=2), left, 400, runs={**runs, "node3": 6})
    assert change == MembershipChange(left=("node3",)), "the run after that has left cleanly, too"


@pytest.mark.parametrize("runs", [{}, {"node3": 0}, {"node3": 4}])
def test_a_new_ha_messaging_that_knows_no_more_voids_nothing(runs: dict[str, int]) -> None:
    """It has not heard the LEAVE that the one before it has."""
    table = a_table("node1", "node2", "node3")
    left = {"node3": (NodeState.LEFT, True)}
    table.set_view(a_view("node1", "node2", counter=2), left, 200, runs={"node3": 4})
    unknown = {"node3": (NodeState.UNKNOWN, False)}
    assert table.set_view(a_view("node1", "node2", counter=3), unknown, 300, runs=runs) == MembershipChange()
    assert table["node3"].left_cleanly


def test_who_was_fenced_and_is_heard_again_is_not_doubted_before_it_is_let_in() -> None:
    """Somebody else was in a view with its new boot already."""
    table = a_table("node1", "node2", "node3")
    table.set_view(a_view("node1", "node2", counter=2), {}, 200, runs={"node3": 4})
    table.set_fenced("node3", ("f",))
    heard, silent = {"node3": (NodeState.JOINING, False)}, {"node3": (NodeState.LOST, False)}
    view = a_view("node1", "node2", counter=3)
    assert table.set_view(view, heard, 300, runs={"node3": 5}) == MembershipChange()
    assert table["node3"].fenced
    assert table.set_view(view, silent, 400, runs={"node3": 5}) == MembershipChange(gone=("node3",))
    assert not table["node3"].fenced


def test_a_later_run_of_a_lost_node_changes_nothing() -> None:
    table = a_table("node1", "node2", "node3")
    view, lost = a_view("node1", "node2", counter=2), {"node3": (NodeState.LOST, False)}
    table.set_view(view, lost, 200, runs={"node3": 4})
    assert table.set_view(view, lost, 300, runs={"node3": 5}) == MembershipChange()
    assert table["node3"].seen
