"""Did parameters change since an operation was run? Compares history entries with the configuration."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from crm.cib.model import Element
from crm.scheduler import history, operations
from crm.scheduler.activity import current_node
from crm.scheduler.digests import TIMEOUT_NAME, digest_of, only, plain_parameters, without
from crm.scheduler.model import Digests, Node, Resource, WorkingSet
from hacluster.digits import is_count
from hacluster.records import record

_FENCING_PRIVATE: Final = ("passwd", "password", "user")
_SECURE_SINCE: Final = (3, 16, 0)
_START_LIKE: Final = frozenset({"monitor", "migrate_from", "promote"})


class Difference(Enum):
    """What comparing an entry with the configuration gave."""

    SAME = auto()
    UNKNOWN = auto()  # the entry has no digest
    RESTART = auto()
    CHANGED = auto()
    PRIVATE_ONLY = auto()  # nothing but blanked private parameters differs


@record(frozen=True, kw_only=True)
class Comparison:
    """The difference, and the digests as they are now."""

    difference: Difference
    all_digest: str
    secure_digest: str = ""


def start_like_task(task: str, interval_ms: int) -> str:
    """Probes, migrations and promotions stand for the start, whose parameters count."""
    return "start" if interval_ms == 0 and task in _START_LIKE else task


def current_parameters(
    work: WorkingSet, resource: Resource, task: str, interval_ms: int, node: Node
) -> tuple[dict[str, str], bool]:
    """All parameters the operation would have now, and whether the op adds some of its own."""
    parameters = dict(effective_parameters(work, resource, node))
    operation = operations.find_operation(resource, task, interval_ms)
    own = operations.operation_parameters(work, resource, operation, node)
    for name, value in own.items():
        parameters.setdefault(name, value)
    parameters = plain_parameters(parameters)
    if interval_ms > 0:
        parameters[TIMEOUT_NAME] = operations.operation_meta(work, resource, task, interval_ms)["timeout"]
    return parameters, bool(own)


def effective_parameters(work: WorkingSet, resource: Resource, node: Node | None) -> dict[str, str]:
    """The resource's parameters; the address of a bundle's connection may be its container's node."""
    parameters = operations.parameters_for(work, resource, node)
    if parameters.get("addr") == "#uname" and needs_remote_name(resource):
        name = remote_name(resource)
        if name is not None:
            return {**parameters, "addr": name}
    return parameters


def needs_remote_name(resource: Resource) -> bool:
    """A connection of a bundle whose address is its host's name."""
    return resource.is_remote_connection and resource.launcher is not None and resource.is_in_bundle()


def remote_name(resource: Resource) -> str | None:
    """The name of the node that hosts the container: to be, else now."""
    container = resource.launcher
    if container is None:
        return None
    node = container.assigned_node or current_node(container)
    return node.name if node is not None else None


def compare(work: WorkingSet, resource: Resource, item: Element, node: Node) -> Comparison:
    """Compare a history entry with the configuration."""
    interval = history.interval_ms(item)
    task = start_like_task(history.task_of(item), interval)
    key = (node.id, resource.id, task, interval)
    now = work.digests.get(key)
    if now is None:
        now = work.digests[key] = _digests(work, resource, item, node, task, interval)
    difference = _difference(work, item, now, own_counts=now.has_own and interval == 0)
    recorded = item.attributes.get("op-secure-digest")
    if difference is not Difference.SAME and now.secure and recorded == now.secure:
        difference = Difference.PRIVATE_ONLY
    return Comparison(difference=difference, all_digest=now.all, secure_digest=now.secure)


def _digests(
    work: WorkingSet, resource: Resource, item: Element, node: Node, task: str, interval_ms: int
) -> Digests:
    """What the operation would be run with now.

    It is computed once a node: the first entry asked about decides whether parameters that force a restart
    are looked at by themselves, and which they are.
    """
    parameters, has_own = current_parameters(work, resource, task, interval_ms, node)
    restart = None
    if "op-restart-digest" in item.attributes or id(item) in work.pretended_changed:
        forcing = item.attributes.get("op-force-restart")
        restart = digest_of(parameters if forcing is None else only(parameters, forcing.split()))
    return Digests(
        all=digest_of(parameters),
        restart=restart,
        secure=_secure_digest(work, resource, item, node, parameters) if work.sanitized else "",
        has_own=has_own,
    )


def _difference(work: WorkingSet, item: Element, now: Digests, *, own_counts: bool) -> Difference:
    if now.restart is not None:
        if id(item) in work.pretended_changed:
            return Difference.RESTART
        restart = item.attributes.get("op-restart-digest")
        if restart is not None and restart != now.restart:
            return Difference.RESTART
    recorded = item.attributes.get("op-digest")
    if recorded is None:
        return Difference.UNKNOWN
    if recorded == now.all:
        return Difference.SAME
    return Difference.RESTART if own_counts else Difference.CHANGED


def _secure_digest(
    work: WorkingSet, resource: Resource, item: Element, node: Node, parameters: dict[str, str]
) -> str:
    version = tuple(
        int(part) if is_count(part) else 0 for part in item.get("crm_feature_set", "0").split(".")
    )
    kept = parameters
    if version < _SECURE_SINCE:
        kept = plain_parameters(effective_parameters(work, resource, node))
    kept = without(kept, item.get("op-secure-params").split())
    if version < _SECURE_SINCE and resource.is_fence_device:
        kept = {name: value for name, value in kept.items() if not is_special_parameter(name)}
    kept.pop(TIMEOUT_NAME, None)  # the time-out stays only beside an interval, which is gone by now
    return digest_of(kept)


def is_special_parameter(name: str) -> bool:
    """Parameters of a fence device that are meant for the fencer, not for the agent."""
    return name.startswith("pcmk_") or name == "provides" or name == "stonith-timeout"


def fencing_digests(work: WorkingSet, device: Resource, node: Node) -> Comparison:
    """A fence device's digests for a node against those the node was unfenced with."""
    parameters, _ = current_parameters(work, device, "on", 0, node)
    now_all = digest_of(parameters)
    plain = plain_parameters(effective_parameters(work, device, node))
    kept = {name: value for name, value in plain.items() if not is_special_parameter(name)}
    secure = digest_of(without(kept, _FENCING_PRIVATE))
    head = f"{device.id}:{device.agent_type}:"
    recorded_all, recorded_secure = (node.attributes.get(f"#digests-{kind}") for kind in ("all", "secure"))
    difference = Difference.CHANGED
    if recorded_all is None and recorded_secure is None:
        difference = Difference.UNKNOWN
    elif f"{head}{now_all}" in (recorded_all or "") or f"{head}{secure}" in (recorded_secure or ""):
        difference = Difference.SAME
    return Comparison(difference=difference, all_digest=now_all, secure_digest=secure)
