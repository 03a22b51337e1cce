"""What a simulation did: a line for people, and the element that crm_simulate's XML has for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from crm.cib.model import Element, element


@dataclass(frozen=True, slots=True)
class Note:
    """One line, and the same as an element."""

    text: str
    element: Element

    def __str__(self) -> str:
        return self.text


def note(text: str, tag: str, **attributes: str) -> Note:
    """Empty attributes are left out; `_` in a name stands for `-` where XML has one."""
    return Note(text, element(tag, {name: value for name, value in attributes.items() if value}))
