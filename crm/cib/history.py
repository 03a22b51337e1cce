"""One node's operation history, from its LRM's journal to the `<lrm_resource>` elements of `<status>`.

The rules are those of Pacemaker's controller ("operation history"): which entry an operation is kept as
(RSC_last_0, RSC_last_failure_0, RSC_monitor_10000, ...), and what an entry says. A reload that worked is kept
as a start, a failed one as a monitor; the result of a notify is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from crm.cib.model import Element
from hacluster.vocabulary.operation import ExecutionStatus, OperationResult

FEATURE_SET: Final = "3.19.7"
"""The CRM feature set whose form of the status section is written."""

RC_PENDING: Final = 193
"""The rc-code of an operation without a result (Pacemaker: PCMK_OCF_UNKNOWN)."""

TARGET_RC: Final = "op_target_rc"

Digest = Callable[[Mapping[str, str]], str]
"""Parameters -> 32 hexadecimal digits: the digest of `<parameters .../>`."""

_ALWAYS_FAILED: Final = frozenset(
    {
        ExecutionStatus.TIMEOUT,
        ExecutionStatus.NOT_SUPPORTED,
        ExecutionStatus.ERROR,
        ExecutionStatus.NOT_CONNECTED,
        ExecutionStatus.NO_FENCE_DEVICE,
        ExecutionStatus.NO_SECRETS,
        ExecutionStatus.INVALID,
    }
)
_NEVER_FAILED: Final = frozenset(
    {
        ExecutionStatus.CANCELLED,
        ExecutionStatus.PENDING,
        ExecutionStatus.NOT_RUN,
        ExecutionStatus.UNKNOWN,
    }
)
_INTERNAL_PARAMETERS: Final = frozenset({"crm_feature_set"})


def expected_rc(result: OperationResult) -> int:
    """The third field of the transition key: what its DC expected. 0 without one."""
    fields = result.operation.transition_key.split(":")
    if len(fields) >= 3:
        try:
            return int(fields[2])
        except ValueError:
            return 0
    return 0


def failed(result: OperationResult) -> bool:
    """Whether this is a failure: what was not expected. Never for a notify."""
    if result.operation.action == "notify" or result.status in _NEVER_FAILED:
        return False
    return result.status in _ALWAYS_FAILED or result.rc != expected_rc(result)


def is_fencing(result: OperationResult) -> bool:
    """Whether a device was used on a node, which is no part of the device's own history."""
    operation = result.operation
    return operation.agent.standard == "stonith" and operation.action not in ("start", "stop", "monitor")


def recorded_task(result: OperationResult) -> str:
    """The task an operation is kept as."""
    if result.operation.action in ("reload", "reload-agent"):
        return "start" if result.status is ExecutionStatus.DONE and result.rc == 0 else "monitor"
    return result.operation.action


@dataclass(slots=True)
class _Resource:
    """Entries of one resource, by their id; `operations` has the results they were made of."""

    head: Mapping[str, str]
    entries: dict[str, Element] = field(default_factory=dict)
    pending: dict[str, tuple[OperationResult, Element]] = field(default_factory=dict)
    rendered: Element | None = None

    def element(self) -> Element:
        if self.rendered is None:
            merged = {**self.entries, **{name: item for name, (_, item) in self.pending.items()}}
            ordered = sorted(merged.values(), key=_document_order)
            self.rendered = Element("lrm_resource", self.head, tuple(ordered))
        return self.rendered


def _document_order(entry: Element) -> tuple[int, str]:
    """Failures first: of two entries of the same second the scheduler lets the earlier element count last."""
    name = entry.id
    if name.endswith("_last_failure_0"):
        return (0, name)
    return (1 if name.endswith("_last_0") else 2, name)


