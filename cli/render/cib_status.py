"""What runs where, read from the CIB's own status section, and its text as crm_mon prints it. Pure.

This reads the operation history only: it shows facts, not what the scheduler makes of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cli.grammar.document import RESOURCE_TAGS, members, parent_of, section
from crm.cib.model import Element

_OK: Final = "0"
_NOT_RUNNING: Final = "7"
_RUNNING_PROMOTED: Final = "8"
_FAILED_PROMOTED: Final = "9"
_DEGRADED: Final = ("190", "191")
_TRUE: Final = ("true", "yes", "on", "1", "y")
_RC_TEXT: Final = {
    "0": "ok",
    "1": "error",
    "2": "invalid parameter",
    "3": "unimplemented feature",
    "4": "insufficient privileges",
    "5": "not installed",
    "6": "not configured",
    "7": "not running",
    "8": "promoted",
    "9": "promoted (failed)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLine:
    """A node and its state in one word."""

    name: str
    state: str
    kind: str = "member"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedAction:
    """An operation whose last result was a failure."""

    resource: str
    operation: str
    interval: str
    node: str
    rc: str
    reason: str
    time: str

    def __str__(self) -> str:
        text = _RC_TEXT.get(self.rc, f"rc {self.rc}")
        what = self.operation if self.interval in ("0", "") else f"{self.operation}_{self.interval}"
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.resource} {what} on {self.node} returned '{text}'{reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One instance on one node."""

    node: str
    role: str
    failed: bool = False


def node_states(cib: Element) -> tuple[NodeLine, ...]:
    """All nodes of the configuration, and those only the status knows, in order."""
    status = {
        one.get("uname") or one.id: one
        for one in (cib.child("status") or Element("status")).all("node_state")
    }
    lines: list[NodeLine] = []
    names: set[str] = set()
    for node in section(cib, "nodes").all("node"):
        name = node.get("uname")
        names.add(name)
        lines.append(
            NodeLine(name=name, state=_state_of(node, status.get(name)), kind=node.get("type", "member"))
        )
    lines += [
        NodeLine(name=name, state=_state_of(Element("node"), state))
        for name, state in status.items()
        if name not in names
    ]
    return tuple(lines)


def _state_of(node: Element, state: Element | None) -> str:
    if state is None:
        return "OFFLINE"
    in_ccm = state.get("in_ccm")
    member = in_ccm.lower() in _TRUE or (in_ccm.isdigit() and int(in_ccm) > 0)
    crmd = state.get("crmd")
    online = member and (crmd == "online" or (crmd.isdigit() and int(crmd) > 0))
    joined = state.get("join") in ("member", "")
    if not online:
        unclean = member or state.get("expected") == "member"
        return "UNCLEAN (offline)" if unclean else "OFFLINE"
    if not joined:
        return "pending"
    if attribute(node, "maintenance") in _TRUE:
        return "maintenance"
    if (
        "on" in (attribute(node, "standby"), transient(state, "standby"))
        or attribute(node, "standby") in _TRUE
    ):
        return "standby"
    return "online"


def attribute(node: Element, name: str) -> str:
    """A permanent attribute of a node, lower case, "" when it has none."""
    for one in node.all("instance_attributes"):
        for pair in one.all("nvpair"):
            if pair.get("name") == name:
                return pair.get("value").lower()
    return ""


def transient(state: Element, name: str) -> str:
    """A transient attribute in a node's state, "" when it has none."""
    for one in state.all("transient_attributes"):
        for pairs in one.all("instance_attributes"):
            for pair in pairs.all("nvpair"):
                if pair.get("name") == name:
                    return pair.get("value")
    return ""


def _history(cib: Element) -> Iterable[tuple[str, Element]]:
    """(node, lrm_resource) of the whole status section."""
    for state in (cib.child("status") or Element("status")).all("node_state"):
        resources = state.path("lrm", "lrm_resources")
        for one in resources.all("lrm_resource") if resources is not None else ():
            yield state.get("uname") or state.id, one


def _call_id(op: Element) -> int:
    text = op.get("call-id", "0")
    return int(text) if text.lstrip("-").isdigit() else 0


def _expected(op: Element) -> str:
    """The rc the cluster expected: the last part of the transition key."""
    return op.get("transition-key").split(":")[2] if op.get("transition-key").count(":") >= 3 else ""


