"""Checks of a whole configuration that need no cluster. Pure; all findings at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cli.grammar.document import CONTAINER_TAGS, configuration_of, members, section
from crm.cib import schema
from crm.cib.model import Element
from hacluster.durations import parse_ms


class Severity(StrEnum):
    """An error refuses the commit, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding: where, what, and what to do."""

    severity: Severity
    where: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" ({self.remedy})" if self.remedy else "")


_FALSE: Final = ("false", "no", "off", "0", "n")


def verify(cib: Element) -> tuple[Problem, ...]:
    """Everything that is wrong or doubtful, errors first."""
    checks = (_schema, _monitors, _fencing, _members_in_constraints, _masters)
    found = [problem for check in checks for problem in check(cib)]
    return tuple(sorted(found, key=lambda problem: problem.severity is Severity.WARNING))


def _schema(cib: Element) -> Iterator[Problem]:
    """What the cluster itself would refuse, or only warn of: structure, values, ids, references."""
    for one in schema.check(configuration_of(cib)):
        yield Problem(
            severity=Severity(one.severity.value), where=one.where, what=one.what, remedy=one.remedy
        )


def _primitives(cib: Element) -> Iterator[Element]:
    return (one for one in section(cib, "resources").walk() if one.tag == "primitive")


def _interval_ms(text: str) -> int | None:
    try:
        return parse_ms(text)
    except ValueError:
        return None  # no duration: compared as text by the caller


def _monitors(cib: Element) -> Iterator[Problem]:
    """Only a warning, as crmsh has it: Pacemaker's crm_verify complains, its cluster takes the CIB."""
    for one in _primitives(cib):
        seen: set[tuple[str, int | str]] = set()
        for op in (op for part in one.all("operations") for op in part.all("op")):
            milliseconds = _interval_ms(op.get("interval", "0"))
            key = (op.get("name"), op.get("interval") if milliseconds is None else milliseconds)
            if key in seen and op.get("interval", "0") not in ("0", "0s"):
                name, interval = op.get("name"), op.get("interval")
                yield Problem(
                    severity=Severity.WARNING,
                    where=one.id,
                    what=f"two {name} operations have the interval {interval}: neither runs",
                    remedy="recurring operations of a name need different intervals, whatever their role",
                )
            seen.add(key)


def _option(cib: Element, *names: str) -> str:
    for one in section(cib, "crm_config").all("cluster_property_set"):
        for pair in one.all("nvpair"):
            if pair.get("name") in names:
                return pair.get("value")
    return ""


def _fencing(cib: Element) -> Iterator[Problem]:
    if _option(cib, "stonith-enabled", "fencing-enabled").lower() in _FALSE:
        return
    primitives = list(_primitives(cib))
    if primitives and not any(one.get("class") == "stonith" or one.get("template") for one in primitives):
        yield Problem(
            severity=Severity.WARNING,
            where="stonith-enabled",
            what="fencing is enabled, but no fencing device is configured: no resource will be started",
            remedy="define a primitive of class stonith, or set stonith-enabled=false",
        )


def _members_in_constraints(cib: Element) -> Iterator[Problem]:
    inner: dict[str, Element] = {}
    for one in section(cib, "resources").walk():
        if one.tag in CONTAINER_TAGS and one.tag != "group":
            for child in members(one):
                inner[child.id] = one
    for constraint in section(cib, "constraints").children:
        for name in ("rsc", "with-rsc", "first", "then"):
            holder = inner.get(constraint.get(name))
            if holder is not None and constraint.tag != "rsc_location":
                yield Problem(
                    severity=Severity.WARNING,
                    where=constraint.id,
                    what=f"{constraint.get(name)} is inside {holder.tag} {holder.id}",
                    remedy=f"name {holder.id} in the constraint",
                )


def _masters(cib: Element) -> Iterator[Problem]:
    for one in section(cib, "resources").all("master"):
        yield Problem(
            severity=Severity.WARNING,
            where=one.id,
            what="`ms` is deprecated and unknown to Pacemaker 3",
            remedy="use a clone with meta promotable=true",
        )
