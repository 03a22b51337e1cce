"""Election and log of one node put together: the replicated CIB without disk, network and clock. Pure.

One event in, a list of effects out, to be carried out in order (see `effects.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from crm.cib.model import Element
from crm.cib.replication.basis import Basis
from crm.cib.replication.core import NO_LEASE_NS, Replication, ReplicationSettings
from crm.cib.replication.counting import Reign
from crm.cib.replication.log import KEEP_ENTRIES
from crm.cib.replication.messages import Append, AppendReply, InstallSnapshot
from crm.cib.replication.model import LogRank, Promise, Stored
from crm.cib.replication.orphans import TELL_TIMER, TIMER, Merge
from crm.cib.replication.solo import SoloRight
from crm.cib.versions import CibVersion
from crm.election.core import Election
from crm.election.messages import Claim, ClaimReply, DcLost, DcLostReply, VoteReply, VoteRequest
from crm.election.model import ElectionSettings, Following, Lost, PeersChanged, Phase, Result, Won
from crm.election.quorum import is_voter, other_voter
from crm.replica.effects import (
    Answer,
    AuthorityChanged,
    CallFailed,
    Effect,
    EligibilityChanged,
    Event,
    FenceConfirmed,
    ForceQuorum,
    MarkSoloRight,
    Message,
    OrphansKept,
    OutcomeAsked,
    Persisted,
    Proposed,
    ReadAsked,
    Received,
    Reply,
    Started,
    TimerFired,
    Up,
    VotersChangeRequested,
    WitnessSaid,
    WritesRequested,
)
from crm.replica.events import (
    BecameDc,
    Corrupt,
    DcState,
    FollowsDc,
    Outcome,
    StoppedBeingDc,
    WriteOutcome,
)
from crm.replica.settings_in_cib import fencing_enabled, ignores_quorum
from hacluster.vocabulary.ids import NO_TERM, Term
from hacluster.vocabulary.membership import Authority, QuorumConfig


class _Facts:
    """What the election sees of the log."""

    def __init__(self, replication: Replication) -> None:
        self._replication = replication

    @property
    def rank(self) -> LogRank:
        """How new the log is."""
        return self._replication.log.rank

    @property
    def version(self) -> CibVersion:
        """The highest version shown."""
        return self._replication.version

    @property
    def blank(self) -> bool:
        """Nothing was ever stored."""
        return self._replication.log.blank

    @property
    def quorum(self) -> QuorumConfig:
        """Who votes."""
        return self._replication.quorum

    @property
    def fencing_enabled(self) -> bool:
        """By the newest configuration, or the first one to be made."""
        log = self._replication.log
        content = self._replication.settings.initial if log.blank else log.head.content
        return fencing_enabled(content)


class Replica:
    """One node's replicated CIB."""

    def __init__(
        self,
        election: ElectionSettings,
        stored: Stored,
        *,
        initial: Element,
        validate: Callable[[Element], str],
        keep_entries: int = KEEP_ENTRIES,
        solo_right: str = "",
    ) -> None:
        """Raises Damaged when what was stored does not fit together. `solo_right`: see MarkSoloRight."""
        self._corrupt = stored.corrupt
        self.replication = Replication(
            ReplicationSettings(
                me=election.me,
                quorum=election.quorum,
                initial=initial,
                validate=validate,
                ignores_quorum=ignores_quorum,
                keep_entries=keep_entries,
            ),
            stored,
        )
        self.election = Election(election, _Facts(self.replication), stored.promise)
        self._solo = SoloRight(solo_right)
        self._waiting = False  # wait_for_all holds this node
        self.merge = Merge(validate)
        self._announced: tuple[Term, bool, Basis] | None = None  # of our own reign

    @property
    def me(self) -> int:
        """This node's id."""
        return self.election.settings.me

    @property
    def quorum(self) -> QuorumConfig:
        """Who votes, as far as this node knows."""
        return self.replication.quorum

    @property
    def _other(self) -> int | None:
        return other_voter(self.quorum, self.me)

    @property
    def promise(self) -> Promise:
        """What must not be forgotten."""
        return self.election.promise

    @property
    def knows_dc(self) -> bool:
        """Whether `dc` names one."""
        return self.replication.leading is not None or self.election.phase is Phase.FOLLOWING

    @property
    def dc(self) -> DcState:
        """Who is DC as this node knows it."""
        leading = self.replication.leading
        if leading is not None:
            return DcState(
                term=leading.reign.term,
                dc_node_id=self.me,
                is_me=True,
                established=leading.established,
                basis=leading.basis,
                caretaker=leading.basis is Basis.CARETAKER,
                acts=leading.acts,
            )
        if self.election.phase is not Phase.FOLLOWING:
            return DcState(term=NO_TERM)
        basis = self.replication.followed_basis
        return DcState(
            term=self.election.dc,
            dc_node_id=self.election.dc.node_id,
            established=self.replication.followed_established,
            basis=basis,
            caretaker=basis is Basis.CARETAKER,
            acts=self.replication.followed_acts,
        )

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """Take one event; the effects are to be carried out in order."""
        if self.election.phase is Phase.LEADING or isinstance(event, Started):
            self.election.dc_heard_ns = now_ns
        effects = self._handle(event, now_ns)
        effects += self.replication.settle(now_ns)
        effects += self._after(now_ns)
        self.check()
        return effects

    def check(self) -> None:
        """What must hold after every event."""
        leading = self.replication.leading
        assert (leading is not None) == (self.election.phase is Phase.LEADING)
        if leading is not None:
            assert leading.reign.term == self.election.promise.term
            assert leading.reign.view == self.election.view.id

    def _handle(self, event: Event, now: int) -> list[Effect]:
        match event:
            case Started():
                self.election.former.started(self.promise.term, now)
                return [Up(Corrupt(self._corrupt))] if self._corrupt else []
            case AuthorityChanged(authority):
                lease_end_ns = authority.lease_end_ns if authority.quorate else NO_LEASE_NS
                self.replication.authority(lease_end_ns, acts=authority.quorate)
                self._waiting = authority.waiting
                leading = self.replication.leading
                if leading is not None and leading.basis is Basis.FORCED and not authority.by_votes:
                    # What `two_node` allows one of two adds nothing to a decree: its reign goes on.
                    self.election.quorate |= authority.quorate
                lost = self._look_for_other(authority)
                effects = [*lost, *self._apply(self.election.authority(authority, now), now)]
                leading = self.replication.leading
                if leading is not None and leading.witness.supports != authority.witness:
                    effects += leading.witness_supports(authority.witness, now)
                return effects
            case Received(peer, message, token):
                return self._received(peer, message, token, now)
            case CallFailed(peer, message):
                return self._failed(peer, message, now)
            case Persisted(index, chain):
                leading = self.replication.leading
                return [] if leading is None else leading.persisted(index, chain, now)
            case OrphansKept(report):
                return self.merge.add(report, now)
            case Proposed(request_id, outcome):
                return self.merge.proposed(request_id, outcome, now)
            case WitnessSaid():
                return self._witness_said(event, now)
            case TimerFired(key):
                return self._timer(key, now)
            case WritesRequested(requests):
                return self.replication.write(requests, now)
            case VotersChangeRequested():
                return self.replication.change_voters(event, now)
            case OutcomeAsked(token, request_id):
                return self.replication.outcome(token, request_id, now)
            case ReadAsked(token, by_quorum):
                return self.replication.read(token, now, by_quorum=by_quorum)
            case ForceQuorum(token, author):
                return self._force(token, author, now)
            case FenceConfirmed(node_id, boot_token):
                if node_id == self._other and self.election.view.member(node_id) is None:
                    self._solo.confirmed_off(boot_token)
                return []
            case EligibilityChanged(eligible, priority, gives_up):
                effects = self._apply(self.election.eligibility(eligible, priority, now), now)
                if gives_up:
                    effects += self._apply(self.election.reconsider("the DC is moved", now), now)
                return effects
            case _:
                assert_never(event)

    def _received(self, peer: int, message: Message, token: int | None, now: int) -> list[Effect]:
        election = self.election
        match message:
            case Claim():
                return self._apply(election.claim(peer, message, token, now), now)
            case ClaimReply(claim=claim):
                return [] if claim is None else self._apply(election.claim(peer, claim, None, now), now)
            case VoteRequest():
                assert token is not None
                return self._apply(election.vote_request(peer, message, token, now), now)
            case VoteReply():
                return self._apply(election.vote_reply(peer, message, now), now)
            case DcLost():
                assert token is not None
                return self._apply(election.dc_lost(peer, message, token, now), now)
            case DcLostReply():
                return self._apply(election.dc_lost_reply(peer, message, now), now)
            case Append() | InstallSnapshot():
                return self._appended(peer, message, token, now)
            case AppendReply():
                return self._append_reply(peer, message, now)
            case _:
                assert_never(message)

    def _appended(
        self, peer: int, message: Append | InstallSnapshot, token: int | None, now: int
    ) -> list[Effect]:
        """A DC speaks: obeyed when it is of this view, not below the promise, and means this boot."""
        election = self.election
        why = ""
        if election.phase is Phase.IDLE or message.view != election.view.id or message.term.node_id != peer:
            why = "view"
        elif not election.is_my_boot(message.boot_token):
            why = "boot"
        elif message.term < self.promise.term:
            why = "term"
        if why:
            refusal = AppendReply(
                term=message.term,
                stored=False,
                promised=self.promise.term,
                last_index=0,
                hint=0,
                voter=self.promise.voter,
                rank=self.replication.log.rank,
                why=why,
                instance=self.election.settings.instance,
            )
            return [] if token is None else [Reply(token, refusal)]
        effects = self._apply(election.dc_heard(message.term, now), now)
        if isinstance(message, Append) and message.restores == election.settings.instance:
            effects += self._apply(election.restored(), now)
        promise = self.promise
        if isinstance(message, Append):
            more, reply = self.replication.follow(message, voter=promise.voter, promised=promise.term)
        else:
            more, reply = self.replication.install(message, voter=promise.voter, promised=promise.term)
        effects += more
        if token is not None:
            effects.append(Reply(token, replace(reply, instance=election.settings.instance)))
        return effects

    def _append_reply(self, peer: int, reply: AppendReply, now: int) -> list[Effect]:
        leading = self.replication.leading
        if leading is None:
            return []
        if reply.promised > leading.reign.term and reply.why != "view":
            return self._apply(self.election.term_seen(reply.promised, now), now)
        return leading.replied(peer, reply, now)

    def _witness_said(self, said: WitnessSaid, now: int) -> list[Effect]:
        effects = self._apply(self.election.witness_said(said, now), now)
        leading = self.replication.leading
        if leading is not None and said.told.in_sync:
            effects += leading.witness_said(said, now)
        return effects

    def _failed(self, peer: int, message: Message, now: int) -> list[Effect]:
        leading = self.replication.leading
        if isinstance(message, Append | InstallSnapshot) and leading is not None:
            return leading.call_failed(peer, now) if message.term == leading.reign.term else []
        return []

    def _timer(self, key: str, now: int) -> list[Effect]:
        if key.startswith("write:"):
            return self.replication.expire(int(key.removeprefix("write:")), now)
        if key == TIMER:
            return self.merge.step(self.dc, self.replication.log, now)
        if key.startswith(f"{TELL_TIMER}:"):
            return self.merge.tell(key.removeprefix(f"{TELL_TIMER}:"))
        if key == "linger":
            return []  # `settle` looks again after every event
        if key in ("keepalive", "witness") or key.startswith("retry:"):
            leading = self.replication.leading
            return [] if leading is None else leading.timer(key, now)
        return self._apply(self.election.timer(key, now), now)

    def _force(self, token: int, author: str, now: int) -> list[Effect]:
        leading = self.replication.leading
        if leading is None:
            reason = "this node is not DC: ask at the DC, or try again when there is one"
            return [Answer(token, WriteOutcome(outcome=Outcome.FAILED, reason=reason))]
        return leading.force(token, author, now, waiting=self._waiting)

    def _apply(self, results: list[Result], now: int) -> list[Effect]:
        """Turn what the election found into what the log does, in order."""
        effects: list[Effect] = []
        for result in results:
            match result:
                case Won():
                    effects += self.replication.lead(self._reign(result), now)
                case Lost(why):
                    effects += self.replication.stop()
                    if self._announced is not None:
                        effects.append(Up(StoppedBeingDc(why)))
                    self._announced = None
                case Following(term):
                    effects.append(Up(FollowsDc(term.node_id, term)))
                case PeersChanged():
                    leading = self.replication.leading
                    assert leading is not None
                    effects += leading.peers_changed(self._peers(), now)
                case _:
                    effects.append(result)
        return effects

    def _reign(self, won: Won) -> Reign:
        return Reign(
            me=self.me,
            term=won.term,
            view=self.election.view.id,
            basis=won.basis,
            waits=won.waits,
            granters=won.granters,
            version=won.version,
            peers=self._peers(),
            witness=self.election.witness.supports,
        )

    def _peers(self) -> tuple[tuple[int, str, int], ...]:
        election = self.election
        return tuple((peer, election.boot_token_of(peer), election.live[peer]) for peer in election.peers)

    def _look_for_other(self, authority: Authority) -> list[Effect]:
        """With two voters: a view with another boot of the other takes the solo right away."""
        member = None if self._other is None else authority.view.member(self._other)
        if member is not None and self._solo.saw(member.boot_token):
            return [MarkSoloRight("")]
        return []

    def _learn_solo_right(self) -> list[Effect]:
        """An entry of this view's DC is committed by both voters, as far as this node knows."""
        dc, log = self.dc, self.replication.log
        index, voters = log.voters
        if self._other is None or (
            voters is not None and (voters.next is not None or index > log.commit_index)
        ):
            return self._lose_solo_right() if self._other is None else []
        if dc.basis is not Basis.MAJORITY or not dc.established:
            return []
        token = self.election.boot_token_of(self._other)
        if log.term_at(log.commit_index) == dc.term and self._solo.committed_with(token):
            return [MarkSoloRight(token)]
        return []

    def _should_hand_over(self) -> bool:
        """Whether this DC has no vote (any more), and a voter can go on where it ends."""
        leading, log = self.replication.leading, self.replication.log
        index, voters = log.voters
        if leading is None or voters is None or voters.next is not None or not leading.established:
            return False
        if is_voter(voters, self.me) or index > log.commit_index or leading.ready_index() < index:
            return False
        return any(self.election.stands(node) for node in leading.heirs())

    def _lose_solo_right(self) -> list[Effect]:
        """There are not two voters any more of which this node is one."""
        return [MarkSoloRight("")] if self._solo.drop() else []

    def _after(self, now: int) -> list[Effect]:
        """Announce our own reign, and again when it becomes established or its basis changes."""
        effects = self._learn_solo_right()
        leading = self.replication.leading
        if leading is None:
            return effects
        if leading.waits and self._solo.may_go_alone:
            effects += [*leading.go_alone(now), *self.replication.settle(now)]
        committed = self.replication.log.committed
        if leading.waits and committed.index and not fencing_enabled(committed.content):
            effects += [*leading.assume(now), *self.replication.settle(now)]
        if leading.basis is Basis.FORCED and leading.established and not self.promise.voter:
            effects += self._apply(
                self.election.restored(), now
            )  # by decree this is all there is to remember
        if self._should_hand_over():
            effects += self._apply(self.election.reconsider("this node is no voter", now), now)
            return effects
        state = (leading.reign.term, leading.established, leading.basis)
        caretaker = leading.basis is Basis.CARETAKER and not self.election.quorate
        speaks = leading.established or leading.waits or caretaker
        if speaks and state != self._announced:
            self._announced = state
            effects.append(
                Up(BecameDc(leading.reign.term, leading.reign.view, leading.basis, leading.established))
            )
        return effects
