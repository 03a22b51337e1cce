"""What the queue is told and what it orders. Closed unions; a new member fails type checking where it is
not handled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hacluster.errors import HaError
from hacluster.vocabulary.ids import BootToken, OperationId, ResourceId, Term, ViewId
from hacluster.vocabulary.membership import Authority
from hacluster.vocabulary.operation import ExecutionStatus, Operation, OperationResult
from lrm.journal.records import Record


@dataclass(frozen=True, slots=True)
class RunId:
    """One start of one agent: the call, and which run of it (0 for one-shot operations)."""

    call_id: int
    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Execute:
    """A DC wants an operation."""

    id: OperationId
    view: ViewId
    boot_token: BootToken
    operation: Operation
    without_quorum: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """A DC takes over, or begins anew in its term: what is queued belongs to a plan it has given up."""

    term: Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """A DC ends a recurring operation."""

    term: Term
    resource: ResourceId
    action: str
    interval_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """A DC deletes history; an empty action means all of the resource.

    `failures_only`: newest results that are none stay, and recurring operations go on.
    """

    term: Term
    resource: ResourceId
    action: str = ""
    interval_ms: int = 0
    failures_only: bool = False


@dataclass(frozen=True, slots=True)
class AuthorityChanged:
    """What ha-messaging says now; None while it says nothing."""

    authority: Authority | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """The agent's process exists."""

    run: RunId
    pid: int
    start_ticks: int
    deadline_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The agent is done, or given up. `now_s` is wall-clock time, for people.

    `unkillable`: a process of it is still there. Status UNKNOWN: the result is lost.
    """

    run: RunId
    status: ExecutionStatus
    rc: int
    raw_status: int = 0
    executed_ms: int = 0
    last_run_s: int = 0
    now_s: int = 0
    exit_reason: str = ""
    output: str = ""
    private_parameters: tuple[str, ...] = ()
    reloadable_parameters: tuple[str, ...] = ()
    supports_reload: bool = False
    restart_parameters: tuple[str, ...] = ()
    unkillable: bool = False


@dataclass(frozen=True, slots=True)
class Stuck:
    """After a restart: a process that could not be killed is still there."""

    resource: ResourceId


@dataclass(frozen=True, slots=True)
class Vanished:
    """A process that could not be killed is gone."""

    resource: ResourceId


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = Execute | Accept | Cancel | Forget | AuthorityChanged | Spawned | Ended | Stuck | Vanished | Tick


@dataclass(frozen=True, slots=True)
class Append:
    """Write this to the journal before anything that follows."""

    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Start the agent. `after_failure`: the resource had failed (what a stop leaves behind may be killed).

    `not_after_ns`: until when the gate is open for it; 0 for what needs no authority.
    """

    run: RunId
    operation: Operation
    after_failure: bool
    not_after_ns: int = 0


@dataclass(frozen=True, slots=True)
class KillRun:
    """End this run; Ended follows."""

    run: RunId


@dataclass(frozen=True, slots=True)
class Answer:
    """To Execute: accepted, or known before (then with the result, once there is one)."""

    call_id: int
    result: OperationResult | None = None


@dataclass(frozen=True, slots=True)
class CancelAnswer:
    """To Cancel."""

    was_known: bool


@dataclass(frozen=True, slots=True)
class Refuse:
    """To any request: nothing was changed."""

    error: HaError


@dataclass(frozen=True, slots=True)
class Publish:
    """A result, or with status PENDING the beginning of an operation, for everyone who watches."""

    result: OperationResult


@dataclass(frozen=True, slots=True)
class PublishForgotten:
    """History was deleted, or a recurring operation cancelled."""

    resource: ResourceId
    action: str
    interval_ms: int
    failures_only: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """For the log: an event's name of log_events, and its fields."""

    event: str
    fields: Mapping[str, str | int] = field(default_factory=dict)


Effect = Append | Begin | KillRun | Answer | CancelAnswer | Refuse | Publish | PublishForgotten | Note
