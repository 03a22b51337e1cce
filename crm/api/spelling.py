"""The CIB as text, spelled once for all who are shown the same of it. Pure.

To spell a CIB of 3 MB takes half a second; 256 watches that each did it would keep ha-crm from all else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from crm.acl import Permission
from crm.cib.codec import render
from crm.cib.model import Element

VIEWS_MAX: Final = 16
"""Texts kept beside that of the whole: one for each set of rights. What is beyond is spelled anew."""

Rules = tuple[Permission, ...] | None


class Spelling:
    """`readable`: what is left of a CIB for someone with such rights; it may refuse."""

    def __init__(self, readable: Callable[[Element, tuple[Permission, ...]], Element]) -> None:
        self._readable = readable
        self._cib: Element | None = None
        self._texts: dict[Rules, bytes] = {}

    def text(self, cib: Element, rules: Rules) -> bytes:
        """What such rights show of this CIB, None all of it. Raises what `readable` raises."""
        if cib != self._cib:
            self._cib, self._texts = cib, {}
        text = self._texts.get(rules)
        if text is None:
            text = render(cib if rules is None else self._readable(cib, rules)).encode()
            if rules is None or len(self._texts) <= VIEWS_MAX:
                self._texts[rules] = text
        return text
