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
DISPLACED = "another history was committed instead: ask again, it may be merged"
VOTERS_UNKNOWN = "the DC changed while the voters did: look at the voters"


@dataclass(frozen=True, slots=True)
class Waiter:
    """One writer: the entry it waits for.

    `began`: that entry is the end of a change of voters, and this is the request that began it.
    """

    token: int
    entry: LogEntry
    committed_ns: int | None = None
    began: str | None = None


class Waiters:
    """Survives the reign: an entry may be committed by a later DC."""

    def __init__(self) -> None:
        self._waiting: dict[int, Waiter] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, token: int, entry: LogEntry, *, began: str | None = None) -> None:
        """A writer waits for `entry`; `began`: see Waiter."""
        self._waiting[token] = Waiter(token, entry, began=began)

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
                    effects += self._displaced(waiter, log)
                continue
            if waiter.committed_ns is None:
                waiter = replace(waiter, committed_ns=now)
                self._waiting[token] = waiter
            assert waiter.committed_ns is not None
            lingered = now - waiter.committed_ns >= linger_ns
            if (entry.index <= ready or lingered) and (lease_end_ns == 0 or now < lease_end_ns):
                reason = "" if log.safe_commit_index >= entry.index else PROVISIONAL
                effects += self._answer(token, Outcome.OK, reason)
        return effects

    def _displaced(self, waiter: Waiter, log: Log) -> list[Effect]:
        """Another entry was committed in its place. A change that has begun is ended by the next DC, too.

        What had to give way may be merged yet: the DC knows, and decides it when it is asked.
        """
        if waiter.began is not None and (not waiter.began or log.find_request(waiter.began) is not None):
            return self._answer(waiter.token, Outcome.UNKNOWN, VOTERS_UNKNOWN)
        return self._answer(waiter.token, Outcome.UNKNOWN, DISPLACED)

    def lingers(self) -> bool:
        """Whether a committed entry still waits to be answered."""
        return any(waiter.committed_ns is not None for waiter in self._waiting.values())

    def _answer(self, token: int, outcome: Outcome, reason: str) -> list[Effect]:
        entry = self._waiting.pop(token).entry
        answer = WriteOutcome(outcome=outcome, reason=reason)
        if outcome is Outcome.OK:
            answer = replace(answer, version=entry.version, digest=entry.digest_after)
        return [CancelTimer(f"write:{token}"), Answer(token, answer)]
