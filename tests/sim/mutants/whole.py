"""Mutants of ha-lrm, and of a DC's patience with a lost node."""

from __future__ import annotations

from dataclasses import replace

from hacluster.vocabulary.ids import NO_TERM, Term
from lrm.journal.codec import decode
from lrm.journal.records import Begun, Record, TermSeen
from lrm.queue.core import Queue
from lrm.queue.events import Append, Effect
from tests.sim import lrm
from tests.sim.lrm import LrmProcess
from tests.sim.mutants.membership import CoreMutant
from tests.sim.planner import Planner, Reign


def _any_term(self: Queue, term: Term) -> None:
    return


def _forgets_terms(line: bytes) -> Record:
    record = _DECODE(line)
    return replace(record, term=NO_TERM) if isinstance(record, TermSeen) else record


def _no_intent(self: LrmProcess, effect: Effect) -> None:
    if not (isinstance(effect, Append) and isinstance(effect.record, Begun)):
        _APPLY(self, effect)


def _believed_off(self: Planner, reign: Reign, name: str) -> None:
    reign.off.add(name)


_APPLY = LrmProcess.apply
_DECODE = decode

MUTANTS = (
    CoreMutant(
        what="an LRM obeys a DC whose term is over",
        scenario="whole3",
        owner=Queue,
        name="_check_term",
        broken=_any_term,
        invariant="I4",
    ),
    CoreMutant(
        what="an LRM forgets at its restart which DC it obeys",
        scenario="whole3-two-dcs",
        owner=lrm,
        name="decode",
        broken=_forgets_terms,
        invariant="I4",
    ),
    CoreMutant(
        what="an operation begins before the journal has the intent",
        scenario="whole3",
        owner=LrmProcess,
        name="apply",
        broken=_no_intent,
        invariant="I19",
    ),
    CoreMutant(
        what="a lost node counts as off before it is fenced",
        scenario="whole3",
        owner=Planner,
        name="_fence",
        broken=_believed_off,
        invariant="I1",
    ),
)
