"""What `hacli cluster remove` takes out of the CIB."""

from __future__ import annotations

from cli.commands.cluster_remove import locations_of, without_node
from cli.grammar.document import find
from crm.cib import codec

CIB = codec.parse(
    """<cib><configuration><crm_config/>
    <nodes><node id="1" uname="alpha"/><node id="3" uname="gamma"/></nodes>
    <resources><primitive id="web" class="ocf" provider="hacluster" type="Dummy"/></resources>
    <constraints>
    <rsc_location id="lg" rsc="web" node="gamma" score="10"/>
    <rsc_location id="cli-prefer-web" rsc="web" role="Started" node="gamma" score="INFINITY"/>
    <rsc_location id="la" rsc="web" node="alpha" score="10"/>
    <rsc_location id="lr" rsc="web"><rule id="r" score="5">
    <expression id="e" attribute="#uname" operation="eq" value="gamma"/></rule></rsc_location>
    </constraints></configuration></cib>"""
)


def test_a_removed_node_takes_the_constraints_about_it_along() -> None:
    assert locations_of(CIB, "gamma") == ["lg", "cli-prefer-web"]
    after = without_node(CIB, "gamma")
    assert [name for name in ("gamma", "lg", "cli-prefer-web") if find(after, name) is not None] == []
    assert [name for name in ("alpha", "web", "la", "lr") if find(after, name) is None] == []
    assert without_node(after, "gamma") == after


def test_constraints_that_an_interrupted_removal_left_go_too() -> None:
    nodeless = codec.parse(codec.render(CIB).replace('<node id="3" uname="gamma"/>', ""))
    assert locations_of(without_node(nodeless, "gamma"), "gamma") == []
