"""What a candidate knows of the witness's vote (cluster-protocol.md 7.4). Pure.

The witness is asked in the candidate's term, and hears no older one from then on: so what it says of who is
in sync cannot be changed any more by a DC that has been overtaken.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from crm.election.quorum import has_witness, witness_helps
from crm.replica.effects import TellWitness
from hacluster.vocabulary.ids import Term
from hacluster.vocabulary.membership import QuorumConfig


class WitnessVote:
    """`supports`: the witness's votes count in our view, as ha-messaging says."""

    def __init__(self) -> None:
        self.supports = False
        self._in_sync: frozenset[int] | None = None  # as it said to a candidacy of ours in this view
        self._answered = False  # to the present one

    def new_view(self) -> None:
        """What it said may have changed since."""
        self._in_sync = None

    def new_ballot(self) -> None:
        """Its answer to an older candidacy counts no more."""
        self._answered = False

    def question(self, config: QuorumConfig, term: Term) -> list[TellWitness]:
        """What it is asked for the candidacy of this term."""
        return [TellWitness(term, (), 0)] if self.supports and has_witness(config) else []

    def answered(self, in_sync: Iterable[int]) -> None:
        """To the present candidacy."""
        self._in_sync, self._answered = frozenset(in_sync), True

    def may_help(self, config: QuorumConfig, able: Set[int]) -> bool:
        """Whether it is worth asking for these nodes' votes, as far as is known."""
        known = self._in_sync
        return self.supports and (known is None or witness_helps(config, known, able))

    def helps(self, config: QuorumConfig, counted: Set[int]) -> bool:
        """Whether its votes count with these."""
        return self._answered and self.may_help(config, counted)
