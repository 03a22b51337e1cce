"""Checkers of the replicated CIB, each named by the protocol's number."""

from __future__ import annotations

from crm.cib.orphan_files import DONE, FOLDER
from crm.cib.replication.model import LogEntry
from crm.cib.versions import NO_VERSION, CibVersion
from crm.replica.events import BecameDc, Committed, Outcome, ReplicaEvent
from hacluster.vocabulary.ids import Term
from tests.sim.cib import CibCluster, ReplicaProcess, Write, configuration_of
from tests.sim.cib_merge import entries_of
from tests.sim.engine import SECOND, InvariantBroken, World


class OneDcATerm:
    """I4, the DC's part: a term has one DC."""

    def __init__(self, cluster: CibCluster) -> None:
        self.won: dict[Term, int] = {}
        cluster.watchers.append(self._look)

    def _look(self, process: ReplicaProcess) -> None:
        assert process.core is not None
        leading = process.core.replication.leading
        if leading is not None:
            term = leading.reign.term
            if self.won.setdefault(term, process.id) != process.id:
                raise InvariantBroken("I4", f"nodes {self.won[term]} and {process.id} are DC of term {term}")

    def after_event(self, world: World) -> None:
        """Looked at in each handler."""

    def settled(self, world: World) -> None:
        """Nothing more."""


class Durable:
    """I7: what was answered OK on a safe basis is in the log of every later established DC of a safe basis;
    and no index committed on a safe basis ever changes.
    """

    def __init__(self, cluster: CibCluster) -> None:
        self.cluster = cluster
        self.safe: dict[int, bytes] = {}
        self.answered: dict[str, Write] = {}
        self._checked: dict[int, int] = {}
        cluster.watchers.append(self._look)
        cluster.listeners.append(self._event)
        cluster.clients.on_answer.append(self._answer)

    def _answer(self, write: Write) -> None:
        if write.outcome is Outcome.OK and not write.provisional:
            self.answered[write.request_id] = write

    def _look(self, process: ReplicaProcess) -> None:
        assert process.core is not None
        leading = process.core.replication.leading
        if leading is None or not leading.established or not leading.basis.safe:
            self._checked.pop(process.id, None)
            return
        log = process.core.replication.log
        first = max(self._checked.get(process.id, 0), log.base.index)
        for index in range(first + 1, log.commit_index + 1):
            chain = log.chain_at(index) or b""
            if self.safe.setdefault(index, chain) != chain:
                raise InvariantBroken("I7", f"the committed entry {index} is another one at {process.name}")
        self._checked[process.id] = log.commit_index

    def _event(self, process: ReplicaProcess, event: ReplicaEvent) -> None:
        if not isinstance(event, BecameDc) or not event.established or not event.basis.safe:
            return
        if process.core is None or process.core.dc.term != event.term:
            return
        log = process.core.replication.log
        for request_id, write in self.answered.items():
            index = log.find_request(request_id)
            if index is None or index > log.commit_index:
                raise InvariantBroken("I7", f"write {write.number} was answered OK; {process.name} lacks it")

    def after_event(self, world: World) -> None:
        """Looked at in each handler."""

    def settled(self, world: World) -> None:
        """Nothing more."""


class SameChain:
    """I10: the same term and index is the same history; at rest all configurations are equal."""

    def __init__(self, cluster: CibCluster) -> None:
        self.cluster = cluster
        self.seen: dict[tuple[Term, int], bytes] = {}
        cluster.entry_listeners.append(self._look)

    def _look(self, process: ReplicaProcess, entries: tuple[LogEntry, ...]) -> None:
        for entry in entries:
            if self.seen.setdefault((entry.term, entry.index), entry.chain) != entry.chain:
                what = f"two histories with entry {entry.index} of term {entry.term}, one at {process.name}"
                raise InvariantBroken("I10", what)

    def after_event(self, world: World) -> None:
        """Looked at when entries are written or sent."""

    def settled(self, world: World) -> None:
        if not self.cluster.settled():
            states = [(p.name, p.core.dc if p.core else None) for p in self.cluster.processes]
            raise InvariantBroken("I16", f"it did not settle: {states}")
        contents = [configuration_of(process) for process in self.cluster.processes]
        if any(content != contents[0] for content in contents):
            raise InvariantBroken("I10", "the configurations differ at rest")


