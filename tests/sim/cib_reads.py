"""Readers, conditional writers, and I11: reads (by the DC, by quorum) and writes are linearizable.

Each write appends its note to the configuration, and a read shows all of them, in order. So the order of the
writes can be read off any state, and what Wing and Gong's search would look for is decided by comparison:
each read is a beginning of the final order; nothing answered OK before a read began is missing in it, nor
anything that an earlier read had; of two writes of which one was answered before the other began, that one
comes first; and a conditional write directly follows what it was made from, unless it had to give
way once: a merge makes it again on what others have written.
"""

from __future__ import annotations

from dataclasses import dataclass

from crm.cib.model import Element
from crm.replica.effects import ReadAsked
from crm.replica.events import Committed, Outcome, ReplicaEvent, WriteOutcome
from hacluster.vocabulary.ids import Term
from tests.sim.cib import CibCluster, ReplicaProcess, Write, configuration_of
from tests.sim.engine import MS, InvariantBroken, World

FIRST_TOKEN = 2_000_000
"""Above those of the changes of voters."""

Notes = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A read under way. `had`: writes that had been answered OK, `seen`: the longest earlier read."""

    process: ReplicaProcess
    term: Term
    asked_ns: int
    had: frozenset[str]
    seen: Notes


@dataclass(frozen=True, slots=True)
class _Conditional:
    """A write that was made from what a read showed."""

    write: Write
    base: Notes


class Linearizable:
    """I11. Reads that say "as far as can be said without a quorum" promise nothing."""

    def __init__(self, cluster: CibCluster) -> None:
        self.cluster, self.world = cluster, cluster.world
        self.rng = cluster.world.stream("reads")
        self._others = cluster.clients.others
        cluster.clients.others = self._answered
        cluster.clients.on_ask.append(self._asks)
        cluster.clients.on_answer.append(self._written)
        cluster.listeners.append(self._event)
        self._shown: dict[int, tuple[int, Element]] = {}
        self._open: dict[int, _Asked] = {}
        self._reads: set[Notes] = set()
        self._longest: Notes = ()
        self._ok: dict[str, frozenset[str]] = {}  # note -> those answered OK before it was asked
        self._before: dict[str, frozenset[str]] = {}
        self._conditional: dict[str, _Conditional] = {}
        self._token = FIRST_TOKEN
        self._until_ns = 0

    # -- what goes on

    def begin(self, end_ns: int, *, gap_ns: int = 400 * MS) -> None:
        """Reads at whoever believes to be DC, until then; some are followed by a conditional write.

        While there is more than one, all of them are asked whenever a write has been answered.
        """

        self._until_ns = end_ns

        def ask() -> None:
            if self.world.now_ns >= end_ns:
                return
            leading = self._leading()
            if leading:
                self.read(self.rng.choice(leading), by_quorum=self.rng.random() < 0.5)
            self.world.after(int(self.rng.expovariate(1.0) * gap_ns), "read", ask)

        ask()

    def _leading(self) -> list[ReplicaProcess]:
        return [p for p in self.cluster.processes if p.alive and p.core is not None and p.core.dc.is_me]

    def read(self, process: ReplicaProcess, *, by_quorum: bool) -> int:
        """One read at this node, which may or may not be DC."""
        assert process.core is not None
        self._token += 1
        token = self._token
        self._open[token] = _Asked(
            process, process.core.dc.term, self.world.now_ns, frozenset(self._ok), self._longest
        )
        self.world.count("read_by_quorum" if by_quorum else "read_by_dc")
        process.deliver(ReadAsked(token, by_quorum))
        return token

    def _asks(self, write: Write) -> None:
        """A write begins: those that were answered before come before it."""
        self._before[_note(write)] = frozenset(self._ok)

    def _written(self, write: Write) -> None:
        if write.outcome is Outcome.OK and not write.provisional:
            self._ok[_note(write)] = self._before.get(_note(write), frozenset())
            leading = self._leading()
            if self._until_ns > self.world.now_ns and len(leading) > 1:
                self.world.count("read_at_two_dcs")
                for process in leading:
                    by_quorum = self.rng.random() < 0.5
                    if process.alive and process.core is not None:  # the one before may have ended it
                        self.read(process, by_quorum=by_quorum)

    def _event(self, process: ReplicaProcess, event: ReplicaEvent) -> None:
        if isinstance(event, Committed):
            self._shown[process.id] = (process.generation, event.configuration)

    def _showing(self, process: ReplicaProcess) -> Element:
        """As the shell: what was last told, or found on the disk."""
        generation, configuration = self._shown.get(process.id, (-1, Element("configuration")))
        return configuration if generation == process.generation else configuration_of(process)

    def _answered(self, token: int, outcome: WriteOutcome) -> None:
        asked = self._open.pop(token, None)
        if asked is None:
            self._others(token, outcome)
            return
        process = asked.process
        if outcome.outcome is not Outcome.OK or outcome.reason or process.core is None:
            self.world.count(
                "read_provisional" if outcome.reason and outcome.outcome is Outcome.OK else "read_refused"
            )
            return
        if process.core.dc.term != asked.term:
            return  # the shell looks, too
        at_once = self.world.now_ns == asked.asked_ns
        self.world.count("read_at_once" if at_once else "read_proven")
        notes = _notes(self._showing(process))
        missing = sorted(asked.had - set(notes))
        if missing:
            raise InvariantBroken(
                "I11", f"a read at {process.name} misses {missing[:3]}, answered OK before it"
            )
        if notes[: len(asked.seen)] != asked.seen:
            raise InvariantBroken("I11", f"a read at {process.name} goes back behind an earlier one")
        self._reads.add(notes)
        if len(notes) > len(self._longest):
            self._longest = notes
        if self.rng.random() < 0.3:
            self._write_after(process, outcome.digest, notes)

    def _write_after(self, process: ReplicaProcess, digest: str, notes: Notes) -> None:
        """A conditional write, some time later."""
        clients = self.cluster.clients

        def write() -> None:
            if not process.alive:
                return
            write = clients.write(process, expected_digest=digest)
            self._conditional[_note(write)] = _Conditional(write, notes)
            self.world.count("conditional_write")

        self.world.after(self.rng.choice([0, 5, 300]) * MS, "conditional write", write)

    # -- the verdict

    def after_event(self, world: World) -> None:
        """Looked at when a read is answered."""

    def settled(self, world: World) -> None:
        """The final order stands: the log's."""
        process = self.cluster.dc(safe=True)
        assert process is not None
        final = _notes(configuration_of(process))
        for notes in self._reads:
            if final[: len(notes)] != notes:
                raise InvariantBroken("I11", "a read showed what is no beginning of the final order")
        place = {note: at for at, note in enumerate(final)}
        for note, before in self._ok.items():
            if note in place and any(place.get(one, 0) > place[note] for one in before):
                raise InvariantBroken("I11", f"{note} comes before a write that was answered before it began")
        gave_way = {request for saved in self.cluster.orphans for request in saved.requests}
        for note, made in self._conditional.items():
            if made.write.request_id not in gave_way and note in place and final[: place[note]] != made.base:
                raise InvariantBroken("I11", f"the conditional write {note} is not made from what was read")


def _note(write: Write) -> str:
    return write.note


def _notes(configuration: Element) -> Notes:
    return tuple(child.id for child in configuration.children if child.tag == "note")
