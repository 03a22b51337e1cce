"""Roles as constraints and operations name them."""

from __future__ import annotations

from typing import Final

from crm.scheduler.model import Role

_ROLES: Final = {
    "stopped": Role.STOPPED,
    "started": Role.STARTED,
    "unpromoted": Role.UNPROMOTED,
    "slave": Role.UNPROMOTED,
    "promoted": Role.PROMOTED,
    "master": Role.PROMOTED,
}


def parse_role(text: str | None) -> Role:
    """The role a text names in old or new words; UNKNOWN where it names none."""
    return _ROLES.get((text or "").lower(), Role.UNKNOWN)
