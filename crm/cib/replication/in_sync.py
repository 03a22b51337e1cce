"""What the witness knows of one reign, as its DC knows that (cluster-protocol.md 7.4). Pure.

The witness helps a later candidate only with the vote of a node that is "in sync" there. So its votes count
in a commit when all of these have stored the entry: those that it has on its disk, and those of a word that
it may have heard or not. `serial` makes sure that an older word is not heard after a newer one.
"""

from __future__ import annotations

from collections.abc import Set

from crm.replica.effects import TellWitness, WitnessSaid
from hacluster.vocabulary.ids import Term


class WitnessMemory:
    """`supports`: the witness's votes count in our view. `known`: who is in sync there, by our own word."""

    def __init__(self, term: Term, *, supports: bool) -> None:
        self.supports = supports
        self.known: frozenset[int] | None = None
        self._term = term
        self._serial = 0
        self._perhaps: frozenset[int] = frozenset()
        self._asking = False

    def helps(self, stores: Set[int]) -> bool:
        """Whether its votes count in the commit of an entry that these nodes have stored."""
        return self.supports and self.known is not None and self.known | self._perhaps <= stores

    def tell(self, in_sync: frozenset[int]) -> TellWitness | None:
        """What to say so that it knows these; None when it does, or has not answered yet."""
        if not self.supports or self._asking or (in_sync == self.known and not self._perhaps):
            return None
        self._asking = True
        self._serial += 1
        self._perhaps |= in_sync
        return TellWitness(self._term, tuple(sorted(in_sync)), self._serial)

    def said(self, answer: WitnessSaid) -> bool:
        """Its answer to the last word, or none. Returns whether it has it on its disk."""
        if answer.told.term != self._term or answer.told.serial != self._serial:
            return False
        self._asking = False
        if answer.in_sync is None:
            return False
        self.known, self._perhaps = frozenset(answer.told.in_sync), frozenset()
        return True
