"""Each element of a configuration has an id of its own, however ids are given and made."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from cli.grammar import moves
from cli.grammar.definitions import parse_text
from cli.grammar.document import empty_cib
from cli.grammar.edits import rename, set_attribute
from cli.grammar.exact import exact
from cli.grammar.load import Mode, load
from cli.grammar.show import show
from crm.api.resource_values import with_parameter
from crm.cib.ids import free_id, ids_twice, numbered_id
from crm.cib.model import Element
from crm.cib.schema import refusal
from hacluster.errors import HaError, InvalidDocuments, InvalidRequest
from tests.cib_contents import contents


def loaded(text: str, cib: Element | None = None, mode: Mode = Mode.UPDATE) -> Element:
    return load(cib or empty_cib(), parse_text(text, "text"), source="text", mode=mode).cib


XML_RULE = (
    '<rsc_location id="l" rsc="a"><rule id="{}" score="1"><expression id="e" attribute="x" '
    'operation="defined"/><rule id="r2" score="1"><expression id="e2" attribute="x" operation="defined"/>'
    "</rule></rule></rsc_location>"
)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("property a: x=1", "for cluster_property_set a and for primitive a"),
        ("rsc_defaults a: x=1", "for primitive a and inside of rsc_defaults a"),
        ("op_defaults r: rule op start x=1", "for acl_role r and inside of op_defaults r"),
        ("node n1 attributes $id=u1 x=1 utilization $id=u1 x=1", "twice inside of node n1"),
        ("node n1 attributes $a=x", "inside of node n1 and for primitive a"),
        ("xml " + XML_RULE.format("r"), "inside of rsc_location l and for acl_role r"),
        ("xml " + XML_RULE.format("r2"), "twice inside of rsc_location l"),
        ("primitive b Dummy params $id=a x=1", "for primitive a and inside of primitive b"),
        (
            "primitive b Dummy operations $id=a op start timeout=1s",
            "for primitive a and inside of primitive b",
        ),
        ("primitive b Dummy op start id=a", "for primitive a and inside of primitive b"),
        ("primitive b Dummy params $x:x=1 $x:y=1", "twice inside of primitive b"),
        ("primitive b Dummy params $id=q x=1\nprimitive c Dummy meta $id=q x=1", "primitive b and inside of"),
        ("location l a rule $id=a #uname eq n1", "for primitive a and inside of rsc_location l"),
        ("role s read a: cib", "for primitive a and inside of acl_role s"),
        ("alert al /bin/true meta $id=a x=1", "for primitive a and inside of alert al"),
        (
            "bundle bu docker image=i network port-mapping id=a port=1",
            "for primitive a and inside of bundle bu",
        ),
        (
            'xml <fencing-topology><fencing-level id="a" target="n" index="1" devices="f"/>'
            "</fencing-topology>",
            "for primitive a and inside of fencing-topology",
        ),
        ("primitive a-meta_attributes Dummy", "inside of primitive a and for primitive a-meta_attributes"),
    ],
)
def test_an_id_that_something_has_is_refused_with_its_line(text: str, error: str) -> None:
    base = loaded("primitive a Dummy meta x=1\nrole r read cib")
    for mode in (Mode.UPDATE, Mode.CREATE):
        with pytest.raises(InvalidDocuments, match=error) as refused:
            loaded(f"tag t x y\n{text}".replace("x y", "a r"), base, mode)
        assert refused.value.errors[-1].line == text.count("\n") + 2


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("<group id='g'><primitive id='g' class='lsb' type='x'/></group>", "g is in itself"),
        (
            "<clone id='g'><group id='h'><primitive id='g' class='lsb' type='x'/></group></clone>",
            "g is in itself",
        ),
        (
            "<group id='g'><primitive id='a' class='lsb' type='x'/></group>\n"
            "xml <group id='h'><primitive id='a' class='lsb' type='x'/></group>",
            "h: a is in g already",
        ),
        (
            "<group id='g'><primitive id='a' class='lsb' type='x'/>"
            "<primitive id='a' class='lsb' type='y'/></group>",
            "'a' is in use twice",
        ),
    ],
)
def test_a_resource_is_in_one_place(text: str, error: str) -> None:
    with pytest.raises(InvalidDocuments, match=error):
        loaded(f"xml {text}")


def test_a_made_id_gives_way_to_one_that_is_given_later() -> None:
    cib = loaded("primitive a Dummy params x=1\nprimitive a-instance_attributes Dummy")
    assert [one.id for one in cib.walk() if one.tag == "instance_attributes"] == ["a-instance_attributes-0"]


def test_a_kept_id_gives_way_to_one_that_is_given() -> None:
    cib = loaded("primitive a Dummy params $odd:x=1")
    changed = loaded("primitive a Dummy params x=1 $odd:y=1", cib)
    assert {one.get("name"): one.id for one in changed.walk() if one.tag == "nvpair"} == {
        "x": "a-instance_attributes-x",
        "y": "odd",
    }


def test_the_exact_text_says_ids_that_were_a_second_choice() -> None:
    cib = loaded("primitive a Dummy params x=1", loaded("role a-instance_attributes read cib"))
    assert "params $id=a-instance_attributes-1" in exact(cib)
    assert contents(loaded(exact(cib))) == contents(cib)


def test_a_kept_id_gives_way_to_one_that_is_made() -> None:
    cib = loaded("primitive a Dummy params $b-instance_attributes-x:x=1")
    text = "primitive b Dummy params x=1\nprimitive a Dummy params x=1"
    for mode in (Mode.UPDATE, Mode.PUSH, Mode.PRUNE, Mode.REPLACE):
        changed = loaded(text, cib, mode)
        assert not ids_twice(changed)
        assert contents(loaded(exact(changed))) == contents(changed)


def test_an_id_may_change_its_place_within_a_text() -> None:
    cib = loaded("primitive a Dummy params $id=s x=1\nprimitive b Dummy")
    changed = loaded("primitive b Dummy params $id=s x=1\nprimitive a Dummy", cib)
    assert not ids_twice(changed)
    assert "params" not in show(changed, [one for one in changed.walk() if one.id == "a"])


def test_a_cib_with_an_id_twice_can_be_changed_elsewhere() -> None:
    cib = loaded("primitive a Dummy params $s:x=1\nprimitive b Dummy params $t:x=1")
    broken = _renamed(cib, "t", "s")
    assert ids_twice(broken)
    assert "primitive c" in show(loaded("primitive c Dummy", broken))
    with pytest.raises(InvalidDocuments, match="'s' is in use"):
        loaded("primitive c Dummy params $s:x=1", broken)


def _renamed(item: Element, old: str, new: str) -> Element:
    item = item.with_attributes(id=new) if item.id == old else item
    return item.mapped(lambda child: _renamed(child, old, new))


@pytest.mark.parametrize("word", ["$id=1x", "$1x:x=1", "$id=", "$id='a b'"])
def test_what_cannot_be_an_id_is_refused_where_it_stands(word: str) -> None:
    with pytest.raises(InvalidDocuments, match="not a valid id") as refused:
        loaded(f"primitive a Dummy params {word} y=1")
    assert refused.value.errors[0].column == 26


POOL = st.sampled_from(
    [
        *"abcdes",
        "a-instance_attributes",
        "a-instance_attributes-x",
        "l-rule",
        "l-rule-expression",
        "k-0",
        "n1",
    ]
)
FORMS = st.sampled_from(
    [
        *(
            "primitive {} Dummy params x=1",
            "primitive a Dummy params $id={} x=1",
            "primitive a Dummy params x=1",
        ),
        *(
            "primitive b Dummy params ${}:x=1 meta $id={} y=2",
            "primitive b Dummy op monitor interval=9s id={}",
        ),
        *("primitive b Dummy operations $id={} op start timeout=9s", "rsc_template {} Dummy meta $id={} x=1"),
        *("primitive c Dummy op start timeout=1s op_params $id={} x=1 $ {}:y=1".replace("$ ", "$"),),
        *("group g a", "group {} b meta x=1", "clone {} a meta $id={} x=1", "tag {} a"),
        *("location {} a rule #uname eq n1", "location l a rule $id={} #uname eq n1 and date lt 2030-01-01"),
        *("colocation {} inf: a b", "colocation k inf: ( a b ) a", "order {} a b", "rsc_ticket {} t: a b"),
        *("node n1 attributes $id={} x=1 utilization $id={} y=2", "node n1 attributes ${}:x=1", "node {}"),
        *("property {}: x=1", "property $id={} rule #uname eq n1 x=1", "property ${}:x=1"),
        *("rsc_defaults {}: x=1", "op_defaults {}: rule $id={} op start x=1", "op_defaults x=1"),
        *("role {} read cib", "role r read {}: cib write {}: status", "acl_target u r"),
        *("alert {} /bin/true attributes $id={} x=1 to x meta $id={} y=1", "alert al /x to a to b"),
        "bundle {} docker image=i network port-mapping id={} port=1",
        "bundle bu docker image=i storage storage-mapping source-dir=/a target-dir=/b",
        "fencing_topology n1: a b",
        "xml <fencing-topology><fencing-level id='{}' target='n1' index='1' devices='a'/></fencing-topology>",
        "xml <group id='{}'><primitive id='{}' class='lsb' type='x'/></group>",
        "xml <clone id='{}'><group id='{}'><primitive id='{}' class='lsb' type='x'/></group></clone>",
        "xml <rsc_location id='{}' rsc='a'><rule id='{}' score='1'><expression id='{}' attribute='x' "
        "operation='defined'/><rule id='q' score='1'/></rule></rsc_location>",
        "xml <rsc_colocation id='{}' score='1'><resource_set id='{}'><resource_ref id='a'/></resource_set>"
        "</rsc_colocation>",
    ]
)


@st.composite
def lines(draw: st.DrawFn) -> str:
    form = draw(FORMS)
    return form.format(*(draw(POOL) for _ in range(form.count("{}"))))


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(lines(), min_size=1, max_size=3), min_size=2, max_size=8), st.sampled_from(Mode))
def test_ids_stay_unique_and_what_is_shown_loads_again(texts: list[list[str]], mode: Mode) -> None:
    cib = empty_cib()
    for text in texts:
        try:
            cib = loaded("\n".join(text), cib, mode)
        except HaError:
            event("refused")
            continue
        event("loaded")
        assert not ids_twice(cib)
        assert "is used by" not in refusal(cib.children[0])
        assert contents(loaded(exact(cib))) == contents(cib)
        assert show(loaded(show(cib))) == show(cib)


# Ids that other commands make.


def test_a_pair_of_a_node_gets_a_free_and_possible_id() -> None:
    cib = loaded("node 1: n1\nprimitive nodes-1 Dummy")
    cib = set_attribute(
        cib, "n1", "instance_attributes", "#health", "red", set_id="nodes-1", pair_id="nodes-1-#health"
    )
    assert [one.id for one in cib.walk() if one.get("name") == "#health"] == ["nodes-1-.health"]
    assert not ids_twice(cib)
    assert not refusal(cib.children[0])


def test_moves_leave_the_ids_of_others_alone() -> None:
    cib = loaded("node n1\nprimitive a Dummy\nprimitive rule-a Dummy")
    cib = moves.ban(moves.ban(cib, "rule-a", "n1"), "a", "n1", "2030-01-01")
    assert not ids_twice(cib)
    cib = loaded("primitive a Dummy\ncolocation cli-prefer-a inf: a a2\nprimitive a2 Dummy")
    with pytest.raises(InvalidRequest, match="'cli-prefer-a' is in use"):
        moves.prefer(cib, "a", "n1")


def test_what_agents_set_has_free_ids() -> None:
    cib = loaded("primitive a-meta_attributes Dummy\nprimitive a Dummy")
    configuration = with_parameter(cib.children[0], "a", "meta", "#x", "1")
    assert not ids_twice(configuration)
    assert not refusal(configuration)


def test_a_renamed_set_is_still_referred_to() -> None:
    cib = loaded("rsc_defaults x=1\nprimitive a Dummy meta $id-ref=rsc-options")
    changed = rename(cib, "rsc-options", "others")
    assert "meta $id-ref=others" in show(changed)
    assert not refusal(changed.children[0])


def test_free_ids() -> None:
    assert free_id({"a", "a-0"}, "a") == "a-1"
    assert free_id(set(), "#a b") == ".a.b"
    assert numbered_id({"a-1"}, "a", first=1) == "a-2"
