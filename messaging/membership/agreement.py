"""Agreeing on views: choose, propose, accept with the disk, install (cluster-protocol.md, 6).

The coordinator of a set of nodes is its lowest id among those that are in a view already, else its lowest
id; every node reckons it for itself from the same matrix. V1 rests on accepting before answering with what
the disk has promised, V2 on one coordinator's never proposing two views under one id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from hacluster.vocabulary.ids import NO_VIEW, ViewId
from messaging import log_events
from messaging.membership.candidates import MS, Candidates
from messaging.membership.detector import Detector, Peer
from messaging.membership.events import (
    Accept,
    CommittedQuorum,
    Config,
    Durable,
    Effect,
    Install,
    Installed,
    InstalledView,
    Message,
    Note,
    Persist,
    Probe,
    Propose,
    RaiseIncarnation,
    Refuse,
    Start,
    ViewMember,
)
from messaging.membership.rng import Rng
from messaging.membership.rounds import RESEND_NS, Round, Strikes, all_accepted
from messaging.membership.runs import Run, RunTable
from messaging.membership.support import SupportGiven
from messaging.packet import State

INSTALL_SENDS_MAX: Final = 40
RETRY_NS: Final = 20 * MS
BACKOFF_DOUBLINGS_MAX: Final = 4


class Agreement:
    """The view of this node and the way to the next. `send(node, message)` is given by the core."""

    def __init__(
        self,
        config: Config,
        start: Start,
        rng: Rng,
        detector: Detector,
        send: Callable[[int, Message], None],
        now_ns: int,
    ) -> None:
        self.config, self.start, self._rng, self._detector, self._send = config, start, rng, detector, send
        durable = start.durable
        self._committed = durable.quorum
        self.promised = durable.promised
        self.runs = RunTable(durable.runs, forgetful=durable.forgetful, fresh=durable.promised == 0)
        self._said: Install
        detector.highest_counter = durable.promised
        self.candidates = Candidates(
            config, start, detector, durable.quorum or CommittedQuorum(config=config.quorum)
        )
        self.authority_from_ns = now_ns
        self.state = State.JOINING
        self.pending: Propose | None = None
        self.effects: list[Effect] = []  # these follow a persist, so they come last in a list
        self.notes: list[Note] = []
        self._pending_token = 0
        self._pending_kept = False
        self._pending_since_ns = 0
        self._last_view = durable.view
        self._token = 0
        self._round: Round | None = None
        self._strikes = Strikes()
        self._attempts = 0
        self._next_try_ns = now_ns
        self._due: tuple[object, int] | None = None
        self._aside_since_ns: int | None = None
        self._eliminated_since_ns: int | None = None
        self._ask_install_ns = 0
        self._refused = NO_VIEW
        self._installed_ns = now_ns
        same_boot = durable.boot_token == start.boot_token
        wait_ns = 2 * detector.deadtime.ns if same_boot else config.initdead_ns
        self._first_at_ns = now_ns + wait_ns
        self._support = SupportGiven(config, detector, durable.view, now_ns)

    # What others ask.

    @property
    def installed(self) -> InstalledView | None:
        """The view that this node is in, or None."""
        return self.candidates.view

    @property
    def forgetful(self) -> tuple[int, ...]:
        """Members of the view whose disk was lost."""
        return self._said.forgetful if self.installed is not None else ()

    @property
    def quorum(self) -> CommittedQuorum:
        """The newest committed quorum configuration that we know."""
        return self.candidates.quorum

    @property
    def tag(self) -> ViewId:
        """The view that our heartbeats carry: none once a later one is promised."""
        return self.installed.id if self.installed is not None and self.pending is None else NO_VIEW

    @property
    def last_token(self) -> int:
        """The token of the persist ordered last."""
        return self._token

    def wake_ns(self) -> int | None:
        """When `evaluate` has something to do that no event announces."""
        return self.candidates.wake_ns

    def _stale_ns(self) -> int:
        return self.candidates.settle_ns() + self._detector.propose_timeout_ns()

    # Persisting.

    def _persist(self, view: InstalledView | None = None) -> int:
        """Order the disk to remember; effects added to `self.effects` afterwards wait for it."""
        self._token += 1
        if view is not None:
            self._last_view = view
        durable = Durable(
            promised=self.promised,
            view=self._last_view,
            boot_token=self.start.boot_token,
            quorum=self._committed,
            told_deadtime_ns=self._detector.deadtime.storing(self._token),
            bars=self.candidates.bars.words,
            runs=self.runs.kept(self.pending),
            forgetful=self.runs.forgetful,
        )
        self.effects.append(Persist(durable, self._token))
        return self._token

    def store(self) -> None:
        """Let the disk remember how we are: others rest on something new."""
        self._persist()

    def forget(self, highest: int) -> None:
        """Others have seen a run of ours that our disk does not know: it was lost."""
        self.runs.forgetful = True
        self._persist()
        self.effects.append(RaiseIncarnation(highest))

    def remember(self) -> None:
        """The present view has told us all that our lost disk may have known."""
        self.runs.forgetful = False
        self._persist()

    def learn(self, runs: Iterable[Run]) -> None:
        """What another knows of configured nodes; the disk has it with the next write."""
        configured = {node.id for node in self.config.nodes}
        self.runs.learn(run for run in runs if run.node in configured)

    def persisted(self, token: int, now_ns: int) -> None:
        """The disk has what we ordered under `token`."""
        self._detector.deadtime.stored(token)
        if self._pending_token == token and self.pending is not None:
            self._pending_kept = True
        if self._round is not None and self._round.token == token:
            self._round.promised = True
            self._maybe_install(self._round, now_ns)

    def disk_failed(self, errno: int, now_ns: int) -> None:
        """Our promises are worth nothing from now on: stay out of all views until restarted."""
        self.notes.append(Note("error", log_events.DISK_FAILED, (("errno", errno),)))
        self.withdraw(State.REFUSING, now_ns)

    def withdraw(self, state: State, now_ns: int) -> None:
        """LEAVING or REFUSING: out of all views until restarted."""
        self._forget_view(now_ns)
        self.state = state
        self._round = None
        self.pending = None

    def set_quorum(self, quorum: CommittedQuorum) -> bool:
        """Adopt a committed configuration; False when it is older than ours."""
        if self._committed is not None and quorum.log_index < self._committed.log_index:
            return False
        self._committed = self.candidates.quorum = quorum
        self._persist()
        return True

    def _adopt_quorum(self, quorum: CommittedQuorum) -> None:
        if quorum.log_index > self.quorum.log_index:
            self._committed = self.candidates.quorum = quorum

    # Choosing.

    def evaluate(self, now_ns: int) -> None:
        """Look at who is here, and propose a view when that is ours to do."""
        self.candidates.begin_look(now_ns)
        if self.state in (State.LEAVING, State.REFUSING):
            return
        chosen = self.candidates.chosen(now_ns)
        self._check_eliminated(now_ns)
        if self._round is not None:
            self._drive(self._round, chosen, now_ns)
        if self._round is None or self._round.install is not None:
            self._decide(chosen, now_ns)

    def _decide(self, chosen: tuple[int, ...], now_ns: int) -> None:
        target = self._target(chosen, now_ns)
        if target is None:
            self._due = None
            return
        members, wait_ns, key = target
        if self._due is None or self._due[0] != key:
            self._due = (key, now_ns)
        at_ns = max(self._due[1] + wait_ns, self._next_try_ns)
        if now_ns < at_ns:
            self.candidates.wake_at(at_ns)
            return
        self._propose(members, now_ns)

    def _target(self, chosen: tuple[int, ...], now_ns: int) -> tuple[tuple[int, ...], int, object] | None:
        """The set we should propose, how long to wait with it, and what names the cause; None if none."""
        own = self.config.node_id
        if own not in chosen or self.candidates.barred(chosen, now_ns):
            return None
        if self.installed is None:
            return self._first(chosen, now_ns)
        ready = tuple(node for node in chosen if self.candidates.is_ready(node, now_ns))
        cause = self._cause(ready, now_ns)
        if cause is not None and min(ready, key=self.candidates.rank) == own:
            self._aside_since_ns = None
            return (ready, *cause)
        # Another should propose the whole. Until it does, what was ours must not keep its dead.
        stay = tuple(node for node in ready if self.installed.member(node) is not None)
        cause = self._cause(stay, now_ns)
        if cause is None or min(stay, key=self.candidates.rank) != own:
            self._aside_since_ns = None
            return None
        if self._aside_since_ns is None:
            self._aside_since_ns = now_ns
        patience_ns = self._aside_since_ns + self.candidates.merge_hold_ns() + self._stale_ns()
        if now_ns < patience_ns:
            self.candidates.wake_at(patience_ns)
            return None
        return (stay, *cause)

    def _first(self, chosen: tuple[int, ...], now_ns: int) -> tuple[tuple[int, ...], int, object] | None:
        """The first view: when all are here, or at initdead; never when a view exists or we lost our disk."""
        if not self.start.durable.trusted or min(chosen, key=self.candidates.rank) != self.config.node_id:
            return None
        if len(chosen) < len(self.config.nodes) and now_ns < self._first_at_ns:
            self.candidates.wake_at(self._first_at_ns)
            return None
        return (chosen, 0, ("first", chosen))

    def _cause(self, target: tuple[int, ...], now_ns: int) -> tuple[int, object] | None:
        """Why `target` should replace the installed view, and how long to wait; None: no reason."""
        installed = self.installed
        assert installed is not None
        incarnations = tuple((node, self.candidates.incarnation(node)) for node in target)
        removed = tuple(member.id for member in installed.members if member.id not in target)
        if removed:
            if self.candidates.must_wait(removed, now_ns):
                return None
            wait_ns = 0 if self.candidates.all_agree(target, removed) else self.candidates.settle_ns()
            return wait_ns, ("remove", incarnations)
        if incarnations != tuple((member.id, member.incarnation) for member in installed.members):
            return 0, ("add", incarnations)
        since = self.candidates.untagged_since(target, self._installed_ns)
        if self.pending is not None:
            since.append(self._pending_since_ns)
        since_ns = min(since, default=None)
        if since_ns is None:
            return None
        if now_ns < since_ns + self._stale_ns():
            self.candidates.wake_at(since_ns + self._stale_ns())
            return None
        return 0, ("untagged", incarnations)

    def _check_eliminated(self, now_ns: int) -> None:
        """Those whom we hear are in later views without us: our view is history (6.6)."""
        installed = self.installed
        if installed is None or self.pending is not None:
            self._eliminated_since_ns = None
            return
        if not self.candidates.left_behind(installed):
            self._eliminated_since_ns = None
            return
        if self._eliminated_since_ns is None:
            self._eliminated_since_ns = now_ns
        at_ns = self._eliminated_since_ns + self._detector.deadtime.ns
        if now_ns < at_ns:
            self.candidates.wake_at(at_ns)
            return
        self.notes.append(Note("warning", log_events.ELIMINATED, (("view", str(installed.id)),)))
        self._forget_view(now_ns)
        self._first_at_ns = now_ns + 2 * self._detector.deadtime.ns

    def _forget_view(self, now_ns: int) -> None:
        """Be in no view; those we supported may count on it for a while yet."""
        if self.installed is not None:
            self._support.bequeath(self.installed, without=(), now_ns=now_ns)
        self.candidates.view = None
        self.state = State.JOINING
        self._eliminated_since_ns = None
        self._detector.changed = self._detector.urgent = True

    # The coordinator's side.

    def _propose(self, target: tuple[int, ...], now_ns: int) -> None:
        detector = self._detector
        counter = max(detector.highest_counter, self.promised) + 1
        detector.highest_counter = counter
        own = self.config.node_id
        propose = Propose(id=ViewId(counter, own), members=self.candidates.members(target))
        view = None
        if target == (own,):  # alone: the promise and the view are one write
            us = ViewMember(id=own, incarnation=self.start.incarnation, boot_token=self.start.boot_token)
            view = InstalledView(id=propose.id, members=(us,))
        self._promise(propose, now_ns, view)
        self._round = Round(
            propose=propose, started_ns=now_ns, token=self._token, next_send_ns=now_ns + RESEND_NS
        )
        self.candidates.wake_at(now_ns + RESEND_NS)
        self._attempts += 1
        fields = (("view", str(propose.id)), ("members", " ".join(map(str, target))))
        self.notes.append(Note("info", log_events.PROPOSED, fields))
        self._to_others(propose.members, propose)

    def _promise(self, propose: Propose, now_ns: int, view: InstalledView | None = None) -> None:
        """Let the disk promise the view; what is sent from now on in this step waits for that."""
        self.promised = propose.id.counter
        self.runs.give_up(self.pending, propose, self.config.node_id)
        self.pending, self._pending_kept, self._pending_since_ns = propose, False, now_ns
        self._pending_token = self._persist(view)
        self._detector.urgent = True

    def _to_others(self, members: tuple[ViewMember, ...], message: Message) -> None:
        for member in members:
            if member.id != self.config.node_id:
                self._send(member.id, message)

    def _own_accept(self, propose: Propose, now_ns: int) -> Accept:
        self.runs.learn(self._detector.left())
        return Accept(
            id=propose.id,
            incarnation=self.start.incarnation,
            boot_token=self.start.boot_token,
            installed=self.installed.id if self.installed is not None else NO_VIEW,
            lease_rest_ns=self._lease_rest_ns(propose, now_ns),
            quorum=self.quorum,
            runs=self.runs.all,
            forgetful=self.runs.forgetful,
            fresh=self.runs.fresh,
        )

    def _lease_rest_ns(self, propose: Propose, now_ns: int) -> int:
        proposed = tuple(member.id for member in propose.members)
        rest_ns = self._support.rest_ns(self.installed, proposed, now_ns)
        return max(0, self.authority_from_ns - now_ns, rest_ns)

    def _drive(self, round_: Round, chosen: tuple[int, ...], now_ns: int) -> None:
        """Repeat what was not answered; give up when it cannot succeed."""
        propose = round_.propose
        for member in propose.members:
            if member.id not in chosen or self.candidates.incarnation(member.id) != member.incarnation:
                if round_.install is None:
                    self._abandon("a member is gone", now_ns)
                else:
                    self._round = None
                return
        timeout_ns = round_.started_ns + self._detector.propose_timeout_ns()
        if round_.install is None and now_ns >= timeout_ns and round_.promised:
            self._strike(round_, now_ns)
            return
        if now_ns >= round_.next_send_ns:
            round_.next_send_ns = now_ns + RESEND_NS
            round_.sends += 1
            if round_.promised:
                self._resend(round_)
        if self._round is not None:
            self.candidates.wake_at(round_.next_send_ns)
            if round_.install is None and round_.promised:
                self.candidates.wake_at(timeout_ns)

    def _resend(self, round_: Round) -> None:
        message: Message = round_.install or round_.propose
        waiting = round_.waiting(self.config.node_id)
        if round_.install is not None and (not waiting or round_.sends > INSTALL_SENDS_MAX):
            self._round = None
        self._to_others(waiting, message)

    def _strike(self, round_: Round, now_ns: int) -> None:
        """Who did not answer in time, twice, is left out for a while."""
        for member in round_.waiting(self.config.node_id):
            if self._strikes.struck(edge := (self.config.node_id, member.id)):
                self.candidates.cut(*edge, now_ns, self._strikes.doublings(edge, member.incarnation))
        self._abandon("no answer", now_ns)

    def _abandon(self, why: str, now_ns: int, wait_ns: int = 0) -> None:
        assert self._round is not None
        fields = (("view", str(self._round.propose.id)), ("reason", why))
        self.notes.append(Note("info", log_events.ABANDONED, fields))
        self._round = None
        random_ns = int(self._rng.random() * RESEND_NS) if self._attempts >= 2 else 0
        self._next_try_ns = now_ns + wait_ns + random_ns
        self.candidates.wake_at(self._next_try_ns)
        self._detector.changed = True

    def accepted(self, sender: int, accept: Accept, now_ns: int) -> None:
        """A member's disk has promised our view."""
        round_ = self._round
        if round_ is None or round_.propose.id != accept.id or round_.install is not None:
            return
        if not any(m.id == sender and m.incarnation == accept.incarnation for m in round_.propose.members):
            return
        self._strikes.forgive((self.config.node_id, sender))
        round_.accepts[sender] = accept
        self._maybe_install(round_, now_ns)

    def _maybe_install(self, round_: Round, now_ns: int) -> None:
        members = round_.propose.members
        if round_.install is not None or not round_.promised or len(round_.accepts) < len(members) - 1:
            return
        own = self._own_accept(round_.propose, now_ns)
        accepts: dict[int, Accept] = {**round_.accepts, self.config.node_id: own}
        for accept in accepts.values():
            self._adopt_quorum(accept.quorum)
            self.learn(accept.runs)
        round_.install = all_accepted(round_.propose, accepts, self.quorum, self.runs.all)
        round_.next_send_ns, round_.sends = now_ns + RESEND_NS, 0
        self._to_others(members, round_.install)
        self._install(round_.install, now_ns)
        if len(members) == 1:
            self._round = None

    def refused(self, sender: int, refuse: Refuse, now_ns: int) -> None:
        """A member will not, for a reason that tells us what to try next."""
        self._detector.highest_counter = max(self._detector.highest_counter, refuse.promised)
        round_ = self._round
        if round_ is None or round_.propose.id != refuse.id or round_.install is not None:
            return
        if refuse.promised >= refuse.id.counter:
            self._abandon("a later view is promised", now_ns)
            return
        missing = round_.missing(sender, refuse)
        if not missing:
            wait_ns = self.candidates.settle_ns() << min(self._attempts, BACKOFF_DOUBLINGS_MAX)
            self._abandon("another is to propose", now_ns, wait_ns=wait_ns)
            return
        # A daemon that has just come back hears us before it hears all: the first time, only wait.
        for node in missing:
            if self._strikes.struck((sender, node)):
                self.candidates.cut(sender, node, now_ns)
        self._abandon("members do not hear each other", now_ns, wait_ns=RETRY_NS)

    def has_installed(self, sender: int, installed: Installed) -> None:
        """A member needs no more INSTALL."""
        round_ = self._round
        if round_ is not None and round_.install is not None and round_.propose.id == installed.id:
            round_.installed.add(sender)

    def probed(self, sender: int, probe: Probe) -> None:
        """A member that accepted our view has not got INSTALL yet."""
        view = self.installed
        if view is None or probe.want_install != view.id or view.id.coordinator != self.config.node_id:
            return
        if view.member(sender) is not None:
            # The hold has at most run down since: repeating the whole of it errs on the safe side.
            hold_ns = max(0, self.authority_from_ns - self._installed_ns)
            self._send(sender, replace(self._said, hold_ns=hold_ns, quorum=self.quorum))

    # The member's side.

    def proposed(self, sender: int, propose: Propose, now_ns: int) -> None:
        """Accept with the disk, or say why not."""
        self._detector.highest_counter = max(self._detector.highest_counter, propose.id.counter)
        if self.state in (State.LEAVING, State.REFUSING) or propose.id.coordinator != sender:
            return
        if self.installed is not None and propose.id == self.installed.id:
            self._send(sender, Installed(id=propose.id))
            return
        if self.pending == propose:
            if self._pending_kept:
                self._send(sender, self._own_accept(propose, now_ns))
            return
        why = self._objection(sender, propose, now_ns)
        if why:
            peers = self._detector.peers.values()
            hears = tuple(p.id for p in peers if self.candidates.agrees_with_edge(p, propose))
            refuse = Refuse(id=propose.id, promised=self.promised, hears=(self.config.node_id, *hears))
            if propose.id != self._refused:  # it comes on every link, and again
                self._refused = propose.id
                fields = (("view", str(propose.id)), ("reason", why))
                self.notes.append(Note("info", log_events.REFUSED, fields))
            self._send(sender, refuse)
            return
        self._round = None  # if one of ours is under way, it cannot succeed any more
        self._promise(propose, now_ns)
        self._send(sender, self._own_accept(propose, now_ns))

    def _objection(self, sender: int, propose: Propose, now_ns: int) -> str:
        """Why this proposal cannot be accepted; empty when it can."""
        if propose.id.counter <= self.promised:
            return "a later view is promised"
        own = next((m for m in propose.members if m.id == self.config.node_id), None)
        if own is None or own.incarnation != self.start.incarnation:
            return "meant for another run of ours"
        for member in propose.members:
            peer = self._detector.peers.get(member.id)
            if member.id != self.config.node_id and not (
                peer and self.candidates.agrees_with_edge(peer, propose)
            ):
                return f"node {member.id} and we do not hear each other"
        if (
            not self.start.durable.trusted
            and self.installed is None
            and not self.candidates.established(sender)
        ):
            return "our disk was lost: only a view that exists may take us"
        chosen = self.candidates.chosen(now_ns)
        best = min(chosen, key=self.candidates.rank, default=self.config.node_id)
        members = self.installed.members if self.installed is not None else ()
        superior = any(
            m.id in chosen and self.candidates.rank(m.id) < self.candidates.rank(sender) for m in members
        )
        if best != sender and superior:
            return f"node {best} is to propose"
        return ""

    def install(self, sender: int, install: Install, now_ns: int) -> None:
        """All have accepted; install it if it is the one that we accepted last."""
        if self.installed is not None and install.id == self.installed.id:
            self._send(sender, Installed(id=install.id))
            return
        pending = self.pending
        if pending is None or not self._pending_kept or install.id != pending.id:
            return
        runs = tuple((member.id, member.incarnation) for member in install.members)
        if runs != tuple((member.id, member.incarnation) for member in pending.members):
            return
        self._adopt_quorum(install.quorum)
        self.learn(install.runs)
        self._install(install, now_ns)
        self._send(sender, Installed(id=install.id))

    def ask_for_install(self, peer: Peer, now_ns: int) -> None:
        """Somebody is in the view that we accepted: its coordinator's INSTALL was lost."""
        pending = self.pending
        if (
            pending is None
            or not self._pending_kept
            or peer.tag != pending.id
            or now_ns < self._ask_install_ns
        ):
            return
        if pending.id.coordinator != self.config.node_id:
            self._ask_install_ns = now_ns + RESEND_NS
            self._send(pending.id.coordinator, Probe(want_install=pending.id))

    def _install(self, install: Install, now_ns: int) -> None:
        old = self.installed
        assert old is None or install.id > old.id, "view ids only grow (V1)"
        stay = tuple(member.id for member in install.members)
        assert self.config.node_id in stay, "one is a member of any view one installs (V3)"
        if old is not None:
            self._support.bequeath(old, without=stay, now_ns=now_ns)
            self.candidates.record_removals(old, stay, now_ns)
        self._support.forget(stay, now_ns)
        alone = len(stay) == 1
        self.candidates.view = InstalledView(id=install.id, members=install.members)
        self.runs.installed(install.members, forgetful=self.config.node_id in install.forgetful)
        self._said = install
        self._installed_ns = now_ns
        self.authority_from_ns = now_ns + install.hold_ns
        self.state = State.MEMBER
        self.pending = None
        self._attempts = 0
        self._strikes.clear()
        self._due = self._aside_since_ns = self._eliminated_since_ns = None
        self._detector.changed = self._detector.urgent = True
        if not alone:  # alone, the promise has written it
            self._persist(self.installed)
        names = {node.id: node.name for node in self.config.nodes}
        fields = (
            ("view", str(install.id)),
            ("members", " ".join(names[node] for node in stay)),
            ("hold_ms", install.hold_ns // MS),
        )
        self.notes.append(Note("info", log_events.INSTALLED, fields))
