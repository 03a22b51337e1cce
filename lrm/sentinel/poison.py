"""The sentinel's look at this node's slot on a shared disk, in a thread of its own: a disk may hang."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final

from agents.fencing.slots import Disk, NodeState, SlotError
from hacluster.clock import Clock
from hacluster.errors import Unavailable
from lrm.sentinel.core import DiskState

ACKNOWLEDGE_S: Final = 0.2


class PoisonWatch:
    """Reads the slot again and again; `state` is what it saw last."""

    def __init__(
        self, path: str, node: str, boot: str, kind: str, timeout_ms: int, every_s: float, clock: Clock
    ) -> None:
        """Arms the slot for this boot. What was said to it before is obeyed; what was said to another is not.

        Raises Unavailable.
        """
        self._clock, self._every_s = clock, every_s
        try:
            self._disk = Disk(path)
            self._number = self._disk.number_of(node)
            before = self._disk.node(self._number)
            self._node = NodeState(
                node,
                boot=boot,
                acknowledged=before.acknowledged if before.boot == boot else 0,
                heartbeat=before.heartbeat + 1,
                armed_ms=timeout_ms,
                kind=kind,
            )
            self._disk.write_node(self._number, self._node)
            message = self._disk.message(self._number)
        except (OSError, SlotError) as error:
            raise Unavailable(why=f"the shared disk {path}: {error}") from error
        poisoned = message.ends(boot)
        self._sequence = message.sequence
        self.state = DiskState(clock.now_ns(), poisoned=poisoned)
        self._ended, self._poisoned = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="qdisk", daemon=True)
        if poisoned:
            self._poisoned.set()
        else:
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

    def disarm(self) -> bool:
        """In order: nobody watches the slot any more. False: it could not be said, or the node must die.

        Then the watchdog has to stay: others count on it. The slot is not read any more: it will starve.
        """
        if self._poisoned.is_set():
            return False
        self._ended.set()
        self._thread.join(1.0)
        if self._thread.is_alive() or self._poisoned.is_set():
            return False
        armed_ms, self._node.armed_ms = self._node.armed_ms, 0
        try:
            self._disk.write_node(self._number, self._node)
        except (OSError, SlotError):
            self._node.armed_ms = armed_ms
            return False
        return True

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            began_ns = self._clock.now_ns()
            try:
                seen = self._disk.message(self._number)
            except (OSError, SlotError):
                continue  # the age of what was seen last says enough
            poisoned = seen.ends(self._node.boot)
            self._sequence = seen.sequence
            self.state = DiskState(began_ns, poisoned=poisoned)
            if poisoned:
                self._poisoned.set()
                return
            self._node.heartbeat += 1
            with suppress(OSError, SlotError):  # who reads and cannot write obeys all the same
                self._disk.write_node(self._number, self._node)

    def _acknowledge(self) -> None:
        self._node.acknowledged = self._sequence
        with suppress(OSError, SlotError):
            self._disk.write_node(self._number, self._node)
