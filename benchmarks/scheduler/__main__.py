"""Time to schedule synthetic clusters, per resource: `python -m benchmarks.scheduler [RESOURCES]`.

A resource here is what can run: a primitive, a member of a group, an instance of a clone. Three states are
measured: fresh (nothing probed yet), running (everything where it belongs), lost (a node is to be fenced).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from crm.cib.codec import parse
from crm.cib.model import Element
from crm.scheduler.digests import digest_of
from crm.scheduler.pipeline import schedule

NOW_S = 1_700_000_000
NODES = 16
MEMBERS = 5
# Three times what a slow core of 2020 needs, so that only a change of complexity trips it.
MS_PER_RESOURCE_MAX = {"fresh": 12.0, "running": 6.0, "lost": 8.0}
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


def pieces(resources: int) -> Iterator[Piece]:
    """Alternately a group, five primitives and, every fourth time, a clone, until there are enough."""
    made = number = 0
    while made < resources:
        home = number % NODES
        if number % 4 == 3:
            name = f"c{number}"
            yield Piece(f'<clone id="{name}-clone">{primitive(name)}</clone>', {name: tuple(range(NODES))})
            made += NODES
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


def cluster(resources: int, state: str) -> Element:
    made = list(pieces(resources))
    states = []
    for node in range(NODES):
        online = not (state == "lost" and node == NODES - 1)
        known = (
            ""
            if state == "fresh"
            else "".join(
                history(name, active=node in nodes) for one in made for name, nodes in one.places.items()
            )
        )
        states.append(
            f'<node_state id="{node}" uname="node{node:02}" in_ccm="{str(online).lower()}" '
            f'crmd="{"online" if online else "offline"}" join="{"member" if online else "down"}" '
            f'expected="member"><lrm id="{node}"><lrm_resources>{known}</lrm_resources></lrm></node_state>'
        )
    nodes = "".join(f'<node id="{node}" uname="node{node:02}"/>' for node in range(NODES))
    groups = [one.xml.split('"')[1] for one in made if one.xml.startswith("<group")]
    rules = "".join(
        f'<rsc_order id="o{one}" first="{one}" then="{two}"/>'
        f'<rsc_colocation id="k{one}" rsc="{two}" with-rsc="{one}" score="100"/>'
        for one, two in zip(groups[::2], groups[1::2], strict=False)
    )
    fence = '<primitive id="fence" class="stonith" type="fence_bench"/>'
    return parse(
        '<cib validate-with="pacemaker-3.9" have-quorum="1" dc-uuid="0"><configuration><crm_config/>'
        f"<nodes>{nodes}</nodes><resources>{fence}{''.join(one.xml for one in made)}</resources>"
        f"<constraints>{rules}</constraints>{STICKY}</configuration><status>{''.join(states)}</status></cib>"
    )


def main() -> int:
    resources = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    beyond = False
    for state, limit in MS_PER_RESOURCE_MAX.items():
        cib = cluster(resources, state)
        best_ms = float("inf")
        actions = 0
        for _ in range(3):
            started = time.perf_counter()
            actions = len(schedule(cib, NOW_S).graph.synapses)
            best_ms = min(best_ms, (time.perf_counter() - started) * 1000)
        per_resource = best_ms / resources
        beyond = beyond or per_resource > limit
        print(
            f"{state:8} {NODES} nodes, {resources} resources: {best_ms:.0f} ms, {actions} actions; "
            f"{per_resource:.2f} ms a resource, limit {limit:.0f}, ratio {per_resource / limit:.2f}"
        )
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
