"""Changes to a CIB that pretend something happened: nodes, quorum, tickets, results of operations. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from crm.cib.model import Element, element
from crm.scheduler.actions import split_key
from crm.simulation.notes import Note, note
from crm.simulation.status_edit import StatusEdit
from crm.transition.graph import ActionKind, GraphAction
from hacluster.digits import is_count
from hacluster.errors import InvalidRequest
from hacluster.vocabulary.ocf_exit import OcfExit

_SPEC = re.compile(
    r"(?P<resource>.+?)_(?P<task>migrate_to|migrate_from|[^_]+)_(?P<interval>\d+)@(?P<node>[^=]+)=(?P<rc>\d+)"
)

SHOWN_MAX = 12
"""Names that an error lists at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationSpec:
    """RESOURCE_TASK_INTERVALms@NODE=RC, crm_simulate's "Operation Specification"."""

    text: str
    resource: str
    task: str
    interval_ms: int
    node: str
    rc: int

    @property
    def key(self) -> str:
        """The operation key."""
        return f"{self.resource}_{self.task}_{self.interval_ms}"


def parse_spec(text: str) -> OperationSpec:
    """Raises InvalidRequest that shows the form."""
    match = _SPEC.fullmatch(text)
    if match is None:
        raise InvalidRequest(
            what=f"{text!r} is no operation specification",
            remedy="write RESOURCE_TASK_INTERVALms@NODE=RC, for example web_monitor_10000@node1=7",
        )
    return OperationSpec(
        text=text,
        resource=match["resource"],
        task=match["task"],
        interval_ms=int(match["interval"]),
        node=match["node"],
        rc=int(match["rc"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Modifications:
    """What to pretend, in the order of crm_simulate's options."""

    quorum: str = ""
    watchdog: str = ""
    nodes_up: tuple[str, ...] = ()
    nodes_down: tuple[str, ...] = ()
    nodes_fail: tuple[str, ...] = ()
    tickets_grant: tuple[str, ...] = ()
    tickets_revoke: tuple[str, ...] = ()
    tickets_standby: tuple[str, ...] = ()
    tickets_activate: tuple[str, ...] = ()
    operations: tuple[OperationSpec, ...] = ()

    def any(self) -> bool:
        """Whether anything is to be pretended."""
        return self != Modifications()


def apply(cib: Element, wanted: Modifications, now_s: int) -> tuple[Element, list[Note]]:
    """The changed CIB and a note for each change. Raises InvalidRequest for an unknown node or resource."""
    notes: list[Note] = []
    edit = StatusEdit(cib, now_s)
    if wanted.quorum:
        notes.append(note(f"Setting quorum: {wanted.quorum}", "modify_quorum", quorum=wanted.quorum))
        edit.set_quorum(quorate=_is_true(wanted.quorum, "--quorum"))
    if wanted.watchdog:
        notes.append(
            note(f"Setting watchdog: {wanted.watchdog}", "modify_watchdog", watchdog=wanted.watchdog)
        )
    for name in (*wanted.nodes_down, *wanted.nodes_fail, *(spec.node for spec in wanted.operations)):
        known_node(cib, name, also=wanted.nodes_up)
    for name in wanted.nodes_up:
        notes.append(note(f"Bringing node {name} online", "modify_node", action="Online", node=name))
        edit.node_is_up(name)
    for name in wanted.nodes_down:
        notes.append(note(f"Taking node {name} offline", "modify_node", action="Offline", node=name))
        edit.node_is_off(name)
    for name in wanted.nodes_fail:
        notes.append(note(f"Failing node {name}", "modify_node", action="Failing", node=name))
        edit.node_failed(name)
    for action, text, names, granted, standby in (
        ("Granting", "Granting ticket {}", wanted.tickets_grant, True, None),
        ("Revoking", "Revoking ticket {}", wanted.tickets_revoke, False, None),
        ("Standby", "Making ticket {} standby", wanted.tickets_standby, None, True),
        ("Activating", "Activating ticket {}", wanted.tickets_activate, None, False),
    ):
        for name in names:
            notes.append(note(text.format(name), "modify_ticket", action=action, ticket=name))
            edit.set_ticket(name, granted=granted, standby=standby)
    for spec in wanted.operations:
        notes.extend(inject_operation(cib, edit, spec, now_s))
    changed = edit.cib()
    if wanted.watchdog:
        value = "true" if _is_true(wanted.watchdog, "--watchdog") else "false"
        changed = with_option(changed, "have-watchdog", value)
    return changed, notes


def node_names(cib: Element) -> list[str]:
    """Every node that the document tells of: configured, with a state, remote and guest nodes."""
    found = dict.fromkeys(
        one.get("uname") or one.id
        for section in (cib.path("configuration", "nodes"), cib.child("status"))
        for one in (section.children if section is not None else ())
        if one.tag in ("node", "node_state")
    )
    resources = cib.path("configuration", "resources")
    for one in resources.walk() if resources is not None else ():
        if one.tag == "primitive" and one.get("type") == "remote" and one.get("provider") == "pacemaker":
            found[one.id] = None
        elif one.tag == "nvpair" and one.get("name") == "remote-node":
            found[one.get("value")] = None
        elif one.tag == "bundle":
            count = next((part.get("replicas") for part in one.children if part.get("replicas")), "")
            limit = int(count) if is_count(count) else 1
            found.update((f"{one.id}-{number}", None) for number in range(limit))
    return [name for name in found if name]


def known_node(cib: Element, name: str, *, also: Iterable[str] = ()) -> None:
    """Raises InvalidRequest that names the nodes there are, when there is none of that name."""
    names = [*node_names(cib), *also]
    if name not in names:
        raise InvalidRequest(what=f"there is no node {name!r}", remedy=nearest(name, names, "nodes"))


def nearest(name: str, names: Sequence[str], what: str) -> str:
    """The remedy for a name that does not exist: the most similar one, else what there is."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = ", ".join(names[:SHOWN_MAX]) + (" …" if len(names) > SHOWN_MAX else "")
    return f"{what}: {shown or 'none'}"


def inject_operation(cib: Element, edit: StatusEdit, spec: OperationSpec, now_s: int) -> Iterator[Note]:
    """Record the result as if it had just come; failures count. Yields the notes to show."""
    primitive = known_primitive(cib, spec.resource)
    yield note(f"Injecting {spec.text} into the configuration", "inject_spec", spec=spec.text)
    yield from count_failure(edit, spec.node, spec.key, spec.resource, spec.rc, now_s)
    action = GraphAction(
        id=0,
        kind=ActionKind.RESOURCE,
        xml={"operation": spec.task, "operation_key": spec.key, "on_node": spec.node},
        attributes={"CRM_meta_interval": str(spec.interval_ms)},
    )
    failed = spec.rc not in _expected(spec)
    edit.record(action, primitive, name=primitive.id, rc=spec.rc, failed=failed, digest="")


def count_failure(
    edit: StatusEdit, node: str, key: str, resource: str, rc: int, now_s: int
) -> Iterator[Note]:
    """Raise the fail count of an operation, by that name of its resource; no probe's "not running"."""
    parts = split_key(key)
    assert parts is not None, key
    _name, task, interval_ms = parts
    if rc == 0 or (rc == OcfExit.NOT_RUNNING and interval_ms == 0):
        return
    suffix = f"{resource}#{task}_{interval_ms}"
    name = f"fail-count-{suffix}"
    before = edit.attribute(node, name)
    edit.set_attribute(node, name, str(int(before) + 1) if is_count(before) else before or "1")
    yield _attribute_note(edit, node, name, "value++")
    last = f"last-failure-{suffix}"
    edit.set_attribute(node, last, str(now_s))
    yield _attribute_note(edit, node, last, str(now_s))


def _attribute_note(edit: StatusEdit, node: str, name: str, value: str) -> Note:
    node_id = edit.node_id(node)
    return note(
        f"Injecting attribute {name}={value} into /node_state '{node_id}'",
        "inject_attr",
        name=name,
        value=value,
        node_path="/node_state",
        cib_node=node_id,
    )


def _expected(spec: OperationSpec) -> tuple[int, ...]:
    return (0, 7, 8) if spec.task == "monitor" and spec.interval_ms == 0 else (0,)


def known_primitive(cib: Element, resource_id: str) -> Element:
    """The agent of a primitive, or of an instance of one. Raises InvalidRequest that says what there is."""
    resources = cib.path("configuration", "resources")
    plain = resource_id.partition(":")[0]
    found = None
    if resources is not None:
        found = resources.by_id(resource_id, "primitive") or resources.by_id(plain, "primitive")
    if found is None:
        names = (
            [one.id for one in resources.walk() if one.tag == "primitive"] if resources is not None else []
        )
        raise InvalidRequest(
            what=f"there is no primitive {resource_id!r} in the configuration",
            remedy=nearest(resource_id, names, "primitives"),
        )
    agent = {name: found.get(name) for name in ("class", "provider", "type") if found.get(name)}
    return element("primitive", {"id": resource_id, **agent})


def with_option(cib: Element, name: str, value: str) -> Element:
    """The CIB with a cluster option set in the default property set."""
    configuration = cib.child("configuration") or element("configuration")
    options = configuration.child("crm_config") or element("crm_config")
    set_id = "cib-bootstrap-options"
    chosen = options.by_id(set_id, "cluster_property_set") or element("cluster_property_set", {"id": set_id})
    kept = chosen.mapped(lambda pair: None if pair.get("name") == name else pair)
    pair = element("nvpair", {"id": f"{set_id}-{name}", "name": name, "value": value})
    changed = options.with_child(kept.with_child(pair))
    return cib.with_child(configuration.with_child(changed))


def _is_true(text: str, option: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on", "y"):
        return True
    if text.lower() in ("0", "false", "no", "off", "n"):
        return False
    raise InvalidRequest(what=f"{option} {text!r} is neither true nor false", remedy="write true or false")
