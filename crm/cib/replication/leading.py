"""The DC's side of the log for one term: barrier, writes, replication, commit. Pure.

A new object for each term; it is thrown away when the node stops being DC.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from crm.cib.model import Element
from crm.cib.replication.basis import Basis
from crm.cib.replication.counting import Counting, Follower, Reign, new_follower
from crm.cib.replication.log import Log, is_refusal, refusal_of
from crm.cib.replication.messages import Append, AppendReply, InstallSnapshot
from crm.cib.replication.model import Kind, LogEntry, Snapshot
from crm.cib.replication.questions import Questions
from crm.cib.replication.refused import Refused
from crm.cib.replication.waiters import VOTERS_UNKNOWN, Waiters
from crm.cib.versions import CibVersion
from crm.election.quorum import has_witness, other_voter
from crm.replica.effects import (
    Answer,
    Call,
    CancelTimer,
    Effect,
    PersistEntries,
    PersistSnapshot,
    SetTimer,
    Tell,
    VotersChangeRequested,
    WitnessSaid,
    WriteRequested,
)
from crm.replica.events import Outcome, WriteOutcome
from hacluster.errors import HaError
from hacluster.vocabulary.membership import QuorumConfig

MS: Final = 1_000_000
KEEPALIVE_MS: Final = 500
RETRY_MS: Final = 50
RETRY_MS_MAX: Final = 500
PENDING_MAX: Final = 1_000
MISMATCHES_MAX: Final = 32
BOOTSTRAP: Final = "bootstrap"
NO_QUORUM: Final = "no quorum: nothing was changed"
NOT_FENCED: Final = (
    "the other node is not confirmed fenced: nothing was changed (--force writes all the same)"
)
DISK_LATE: Final = "this node's disk did not take it in time: nothing was changed"
DC_CHANGED: Final = "the DC changed before it was written"


class Leading(Counting):
    """One reign. `established`: the barrier (and in a new cluster the first configuration) is committed."""

    def __init__(
        self,
        reign: Reign,
        log: Log,
        waiters: Waiters,
        *,
        founding: QuorumConfig,
        validate: Callable[[Element], str],
        ignores_quorum: Callable[[Element], bool],
        initial: Element,
    ) -> None:
        super().__init__(reign, log, founding)
        self._waiters = waiters
        self._validate = validate
        self._ignores_quorum = ignores_quorum
        self._initial = initial
        self._change: VotersChangeRequested | None = None  # under way: asked for in this reign
        self.acts = False  # our ha-messaging lets us act in this view
        self._unsaved = False  # a Persist of our own entries is under way
        self._pending: deque[WriteRequested] = deque()
        self._refused = Refused(log)
        self.questions = Questions()
        self._out: list[Effect] = []
        self._now = 0

    # -- events

    def begin(self, now: int) -> list[Effect]:
        """Open the reign: a barrier where the basis allows it; followers hear of us at once."""
        self._now = now
        if self.basis is not Basis.CARETAKER and not self.waits:
            self._open(self.reign.version.configuration_changed())
        else:
            self._send_all(force=True)
        self._set("keepalive", KEEPALIVE_MS)
        return self._take()

    def assume(self, now: int) -> list[Effect]:
        """What the reign waited for is no longer needed (fencing was disabled): go on provisionally."""
        self._now = now
        self.basis, self.waits = Basis.ASSUMED, False
        self._open(self._log.head.version.configuration_changed())
        self._pump()
        return self._take()

    def go_alone(self, now: int) -> list[Effect]:
        """The other voter is confirmed fenced and we have the solo right: commit without it, safely."""
        self._now = now
        self.basis, self.waits = Basis.FENCED, False
        self._gone = other_voter(self.quorum, self.reign.me)
        self._open(self._log.head.version.configuration_changed())
        self._pump()
        return self._take()

    def force(self, token: int, author: str, now: int, *, waiting: bool = False) -> list[Effect]:
        """The operator's decree: go on with who is here. `waiting`: wait_for_all holds them all the same."""
        self._now = now
        if self.basis.safe and not self.waits and not waiting:
            answer = WriteOutcome(outcome=Outcome.FAILED, reason="this partition has quorum already")
            return [Answer(token, answer)]
        self.basis, self.waits, self.established = Basis.FORCED, False, False
        version = max(self.reign.version, self._log.head.version).forced()
        self._open(version, author=author)
        self._waiters.add(token, self._log.entry(self._barrier))
        self._pump()
        return self._take()

    def write(self, requests: tuple[WriteRequested, ...], now: int) -> list[Effect]:
        """Clients' writes: each answered at once when it cannot be, else when its entry is committed."""
        self._now = now
        for request in requests:
            self._take_up(request)
        self._pump()
        return self._take()

    def _take_up(self, request: WriteRequested) -> None:
        if self._is_repeated(request):
            self._set_at(f"write:{request.token}", request.deadline_ns)
        elif is_refusal(request.request_id):
            self._fail(request.token, "such a request id is the cluster's own: use another one")
        elif request.request_id in self._refused:
            self._fail(request.token, "this request was answered as failed before")
        elif self._is_held(request) and not self.waits:
            self._fail(request.token, NO_QUORUM, request.request_id)
        elif len(self._pending) >= PENDING_MAX:
            self._fail(request.token, f"more than {PENDING_MAX} writes wait already: try again later")
        else:
            self._pending.append(request)
            self._set_at(f"write:{request.token}", request.deadline_ns)

    def change_voters(self, request: VotersChangeRequested, now: int) -> list[Effect]:
        """Begin a joint change: the answer is OK when the new voters count alone."""
        self._now = now
        if self._is_repeated(request):
            self._set_at(f"write:{request.token}", request.deadline_ns)
            return self._take()
        wrong, config = self._changed(request.wanted)
        if config is None or self._unsaved or request.request_id in self._refused:
            self._fail(request.token, wrong or "the disk is busy: nothing was changed, try again")
            return self._take()
        self._change = request
        self._set_at(f"write:{request.token}", request.deadline_ns)
        self._store([self._new_voters(config, author=request.author, request_id=request.request_id)])
        return self._take()

    def ask(self, token: int, request_id: str | None, now: int) -> list[Effect]:
        """What became of a write that is not here, or a read. `questions` says when it may be answered."""
        self._now = now
        self.questions.ask(token, request_id, now)
        self._pump()
        return self._take()

    def is_pending(self, request_id: str) -> bool:
        """Whether a write with this id waits to be appended."""
        return any(request.request_id == request_id for request in self._pending)

    def expire(self, token: int, now: int) -> list[Effect]:
        """A writer's deadline: certainly not written when it was never appended."""
        self._now = now
        if self._change is not None and self._change.token == token:
            self._give_up_change("it is not over in time: look at the voters")
        for request in self._pending:
            if request.token == token:
                self._pending.remove(request)
                why = NOT_FENCED if self._is_held(request) else DISK_LATE
                self._fail(token, why, request.request_id)
                break
        return self._take()

    def persisted(self, index: int, chain: bytes, now: int) -> list[Effect]:
        """Our own entries up to `index` are on the disk."""
        self._now = now
        if self._log.chain_at(index) == chain:
            self._durable = max(self._durable, index)
        self._unsaved = self._durable < self._log.last_index
        self._advance_commit()
        self._end_change()
        self._nudge()
        self._pump()
        return self._take()

    def replied(self, peer: int, reply: AppendReply, now: int) -> list[Effect]:
        """A follower answered. A higher promise has been dealt with by the caller."""
        self._now = now
        follower = self.followers.get(peer)
        if follower is None or reply.term != self.reign.term or reply.instance != follower.instance:
            return []
        follower.in_flight = False
        follower.voter = reply.voter
        if reply.stored:
            follower.failures = follower.mismatches = 0
            follower.heard_ns = follower.asked_ns
            if reply.last_index <= self._log.last_index:
                follower.match = max(follower.match, reply.last_index)
                follower.next = max(follower.next, follower.match + 1)
            follower.matched = True
            self._lift(reply.version)
            self._advance_commit()
            self._nudge()
        elif reply.why == "mismatch":
            follower.mismatches += 1
            follower.next = reply.hint + 1
            follower.needs_snapshot = (
                follower.mismatches > MISMATCHES_MAX or not self._log.base.index <= reply.hint
            )
            follower.next = min(follower.next, self._log.last_index + 1)
        elif reply.why in ("snapshot", "damaged"):
            follower.needs_snapshot = True
        else:
            return self._failed(peer, follower)
        self._send(peer, follower)
        return self._take()

    def call_failed(self, peer: int, now: int) -> list[Effect]:
        """A follower did not answer."""
        self._now = now
        follower = self.followers.get(peer)
        return [] if follower is None else self._failed(peer, follower)

    def peers_changed(self, peers: tuple[tuple[int, str, int], ...], now: int) -> list[Effect]:
        """Other ha-crms of the view came or went, or began anew."""
        self._now = now
        old = self.followers
        self.followers = {
            node: old[node]
            if node in old and old[node].instance == instance
            else new_follower(token, instance, self._log)
            for node, token, instance in peers
        }
        self._send_all(force=True)
        self._tell_witness()
        return self._take()

    def witness_supports(self, supports: bool, now: int) -> list[Effect]:
        """Whether the witness's votes count in our view from now on."""
        self._now = now
        self.witness.supports = supports
        self._advance_commit()
        return self._take()

    def witness_said(self, said: WitnessSaid, now: int) -> list[Effect]:
        """Its answer to what we said, or none; a later term has been dealt with by the caller."""
        self._now = now
        if self.witness.said(said):
            self._advance_commit()
        else:
            self._set("witness", RETRY_MS_MAX)
        return self._take()

    def _tell_witness(self) -> None:
        """Who has everything, when that is another set than it knows."""
        if not self.witness.supports or not has_witness(self.quorum):
            return
        wanted = self._in_sync_wanted()
        told = self.witness.tell(wanted) if wanted is not None else None
        if told is not None:
            self._out.append(told)

    def timer(self, key: str, now: int) -> list[Effect]:
        """`keepalive`, `linger`, `witness` or `retry:<peer>`."""
        self._now = now
        if key == "witness":
            self._tell_witness()
        elif key == "keepalive":
            self._send_all(force=True)
            self._set("keepalive", KEEPALIVE_MS)
        elif key.startswith("retry:"):
            peer = int(key.removeprefix("retry:"))
            if peer in self.followers:
                self._send(peer, self.followers[peer], force=True)
        return self._take()

    def end(self) -> list[Effect]:
        """The reign is over. What was never appended is certainly not written."""
        for request in self._pending:
            self._fail(request.token, DC_CHANGED)
        self._pending.clear()
        if self._change is not None:
            self._give_up_change(VOTERS_UNKNOWN)
        timers = ["keepalive", "linger", "witness", *(f"retry:{peer}" for peer in self.followers)]
        self._out.extend(CancelTimer(key) for key in timers)
        return self._take()

    def ready_index(self) -> int:
        """The highest index that every follower in sync, and we, have stored."""
        synced = [f.match for f in self.followers.values() if f.matched and not f.failures]
        return min([self._durable, *synced])

    def _give_up_change(self, reason: str) -> None:
        """Its entry is in the log and may be committed yet."""
        assert self._change is not None
        token, self._change = self._change.token, None
        outcome = WriteOutcome(outcome=Outcome.UNKNOWN, reason=reason)
        self._out.extend((CancelTimer(f"write:{token}"), Answer(token, outcome)))

    # -- writing

    def _open(self, version: CibVersion, author: str = "") -> None:
        first = self._log.blank
        entries = [self._new(Kind.BARRIER, version, author=author)]
        if self._log.voters[1] is None:  # the founding ones become the log's own
            entries.append(self._new_voters(self._founding, author=BOOTSTRAP))
        if first:
            entries.append(
                self._new(
                    Kind.PATCH, version.configuration_changed(), author=BOOTSTRAP, content=self._initial
                )
            )
        self._barrier = entries[-1].index
        self._store(entries)

    def _may_write_unquorate(self, request: WriteRequested) -> bool:
        return request.force or self._ignores_quorum(self._log.head.content)

    def _is_held(self, request: WriteRequested) -> bool:
        """Whether it cannot be committed as things are.

        Without quorum its writer is told so at once. A fence may succeed in time: that is waited for.
        """
        return (self.waits or self.basis is Basis.CARETAKER) and not self._may_write_unquorate(request)

    def _pump(self) -> None:
        """Append what waits, unless a sync is under way: then the next one takes all (group commit).

        Writes first, then what questions wait for; neither keeps the other waiting.
        """
        if self._unsaved or not (self._pending or self.questions.want_an_entry):
            return
        entries = []
        waiting: deque[WriteRequested] = deque()
        for request in self._pending:
            if self._is_held(request):
                if self.waits:
                    waiting.append(request)
                else:  # no-quorum-policy was another one when it came
                    self._fail(request.token, NO_QUORUM, request.request_id)
            elif (entry := self._entry_for(request)) is not None:
                entries.append(entry)
                self._waiters.add(request.token, entry)
        self._pending = waiting
        if self.questions.want_an_entry:
            entries += self._proofs(already=bool(entries))
            self.questions.refusals_made(entries[-1].index)
        if entries:
            self._store(entries)

    def _is_repeated(self, request: WriteRequested | VotersChangeRequested) -> bool:
        """Whether this request has an entry already: then it is answered for that one."""
        known = self._log.find_request(request.request_id) if request.request_id else None
        if known is None:
            return False
        if known > self._log.base.index:
            self._waiters.add(request.token, self._log.entry(known))
        else:
            self._out.append(Answer(request.token, WriteOutcome(outcome=Outcome.OK)))
        return True

    def _entry_for(self, request: WriteRequested) -> LogEntry | None:
        """The write's entry; None when it was answered instead, or waits for the same request's entry."""
        head = self._log.head
        if self._is_repeated(request):
            return None
        if request.expected_digest and request.expected_digest != head.digest:
            self._fail(request.token, "the configuration was changed meanwhile: read it again")
            return None
        try:
            content = request.change if isinstance(request.change, Element) else request.change(head.content)
            wrong = self._validate(content)
            if not wrong:
                return self._new(
                    Kind.PATCH,
                    max(head.version, self.reign.version).configuration_changed(),
                    author=request.author,
                    request_id=request.request_id,
                    content=content,
                )
        except HaError as error:
            wrong = str(error)
        self._fail(request.token, wrong)
        return None

    def _new(
        self,
        kind: Kind,
        version: CibVersion,
        *,
        author: str = "",
        request_id: str = "",
        content: Element | None = None,
        voters: QuorumConfig | None = None,
    ) -> LogEntry:
        provisional = self.waits or self.basis is Basis.CARETAKER
        return self._log.append_new(
            term=self.reign.term,
            basis=Basis.UNQUORATE if provisional else self.basis,
            kind=kind,
            version=version,
            author=author,
            request_id=request_id,
            content=content,
            voters=voters,
        )

    def _new_voters(self, config: QuorumConfig, *, author: str, request_id: str = "") -> LogEntry:
        version = self._log.head.version
        return self._new(Kind.CONFIG, version, author=author, request_id=request_id, voters=config)

    def _store(self, entries: list[LogEntry]) -> None:
        """To the followers first, then to our own disk, in parallel as far as the disk allows."""
        self._send_all()
        self.questions.entry_made(entries[-1].index)
        after = entries[0].index - 1
        self._out.append(PersistEntries(after, tuple(entries), self._log.commit_index))
        self._unsaved = True

    def _proofs(self, *, already: bool) -> list[LogEntry]:
        """The entries that questions wait for: one that refuses each write that is not here, or any.

        `already`: there is one.
        """
        missing = [
            refusal_of(name)
            for name in self.questions.unsettled_requests
            if not (self._log.find_request(name) or self.is_pending(name) or self._refused.has_entry(name))
        ]
        version = self._log.head.version
        wanted = missing or (() if already else ("",))
        return [self._new(Kind.BARRIER, version, request_id=name) for name in wanted]

    def _lift(self, shown: CibVersion) -> None:
        """A follower has shown a higher version than ours: go above it, so that nobody sees one go back."""
        head = self._log.head.version
        above = (shown.admin_epoch, shown.epoch) >= (head.admin_epoch, head.epoch)
        if above and self._barrier and not self._unsaved:
            self._store([self._new(Kind.BARRIER, shown.configuration_changed())])

    # -- replicating

    def _writes(self) -> bool:
        """Whether followers must have our log: a caretaker that wrote nothing leaves theirs alone."""
        last = self._log.last_index
        return self._log.term_at(last) == self.reign.term

    def _send_all(self, *, force: bool = False) -> None:
        for peer, follower in self.followers.items():
            self._send(peer, follower, force=force)

    def _send(self, peer: int, follower: Follower, *, force: bool = False) -> None:
        """The next entries, if there are any or the commit index moved (or always, with `force`)."""
        if follower.in_flight or (follower.failures and not force):
            return
        if not self._writes():
            if force:
                self._call(peer, follower, self._append(follower, aligned=False))
            return
        log = self._log
        if follower.needs_snapshot or log.chain_at(follower.next - 1) is None:
            follower.needs_snapshot = False
            snapshot = log.snapshot(log.safe_commit_index if self.basis.safe else log.commit_index)
            follower.next = snapshot.index + 1
            self._call(peer, follower, self._install(follower, snapshot))
        elif force or follower.next <= log.last_index or self._restores(peer):
            self._call(
                peer, follower, self._append(follower, restores=follower.instance * self._restores(peer))
            )
        elif follower.matched and follower.sent_commit < log.commit_index:
            # The next entries need not wait for an answer; if it gets lost, they or a keepalive say it again.
            self._out.append(Tell(peer, self._append(follower)))

    def _call(self, peer: int, follower: Follower, message: Append | InstallSnapshot) -> None:
        follower.in_flight, follower.asked_ns = True, self._now
        self._out.append(Call(peer, message))

    def _append(self, follower: Follower, *, aligned: bool = True, restores: int = 0) -> Append:
        previous = follower.next - 1
        entries = tuple(self._log.after(previous)) if aligned else ()
        if aligned:
            follower.sent_commit = self._log.commit_index
        return Append(
            term=self.reign.term,
            view=self.reign.view,
            boot_token=follower.boot_token,
            previous_index=previous if aligned else 0,
            previous_chain=(self._log.chain_at(previous) or b"") if aligned else b"",
            entries=entries,
            commit_index=self._log.commit_index if aligned else 0,
            established=self.established,
            restores=restores,
            aligned=aligned,
            basis=self.basis.value,
            acts=self.acts,
        )

    def _install(self, follower: Follower, snapshot: Snapshot) -> InstallSnapshot:
        return InstallSnapshot(
            term=self.reign.term,
            view=self.reign.view,
            boot_token=follower.boot_token,
            snapshot=snapshot,
            established=self.established,
        )

    def _failed(self, peer: int, follower: Follower) -> list[Effect]:
        follower.in_flight = False
        wait_ms = min(RETRY_MS << min(follower.failures, 8), RETRY_MS_MAX)
        follower.failures += 1
        self._set(f"retry:{peer}", wait_ms)
        self._tell_witness()
        return self._take()

    def _nudge(self) -> None:
        """Make the entry that `_restores` needs, when nobody writes."""
        last = self._log.last_index
        if self._unsaved or self.basis is Basis.CARETAKER or not self.established:
            return
        if any(
            not follower.voter and follower.matched and follower.since >= last
            for follower in self.followers.values()
        ):
            self._store([self._new(Kind.BARRIER, self._log.head.version)])

    # -- committing

    def _advance_commit(self) -> None:
        self._tell_witness()
        log = self._log
        for index in range(log.last_index, log.commit_index, -1):
            if log.term_at(index) != self.reign.term:
                break  # entries of older terms are committed only under one of this term
            if self._is_committed(index):
                log.commit(index, safe=log.entry(index).basis.safe)
                self._committed()
                break

    def _committed(self) -> None:
        was_established = self.established
        if self._barrier and self._log.commit_index >= self._barrier:
            self.established = True
        log = self._log
        bound = log.compactable()
        if bound is not None:
            self._out.append(PersistSnapshot(*log.compact(bound), log.commit_index))
        self._end_change()
        self._send_all(force=self.established and not was_established)  # that must not get lost

    def _end_change(self) -> None:
        """Both halves have the change: from now on the new voters alone, whoever began it."""
        index, config = self._log.voters
        next_ = config.next if config is not None else None
        if next_ is None or index > self._log.commit_index or self._unsaved or not self.established:
            return
        entry = self._new_voters(
            next_, author=self._log.entry(index).author if index > self._log.base.index else ""
        )
        if self._change is not None:
            self._waiters.add(self._change.token, entry, began=self._change.request_id)
            self._change = None
        self._store([entry])

    # -- small things

    def _fail(self, token: int, reason: str, refused: str = "") -> None:
        """`refused`: the request id that must not succeed any more."""
        self._refused.add(refused)
        outcome = WriteOutcome(outcome=Outcome.FAILED, reason=reason)
        self._out.extend((CancelTimer(f"write:{token}"), Answer(token, outcome)))

    def _set(self, key: str, after_ms: int) -> None:
        self._set_at(key, self._now + after_ms * MS)

    def _set_at(self, key: str, at_ns: int) -> None:
        self._out.append(SetTimer(key, at_ns))

    def _take(self) -> list[Effect]:
        out, self._out = self._out, []
        return out
