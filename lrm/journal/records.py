"""The entries of the journal. Every durable change of the LRM is one of these; nothing else is durable."""

from __future__ import annotations

from dataclasses import dataclass

from hacluster.vocabulary.ids import OperationId, ResourceId, Term, ViewId
from hacluster.vocabulary.operation import Operation, OperationResult


@dataclass(frozen=True, slots=True)
class RecurringKey:
    """Names a recurring operation: a second one with the same key replaces the first."""

    resource: ResourceId
    action: str
    interval_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TermSeen:
    """The highest term of a DC so far; older ones are refused for ever (of this boot)."""

    term: Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An operation was promised to a DC. `due_ns` (boot time) is the first run of a recurring one."""

    call_id: int
    id: OperationId
    operation: Operation
    view: ViewId
    without_quorum: bool
    received_ns: int
    due_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Intent: the agent is about to be started, for the `run`-th time (0 for a one-shot operation)."""

    call_id: int
    run: int
    began_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """The agent's process, by which a later lrm-exec can find it. `deadline_ns` 0 means none."""

    call_id: int
    run: int
    pid: int
    start_ticks: int
    deadline_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    """The result of a one-shot operation. With status NOT_RUN it is no part of the history."""

    result: OperationResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A run of a recurring operation is over; the next one is due at `due_ns`.

    `result` is None when nothing new was learned (the same as before, or lost).
    """

    call_id: int
    run: int
    due_ns: int
    result: OperationResult | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disarmed:
    """A recurring operation was ended (stop, cancel, clean-up)."""

    key: RecurringKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """The history of a resource was deleted; with an action, only that operation's.

    `failures_only`: newest results that are no failures stay.
    """

    resource: ResourceId
    action: str
    interval_ms: int
    failures_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What a recurring operation reported last, for compaction: the history may know better by now."""

    call_id: int
    result: OperationResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """An operation id that was used, for compaction; `result` None: recurring or not concluded."""

    id: OperationId
    call_id: int
    result: OperationResult | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermarks:
    """Counters, for compaction: ids of transitions below `floor` are refused."""

    next_call_id: int
    floor: int


Record = (
    TermSeen
    | Accepted
    | Begun
    | Spawned
    | Concluded
    | Observed
    | Disarmed
    | Forgotten
    | Remembered
    | Reported
    | Watermarks
)
