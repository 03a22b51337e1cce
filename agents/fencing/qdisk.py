"""fence_qdisk: tells a node to die by its slot on a shared disk, which its ha-sentinel reads (--qdisk).

It has worked when the boot that was told to die has acknowledged, right before it dies, or another boot has
begun. Silence counts only with a hardware watchdog, which a sentinel that cannot read its slot does not
feed: when the slot's heartbeat has stood still for msgwait, and the boot that is to end has armed the slot
(ha-crm says which one, or the node's ha-messaging, with the witness on the same disk). A node that nobody
guards cannot be fenced by it, and one whose sentinel is its own timer (or softdog) only with
trust-software-watchdog, and never by silence.
"""

from __future__ import annotations

import sys
import time

from agents.fencing.api import Device, DeviceError, Option
from agents.fencing.slots import HARDWARE, OFF, Disk, NodeState, SlotError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_TEXT = __doc__ or ""
MSGWAIT_S = 20.0
POLL_S = 0.1
BOOT = "hacluster_boot"
SPAN = 2
"""So many msgwait at most: a heartbeat after the message begins the wait anew."""


class QuorumDisk(Device):
    """Slots on one disk."""

    name = "fence_qdisk"
    shortdesc = "Fencing by a slot on a shared disk"
    longdesc = _TEXT
    own = (
        Option("device", "The disk, or the file, that has the slots.", required=True),
        Option(
            "msgwait", "Seconds of silence after which a hardware watchdog has ended the node.", default="20"
        ),
        Option(
            "trust-software-watchdog",
            "Also tell nodes whose sentinel has no hardware behind it; only an answer counts.",
            default="false",
        ),
        Option(
            BOOT,
            "The first digits of the boot that is to end; ha-crm says it. Without it only an answer to this "
            "message counts: a machine that was booted without its sentinel is silent, too.",
        ),
    )

    def off(self, plug: str) -> None:
        """Written, and obeyed or waited for."""
        msgwait_s = float(self.options.get("msgwait") or MSGWAIT_S)
        try:
            disk = self._disk()
            number = disk.number_of(plug)
            node = disk.node(number)
            self._check(plug, node, msgwait_s)
            message = disk.message(number)
            if message.ends(node.boot) and node.acknowledged >= message.sequence and not self._boot():
                raise DeviceError(f"{plug} has obeyed before: whether it was booted since cannot be said")
            if not message.ends(node.boot):  # two fencers say the same thing, and await the same answer
                message.message, message.boot = OFF, node.boot
                message.sequence = max(message.sequence, node.acknowledged) + 1
                disk.write_message(number, message)
            self._await(disk, number, plug, node, message.sequence, msgwait_s)
        except SlotError as error:
            raise DeviceError(str(error)) from error

    def _check(self, plug: str, node: NodeState, msgwait_s: float) -> None:
        """Raises DeviceError when nobody would obey."""
        if not node.armed_ms or not node.boot:
            raise DeviceError(f"no sentinel watches the slot of {plug}: nobody would obey")
        self._check_boot(plug, node)
        if node.kind != HARDWARE and not self._trusts_software():
            raise DeviceError(
                f"the watchdog of {plug} is {node.kind or 'unknown'}, no hardware: nobody ends the node when "
                "its sentinel is gone (trust-software-watchdog=true tells it all the same)"
            )
        if msgwait_s * 1_000 < 2 * node.armed_ms:
            least = 2 * node.armed_ms / 1_000
            raise DeviceError(f"msgwait is {msgwait_s:g} s; the watchdog of {plug} asks for {least:g} s")

    def _boot(self) -> str:
        return self.options.get(BOOT, "").strip()

    def _check_boot(self, plug: str, node: NodeState) -> None:
        """Raises DeviceError when the slot is not about the boot that is meant."""
        if not node.boot.startswith(self._boot()):
            raise DeviceError(f"the slot of {plug} was armed by another boot: nobody guards the one of now")

    def _await(
        self, disk: Disk, number: int, plug: str, told: NodeState, wanted: int, msgwait_s: float
    ) -> None:
        """Until that boot is over. Raises DeviceError when that is not certain."""
        began = silent_since = time.monotonic()
        heartbeat = told.heartbeat
        while True:
            asked = time.monotonic()
            now = disk.node(number)
            if not now.boot:
                raise DeviceError(
                    f"the slot of {plug} was made anew meanwhile: fence again when it is watched"
                )
            if now.boot != told.boot or now.acknowledged >= wanted:
                return
            if not now.armed_ms:
                raise DeviceError(f"the sentinel of {plug} was stopped: nobody obeys")
            if now.heartbeat != heartbeat:
                heartbeat, silent_since = now.heartbeat, time.monotonic()
            if asked - silent_since >= msgwait_s:
                break
            if asked - began >= SPAN * msgwait_s:
                raise DeviceError(f"{plug} does not obey, and its sentinel lives: its heartbeat goes on")
            time.sleep(POLL_S)
        record = disk.record(number)
        if record is None:
            raise DeviceError(
                f"the record of {plug} is damaged or was never made (agents.fencing.slots init)"
            )
        if record.serial and record.boot.hex() != told.boot:
            raise DeviceError(
                f"{plug} is silent for {msgwait_s:g} s, but its ha-messaging has written in another boot "
                "than its sentinel: nothing is known to guard its last one"
            )
        if told.kind != HARDWARE:
            raise DeviceError(f"{plug} is silent for {msgwait_s:g} s, and no hardware watchdog ends it")
        if not self._boot() and not record.serial:
            raise DeviceError(
                f"{plug} is silent for {msgwait_s:g} s, which proves nothing of an unknown boot: "
                "it may have no sentinel"
            )
        print(f"{self.name}: {plug} was silent for {msgwait_s:g} s: its watchdog ended it", file=sys.stderr)

    def on(self, plug: str) -> None:
        """A disk starts nothing."""
        raise DeviceError(f"a disk does not switch {plug} on")

    def reboot(self, plug: str) -> None:
        """Who obeys restarts its machine by itself."""
        self.off(plug)

    def is_on(self, plug: str) -> bool:
        """Off: a boot that has acknowledged. Raises DeviceError for a node that nobody guards."""
        try:
            disk = self._disk()
            number = disk.number_of(plug)
            node, message = disk.node(number), disk.message(number)
        except SlotError as error:
            raise DeviceError(str(error)) from error
        if not node.armed_ms:
            raise DeviceError(f"no sentinel watches the slot of {plug}: whether it is on cannot be said")
        self._check_boot(plug, node)
        return not (message.ends(node.boot) and node.acknowledged >= message.sequence)

    def plugs(self) -> Sequence[str]:
        """Nodes with a slot."""
        try:
            return sorted(self._disk().slots())
        except SlotError as error:
            raise DeviceError(str(error)) from error

    def _trusts_software(self) -> bool:
        return self.options.get("trust-software-watchdog", "").lower() in ("1", "yes", "true", "on")

    def _disk(self) -> Disk:
        path = self.options.get("device", "")
        if not path:
            raise DeviceError("device is needed")
        return Disk(path)
