"""A plain cluster of groups, primitives and clones, for where no other maker of CIBs is at hand.

A resource here is what can run: a primitive, a member of a group, an instance of a clone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crm.scheduler.digests import digest_of

NOW_S = 1_700_000_000
MEMBERS = 5
STATES = ("fresh", "running", "failed")
AGENT = 'class="ocf" provider="bench" type="Dummy"'
STICKY = (
    '<rsc_defaults><meta_attributes id="d"><nvpair id="s" name="resource-stickiness" value="1000"/>'
    "</meta_attributes></rsc_defaults>"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A top-level resource: its XML and, for each name in the history, where it runs."""

    xml: str
    places: dict[str, tuple[int, ...]]


def primitive(name: str) -> str:
    return (
        f'<primitive id="{name}" {AGENT}><instance_attributes id="{name}-i">'
        f'<nvpair id="{name}-p" name="config" value="/etc/{name}"/></instance_attributes><operations>'
        f'<op id="{name}-m" name="monitor" interval="10s" timeout="20s"/></operations></primitive>'
    )


def pieces(nodes: int, resources: int) -> Iterator[Piece]:
    """Alternately a group, five primitives and, every fourth time, a clone, until there are enough."""
    made = number = 0
    while made < resources:
        home = number % nodes
        if number % 4 == 3:
            name = f"c{number}"
            yield Piece(f'<clone id="{name}-clone">{primitive(name)}</clone>', {name: tuple(range(nodes))})
            made += nodes
        elif number % 2:
            names = [f"g{number}m{member}" for member in range(MEMBERS)]
            inner = "".join(map(primitive, names))
            yield Piece(f'<group id="g{number}">{inner}</group>', dict.fromkeys(names, (home,)))
            made += MEMBERS
        else:
            yield from (
                Piece(primitive(name), {name: (home,)})
                for name in (f"p{number}n{index}" for index in range(MEMBERS))
            )
            made += MEMBERS
        number += 1


def entry(name: str, task: str, interval_ms: int, rc: int, call: int) -> str:
    parameters = {"config": f"/etc/{name}"}
    if interval_ms:
        parameters["CRM_meta_timeout"] = "20000"
    key = f"{name}_{task}_{interval_ms}"
    return (
        f'<lrm_rsc_op id="{key}" operation_key="{key}" operation="{task}" interval="{interval_ms}" '
        f'call-id="{call}" rc-code="{rc}" op-status="0" crm_feature_set="3.20.0" '
        f'transition-key="1:1:{rc}:bench" transition-magic="0:{rc};1:1:{rc}:bench" '
        f'last-rc-change="{NOW_S - 500}" op-digest="{digest_of(parameters)}"/>'
    )


def history(name: str, *, active: bool) -> str:
    entries = (
        entry(name, "start", 0, 0, 1) + entry(name, "monitor", 10_000, 0, 2)
        if active
        else entry(name, "monitor", 0, 7, 1)
    )
    return f'<lrm_resource id="{name}" {AGENT}>{entries}</lrm_resource>'


def cluster(nodes: int, resources: int, state: str) -> str:
    """The CIB of such a cluster as XML."""
    made = list(pieces(nodes, resources))
    states = []
    for node in range(nodes):
        online = not (state == "failed" and node == nodes - 1)
        known = (
            ""
            if state == "fresh"
            else "".join(
                history(name, active=node in places) for one in made for name, places in one.places.items()
            )
        )
        states.append(
            f'<node_state id="{node}" uname="node{node:02}" in_ccm="{str(online).lower()}" '
            f'crmd="{"online" if online else "offline"}" join="{"member" if online else "down"}" '
            f'expected="member"><lrm id="{node}"><lrm_resources>{known}</lrm_resources></lrm></node_state>'
        )
    members = "".join(f'<node id="{node}" uname="node{node:02}"/>' for node in range(nodes))
    groups = [one.xml.split('"')[1] for one in made if one.xml.startswith("<group")]
    rules = "".join(
        f'<rsc_order id="o{one}" first="{one}" then="{two}"/>'
        f'<rsc_colocation id="k{one}" rsc="{two}" with-rsc="{one}" score="100"/>'
        for one, two in zip(groups[::2], groups[1::2], strict=False)
    )
    fence = '<primitive id="fence" class="stonith" type="fence_bench"/>'
    return (
        '<cib validate-with="pacemaker-3.9" admin_epoch="0" epoch="1" num_updates="0" have-quorum="1" '
        'dc-uuid="0"><configuration><crm_config/>'
        f"<nodes>{members}</nodes><resources>{fence}{''.join(one.xml for one in made)}</resources>"
        f"<constraints>{rules}</constraints>{STICKY}</configuration><status>{''.join(states)}</status></cib>"
    )
