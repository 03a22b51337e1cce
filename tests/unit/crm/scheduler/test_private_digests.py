"""Digests without private parameters, by which blanked CIBs are compared."""

from __future__ import annotations

import pytest

from crm.cib.codec import parse
from crm.scheduler.digests import digest_of
from crm.scheduler.pipeline import schedule

NOW_S = 1_700_000_000


def _cib(feature_set: str) -> str:
    secure = digest_of({"port": "1"})
    return f"""<cib validate-with="pacemaker-3.9" have-quorum="1">
  <configuration>
    <crm_config><cluster_property_set id="o"><nvpair id="f" name="stonith-enabled" value="false"/>
    </cluster_property_set></crm_config>
    <nodes><node id="1" uname="ash"/></nodes>
    <resources><primitive id="db" class="ocf" provider="test" type="Dummy">
      <instance_attributes id="i"><nvpair id="p" name="password" value="***"/>
        <nvpair id="q" name="port" value="1"/></instance_attributes>
      <operations><op id="m" name="monitor" interval="10s"/></operations>
    </primitive></resources>
    <constraints/>
  </configuration>
  <status><node_state id="1" uname="ash" in_ccm="true" crmd="online" join="member" expected="member">
    <lrm id="1"><lrm_resources><lrm_resource id="db" class="ocf" provider="test" type="Dummy">
      <lrm_rsc_op id="db_monitor_10000" operation="monitor" operation_key="db_monitor_10000" interval="10000"
        call-id="2" rc-code="0" op-status="0" crm_feature_set="{feature_set}" last-rc-change="1699999000"
        transition-key="1:1:0:uuid" transition-magic="0:0;1:1:0:uuid" on_node="ash" op-digest="of-the-secret"
        op-secure-params=" password " op-secure-digest="{secure}"/>
    </lrm_resource></lrm_resources></lrm>
  </node_state></status>
</cib>"""


@pytest.mark.parametrize("feature_set", ["3.15.0", "3.19.7"])
def test_a_recurring_operations_time_out_is_in_no_private_digest(feature_set: str) -> None:
    cib = parse(_cib(feature_set))
    assert schedule(cib, NOW_S, sanitized=True).graph.synapses == ()
    repeated = [action.key for action in schedule(cib, NOW_S).graph.actions()]
    assert repeated == ["db_monitor_10000"]