class NothingSilent:
    """I8 and I9: an OK write is in the final CIB or in an orphan report; a FAILED one never is in the CIB;
    an UNKNOWN one resolves.
    """

    def __init__(self, cluster: CibCluster) -> None:
        self.cluster = cluster

    def after_event(self, world: World) -> None:
        """Only at rest."""

    def settled(self, world: World) -> None:
        process = self.cluster.dc(safe=True)
        assert process is not None
        self.cluster.clients.ask_again(process)
        world.run_until(world.now_ns + SECOND)  # a quorum has to confirm who is DC
        self._reports_are_kept()
        ids = {child.id for child in configuration_of(process).children}
        reported = {request for saved in self.cluster.orphans for request in saved.requests}
        for write in self.cluster.clients.writes.values():
            present = write.note in ids
            if write.outcome is Outcome.OK and not present and write.request_id not in reported:
                raise InvariantBroken("I8", f"write {write.number} was answered OK and is nowhere")
            if write.outcome is Outcome.FAILED and present:
                raise InvariantBroken("I9", f"write {write.number} was answered FAILED and is there")
            if write.outcome is Outcome.UNKNOWN:
                raise InvariantBroken("I9", f"write {write.number} is still unknown")

    def _reports_are_kept(self) -> None:
        """What was written down for people is still there, on disks that keep what they are given."""
        for saved in self.cluster.orphans:
            process = self.cluster.by_id[saved.node]
            if process.node.disk.unreliable:
                continue
            kept = reported_on_disk(process)
            gone = [request for request in saved.requests if request not in kept]
            if gone:
                raise InvariantBroken("I8", f"the report of {gone[:3]} is gone from {process.name}'s disk")


def reported_on_disk(process: ReplicaProcess) -> set[str]:
    """The requests in the orphan reports of a node."""
    return {entry.get("request-id") for folder in (FOLDER, DONE) for entry in entries_of(process, folder)}


class VersionGrows:
    """I12: the version a node shows never goes back while its machine is on, nor stays for other content."""

    def __init__(self, cluster: CibCluster) -> None:
        self.shown: dict[tuple[int, int], tuple[CibVersion, str]] = {}
        cluster.listeners.append(self._event)

    def _event(self, process: ReplicaProcess, event: ReplicaEvent) -> None:
        if isinstance(event, Committed):
            key = (process.id, process.node.boots)
            version, digest = self.shown.get(key, (NO_VERSION, ""))
            if event.version < version or (event.version == version and event.digest != digest):
                what = f"{process.name} showed {version}, then {event.version}"
                raise InvariantBroken("I12", what)
            self.shown[key] = (event.version, event.digest)

    def after_event(self, world: World) -> None:
        """Looked at in each event."""

    def settled(self, world: World) -> None:
        """Nothing more."""


class NoDamage:
    """I13: a copy that was damaged on the disk is noticed."""

    def __init__(self, cluster: CibCluster) -> None:
        self.cluster = cluster
        self.damaged: dict[int, bool] = {}

    def damage(self, process: ReplicaProcess) -> None:
        """Called when a file was damaged while the daemon was down."""
        self.damaged[process.id] = True

    def after_event(self, world: World) -> None:
        for process in self.cluster.processes:
            if process.alive and self.damaged.pop(process.id, False):
                world.count("damage_noticed")
                if not process.corrupt:
                    raise InvariantBroken("I13", f"{process.name} started from a damaged copy")

    def settled(self, world: World) -> None:
        """Nothing more."""
