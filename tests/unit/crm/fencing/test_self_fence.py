"""Which failed stops a node without quorum does not survive."""

from __future__ import annotations

import pytest

from crm.cib.codec import parse
from crm.fencing.self_fence import because


def configuration(*, options: str = "", meta: str = "", stop: str = "", defaults: str = "") -> str:
    pairs = "".join(
        f'<nvpair id="o{n}" name="{one.split("=")[0]}" value="{one.split("=")[1]}"/>'
        for n, one in enumerate(options.split())
    )
    name, _, value = meta.partition("=")
    attributes = (
        f'<meta_attributes id="m"><nvpair id="m1" name="{name}" value="{value}"/></meta_attributes>'
        if meta
        else ""
    )
    operations = (
        f'<operations><op id="s" name="stop" interval="0" on-fail="{stop}"/></operations>' if stop else ""
    )
    all_operations = (
        f'<op_defaults><meta_attributes id="d"><nvpair id="d1" name="on-fail" value="{defaults}"/>'
        "</meta_attributes></op_defaults>"
        if defaults
        else ""
    )
    return (
        f'<configuration><crm_config><cluster_property_set id="c">{pairs}</cluster_property_set></crm_config>'
        f'<resources><group id="g">{attributes}<primitive id="a" class="ocf" type="Dummy">{operations}'
        f"</primitive></group></resources>{all_operations}</configuration>"
    )


@pytest.mark.parametrize(
    ("text", "dies"),
    [
        (configuration(), True),
        (configuration(stop="fence"), True),
        (configuration(stop="fence", defaults="block"), True),
        (configuration(stop="block"), False),
        (configuration(stop="ignore"), False),
        (configuration(defaults="block"), False),
        (configuration(options="stonith-enabled=false"), False),
        (configuration(options="no-quorum-policy=ignore"), False),
        (configuration(options="no-quorum-policy=freeze"), True),
        (configuration(options="maintenance-mode=true"), False),
        (configuration(meta="is-managed=false"), False),
        (configuration(meta="maintenance=true"), False),
        (configuration(meta="is-managed=true"), True),
    ],
)
def test_what_would_be_fenced_with_quorum_ends_itself_without(text: str, dies: bool) -> None:
    assert bool(because(parse(text), ("a:1",))) is dies
    assert because(parse(text), ()) == ""


def test_what_is_no_longer_configured_counts_too() -> None:
    assert "gone" in because(parse(configuration(stop="block")), ("gone",))
