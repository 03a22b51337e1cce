"""Stopping what runs on this node without a DC: it was fenced, lives all the same, and must not go on.

One after the other, the newest start first; the agents get the parameters that their last operation had.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, Protocol

import structlog

from crm import log_events, wire
from crm.cib.history import NodeHistory
from hacluster.errors import HaError
from hacluster.v1 import lrm_pb2
from hacluster.vocabulary.ids import NO_VIEW, OperationId, ViewId
from hacluster.vocabulary.operation import ExecutionStatus, Operation, OperationResult

TRANSITION: Final = 1 << 62
"""Later than any of a DC's: in this term ha-lrm obeys nobody else any more."""

TIMEOUT_MS: Final = 60_000
"""At least; the operation's configured time is not known here."""

POLL_S: Final = 0.05
OVERTIME_MS: Final = 10_000
TRIES: Final = 3
_TELLING: Final = (
    "start",
    "reload",
    "reload-agent",
    "monitor",
    "promote",
    "demote",
    "migrate_from",
    "stop",
)

log = structlog.get_logger()


class Lrm(Protocol):
    """What is needed of this node's ha-lrm (crm.peers.lrm)."""

    async def recorded(self) -> tuple[lrm_pb2.OperationResult, ...]:
        """All results that it remembers. Raises HaError."""
        ...

    async def status(self) -> lrm_pb2.LrmStatusReply:
        """For its term, and what was forgotten. Raises HaError."""
        ...

    async def execute(
        self,
        identity: OperationId,
        operation: Operation,
        *,
        view: ViewId,
        boot_token: str,
        without_quorum: bool,
    ) -> lrm_pb2.ExecuteReply:
        """Order an operation, or ask for its result. Raises HaError."""
        ...


def wanted(results: Iterable[OperationResult], active: Iterable[str]) -> tuple[Operation, ...]:
    """The stops of what is active, the newest start first; what is promoted is demoted before. Pure."""
    found: dict[str, list[OperationResult]] = {name: [] for name in active}
    for result in sorted(results, key=lambda one: one.call_id):
        if result.operation.resource in found and result.operation.action in _TELLING:
            found[result.operation.resource].append(result)
    ordered: list[tuple[int, list[Operation]]] = []
    for told in (each for each in found.values() if each):
        starts = [one.call_id for one in told if one.operation.action == "start"]
        stops = [_as(told[-1].operation, "stop")]
        changed = [
            one.operation.action for one in told if one.operation.action in ("start", "promote", "demote")
        ]
        if changed and changed[-1] == "promote":
            stops.insert(0, _as(told[-1].operation, "demote"))
        ordered.append((max(starts, default=told[0].call_id), stops))
    ordered.sort(key=lambda one: -one[0])
    return tuple(operation for _, stops in ordered for operation in stops)


def _as(operation: Operation, action: str) -> Operation:
    timeout_ms = max(operation.timeout_ms, TIMEOUT_MS)
    left_out = ("op_target_rc", "role", "start_delay")
    meta = {name: value for name, value in operation.meta.items() if name not in left_out}
    return replace(
        operation,
        action=action,
        interval_ms=0,
        start_delay_ms=0,
        timeout_ms=timeout_ms,
        meta={**meta, "name": action, "interval": "0", "timeout": str(timeout_ms)},
        transition_key="",
        on_fail_block=False,
    )


async def stop_everything(lrm: Lrm, active: Iterable[str], boot_token: str) -> tuple[str, ...] | None:
    """Stop these resources here, and what else ha-lrm remembers; what could not be stopped.

    None: ha-lrm does not say what runs here. Never raises HaError.
    """
    left = dict.fromkeys(active)
    try:
        results, forgotten = await _recorded(lrm)
    except HaError as error:
        log.error(log_events.STOPPED_HERE, reason=str(error), left=" ".join(left))
        return None
    left.update(dict.fromkeys(_active(results, forgotten)))
    for number, operation in enumerate(wanted([*results, *forgotten], tuple(left)), 1):
        why = await _run(lrm, number, operation, boot_token)
        log.warning(
            log_events.STOPPED_HERE, resource=operation.resource, operation=operation.action, reason=why
        )
        if operation.action == "stop" and not why:
            del left[operation.resource]
    return tuple(left)


async def running(lrm: Lrm) -> tuple[str, ...]:
    """What may be active here, by ha-lrm's own word of now. Raises HaError."""
    return _active(*await _recorded(lrm))


async def _recorded(lrm: Lrm) -> tuple[list[OperationResult], list[OperationResult]]:
    """The history, and what runs, perhaps, of which the history was forgotten (a cleanup)."""
    recorded = [wire.result_from(message) for message in await lrm.recorded()]
    # Later: what is forgotten in between is in both, and not in neither.
    return recorded, [wire.result_from(message) for message in (await lrm.status()).left]


def _active(results: Iterable[OperationResult], forgotten: Iterable[OperationResult]) -> tuple[str, ...]:
    history = NodeHistory("", lambda _parameters: "")
    for result in sorted(results, key=lambda one: one.call_id):
        (history.begun if result.status is ExecutionStatus.PENDING else history.record)(result)
    return tuple(sorted({*history.active(), *(result.operation.resource for result in forgotten)}))


async def _run(lrm: Lrm, number: int, operation: Operation, boot_token: str) -> str:
    """Run one operation to its end; why it failed, or empty. The same id again is harmless, and answers."""
    why, limit_s = "", (operation.timeout_ms + OVERTIME_MS) / 1_000
    for _ in range(TRIES):
        try:
            async with asyncio.timeout(limit_s):
                term = wire.term_from((await lrm.status()).max_term)
                identity = OperationId(term, TRANSITION, number)
                while True:
                    reply = await lrm.execute(
                        identity, operation, view=NO_VIEW, boot_token=boot_token, without_quorum=False
                    )
                    if reply.HasField("result"):
                        return _failure(wire.result_from(reply.result))
                    await asyncio.sleep(POLL_S)
        except HaError as error:  # another term since, or ha-lrm is just being started again
            why = str(error)
            await asyncio.sleep(1.0)
        except TimeoutError:
            return f"not within {limit_s:g} s"
    return why


def _failure(result: OperationResult) -> str:
    if result.status is ExecutionStatus.DONE and result.rc == 0:
        return ""
    return result.exit_reason or f"{result.status.name.lower()}, rc {result.rc}"
