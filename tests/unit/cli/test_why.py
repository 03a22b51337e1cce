from __future__ import annotations

import re
from pathlib import Path

import pytest

import crm.scheduler
from cli.render import reasons
from tests.unit.cli.runner import hacli

CIB = """<cib validate-with="pacemaker-3.9" have-quorum="1"><configuration><crm_config>
<cluster_property_set id="o"><nvpair id="o1" name="stonith-enabled" value="false"/></cluster_property_set>
</crm_config><nodes><node id="1" uname="n1"/><node id="2" uname="n2"/></nodes><resources>
<primitive id="a" class="ocf" provider="hacluster" type="Dummy"/>
<group id="g"><primitive id="b" class="ocf" provider="hacluster" type="Dummy"/>
<primitive id="d" class="ocf" provider="hacluster" type="Dummy"/></group>
<primitive id="s" class="ocf" provider="hacluster" type="Dummy"><meta_attributes id="sm">
<nvpair id="sm1" name="target-role" value="Stopped"/></meta_attributes></primitive>
</resources><constraints><rsc_location id="far" rsc="a" node="n2" score="50"/>
<rsc_colocation id="apart" rsc="g" with-rsc="a" score="-INFINITY"/></constraints>
<rsc_defaults><meta_attributes id="rd">
<nvpair id="rd1" name="resource-stickiness" value="7"/></meta_attributes>
</rsc_defaults></configuration><status>
<node_state id="1" uname="n1" in_ccm="true" crmd="online" join="member" expected="member"><lrm id="1">
<lrm_resources><lrm_resource id="a" class="ocf" provider="hacluster" type="Dummy">
<lrm_rsc_op id="a_last_0" operation="start" operation_key="a_start_0" transition-key="1:1:0:x"
transition-magic="0:0;1:1:0:x" call-id="1" rc-code="0" op-status="0" interval="0"/></lrm_resource>
</lrm_resources></lrm></node_state>
<node_state id="2" uname="n2" in_ccm="true" crmd="online" join="member" expected="member"><lrm id="2">
<lrm_resources/></lrm></node_state></status></cib>"""


@pytest.fixture
def why(tmp_path: Path) -> object:
    path = tmp_path / "cib.xml"
    path.write_text(CIB)
    return lambda *words: hacli(["--cib-file", str(path), "why", *words])


def test_where_it_is_to_be_and_what_the_scores_are_made_of(why) -> None:  # type: ignore[no-untyped-def]
    status, text = why("a")
    assert status == 0
    assert text.splitlines() == [
        "a is on n1 and is to be on n2.",
        "  plan: Move a ( n1 -> n2 )",
        "  n2: +50  <- chosen",
        "          +50  location constraint far",
        "  n1: +7",
        "           +7  it is there already (resource-stickiness)",
    ]


def test_a_group_is_its_members_and_one_node_may_be_named(why) -> None:  # type: ignore[no-untyped-def]
    _status, text = why("g", "n2")
    assert text.splitlines() == [
        "b is not running and starts on n1.",
        "  plan: Start b ( n1 )",
        "  n2: -INFINITY",
        "    -INFINITY  colocation apart",
        "",
        "d is not running and starts on n1.",
        "  plan: Start d ( n1 )",
        "  n2: -INFINITY",
        "    -INFINITY  the members of the group are together",
    ]


def test_what_is_stopped_says_who_said_so(why) -> None:  # type: ignore[no-untyped-def]
    _status, text = why("s")
    assert text.startswith("s is not running and stays so.")
    assert "-INFINITY  target-role of s is Stopped" in text


def test_wrong_use(why) -> None:  # type: ignore[no-untyped-def]
    assert why()[0] == 2
    assert why("nobody")[0] == 1
    assert why("a", "n9")[0] == 1


def test_every_rule_of_the_scheduler_has_words() -> None:
    """The kinds that the scheduler's sources name in contributions."""
    folder = Path(crm.scheduler.__file__).parent
    text = "\n".join(path.read_text() for path in folder.rglob("*.py"))
    kinds = set(re.findall(r'(?:\.add|ban)\([^()]*(?:\([^()]*\)[^()]*)*?, "([a-z_]+)", ', text))
    kinds |= set(re.findall(r'kind="([a-z_]+)"', text)) | set(re.findall(r'why = \([^"]*"([a-z]+)"', text))
    assert {"location", "stickiness", "target_role", "health", "wish"} <= kinds | set(reasons._WORDS)
    assert kinds - {"clone_min"} <= set(reasons._WORDS), kinds - set(reasons._WORDS)
