"""What a DC may only answer when it is certain that it was still the DC after it was asked. Pure.

Two things are asked: what became of a write that this DC has not got, and what the configuration is.

Another may be DC in this very view, elected because we fell silent, and may have written. Only a quorum that
stores an entry made after the question shows that there was none when it was asked; no clock is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PROOF_MS: Final = 3_000


@dataclass(slots=True)
class Question:
    """What became of the write `request_id`; None: what the configuration is.

    `index`: of an entry made since, 0: not yet. For a write it is one that refuses it, unless that is under
    way: so the answer that it was never written holds under every later DC.
    """

    token: int
    request_id: str | None
    asked_ns: int
    index: int = 0


class Questions:
    """Those of one reign."""

    def __init__(self) -> None:
        self._open: list[Question] = []

    def ask(self, token: int, request_id: str | None, now: int) -> None:
        """`proven` says when it may be answered."""
        self._open.append(Question(token, request_id, now))

    def entry_made(self, index: int) -> None:
        """It settles the reads that were asked for before, once it is committed."""
        for question in self._open:
            if question.request_id is None:
                question.index = question.index or index

    def refusals_made(self, index: int) -> None:
        """It is the last of those that settle the questions for writes."""
        for question in self._open:
            question.index = question.index or index

    @property
    def unsettled_requests(self) -> tuple[str, ...]:
        """The writes that are asked for and have no entry yet, in order, each once."""
        names = (question.request_id for question in self._open if not question.index)
        return tuple(dict.fromkeys(name for name in names if name is not None))

    @property
    def want_an_entry(self) -> bool:
        """Whether some were asked since the last one."""
        return any(not question.index for question in self._open)

    def proven(self, commit_index: int, now: int) -> list[tuple[Question, bool]]:
        """Those that are settled: this is the DC; or nobody has said so in time."""
        settled = [
            (question, 0 < question.index <= commit_index)
            for question in self._open
            if 0 < question.index <= commit_index or now - question.asked_ns >= PROOF_MS * 1_000_000
        ]
        for question, _ in settled:
            self._open.remove(question)
        return settled

    def unanswered(self) -> list[Question]:
        """Those that are not settled."""
        return self._open
