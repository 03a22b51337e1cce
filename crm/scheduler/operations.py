"""Configured operations: which <op> belongs to an action, its meta attributes, timeout and on-fail."""

from __future__ import annotations

from typing import Final

from crm.cib.model import Element
from crm.scheduler import values
from crm.scheduler.model import Node, NodeKind, OnFail, Operation, Resource, WorkingSet
from crm.scheduler.rules import Context, merge_sets

_ON_FAIL: Final = {
    "block": OnFail.BLOCK,
    "fence": OnFail.FENCE,
    "standby": OnFail.STANDBY,
    "ignore": OnFail.IGNORE,
    "nothing": OnFail.IGNORE,
    "migrate": OnFail.BAN,
    "stop": OnFail.STOP,
    "restart": OnFail.RESTART,
    "restart-container": OnFail.RESTART_CONTAINER,
    "demote": OnFail.DEMOTE,
}
_STOP_ON_FAIL_INVALID: Final = frozenset({"standby", "demote", "stop"})
_PROMOTED_NAMES: Final = frozenset({"promoted", "master"})


def read_operations(work: WorkingSet, element: Element) -> list[Operation]:
    """The <op> elements of a primitive, in document order."""
    found: list[Operation] = []
    for block in element.all("operations"):
        resolved = work.elements.resolve(block)
        found.extend(_read(item) for item in (resolved.all("op") if resolved is not None else ()))
    return found


def _read(item: Element) -> Operation:
    return Operation(
        id=item.id,
        name=item.get("name"),
        interval_ms=values.interval_ms(item.attributes.get("interval")),
        element=item,
        enabled=values.is_true(item.attributes.get("enabled"), default=True),
        role=item.get("role"),
    )


def find_operation(
    resource: Resource, name: str, interval_ms: int, *, include_disabled: bool = True
) -> Operation | None:
    """The first <op> with that name and interval; migrations fall back to the op "migrate"."""
    for one in resource.operations:
        if one.name == name and one.interval_ms == interval_ms and (include_disabled or one.enabled):
            return one
    if name in {"migrate_to", "migrate_from"}:
        return find_operation(resource, "migrate", interval_ms, include_disabled=include_disabled)
    return None


def is_promoted_name(role: str) -> bool:
    """True for the role Promoted under its new or old name."""
    return role.lower() in _PROMOTED_NAMES


def rule_context(
    work: WorkingSet,
    *,
    node: Node | None = None,
    resource: Resource | None = None,
    operation: tuple[str, int] | None = None,
) -> Context:
    """What rules may look at for this node, resource and operation."""
    agent = None
    if resource is not None and resource.is_primitive:
        agent = (resource.agent_class, resource.provider, resource.agent_type)
    return Context(
        now_s=work.now_s,
        recheck=work.recheck,
        attributes=node.attributes if node is not None else None,
        agent=agent,
        operation=operation,
    )


def operation_meta(work: WorkingSet, resource: Resource, name: str, interval_ms: int) -> dict[str, str]:
    """The meta attributes of an action of this resource: a fresh copy.

    The op's sets, overridden by its XML attributes, then op_defaults; timeout and start-delay in ms.
    """
    cached = resource.operation_meta.get((name, interval_ms))
    if cached is None:
        cached = _evaluate_meta(work, resource, name, interval_ms)
        resource.operation_meta[(name, interval_ms)] = cached
    return dict(cached)


def _evaluate_meta(work: WorkingSet, resource: Resource, name: str, interval_ms: int) -> dict[str, str]:
    operation = find_operation(resource, name, interval_ms)
    context = rule_context(work, resource=resource, operation=(name, interval_ms))
    meta: dict[str, str] = {}
    if operation is not None:
        meta.update(operation.element.attributes)
        merge_sets(meta, operation.element, "meta_attributes", context, work.elements)
    if name == "monitor" and interval_ms == 0 and "timeout" not in meta:
        recurring = _shortest_monitor(resource)
        if recurring is not None and (timeout := recurring.element.attributes.get("timeout")):
            meta["timeout"] = timeout
    merge_sets(meta, work.op_defaults, "meta_attributes", context, work.elements)
    meta.pop("id", None)
    if interval_ms > 0:
        meta["interval"] = str(interval_ms)
    else:
        meta.pop("interval", None)
    if resource.is_fence_device and (name == "start" or (name == "monitor" and interval_ms == 0)):
        special = parameters_for(work, resource, None).get("pcmk_monitor_timeout")
        if special:
            meta["timeout"] = special
    meta["timeout"] = str(values.timeout_ms(meta.get("timeout")))
    if name == "lrm_delete":
        meta["on-fail"] = "ignore"
    _check_on_fail(work, resource, name, interval_ms, meta)
    _start_delay(work, interval_ms, meta)
    return meta


