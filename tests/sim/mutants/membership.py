"""Mutants of ha-messaging. Each changes one rule of the protocol for as long as it is entered."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from hacluster.vocabulary.ids import ViewId
from hacluster.vocabulary.membership import QuorumConfig
from messaging import packet, rotation
from messaging.membership import (
    agreement,
    authority,
    candidates,
    core,
    deadtime,
    detector,
    durable,
    rounds,
    support,
)
from messaging.membership.detector import Peer
from messaging.membership.events import Deliver, Durable, Effect, Event, Persist, Propose, Publish
from messaging.witness import ballot
from messaging.witness import core as witness_core
from tests.sim import membership, standing, witness
from tests.sim.engine import PersistRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreMutant:
    """`owner.name` becomes `broken`; some seed of `scenario` must show it."""

    what: str
    scenario: str
    owner: Any
    name: str
    broken: Callable[..., Any]
    invariant: str

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Break it, and mend it afterwards."""
        whole = self.owner.__dict__[self.name]
        setattr(self.owner, self.name, self.broken)
        try:
            yield
        finally:
            setattr(self.owner, self.name, whole)


def _no_rest(self: support.SupportGiven, view: object, proposed: object, now_ns: int) -> int:
    return 0


def _support_from_arrival(self: authority.AuthorityKeeper, peer: Peer, sent_ns: int) -> None:
    _SUPPORT(self, peer, max(sent_ns, peer.last_rx_ns + 2 * self._config.deadtime_ns))


def _no_persist(self: membership.MessagingProcess, effect: object) -> PersistRequest[Event] | None:
    request = _PERSIST(self, effect)  # type: ignore[arg-type]
    if request is None:
        return None
    return PersistRequest(file="elsewhere", data=request.data, done=request.done, failed=request.failed)


def _forgetful(_slots: object) -> Durable:
    return Durable()


def _any_proposal(self: agreement.Agreement, sender: int, propose: Propose, now_ns: int) -> str:
    return ""


def _any_echo(self: detector.SentLog, echo: int) -> int | None:
    return self._sent[-1][0] if self._sent else None


def _impatient(self: detector.Detector) -> int:
    return self.deadtime.ns // 8


def _one_strike(self: rounds.Strikes, edge: tuple[int, int]) -> bool:
    return True


def _own_deadtime(self: deadtime.Deadtime, told_ms: int) -> int:
    return 3 * self.ns


def _at_once(self: standing.JointDc, old: QuorumConfig, new: QuorumConfig) -> QuorumConfig:
    return new


def _never_barred(self: candidates.Candidates, chosen: tuple[int, ...], now_ns: int) -> bool:
    return False


def _no_wait(self: witness_core.WitnessCore, asked: witness_core.Asked, now_ns: int) -> str:
    return ""


def _forgets(self: witness.WitnessProcess) -> witness_core.WitnessState:
    return witness_core.WitnessState()


def _news_wait(self: core.MembershipCore, now_ns: int) -> list[Effect]:
    out = _FINISH(self, now_ns)
    if not any(isinstance(effect, Persist) for effect in out):
        return out
    news = [effect for effect in out if isinstance(effect, Publish | Deliver)]
    return [*(effect for effect in out if effect not in news), *news]


def _nobody_rests(self: ballot.DiskWitness, now_ns: int) -> None:
    _OBSERVE(self, now_ns)
    self._rests.clear()


def _no_objections(_keyring: packet.Keyring, _peers: object) -> list[str]:
    return []


def _any_tag(_one: bytes, _other: bytes) -> bool:
    return True


def _deaf_to_runs(self: agreement.Agreement, runs: object) -> None:
    """Each knows only of views that it was in itself."""


def _silent_of_runs(
    self: witness_core.WitnessCore, node: int, nonce: int, view: ViewId, reason: str
) -> witness_core.Answer:
    return replace(_ANSWER(self, node, nonce, view, reason), runs=())


def _all_have_told(self: authority.AuthorityKeeper, now_ns: int) -> bool:
    return True


_ANSWER = witness_core.WitnessCore._answer
_OBSERVE = ballot.DiskWitness._observe
_FINISH = core.MembershipCore._finish
_SUPPORT = authority.AuthorityKeeper.support
_PERSIST = membership.MessagingProcess.persist_of

