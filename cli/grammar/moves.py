"""Location constraints that `resource move`, `ban` and `clear` write, as crm_resource does. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from cli.grammar.document import change_section, configuration_of, put_in_section, section
from cli.grammar.ids import Ids
from cli.grammar.references import without_tagged
from crm.cib.ids import used_ids
from crm.cib.model import Element, element
from hacluster.errors import InvalidRequest

_DURATION: Final = re.compile(
    r"P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?"
)


def end_of(lifetime: str, now: datetime) -> str:
    """The instant at which an ISO 8601 duration from `now` (UTC) ends, as the CIB writes it."""
    match = _DURATION.fullmatch(lifetime)
    if match is None or not any(match.groups()):
        raise InvalidRequest(what=f"{lifetime!r} is not a duration", remedy="ISO 8601, as P1D or PT30M")
    parts = {name: int(value or 0) for name, value in match.groupdict().items()}
    month = now.month - 1 + parts["months"]
    year = now.year + parts["years"] + month // 12
    last = [
        31,
        29 if year % 4 == 0 and (year % 100 or year % 400 == 0) else 28,
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ]
    day = min(now.day, last[month % 12])
    end = now.replace(year=year, month=month % 12 + 1, day=day) + timedelta(
        weeks=parts["weeks"],
        days=parts["days"],
        hours=parts["hours"],
        minutes=parts["minutes"],
        seconds=parts["seconds"],
    )
    return end.strftime("%Y-%m-%d %H:%M:%SZ")


def prefer(cib: Element, resource: str, node: str, end: str = "") -> Element:
    """`cli-prefer-RSC`; an older one goes, and a ban from that node."""
    cib = _without(cib, {f"cli-prefer-{resource}", f"cli-ban-{resource}-on-{node}"})
    return _with_constraint(cib, f"cli-prefer-{resource}", "prefer", resource, node, "INFINITY", end)


def ban(cib: Element, resource: str, node: str, end: str = "") -> Element:
    """`cli-ban-RSC-on-NODE`."""
    return _with_constraint(cib, f"cli-ban-{resource}-on-{node}", "ban", resource, node, "-INFINITY", end)


def _with_constraint(
    cib: Element, identifier: str, kind: str, resource: str, node: str, score: str, end: str
) -> Element:
    """Raises InvalidRequest when something else has the id."""
    ids = Ids(used_ids(configuration_of(cib)))
    for old in section(cib, "constraints").all("rsc_location"):
        if old.id == identifier:
            ids.free(old)
    if identifier in ids:
        raise InvalidRequest(
            what=f"the id {identifier!r} is in use by something else", remedy="rename or delete that first"
        )
    return put_in_section(cib, _constraint(identifier, kind, resource, node, score, end, ids))


def _constraint(
    identifier: str, kind: str, resource: str, node: str, score: str, end: str, ids: Ids
) -> Element:
    attributes = {"id": identifier, "rsc": resource, "role": "Started"}
    if not end:
        return element("rsc_location", attributes | {"node": node, "score": score})
    suffix = resource if kind == "prefer" else f"{resource}-on-{node}"
    rule = element(
        "rule",
        {"id": ids.take(f"cli-{kind}-rule-{suffix}"), "score": score, "boolean-op": "and"},
        element(
            "expression",
            {
                "id": ids.take(f"cli-{kind}-expr-{suffix}"),
                "attribute": "#uname",
                "operation": "eq",
                "value": node,
                "type": "string",
            },
        ),
        element(
            "date_expression",
            {"id": ids.take(f"cli-{kind}-lifetime-end-{suffix}"), "operation": "lt", "end": end},
        ),
    )
    return element("rsc_location", attributes, rule)


def left_by_moves(cib_constraints: Element, resource: str) -> tuple[str, ...]:
    """The ids of what move and ban left for a resource."""
    return tuple(
        one.id
        for one in cib_constraints.all("rsc_location")
        if one.get("rsc") == resource
        and (one.id == f"cli-prefer-{resource}" or one.id.startswith(f"cli-ban-{resource}-on-"))
    )


def expired(constraint: Element, now: datetime) -> bool:
    """A constraint of move or ban whose time is over."""
    if constraint.tag != "rsc_location" or not constraint.id.startswith(("cli-prefer-", "cli-ban-")):
        return False
    ends = [one.get("end") for one in constraint.walk() if one.tag == "date_expression"]
    return len(ends) == 1 and bool(ends[0]) and ends[0] < now.strftime("%Y-%m-%d %H:%M:%SZ")


def without_expired(cib: Element, now: datetime) -> Element:
    """The CIB without constraints of move and ban that do not count any more."""
    constraints = cib.path("configuration", "constraints")
    gone = {one.id for one in constraints.children if expired(one, now)} if constraints is not None else set()
    return _without(cib, gone) if gone else cib


def clear(cib: Element, resource: str) -> Element:
    """Remove what move and ban left."""
    constraints = cib.path("configuration", "constraints")
    return cib if constraints is None else _without(cib, set(left_by_moves(constraints, resource)))


def _without(cib: Element, ids: set[str]) -> Element:
    """Without the locations of these ids, in tags as well."""
    found = {one.id for one in section(cib, "constraints").all("rsc_location") if one.id in ids}
    cib = change_section(cib, "constraints", lambda one: None if one.id in found else one)
    for gone in found:
        cib = without_tagged(cib, gone)
    return cib
