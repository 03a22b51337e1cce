"""What the rest of ha-crm calls the replicated CIB for; `shell.py` implements it. Values: `events.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from crm.cib.model import Element
from crm.cib.replication.voters import VotersWanted
from crm.cib.versions import CibVersion
from crm.replica.events import DcState, ReplicaEvent, WriteOutcome
from hacluster.vocabulary.ids import Term
from hacluster.vocabulary.membership import Authority, QuorumConfig

Change = Callable[[Element], Element]
"""From the configuration before to the one after; called at the DC only. An HaError: nothing is written."""

ForwardHandler = Callable[[str, bytes, str, str], Awaitable[bytes]]
"""(method, request bytes, user, client) -> reply bytes, at the DC. May raise HaError."""


class Replica(Protocol):
    """The replicated CIB of this node."""

    @property
    def configuration(self) -> Element:
        """The committed <configuration>; an empty one before anything is known."""
        ...

    @property
    def version(self) -> CibVersion:
        """Of the committed configuration (num_updates is the DC's count of status changes)."""
        ...

    @property
    def digest(self) -> str:
        """codec.digest(configuration)."""
        ...

    @property
    def dc(self) -> DcState:
        """Who is DC."""
        ...

    @property
    def status(self) -> Element:
        """The <status> section: the DC's own, or the last copy that the DC sent."""
        ...

    @property
    def status_age_ms(self) -> int:
        """Since a DC was last heard, or this node was one, or ha-crm began; 0 at the DC."""
        ...

    def set_authority(self, authority: Authority) -> None:
        """Each message of ha-messaging's Watch. The stream's end: `set_authority` with an empty view."""
        ...

    async def write(
        self,
        configuration: Element | Change,
        *,
        author: str,
        client: str = "",
        request_id: str = "",
        expected_digest: str = "",
        force: bool = False,
        deadline_ms: int = 10_000,
    ) -> WriteOutcome:
        """Replace the configuration, on any node (handed to the DC). Never raises for an expected failure.

        A `Change` instead of an element is applied at the DC and so can only be given there (FAILED
        elsewhere). `expected_digest`: FAILED when the configuration is another one by now. `force`: without
        quorum too, provisionally. The same request id again is the same write.
        """
        ...

    async def outcome_of(self, request_id: str) -> WriteOutcome:
        """What became of a write that was answered UNKNOWN; final when it is not UNKNOWN again."""
        ...

    async def vouch(self, *, by_quorum: bool) -> WriteOutcome:
        """At the DC (else NoDc): OK when what is shown has all that was committed before this was called.

        A reason with OK: as far as can be said without a quorum. `by_quorum`: a quorum is asked, and no clock
        is trusted.
        """
        ...

    def voters(self) -> tuple[int, QuorumConfig, tuple[int, ...]]:
        """Index of the log entry, who votes as far as this node knows; at the DC, who has all of the log."""
        ...

    async def change_voters(
        self, term: Term, wanted: VotersWanted, *, author: str, request_id: str, deadline_ms: int
    ) -> WriteOutcome:
        """A joint change of voters, at the DC of `term` (else NoDc). OK: the new ones count alone."""
        ...

    async def force_quorum(self, *, author: str) -> WriteOutcome:
        """The operator's decree: this partition is the cluster. Raises admin_epoch; basis `forced`."""
        ...

    def fence_confirmed(self, node_id: int, boot_token: str) -> None:
        """The fencer: that boot of the node is certainly over. A two-node survivor may then commit alone."""
        ...

    async def dc_within(self, timeout_ms: int) -> bool:
        """Whether a DC is known, after waiting for one at most so long."""
        ...

    async def forward(self, method: str, request: bytes, user: str, client: str = "") -> bytes:
        """Hand a client's request to the DC (to our own handler when we are it). Raises HaError."""
        ...

    def on_forward(self, handler: ForwardHandler) -> None:
        """Register what answers forwarded requests while this node is DC."""
        ...

    def publish_status(self, status: Element) -> None:
        """At the DC: the new <status> section, to be sent to the followers; num_updates grows by one."""
        ...

    def set_eligibility(self, *, eligible: bool, priority: int = 0, gives_up: bool = False) -> None:
        """Not eligible as DC: shutting down, health red, dc-eligible=false. `priority`: dc-priority."""
        ...

    def subscribe(self) -> asyncio.Queue[ReplicaEvent]:
        """A new queue of events from now on; it is unbounded in size but bounded by the rate of changes."""
        ...