def _outcome(history: Element) -> tuple[str, bool]:
    """(role, failed) that an operation history says, by its last finished operation."""
    role, failed = "Stopped", False
    operations = sorted(history.all("lrm_rsc_op"), key=_call_id)
    for op in operations:
        if op.get("op-status") == "-1":  # pending
            continue
        rc, name = op.get("rc-code"), op.get("operation")
        if op.get("op-status") in ("2", "3", "4") and rc in ("", _OK):
            rc = "1"
        if rc in (_OK, *_DEGRADED):
            role = {"stop": "Stopped", "promote": "Promoted", "demote": "Unpromoted"}.get(name, role)
            if name in ("start", "migrate_from"):
                role = "Started"
            elif name == "migrate_to":
                role = "Stopped"
            elif name == "monitor" and role in ("Stopped", ""):
                role = "Started"
            failed = False
        elif rc == _RUNNING_PROMOTED:
            role, failed = "Promoted", False
        elif rc == _NOT_RUNNING and name == "monitor":
            failed = _expected(op) not in ("", _NOT_RUNNING)
            role = "Stopped"
        elif name != "monitor" or op.get("interval", "0") != "0":
            failed = True
    return role, failed


def placements(cib: Element) -> dict[str, list[Place]]:
    """Resource id (without instance numbers) -> where it is active or has failed."""
    found: dict[str, list[Place]] = {}
    for node, history in _history(cib):
        role, failed = _outcome(history)
        if role != "Stopped" or failed:
            name = history.id.partition(":")[0]
            found.setdefault(name, []).append(Place(node=node, role=role, failed=failed))
    return found


def active_nodes(cib: Element, item: Element) -> tuple[str, ...]:
    """The nodes on which a resource (or any member) is active."""
    places = placements(cib)
    nodes: dict[str, None] = {}
    for one in item.walk():
        if one.tag == "primitive":
            nodes |= {place.node: None for place in places.get(one.id, []) if place.role != "Stopped"}
    return tuple(nodes)


def failed_actions(cib: Element) -> tuple[FailedAction, ...]:
    """Operations that failed and have not been cleaned up, in document order."""
    found: list[FailedAction] = []
    for node, history in _history(cib):
        for op in history.all("lrm_rsc_op"):
            rc = op.get("rc-code")
            status = op.get("op-status", "0")
            expected = _expected(op)
            probe = op.get("operation") == "monitor" and op.get("interval", "0") == "0"
            fine = rc in (_OK, _RUNNING_PROMOTED, expected) or (
                rc == _NOT_RUNNING and (probe or not expected)
            )
            if status == "-1" or (fine and status not in ("2", "4")):
                continue
            if probe and rc in ("5", "6") and not op.get("on_node"):
                continue
            found.append(
                FailedAction(
                    resource=history.id,
                    operation=op.get("operation"),
                    interval=op.get("interval", "0"),
                    node=node,
                    rc=rc,
                    reason=op.get("exit-reason"),
                    time=op.get("last-rc-change"),
                )
            )
    return tuple(found)


def resource_lines(cib: Element, wanted: Iterable[str] = ()) -> list[str]:
    """The tree of resources with roles and nodes, one line each, two blanks a level."""
    names = tuple(wanted)
    places = placements(cib)
    lines: list[str] = []
    for resource in section(cib, "resources").all(*RESOURCE_TAGS):
        if not names or any(one.id in names for one in resource.walk()):
            lines += _lines(cib, resource, places, 1)
    known = {one.id for one in section(cib, "resources").walk()}
    for name in places:
        if name not in known and not names:
            lines.append(f"  * {name}\t(orphan):\t {_places_text(places[name])}")
    return lines


def agent_text(resource: Element, cib: Element) -> str:
    """class:provider:type, from the template when the primitive has one."""
    if resource.get("template"):
        template = next(
            (one for one in section(cib, "resources").all("template") if one.id == resource.get("template")),
            None,
        )
        resource = template or resource
    return ":".join(resource.get(name) for name in ("class", "provider", "type") if resource.get(name))


def _places_text(places: Iterable[Place]) -> str:
    texts = [f"FAILED {place.node}" if place.failed else f"{place.role} {place.node}" for place in places]
    return " ".join(texts) if texts else "Stopped"


