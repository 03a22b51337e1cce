"""Changes to a CIB that pretend something happened: nodes, quorum, tickets, results of operations. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from crm.cib.model import Element, element
from crm.simulation.status_edit import StatusEdit
from crm.transition.graph import ActionKind, GraphAction
from hacluster.errors import InvalidRequest

_SPEC = re.compile(
    r"(?P<resource>.+?)_(?P<task>migrate_to|migrate_from|[^_]+)_(?P<interval>\d+)@(?P<node>[^=]+)=(?P<rc>\d+)"
)


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


def apply(cib: Element, wanted: Modifications, now_s: int) -> tuple[Element, list[str]]:
    """The changed CIB and a line for each change. Raises InvalidRequest for an unknown resource."""
    lines: list[str] = []
    edit = StatusEdit(cib, now_s)
    if wanted.quorum:
        lines.append(f"Setting quorum: {wanted.quorum}")
        edit.set_quorum(quorate=_is_true(wanted.quorum, "--quorum"))
    if wanted.watchdog:
        lines.append(f"Setting watchdog: {wanted.watchdog}")
    for name in wanted.nodes_up:
        lines.append(f"Bringing node {name} online")
        edit.node_is_up(name)
    for name in wanted.nodes_down:
        lines.append(f"Taking node {name} offline")
        edit.node_is_off(name)
    for name in wanted.nodes_fail:
        lines.append(f"Failing node {name}")
        edit.node_failed(name)
    for text, names, granted, standby in (
        ("Granting ticket {}", wanted.tickets_grant, True, None),
        ("Revoking ticket {}", wanted.tickets_revoke, False, None),
        ("Making ticket {} standby", wanted.tickets_standby, None, True),
        ("Activating ticket {}", wanted.tickets_activate, None, False),
    ):
        for name in names:
            lines.append(text.format(name))
            edit.set_ticket(name, granted=granted, standby=standby)
    for spec in wanted.operations:
        lines.extend(inject_operation(cib, edit, spec, now_s))
    changed = edit.cib()
    if wanted.watchdog:
        value = "true" if _is_true(wanted.watchdog, "--watchdog") else "false"
        changed = with_option(changed, "have-watchdog", value)
    return changed, lines


def inject_operation(cib: Element, edit: StatusEdit, spec: OperationSpec, now_s: int) -> Iterator[str]:
    """Record the result as if it had just come; failures count. Yields the lines to show."""
    primitive = _primitive(cib, spec.resource)
    yield f"Injecting {spec.text} into the configuration"
    yield from count_failure(edit, spec.node, spec.key, spec.resource, spec.rc, now_s)
    action = GraphAction(
        id=0,
        kind=ActionKind.RESOURCE,
        xml={"operation": spec.task, "operation_key": spec.key, "on_node": spec.node},
        attributes={"CRM_meta_interval": str(spec.interval_ms)},
    )
    failed = spec.rc not in _expected(spec)
    edit.record(action, primitive, name=primitive.id, rc=spec.rc, failed=failed, digest="")


def count_failure(edit: StatusEdit, node: str, key: str, resource: str, rc: int, now_s: int) -> Iterator[str]:
    """Raise the fail count of an operation; a "not running" of a probe is none."""
    operation = key[len(resource) + 1 :].rpartition("_")
    if rc == 0 or (operation[0] == "monitor" and operation[2] == "0"):
        return
    suffix = f"{resource}#{operation[0]}_{operation[2]}"
    name = f"fail-count-{suffix}"
    before = edit.attribute(node, name)
    edit.set_attribute(node, name, str(int(before) + 1) if before.isdigit() else before or "1")
    yield f"Injecting attribute {name}=value++ into /node_state '{edit.node_id(node)}'"
    last = f"last-failure-{suffix}"
    edit.set_attribute(node, last, str(now_s))
    yield f"Injecting attribute {last}={now_s} into /node_state '{edit.node_id(node)}'"


def _expected(spec: OperationSpec) -> tuple[int, ...]:
    return (0, 7, 8) if spec.task == "monitor" and spec.interval_ms == 0 else (0,)


def _primitive(cib: Element, resource_id: str) -> Element:
    resources = cib.path("configuration", "resources")
    plain = resource_id.partition(":")[0]
    found = None
    if resources is not None:
        found = resources.by_id(resource_id, "primitive") or resources.by_id(plain, "primitive")
    if found is None:
        raise InvalidRequest(
            what=f"there is no primitive {resource_id!r} in the configuration",
            remedy="name a primitive, for example of `hacli configure show`",
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
