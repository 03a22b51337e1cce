"""Reading values, rules and histories."""

from __future__ import annotations

import pytest

from crm.scheduler import dates, scores, values
from crm.scheduler.digests import digest_of, operation_digests
from crm.scheduler.explain import contributions, explain
from crm.scheduler.history import by_age, expected_rc
from crm.scheduler.rules import Context, Elements, holds, merge_sets
from crm.scheduler.scores import INFINITY
from tests.unit.crm.scheduler.cibs import (
    NOW_S,
    document,
    element,
    entry,
    plan,
    primitive,
    running,
    state,
    stopped,
)


@pytest.mark.parametrize(
    ("left", "right", "total"),
    [
        (1, 2, 3),
        (INFINITY, 5, INFINITY),
        (INFINITY, -INFINITY, -INFINITY),
        (-INFINITY, 5, -INFINITY),
        (999_999, 999_999, INFINITY),
        (-999_999, -999_999, -INFINITY),
    ],
)
def test_adding_scores(left: int, right: int, total: int) -> None:
    assert scores.add(left, right) == total
    assert scores.add(right, left) == total


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("INFINITY", INFINITY),
        ("-INFINITY", -INFINITY),
        ("1.0", 1),
        ("-5x", -5),
        ("x", 0),
        ("9" * 40, INFINITY),
    ],
)
def test_reading_scores(text: str, value: int) -> None:
    assert scores.parse(text) == value


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("10", 10_000),
        ("10s", 10_000),
        ("100ms", 100),
        ("2min", 120_000),
        ("1h", 3_600_000),
        ("1.9s", 1_000),
        ("P10S", 10_000),
        ("PT1M", 60_000),
        ("P1D", 86_400_000),
        ("P1DT2H", 93_600_000),
        ("P1D2H", 93_600_000),
        ("PT1H1M", 3_660_000),
        ("P1M", 2_592_000_000),
        ("PT5S ", 5_000),
        ("PT1.5S", None),
        ("P1Dgarbage", None),
        ("PT1H2", None),
        ("P1DT", None),
        ("P", None),
        ("PT", None),
        ("P 1D", None),
        ("P-1D", None),
        ("-3s", 0),
        ("P" + "9" * 30 + "Y", 1 << 62),
        ("soon", None),
        (None, None),
    ],
)
def test_durations(text: str | None, ms: int | None) -> None:
    assert values.duration_ms(text) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("4294967", 4_294_967_000),
        ("4294968", 4_294_967_295),
        ("99999999999s", 4_294_967_295),
        ("P99999D", 4_294_967_295),
        ("PT1.5S", 0),
    ],
)
def test_intervals_fit_32_bits(text: str, ms: int) -> None:
    assert values.interval_ms(text) == ms


@pytest.mark.parametrize(
    ("text", "at_s"),
    [
        ("1970-01-02", 86_400),
        ("2005-020T12:30", 1_106_224_200),
        ("2005-01-20 12:30:00Z", 1_106_224_200),
        ("2005-01-20 13:30:00+01:00", 1_106_224_200),
        ("2005-W03-4", 1_106_179_200),
        ("never", None),
    ],
)
def test_instants(text: str, at_s: int | None) -> None:
    assert dates.instant_s(text) == at_s


def test_names_sort_by_their_numbers() -> None:
    names = ["n10", "N2", "n1", "n01", "a"]
    assert sorted(names, key=values.natural_sort_key) == ["a", "n1", "n01", "N2", "n10"]


def _holds(rule: str, **attributes: str) -> bool:
    context = Context(now_s=NOW_S, recheck=lambda _: None, attributes=attributes)
    return holds(element(rule), context, Elements(None))


