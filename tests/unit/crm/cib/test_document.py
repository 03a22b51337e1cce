"""The whole CIB, and the options read from it."""

from __future__ import annotations

from crm.cib.codec import parse
from crm.cib.document import cluster_options, is_true, primitives_of, whole
from crm.cib.model import Element
from crm.cib.versions import CibVersion

CONFIGURATION = parse(
    """<configuration><crm_config>
    <cluster_property_set id="a"><nvpair id="1" name="batch-limit" value="3"/></cluster_property_set>
    <cluster_property_set id="b"><nvpair id="2" name="batch-limit" value="9"/></cluster_property_set>
    </crm_config><resources><group id="g"><primitive id="p"/><primitive id="q"/></group>
    <clone id="c"><primitive id="r"/></clone></resources></configuration>"""
)


def test_the_document() -> None:
    cib = whole(
        CONFIGURATION, Element("status"), CibVersion(1, 2, 3), quorate=True, dc_uuid="1", execution_date_s=9
    )
    assert [child.tag for child in cib.children] == ["configuration", "status"]
    assert dict(cib.attributes) == {
        "crm_feature_set": "3.19.7",
        "validate-with": "pacemaker-3.9",
        "admin_epoch": "1",
        "epoch": "2",
        "num_updates": "3",
        "have-quorum": "1",
        "dc-uuid": "1",
        "execution-date": "9",
    }


def test_options_and_primitives() -> None:
    assert cluster_options(CONFIGURATION) == {"batch-limit": "3"}
    assert cluster_options(Element("configuration")) == {}
    assert primitives_of(CONFIGURATION, "g") == ("p", "q")
    assert primitives_of(CONFIGURATION, "r") == ("r",)
    assert primitives_of(CONFIGURATION, "x") == ()
    assert is_true("Yes")
    assert not is_true("false")
