"""One history entry: remapping of results, expiry, and what it says about role and failures."""

from __future__ import annotations

from typing import Final

from crm.cib.model import Element
from crm.scheduler import history, operations
from crm.scheduler.actions import can_fence
from crm.scheduler.basic_actions import set_active, stop_on
from crm.scheduler.failures import check_expiry, is_masked_probe
from crm.scheduler.migration_history import migrate_from_failure, migrate_to_failure, migrate_to_success
from crm.scheduler.model import (
    FailedOperation,
    Node,
    OnFail,
    Resource,
    Role,
    Status,
    WorkingSet,
)
from crm.scheduler.readings import Facts
from crm.scheduler.scores import INFINITY
from crm.scheduler.tables import ban
from hacluster.records import record

_TASKS: Final = frozenset(
    {"monitor", "start", "stop", "promote", "demote", "migrate_to", "migrate_from", "asyncmon"}
)
_NOT_RUNNING: Final = 7
_PROMOTED: Final = 8
_NOT_INSTALLED: Final = 5
_CLEARED: Final = frozenset(
    {OnFail.BLOCK, OnFail.IGNORE, OnFail.DEMOTE, OnFail.RESTART, OnFail.RESTART_CONTAINER}
)


@record()
class HistoryRun:
    """What the entries of one resource on one node have given so far."""

    resource: Resource
    node: Node
    on_fail: OnFail = OnFail.IGNORE
    last_failure: Element | None = None


@record()
class Entry:
    """An entry with its result as remapped."""

    item: Element
    task: str
    interval_ms: int
    rc: int
    status: int
    expected: int

    @property
    def is_probe(self) -> bool:
        """A monitor that does not recur."""
        return self.task == "monitor" and self.interval_ms == 0


def process_entry(work: WorkingSet, run: HistoryRun, facts: Facts) -> None:
    """Take one entry into account; entries must come oldest first."""
    item, task, rc, status = facts.item, facts.task, facts.rc, facts.status
    if task not in _TASKS or rc is None or status is None or status == Status.CANCELLED:
        return
    if status < Status.PENDING or status > Status.NO_SECRETS:
        return
    resource, node = run.resource, run.node
    entry = Entry(item, task, facts.interval_ms, rc, status, facts.expected)
    expired = check_expiry(work, resource, node, item)
    masked = is_masked_probe(item) and not resource.is_in_bundle()
    _remap(work, run, entry, expired=expired, masked=masked)
    if expired and _skip_expired(work, run, entry, rc):
        return
    if masked:
        _update_state(work, run, entry, entry.rc)
        record_failure(work, run, entry, masked=True)
        ban(work, _banned(resource), node, -INFINITY, "masked_probe", resource.id)
        return
    match entry.status:
        case Status.PENDING:
            _pending(work, run, entry)
        case Status.DONE:
            _update_state(work, run, entry, entry.rc)
        case _:
            _failed(work, run, entry)


def _banned(resource: Resource) -> Resource:
    return resource if resource.unique else resource.top()


def _skip_expired(work: WorkingSet, run: HistoryRun, entry: Entry, original_rc: int) -> bool:
    node, resource = run.node, run.resource
    if entry.is_probe and is_masked_probe(entry.item) and original_rc != entry.rc:
        if resource.orig_role <= Role.STOPPED:
            resource.orig_role = Role.UNKNOWN
        return True
    if entry.rc == entry.expected:
        return False
    if entry.interval_ms == 0:
        return True
    if node.online and not node.unclean:
        work.pretended_changed.add(id(entry.item))
        return True
    return False


# --- remapping


def _remap(work: WorkingSet, run: HistoryRun, entry: Entry, *, expired: bool, masked: bool) -> None:
    if entry.rc in {190, 191}:
        entry.rc = 0 if entry.rc == 190 else _PROMOTED
        if not expired:
            record_failure(work, run, entry)
    if masked:
        entry.status, entry.rc = Status.DONE, _NOT_RUNNING
    if entry.status in {Status.NO_FENCE_DEVICE, Status.NO_SECRETS}:
        entry.status = Status.ERROR_HARD
        return
    if entry.status not in {Status.DONE, Status.ERROR}:
        return
    entry.status = Status.DONE if entry.expected >= 0 and entry.rc == entry.expected else Status.ERROR
    _remap_by_rc(work, run, entry, expired=expired)


