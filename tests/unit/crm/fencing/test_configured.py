"""Fence devices as configurations have them: templates, references, rules, and bans."""

from __future__ import annotations

import pytest

from crm.cib.codec import parse
from crm.fencing.configured import NOTHING, Transient
from crm.fencing.devices import Device, devices

NODES = """<nodes><node id="1" uname="node1"><instance_attributes id="n1a">
<nvpair id="n1p" name="rack" value="a"/></instance_attributes></node>
<node id="2" uname="node2"/><node id="3" uname="node3"/></nodes>"""


def read(
    resources: str,
    *,
    constraints: str = "",
    options: str = "",
    more: str = "",
    now_s: int = 0,
    transient: Transient = NOTHING,
) -> list[Device]:
    text = f"""<configuration><crm_config><cluster_property_set id="o">{options}</cluster_property_set>
    </crm_config>{NODES}<resources>{resources}</resources><constraints>{constraints}</constraints>{more}</configuration>"""
    return list(devices(parse(text), now_s=now_s, transient=transient))


def pair(name: str, value: str) -> str:
    return f'<nvpair id="p-{name}-{value}" name="{name}" value="{value}"/>'


def one(name: str, within: str = "") -> str:
    return f'<primitive id="{name}" class="stonith" type="fence_x">{within}</primitive>'


def test_a_device_from_a_template() -> None:
    """Its own values come before the template's."""
    resources = (
        f'<template id="ipmi" class="stonith" type="fence_ipmilan"><instance_attributes id="t">'
        f"{pair('username', 'admin')}{pair('pcmk_host_list', 'nobody')}</instance_attributes></template>"
        f'<primitive id="f1" template="ipmi"><instance_attributes id="i">{pair("pcmk_host_list", "node1")}'
        "</instance_attributes></primitive>"
    )
    (device,) = read(resources)
    assert (device.id, str(device.agent)) == ("f1", "stonith:fence_ipmilan")
    assert device.parameters == {"username": "admin", "pcmk_host_list": "node1"}
    assert device.knows("node1")
    assert not device.knows("nobody")


def test_what_is_referred_to_counts() -> None:
    sets = f'<instance_attributes id="set">{pair("username", "admin")}</instance_attributes>'
    resources = one("f1", sets) + one("f2", '<instance_attributes id-ref="set"/>')
    assert [device.parameters for device in read(resources)] == [{"username": "admin"}] * 2


def test_a_set_counts_while_its_rule_holds() -> None:
    rule = (
        '<rule id="r" score="0"><date_expression id="d" operation="gt" start="2026-01-01 00:00:00Z"/></rule>'
    )
    attributes = f'<instance_attributes id="late">{rule}{pair("username", "new")}</instance_attributes>'
    assert read(one("f1", attributes), now_s=1_700_000_000)[0].parameters == {}
    assert read(one("f1", attributes), now_s=1_790_000_000)[0].parameters == {"username": "new"}


def test_what_is_wanted_stopped_with_its_group_is_no_device() -> None:
    stopped = f'<meta_attributes id="m">{pair("target-role", "Stopped")}</meta_attributes>'
    resources = f'<group id="g">{one("f1")}{stopped}</group><group id="h">{one("f2")}</group>'
    assert [device.id for device in read(resources)] == ["f2"]
    defaults = f"<rsc_defaults>{stopped}</rsc_defaults>"
    started = f'<meta_attributes id="s">{pair("target-role", "Started")}</meta_attributes>'
    assert [device.id for device in read(one("f1") + one("f2", started), more=defaults)] == ["f2"]


@pytest.mark.parametrize(
    ("constraint", "banned"),
    [
        ('<rsc_location id="l" rsc="f1" node="node1" score="-INFINITY"/>', {"node1"}),
        ('<rsc_location id="l" rsc="f1" node="node1" score="-1"/>', {"node1"}),
        ('<rsc_location id="l" rsc="f1" node="node1" score="100"/>', set()),
        ('<rsc_location id="l" rsc="f2" node="node1" score="-INFINITY"/>', set()),
        ('<rsc_location id="l" rsc-pattern="^f" node="node2" score="-INFINITY"/>', {"node2"}),
        ('<rsc_location id="l" rsc-pattern="!^x" node="node2" score="-INFINITY"/>', {"node2"}),
        ('<rsc_location id="l" rsc-pattern="^f[[:digit:]]" node="node2" score="-INFINITY"/>', {"node2"}),
        ('<rsc_location id="l" rsc="power" node="node2" score="-INFINITY"/>', {"node2"}),
        (
            '<rsc_location id="l" node="node3" score="-INFINITY"><resource_set id="s"><resource_ref id="f1"/>'
            "</resource_set></rsc_location>",
            {"node3"},
        ),
        (
            '<rsc_location id="l" rsc="f1"><rule id="r" score="-INFINITY"><expression id="e" '
            'attribute="#uname" operation="ne" value="node3"/></rule></rsc_location>',
            {"node1", "node2"},
        ),
        (
            '<rsc_location id="l" rsc="f1"><rule id="r" score="-INFINITY"><expression id="e" '
            'attribute="rack" operation="eq" value="a"/></rule></rsc_location>',
            {"node1"},
        ),
        (
            '<rsc_location id="l" rsc="f1" node="node1" score="-5"/>'
            '<rsc_location id="k" rsc="f1" node="node1" score="5"/>',
            set(),
        ),
    ],
)
def test_where_it_is_not_executed(constraint: str, banned: set[str]) -> None:
    tags = '<tags><tag id="power"><obj_ref id="f1"/></tag></tags>'
    (device,) = read(one("f1"), constraints=constraint, more=tags)
    assert device.banned == banned


@pytest.mark.parametrize(
    ("transient", "banned"),
    [
        ({}, {"node1"}),  # by its permanent attribute
        ({"node1": {"rack": "b"}}, set()),
        ({"node1": {"rack": "b"}, "node2": {"rack": "a"}}, {"node2"}),
        ({"node1": {"#uname": "x"}}, {"node1"}),
    ],
)
def test_transient_attributes_come_before_permanent_ones(
    transient: dict[str, dict[str, str]], banned: set[str]
) -> None:
    """As in the scheduler: a device is not executed where pingd, say, bans it."""
    rule = '<expression id="e" attribute="rack" operation="eq" value="a"/>'
    constraint = f'<rsc_location id="l" rsc="f1"><rule id="r" score="-INFINITY">{rule}</rule></rsc_location>'
    (device,) = read(one("f1"), constraints=constraint, transient=transient)
    assert device.banned == banned


def test_where_nothing_runs_without_a_preference() -> None:
    preferred = '<rsc_location id="l" rsc="f1" node="node1" score="INFINITY"/>'
    (device,) = read(one("f1"), constraints=preferred, options=pair("symmetric-cluster", "false"))
    assert device.banned == {"node2", "node3"}


def test_a_ban_of_the_group_and_of_the_template_is_the_device_s() -> None:
    template = '<template id="t" class="stonith" type="fence_x"/>'
    resources = f'{template}<group id="g"><primitive id="f1" template="t"/></group>'
    for name in ("g", "t"):
        ban = f'<rsc_location id="l" rsc="{name}" node="node1" score="-INFINITY"/>'
        assert read(resources, constraints=ban)[0].banned == {"node1"}