def test_expressions() -> None:
    def one(text: str, **attributes: str) -> bool:
        return _holds(f'<rule id="r"><expression id="e" {text}/></rule>', **attributes)

    assert one('attribute="a" operation="defined"', a="1")
    assert one('attribute="a" operation="not_defined"')
    assert one('attribute="a" operation="eq" value="X"', a="x")
    assert one('attribute="a" operation="gt" value="9"', a="10")
    assert not one('attribute="a" operation="gt" value="9" type="string"', a="10")
    assert one('attribute="a" operation="lt" value="1.10" type="version"', a="1.9.3")
    assert one('attribute="a" operation="ne" value="1"')
    assert not one('attribute="a" operation="lt" value="1"')


def test_and_or_and_nesting() -> None:
    yes = '<expression id="y" attribute="a" operation="defined"/>'
    no = '<expression id="n" attribute="b" operation="defined"/>'
    assert not _holds(f'<rule id="r">{yes}{no}</rule>', a="1")
    assert _holds(f'<rule id="r" boolean-op="or">{no}{yes}</rule>', a="1")
    assert _holds(f'<rule id="r">{yes}<rule id="i" boolean-op="or">{no}{yes}</rule></rule>', a="1")
    assert _holds('<rule id="r"/>')


def test_dates_and_when_to_look_again() -> None:
    rechecks: list[int] = []
    rule = element(
        '<rule id="r"><date_expression id="d" operation="in_range" start="2023-01-01" '
        'end="2024-01-01"/></rule>'
    )

    def at(now_s: int) -> bool:
        return holds(rule, Context(now_s=now_s, recheck=rechecks.append, attributes={}), Elements(None))

    start, end = 1_672_531_200, 1_704_067_200
    assert [at(start - 1), at(start), at(end), at(end + 1)] == [False, True, True, False]
    assert rechecks == [start, end + 1, end + 1]


@pytest.mark.parametrize(
    ("spec", "passes"),
    [('hours="22"', True), ('hours="9-16"', False), ('weekdays="1-5"', True), ('years="-2022"', False)],
)
def test_date_spec(spec: str, passes: bool) -> None:
    # NOW_S is Tuesday, 2023-11-14 22:13:20 UTC.
    inner = f'<date_spec id="s" {spec}/>'
    rule = f'<rule id="r"><date_expression id="d" operation="date_spec">{inner}</date_expression></rule>'
    assert _holds(rule) is passes


def test_the_last_set_of_equal_score_wins_and_a_higher_score_before_it() -> None:
    parent = element(
        '<p><meta_attributes id="1"><nvpair id="a" name="x" value="first"/></meta_attributes>'
        '<meta_attributes id="2"><nvpair id="b" name="x" value="last"/></meta_attributes></p>'
    )
    context = Context(now_s=NOW_S, recheck=lambda _: None)
    found: dict[str, str] = {}
    merge_sets(found, parent, "meta_attributes", context, Elements(None))
    assert found == {"x": "last"}
    scored = element(
        '<p><meta_attributes id="1" score="5"><nvpair id="a" name="x" value="first"/></meta_attributes>'
        '<meta_attributes id="2"><nvpair id="b" name="x" value="last"/></meta_attributes></p>'
    )
    found = {}
    merge_sets(found, scored, "meta_attributes", context, Elements(None))
    assert found == {"x": "first"}


def test_history_is_sorted_by_call() -> None:
    third, first, second = (
        element(entry("web", task, call=call)) for task, call in (("monitor", 3), ("stop", 1), ("start", 2))
    )
    assert by_age([third, first, second]) == [first, second, third]


def test_expected_results_may_be_missing() -> None:
    assert expected_rc(element('<lrm_rsc_op id="x" transition-key="1:2:7:u"/>')) == 7
    assert expected_rc(element('<lrm_rsc_op id="x" transition-key="broken"/>')) == -1


