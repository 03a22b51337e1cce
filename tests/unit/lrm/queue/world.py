"""Requests and a queue to send them to: what scenario files and properties share."""

from __future__ import annotations

from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import BootToken, NodeName, OperationId, ResourceId, Term, ViewId
from hacluster.vocabulary.membership import Authority, MembershipView
from hacluster.vocabulary.operation import Operation
from lrm.journal.model import Ledger
from lrm.queue.core import Limits, Queue
from lrm.queue.events import Execute

BOOT = BootToken("b" * 64)
NODE = NodeName("node1")
VIEW = ViewId(5, 1)
DUMMY = AgentName("ocf", "hacluster", "Dummy")
MS = 1_000_000


def a_queue(ledger: Ledger | None = None, **limits: int) -> Queue:
    return Queue(ledger or Ledger(), node=NODE, boot_token=BOOT, limits=Limits(**limits))


def an_operation(
    resource: str = "web",
    action: str = "start",
    *,
    interval_ms: int = 0,
    start_delay_ms: int = 0,
    start_within_ms: int = 5_000,
    meta: dict[str, str] | None = None,
) -> Operation:
    return Operation(
        resource=ResourceId(resource),
        agent=DUMMY,
        action=action,
        interval_ms=interval_ms,
        start_delay_ms=start_delay_ms,
        start_within_ms=start_within_ms,
        meta=meta or {},
    )


def an_execute(
    operation: Operation,
    *,
    term: int = 1,
    transition: int = 1,
    action: int = 1,
    view: ViewId = VIEW,
    boot: BootToken = BOOT,
    without_quorum: bool = False,
) -> Execute:
    return Execute(
        id=OperationId(Term(term, 1), transition, action),
        view=view,
        boot_token=boot,
        operation=operation,
        without_quorum=without_quorum,
    )


def an_authority(
    *, view: ViewId = VIEW, quorate: bool = True, waiting: bool = False, lease_end_ms: int = 10**9
) -> Authority:
    return Authority(
        view=MembershipView(id=view), quorate=quorate, waiting=waiting, lease_end_ns=lease_end_ms * MS
    )
