"""Small builders with defaults, for tests of several packages."""

from __future__ import annotations

from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import OperationId, ResourceId, Term
from hacluster.vocabulary.operation import ExecutionStatus, Operation, OperationResult

DUMMY = AgentName("ocf", "hacluster", "Dummy")


def an_operation(
    resource: str = "web",
    action: str = "start",
    *,
    interval_ms: int = 0,
    expected: int = 0,
    agent: AgentName = DUMMY,
    parameters: dict[str, str] | None = None,
    meta: dict[str, str] | None = None,
    transition: int = 1,
    number: int = 1,
) -> Operation:
    return Operation(
        resource=ResourceId(resource),
        agent=agent,
        action=action,
        interval_ms=interval_ms,
        parameters=parameters or {},
        meta=meta or {},
        transition_key=f"{number}:{transition}:{expected}:00000000-uuid",
    )


def a_result(
    operation: Operation | None = None,
    *,
    rc: int = 0,
    status: ExecutionStatus = ExecutionStatus.DONE,
    call_id: int = 1,
    at_s: int = 1_000,
    number: int = 1,
    exit_reason: str = "",
    private: tuple[str, ...] = (),
    restart: tuple[str, ...] = (),
    supports_reload: bool = False,
) -> OperationResult:
    return OperationResult(
        id=OperationId(Term(1, 1), 1, number),
        call_id=call_id,
        operation=operation or an_operation(),
        status=status,
        rc=rc,
        executed_ms=12,
        queued_ms=3,
        last_run_s=at_s,
        last_change_s=at_s,
        exit_reason=exit_reason,
        private_parameters=private,
        restart_parameters=restart,
        supports_reload=supports_reload,
    )