def _remap_by_rc(work: WorkingSet, run: HistoryRun, entry: Entry, *, expired: bool) -> None:
    resource = run.resource
    match entry.rc:
        case 0:
            if entry.is_probe and entry.expected == _NOT_RUNNING:
                entry.status = Status.DONE
        case 7:
            if entry.is_probe or entry.expected == _NOT_RUNNING or not resource.managed:
                entry.status = Status.DONE
                resource.orig_role = Role.STOPPED
                run.on_fail = OnFail.IGNORE
                resource.next_role = Role.UNKNOWN
        case 8:
            if entry.is_probe and entry.rc != entry.expected:
                entry.status = Status.DONE
            if not expired or entry.rc == entry.expected:
                resource.orig_role = Role.PROMOTED
        case 9:
            if not expired:
                resource.orig_role = Role.PROMOTED
            entry.status = Status.ERROR
        case 6:
            entry.status = Status.ERROR_FATAL
        case 3:
            if entry.interval_ms > 0:
                entry.status = Status.NOT_SUPPORTED
            else:
                _hard_error(work, run, entry, expired=expired)
        case 5 | 2 | 4:
            _hard_error(work, run, entry, expired=expired)
        case _:
            if entry.status == Status.DONE:
                entry.status = Status.ERROR


def _hard_error(work: WorkingSet, run: HistoryRun, entry: Entry, *, expired: bool) -> None:
    if not expired and entry.task == "stop" and not can_fence(work, run.node):
        run.resource.managed, run.resource.blocked = False, True
    entry.status = Status.ERROR_HARD


# --- pending and done


def _pending(work: WorkingSet, run: HistoryRun, entry: Entry) -> None:
    resource, node = run.resource, run.node
    failure = run.last_failure
    if (
        failure is not None
        and history.task_of(failure) == entry.task
        and history.interval_ms(failure) == entry.interval_ms
    ):
        then, now = history.last_change_s(failure), history.last_change_s(entry.item)
        if then is not None and now is not None and then >= now:
            return
    if entry.task == "start":
        resource.start_pending = True
        set_active(resource)
    elif entry.task == "promote":
        resource.orig_role = Role.PROMOTED
    elif entry.task == "migrate_to" and node.unclean:
        target = work.nodes_by_name.get(entry.item.get("migrate_target"))
        if target is not None:
            stop_on(work, resource, target, optional=False)
    if not resource.pending_task and not entry.is_probe:
        resource.pending_task = entry.task
        resource.pending_node = node
        resource.pending_interval_ms = entry.interval_ms


def _update_state(work: WorkingSet, run: HistoryRun, entry: Entry, rc: int) -> None:
    resource = run.resource
    clear = False
    if rc == _NOT_INSTALLED or (is_masked_probe(entry.item) and not resource.is_in_bundle()):
        resource.orig_role = Role.STOPPED
    elif rc == _NOT_RUNNING:
        clear = True
    elif entry.task == "monitor":
        failure = run.last_failure
        if (
            failure is not None
            and history.task_of(failure) == entry.task
            and history.interval_ms(failure) == entry.interval_ms
        ):
            clear = True
        if resource.orig_role < Role.STARTED:
            set_active(resource)
    elif entry.task in {"start", "migrate_from"}:
        resource.orig_role, clear = Role.STARTED, True
    elif entry.task == "stop":
        resource.orig_role, clear = Role.STOPPED, True
    elif entry.task == "promote":
        resource.orig_role, clear = Role.PROMOTED, True
    elif entry.task == "demote":
        clear = run.on_fail is OnFail.DEMOTE
        resource.orig_role = Role.UNPROMOTED
    elif entry.task == "migrate_to":
        migrate_to_success(work, resource, run.node, entry.item)
    elif resource.orig_role < Role.STARTED:
        set_active(resource)
    if clear and (
        run.on_fail in _CLEARED or (run.on_fail is OnFail.RESET_REMOTE and not resource.reconnect_interval_ms)
    ):
        run.on_fail = OnFail.IGNORE
        resource.next_role = Role.UNKNOWN