def test_digests() -> None:
    assert digest_of({}) == "f2317cad3d54cec5d7d7aa7d0bf35cf8"
    assert digest_of({"a": "1", "b": "2"}) == digest_of({"b": "2", "a": "1"})
    found = operation_digests(
        {"a": "1", "password": "x", "CRM_meta_timeout": "5"},
        interval_ms=0,
        timeout_ms=20_000,
        private_names=("password",),
        reloadable_names=("a",),
    )
    assert found.op_digest == digest_of({"a": "1", "password": "x"})
    assert found.op_force_restart == " password "
    assert found.op_restart_digest == digest_of({"password": "x"})
    assert found.op_secure_digest == digest_of({"a": "1"})
    recurring = operation_digests({"a": "1"}, interval_ms=10_000, timeout_ms=20_000)
    assert recurring.op_digest == digest_of({"a": "1", "CRM_meta_timeout": "20000"})
    assert recurring.op_restart_digest == ""


def test_every_score_says_where_it_comes_from() -> None:
    text = document(
        [primitive()],
        constraints='<rsc_location id="prefer" rsc="web" node="n2" score="50"/>',
        rsc_defaults={"resource-stickiness": "100"},
        states=[state("n1", running("web")), state("n2", stopped("web"))],
    )
    result = plan(text)
    web = result.work.resources_by_id["web"]
    assert [str(item) for item in contributions(web.allowed["n1"])] == ["100 stickiness of web"]
    assert [str(item) for item in contributions(web.allowed["n2"])] == ["50 location constraint prefer"]
    assert explain(result.work, "web") == (
        "web runs on n1",
        "  n1: 100",
        "    100 stickiness of web",
        "  n2: 50",
        "    50 location constraint prefer",
    )
    assert explain(result.work, "nobody") == ()


def test_documents_of_old_schemas_mean_what_they_meant() -> None:
    from crm.cib.codec import parse
    from crm.scheduler.upgrade import upgrade

    old = parse(
        '<cib validate-with="pacemaker-1.2"><configuration><crm_config><cluster_property_set id="o">'
        '<nvpair id="1" name="no_quorum_policy" value="ignore"/>'
        '<nvpair id="2" name="default-resource-stickiness" value="5"/>'
        '<nvpair id="3" name="default-action-timeout" value="9s"/></cluster_property_set></crm_config>'
        '<nodes><node id="n" uname="n" type="normal"/><node id="p" uname="p" type="ping"/></nodes>'
        '<resources><primitive id="r" class="ocf" provider="x" type="y"><operations>'
        '<op id="m" name="monitor" interval="5s" requires="nothing"><instance_attributes id="i">'
        '<nvpair id="t" name="timeout" value="7s"/></instance_attributes></op></operations></primitive>'
        '<primitive id="gone" class="upstart" type="y"/></resources><constraints/></configuration></cib>'
    )
    new = upgrade(old)
    names = {item.get("name"): item.get("value") for item in new.walk() if item.tag == "nvpair"}
    assert names["no-quorum-policy"] == "ignore"
    assert names["resource-stickiness"] == "5"
    assert names["timeout"] == "9s" or names["timeout"] == "7s"
    assert names["requires"] == "nothing"
    assert new.by_id("gone") is None
    assert {item.get("type") for item in new.walk() if item.tag == "node"} == {"member"}
    assert new.by_id("ping-p-r", "rsc_location") is not None
    defaults = new.path("configuration", "rsc_defaults")
    assert defaults is not None
    moved = new.by_id("i")
    assert moved is not None
    assert moved.tag == "meta_attributes"
    assert upgrade(parse('<cib validate-with="pacemaker-4.0"><configuration/></cib>')).tag == "cib"


def test_entries_whose_ages_form_a_circle_are_ordered_as_lists_of_glib_are() -> None:
    pending = entry("vm", "monitor", rc=193, expected=7, status=-1, call=-1).replace(
        "1:1:7:uuid", "1:0:7:uuid"
    )
    started = entry("vm", call=16).replace("1:1:0:uuid", "1:2:0:uuid")
    moving = entry("vm", "migrate_to", rc=1, expected=0, call=17).replace(":uuid", ":another")
    parsed = [element(text) for text in (pending, started, moving)]
    assert [one.get("operation") for one in by_age(parsed)] == ["migrate_to", "monitor", "start"]
