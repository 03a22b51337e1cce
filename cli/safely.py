"""Verbs that interrupt something: what else they would interrupt is said first, and asked about.

With -F it is done without a question. With --safe or -n, and where nobody can be asked, it is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from cli.commands.changes import change, read
from cli.context import Context, Unsafe
from cli.grammar.document import find_resource
from cli.render.plan import steps_text
from crm.cib.model import Element

if TYPE_CHECKING:
    from cli.planning import Plan, Step

Matters = Callable[["Step"], bool]
"""Whether a step of the plan has to be asked about."""


def not_asked_for(step: Step) -> bool:
    """Something is interrupted that the command is not about: for `stop`, `demote`, `move`, `delete`."""
    return step.interrupts and not step.asked


def not_served_any_more(step: Step) -> bool:
    """Something will not run anywhere: for `standby`, whose purpose is that things move."""
    return step.interrupts and not step.served


def moves_along(step: Step) -> bool:
    """It goes elsewhere and serves on: scripts have always moved what is colocated so, and are not asked."""
    return step.word == "Move"


def change_safely(
    context: Context,
    client: str,
    edit: Callable[[Element], Element],
    *,
    about: tuple[str, ...],
    matters: Matters = not_asked_for,
    unasked: Matters = lambda _step: False,
    acts: bool = True,
) -> Element:
    """As `changes.change`, after `check_safety`. Raises what either raises."""
    check_safety(context, edit, about=about, matters=matters, unasked=unasked, acts=acts)
    return change(context, client, edit)


def check_safety(
    context: Context,
    edit: Callable[[Element], Element],
    *,
    about: tuple[str, ...],
    matters: Matters = not_asked_for,
    unasked: Matters = lambda _step: False,
    acts: bool = True,
) -> None:
    """Say what a change leads to besides; ask, or raise Unsafe.

    `about`: resources the command names; what happens to them and their members is what was asked for.
    `unasked`: where nobody can be asked, and nothing forbids it, this is done and only said.
    `acts`: the command is meant to lead to something at once; that it does not is said, and why.
    """
    before = read(context)
    after = edit(before)
    if not _has_status(before):
        return
    from cli.planning import make_plan

    plan = make_plan(before, after, int(time.time()), frozenset(_with_members(before, about)))
    risks = tuple(one for one in plan.steps if matters(one))
    if not (context.can_ask or context.options.safe or context.options.refuse) and all(map(unasked, risks)):
        risks = ()
    also = "will also" if about else "will"
    others = tuple(one for one in plan.steps if one.disturbs and not one.asked and one not in risks)
    if others:
        context.info(f"this {also} {steps_text(others)}")
    if risks:
        _allow(context, f"this {also} {steps_text(risks)}")
    if acts:
        _say_when_nothing_happens(context, plan, before, after, about)


def _allow(context: Context, what: str) -> None:
    if context.options.force:
        context.warning(what)
        return
    refuse = context.options.safe or context.options.refuse
    if not refuse and context.can_ask:
        if not context.confirm(f"{what[0].upper()}{what[1:]}. Do it?"):
            raise Unsafe(what=f"{what}; nothing was changed")
        return
    raise Unsafe(what=f"{what}; nothing was changed", remedy="-F does it all the same")


def _has_status(cib: Element) -> bool:
    """Without a node's state there is nothing to predict: a configuration in a file."""
    status = cib.child("status")
    return status is not None and bool(status.all("node_state"))


def _with_members(cib: Element, names: Iterable[str]) -> Iterable[str]:
    for name in names:
        resource = find_resource(cib, name)
        yield name
        if resource is not None:
            yield from (one.id for one in resource.walk() if one.tag == "primitive")


def _say_when_nothing_happens(
    context: Context, plan: Plan, before: Element, after: Element, about: tuple[str, ...]
) -> None:
    if plan.steps:
        return
    if plan.maintenance:
        context.info("nothing happens now: the cluster is in maintenance mode (`hacli maintenance off`)")
        return
    from cli.render.cluster_view import ClusterView

    unmanaged = ClusterView(after, int(time.time())).unmanaged()
    held = [name for name in _with_members(before, about) if name in unmanaged]
    if held:
        names = " ".join(dict.fromkeys(held))
        context.info(f"nothing happens now: {names} not managed (`hacli resource manage {names}`)")
    elif not plan.anyway:
        ask = f" (`hacli why {about[0]}`)" if about else ""
        context.info(
            f"nothing happens now: it is like that already, or something else stands in the way{ask}"
        )