class NodeHistory:
    """The history of one node, fed with its LRM's results in the order of their call ids."""

    def __init__(self, node: str, digest: Digest) -> None:
        self._node = node
        self._digest = digest
        self._resources: dict[str, _Resource] = {}
        self._elements: tuple[Element, ...] | None = None
        # The result of their last operation is lost, and nobody has looked since.
        self._lost: set[str] = set()

    def elements(self) -> tuple[Element, ...]:
        """The `<lrm_resource>` elements, sorted by id."""
        if self._elements is None:
            self._elements = tuple(self._resources[name].element() for name in sorted(self._resources))
        return self._elements

    def resources(self) -> tuple[str, ...]:
        """The ids of resources with a history here."""
        return tuple(sorted(self._resources))

    def running(self) -> tuple[OperationResult, ...]:
        """Operations that have begun (or wait in the LRM) and have no result yet."""
        return tuple(
            result for name in sorted(self._resources) for result, _ in self._resources[name].pending.values()
        )

    def failures(self) -> tuple[Element, ...]:
        """The RSC_last_failure_0 entries."""
        return tuple(
            entry
            for name in sorted(self._resources)
            for entry_id, entry in self._resources[name].entries.items()
            if entry_id == f"{name}_last_failure_0"
        )

    def active(self) -> tuple[str, ...]:
        """Resources that may be active by their last operation: a clean leave must not leave them behind."""
        return tuple(sorted(self._lost.union(filter(self._may_be_active, self._resources))))

    def failed_stops(self) -> tuple[str, ...]:
        """Resources whose last operation was a stop that failed."""
        found = []
        for name in sorted(self._resources):
            last = self._resources[name].entries.get(f"{name}_last_0")
            if last is not None and last.get("operation") == "stop" and last.get("rc-code") not in ("0", "5"):
                found.append(name)
        return tuple(found)

    def _may_be_active(self, name: str) -> bool:
        resource = self._resources[name]
        if any(result.operation.action in ("start", "promote") for result, _ in resource.pending.values()):
            return True
        last = resource.entries.get(f"{name}_last_0")
        if last is None:
            return any(entry.get("rc-code") in ("0", "8") for entry in resource.entries.values())
        if last.get("operation") in ("stop", "monitor"):
            settled = "0" if last.get("operation") == "stop" else "7"
            return last.get("rc-code") != settled and last.get("rc-code") != "5"
        return True

    def record(self, result: OperationResult) -> None:
        """Take a result. A cancelled recurring operation disappears; what was not run changes nothing."""
        if is_fencing(result):
            return
        operation = result.operation
        resource = self._resource(result)
        self._settle(resource, result)
        if result.status is ExecutionStatus.CANCELLED and operation.interval_ms > 0:
            resource.entries.pop(operation.key, None)
        elif result.status in (ExecutionStatus.CANCELLED, ExecutionStatus.NOT_RUN):
            pass
        elif result.status is ExecutionStatus.UNKNOWN:
            resource.entries.clear()
            self._lost.add(operation.resource)
        else:
            self._lost.discard(operation.resource)
            for entry_id in entry_ids(result):
                resource.entries[entry_id] = history_entry(result, entry_id, self._node, self._digest)
            if operation.action == "stop" and not failed(result):
                _drop_recurring(resource, operation.resource)
        self._touch(operation.resource, resource)

    def begun(self, result: OperationResult) -> None:
        """Take the beginning of an operation. A run of a recurring one that is known already is no news."""
        if is_fencing(result):
            return
        operation = result.operation
        resource = self._resource(result)
        entry_id = pending_id(result)
        if operation.interval_ms > 0:
            known = resource.entries.get(entry_id)
            if known is not None and known.get("transition-key") == operation.transition_key:
                return
        resource.pending[entry_id] = (result, pending_entry(result, entry_id, self._node, self._digest))
        self._touch(operation.resource, resource)

    def forget(
        self, name: str, action: str = "", interval_ms: int = 0, *, failures_only: bool = False
    ) -> bool:
        """Forget a resource, or one of its operations (its last failure too, if it was of that operation).

        `failures_only`: an entry of a success stays. Says whether there was something to forget.
        """
        if not action:
            self._lost.discard(name)
        resource = self._resources.get(name)
        if resource is None:
            return False
        before = len(resource.entries)
        last_failure = resource.entries.get(f"{name}_last_failure_0")
        failed_magic = last_failure.get("transition-magic") if last_failure is not None else ""
        for entry_id, entry in list(resource.entries.items()):
            named = (entry.get("operation"), entry.get("interval")) == (action, str(interval_ms))
            is_failure = entry is last_failure or entry.get("transition-magic") == failed_magic
            if (not action or named) and (is_failure or not failures_only):
                del resource.entries[entry_id]
        changed = len(resource.entries) != before
        self._touch(name, resource)
        return changed

    def adopt(self, elements: Iterable[Element]) -> None:
        """Take over elements of a former DC's status section, for a node whose LRM cannot be asked."""
        for element in elements:
            name = element.id
            if name and name not in self._resources:
                entries = {entry.id: entry for entry in element.children if entry.tag == "lrm_rsc_op"}
                self._resources[name] = _Resource(dict(element.attributes), entries)
        self._elements = None

    def _resource(self, result: OperationResult) -> _Resource:
        operation = result.operation
        head = {"id": operation.resource, "class": operation.agent.standard}
        if operation.agent.provider:
            head["provider"] = operation.agent.provider
        head["type"] = operation.agent.type
        if "container" in operation.meta:
            head["container"] = operation.meta["container"]
        resource = self._resources.get(operation.resource)
        if resource is None:
            resource = self._resources[operation.resource] = _Resource(head)
        elif resource.head != head:
            resource.head = head
        return resource

    @staticmethod
    def _settle(resource: _Resource, result: OperationResult) -> None:
        """The operation, or one it has overtaken, is not pending any more."""
        for entry_id, (begun, _) in list(resource.pending.items()):
            same = (begun.operation.action, begun.operation.interval_ms) == (
                result.operation.action,
                result.operation.interval_ms,
            )
            if same or begun.id == result.id:
                del resource.pending[entry_id]

    def _touch(self, name: str, resource: _Resource) -> None:
        resource.rendered = None
        self._elements = None
        if not resource.entries and not resource.pending:
            self._resources.pop(name, None)


