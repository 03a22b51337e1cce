"""What was committed here lately, by digest: another node's write says what it changes in one of them."""

from __future__ import annotations

from typing import Final, NamedTuple

from crm.cib.model import Element

KEPT: Final = 64
"""Commits; one is of all writes that one sync has taken. A follower is one or two behind."""


class Known(NamedTuple):
    """A configuration and its digest."""

    digest: str
    content: Element


class Recent:
    """The last ones. They share what did not change, so to keep them costs little."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._contents: dict[str, Element] = {}

    def add(self, digest: str, content: Element) -> None:
        """The newest; the oldest is forgotten."""
        self._contents.pop(digest, None)
        self._contents[digest] = content
        if len(self._contents) > self._kept:
            del self._contents[next(iter(self._contents))]

    def get(self, digest: str) -> Element | None:
        """None: it was not committed here, or too long ago."""
        return self._contents.get(digest)
