"""Who is DC, and in which term: claims, ordered candidates, votes (cluster-protocol.md 8). Pure.

Knows nothing of entries: the log's rank comes through `LogFacts`. A new view ends every reign; a DC must win
again in it, in a new term.
"""

from __future__ import annotations

from typing import Final

from crm.cib.replication.basis import Basis
from crm.cib.replication.model import Promise
from crm.election.former import FormerDc
from crm.election.messages import Claim, ClaimReply, DcLost, DcLostReply, VoteReply, VoteRequest, in_order
from crm.election.model import (
    ElectionSettings,
    Following,
    LogFacts,
    Lost,
    PeersChanged,
    Phase,
    Result,
    Won,
)
from crm.election.quorum import NOBODY, agree, is_quorum, is_voter, other_voter, voters_of
from crm.election.witness import WitnessVote
from crm.replica.effects import Call, CancelTimer, Note, PersistPromise, Reply, SetTimer, WitnessSaid
from hacluster.vocabulary.ids import NO_TERM, NO_VIEW, Term
from hacluster.vocabulary.membership import Authority, MembershipView, QuorumConfig

MS: Final = 1_000_000
TIMERS: Final = ("claim", "election", "resend", "dc")


class Election:
    """One node's part in finding the DC. `promised` is what it must not forget."""

    def __init__(self, settings: ElectionSettings, facts: LogFacts, promise: Promise) -> None:
        self.settings = settings
        self._facts = facts
        self.promise = promise
        self.former = FormerDc(settings.me, settings.dc_timeout_ms * MS * 4 // 5)
        self.view = MembershipView()
        self.quorate = self._by_votes = False
        self.live: dict[int, int] = {}  # node -> instance of its ha-crm, in the order of ids; includes me
        self.phase = Phase.IDLE
        self.dc = NO_TERM  # of the DC that is followed or led
        self.eligible = True
        self.priority = 0
        self.dc_heard_ns = 0  # of the DC followed; else of the last, of the own reign or of the start
        self._out: list[Result] = []
        self._highest = promise.term
        self._deposed = NO_TERM
        self._excluded: int | None = None
        self._incumbent = False
        self._member_since = 0
        self._claims: dict[int, Claim] = {}
        self._votes: dict[int, VoteReply] = {}
        self._ballot, self._ballot_kind = NO_TERM, (False, False)  # for a caretaker, of a bootstrap
        self._granted = False
        self._dc_instance = 0
        self._lost: dict[int, int] = {}  # node -> when it said that the DC is silent
        self.witness = WitnessVote()

    @property
    def peers(self) -> tuple[int, ...]:
        """The other nodes of the view whose ha-crm is connected, in the order of ids."""
        return tuple(node for node in self.live if node != self.settings.me)

    @property
    def _quorum(self) -> QuorumConfig:
        """Who votes, as far as this node knows; whoever knows less is refused for its older log."""
        return self._facts.quorum

    @property
    def _other(self) -> int | None:
        return other_voter(self._quorum, self.settings.me)

    def boot_token_of(self, node_id: int) -> str:
        """As the view knows it; empty for a stranger."""
        member = self.view.member(node_id)
        return member.boot_token if member else ""

    def is_my_boot(self, token: str) -> bool:
        """Whether `token` names this boot (its first 16 digits may be all that others know)."""
        return len(token) >= 16 and self.settings.boot_token.startswith(token)

    # -- events

    def authority(self, authority: Authority, now: int) -> list[Result]:
        """A message of ha-messaging: a new view, or other daemons or quorum in the same one."""
        before, was = self.live, ((self.quorate, self._by_votes), self.witness.supports)
        self.quorate, self._by_votes = authority.quorate, authority.by_votes
        self.witness.supports = authority.witness
        view = authority.view
        self.live = {m.id: m.crm_instance for m in view.members if m.crm_instance or m.id == self.settings.me}
        if view.id != self.view.id:
            self._new_view(view, now)
        elif self.phase is not Phase.IDLE:
            self.view = view
            self._changed_within(before, was, now)
        return self._take()

    def claim(self, peer: int, claim: Claim, token: int | None, now: int) -> list[Result]:
        """A peer's claim, as a request or as the answer to ours."""
        self._note_term(claim.promised, claim.view == self.view.id, now)
        if token is not None:
            mine = self._my_claim() if claim.view == self.view.id and self.phase is not Phase.IDLE else None
            self._out.append(Reply(token, ClaimReply(claim=mine)))
        old = self._claims.get(peer)
        if old is None or claim.view >= old.view:
            self._claims[peer] = claim
        if claim.view == self.view.id:
            of_dc = self.phase is Phase.FOLLOWING and peer == self.dc.node_id
            if of_dc and claim.ends(self.dc):
                self._start_round(now, deposed=max(claim.deposed, self.dc))
            self._consider(now)
        return self._take()

    def vote_request(self, peer: int, request: VoteRequest, token: int, now: int) -> list[Result]:
        """Grant or refuse; a grant is on disk before it is said."""
        why = self._refusal(request, now)
        if not why:
            self._promise(request.term, voter=self.promise.voter or request.bootstrap)
            self._stop_timers()
            self.phase, self.dc, self._granted = Phase.WAITING, NO_TERM, True
            wait_ms = self.settings.election_timeout_ms + len(self.live) * self.settings.rank_step_ms
            self._set("election", now, wait_ms)
        else:
            self._out.append(Note("crm.vote_refused", (("peer", peer), ("reason", why))))
        mine, counts = self.promise.term, not why and self.promise.voter
        reply = VoteReply(
            term=request.term, granted=not why, counts=counts, promised=mine, rank=self._facts.rank
        )
        self._out.append(Reply(token, reply))
        return self._take()

    def vote_reply(self, peer: int, reply: VoteReply, now: int) -> list[Result]:
        """Count a vote; a refusal for a higher promise is a reason to ask once more above it."""
        self._highest = max(self._highest, reply.promised)
        if self.phase is Phase.ASKING and reply.term == self._ballot:
            self._votes[peer] = reply
            if reply.granted:
                self._try_win()
            elif reply.promised > self._ballot and reply.rank <= self._facts.rank:
                self._set("election", now, self.settings.resend_ms)
        elif self.phase is Phase.LEADING:
            self._note_term(reply.promised, True, now)
        return self._take()

    def dc_lost(self, peer: int, message: DcLost, token: int, now: int) -> list[Result]:
        """A peer misses the DC."""
        agree = False
        if message.view == self.view.id and self.phase is Phase.FOLLOWING and message.term == self.dc:
            self._lost[peer] = now
            if agree := self._misses_dc(now):
                self._lost[self.settings.me] = now
            self._depose_silent(now)
        self._out.append(Reply(token, DcLostReply(term=message.term, agree=agree)))
        return self._take()

    def dc_lost_reply(self, peer: int, reply: DcLostReply, now: int) -> list[Result]:
        """Another voice about the DC's silence."""
        if reply.agree and self.phase is Phase.FOLLOWING and reply.term == self.dc:
            self._lost[peer] = now
            self._depose_silent(now)
        return self._take()

    def dc_heard(self, term: Term, now: int) -> list[Result]:
        """The DC of `term` sent us something in this view. The caller has checked view and boot token."""
        assert term >= self.promise.term
        assert term.node_id != self.settings.me
        if term > self.promise.term:
            self._promise(term, voter=self.promise.voter)
        self.dc_heard_ns = now
        self._lost.clear()
        if self.phase is not Phase.FOLLOWING or self.dc != term:
            self._stop_leading(f"the DC of term {term} is here")
            self._stop_timers()
            self.phase, self.dc = Phase.FOLLOWING, term
            self._dc_instance = self.live.get(term.node_id, 0)
            self._out.append(Following(term))
        self._set("dc", now, self.settings.dc_timeout_ms)
        return self._take()

    def term_seen(self, term: Term, now: int) -> list[Result]:
        """A term in an authenticated message of this view: a DC below it stops being one at once (T2)."""
        self._note_term(term, True, now)
        return self._take()

    def restored(self) -> list[Result]:
        """All other voters have stored an entry of the DC's term: a lost memory can do no more harm."""
        if not self.promise.voter:
            self._promise(self.promise.term, voter=True)
            self._out.append(Note("crm.vote_restored"))
        return self._take()

    def reconsider(self, why: str, now: int) -> list[Result]:
        """Win again in a new term, as after a view change: what this reign stood on has changed."""
        if self.phase is Phase.LEADING:
            self._stop_leading(why)
            self._start_round(now, deposed=self.dc)
        return self._take()

    def stands(self, node: int) -> bool:
        """Whether that node of this view is a candidate, as it said itself in this round."""
        claim = self._current_claims().get(node)
        return claim is not None and claim.eligible and node != self._excluded

    def eligibility(self, eligible: bool, priority: int, now: int) -> list[Result]:
        """Whether this node may be DC; without a DC it counts at once, else at the next election."""
        changed = (eligible, priority) != (self.eligible, self.priority)
        self.eligible, self.priority = eligible, priority
        if changed and self.phase in (Phase.CLAIMING, Phase.WAITING):
            self._start_round(now, deposed=self._deposed)
        return self._take()

    def timer(self, key: str, now: int) -> list[Result]:
        """One of TIMERS fired."""
        match key:
            case "claim":
                self._consider(now, timeout=True)
            case "resend":
                self._resend(now)
            case "election":
                self._election_timeout(now)
            case "dc":
                self._dc_silent(now)
            case _:
                raise AssertionError(key)
        return self._take()

    # -- rounds

    def _new_view(self, view: MembershipView, now: int) -> None:
        self._incumbent = self.phase is Phase.LEADING
        was_member = self.view.member(self.settings.me) is not None
        if self.phase is Phase.FOLLOWING:
            self.former.obeyed(self.dc.node_id, self._dc_instance, self.dc_heard_ns)
        self._stop_leading("the view changed")
        self._stop_timers()
        self.view = view
        self._lost.clear()
        self._deposed, self._excluded, self.dc = NO_TERM, None, NO_TERM
        self.witness.new_view()
        if view.id == NO_VIEW or view.member(self.settings.me) is None:
            self.phase = Phase.IDLE
            return
        if not was_member or not self._member_since:
            self._member_since = view.id.counter
        self._start_round(now, deposed=NO_TERM)

    def _changed_within(self, before: dict[int, int], was: tuple[tuple[bool, bool], bool], now: int) -> None:
        quorate = ((self.quorate, self._by_votes), self.witness.supports)
        fresh = [node for node, instance in self.live.items() if before.get(node) != instance]
        if self.phase is Phase.FOLLOWING:
            if self.live.get(self.dc.node_id, 0) != self._dc_instance:
                if self._dc_instance == 0:  # the first append came before ha-messaging told us of the daemon
                    self._dc_instance = self.live.get(self.dc.node_id, 0)
                else:
                    self._start_round(now, deposed=self.dc)
            return
        if self.phase is Phase.LEADING:
            if not fresh and quorate == was and before == self.live:
                return
            if not self._agreed() and (fresh or quorate != was):
                self._stop_leading("the partition changed")
                self._start_round(now, deposed=self.dc)
            else:
                self._out.append(PeersChanged())
            return
        if fresh or quorate[0] != was[0] or before != self.live:
            self._start_round(now, deposed=self._deposed)
        elif self.witness.supports and not was[1]:
            if self.phase is Phase.ASKING:
                self._ask_witness()
            else:
                self._consider(now)

    def _agreed(self, *, gone: int | None = None) -> bool:
        """Whether the votes so far are a quorum by our log, with the witness's when it may count."""
        counted = {n for n, vote in self._votes.items() if vote.granted and vote.counts}
        blank = {n for n, vote in self._votes.items() if vote.granted and not vote.counts}
        witness = self.witness.helps(self._quorum, counted)
        return agree(self._quorum, self.settings.me, counted, blank=blank, gone=gone, witness=witness)

    def _start_round(self, now: int, *, deposed: Term, excluded: int | None = None) -> None:
        self._stop_timers()
        self.phase, self.dc = Phase.CLAIMING, NO_TERM
        self._deposed = max(deposed, self._deposed)
        self._excluded, self._granted = excluded, False
        self.witness.new_ballot()
        self._lost.clear()
        self._votes.clear()
        self._claims = {
            node: claim
            for node, claim in self._claims.items()
            if claim.view > self.view.id or (claim.view == self.view.id and claim.deposed >= self._deposed)
        }
        mine = self._claims[self.settings.me] = self._my_claim()
        self._out.extend(Call(peer, mine) for peer in self.peers)
        self._set("claim", now, self.settings.claim_timeout_ms)
        self._set("resend", now, self.settings.resend_ms)
        self._consider(now)

    def _my_claim(self) -> Claim:
        return Claim(
            node_id=self.settings.me,
            view=self.view.id,
            promised=self.promise.term,
            rank=self._facts.rank,
            eligible=self.eligible,
            voter=self.promise.voter,
            blank=self._is_new,
            incumbent=self._incumbent,
            dc_priority=self.priority,
            member_since=self._member_since,
            deposed=self._deposed,
            dc=self.dc if self.phase in (Phase.FOLLOWING, Phase.LEADING) else NO_TERM,
            version=self._facts.version,
        )

    def _current_claims(self) -> dict[int, Claim]:
        return {
            node: claim
            for node, claim in sorted(self._claims.items())
            if claim.view == self.view.id and node in self.live
        }

    def _resend(self, now: int) -> None:
        if self.phase not in (Phase.CLAIMING, Phase.WAITING, Phase.ASKING):
            return
        mine, known = self._my_claim(), self._current_claims()
        self._out.extend(Call(peer, mine) for peer in self.peers if peer not in known)
        self._set("resend", now, self.settings.resend_ms)

    def _consider(self, now: int, *, timeout: bool = False) -> None:
        claims = self._current_claims()
        if self.phase is Phase.CLAIMING:
            if not timeout and any(node not in claims for node in self.live):
                return
        elif self.phase is not Phase.WAITING or self._granted:
            return  # who granted somebody's vote in this round waits for the election timer
        others_dc = max((c.dc for c in claims.values()), default=NO_TERM)
        if others_dc > self._deposed and others_dc.node_id in self.live:
            if self.phase is Phase.CLAIMING:
                self.phase = Phase.WAITING
                self._set("election", now, self.settings.election_timeout_ms)
            return
        position, hangs = self._position(claims), self._hangs(claims)
        if position == 0 and not hangs and self._may_win(claims, now):
            self._ask(claims, now)
        elif self.phase is Phase.CLAIMING:
            self.phase = Phase.WAITING
            steps = len(self.live) if position is None else position + len(self.live) * hangs
            wait_ms = self.settings.election_timeout_ms + steps * self.settings.rank_step_ms
            self._set("election", now, wait_ms)

    @property
    def _is_new(self) -> bool:
        """Nothing was ever stored here, as far as the disk knows; maybe it voted in vain."""
        return self._facts.blank and not self.promise.lost

    def _all_voters_here(self) -> bool:
        """With their ha-crm: a node of which only ha-messaging runs may have a log."""
        return all(node in self.live for node in voters_of(self._quorum))

    def _bootstrap(self, claims: dict[int, Claim]) -> bool:
        """Whether this is a new cluster: all voters are here, and none has ever had a log.

        A majority is not enough: it may have lost its disks, and the rest have the configuration. One of two
        that is not to wait for the other (as in heartbeat) begins alone; what it commits is provisional.
        """
        if any(node not in claims for node in self.live):
            return False
        alone = self._is_lone_survivor() and not self._quorum.wait_for_all
        return (alone or self._all_voters_here()) and all(claim.blank for claim in claims.values())

    def _memory_lost(self, claims: dict[int, Claim]) -> bool:
        """Enough are here, but too few have a memory, nor is this a new cluster: only the operator can go on.

        A caretaker is found for that, which does nothing but wait for the decree.
        """
        if self._bootstrap(claims) or any(node not in claims for node in self.live):
            return False
        if self._is_lone_survivor():
            return not self.promise.voter
        enough = is_quorum(self._quorum, claims.keys(), witness=self.witness.supports)
        enough |= self.quorate and len(self.live) == len(self.view.members)  # but for a change in our log
        return enough and not self._reaches_quorum(claims)

    def _hangs(self, claims: dict[int, Claim]) -> bool:
        """A change of the voters needs others; who does not know of it may need nobody, and goes first."""
        able = is_quorum(self._quorum, claims.keys(), witness=self.witness.supports)
        older = any(claim.rank < self._facts.rank for claim in claims.values())
        return older and not able and self._memory_lost(claims)

    def _position(self, claims: dict[int, Claim]) -> int | None:
        """Our place among the candidates, best first; None when we are not one."""
        blank = self._bootstrap(claims) or not any(c.voter for c in claims.values())
        candidates = [
            c for n, c in claims.items() if c.eligible and (c.voter or blank) and n != self._excluded
        ]
        voters = [c for c in candidates if is_voter(self._quorum, c.node_id)]
        newest = max((c.rank for c in candidates), default=None)
        if any(c.rank == newest for c in voters) and self._reaches_quorum(claims):
            candidates = voters  # who has no vote need not be DC, but to hand on what no voter has
        ids = [claim.node_id for claim in in_order(candidates)]
        return ids.index(self.settings.me) if self.settings.me in ids else None

    def _may_win(self, claims: dict[int, Claim], now: int) -> bool:
        """Whether the claimers suffice, for a DC or (without quorum of the partition) for a caretaker."""
        if self.former.is_owed(claims, self.live, now):
            return False
        if self._reaches_quorum(claims) or self._is_lone_survivor():
            return True
        return not self.quorate or self._memory_lost(claims)

    def _reaches_quorum(self, claims: dict[int, Claim]) -> bool:
        if self._bootstrap(claims):
            return is_quorum(self._quorum, claims.keys(), witness=self.witness.supports)
        able = {node for node, claim in claims.items() if claim.voter}
        blank = claims.keys() - able if able else NOBODY
        me = self.settings.me
        two = self._other
        if two in able and me not in able:  # the other is the one that may win
            me = two
        witness = self.witness.may_help(self._quorum, able)
        return agree(self._quorum, me, able, blank=blank, witness=witness)

    def _is_lone_survivor(self) -> bool:
        """Of two voters, with the other gone; while they change, the new ones must be here besides."""
        other = self._other  # a view that is quorate by votes has not heard yet that there are but two
        if other is None or not self._quorum.two_node or not self.quorate or self._by_votes:
            return False
        here = {self.settings.me, *self.live}
        return self.view.member(other) is None and agree(self._quorum, self.settings.me, here, gone=other)

    # -- asking for votes

    def _ask(self, claims: dict[int, Claim], now: int) -> None:
        counters = [c.promised.counter for c in claims.values()]
        term = Term(max([self.promise.term.counter, self._highest.counter, *counters]) + 1, self.settings.me)
        bootstrap = self._bootstrap(claims)
        caretaker = not self._reaches_quorum(claims) and not self._is_lone_survivor()
        caretaker = caretaker or self._memory_lost(claims)
        self._promise(term, voter=self.promise.voter or (bootstrap and not caretaker))
        self._ballot, self._ballot_kind = term, (caretaker, bootstrap)
        own = VoteReply(
            term=term, granted=True, counts=self.promise.voter, promised=term, rank=self._facts.rank
        )
        self._votes = {self.settings.me: own}
        self.phase = Phase.ASKING
        self.witness.new_ballot()
        self._ask_witness()
        for peer in self.peers:
            request = VoteRequest(
                term=term,
                view=self.view.id,
                boot_token=self.boot_token_of(peer),
                rank=self._facts.rank,
                caretaker=caretaker,
                bootstrap=bootstrap and not caretaker,
                claimed=tuple(claims),
            )
            self._out.append(Call(peer, request))
        self._set("election", now, self.settings.election_timeout_ms)
        self._try_win()

    def _ask_witness(self) -> None:
        """For its vote; a caretaker needs none."""
        if not self._ballot_kind[0]:
            self._out.extend(self.witness.question(self._quorum, self._ballot))

    def witness_said(self, said: WitnessSaid, now: int) -> list[Result]:
        """The witness's answer to our candidacy; a refusal for a later term is a reason to ask above it."""
        self._note_term(said.term, True, now)
        if self.phase is Phase.ASKING and said.told.term == self._ballot:
            if said.in_sync is not None:
                self.witness.answered(said.in_sync)
                self._try_win()
            elif said.term > self._ballot:
                self._set("election", now, self.settings.resend_ms)
        return self._take()

    def _try_win(self) -> None:
        granted = frozenset(node for node, vote in self._votes.items() if vote.granted)
        caretaker, _ = self._ballot_kind
        if caretaker and self._memory_lost(self._current_claims()):
            if granted >= set(self._current_claims()):
                self._win(Basis.CARETAKER, granted)
        elif self._agreed():
            self._win(Basis.MAJORITY, granted)
        elif self._is_lone_survivor() and self.promise.voter and self._agreed(gone=self._other):
            waits = self._facts.fencing_enabled
            self._win(Basis.FENCED if waits else Basis.ASSUMED, granted, waits=waits)
        elif caretaker and not self.quorate and granted >= set(self._current_claims()):
            self._win(Basis.CARETAKER, granted)

    def _win(self, basis: Basis, granters: frozenset[int], *, waits: bool = False) -> None:
        self._stop_timers()
        self.phase, self.dc = Phase.LEADING, self._ballot
        self._out.append(
            Won(
                term=self._ballot,
                basis=basis,
                waits=waits,
                granters=granters,
                version=max([self._facts.version, *(c.version for c in self._current_claims().values())]),
            )
        )

    def _refusal(self, request: VoteRequest, now: int) -> str:
        """Why the vote is not granted; empty: it is."""
        if self.phase is Phase.IDLE or request.view != self.view.id:
            return "another view"
        if not self.is_my_boot(request.boot_token):
            return "meant for another boot of this node"
        if request.term <= self.promise.term:
            return f"promised {self.promise.term}"
        if request.rank < self._facts.rank:
            return "the candidate's log is older"
        if self.phase is Phase.LEADING or (self.phase is Phase.FOLLOWING and not self._misses_dc(now)):
            return f"there is a DC, term {self.dc}"
        said = (*self._current_claims(), *request.claimed, request.term.node_id)
        if self.former.is_owed(said, self.live, now):
            return "the DC of before has not said yet that it has seen this view"
        if request.bootstrap and not self._is_new:
            return "this node has a log"
        if request.bootstrap and not self._all_voters_here():
            return "voters are missing, who may have a log"
        return ""

    def _election_timeout(self, now: int) -> None:
        claims = self._current_claims()
        if self.phase is Phase.WAITING and self._position(claims) is not None and self._may_win(claims, now):
            self._ask(claims, now)
        elif self.phase in (Phase.WAITING, Phase.ASKING):
            self._start_round(now, deposed=self._deposed)

    # -- the DC's silence

    def _misses_dc(self, now: int) -> bool:
        return now - self.dc_heard_ns >= self.settings.dc_timeout_ms * MS * 4 // 5

    def _dc_silent(self, now: int) -> None:
        if self.phase is not Phase.FOLLOWING:
            return
        self._set("dc", now, self.settings.lost_window_ms)
        if self._other == self.dc.node_id and not self.witness.supports:
            return  # the other alone is no quorum of grants; the supervisor's restart is the remedy
        self._lost[self.settings.me] = now
        message = DcLost(view=self.view.id, term=self.dc)
        self._out.extend(Call(peer, message) for peer in self.peers if peer != self.dc.node_id)
        self._depose_silent(now)

    def _depose_silent(self, now: int) -> None:
        recent = {n for n, at in self._lost.items() if now - at <= self.settings.lost_window_ms * MS}
        if is_quorum(self._quorum, recent, witness=self.witness.supports) and self._misses_dc(now):
            self._out.append(Note("crm.dc_silent", (("term", str(self.dc)),)))
            self._start_round(now, deposed=self.dc, excluded=self.dc.node_id)

    # -- small things

    def _note_term(self, term: Term, same_view: bool, now: int) -> None:
        self._highest = max(self._highest, term)
        if same_view and self.phase is Phase.LEADING and term > self.dc:
            self._stop_leading(f"term {term} exists")
            self._start_round(now, deposed=self.dc)

    def _promise(self, term: Term, *, voter: bool) -> None:
        new = Promise(term=term, voter=voter, lost=self.promise.lost and not voter)
        if new != self.promise:
            assert term >= self.promise.term, "a promise never goes back"
            self.promise = new
            self._highest = max(self._highest, term)
            self._out.append(PersistPromise(new))

    def _stop_leading(self, why: str) -> None:
        if self.phase is Phase.LEADING:
            self._out.append(Lost(why))
            self._incumbent = True
            self.phase = Phase.WAITING

    def _set(self, key: str, now: int, after_ms: int) -> None:
        self._out.append(SetTimer(key, now + after_ms * MS))

    def _stop_timers(self) -> None:
        self._out.extend(CancelTimer(key) for key in TIMERS)

    def _take(self) -> list[Result]:
        self.check()
        out, self._out = self._out, []
        return out

    def check(self) -> None:
        """What must hold after every event."""
        assert self.phase is not Phase.LEADING or self.dc == self.promise.term, (self.dc, self.promise)
        assert self.phase is not Phase.FOLLOWING or self.dc == self.promise.term
        assert (self.phase is Phase.IDLE) == (self.view.member(self.settings.me) is None)
