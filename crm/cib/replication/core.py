"""One node's replicated log: follows a DC or is one; who has what, and when a write is committed. Pure.

The DC's side for one term is `leading.py`; here is the follower's side and what outlives a reign: the log,
the writers that wait, and the highest version ever shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from crm.cib.model import Element
from crm.cib.replication import reads
from crm.cib.replication.basis import Basis
from crm.cib.replication.counting import Reign
from crm.cib.replication.leading import BOOTSTRAP, DC_CHANGED, Leading
from crm.cib.replication.log import KEEP_ENTRIES, Damaged, Log, State, refusal_of
from crm.cib.replication.messages import Append, AppendReply, InstallSnapshot
from crm.cib.replication.model import Kind, LogEntry, Snapshot, Stored
from crm.cib.replication.waiters import PROVISIONAL, Waiters
from crm.cib.versions import NO_VERSION, CibVersion
from crm.replica.effects import (
    Answer,
    Die,
    Effect,
    MarkCommitted,
    Note,
    PersistEntries,
    PersistSnapshot,
    SaveOrphans,
    SetTimer,
    Up,
    VotersChangeRequested,
    WriteRequested,
)
from crm.replica.events import Committed, Outcome, VotersCommitted, WriteOutcome
from hacluster.vocabulary.ids import Term
from hacluster.vocabulary.membership import QuorumConfig

MS: Final = 1_000_000
DAMAGES_MAX: Final = 2
NO_LEASE_NS: Final = 1
"""An instant that is over: there is no lease. 0 says that the transport has none to give."""
_WITHOUT_LEASE: Final = frozenset({Basis.CARETAKER, Basis.FORCED})
"""Whoever reigns so was told to write without quorum, or knows that the answer says so."""
NO_PROOF: Final = WriteOutcome(
    outcome=Outcome.UNKNOWN, reason="no quorum has confirmed that this node is still DC: ask again"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationSettings:
    """`quorum` is the founding C, `initial` the first configuration of a new cluster.

    `validate` says what is wrong, or nothing.
    """

    me: int
    quorum: QuorumConfig
    initial: Element
    validate: Callable[[Element], str]
    ignores_quorum: Callable[[Element], bool]
    linger_ms: int = 100
    keep_entries: int = KEEP_ENTRIES


class Replication:
    """The log of one node and its part in keeping it."""

    def __init__(self, settings: ReplicationSettings, stored: Stored) -> None:
        """Raises Damaged when what was stored does not fit together."""
        self.settings = settings
        self.log = Log(
            stored.snapshot, stored.entries, stored.commit_index, keep_entries=settings.keep_entries
        )
        self.leading: Leading | None = None
        self.waiters = Waiters()
        self.lease_end_ns = 0
        self._acts = False
        self.followed_basis: Basis | None = None
        self.followed_established = self.followed_acts = False
        self._shown = stored.shown
        self._shown_digest = ""
        self._told_voters = 0  # index of the last that the shell was told of
        self._damages = 0

    @property
    def version(self) -> CibVersion:
        """The highest this node has shown, or may have to show."""
        return max(self._shown, self.log.head.version)

    @property
    def quorum(self) -> QuorumConfig:
        """Who votes, by the newest entry here; the founding voters before there is one."""
        return self.log.voters[1] or self.settings.quorum

    def note_shown(self, version: CibVersion) -> None:
        """The shell showed this version (status changes count too)."""
        self._shown = max(self._shown, version)

    def authority(self, lease_end_ns: int, *, acts: bool) -> None:
        """Whether our ha-messaging lets us act in its view, and until when."""
        self.lease_end_ns, self._acts = lease_end_ns, acts
        if self.leading is not None:
            self.leading.acts = acts

    # -- the DC's side

    def lead(self, reign: Reign, now: int) -> list[Effect]:
        """Begin a reign."""
        assert self.leading is None
        self.followed_basis, self.followed_established, self.followed_acts = None, False, False
        self.leading = Leading(
            reign,
            self.log,
            self.waiters,
            founding=self.settings.quorum,
            validate=self.settings.validate,
            ignores_quorum=self.settings.ignores_quorum,
            initial=self.settings.initial,
        )
        self.leading.acts = self._acts
        return [*self.leading.begin(now), *self.settle(now)]

    def stop(self) -> list[Effect]:
        """End the reign, if there is one."""
        if self.leading is None:
            return []
        effects = self.leading.end()
        effects += [Answer(question.token, NO_PROOF) for question in self.leading.questions.unanswered()]
        self.leading = None
        return effects

    def write(self, requests: tuple[WriteRequested, ...], now: int) -> list[Effect]:
        """Clients' writes. They fail at once where this node is not DC."""
        if self.leading is None:
            outcome = WriteOutcome(outcome=Outcome.FAILED, reason=DC_CHANGED)
            return [Answer(request.token, outcome) for request in requests]
        return [*self.leading.write(requests, now), *self.settle(now)]

    def change_voters(self, request: VotersChangeRequested, now: int) -> list[Effect]:
        """As `write`."""
        if self.leading is None:
            return [Answer(request.token, WriteOutcome(outcome=Outcome.FAILED, reason=DC_CHANGED))]
        return [*self.leading.change_voters(request, now), *self.settle(now)]

    def expire(self, token: int, now: int) -> list[Effect]:
        """A writer's deadline."""
        effects = [] if self.leading is None else self.leading.expire(token, now)
        return effects or self.waiters.expire(token)

    def outcome(self, token: int, request_id: str, now: int) -> list[Effect]:
        """What became of a write. That it was never written an established DC of a safe basis may say, and

        only once it is committed that it never will be.
        """
        known = self._outcome(request_id)
        if known is not None or self.leading is None:
            return [] if known is None else [Answer(token, known)]
        return [*self.leading.ask(token, request_id, now), *self.settle(now)]

    def read(self, token: int, now: int, *, by_quorum: bool) -> list[Effect]:
        """Whether what is shown here has all that was committed before. FAILED where this node is not DC."""
        leading = self.leading
        if leading is None:
            return [Answer(token, WriteOutcome(outcome=Outcome.FAILED, reason=DC_CHANGED))]
        answer = reads.at_once(leading, now, lease_end_ns=self.lease_end_ns, by_quorum=by_quorum)
        if answer is not None and (answer.outcome is Outcome.FAILED or not self._is_behind_shown()):
            state = self.log.committed
            if answer.outcome is Outcome.OK:
                answer = replace(answer, version=state.version, digest=state.digest)
            return [*self.settle(now), Answer(token, answer)]
        return [*leading.ask(token, None, now), *self.settle(now)]

    def _outcome(self, request_id: str) -> WriteOutcome | None:
        """None: nothing is known of it here, where it should be known."""
        index = self.log.find_request(request_id)
        leading = self.leading
        refused = self.log.find_request(refusal_of(request_id))
        if refused is not None and refused <= self.log.safe_commit_index:
            return WriteOutcome(outcome=Outcome.FAILED, reason="it was never written")
        if index is not None and index <= self.log.commit_index:
            if index <= self.log.base.index:
                return WriteOutcome(outcome=Outcome.OK)
            entry = self.log.entry(index)
            return WriteOutcome(
                outcome=Outcome.OK,
                reason="" if index <= self.log.safe_commit_index else PROVISIONAL,
                version=entry.version,
                digest=entry.digest_after,
            )
        if leading is None or not leading.established or not leading.basis.safe:
            return WriteOutcome(outcome=Outcome.UNKNOWN, reason="there is no DC with quorum that could know")
        if index is not None or leading.is_pending(request_id):
            return WriteOutcome(outcome=Outcome.UNKNOWN, reason="it is being written: ask again")
        return None

    def _answer_questions(self, leading: Leading, now: int) -> list[Effect]:
        answers: list[Effect] = []
        for question, is_dc in leading.questions.proven(self.log.commit_index, now):
            known = None
            if question.request_id is None:
                if is_dc and leading.basis in (Basis.MAJORITY, Basis.FENCED) and not self._is_behind_shown():
                    state = self.log.committed
                    known = WriteOutcome(outcome=Outcome.OK, version=state.version, digest=state.digest)
            else:
                known = self._outcome(question.request_id)
            answers.append(Answer(question.token, known or NO_PROOF))
        return answers

    # -- the follower's side

    def follow(self, message: Append, *, voter: bool, promised: Term) -> tuple[list[Effect], AppendReply]:
        """Take over entries. The caller has checked view, boot token and term; the reply is sent last."""
        assert self.leading is None
        self.followed_basis = Basis(message.basis) if message.basis else None
        self.followed_established, self.followed_acts = message.established, message.acts
        log = self.log
        if not message.aligned:
            return [], self._reply(message.term, promised, voter, stored=True, last_index=0)
        if log.chain_at(message.previous_index) != message.previous_chain:
            why = "snapshot" if message.previous_index == log.base.index else "mismatch"
            hint = self._hint(message.previous_index)
            return [], self._reply(message.term, promised, voter, stored=False, why=why, hint=hint)
        fresh = self._not_yet_here(message.entries)
        effects: list[Effect] = []
        if fresh and fresh[0].index <= log.last_index:
            after = fresh[0].index - 1
            if after < log.base.index:
                return [], self._reply(message.term, promised, voter, stored=False, why="snapshot")
            effects += self._cut(after)
        why = self._take_over(fresh, effects)
        if why:
            effects.append(Note("crm.entry_damaged", (("reason", why),)))
            if self._damages >= DAMAGES_MAX:
                effects.append(Die(f"twice in a row the DC's entries did not fit: {why}"))
            return effects, self._reply(message.term, promised, voter, stored=False, why="damaged")
        last = message.previous_index + len(message.entries)
        log.commit(min(message.commit_index, last), safe=self._is_safe())
        if fresh:
            effects.append(self._persist(fresh))
        effects += self._compact()
        return effects, self._reply(message.term, promised, voter, stored=True, last_index=last)

    def install(
        self, message: InstallSnapshot, *, voter: bool, promised: Term
    ) -> tuple[list[Effect], AppendReply]:
        """Take over the whole configuration."""
        assert self.leading is None
        snapshot = message.snapshot
        effects: list[Effect] = []
        if self.log.chain_at(snapshot.index) != snapshot.chain:
            effects += self._cut_for(snapshot)
            self.log = Log(snapshot, (), snapshot.index, keep_entries=self.settings.keep_entries)
            effects.append(PersistSnapshot(snapshot, (), snapshot.index, self._not_in_log()))
        else:
            self.log.commit(snapshot.index, safe=self._is_safe())
        self._damages = 0
        return effects, self._reply(message.term, promised, voter, stored=True, last_index=snapshot.index)

    def _is_safe(self) -> bool:
        """Whether the DC that is followed commits on a safe basis."""
        basis = self.followed_basis
        return self.followed_established and basis is not None and basis.safe

    def _not_yet_here(self, entries: tuple[LogEntry, ...]) -> list[LogEntry]:
        for at, entry in enumerate(entries):
            if self.log.chain_at(entry.index) != entry.chain:
                return list(entries[at:])
        return []

    def _take_over(self, fresh: list[LogEntry], effects: list[Effect]) -> str:
        """Append; what fits before a damaged entry is kept and persisted. Says what is damaged."""
        last_patch = max((entry.index for entry in fresh if entry.kind is Kind.PATCH), default=0)
        for at, entry in enumerate(fresh):
            try:
                self.log.append(entry, verify=entry.index == last_patch)
            except Damaged as damage:
                self._damages += 1
                if at:
                    effects.append(self._persist(fresh[:at]))
                return str(damage)
        if fresh:
            self._damages = 0
        return ""

    def _hint(self, previous_index: int) -> int:
        """The highest index at which the DC's log may agree with ours."""
        log = self.log
        if previous_index > log.last_index:
            return log.last_index
        if previous_index <= log.base.index:
            return log.base.index
        term = log.term_at(previous_index)
        index = previous_index
        while index > log.base.index and log.term_at(index) == term:
            index -= 1
        return index

    def _cut_for(self, snapshot: Snapshot) -> list[Effect]:
        """What a snapshot makes void; the log is replaced by it afterwards."""
        lost = self._not_in(snapshot)
        if not lost:
            return []
        committed, content = self.log.commit_index, self.log.head.content
        self.log.cut(lost[0].index - 1)
        return self._orphans(lost, committed, content, self.log.head.content)

    def _cut(self, after: int) -> list[Effect]:
        committed = self.log.commit_index
        chain = self.log.chain_at(after) or b""
        content = self.log.head.content
        lost = self.log.cut(after)
        return self._orphans(lost, committed, content, self.log.head.content, after=after, chain=chain)

    def _orphans(
        self,
        entries: tuple[LogEntry, ...],
        committed: int,
        content: Element,
        base: Element,
        *,
        after: int = 0,
        chain: bytes = b"",
    ) -> list[Effect]:
        """Save what is cut, unless it is only barriers or the empty first configuration."""
        patches = [e for e in entries if e.kind is Kind.PATCH and e.author != BOOTSTRAP]
        if not patches:
            return []
        answered = sum(1 for entry in patches if entry.index <= committed)
        return [SaveOrphans(after, chain, entries, answered, content, base)]

    def _not_in(self, snapshot: Snapshot) -> tuple[LogEntry, ...]:
        known = set(snapshot.requests)
        mine = self.log.after(self.log.base.index, bytes_max=1 << 62, count_max=1 << 31)
        return tuple(e for e in mine if e.request_id and (e.request_id, e.index) not in known)

    def _compact(self) -> list[Effect]:
        bound = self.log.compactable()
        if bound is None:
            return []
        return [PersistSnapshot(*self.log.compact(bound), self.log.commit_index, self._not_in_log())]

    def _persist(self, entries: list[LogEntry]) -> PersistEntries:
        log = self.log
        return PersistEntries(entries[0].index - 1, tuple(entries), log.commit_index, self._not_in_log())

    def _not_in_log(self) -> CibVersion:
        """The version that was shown, unless the next run of the daemon knows it by what is committed."""
        state, shown = self.log.committed, self._shown
        epochs = (state.version.admin_epoch, state.version.epoch) == (shown.admin_epoch, shown.epoch)
        known = state.version > shown or (epochs and state.digest == self._shown_digest)
        return NO_VERSION if known else shown

    def _reply(
        self,
        term: Term,
        promised: Term,
        voter: bool,
        *,
        stored: bool,
        last_index: int = 0,
        why: str = "",
        hint: int = 0,
    ) -> AppendReply:
        return AppendReply(
            term=term,
            stored=stored,
            promised=promised,
            last_index=last_index,
            hint=hint,
            voter=voter,
            rank=self.log.rank,
            why=why,
            version=self._shown if self._is_behind_shown() else NO_VERSION,
        )

    # -- what is shown

    def _is_behind_shown(self) -> bool:
        """Whether what is committed here now has a lower version than something else that was shown."""
        state = self.log.committed
        return (
            state.version <= self._shown and state.digest != self._shown_digest and self._shown_digest != ""
        )

    def settle(self, now: int) -> list[Effect]:
        """After each event: show what is newly committed, answer the writers that can be."""
        effects: list[Effect] = []
        state: State = self.log.committed
        if state.index and state.digest != self._shown_digest and not self._is_behind_shown():
            self._shown_digest = state.digest
            self._shown = max(self._shown, state.version)  # higher only after a start: Stored.shown
            effects.append(MarkCommitted(state.index))
            effects.append(Up(Committed(state.content, self._shown, state.author, state.digest)))
        elif state.digest == self._shown_digest:
            self._shown = max(self._shown, state.version)
        index, voters = self.log.voters_at(max(self.log.commit_index, self.log.base.index))
        if voters is not None and index != self._told_voters:
            self._told_voters = index
            effects.append(Up(VotersCommitted(voters, index)))
        if self.leading is not None:
            effects += self._answer_questions(self.leading, now)
        if len(self.waiters):
            linger_ns = self.settings.linger_ms * MS
            ready = self.leading.ready_index() if self.leading else 0
            free = self.leading is not None and self.leading.basis in _WITHOUT_LEASE
            lease_end_ns = 0 if free else self.lease_end_ns
            effects += self.waiters.resolve(
                self.log, now, ready=ready, lease_end_ns=lease_end_ns, linger_ns=linger_ns
            )
            if self.waiters.lingers():
                effects.append(SetTimer("linger", now + linger_ns))
        return effects
