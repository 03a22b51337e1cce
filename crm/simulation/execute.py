"""Carries a transition graph out on a CIB, as if every action ended as expected. Pure.

The rules are those one sees in Pacemaker's crm_simulate: a synapse fires once all its inputs are confirmed,
firing confirms at once, and each resource action leaves an entry in the node's history. A failure ends the
transition: what was begun is ended by the synapses of the priority INFINITY (notifications, above all), for
which a failed input is confirmed, too; of the others only points in time that do not wait for it are reached.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from crm.cib.model import Element
from crm.scheduler.digests import operation_digests
from crm.scheduler.model import WorkingSet
from crm.scheduler.scores import INFINITY
from crm.simulation.inject import count_failure
from crm.simulation.notes import Note, note
from crm.simulation.status_edit import StatusEdit
from crm.transition.graph import ActionKind, GraphAction, Synapse, TransitionGraph

FailureOf = Callable[[GraphAction], int | None]
"""The rc with which an action is to fail, None for success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The CIB afterwards, what was done in order, and whether everything fired."""

    cib: Element
    notes: tuple[Note, ...]
    complete: bool
    failed: bool = False

    @property
    def lines(self) -> tuple[str, ...]:
        """What was done, for people."""
        return tuple(one.text for one in self.notes)


@dataclass(slots=True)
class _Run:
    graph: TransitionGraph
    edit: StatusEdit
    known: frozenset[str]
    failure_of: FailureOf
    now_s: int
    notes: list[Note] = field(default_factory=list)
    confirmed: set[int] = field(default_factory=set)
    failures: set[int] = field(default_factory=set)


def known_names(work: WorkingSet) -> frozenset[str]:
    """The names by which resources are known: their ids and those that the history uses."""
    resources = list(work.all_resources())
    return frozenset(resource.id for resource in resources) | frozenset(
        resource.history_id for resource in resources if resource.history_id
    )


def execute(
    cib: Element,
    graph: TransitionGraph,
    now_s: int,
    *,
    stamp_s: int | None = None,
    known: frozenset[str] = frozenset(),
    failure_of: FailureOf | None = None,
) -> Execution:
    """Carry out `graph` on `cib`. Synapses are tried in graph order until none fires any more.

    `stamp_s`: the time of the new history entries, where it differs from `now_s`.
    `known`: see `known_names`; an action of an anonymous instance whose plain name is not among them goes by
    the instance's id.
    """
    run = _Run(graph, StatusEdit(cib, now_s, stamp_s), known, failure_of or (lambda _action: None), now_s)
    waiting = list(graph.synapses)
    while waiting:
        left: list[Synapse] = []
        for synapse in waiting:
            if _may_fire(run, synapse):
                for action in synapse.actions:
                    _fire(run, action)
            else:
                left.append(synapse)
        if len(left) == len(waiting):
            break
        waiting = left
    return Execution(
        cib=run.edit.cib(),
        notes=tuple(run.notes),
        complete=not waiting and not run.failures,
        failed=bool(run.failures),
    )


def _fire(run: _Run, action: GraphAction) -> None:
    if action.kind is ActionKind.PSEUDO:
        where = f" on {action.node}" if action.node else ""
        run.notes.append(
            note(
                f" * Pseudo action:   {action.key}{where}", "pseudo_action", task=action.key, node=action.node
            )
        )
    elif action.kind is ActionKind.CLUSTER:
        _fire_cluster(run, action)
    elif not _fire_resource(run, action):
        run.failures.add(action.id)
        return
    run.confirmed.add(action.id)


def _may_fire(run: _Run, synapse: Synapse) -> bool:
    urgent = synapse.priority >= INFINITY
    for number in synapse.inputs:
        if number not in run.confirmed and not (urgent and number in run.failures):
            return False
    return urgent or not run.failures or all(one.kind is ActionKind.PSEUDO for one in synapse.actions)


def _fire_cluster(run: _Run, action: GraphAction) -> None:
    if action.operation == "stonith":
        what = action.attributes.get("CRM_meta_stonith_action", "reboot")
        run.notes.append(
            note(f" * Fencing {action.node} ({what})", "fencing_action", target=action.node, op=what)
        )
        if what != "on":
            run.edit.node_is_off(action.node)
        return
    primitive = next((child for child in action.children if child.tag == "primitive"), None)
    subject = f" for {primitive.id}" if primitive is not None else ""
    run.notes.append(
        note(
            f" * Cluster action:  {action.operation}{subject} on {action.node}",
            "cluster_action",
            task=action.operation,
            node=action.node,
            id=primitive.id if primitive is not None else "",
        )
    )


def _shown_name(run: _Run, primitive: Element) -> str:
    return primitive.id if primitive.id in run.known else primitive.get("long-id") or primitive.id


def _fire_resource(run: _Run, action: GraphAction) -> bool:
    primitive = next((child for child in action.children if child.tag == "primitive"), None)
    shown = _shown_name(run, primitive) if primitive is not None else action.key
    task = action.attributes.get("CRM_meta_name", "") if action.operation == "cancel" else action.operation
    interval = action.attributes.get("CRM_meta_interval", "0")
    suffix = f"={interval}" if interval not in ("", "0") else ""
    word = action.operation if action.operation == "cancel" else task
    run.notes.append(
        note(
            f" * Resource action: {shown:<15} {word}{suffix} on {action.node}",
            "rsc_action",
            resource=shown,
            op=word,
            node=action.node,
            interval=suffix.removeprefix("="),
        )
    )
    if primitive is None or action.operation in ("delete", "lrm_delete"):
        return True
    rc = run.failure_of(action)
    expected = int(action.attributes.get("CRM_meta_op_target_rc", "0") or 0)
    failed = rc is not None and rc != expected
    if failed:
        pretended = f"Pretending action {action.id} failed with rc={rc}"
        run.notes.append(note(pretended, "pretended_failure", key=action.key, node=action.node, rc=str(rc)))
        counted = count_failure(run.edit, action.node, action.key, primitive.id, rc or 0, run.now_s)
        run.notes.extend(Note(f" * {one.text}", one.element) for one in counted)
    run.edit.record(
        action,
        primitive,
        name=shown,
        rc=expected if rc is None else rc,
        failed=failed,
        digest=operation_digests(
            action.attributes,
            interval_ms=int(action.attributes.get("CRM_meta_interval", "0") or 0),
            timeout_ms=int(action.attributes.get("CRM_meta_timeout", "0") or 0),
        ).op_digest,
    )
    return not failed
