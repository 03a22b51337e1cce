"""This node's side of the witness: ask each keepalive, count on a yes for as long as it may (7.4, 7.5)."""

from __future__ import annotations

from typing import Final

from hacluster.vocabulary.ids import NO_VIEW, ViewId
from messaging.membership.events import (
    AskWitness,
    CommittedQuorum,
    Config,
    InstalledView,
    WitnessAnswered,
)
from messaging.membership.runs import Run
from messaging.witness.core import SUPPORT_PERCENT

ASKED_KEPT: Final = 64
MS: Final = 1_000_000


class WitnessSide:
    """What the witness has said of the view that we are in."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._nonce = 0
        self._asked: dict[int, tuple[int, ViewId]] = {}  # nonce: when, for which view
        self._next_ns = 0
        self.view = NO_VIEW
        self.until_ns = 0
        self.reason = ""
        self.reached_ns = 0  # 0: never
        self.score = 0  # our connectivity

    def ask(self, view: InstalledView, quorum: CommittedQuorum, now_ns: int) -> AskWitness | None:
        """The next question, when one is due."""
        if not quorum.config.witness_votes or now_ns < self._next_ns:
            return None
        self._next_ns = now_ns + self._config.keepalive_ns
        self._nonce += 1
        self._asked[self._nonce] = (now_ns, view.id)
        while len(self._asked) > ASKED_KEPT:
            del self._asked[next(iter(self._asked))]
        return AskWitness(
            nonce=self._nonce,
            view=view.id,
            members=tuple(int(member.id) for member in view.members),
            voters=tuple(sorted(int(node) for node, _ in quorum.config.voters)),
            config_index=quorum.log_index,
            lease_ms=2 * self._config.deadtime_ns // MS,
            score=self.score,
            runs=tuple(Run(int(member.id), member.incarnation) for member in view.members),
        )

    def answered(self, answer: WitnessAnswered, now_ns: int) -> None:
        """Yes counts from the moment of asking; no ends nothing that an earlier yes has given.

        Nor does an answer about an older view that comes after one about the present view.
        """
        asked = self._asked.pop(answer.nonce, None)
        if asked is None or asked[1] != answer.view or answer.view < self.view:
            return
        self.reached_ns, self.reason = now_ns, answer.reason
        if not answer.granted:
            return
        if self.view != answer.view:
            self.view, self.until_ns = answer.view, 0
        lease_ms = min(answer.lease_ms, 2 * self._config.deadtime_ns // MS)
        self.until_ns = max(self.until_ns, asked[0] + lease_ms * MS * SUPPORT_PERCENT // 100)

    def void(self) -> None:
        """After a pause: no answer to an earlier question counts."""
        self.until_ns = 0
        self._asked.clear()

    def support_until_ns(self, view: InstalledView) -> int:
        """Until when the witness's votes count in `view`."""
        return self.until_ns if self.view == view.id else 0

    def wake_ns(self, quorum: CommittedQuorum) -> int | None:
        """When the next question is due."""
        return self._next_ns if quorum.config.witness_votes else None
