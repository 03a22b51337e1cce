"""Findings that need no schedule, for each commit: names, values, rules, what does not fit together. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from crm.cib.model import Element, element
from crm.cib.schema import Problem
from crm.explain.checks import constraints, names, operations, option_values, rules, structure
from crm.explain.checks.finding import section
from crm.explain.checks.members import check as checked_members
from crm.scheduler.values import is_true


def quick_doubts(cib: Element, now_s: int) -> tuple[Problem, ...]:
    """A part of `doubts`, in the same words; each finding once."""
    nodes = frozenset(one.get("uname").lower() for one in section(cib, "nodes").all("node"))
    return tuple(dict.fromkeys(_findings(cib, now_s, nodes)))


def _findings(cib: Element, now_s: int, nodes: frozenset[str]) -> Iterator[Problem]:
    yield from structure.check(cib)
    yield from constraints.check(cib)
    yield from operations.check(cib, fencing=_fencing_enabled(cib))
    yield from checked_members(cib)
    yield from rules.check(cib, now_s, nodes)
    yield from names.check(cib)
    yield from option_values.check(cib)


def _fencing_enabled(cib: Element) -> bool:
    for one in (cib.path("configuration", "crm_config") or element("crm_config")).walk():
        if one.tag == "nvpair" and one.get("name") in ("stonith-enabled", "fencing-enabled"):
            return is_true(one.get("value"), default=True)
    return True
