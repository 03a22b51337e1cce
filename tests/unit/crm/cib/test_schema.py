from __future__ import annotations

import os
from pathlib import Path

import pytest

from crm.cib import codec, schema
from crm.cib.model import Element
from crm.cib.schema import Severity

RESOURCES = (
    '<resources><primitive id="a" class="ocf" provider="heartbeat" type="Dummy"/>'
    '<group id="g"><primitive id="b" class="systemd" type="nginx"/></group></resources>'
)


def problems(inner: str) -> list[str]:
    found = schema.check(codec.parse(f"<configuration>{inner}</configuration>"))
    return [f"{problem.severity.value}: {problem}" for problem in found]


def test_a_plain_configuration_is_valid() -> None:
    assert (
        problems(
            '<crm_config><cluster_property_set id="o"><nvpair id="x" name="x" value="1"/>'
            "</cluster_property_set>"
            '</crm_config><nodes><node id="1" uname="n1"/></nodes>'
            + RESOURCES
            + '<constraints><rsc_location id="l" rsc="a" node="n1" score="-INFINITY"/>'
            '<rsc_order id="r" first="a" then="g" kind="Mandatory"/></constraints>'
        )
        == []
    )


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (
            '<resources><primitive id="a" class="ocf" type="Dummy"/></resources>',
            'error: <primitive id="a">: an OCF agent has a provider '
            '(add provider="heartbeat" or the right one)',
        ),
        (
            '<resources><primitive id="a" class="lsb"/></resources>',
            'error: <primitive id="a">: type or template is missing (add type="…")',
        ),
        (
            '<resources><primitive id="a b" class="lsb" type="x"/></resources>',
            "error: <primitive id=\"a b\">: 'a b' cannot be an id "
            "(begin with a letter; letters, digits and . _ - only)",
        ),
        (
            '<resources><primitive id="a" template="t"/></resources>',
            "error: <primitive id=\"a\">: there is no template 't' (define it, or name class and type here)",
        ),
        (
            '<resources><clone id="c"/></resources>',
            'error: <clone id="c">: there is no <primitive> or <group> in it (add one, or remove it)',
        ),
        (
            RESOURCES + '<constraints><rsc_location id="l" rsc="z" node="n" score="1"/></constraints>',
            "error: <rsc_location id=\"l\">: there is no resource 'z' "
            "(remove the constraint, or name a resource or tag that exists)",
        ),
        (
            RESOURCES + '<constraints><rsc_location id="l" rsc="a" node="n"/></constraints>',
            'error: <rsc_location id="l">: a node without a score (add score="INFINITY" or a number)',
        ),
        (
            RESOURCES
            + '<constraints><rsc_colocation id="l" rsc="a" with-rsc="g" score="inf"/></constraints>',
            "error: <rsc_colocation id=\"l\">: 'inf' is no score (a whole number, INFINITY or -INFINITY)",
        ),
        (
            RESOURCES + '<constraints><rsc_order id="l" first="a" then="g" kind="Perhaps"/></constraints>',
            "error: <rsc_order id=\"l\">: kind='Perhaps' is not possible "
            "(one of Optional Mandatory Serialize)",
        ),
        (
            RESOURCES + '<constraints><rsc_order id="a" first="a" then="g"/></constraints>',
            'error: <rsc_order id="a">: the id is used by <primitive> too (give each its own id)',
        ),
        (
            '<nodes><node id="1" uname="n1"/><node id="1" uname="n2"/></nodes>',
            'error: <node id="1">: two nodes have the id 1 (each node has its own)',
        ),
        (
            "<nodes><primitive id='p' class='lsb' type='x'/></nodes>",
            "error: <nodes>: <primitive> has no place here (it may contain node)",
        ),
        (
            "<future><thing/></future>",
            "warning: <configuration>: <future> is not known (it is kept, and without effect)",
        ),
        (
            '<tags><tag id="t"><obj_ref id="nobody"/></tag></tags>',
            'warning: <obj_ref id="nobody">: nothing has this id (remove it from the tag)',
        ),
    ],
)
def test_each_mistake_is_named_with_its_remedy(inner: str, expected: str) -> None:
    assert problems(inner) == [expected]


def test_all_mistakes_at_once() -> None:
    refusal = schema.refusal(
        codec.parse(
            '<configuration><resources><primitive id="a"/><clone id="c"/></resources>'
            '<constraints><rsc_order id="o" first="x"/></constraints></configuration>'
        )
    )
    assert len(refusal.splitlines()) == 5


@pytest.mark.skipif(
    "HACLUSTER_SCHEDULER_CORPUS" not in os.environ, reason="HACLUSTER_SCHEDULER_CORPUS is not set"
)
def test_what_pacemaker_accepts_is_accepted() -> None:
    for path in sorted((Path(os.environ["HACLUSTER_SCHEDULER_CORPUS"]) / "xml").glob("*.xml")):
        configuration = codec.parse(path.read_bytes()).child("configuration")
        assert configuration is not None
        errors = [p for p in schema.check(configuration) if p.severity is Severity.ERROR]
        if any(_is_path_of_ocf(primitive) for primitive in configuration.walk()):
            assert [error.remedy for error in errors] == ["the name of a file in its folder"], path.name
            continue
        assert errors == [], path.name


def _is_path_of_ocf(item: Element) -> bool:
    """An absolute path as the type of an OCF agent: refused on purpose, it is no file of its provider."""
    return item.tag == "primitive" and item.get("class") == "ocf" and item.get("type").startswith("/")


def test_an_absolute_path_is_the_type_of_an_lsb_agent_alone() -> None:
    for standard, allowed in (("lsb", True), ("ocf", False), ("systemd", False), ("stonith", False)):
        found = problems(
            f'<resources><primitive id="a" class="{standard}" provider="p" type="/etc/x"/></resources>'
        )
        assert (not any("cannot name an agent" in one for one in found)) is allowed
