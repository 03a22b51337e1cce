"""Whom the witness supports: one view at a time, by memory and leases (cluster-protocol.md, 7.4).

It grants a view when nobody may rest on it in another one any more, but for nodes that have gone on from
there, and when a node of the in-sync set is in it. Among halves that ask at the same time the larger
one wins, then the better connected one, then the one with the lowest node id. `tests.sim.explorer` has these
rules in small, and shows that each is needed. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from hacluster.vocabulary.ids import NO_VIEW, ViewId
from messaging.membership.runs import Run, RunTable

LEASE_MS_MAX: Final = 120_000
LATER_TERM: Final = "a later term has spoken"
LATER_WORD: Final = "something later was said in that term"
GATHER_NS: Final = 300_000_000
SUPPORT_PERCENT: Final = 90
"""A node counts on an answer for this part of the lease, from the moment at which it asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessState:
    """What is on disk. `in_sync`: who has everything committed with our help; empty: not set yet.

    That was said by the DC of `term`, with this `serial`.
    """

    last: ViewId = NO_VIEW
    members: tuple[int, ...] = ()
    lease_ms: int = 0
    config_index: int = 0
    in_sync: tuple[int, ...] = ()
    term: tuple[int, int] = (0, 0)
    serial: int = 0
    runs: tuple[Run, ...] = ()  # the latest of each node in a view that was granted


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A node of `members` wants support for `view`; `voters` are all that there are by its configuration.

    `runs`: the members'; none if it is of a release that does not say so.
    """

    node: int
    nonce: int
    view: ViewId
    members: tuple[int, ...]
    voters: tuple[int, ...]
    config_index: int
    lease_ms: int
    score: int = 0
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A node of the granted view goes away on purpose, and counts on us no more."""

    node: int
    view: ViewId


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncChanged:
    """The DC of the granted view: only these nodes have everything that is committed.

    Without nodes it is a candidate's: no older term is heard from now on, and the answer says who is in sync.
    `serial` counts in a term: what was said earlier and comes later is not heard either.
    """

    node: int
    nonce: int
    view: ViewId
    in_sync: tuple[int, ...]
    term: tuple[int, int]
    serial: int = 0


Event: TypeAlias = Asked | Released | SyncChanged


@dataclass(frozen=True, slots=True, kw_only=True)
class Persist:
    """To disk before what follows is said."""

    state: WitnessState


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """To the one who asked. `reason` says why not; `term` is the highest that has spoken to us."""

    node: int
    nonce: int
    view: ViewId
    granted: bool
    lease_ms: int = 0
    in_sync: tuple[int, ...] = ()
    term: tuple[int, int] = (0, 0)
    reason: str = ""
    runs: tuple[Run, ...] = ()


Effect: TypeAlias = Persist | Answer


@dataclass(slots=True)
class Candidate:
    """A view that somebody has asked for."""

    members: tuple[int, ...]
    score: int
    first_ns: int
    last_ns: int


