"""The sentinel's look at this node's slot on a shared disk, in a thread of its own: a disk may hang."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final

from agents.fencing.slots import CLEAR, OFF, Disk, SlotError
from hacluster.clock import Clock
from hacluster.errors import Unavailable
from lrm.sentinel.core import DiskState

ACKNOWLEDGE_S: Final = 0.2


class PoisonWatch:
    """Reads the slot again and again; `state` is what it saw last."""

    def __init__(self, path: str, node: str, timeout_ms: int, every_s: float, clock: Clock) -> None:
        """Arms the slot: what was written for a former life is cleared. Raises Unavailable."""
        self._clock, self._every_s = clock, every_s
        try:
            self._disk = Disk(path)
            self._number = self._disk.number_of(node)
            self._slot = self._disk.read(self._number)
            self._slot.message, self._slot.armed_ms = CLEAR, timeout_ms
            self._slot.sequence += 1  # who waits for an answer to an older message sees that we began anew
            self._disk.write(self._number, self._slot)
        except (OSError, SlotError) as error:
            raise Unavailable(why=f"the shared disk {path}: {error}") from error
        self.state = DiskState(clock.now_ns(), poisoned=False)
        self._ended, self._poisoned = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="qdisk", daemon=True)
        self._thread.start()

    def wait(self, within_s: float) -> None:
        """Until that time is over, or the slot says that the node must die."""
        self._poisoned.wait(within_s)

    def acknowledge(self) -> None:
        """Say that the message is obeyed: right before that is true. A disk that hangs is not waited for."""
        if self._poisoned.is_set():
            writer = threading.Thread(target=self._acknowledge, name="acknowledge", daemon=True)
            writer.start()
            writer.join(ACKNOWLEDGE_S)

    def disarm(self) -> None:
        """In order: nobody watches the slot any more."""
        self._ended.set()
        self._thread.join(1.0)
        with suppress(OSError, SlotError):
            self._slot.armed_ms = 0
            self._disk.write(self._number, self._slot)

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                seen = self._disk.read(self._number)
            except (OSError, SlotError):
                continue  # the age of what was seen last says enough
            poisoned = seen.message == OFF and seen.sequence > self._slot.sequence
            self._slot = seen if poisoned else self._slot
            self.state = DiskState(self._clock.now_ns(), poisoned=poisoned)
            if poisoned:
                self._poisoned.set()
                return

    def _acknowledge(self) -> None:
        self._slot.acknowledged = self._slot.sequence
        with suppress(OSError, SlotError):
            self._disk.write(self._number, self._slot)
