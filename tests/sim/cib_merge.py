"""Merges in the simulator: writes in each other's way, how a proposal goes, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from crm.cib import codec as xml
from crm.cib import diff
from crm.cib.model import Element, element
from crm.cib.orphan_files import DONE, FOLDER, LEFT, MERGED
from crm.cib.replication.model import Kind
from crm.replica.effects import DecideOrphans, Propose, Proposed, WriteRequested, WritesRequested
from crm.replica.events import Outcome, WriteOutcome
from tests.sim.engine import SECOND, InvariantBroken, World

if TYPE_CHECKING:
    from tests.sim.cib import CibCluster, ReplicaProcess, Write

PROPOSAL_NS = 5 * SECOND


def shared_name(number: int) -> str:
    """The id of one of the elements that many writes change."""
    return f"s{number}"


def change_of(write: Write) -> Callable[[Element], Element]:
    """A note of its own; a shared element gets the write's number, and the write keeps what it found."""

    def change(old: Element) -> Element:
        if write.shared:
            found = next((child for child in old.children if child.id == write.shared), None)
            write.found = found.get("value") if found is not None else ""
            old = old.with_child(element("shared", {"id": write.shared, "value": str(write.number)}))
        return old.with_children((*old.children, element("note", {"id": write.note})))

    return change


def propose(process: ReplicaProcess, proposal: Propose) -> None:
    """To the DC of that term, and its answer back, or none."""
    cluster = process.cluster
    target = cluster.by_id[proposal.term.node_id]
    generation = process.generation

    def execute(answer: Callable[[object], None]) -> None:
        if target.alive and target.core is not None and target.core.dc.term == proposal.term:
            token = cluster.clients.new_token()
            target.proposals[token] = answer
            request = WriteRequested(
                token=token,
                change=proposal.configuration,
                author=proposal.author,
                request_id=proposal.request_id,
                expected_digest=proposal.expected_digest,
                deadline_ns=target.node.clock.now_ns() + PROPOSAL_NS,
            )
            target.deliver(WritesRequested((request,)))

    def back(outcome: object) -> None:
        if process.generation == generation:
            given = outcome if isinstance(outcome, WriteOutcome) else WriteOutcome(outcome=Outcome.UNKNOWN)
            cluster.world.count(f"proposal_{given.outcome.value}")
            process.deliver(Proposed(proposal.request_id, given))

    if target is process:
        cluster.world.after(0, f"proposal {process.name}", lambda: execute(back))
        return
    cluster.calls.call(
        process.node.name, target.node.name, execute, back, back, timeout_ns=PROPOSAL_NS, size_bytes=2_000
    )


def count_decision(world: World, decision: DecideOrphans) -> None:
    """What the checkers rest on must happen."""
    if decision.merged:
        world.count("merged")
    for _index, why in decision.left:
        world.count(f"left: {why.partition(':')[0]}")


def entries_of(process: ReplicaProcess, folder: str) -> Iterable[Element]:
    """The changes in the reports of a node."""
    for name in process.storage.names(folder):
        root = xml.parse(process.storage.read(f"{folder}/{name}") or b"", source=name)
        yield from (entry for entry in root.all("entry") if entry.get("kind") == Kind.PATCH.value)


class MergedRightly:
    """9.7 with cib-merge=disjoint, at rest.

    Each write is in the history at most once. Where it is, it found what it found when it was first made: a
    change is never made again on what others have changed since. What was answered OK is in the history or in
    a report that waits for people, with its reason; what is in nobody's way is in the history.
    """

    def __init__(self, cluster: CibCluster) -> None:
        self.cluster = cluster

    def after_event(self, world: World) -> None:
        """Only at rest."""

    def settled(self, world: World) -> None:
        dc = self.cluster.dc(safe=True)
        assert dc is not None
        assert dc.core is not None
        written = self._history(dc)
        waiting: dict[str, str] = {}
        unreliable = False
        for process in self.cluster.processes:
            unreliable |= process.node.disk.unreliable
            waiting |= {entry.get("request-id"): entry.get(LEFT) for entry in entries_of(process, FOLDER)}
            for entry in entries_of(process, DONE):
                if entry.get(MERGED) and entry.get("request-id") not in written:
                    raise InvariantBroken("I8", f"{entry.get('request-id')} is said to be merged, and is not")
        for write in self.cluster.clients.writes.values():
            if write.outcome is not Outcome.OK or write.request_id in written or unreliable:
                continue
            if not waiting.get(write.request_id):
                raise InvariantBroken("I8", f"write {write.number}: OK, not merged, and nobody is told why")
            if not write.shared:
                why = waiting[write.request_id]
                raise InvariantBroken("9.7", f"write {write.number} is in nobody's way and was left: {why}")

    def _history(self, dc: ReplicaProcess) -> set[str]:
        assert dc.core is not None
        log, writes = dc.core.replication.log, self.cluster.clients.writes
        values: dict[str, str] = {}
        found: set[str] = set()
        content = log.base.content
        for index in range(log.base.index + 1, log.commit_index + 1):
            entry = log.entry(index)
            if entry.kind is not Kind.PATCH:
                continue
            content = diff.apply(content, diff.decode(entry.payload, base="", result=""), base_known=True)
            write = writes.get(entry.request_id)
            if write is None:
                continue
            if entry.request_id in found:
                raise InvariantBroken("I9", f"write {write.number} is in the history twice")
            found.add(entry.request_id)
            if write.shared:
                before = values.get(write.shared, "")
                if before != write.found:
                    what = f"write {write.number} was made on {write.found!r}, and again on {before!r}"
                    raise InvariantBroken("9.7", what)
                values[write.shared] = str(write.number)
        last = {child.id: child.get("value") for child in content.children}
        for request_id in found:
            write = writes[request_id]
            if write.note not in last or (write.shared and last.get(write.shared) != values[write.shared]):
                raise InvariantBroken("9.7", f"write {write.number} was undone by another")
        return found