class WitnessCore:
    """One cluster's witness. After a start all of the last view may count on us for one lease yet."""

    def __init__(self, state: WitnessState, now_ns: int, gather_ns: int = GATHER_NS) -> None:
        self.state = state
        self._gather_ns = gather_ns
        until_ns = now_ns + state.lease_ms * 1_000_000
        self._support = dict.fromkeys(state.members, (state.last, until_ns))
        self._candidates: dict[ViewId, Candidate] = {}

    @classmethod
    def seen(
        cls,
        state: WitnessState,
        now_ns: int,
        *,
        gather_ns: int,
        support: Mapping[int, tuple[ViewId, int]],
        candidates: Mapping[ViewId, Candidate],
    ) -> WitnessCore:
        """For one decision on what was read elsewhere: who may rest on it until when, and who asks."""
        core = cls(state, now_ns, gather_ns)
        core._support, core._candidates = dict(support), dict(candidates)
        return core

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """Take one request; effects in order."""
        match event:
            case Asked():
                return self._asked(event, now_ns)
            case Released(node=node, view=view):
                if self._support.get(node, (NO_VIEW, 0))[0] == view:
                    del self._support[node]
                return []
            case SyncChanged():
                return self._sync(event)

    def _asked(self, asked: Asked, now_ns: int) -> list[Effect]:
        state = self.state
        reason = self._refusal(asked, now_ns)
        if reason:
            return [self._answer(asked.node, asked.nonce, asked.view, reason)]
        effects: list[Effect] = []
        table = RunTable(state.runs)
        table.learn(asked.runs)
        if asked.view != state.last or asked.lease_ms > state.lease_ms or table.all != state.runs:
            self.state = replace(
                state,
                last=asked.view,
                members=asked.members,
                lease_ms=max(asked.lease_ms, state.lease_ms if asked.view == state.last else 0),
                config_index=max(asked.config_index, state.config_index),
                runs=table.all,
            )
            effects.append(Persist(state=self.state))
            self._candidates.clear()
        until_ns = now_ns + self.state.lease_ms * 1_000_000
        self._support[asked.node] = (asked.view, until_ns)
        effects.append(self._answer(asked.node, asked.nonce, asked.view, ""))
        return effects

    def _refusal(self, asked: Asked, now_ns: int) -> str:
        """Why not, or why not yet; empty when it is granted."""
        state = self.state
        if asked.node not in asked.members:
            return "who asks is not in the view"
        if asked.view == state.last and asked.members != state.members:
            return "that view had other members"
        rest_ns = self._conflict_until_ns(asked) - now_ns
        if rest_ns > 0:
            return f"a node in another view may count on it for {rest_ns // 1_000_000} ms yet"
        if asked.view == state.last:
            return ""
        if asked.config_index < state.config_index:
            return "the voters have changed since"
        if state.in_sync and not set(state.in_sync) & set(asked.members):
            return "no node of the view has everything that was committed"
        return self._not_preferred(asked, now_ns)

    def _conflict_until_ns(self, asked: Asked) -> int:
        """Until when somebody may rest on us in another view than the one asked for.

        Not who has gone on from an older view to this one: by accepting it, it has given the older one up.
        """
        return max(
            (
                until_ns
                for node, (view, until_ns) in self._support.items()
                if view != asked.view and not (node in asked.members and view < asked.view)
            ),
            default=0,
        )

    def _not_preferred(self, asked: Asked, now_ns: int) -> str:
        """Give another half a moment to ask, and take the better one."""
        if set(asked.voters) <= set(asked.members):
            return ""
        limit_ns = asked.lease_ms * 1_000_000
        self._candidates = {v: c for v, c in self._candidates.items() if now_ns - c.last_ns < limit_ns}
        candidate = self._candidates.setdefault(
            asked.view, Candidate(asked.members, asked.score, now_ns, now_ns)
        )
        candidate.last_ns, candidate.score = now_ns, asked.score
        if now_ns - min(c.first_ns for c in self._candidates.values()) < self._gather_ns:
            return "waiting whether another half asks"
        recent = {v: c for v, c in self._candidates.items() if now_ns - c.last_ns < 2 * self._gather_ns}
        voters = set(asked.voters)

        def rank(view: ViewId) -> tuple[int, int, int, ViewId]:
            one = recent[view]
            return (len(voters & set(one.members)), one.score, -min(one.members), view)

        # Of one set of members the newest view is the one that they are in.
        best = max(recent, key=rank)
        return "" if best == asked.view else "another half is preferred"

    def _sync(self, change: SyncChanged) -> list[Effect]:
        state = self.state
        reason = ""
        if change.view != state.last or change.node not in state.members:
            reason = "that view is not the granted one"
        elif change.term < state.term:
            reason = LATER_TERM
        elif (change.term, change.serial) < (state.term, state.serial):
            reason = LATER_WORD
        if reason:
            return [self._answer(change.node, change.nonce, change.view, reason)]
        in_sync = tuple(sorted(change.in_sync)) or state.in_sync
        self.state = replace(state, in_sync=in_sync, term=change.term, serial=change.serial)
        return [Persist(state=self.state), self._answer(change.node, change.nonce, change.view, "")]

    def _answer(self, node: int, nonce: int, view: ViewId, reason: str) -> Answer:
        return Answer(
            node=node,
            nonce=nonce,
            view=view,
            granted=not reason,
            lease_ms=self.state.lease_ms,
            in_sync=self.state.in_sync,
            term=self.state.term,
            reason=reason,
            runs=self.state.runs,
        )
