"""A commit that the cluster undoes unless it is confirmed: what the CIB says of it, and when it is over.

`hacli commit --confirm` writes, together with the change, a set of cluster options of its own: until when,
what has to run meanwhile, and how to undo the change. It is replicated like everything else, so any DC can
act on it. Pure; `crm.confirming` looks every second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from crm.cib import objects, schema
from crm.cib.model import Element, element
from crm.cib.taking_back import taken_back
from hacluster.errors import HaError, PermissionDenied

SET_ID: Final = "hacluster-commit-confirm"
FAILED_MAX: Final = 500
"""Characters of the reason that the CIB keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A commit that waits. `until_s`: wall time; `guards`: resources that must run all the while.

    `failed`: why it could not be taken back; it stands until somebody confirms or takes it back by hand.
    """

    id: str
    until_s: int
    within_ms: int
    by: str
    undo: str
    guards: tuple[str, ...] = ()
    failed: str = ""

    def as_element(self) -> Element:
        """The set that carries it."""
        pairs = {
            "confirm-id": self.id,
            "confirm-until": str(self.until_s),
            "confirm-within-ms": str(self.within_ms),
            "confirm-by": self.by,
            "confirm-guard": ",".join(self.guards),
            "confirm-undo": self.undo,
        }
        if self.failed:
            pairs["confirm-failed"] = self.failed
        return element(
            "cluster_property_set",
            {"id": SET_ID},
            *(
                element("nvpair", {"id": f"{SET_ID}-{name}", "name": name, "value": value})
                for name, value in pairs.items()
            ),
        )


def pending_in(configuration: Element) -> Pending | None:
    """The commit that waits for its confirmation, None without one (or with one that cannot be read)."""
    section = configuration.child("crm_config")
    sets = () if section is None else section.all("cluster_property_set")
    found = next((one for one in sets if one.id == SET_ID), None)  # none that hides deeper
    if found is None:
        return None
    values = {pair.get("name"): pair.get("value") for pair in found.all("nvpair")}
    numbers = [values.get(name, "") for name in ("confirm-until", "confirm-within-ms")]
    if not all(text.isdecimal() and len(text) < 19 for text in numbers) or not values.get("confirm-id"):
        return None
    return Pending(
        id=values["confirm-id"],
        until_s=int(numbers[0]),
        within_ms=int(numbers[1]),
        by=values.get("confirm-by", ""),
        undo=values.get("confirm-undo", ""),
        guards=tuple(one for one in values.get("confirm-guard", "").split(",") if one),
        failed=values.get("confirm-failed", ""),
    )


def without(configuration: Element) -> Element:
    """The configuration without the set: confirmed, or as people see it."""
    return configuration.mapped(
        lambda part: (
            part.mapped(lambda one: None if one.id == SET_ID else one) if part.tag == "crm_config" else part
        )
    )


def with_pending(configuration: Element, pending: Pending) -> Element:
    """The configuration with the set, the last of its section."""
    plain = without(configuration)
    if plain.child("crm_config") is None:
        plain = plain.with_children((element("crm_config"), *plain.children))
    return plain.mapped(
        lambda part: (
            part.with_children((*part.children, pending.as_element())) if part.tag == "crm_config" else part
        )
    )


def secret_free(configuration: Element) -> Element:
    """The configuration without the way back, which holds old objects whole: for whom access lists limit."""

    def of_section(one: Element) -> Element:
        if one.id != SET_ID:
            return one
        return one.mapped(lambda pair: None if pair.get("name") == "confirm-undo" else pair)

    return configuration.mapped(lambda part: part.mapped(of_section) if part.tag == "crm_config" else part)


def by_a_limited_user(before: Element, after: Element) -> Element:
    """The configuration that a user limited by access lists means by `after`, already found to be allowed.

    The DC acts on the set with all rights, so what stands in it is not for the user to say: the way back
    is made here, from what the user changes and may change. Raises PermissionDenied.
    """
    standing, given = pending_in(before), pending_in(after)
    plain = without(after)
    if given is None:
        if after != plain:
            raise PermissionDenied(what=f"the set {SET_ID} is the cluster's own")
        return plain
    if standing is None:
        undo = objects.encode(objects.undo_of(without(before), plain))
        return with_pending(plain, replace(given, undo=undo))
    if replace(given, undo="") != replace(standing, undo=""):
        raise PermissionDenied(what=f"the set {SET_ID} is the cluster's own: confirm, or wait")
    return with_pending(plain, standing)


def rolled_back(configuration: Element) -> Element:
    """As it was before the commit, and nothing waits any more. Other commits' work stays.

    Raises InvalidDocument when the way back cannot be read.
    """
    pending = pending_in(configuration)
    plain = without(configuration)
    return plain if pending is None else taken_back(objects.decode(pending.undo), plain)


def obstacle(configuration: Element) -> str:
    """Why the commit that waits cannot be taken back, however often one tries; empty: it can."""
    try:
        return schema.refusal(rolled_back(configuration))
    except HaError as error:
        return str(error)


def given_up(configuration: Element, why: str) -> Element:
    """The configuration with a mark at the commit that waits: it could not be taken back."""
    pending = pending_in(configuration)
    if pending is None:
        return configuration
    return with_pending(configuration, replace(pending, failed=why[:FAILED_MAX]))


@dataclass(slots=True)
class Watch:
    """The DC's eye on a pending commit. The DC's own clock counts the time it has seen itself."""

    _id: str = ""
    _since_ns: int = 0
    _guarded: bool = False

    def verdict(
        self, pending: Pending | None, *, now_ns: int, wall_s: int, idle: bool, missing: Sequence[str]
    ) -> str:
        """Why it has to be rolled back now; empty: not yet.

        `missing`: guards that do not run. They count once the cluster has had a moment of rest in which all
        of them ran, or has come to rest without them.
        """
        if pending is None or pending.failed:
            self._id = ""
            return ""
        if pending.id != self._id:
            self._id, self._since_ns, self._guarded = pending.id, now_ns, False
        if wall_s >= pending.until_s or now_ns - self._since_ns >= pending.within_ms * 1_000_000:
            return "it was not confirmed in time"
        if missing and (self._guarded or (idle and now_ns - self._since_ns > GRACE_NS)):
            return f"{', '.join(missing)} does not run"
        self._guarded = self._guarded or (bool(pending.guards) and idle and not missing)
        return ""


GRACE_NS: Final = 3_000_000_000
"""After a commit the DC needs a moment to plan: it seems idle until then."""
