"""What the replica's shell needs of the other nodes' ha-crm; `crm/peers/crm.py` is the real one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from crm.cib.model import Element
from crm.cib.replication.messages import Append
from crm.cib.versions import CibVersion
from crm.replica.effects import Message, TellWitness, WitnessSaid
from crm.replica.events import WriteOutcome
from crm.replica.recent import Known
from hacluster.vocabulary.ids import Term, ViewId

Witness = Callable[[TellWitness], Awaitable[WitnessSaid]]
"""The witness, by this node's ha-messaging. Never raises HaError: no answer is one without `in_sync`."""


class CrmPeers(Protocol):
    """Calls to other nodes' ha-crm. Each raises HaError: Unreachable or Timeout when there is no answer."""

    async def exchange(self, peer: int, message: Message) -> Message:
        """A message of the election or the log, and its answer."""
        ...

    async def tell(self, peer: int, message: Append) -> None:
        """Without an answer; after what was sent before, or it is lost and nothing is raised."""
        ...

    async def write(
        self,
        peer: int,
        term: Term,
        configuration: Element,
        *,
        author: str,
        request_id: str,
        expected_digest: str,
        force: bool,
        deadline_ms: int,
        base: Known | None = None,
    ) -> WriteOutcome:
        """A client's write for the DC of that term; code no_dc: it is not, and nothing was done.

        `base`: a configuration that the DC has, most likely, and that differs little from this one.
        """
        ...

    async def outcome_of(self, peer: int, term: Term, request_id: str) -> WriteOutcome:
        """What became of a write; as `write`."""
        ...

    async def force_quorum(self, peer: int, term: Term, author: str) -> WriteOutcome:
        """The operator's decree; as `write`."""
        ...

    async def forward(
        self, peer: int, term: Term, method: str, request: bytes, user: str, client: str
    ) -> bytes:
        """A client's request for the DC; as `write`, or what its handler raises."""
        ...

    async def send_status(
        self, peer: int, term: Term, view: ViewId, version: CibVersion, status: bytes
    ) -> bool:
        """The status section; false when the peer does not follow us (yet)."""
        ...
