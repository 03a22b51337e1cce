"""What daemons and ha-sentinel tell each other: one word each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LEASE: Final = "lease"  # ha-messaging: `value` is the lease's end, 0 without authority
ACTIVITY: Final = "activity"  # ha-lrm: `value` is how many resources may be active
STATE: Final = "state"  # ha-sentinel: `value` is the watchdog's timeout in ms, `note` its kind
LIFE: Final = (
    "life"  # ha-sentinel: written when it fed last (0: stopped in order), `value` when it began in this boot
)
VERDICT: Final = "verdict"  # ha-crm: this node must not live on; `note` says why

CLEAN: Final = "clean"
"""The note of a daemon that has ended in order and left nothing active."""


@dataclass(frozen=True, slots=True)
class Word:
    """`written_ns` and instants in `value` are CLOCK_BOOTTIME."""

    written_ns: int
    value: int
    note: str = ""