def _shortest_monitor(resource: Resource) -> Operation | None:
    monitors = [
        one for one in resource.operations if one.name == "monitor" and one.interval_ms > 0 and one.enabled
    ]
    return min(monitors, key=lambda one: one.interval_ms, default=None)


def _check_on_fail(
    work: WorkingSet, resource: Resource, name: str, interval_ms: int, meta: dict[str, str]
) -> None:
    text = meta.get("on-fail")
    if name == "stop":
        if text is not None and text.lower() in _STOP_ON_FAIL_INVALID:
            del meta["on-fail"]
        return
    if name == "demote" and text is None:
        inherited = _promoted_monitor_on_fail(work, resource)
        if inherited is not None:
            meta["on-fail"] = inherited
        return
    if text is not None and text.lower() == "demote" and name != "promote":
        role = meta.get("role", "")
        if name != "monitor" or interval_ms == 0 or not is_promoted_name(role):
            del meta["on-fail"]


def _promoted_monitor_on_fail(work: WorkingSet, resource: Resource) -> str | None:
    found = None
    for one in resource.operations:
        if one.name != "monitor" or one.interval_ms == 0 or not one.enabled:
            continue
        meta = dict(one.element.attributes)
        context = rule_context(work, resource=resource, operation=(one.name, one.interval_ms))
        merge_sets(meta, one.element, "meta_attributes", context, work.elements)
        value = meta.get("on-fail")
        if is_promoted_name(meta.get("role", "")) and value is not None and value.lower() != "demote":
            found = value
    return found


def _start_delay(work: WorkingSet, interval_ms: int, meta: dict[str, str]) -> None:
    text = meta.get("start-delay")
    if text is not None:
        meta["start-delay"] = str(values.interval_ms(text))
        return
    written = meta.get("interval-origin")
    if written is None or interval_ms < 1000:
        return
    from crm.scheduler.dates import instant_s  # rare, and costly to load

    origin = instant_s(written)
    if origin is None:
        return
    interval_s = interval_ms // 1000
    elapsed = work.now_s - origin
    remainder = abs(elapsed) % interval_s * (1 if elapsed >= 0 else -1)
    delay_s = -remainder if remainder <= 0 else interval_s - remainder
    meta["start-delay"] = str(delay_s * 1000)


def on_fail(work: WorkingSet, resource: Resource, name: str, interval_ms: int, text: str | None) -> OnFail:
    """What a failure of this operation leads to: its on-fail, or the default for its kind."""
    chosen = _ON_FAIL.get((text or "").lower())
    if chosen is OnFail.FENCE and not work.options.fencing_enabled:
        chosen = OnFail.STOP
    if chosen is OnFail.RESTART_CONTAINER and resource.launcher is None:
        chosen = None
    if name == "lrm_delete":
        return OnFail.IGNORE
    if chosen is not None:
        return chosen
    if resource.launcher is not None:
        return OnFail.RESTART_CONTAINER
    node = work.nodes_by_name.get(resource.id) if resource.is_remote_connection else None
    remote = node is not None and node.kind is NodeKind.REMOTE
    if remote and name != "start" and not (name == "monitor" and interval_ms == 0):
        return OnFail.RESET_REMOTE if resource.managed else OnFail.STOP
    if name == "stop":
        return OnFail.FENCE if work.options.fencing_enabled else OnFail.BLOCK
    return OnFail.RESTART


def parameters_for(work: WorkingSet, resource: Resource, node: Node | None) -> dict[str, str]:
    """The parameters of a resource on a node (its own, then its ancestors'). Do not change the result."""
    key = node.id if node is not None else ""
    cached = resource.parameters.get(key)
    if cached is None:
        cached = {}
        context = rule_context(work, node=node, resource=resource)
        here: Resource | None = resource
        while here is not None:
            merge_sets(cached, here.element, "instance_attributes", context, work.elements)
            here = here.parent
        resource.parameters[key] = cached
    return cached


def operation_parameters(
    work: WorkingSet, resource: Resource, operation: Operation | None, node: Node | None
) -> dict[str, str]:
    """The op's own instance_attributes."""
    found: dict[str, str] = {}
    if operation is not None and operation.element.child("instance_attributes") is not None:
        context = rule_context(
            work, node=node, resource=resource, operation=(operation.name, operation.interval_ms)
        )
        merge_sets(found, operation.element, "instance_attributes", context, work.elements)
    return found
