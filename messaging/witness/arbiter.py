"""The arbitrator's one decision about a datagram: genuine, fresh, and what to answer (no sockets, no files).

Authenticated by the cluster's own authkeys. A question counts only with the challenge of our last answer to
that run of the node, so that nothing recorded can stand for a node that is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from messaging.packet import Dropped, Gate, Keyring, Kind, Opened, Sealer
from messaging.witness import wire
from messaging.witness.core import Answer, Event, Persist, Released, WitnessCore, WitnessState

ARBITER_ID: Final = 0
"""No node has it."""


class Arbiter:
    """The witness of one cluster. `keep` writes the state, with fsync, and raises OSError."""

    def __init__(
        self,
        *,
        cluster_id: bytes,
        nodes: Iterable[int],
        keyring: Keyring,
        state: WitnessState,
        incarnation: int,
        session: bytes,
        keep: Callable[[WitnessState], None],
        secret: Callable[[], bytes],
        now_ns: int,
    ) -> None:
        self.core = WitnessCore(state, now_ns)
        self.dropped: dict[str, int] = {}
        self._keep, self._secret = keep, secret
        self._gate = Gate(
            cluster_id=cluster_id, node_id=ARBITER_ID, nodes=nodes, keyring=keyring, session=session
        )
        self._sealer = Sealer(
            cluster_id=cluster_id,
            node_id=ARBITER_ID,
            session=session,
            incarnation=incarnation,
            keyring=keyring,
        )
        self._sequence = 0
        self._challenges: dict[int, tuple[bytes, bytes]] = {}  # node: its session, what it has to know

    def taken(self, datagram: bytes, now_ns: int) -> tuple[int, bytes] | str:
        """The node and what to answer to it; or why nothing is answered."""
        opened = self._gate.open(datagram)
        if isinstance(opened, Dropped):
            return self._drop(opened.reason.value)
        header, body = opened
        asked = wire.ask_from(header.sender, body) if header.kind == Kind.WITNESS_ASK else None
        if asked is None:
            return self._drop("bad_body")
        return self._asked(opened, *asked, now_ns)

    def _drop(self, reason: str) -> str:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        return reason

    def _asked(self, opened: Opened, challenge: bytes, event: Event, now_ns: int) -> tuple[int, bytes] | str:
        node, session = opened.header.sender, opened.header.session
        known = self._challenges.get(node)
        if known is None or known[0] != session:
            known = self._challenges[node] = (session, self._secret())
        if challenge != known[1]:
            if isinstance(event, Released):
                return self._drop("stale")
            hint = Answer(
                node=node, nonce=event.nonce, view=event.view, granted=False, reason="ask again: who are you?"
            )
            return node, self._sealed(hint, known[1])
        answer: Answer | None = None
        for effect in self.core.handle(event, now_ns):
            match effect:
                case Persist(state=state):
                    self._keep(state)
                case Answer():
                    answer = effect
        return (node, self._sealed(answer, known[1])) if answer is not None else "released"

    def _sealed(self, answer: Answer, challenge: bytes) -> bytes:
        self._sequence += 1
        return self._sealer.seal(
            Kind.WITNESS_ANSWER,
            wire.answer_to(answer, challenge),
            link=0,
            sequence=self._sequence,
            destination=answer.node,
        )
