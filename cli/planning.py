"""What a change of the configuration would lead to: for `plan`, commits on a terminal, safe verbs.

The scheduler runs on the CIB as it is and as it would be; what it would do in both cases is not the change's
doing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from cli.grammar.document import configuration_of, section
from cli.grammar.references import named_by
from cli.grammar.side_effects import side_effects
from cli.render import transition_summary
from crm.cib.model import Element
from crm.cib.objects import ObjectChange, changes
from crm.scheduler import pipeline
from crm.scheduler.model import Resource
from crm.transition.graph import ActionKind, GraphAction, TransitionGraph

INTERRUPTS: Final = ("Stop", "Restart", "Recover", "Move", "Demote", "Re-promote")
_SHOWN: Final = (
    "start",
    "stop",
    "promote",
    "demote",
    "migrate_to",
    "migrate_from",
    "reload-agent",
    "stonith",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What happens to one resource (or node, when it is fenced).

    `asked`: the change is about it. `served`: it, or another instance of it, runs afterwards.
    """

    word: str
    subject: str
    details: str
    reason: str = ""
    blocked: bool = False
    asked: bool = False
    served: bool = False

    @property
    def interrupts(self) -> bool:
        """Something that serves now will not, for a while or for good."""
        return not self.blocked and (self.word in INTERRUPTS or self.word == "Fence")

    @property
    def disturbs(self) -> bool:
        """It interrupts, or what serves goes elsewhere while it serves."""
        return self.interrupts or (not self.blocked and self.word == "Migrate")

    def __str__(self) -> str:
        tail = f"  because {self.reason}" if self.reason else ""
        return f"{self.word:<8} {self.subject}  ({self.details}){tail}" + (
            "  [blocked]" if self.blocked else ""
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The changes, what else the shell changed for them, and what the cluster will do, in order."""

    changes: tuple[ObjectChange, ...]
    side_effects: tuple[str, ...]
    steps: tuple[Step, ...]
    anyway: tuple[Step, ...]
    order: tuple[str, ...]
    maintenance: bool = False

    @property
    def unasked(self) -> tuple[Step, ...]:
        """What is interrupted although the change is about something else."""
        return tuple(one for one in self.steps if one.interrupts and not one.asked)


def make_plan(
    before: Element,
    after: Element,
    now_s: int,
    named: frozenset[str] | None = None,
    pruned: frozenset[str] = frozenset(),
) -> Plan:
    """`named`: objects the user spoke of; None: all that differs. Costs two schedules.

    `pruned`: what goes because nobody spoke of it: that is no side effect, but what it interrupts was not
    asked for.
    """
    changed = changes(configuration_of(before), configuration_of(after))
    known = frozenset(_spoken_of(changed)) if named is None else named
    now = pipeline.schedule(before, now_s, sanitized=True)
    then = pipeline.schedule(after, now_s, sanitized=True)
    due = set(_steps(now, frozenset()))
    every = tuple(_steps(then, frozenset(_about(changed, known, (before, after)))))
    anyway = tuple(one for one in every if _plain(one) in due)
    return Plan(
        changes=changed,
        side_effects=() if named is None else side_effects(changed, named | pruned),
        steps=tuple(one for one in every if _plain(one) not in due),
        anyway=anyway,
        order=tuple(_in_order(then.graph)),
        maintenance=then.work.options.maintenance_mode,
    )


def _plain(step: Step) -> Step:
    return Step(
        word=step.word,
        subject=step.subject,
        details=step.details,
        reason=step.reason,
        blocked=step.blocked,
        served=step.served,
    )


def _spoken_of(changed: tuple[ObjectChange, ...]) -> Iterator[str]:
    for one in changed:
        if one.key[0] in ("resources", "constraints"):
            yield one.key[2]


def _about(
    changed: tuple[ObjectChange, ...], named: frozenset[str], cibs: tuple[Element, ...]
) -> Iterator[str]:
    """What was named, what constraints that were named are about, and the members of all of these."""
    names = set(named)
    for one in changed:
        if one.key[0] == "constraints" and one.key[2] in named:
            for item in (one.before, one.after):
                names.update(named_by(item) if item is not None else ())
    yield from names
    for cib in cibs:
        for item in section(cib, "resources").walk():
            if item.id in names:
                yield from (inner.id for inner in item.walk() if inner.tag == "primitive")


def _steps(transition: pipeline.Transition, asked: frozenset[str]) -> Iterator[Step]:
    for text in transition_summary.fencing_texts(transition.work):
        _fence, _, rest = text.partition(" ")
        what, _, reason = rest.partition(" '")
        yield Step(word="Fence", subject=what.split()[-1], details=what, reason=reason.rstrip("'"))
    asked |= frozenset(_parts_of_bundles(transition.work.resources, asked))
    served = {
        one.id.partition(":")[0]
        for resource in transition.work.resources
        for one in resource.primitives()
        if one.assigned_node is not None
    }
    for one in transition_summary.changes(transition.work):
        yield Step(
            word=one.word,
            subject=one.resource,
            details=one.details,
            reason=one.reason,
            blocked=one.blocked,
            asked=one.resource.partition(":")[0] in asked,
            served=one.resource.partition(":")[0] in served,
        )


def _parts_of_bundles(resources: Iterable[Resource], asked: frozenset[str]) -> Iterator[str]:
    """A bundle's containers, addresses and connections, when it, or what runs in it, was asked for."""
    for one in resources:
        if one.bundle is None:
            continue
        parts = [
            part.id.partition(":")[0]
            for replica in one.bundle.replicas
            for part in (replica.ip, replica.container, replica.connection, replica.child)
            if part is not None
        ]
        if asked & {one.id, *parts}:
            yield from parts


def _in_order(graph: TransitionGraph) -> Iterator[str]:
    """The actions that people care for, each after all that has to be done before it."""
    waiting = list(graph.synapses)
    done: set[int] = set()
    while waiting:
        ready = [one for one in waiting if all(number in done for number in one.inputs)]
        if not ready:
            return  # the rest waits for what cannot be done
        for synapse in ready:
            done.update(action.id for action in synapse.actions)
            for action in synapse.actions:
                if action.kind is not ActionKind.PSEUDO and action.operation in _SHOWN:
                    yield _action_text(action)
        finished = {one.id for one in ready}
        waiting = [one for one in waiting if one.id not in finished]


def _action_text(action: GraphAction) -> str:
    if action.operation == "stonith":
        return f"fence {action.node} ({action.attributes.get('CRM_meta_stonith_action', 'reboot')})"
    resource = next((one.get("long-id") or one.id for one in action.children if one.tag == "primitive"), "")
    return f"{action.operation} {resource or action.key.rpartition('_')[0]} on {action.node}"
