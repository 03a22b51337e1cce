"""Digests of trees that share most of their parts with the tree before: only what changed is spelled again.

The same value as `codec.digest`, which knows nothing of other trees.
"""

from __future__ import annotations

import hashlib
from typing import Final

from crm.cib import codec
from crm.cib.model import Element

SPARE_PARTS: Final = 4_096
"""So many parts that may no longer be in use are remembered before all are forgotten."""

PART_LENGTH_MAX: Final = 8_192
"""Longer parts (whole sections) change too often to be worth their memory."""


class Digester:
    """Remembers the canonical text of parts with children, by identity: elements never change."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Element, str]] = {}
        self._limit = SPARE_PARTS

    def digest(self, root: Element) -> str:
        """SHA-256 of the canonical form, 64 hexadecimal digits."""
        if len(self._known) > self._limit:
            self._known.clear()
        fresh = not self._known
        text = self._text(root)
        if fresh:
            self._limit = 2 * len(self._known) + SPARE_PARTS
        return hashlib.sha256(text.encode()).hexdigest()

    def _text(self, element: Element) -> str:
        if not element.children:
            return codec.canonical_text(element)
        known = self._known.get(id(element))
        if known is not None and known[0] is element:
            return known[1]
        start, end = codec.canonical_tags(element)
        text = start + "".join([self._text(child) for child in element.children]) + end
        if len(text) <= PART_LENGTH_MAX:
            self._known[id(element)] = (element, text)
        return text
