"""Small CIBs for tests of the scheduler, built from pieces with defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from crm.cib.codec import parse
from crm.cib.model import Element
from crm.scheduler.digests import digest_of
from crm.scheduler.pipeline import Transition, schedule
from crm.transition.graph import GraphAction

NOW_S = 1_700_000_000


def _nvpairs(tag: str, owner: str, pairs: Mapping[str, str] | None) -> str:
    if not pairs:
        return ""
    inner = "".join(
        f'<nvpair id="{owner}-{tag}-{name}" name="{name}" value="{value}"/>' for name, value in pairs.items()
    )
    return f'<{tag} id="{owner}-{tag}">{inner}</{tag}>'


def primitive(
    name: str = "web",
    *,
    meta: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    utilization: Mapping[str, str] | None = None,
    ops: str = "",
    agent: str = "ocf:test:Dummy",
) -> str:
    kind, *rest = agent.split(":")
    provider = f' provider="{rest[0]}"' if len(rest) == 2 else ""
    return (
        f'<primitive id="{name}" class="{kind}"{provider} type="{rest[-1]}">'
        f"{_nvpairs('meta_attributes', name, meta)}{_nvpairs('instance_attributes', name, params)}"
        f"{_nvpairs('utilization', name, utilization)}<operations>{ops}</operations></primitive>"
    )


def op(name: str = "monitor", interval: str = "10s", **attributes: str) -> str:
    more = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in attributes.items())
    return f'<op id="{name}-{interval}-{len(more)}" name="{name}" interval="{interval}"{more}/>'


def group(name: str, *members: str, meta: Mapping[str, str] | None = None) -> str:
    return f'<group id="{name}">{_nvpairs("meta_attributes", name, meta)}{"".join(members)}</group>'


def clone(name: str, inner: str, *, meta: Mapping[str, str] | None = None) -> str:
    return f'<clone id="{name}">{_nvpairs("meta_attributes", name, meta)}{inner}</clone>'


def entry(
    resource: str,
    task: str = "start",
    *,
    rc: int = 0,
    expected: int | None = None,
    interval_ms: int = 0,
    call: int = 1,
    at_s: int = NOW_S - 1000,
    params: Mapping[str, str] | None = None,
    ident: str = "",
    status: int = 0,
    more: str = "",
) -> str:
    """One history entry with true digests."""
    wanted = rc if expected is None else expected
    digested = dict(params or {})
    if interval_ms:
        digested["CRM_meta_timeout"] = "20000"
    key = f"{resource}_{task}_{interval_ms}"
    return (
        f'<lrm_rsc_op id="{ident or key}" operation_key="{key}" operation="{task}" '
        f'interval="{interval_ms}" call-id="{call}" rc-code="{rc}" op-status="{status}" '
        f'crm_feature_set="3.20.0" transition-key="1:1:{wanted}:uuid" '
        f'transition-magic="{status}:{rc};1:1:{wanted}:uuid" last-rc-change="{at_s}" '
        f'op-digest="{digest_of(digested)}" {more}/>'
    )


def history(resource: str, *entries: str, agent: str = "ocf:test:Dummy", more: str = "") -> str:
    kind, *rest = agent.split(":")
    provider = f' provider="{rest[0]}"' if len(rest) == 2 else ""
    return (
        f'<lrm_resource id="{resource}" class="{kind}"{provider} type="{rest[-1]}" {more}>'
        f"{''.join(entries)}</lrm_resource>"
    )


def running(resource: str, *more: str, agent: str = "ocf:test:Dummy") -> str:
    return history(resource, entry(resource), *more, agent=agent)


def stopped(resource: str, agent: str = "ocf:test:Dummy") -> str:
    return history(resource, entry(resource, "monitor", rc=7), agent=agent)


def state(
    name: str,
    *histories: str,
    online: bool = True,
    attributes: Mapping[str, str] | None = None,
    expected: str = "member",
) -> str:
    up = "true" if online else "false"
    process, join = ("online", "member") if online else ("offline", "down")
    transient = ""
    if attributes:
        transient = (
            f'<transient_attributes id="{name}">'
            f"{_nvpairs('instance_attributes', f'status-{name}', attributes)}</transient_attributes>"
        )
    return (
        f'<node_state id="{name}" uname="{name}" in_ccm="{up}" crmd="{process}" join="{join}" '
        f'expected="{expected}">{transient}<lrm id="{name}"><lrm_resources>{"".join(histories)}'
        f"</lrm_resources></lrm></node_state>"
    )


def document(
    resources: Iterable[str],
    *,
    nodes: Iterable[str] = ("n1", "n2"),
    constraints: str = "",
    options: Mapping[str, str] | None = None,
    states: Iterable[str] | None = None,
    quorum: bool = True,
    rsc_defaults: Mapping[str, str] | None = None,
    tags: str = "",
    node_attributes: Mapping[str, Mapping[str, str]] | None = None,
    node_capacity: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    names = list(nodes)
    chosen = {"stonith-enabled": "false", **(options or {})}
    node_text = "".join(
        f'<node id="{name}" uname="{name}">'
        f"{_nvpairs('instance_attributes', name, (node_attributes or {}).get(name))}"
        f"{_nvpairs('utilization', name, (node_capacity or {}).get(name))}</node>"
        for name in names
    )
    state_text = "".join(states if states is not None else (state(name) for name in names))
    return (
        f'<cib validate-with="pacemaker-3.9" have-quorum="{int(quorum)}" dc-uuid="{names[0]}">'
        f"<configuration><crm_config>{_nvpairs('cluster_property_set', 'options', chosen)}</crm_config>"
        f"<nodes>{node_text}</nodes><resources>{''.join(resources)}</resources>"
        f"<constraints>{constraints}</constraints>"
        f"<rsc_defaults>{_nvpairs('meta_attributes', 'defaults', rsc_defaults)}</rsc_defaults>{tags}"
        f"</configuration><status>{state_text}</status></cib>"
    )


def plan(text: str, now_s: int = NOW_S) -> Transition:
    return schedule(parse(text), now_s)


def name_of(action: GraphAction) -> str:
    return f"{action.key}@{action.node}" if action.node else action.key


def names(transition: Transition) -> set[str]:
    """KEY@NODE of all actions."""
    return {name_of(action) for action in transition.graph.actions()}


def doing(transition: Transition) -> set[str]:
    """As `names`, without probes, recurring monitors and points in time."""
    return {
        name_of(action)
        for action in transition.graph.actions()
        if action.operation != "monitor" and action.kind.value != "pseudo_event"
    }


def inputs(transition: Transition, wanted: str) -> set[str]:
    """What directly comes before the action with that KEY@NODE."""
    by_id = {action.id: action for action in transition.graph.actions()}
    for synapse in transition.graph.synapses:
        if any(name_of(action) == wanted for action in synapse.actions):
            return {name_of(by_id[number]) for number in synapse.inputs if number in by_id}
    raise AssertionError(f"{wanted} is not in the graph: {sorted(names(transition))}")


def score(transition: Transition, resource: str, node: str) -> str:
    """The allocation score of a primitive, as in the last line about it."""
    head = f"pcmk__primitive_assign: {resource} allocation score on {node}: "
    found = [line[len(head) :] for line in transition.score_lines if line.startswith(head)]
    assert found, transition.score_lines
    return found[-1]


def element(text: str) -> Element:
    return parse(text)