def _lines(cib: Element, resource: Element, places: dict[str, list[Place]], depth: int) -> list[str]:
    pad = "  " * depth
    match resource.tag:
        case "primitive":
            agent = agent_text(resource, cib)
            marks = _marks(resource)
            return [f"{pad}* {resource.id}\t({agent}):\t {_places_text(places.get(resource.id, []))}{marks}"]
        case "group":
            inner = [line for child in members(resource) for line in _lines(cib, child, places, depth + 1)]
            return [f"{pad}* Resource Group: {resource.id}:{_marks(resource)}", *inner]
        case "bundle":
            inner = [line for child in members(resource) for line in _lines(cib, child, places, depth + 1)]
            return [f"{pad}* Container bundle: {resource.id}:", *inner]
        case _:
            return _clone_lines(cib, resource, places, depth)


def _clone_lines(cib: Element, clone: Element, places: dict[str, list[Place]], depth: int) -> list[str]:
    pad = "  " * depth
    child = next(iter(members(clone)), None)
    if child is None:
        return []
    promotable = is_promotable(clone)
    head = f"{pad}* Clone Set: {clone.id} [{child.id}]" + (" (promotable)" if promotable else "") + ":"
    lines = [head + _marks(clone)]
    shown = members(child) if child.tag == "group" else (child,)
    by_role: dict[str, list[str]] = {}
    for node in dict.fromkeys(place.node for one in shown for place in places.get(one.id, [])):
        roles = [place for one in shown for place in places.get(one.id, []) if place.node == node]
        if any(place.failed for place in roles) or len(roles) < len(shown):
            texts = [
                f"{one.id} {_places_text([p for p in places.get(one.id, []) if p.node == node])}"
                for one in shown
            ]
            lines += [f"{pad}  * {text}" for text in texts]
            continue
        role = roles[0].role
        if promotable and role == "Started":
            role = "Unpromoted"
        by_role.setdefault(role, []).append(node)
    for role in ("Promoted", "Unpromoted", "Started"):
        if by_role.get(role):
            lines.append(f"{pad}  * {role}: [ {' '.join(sorted(by_role[role]))} ]")
    active = {node for nodes in by_role.values() for node in nodes}
    stopped = [line.name for line in node_states(cib) if line.name not in active and line.state != "online"]
    idle = [line.name for line in node_states(cib) if line.name not in active and line.state == "online"]
    if stopped or (idle and not active):
        lines.append(f"{pad}  * Stopped: [ {' '.join(sorted([*stopped, *idle]))} ]")
    if len(lines) == 1:
        lines.append(f"{pad}  * Stopped")
    return lines


def meta(resource: Element, *names: str) -> str:
    """The first of the meta attributes that a resource has, lower case, "" when none."""
    for one in resource.all("meta_attributes"):
        for pair in one.all("nvpair"):
            if pair.get("name") in names:
                return pair.get("value").lower()
    return ""


def is_promotable(resource: Element) -> bool:
    """A clone with promotable=true, or the old `master`."""
    return resource.tag == "master" or (resource.tag == "clone" and meta(resource, "promotable") in _TRUE)


def _marks(resource: Element) -> str:
    marks: list[str] = []
    if meta(resource, "target-role") == "stopped":
        marks.append("disabled")
    if meta(resource, "maintenance") in _TRUE:
        marks.append("maintenance")
    elif meta(resource, "is-managed") in ("false", "no", "off", "0", "n"):
        marks.append("unmanaged")
    return f" ({', '.join(marks)})" if marks else ""


def node_list_lines(cib: Element) -> list[str]:
    """The node list: online and offline ones each on a line, special states one by one."""
    nodes = sorted(node_states(cib), key=lambda line: line.name)
    lines = [
        f"  * Node {line.name}: {line.state}" for line in nodes if line.state not in ("online", "OFFLINE")
    ]
    for state, title in (("online", "Online"), ("OFFLINE", "OFFLINE")):
        names = [line.name for line in nodes if line.state == state]
        if names:
            lines.append(f"  * {title}: [ {' '.join(names)} ]")
    return lines


def instance_count(cib: Element) -> int:
    """Resources, each instance of a clone counted (clone-max, else the number of nodes)."""
    nodes = len(section(cib, "nodes").all("node"))
    total = 0
    for resource in section(cib, "resources").all(*RESOURCE_TAGS):
        inner = sum(1 for one in resource.walk() if one.tag == "primitive")
        copies = 1
        if resource.tag in ("clone", "master"):
            most = meta(resource, "clone-max")
            copies = int(most) if most.isdigit() else nodes
        total += inner * copies
    return total


def top_of(cib: Element, identifier: str) -> str:
    """The outermost container of a resource, or itself."""
    parent = parent_of(cib, identifier)
    return top_of(cib, parent.id) if parent is not None else identifier
