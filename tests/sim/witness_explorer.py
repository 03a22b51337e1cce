"""The witness in the explorer of the log's rules: what its votes in elections and commits rest on.

`python -m tests.sim explore --witness [--nodes N] [--seconds S] [--without RULE]`. The rules of
cluster-protocol.md 7.4 and docs/adr/0012 written down a second time, on top of `log_explorer`: no views and
no leases, for safety rests on neither. Words to the witness and its answers come in any order, late, twice or
never; voters change, nodes restart and lose their disks. With a witness no survivor of two goes on because
the other is fenced. What is checked is as in `log_explorer`: one DC a term, and what was committed stays.

`--without` leaves one rule out. SHOWN names those that some seconds find out. Without one of the other six no
run has broken yet; in-sync-memory, lone and witness-disk were tried for some 5,700 runs of 1,500 steps only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.sim import log_explorer
from tests.sim.log_explorer import NO_TERM, Entry, LogExplorer, Member, Term, Voters

RULES = {
    "vote-of-in-sync": "the witness helps a candidate that has the vote of a node that is in sync",
    "all-in-sync-store": "a commit that counts the witness is stored by all who are in sync there",
    "perhaps": "and by all of a word that it may have heard or not",
    "witness-term": "the witness hears no older term than one that it has heard",
    "serial": "what was said earlier in a term and comes later is not heard",
    "nobody-yet": "as long as nobody is in sync it helps all voters together only",
    "floor": "who comes in sync has all that was committed",
    "in-sync-memory": "who has lost its memory is not in sync",
    "lone": "of two voters one without a memory is not counted for the other",
    "witness-disk": "the witness remembers over its restart",
}

SHOWN = {"vote-of-in-sync": 3, "all-in-sync-store": 3, "perhaps": 2, "witness-term": 3}  # with so many nodes

ALL_RULES: Mapping[str, str] = {**log_explorer.RULES, **RULES}
WITNESS = 0
Word = tuple[Term, int, Voters]  # term, serial, who is in sync; a candidate's has serial 0 and nobody


@dataclass(slots=True)
class Witnessed(Member):
    """`answered`: who is in sync, by the answer to the present candidacy. The rest is a DC's."""

    answered: Voters | None = None
    told: Voters | None = None  # what the witness has on its disk, by our own word
    perhaps: Voters = frozenset()
    serial: int = 0
    asking: bool = False
    silent: frozenset[int] = frozenset()  # did not answer the last append

    def restart(self) -> None:
        Member.restart(self)
        self.begin(None)

    def begin(self, answered: Voters | None) -> None:
        """Nothing has been said yet."""
        self.answered, self.told, self.perhaps = answered, None, frozenset()
        self.serial, self.asking, self.silent = 0, False, frozenset()