def _drop_recurring(resource: _Resource, name: str) -> None:
    """A stop ends every recurring operation of the resource (the LRM has cancelled them)."""
    for entry_id in list(resource.entries):
        if resource.entries[entry_id].get("interval") != "0" and entry_id != f"{name}_last_failure_0":
            del resource.entries[entry_id]


def entry_ids(result: OperationResult) -> tuple[str, ...]:
    """The ids of the entries an ended operation is kept as."""
    operation = result.operation
    task = recorded_task(result)
    if task == "notify":
        return (_notify_id(result),)
    if task in ("migrate_to", "migrate_from"):
        return (f"{operation.resource}_{task}_{operation.interval_ms}",)
    if failed(result):
        ids = (f"{operation.resource}_last_failure_0",)
        return (*ids, f"{operation.resource}_last_0") if operation.interval_ms == 0 else ids
    if operation.interval_ms > 0:
        return (operation.key,)
    return (f"{operation.resource}_last_0",)


def pending_id(result: OperationResult) -> str:
    """The id of the entry of an operation that has begun."""
    operation = result.operation
    if operation.action == "notify":
        return _notify_id(result)
    if operation.interval_ms > 0 or operation.action in ("migrate_to", "migrate_from"):
        return operation.key
    return f"{operation.resource}_last_0"


def _notify_id(result: OperationResult) -> str:
    meta = result.operation.meta
    kind, task = meta.get("notify_type", ""), meta.get("notify_operation", "")
    return f"{result.operation.resource}_{kind}_notify_{task}_0"


def history_entry(result: OperationResult, entry_id: str, node: str, digest: Digest) -> Element:
    """The `<lrm_rsc_op>` of an ended operation."""
    status, rc = result.status, result.rc
    if result.operation.action == "notify":
        status, rc = ExecutionStatus.DONE, 0
    attributes = _entry(result, entry_id, node, call_id=result.call_id, rc=rc, status=status)
    if not failed(result):
        attributes["exit-reason"] = ""
    attributes["last-rc-change"] = str(result.last_change_s)
    attributes["exec-time"] = str(result.executed_ms)
    attributes["queue-time"] = str(result.queued_ms)
    attributes.update(_digests(result, digest))
    return Element("lrm_rsc_op", attributes)


def pending_entry(result: OperationResult, entry_id: str, node: str, digest: Digest) -> Element:
    """The `<lrm_rsc_op>` of an operation without a result."""
    attributes = _entry(result, entry_id, node, call_id=-1, rc=RC_PENDING, status=ExecutionStatus.PENDING)
    attributes["last-rc-change"] = str(result.last_run_s or result.last_change_s)
    attributes["exec-time"] = "0"
    attributes["queue-time"] = "0"
    attributes.update(_digests(result, digest))
    return Element("lrm_rsc_op", attributes)


def _entry(
    result: OperationResult, entry_id: str, node: str, *, call_id: int, rc: int, status: ExecutionStatus
) -> dict[str, str]:
    operation = result.operation
    task = operation.action if status is ExecutionStatus.PENDING else recorded_task(result)
    attributes = {
        "id": entry_id,
        "operation_key": f"{operation.resource}_{task}_{operation.interval_ms}",
        "operation": task,
        "crm-debug-origin": "lrm_journal",
        "crm_feature_set": FEATURE_SET,
        "transition-key": operation.transition_key,
        "transition-magic": f"{int(status)}:{rc};{operation.transition_key}",
        "exit-reason": result.exit_reason,
        "on_node": node,
        "call-id": str(call_id),
        "rc-code": str(rc),
        "op-status": str(int(status)),
        "interval": str(operation.interval_ms),
    }
    if task in ("migrate_to", "migrate_from"):
        for name in ("migrate_source", "migrate_target"):
            if name in operation.meta:
                attributes[name] = operation.meta[name]
    return attributes


def _digests(result: OperationResult, digest: Digest) -> dict[str, str]:
    """op-digest and, as the agent's meta-data calls for them, the restart and the secure digest."""
    operation = result.operation
    plain = {
        name: value
        for name, value in operation.parameters.items()
        if name not in _INTERNAL_PARAMETERS and not name.startswith("CRM_meta_")
    }
    every = dict(plain)
    if operation.interval_ms > 0:
        every["CRM_meta_timeout"] = str(operation.timeout_ms)
    digests = {"op-digest": digest(every)}
    restart = result.restart_parameters
    if result.supports_reload and operation.interval_ms == 0:
        digests["op-force-restart"] = f" {' '.join(restart)} "
        digests["op-restart-digest"] = digest({name: plain[name] for name in restart if name in plain})
    private = result.private_parameters
    if private:
        digests["op-secure-params"] = f" {' '.join(private)} "
        digests["op-secure-digest"] = digest({n: v for n, v in every.items() if n not in private})
    return digests
