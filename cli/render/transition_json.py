"""A transition as JSON: what is to be done, what each action waits for, and why. Keys are stable. Pure."""

from __future__ import annotations

from typing import Any

from cli.output import document
from cli.render.transition_summary import summary_lines
from crm.scheduler.pipeline import Transition


def as_json(transition: Transition, *, scores: bool = False) -> str:
    """`summary` holds the lines for people; `scores` of each resource and node only when asked for."""
    graph, work = transition.graph, transition.work
    by_id = {action.id: action for action in work.actions}
    actions: list[dict[str, Any]] = []
    for synapse in graph.synapses:
        for action in synapse.actions:
            planned = by_id.get(action.id)
            resource = planned.resource if planned is not None else None
            actions.append(
                {
                    "id": action.id,
                    "kind": action.kind.value,
                    "key": action.key,
                    "operation": action.operation,
                    "resource": resource.id if resource is not None else "",
                    "node": action.node,
                    "inputs": list(synapse.inputs),
                    "priority": synapse.priority,
                    "reason": planned.reason if planned is not None else "",
                }
            )
    found: dict[str, Any] = {
        "now_s": work.now_s,
        "recheck_by_s": work.recheck_by_s,
        "have_quorum": work.have_quorum,
        "summary": [" ".join(line.split()).removeprefix("* ") for line in summary_lines(work)],
        "actions": actions,
        "resources": [
            {
                "id": one.id,
                "role": one.orig_role.label,
                "next_role": one.next_role.label,
                "nodes": [node.name for node in one.active_nodes],
                "next_node": one.assigned_node.name if one.assigned_node is not None else "",
            }
            for top in work.resources
            for one in top.primitives()
        ],
    }
    if scores:
        found["scores"] = list(transition.score_lines)
    return document("transition", found)