# --- failed


def _failed(work: WorkingSet, run: HistoryRun, entry: Entry) -> None:
    resource, node = run.resource, run.node
    meta = operations.operation_meta(work, resource, entry.task, entry.interval_ms)
    on_fail = operations.on_fail(work, resource, entry.task, entry.interval_ms, meta.get("on-fail"))
    role = _role_after_failure(resource, entry, on_fail)
    if entry.status == Status.NOT_INSTALLED:
        if on_fail is OnFail.IGNORE:
            run.on_fail = OnFail.BAN
        ban(work, _banned(resource), node, -INFINITY, "not_installed", resource.id)
        _handle_failure(work, run, entry, on_fail, role)
        return
    if entry.status == Status.NOT_CONNECTED:
        connection = node.connection
        if connection is not None and connection.managed:  # of a remote node or a guest
            connection.failed = connection.stop_if_failed = True
    if on_fail is OnFail.IGNORE or (on_fail is OnFail.RESTART_CONTAINER and entry.task == "stop"):
        _update_state(work, run, entry, entry.expected)
        resource.failure_ignored = True
        record_failure(work, run, entry)
        if on_fail is OnFail.RESTART_CONTAINER and run.on_fail <= OnFail.RESTART:
            run.on_fail = on_fail
        return
    _handle_failure(work, run, entry, on_fail, role)
    if entry.status == Status.ERROR_HARD:
        ban(work, _banned(resource), node, -INFINITY, "hard_error", resource.id)
    elif entry.status == Status.ERROR_FATAL:
        ban(work, _banned(resource), None, -INFINITY, "fatal_error", resource.id)


def _role_after_failure(resource: Resource, entry: Entry, on_fail: OnFail) -> Role:
    if on_fail is OnFail.STOP or (on_fail is OnFail.RESET_REMOTE and resource.reconnect_interval_ms):
        return Role.STOPPED
    return Role.UNPROMOTED if entry.task == "promote" else Role.STARTED


def _handle_failure(work: WorkingSet, run: HistoryRun, entry: Entry, on_fail: OnFail, role: Role) -> None:
    resource, node = run.resource, run.node
    run.last_failure = entry.item
    if entry.rc != _NOT_INSTALLED or work.options.symmetric:
        record_failure(work, run, entry)
    run.on_fail = max(run.on_fail, on_fail)
    match entry.task:
        case "stop":
            ban(work, resource, node, -INFINITY, "stop_failed", resource.id)
        case "migrate_to":
            migrate_to_failure(work, resource, node, entry.item)
        case "migrate_from":
            migrate_from_failure(work, resource, entry.item)
        case "promote":
            resource.orig_role = Role.PROMOTED
        case "demote":
            if on_fail is OnFail.BLOCK:
                resource.orig_role, resource.next_role = Role.PROMOTED, Role.STOPPED
            elif entry.rc == _NOT_RUNNING:
                resource.orig_role = Role.STOPPED
            else:
                resource.orig_role = Role.UNPROMOTED
        case _:
            pass
    if entry.is_probe and entry.rc == _NOT_INSTALLED:
        resource.orig_role = Role.STOPPED
    elif resource.orig_role < Role.STARTED:
        set_active(resource)
    if role is not Role.STARTED and resource.next_role < role:
        resource.next_role = role
    if role is Role.STOPPED:
        ban(work, _banned(resource), None, -INFINITY, "on_fail_stop", resource.id)


def record_failure(work: WorkingSet, run: HistoryRun, entry: Entry, *, masked: bool = False) -> None:
    """Remember a failed operation for display, once per key and node."""
    if not run.node.online:
        return
    key = entry.item.get("operation_key") or entry.item.id
    for known in work.failed_operations:
        if known.key == key and known.node is run.node:
            return
    rc = history.rc_of(entry.item)
    work.failed_operations.append(
        FailedOperation(
            resource=run.resource,
            node=run.node,
            key=key,
            element=entry.item,
            task=entry.task,
            rc=rc if rc is not None else entry.rc,
            masked_probe=masked,
        )
    )