MUTANTS = (
    CoreMutant(
        what="a new view acts at once, whatever those left out may believe",
        scenario="chaos3",
        owner=support.SupportGiven,
        name="rest_ns",
        broken=_no_rest,
        invariant="I14",
    ),
    CoreMutant(
        what="the lease counts from a packet's arrival, and longer",
        scenario="chaos3",
        owner=authority.AuthorityKeeper,
        name="support",
        broken=_support_from_arrival,
        invariant="I14",
    ),
    CoreMutant(
        what="a promise is spoken of before the disk has it",
        scenario="chaos3",
        owner=membership.MessagingProcess,
        name="persist_of",
        broken=_no_persist,
        invariant="I6/V4",
    ),
    CoreMutant(
        what="a restarted daemon forgets what it promised",
        scenario="power",
        owner=durable,
        name="durable_from",
        broken=_forgetful,
        invariant="I6/V",
    ),
    CoreMutant(
        what="every proposal is accepted, older ones too",
        scenario="chaos3",
        owner=agreement.Agreement,
        name="_objection",
        broken=_any_proposal,
        invariant="I6",
    ),
    CoreMutant(
        what="whatever a packet echoes, it is a sign of life and of support",
        scenario="chaos3",
        owner=detector.SentLog,
        name="sent_ns",
        broken=_any_echo,
        invariant="I14",
    ),
    CoreMutant(
        what="somebody is called dead after an eighth of deadtime",
        scenario="noise",
        owner=detector.Detector,
        name="suspicion_ns",
        broken=property(_impatient),  # type: ignore[arg-type]
        invariant="I15",
    ),
    CoreMutant(
        what="a lease rests on our own deadtime, not on what the peer has told",
        scenario="auto5",
        owner=deadtime.Deadtime,
        name="granted_by",
        broken=_own_deadtime,
        invariant="I14",
    ),
    CoreMutant(
        what="last_man_standing takes the new voters at once",
        scenario="lms5-step",
        owner=standing.JointDc,
        name="_change",
        broken=_at_once,
        invariant="I14",
    ),
    CoreMutant(
        what="a diskless node proposes views",
        scenario="diskless",
        owner=candidates.Candidates,
        name="barred",
        broken=_never_barred,
        invariant="I6",
    ),
    CoreMutant(
        what="the witness does not wait for those outside",
        scenario="qnet4",
        owner=witness_core.WitnessCore,
        name="_refusal",
        broken=_no_wait,
        invariant="I14",
    ),
    CoreMutant(
        what="the witness forgets at a restart",
        scenario="qnet-memory",
        owner=witness.WitnessProcess,
        name="remembered",
        broken=_forgets,
        invariant="I14",
    ),
    CoreMutant(
        what="the first refusal leaves a member out",
        scenario="restart",
        owner=rounds.Strikes,
        name="struck",
        broken=_one_strike,
        invariant="I15",
    ),
    CoreMutant(
        what="news wait for the disk, and newer ones overtake them",
        scenario="chaos3",
        owner=core.MembershipCore,
        name="_finish",
        broken=_news_wait,
        invariant="I6/news",
    ),
    CoreMutant(
        what="new keys are taken whatever the others have",
        scenario="keys",
        owner=rotation,
        name="objections",
        broken=_no_objections,
        invariant="I15",
    ),
    CoreMutant(
        what="who rests on the disk's vote is not waited for",
        scenario="qdisk2",
        owner=ballot.DiskWitness,
        name="_observe",
        broken=_nobody_rests,
        invariant="I14",
    ),
    CoreMutant(
        what="members do not say which runs they know of",
        scenario="left3",
        owner=agreement.Agreement,
        name="learn",
        broken=_deaf_to_runs,
        invariant="I3",
    ),
    CoreMutant(
        what="the witness does not say which runs were in its views",
        scenario="left2-qnet",
        owner=witness_core.WitnessCore,
        name="_answer",
        broken=_silent_of_runs,
        invariant="I3",
    ),
    CoreMutant(
        what="who has lost its disk is asked which runs there were",
        scenario="left3-wipe",
        owner=authority.AuthorityKeeper,
        name="_told",
        broken=_all_have_told,
        invariant="I3",
    ),
    CoreMutant(
        what="any tag is good",
        scenario="wire3",
        owner=hmac,
        name="compare_digest",
        broken=_any_tag,
        invariant="I22",
    ),
)
