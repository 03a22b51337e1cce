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
    """Remembers the canonical text of parts, by identity: elements never change."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Element, str]] = {}
        self._limit = SPARE_PARTS

    def digest(self, root: Element) -> str:
        """SHA-256 of the canonical form, 64 hexadecimal digits."""
        if len(self._known) > self._limit:
            self._known.clear()
        fresh = not self._known
        text = self._text(root, is_root=True)
        if fresh:
            self._limit = 2 * len(self._known) + SPARE_PARTS
        return hashlib.sha256(text.encode()).hexdigest()

    def _text(self, element: Element, *, is_root: bool = False) -> str:
        known = self._known.get(id(element))
        if known is not None and known[0] is element:
            return known[1]
        if not element.children:
            return codec.canonical_text(element)
        start, end = codec.canonical_tags(element)
        texts = [self._text(child) for child in element.children]
        text = start + "".join(texts) + end
        if len(text) <= PART_LENGTH_MAX and not is_root:
            self._known[id(element)] = (element, text)
        else:  # it will be spelled anew after each change, of one of many children mostly
            pairs = zip(element.children, texts, strict=True)
            self._known.update({id(child): (child, one) for child, one in pairs if not child.children})
        return text
