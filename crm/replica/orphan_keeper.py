"""Orphans between the core, the disk and the DC: written down, proposed again, told to people."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, ParamSpec, Protocol, TypeVar

import structlog

from crm.cib.model import Element
from crm.cib.orphan_files import OrphanFiles
from crm.replica import log_events
from crm.replica.effects import DecideOrphans, OrphansKept, Propose, Proposed, SaveOrphans
from crm.replica.events import DcState, Orphans, Outcome, WriteOutcome
from crm.replica.peers import CrmPeers
from hacluster.errors import HaError
from hacluster.vocabulary.ids import Term

log = structlog.get_logger()

PROPOSE_MS: Final = 5_000

P = ParamSpec("P")
T = TypeVar("T")


class OnDisk(Protocol):
    """Runs a function in the disk's thread."""

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Its result, or what it raises."""
        ...


class Writer(Protocol):
    """The replicated CIB of this node, as far as it is needed here; see `shell.ReplicaShell`."""

    @property
    def dc(self) -> DcState:
        """Who is DC."""
        ...

    async def write_here(
        self,
        term: Term,
        configuration: Element,
        *,
        author: str,
        request_id: str,
        expected_digest: str,
        force: bool,
        deadline_ms: int,
    ) -> WriteOutcome:
        """Where this node is DC of that term. Raises HaError."""
        ...


class OrphanKeeper:
    """The shell's part that has to do with orphans. `feed` takes events, `tell` what others are to hear."""

    def __init__(
        self,
        writer: Writer,
        files: OrphanFiles,
        node_name: str,
        peers: CrmPeers,
        *,
        on_disk: OnDisk,
        feed: Callable[[OrphansKept | Proposed], None],
        tell: Callable[[Orphans], None],
    ) -> None:
        self._writer = writer
        self._files = files
        self._node_name = node_name
        self._peers = peers
        self._on_disk = on_disk
        self._feed = feed
        self._tell = tell

    async def find(self) -> None:
        """At start: those of former runs."""
        undecided = await self._on_disk(self._files.undecided)
        for report in undecided:
            self._feed(OrphansKept(report))
        files = {report.file for report in undecided}
        found = await self._on_disk(self._files.found)
        for orphans in found:
            if orphans.file not in files:
                self._tell(orphans)

    async def save(self, effect: SaveOrphans, wall_s: int) -> None:
        """Durable when it returns."""
        file = await self._on_disk(self._files.save, effect, node=self._node_name, wall_s=wall_s)
        report = await self._on_disk(self._files.kept, file)
        if report is not None:
            self._feed(OrphansKept(report))

    async def decide(self, decision: DecideOrphans) -> None:
        """What is left is told."""
        left = await self._on_disk(self._files.decide, decision)
        rest = left.count if left is not None else 0
        log.info(log_events.MERGED, merged=len(decision.merged), left=rest, file=decision.file)
        if left is not None:
            self._tell(left)

    async def tell(self, file: str) -> None:
        """As it is."""
        for orphans in await self._on_disk(self._files.found):
            if orphans.file == file:
                self._tell(orphans)

    async def propose(self, proposal: Propose) -> None:
        """Once: the core decides whether it is asked again. After an error it may have been written."""
        here = self._writer.dc.is_me
        write = self._writer.write_here if here else partial(self._peers.write, proposal.term.node_id)
        try:
            outcome = await write(
                proposal.term,
                proposal.configuration,
                author=proposal.author,
                request_id=proposal.request_id,
                expected_digest=proposal.expected_digest,
                force=False,
                deadline_ms=PROPOSE_MS,
            )
        except HaError as error:
            outcome = WriteOutcome(outcome=Outcome.UNKNOWN, reason=str(error))
        self._feed(Proposed(proposal.request_id, outcome))
