"""A plan as text for people and as data for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

from cli.render.changes import change_data, change_lines
from crm.cib.model import Element

if TYPE_CHECKING:
    from cli.planning import Plan, Step

_RED, _GREEN, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[0m"


def plan_text(plan: Plan, before: Element, after: Element, *, colour: bool = False) -> str:
    """Every part that has something to say, ends in a line end."""
    parts: list[str] = []
    if plan.changes:
        parts += ["Changes:", *(_diff_line(one, colour) for one in change_lines(plan.changes, before, after))]
    if plan.side_effects:
        parts += ["The shell also:", *(f"  * {one}" for one in plan.side_effects)]
    if plan.maintenance:
        parts.append("The cluster is in maintenance mode: it will do nothing of this until that ends.")
    if plan.steps:
        parts += ["The cluster will:", *(_step_line(one, colour) for one in plan.steps)]
    else:
        parts.append("The cluster will do nothing because of this.")
    if plan.steps and len(plan.order) > 1:
        parts += ["In this order:", *(f"  {number}. {one}" for number, one in enumerate(plan.order, 1))]
    if plan.anyway:
        parts += ["It does anyway, also without this:", *(f"  {one}" for one in plan.anyway)]
    return "".join(f"{one}\n" for one in parts)


def _diff_line(line: str, colour: bool) -> str:
    mark = {"+": _GREEN, "-": _RED}.get(line[:1], "") if colour else ""
    return f"  {mark}{line}{_PLAIN if mark else ''}"


def _step_line(step: Step, colour: bool) -> str:
    if not (step.interrupts and not step.asked):
        return f"  {step}"
    return f"  {_RED}{step}  !{_PLAIN}" if colour else f"  {step}  !"


def steps_text(steps: Iterable[Step]) -> str:
    """Short, for a question."""
    return ", ".join(f"{one.word.lower()} {one.subject} ({one.details})" for one in steps)


def plan_data(plan: Plan, before: Element, after: Element) -> dict[str, object]:
    """For programs; see docs/manual/output.md."""
    return {
        "changes": change_data(plan.changes, before, after),
        "side_effects": list(plan.side_effects),
        "steps": [_step_data(one) for one in plan.steps],
        "anyway": [_step_data(one) for one in plan.anyway],
        "order": list(plan.order),
        "maintenance": plan.maintenance,
    }


def _step_data(step: Step) -> dict[str, object]:
    return asdict(step) | {"interrupts": step.interrupts}