class WitnessExplorer(LogExplorer):
    """One run."""

    member = Witnessed
    rules_known = ALL_RULES

    def __init__(self, seed: int, nodes: int, rules: set[str]) -> None:
        super().__init__(seed, nodes, rules)
        self.votes = self.rng.randint(1, max(1, nodes - 1))
        self.disk: Word = (NO_TERM, 0, frozenset())
        self.side[WITNESS] = 0

    def acts(self) -> tuple[tuple[Callable[[Member], None], int], ...]:
        own: tuple[tuple[Callable[[Member], None], int], ...] = (
            (self._tell, 60),
            (self._falls_silent, 12),
            (self._campaign, 9),
            (self._replicate, 60),
        )
        if "witness-disk" not in self.rules:
            own = (*own, (self._lose_witness, 3))
        return (*(one for one in super().acts() if one[0] != self._fence), *own)

    # The world.

    def _part(self, node: Member) -> None:
        super()._part(node)
        self.side[WITNESS] = self.rng.randrange(2)

    def _arrive(self, source: int, target: int, kind: str, body: tuple[Any, ...]) -> None:
        if target == WITNESS:
            self._at_witness(source, body[0])
        else:
            super()._arrive(source, target, kind, body)

    def _lose_witness(self, _: Member) -> None:
        self.disk = (NO_TERM, 0, frozenset())

    def _are_too_many(self, half: Voters, lost: set[int]) -> bool:
        """The witness has lost nothing, but one that was told nothing has no memory either."""
        in_sync = self.disk[2]
        gone = len(half & lost) + (0 if in_sync else self.votes)
        return 2 * gone >= len(half) + self.votes or in_sync <= lost

    # The witness.

    def _at_witness(self, source: int, word: Word) -> None:
        term, serial, in_sync = word
        old_term, old_serial, old = self.disk
        if term < old_term and "witness-term" in self.rules:
            return
        if term == old_term and serial < old_serial and "serial" in self.rules:
            return
        self.disk = (term, serial, in_sync or old)
        for _ in range(self.rng.choice((0, 1, 1, 1, 2))):
            self.pool.append((WITNESS, source, "heard", (word, self.disk[2])))

    def _on_heard(self, node: Member, _source: int, word: Word, in_sync: Voters) -> None:
        assert isinstance(node, Witnessed)
        term, serial, told = word
        if node.ballot != term or node.promised != term:
            return
        if not serial and not node.leads:
            node.answered = in_sync
            self._try_win(node)
        elif serial and node.leads and serial == node.serial:
            node.told, node.perhaps, node.asking = told, frozenset(), False
            self._count("told")
            self._advance(node)

    # A candidate.

    def _campaign(self, node: Member) -> None:
        assert isinstance(node, Witnessed)
        node.begin(None)
        super()._campaign(node)
        if node.up and node.memory:
            self._send(node, WITNESS, "word", (node.ballot, 0, frozenset()))

    def _agreed(self, node: Member, entry: Entry, counted: set[int], blanks: set[int]) -> bool:
        assert isinstance(node, Witnessed)
        helps = self._helps_commit(node, counted) if node.leads else self._helps(node, entry, counted)
        needed = False
        for half in self._halves(entry):
            two = len(half) == 2 and node.id in half and "lone" not in self.rules
            got = len(half & (counted | blanks if two else counted))
            total = len(half) + self.votes
            needed = needed or 2 * got <= total
            if 2 * (got + (self.votes if got and helps else 0)) <= total:
                return False
        self._count(f"{'commit' if node.leads else 'election'} {'with' if needed else 'without'} it")
        return True

    def _helps(self, node: Witnessed, entry: Entry, counted: set[int]) -> bool:
        """In an election."""
        assert entry.now is not None
        if node.answered is None:
            return False
        if not node.answered:
            return counted >= entry.now | (entry.next or frozenset()) or "nobody-yet" not in self.rules
        return bool(node.answered & counted) or "vote-of-in-sync" not in self.rules

    # A DC.

    def _helps_commit(self, node: Witnessed, stores: set[int]) -> bool:
        if node.told is None:
            return False
        perhaps = node.perhaps if "perhaps" in self.rules else frozenset()
        return node.told | perhaps <= stores or "all-in-sync-store" not in self.rules

    def _falls_silent(self, node: Member) -> None:
        assert isinstance(node, Witnessed)
        node.silent |= {self.rng.choice(self.ids)}
        node.asking = False  # no answer came in time

    def _on_stored(
        self, node: Member, source: int, term: Term, length: int, run: tuple[int, int], counts: bool
    ) -> None:
        assert isinstance(node, Witnessed)
        node.silent -= {source}
        super()._on_stored(node, source, term, length, run, counts)

    def _tell(self, node: Member) -> None:
        assert isinstance(node, Witnessed)
        wanted = self._wanted(node) if node.up and node.leads and not node.asking else None
        if wanted is None or (wanted == node.told and not node.perhaps):
            return
        node.asking = True
        node.serial += 1
        node.perhaps |= wanted
        self._send(node, WITNESS, "word", (node.ballot, node.serial, wanted))

    def _wanted(self, node: Witnessed) -> Voters | None:
        """Who has all that may be committed; None: not known yet."""
        entry, _ = node.voters()
        assert entry.now is not None
        floor, wanted = max(node.barrier, node.committed), {node.id}
        for other in (entry.now | (entry.next or frozenset())) - {node.id} - node.silent:
            known, told = node.known.get(other), node.told
            if known is not None and not known.counts and "in-sync-memory" in self.rules:
                continue
            has = known is not None and (known.stored >= floor or "floor" not in self.rules)
            if has or (known is not None and told is not None and other in told):
                wanted.add(other)
            elif told is None or other in told:
                return None
        return frozenset(wanted)


def explore(nodes: int, seconds: float, without: str = "", *, first: int = 1, steps: int = 1_500) -> str:
    """Runs until the time is over. Raises Violation with the seed in front."""
    return log_explorer.explore(nodes, seconds, without, first=first, steps=steps, kind=WitnessExplorer)
