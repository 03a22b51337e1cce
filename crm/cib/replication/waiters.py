"""Writers that wait for their entry to be committed, and when they may be answered."""

from __future__ import annotations

from dataclasses import dataclass, replace

from crm.cib.replication.log import Log
from crm.cib.replication.model import LogEntry
from crm.replica.effects import Answer, CancelTimer, Effect
from crm.replica.events import Outcome, WriteOutcome

PROVISIONAL = (
    "written without a quorum: if the other side wrote too, this may have to give way (it is reported)"
)


@dataclass(frozen=True, slots=True)
class Waiter:
    """One writer: the entry it waits for."""

    token: int
    entry: LogEntry
    committed_ns: int | None = None


class Waiters:
    """Survives the reign: an entry may be committed by a later DC."""

    def __init__(self) -> None:
        self._waiting: dict[int, Waiter] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, token: int, entry: LogEntry) -> None:
        """A writer waits for `entry`."""
        self._waiting[token] = Waiter(token, entry)

    def expire(self, token: int) -> list[Effect]:
        """The writer's deadline has come: it may or may not be written."""
        waiter = self._waiting.pop(token, None)
        if waiter is None:
            return []
        reason = "no quorum stored it in time; ask again with the request id"
        return [Answer(token, WriteOutcome(outcome=Outcome.UNKNOWN, reason=reason))]

    def resolve(self, log: Log, now: int, *, ready: int, lease_end_ns: int, linger_ns: int) -> list[Effect]:
        """Answer who can be answered.

        `ready` is the highest index that all members in sync have stored; beyond it an answer waits for the
        linger time. Without a lease (`lease_end_ns` past; 0: the transport has none) nothing is answered OK.
        """
        effects: list[Effect] = []
        for token, waiter in list(self._waiting.items()):
            entry = waiter.entry
            if entry.index > log.commit_index:
                continue
            chain = log.chain_at(entry.index)
            if chain is None:  # compacted; the request id tells
                mine = log.find_request(entry.request_id) == entry.index
            else:
                mine = chain == entry.chain
            if not mine:
                if log.safe_commit_index >= entry.index:
                    effects += self._answer(token, Outcome.FAILED, "another history was committed instead")
                continue
            if waiter.committed_ns is None:
                waiter = Waiter(token, entry, now)
                self._waiting[token] = waiter
            assert waiter.committed_ns is not None
            lingered = now - waiter.committed_ns >= linger_ns
            if (entry.index <= ready or lingered) and (lease_end_ns == 0 or now < lease_end_ns):
                reason = "" if log.safe_commit_index >= entry.index else PROVISIONAL
                effects += self._answer(token, Outcome.OK, reason)
        return effects

    def lingers(self) -> bool:
        """Whether a committed entry still waits to be answered."""
        return any(waiter.committed_ns is not None for waiter in self._waiting.values())

    def _answer(self, token: int, outcome: Outcome, reason: str) -> list[Effect]:
        entry = self._waiting.pop(token).entry
        answer = WriteOutcome(outcome=outcome, reason=reason)
        if outcome is Outcome.OK:
            answer = replace(answer, version=entry.version, digest=entry.digest_after)
        return [CancelTimer(f"write:{token}"), Answer(token, answer)]
