"""fence_qdisk: tells a node to die by its slot on a shared disk, which its ha-sentinel reads (--qdisk).

It has worked when the node has acknowledged, right before it dies, or when msgwait is over: a sentinel that
cannot read its slot does not feed the watchdog either. A node that nobody guards cannot be fenced by it.
"""

from __future__ import annotations

import time

from agents.fencing.api import Device, DeviceError, Option
from agents.fencing.slots import OFF, Disk, SlotError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_TEXT = __doc__ or ""
MSGWAIT_S = 20.0
POLL_S = 0.1


class QuorumDisk(Device):
    """Slots on one disk."""

    name = "fence_qdisk"
    shortdesc = "Fencing by a slot on a shared disk"
    longdesc = _TEXT
    own = (
        Option("device", "The disk, or the file, that has the slots.", required=True),
        Option("msgwait", "Seconds after which an unanswered message counts as obeyed.", default="20"),
    )

    def off(self, plug: str) -> None:
        """Written, and obeyed or waited for."""
        msgwait_s = float(self.options.get("msgwait") or MSGWAIT_S)
        try:
            disk = self._disk()
            number = disk.number_of(plug)
            slot = disk.read(number)
            if not slot.armed_ms:
                raise DeviceError(f"no sentinel watches the slot of {plug}: nobody would obey")
            if msgwait_s * 1_000 < 2 * slot.armed_ms:
                least = 2 * slot.armed_ms / 1_000
                raise DeviceError(f"msgwait is {msgwait_s:g} s; the watchdog of {plug} asks for {least:g} s")
            slot.message, slot.sequence = OFF, slot.sequence + 1
            wanted = slot.sequence
            disk.write(number, slot)
            until = time.monotonic() + msgwait_s
            while time.monotonic() < until:
                now = disk.read(number)
                if now.acknowledged >= wanted or now.sequence != wanted:
                    return  # obeyed; or it has booted since and begun anew
                time.sleep(POLL_S)
        except SlotError as error:
            raise DeviceError(str(error)) from error

    def on(self, plug: str) -> None:
        """A disk starts nothing."""
        raise DeviceError(f"a disk does not switch {plug} on")

    def reboot(self, plug: str) -> None:
        """Who obeys restarts its machine by itself."""
        self.off(plug)

    def is_on(self, plug: str) -> bool:
        """Whether somebody watches the slot and was not told to die."""
        try:
            disk = self._disk()
            slot = disk.read(disk.number_of(plug))
        except SlotError as error:
            raise DeviceError(str(error)) from error
        return bool(slot.armed_ms) and slot.message != OFF

    def plugs(self) -> Sequence[str]:
        """Nodes with a slot."""
        try:
            return sorted(self._disk().slots())
        except SlotError as error:
            raise DeviceError(str(error)) from error

    def _disk(self) -> Disk:
        path = self.options.get("device", "")
        if not path:
            raise DeviceError("device is needed")
        return Disk(path)
