"""Changes that had to give way (cluster-protocol.md 9.7) are made again, or left to people. Pure.

The reports are on this node's disk. Each is decided once, when the node has caught up with an established DC
of a safe basis. With `cib-merge=disjoint` its changes are proposed to that DC, one after the other and in
their order, each as it was, under its own request id: who has it in its log writes it no second time,
whoever proposes it. A change stays behind that touches what the other side has touched since they parted, or
what an earlier one touches that stayed behind; one that does not fit there, or is not valid; and one whose
writer was told that it is not written. Of no other it is known that it is not: who asked was told so by an
entry of the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from crm.cib import diff, disjoint
from crm.cib.model import Element
from crm.cib.replication.log import Log, refusal_of
from crm.cib.replication.model import Orphan, Report
from crm.replica.effects import CancelTimer, DecideOrphans, Effect, Propose, SetTimer, TellOrphans
from crm.replica.events import DcState, Outcome, WriteOutcome
from crm.replica.settings_in_cib import merges_disjoint
from hacluster.errors import HaError

MS: Final = 1_000_000
TIMER: Final = "merge"
TELL_TIMER: Final = "merge-tell"
AGAIN_MS: Final = 200
TELL_MS: Final = 30_000
"""So long people are not told of what may be merged yet."""
TRIES_MAX: Final = 50
NOT_ASKED: Final = "cib-merge is not disjoint"
REFUSED: Final = "its writer was told that it was not written"
NO_ANSWER: Final = "the DC did not say what became of it"
NOT_FITTING: Final = "it does not fit the configuration of now"
NAMES_MAX: Final = 5


@dataclass(slots=True, kw_only=True)
class _Work:
    """A report under way. `before`: on its own side, before the next orphan; `ours`: with what was merged."""

    report: Report
    before: Element
    ours: Element
    next: int = 0
    barred: set[str] = field(default_factory=set)
    merged: list[int] = field(default_factory=list)
    left: list[tuple[int, str]] = field(default_factory=list)
    tries: int = 0
    why: str = ""
    proposed: bool = False
    is_written: bool = False


class Merge:
    """All reports of this node that are not decided yet."""

    def __init__(self, validate: Callable[[Element], str]) -> None:
        self._validate = validate
        self._works: deque[_Work] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether all is decided."""
        return not self._works

    def add(self, report: Report, now: int) -> list[Effect]:
        """One more, newly written or found at start."""
        self._works.append(_Work(report=report, before=report.base, ours=report.base))
        return [SetTimer(TIMER, now), SetTimer(f"{TELL_TIMER}:{report.file}", now + TELL_MS * MS)]

    def tell(self, file: str) -> list[Effect]:
        """It takes its time."""
        return [TellOrphans(file)] if any(work.report.file == file for work in self._works) else []

    def proposed(self, request_id: str, outcome: WriteOutcome, now: int) -> list[Effect]:
        """What the DC said, or that it said nothing (UNKNOWN)."""
        work = self._works[0] if self._works else None
        if work is None or not work.proposed or self._orphan(work).request_id != request_id:
            return []
        work.proposed = False
        if outcome.outcome is Outcome.OK:
            work.is_written = True  # and will be seen in our log, or in that of a later DC
            return [SetTimer(TIMER, now)]
        work.tries, work.why = work.tries + 1, outcome.reason
        return [SetTimer(TIMER, now + AGAIN_MS * MS)]

    def step(self, dc: DcState, log: Log, now: int) -> list[Effect]:
        """The timer `TIMER`: one orphan, or the end of a report."""
        if not self._works or self._works[0].proposed:
            return []
        ready = dc.established and dc.basis is not None and dc.basis.safe
        if not ready or log.term_at(log.commit_index) != dc.term:
            return [SetTimer(TIMER, now + AGAIN_MS * MS)]
        work = self._works[0]
        if work.next == len(work.report.orphans):
            self._works.popleft()
            file = work.report.file
            decided = DecideOrphans(file, tuple(work.merged), tuple(work.left), work.ours)
            return [decided, CancelTimer(f"{TELL_TIMER}:{file}"), SetTimer(TIMER, now)]
        return self._look(work, dc, log, now)

    @staticmethod
    def _orphan(work: _Work) -> Orphan:
        return work.report.orphans[work.next]

    def _look(self, work: _Work, dc: DcState, log: Log, now: int) -> list[Effect]:
        orphan = self._orphan(work)
        try:
            after = diff.apply(work.before, diff.decode(orphan.payload, base="", result=""), base_known=True)
        except HaError as error:  # a damaged file; what comes after was made on it
            work.left += [(one.index, str(error)) for one in work.report.orphans[work.next :]]
            work.next = len(work.report.orphans)
            return [SetTimer(TIMER, now)]
        theirs = log.committed.content
        fits = disjoint.made_again(work.before, after, theirs)
        index = log.find_request(orphan.request_id)
        if (index is not None and index <= log.commit_index) or fits == theirs:
            return self._merged(work, after, now)
        if index is not None or work.is_written:
            work.tries += 1
            if work.tries >= TRIES_MAX:  # it is not seen here: the DC is asked again
                work.tries, work.is_written = 0, False
            return [SetTimer(TIMER, now + AGAIN_MS * MS)]
        why = self._obstacle(work, orphan, after, log)
        if not why and fits is None:
            why = NOT_FITTING
        if not why and fits is not None:
            why = self._validate(fits)
        if why or fits is None:
            return self._left(work, after, why, now)
        work.proposed = True
        proposal = Propose(
            term=dc.term,
            request_id=orphan.request_id,
            author=orphan.author,
            configuration=fits,
            expected_digest=log.committed.digest,
        )
        return [proposal]

    @staticmethod
    def _obstacle(work: _Work, orphan: Orphan, after: Element, log: Log) -> str:
        """Why it is not to be made again; empty: it is."""
        if not merges_disjoint(log.committed.content):
            return NOT_ASKED
        if log.find_request(refusal_of(orphan.request_id)) is not None:
            return REFUSED
        if work.tries >= TRIES_MAX:
            return work.why or NO_ANSWER
        elsewhere = disjoint.touched(work.ours, log.committed.content) | work.barred
        both = sorted(disjoint.touched(work.before, after) & elsewhere)
        if both:
            names = ", ".join(both[:NAMES_MAX]) + (", …" if len(both) > NAMES_MAX else "")
            return f"changed on the other side, or by a change that was left: {names}"
        return ""

    def _merged(self, work: _Work, after: Element, now: int) -> list[Effect]:
        ours = disjoint.made_again(work.before, after, work.ours)
        if ours is None:  # another node has made it again, when more fitted
            work.barred |= disjoint.touched(work.before, after)
        work.ours = work.ours if ours is None else ours
        work.merged.append(self._orphan(work).index)
        return self._on(work, after, now)

    def _left(self, work: _Work, after: Element, why: str, now: int) -> list[Effect]:
        work.barred |= disjoint.touched(work.before, after)
        work.left.append((self._orphan(work).index, why))
        return self._on(work, after, now)

    @staticmethod
    def _on(work: _Work, after: Element, now: int) -> list[Effect]:
        work.before, work.next = after, work.next + 1
        work.tries, work.why, work.is_written = 0, "", False
        return [SetTimer(TIMER, now)]
