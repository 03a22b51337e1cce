from __future__ import annotations

from cli.render.cluster_status import status_text
from cli.render.transition_summary import summary_lines
from crm.cib import codec
from crm.scheduler import pipeline
from crm.scheduler.model import Role
from tests.unit.crm.scheduler import cibs

CIB = codec.parse("""
<cib have-quorum="1"><configuration><crm_config>
<cluster_property_set id="o"><nvpair id="o1" name="stonith-enabled" value="false"/></cluster_property_set>
</crm_config><nodes><node id="1" uname="n1"/><node id="2" uname="n2"/><node id="3" uname="n10"/></nodes>
<resources>
<group id="g"><meta_attributes id="gm"><nvpair id="gm1" name="is-managed" value="false"/></meta_attributes>
<primitive id="ip" class="ocf" provider="hacluster" type="IPaddr"/></group>
<clone id="c"><primitive id="d" class="ocf" provider="hacluster" type="Dummy"/></clone>
</resources><constraints/></configuration>
<status>
<node_state id="1" uname="n1" in_ccm="true" crmd="online" join="member" expected="member"><lrm id="1">
<lrm_resources>
<lrm_resource id="ip" class="ocf" provider="hacluster" type="IPaddr">
<lrm_rsc_op id="ip_last_0" operation="start"
operation_key="ip_start_0" transition-key="1:1:0:x"
transition-magic="0:0;1:1:0:x" call-id="1" rc-code="0"
op-status="0" interval="0"/></lrm_resource>
<lrm_resource id="d" class="ocf" provider="hacluster" type="Dummy"><lrm_rsc_op id="d_last_0" operation="start"
operation_key="d_start_0" transition-key="2:1:0:x" transition-magic="0:0;2:1:0:x" call-id="2" rc-code="0"
op-status="0" interval="0"/></lrm_resource>
</lrm_resources></lrm></node_state>
<node_state id="2" uname="n2" in_ccm="false" crmd="offline" join="down" expected="down"/>
</status></cib>
""")


def test_nodes_groups_and_clones() -> None:
    work = pipeline.unpack(CIB, 1_000)
    assert status_text(work, pending=True) == (
        "  * Node List:\n"
        "    * Online: [ n1 ]\n"
        "    * OFFLINE: [ n2 n10 ]\n"
        "\n"
        "  * Full List of Resources:\n"
        "    * Resource Group: g (unmanaged):\n"
        "      * ip\t(ocf:hacluster:IPaddr):\t Started n1 (unmanaged)\n"
        "    * Clone Set: c [d]:\n"
        "      * Started: [ n1 ]\n"
        "      * Stopped: [ n2 n10 ]\n"
    )


def test_a_cluster_without_resources_says_so() -> None:
    empty = codec.parse("<cib><configuration><nodes/><resources/></configuration><status/></cib>")
    assert "    * No resources\n" in status_text(pipeline.unpack(empty, 1), pending=False)


def test_the_node_of_a_pending_action_is_named_in_every_status() -> None:
    starting = cibs.entry("web", rc=193, expected=0, status=-1, call=-1)
    text = cibs.document(
        [cibs.primitive("web", meta={"target-role": "Stopped"})],
        states=[cibs.state("n1", cibs.history("web", cibs.entry("web", "stop", call=3), starting))],
    )
    work = pipeline.unpack(codec.parse(text), cibs.NOW_S)
    assert "web\t(ocf:test:Dummy):\t Starting n1 (disabled)" in status_text(work, pending=True)
    work.resources[0].orig_role, work.resources[0].active_nodes = Role.STOPPED, []
    assert "web\t(ocf:test:Dummy):\t Stopped n1 (disabled)" in status_text(work, pending=False)


def test_columns_of_the_transition_summary_fit_its_longest_lines() -> None:
    text = cibs.document([cibs.primitive("db"), cibs.primitive("filesystem")], nodes=("n1", "a-long-name"))
    assert summary_lines(cibs.plan(text).work) == [
        "  * Start      db             ( a-long-name )",
        "  * Start      filesystem     (          n1 )",
    ]


def test_a_clone_shows_an_instance_by_itself_while_an_action_on_it_is_pending() -> None:
    pending = cibs.entry("d", "monitor", rc=193, expected=0, status=-1, call=-1, interval_ms=10000)
    states = [cibs.state("n1", cibs.running("d", pending)), cibs.state("n2", cibs.running("d"))]
    text = cibs.document([cibs.clone("c", cibs.primitive("d"))], states=states)
    shown = status_text(pipeline.unpack(codec.parse(text), cibs.NOW_S), pending=True)
    assert "      * d\t(ocf:test:Dummy):\t Started n1 (Monitoring)\n      * Started: [ n2 ]\n" in shown


def test_an_unclean_node_that_is_online_is_not_called_pending() -> None:
    joining = cibs.state("n1").replace('join="member"', 'join="pending"')
    cib = codec.parse(cibs.document([], states=[joining], options={"stonith-enabled": "true"}))
    work = pipeline.unpack(cib, cibs.NOW_S)
    assert work.nodes_by_name["n1"].pending
    work.nodes_by_name["n1"].unclean = True
    assert "    * Node n1: UNCLEAN (online)\n" in status_text(work, pending=True)
