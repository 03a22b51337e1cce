"""When a DC may say that its configuration has all that was committed before it was asked. Pure.

At once: by the lease of ha-messaging (nobody else has a view in which to be DC), while a quorum has obeyed
this DC so lately that it refuses every other candidate of this view (a ha-crm that was stopped finds out so).
Else, and always when no clock is to be trusted, once a quorum has stored an entry made since (`questions`).
Cluster-protocol.md 9.3, "Reads".
"""

from __future__ import annotations

from typing import Final

from crm.cib.replication.basis import Basis
from crm.cib.replication.leading import Leading
from crm.replica.events import Outcome, WriteOutcome

HEARD_MS: Final = 1_500
"""Whoever obeyed a DC refuses other candidates for four fifths of dc_timeout, 2 s by its clock (8.4)."""

NOT_YET: Final = WriteOutcome(outcome=Outcome.FAILED, reason="the DC may not know all that was written")
PROVISIONAL: Final = WriteOutcome(
    outcome=Outcome.OK,
    reason="read without a quorum: if the other side wrote too, one of both will have to give way",
)
NO_QUORUM: Final = WriteOutcome(
    outcome=Outcome.FAILED, reason="there is none to ask, this DC goes on without"
)


def at_once(leading: Leading, now: int, *, lease_end_ns: int, by_quorum: bool) -> WriteOutcome | None:
    """The answer that needs nobody else, OK without a reason when all is there; None: a quorum must be asked.

    `lease_end_ns` 0: the transport has no leases to give.
    """
    if not leading.established or leading.waits:
        return NOT_YET
    if leading.basis in (Basis.MAJORITY, Basis.FENCED):
        recent = leading.heard_since(now - HEARD_MS * 1_000_000)
        return WriteOutcome(outcome=Outcome.OK) if recent and now < lease_end_ns and not by_quorum else None
    if by_quorum:
        return NO_QUORUM
    return WriteOutcome(outcome=Outcome.OK) if leading.basis is Basis.FORCED else PROVISIONAL
