"""One node's side of the witness on a shared disk: no third machine, only records (cluster-protocol.md, 7.4).

The witness's state is a register that all nodes change by ballots, as in Disk Paxos with one disk: say a
ballot, read all; say the new state with it, read all; it counts when nobody has said a higher ballot. What
may follow on a state is decided by the same `WitnessCore` that ha-qnet asks. Instead of asking a server a
node renews a count in its record, and others see that it stands still; so clocks are compared with themselves
only. `tests.sim.ballots` plays it with torn writes, slow disks and deaths, and leaves rules out. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, TypeAlias, assert_never

from hacluster.vocabulary.ids import NO_VIEW, ViewId
from messaging.membership.events import AskWitness, ReleaseWitness
from messaging.witness.blocks import NO_BALLOT, Ballot, Block
from messaging.witness.core import (
    Answer,
    Asked,
    Candidate,
    Persist,
    Released,
    SyncChanged,
    WitnessCore,
    WitnessState,
)

RENEWALS_MAX: Final = 3
BUSY: Final = "another node asks at the same time"
MS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanged:
    """Our record is written whole, if it was to be, and then all were read; None: both copies are damaged."""

    blocks: Mapping[int, Block | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeFailed:
    """It may be written or not."""

    reason: str


Event: TypeAlias = Asked | Released | SyncChanged | Exchanged | ExchangeFailed


def asked_by(node: int, question: AskWitness | ReleaseWitness) -> Asked | Released:
    """What membership asks of its witness, as this node's event here."""
    if isinstance(question, ReleaseWitness):
        return Released(node=node, view=question.view)
    return Asked(
        node=node,
        nonce=question.nonce,
        view=question.view,
        members=question.members,
        voters=question.voters,
        config_index=question.config_index,
        lease_ms=question.lease_ms,
        score=question.score,
        runs=question.runs,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Write our record unless it is None, then read all; one at a time."""

    write: Block | None


Effect: TypeAlias = Exchange | Answer


class Phase(Enum):
    """What the exchange under way is for."""

    IDLE = "idle"
    READ = "read"  # our own record, before it is written over
    LOOK = "look"  # say what we wish, see what there is
    RENEW = "renew"  # rest on what has been granted
    CLAIM = "claim"  # a ballot
    SAY = "say"  # a state with the ballot
    RELEASE = "release"


class DiskWitness:
    """One run of one node. `cluster` and `boot` go into its record."""

    def __init__(self, node: int, *, cluster: bytes, boot: bytes, gather_ns: int) -> None:
        self._node, self._cluster, self._boot, self._gather_ns = node, cluster, boot, gather_ns
        self._own: Block | None = None  # None: it has to be read first
        self._phase = Phase.IDLE
        self._event: Asked | SyncChanged | None = None
        self._released = NO_VIEW
        self._known: Ballot = NO_BALLOT  # what an earlier reading has shown to be said
        self._blocking: Ballot = NO_BALLOT
        self._renewals = 0
        self._resting = False  # whether our count goes on; what we rested on before has to run out by itself
        self._rests: dict[int, tuple[ViewId, int, int]] = {}  # node: view, its count, until when
        self._wishes: dict[int, tuple[ViewId, int, int, int]] = {}  # node: view, serial, since, last change
        self._blocks: dict[int, Block] = {}

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """Take one event. A question during an exchange is not answered: it will come again."""
        match event:
            case Asked() | SyncChanged():
                if self._phase is not Phase.IDLE:
                    return []
                self._event, self._renewals = event, 0
                return [self._first(event)]
            case Released(view=view):
                self._released = view
                return self._release() if self._phase is Phase.IDLE else []
            case Exchanged(blocks=blocks):
                effects = self._exchanged(blocks, now_ns)
                if self._phase is Phase.IDLE and self._released != NO_VIEW:
                    effects += self._release()
                return effects
            case ExchangeFailed(reason=reason):
                self._own = None
                return self._refuse(reason)
            case _:
                assert_never(event)

    @property
    def idle(self) -> bool:
        """Whether a question would be taken."""
        return self._phase is Phase.IDLE

    # Exchanges.

    def _write(self, phase: Phase, own: Block) -> Exchange:
        self._phase = phase
        self._own = replace(own, serial=own.serial + 1, cluster=self._cluster, boot=self._boot)
        return Exchange(write=self._own)

    def _first(self, event: Asked | SyncChanged) -> Exchange:
        if self._own is None:
            self._phase = Phase.READ
            return Exchange(write=None)
        if isinstance(event, SyncChanged):
            return self._write(Phase.LOOK, self._own)
        if self._resting and self._own.view == event.view:
            return self._renewal(event)
        wish = replace(self._own, wish=event.view, wish_members=event.members, score=event.score)
        return self._write(Phase.LOOK, wish)

    def _renewal(self, asked: Asked) -> Exchange:
        """Whoever makes way for another view reads our count after its ballot, or we read that ballot."""
        assert self._own is not None
        self._resting = True
        own = replace(
            self._own,
            view=asked.view,
            lease_ms=asked.lease_ms,
            renewed=self._own.renewed + 1,
            wish=NO_VIEW,
            wish_members=(),
        )
        return self._write(Phase.RENEW, own)

    def _release(self) -> list[Effect]:
        released, self._released = self._released, NO_VIEW
        if self._own is None or self._own.view != released:
            return []
        self._resting = False
        return [self._write(Phase.RELEASE, replace(self._own, view=NO_VIEW))]

    def _refuse(self, reason: str, term: tuple[int, int] = (0, 0)) -> list[Effect]:
        event, self._event, self._phase = self._event, None, Phase.IDLE
        if event is None:
            return []
        node, nonce, view = event.node, event.nonce, event.view
        return [Answer(node=node, nonce=nonce, view=view, granted=False, term=term, reason=reason)]

    def _grant(self, state: WitnessState) -> list[Effect]:
        event, self._event, self._phase = self._event, None, Phase.IDLE
        assert event is not None
        lease_ms = event.lease_ms if isinstance(event, Asked) else 0
        return [
            Answer(
                node=event.node,
                nonce=event.nonce,
                view=event.view,
                granted=True,
                lease_ms=lease_ms,
                in_sync=state.in_sync,
                term=state.term,
                runs=state.runs,
            )
        ]

    def _exchanged(self, blocks: Mapping[int, Block | None], now_ns: int) -> list[Effect]:
        phase, self._phase = self._phase, Phase.IDLE
        for node, block in blocks.items():
            if block is None:
                self._own = None
                return self._refuse(f"the record of node {node} on the disk is damaged")
            if block.serial and block.cluster != self._cluster:
                return self._refuse("the disk has the records of another cluster")
        self._blocks = {node: block for node, block in blocks.items() if block is not None}
        self._observe(now_ns)
        event = self._event
        if phase is Phase.RELEASE or event is None:
            return []
        if self._own is None:
            self._own = self._blocks[self._node]
            return [self._first(event)]
        if phase is Phase.RENEW:
            assert isinstance(event, Asked)
            return self._renewed(event, now_ns)
        if phase is Phase.LOOK:
            return self._decide(event, now_ns)
        if self._overtaken():
            self._resting = False  # what we have said may count or not: to be seen
            return self._refuse(BUSY)
        if phase is Phase.CLAIM:
            return self._say(event, now_ns)
        assert phase is Phase.SAY
        self._known = self._own.accepted
        return self._grant(self._own.state)

    def _overtaken(self) -> bool:
        """Whether somebody has said a higher ballot than ours."""
        assert self._own is not None
        return any(block.ballot > self._own.ballot for block in self._blocks.values())

    # Decisions.

    def _newest(self) -> Block:
        return max(self._blocks.values(), key=lambda block: block.accepted)

    def _renewed(self, asked: Asked, now_ns: int) -> list[Effect]:
        """We rest on it if it has been said before this exchange, and nobody has begun to change it."""
        assert self._own is not None
        newest, top = self._newest(), max(block.ballot for block in self._blocks.values())
        if (newest.state.last, newest.state.members) != (asked.view, asked.members):
            self._resting = False
            return self._refuse("another view has been granted")
        if top > newest.accepted:
            if top != self._blocking:
                self._blocking = top
                return self._refuse(BUSY)
            return self._decide(asked, now_ns, again=True)  # who began that has given up, or died
        if newest.accepted != self._known:
            self._known = newest.accepted
            self._renewals += 1
            return [self._renewal(asked)] if self._renewals < RENEWALS_MAX else self._refuse(BUSY)
        return self._grant(newest.state)

    def _judged(self, event: Asked | SyncChanged, now_ns: int) -> tuple[Answer, WitnessState | None]:
        """What the witness says on the newest state: its answer, and the state after it, if another."""
        support = {node: (view, until_ns) for node, (view, _, until_ns) in self._rests.items()}
        core = WitnessCore.seen(
            self._newest().state,
            now_ns,
            gather_ns=self._gather_ns,
            support=support,
            candidates=self._candidates(),
        )
        answer: Answer | None = None
        state: WitnessState | None = None
        for effect in core.handle(event, now_ns):
            match effect:
                case Persist():
                    state = effect.state
                case Answer():
                    answer = effect
        assert answer is not None
        return answer, state

    def _decide(self, event: Asked | SyncChanged, now_ns: int, *, again: bool = False) -> list[Effect]:
        assert self._own is not None
        newest, top = self._newest(), max(block.ballot for block in self._blocks.values())
        answer, state = self._judged(event, now_ns)
        if not answer.granted:
            return self._refuse(answer.reason, answer.term)
        if state is None and not again and isinstance(event, Asked):
            self._known = newest.accepted
            return [self._renewal(event)]
        return [self._write(Phase.CLAIM, replace(self._own, ballot=(top[0] + 1, self._node)))]

    def _say(self, event: Asked | SyncChanged, now_ns: int) -> list[Effect]:
        """Judged anew, by what was read after our ballot was written."""
        assert self._own is not None
        answer, state = self._judged(event, now_ns)
        if not answer.granted:
            return self._refuse(answer.reason, answer.term)
        own = replace(self._own, accepted=self._own.ballot, state=state or self._newest().state)
        if isinstance(event, Asked):
            self._resting = True
            own = replace(
                own,
                view=event.view,
                lease_ms=event.lease_ms,
                renewed=own.renewed + 1,
                wish=NO_VIEW,
                wish_members=(),
            )
        return [self._write(Phase.SAY, own)]

    # What is seen of others.

    def _observe(self, now_ns: int) -> None:
        for node, block in self._blocks.items():
            rest = self._rests.get(node)
            if node == self._node or block.view == NO_VIEW:
                self._rests.pop(node, None)
            elif rest is None or rest[:2] != (block.view, block.renewed):
                self._rests[node] = (block.view, block.renewed, now_ns + block.lease_ms * MS)
            wish = self._wishes.get(node)
            if block.wish == NO_VIEW:
                self._wishes.pop(node, None)
            elif wish is None or wish[0] != block.wish:
                self._wishes[node] = (block.wish, block.serial, now_ns, now_ns)
            elif wish[1] != block.serial:
                self._wishes[node] = (block.wish, block.serial, wish[2], now_ns)

    def _candidates(self) -> dict[ViewId, Candidate]:
        found: dict[ViewId, Candidate] = {}
        for node, (view, _, first_ns, last_ns) in self._wishes.items():
            block = self._blocks[node]
            one = found.setdefault(view, Candidate(block.wish_members, block.score, first_ns, last_ns))
            one.first_ns, one.last_ns = min(one.first_ns, first_ns), max(one.last_ns, last_ns)
        return found
