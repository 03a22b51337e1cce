"""Mutants of DATA."""

from __future__ import annotations

from messaging.membership import talk
from messaging.membership.detector import Peer
from messaging.membership.events import Data
from tests.sim.mutants.membership import CoreMutant


def _no_gap(self: talk.Talk, inbox: talk._Inbox, now_ns: int) -> None:
    return


def _any_view(self: talk.Talk, peer: Peer, data: Data, now_ns: int) -> None:
    _DATA(self, peer, data._replace(any_view=True), now_ns)


def _no_limit(self: talk.Talk) -> tuple[int, int]:
    return 0, 0


def _void_is_a_message(kept: talk._Kept) -> Data:
    return kept.data


_DATA = talk.Talk.data

MUTANTS = (
    CoreMutant(
        what="a gap is not asked for",
        scenario="talk-noise",
        owner=talk.Talk,
        name="_look_for_gap",
        broken=_no_gap,
        invariant="S5/all",
    ),
    CoreMutant(
        what="everything is delivered in any view",
        scenario="talk",
        owner=talk.Talk,
        name="data",
        broken=_any_view,
        invariant="S5/view",
    ),
    CoreMutant(
        what="local clients may send without end",
        scenario="talk-flood",
        owner=talk.Talk,
        name="_unacknowledged",
        broken=_no_limit,
        invariant="S5/flow",
    ),
    CoreMutant(
        what="a message for one node reaches the others too",
        scenario="talk-noise",
        owner=talk,
        name="_voided",
        broken=_void_is_a_message,
        invariant="S5/address",
    ),
)
