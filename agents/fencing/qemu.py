"""fence_qemu: power for virtual machines by QEMU's monitor protocol (QMP) on unix sockets.

off is "quit" (as if the plug was pulled), reboot is "system_reset", status asks whether the machine runs. A
machine that was quit is started again by `start`, a command in which %s is the plug's name.

A plug without a socket may be a machine on another host, or a name that is wrong: nothing is said of it, and
off fails, unless trust-absence is set.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import time

from agents.fencing.api import Device, DeviceError, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

ANSWER_S = 10.0
GONE_S = 10.0
LINES_MAX = 1_000

_TEXT = __doc__ or ""


class Qemu(Device):
    """Machines with a QMP socket each."""

    name = "fence_qemu"
    shortdesc = "Power fencing of QEMU machines by QMP"
    longdesc = _TEXT
    own = (
        Option("socket", "The QMP socket of a machine; %s is the plug's name.", default="/run/qemu/%s.qmp"),
        Option("start", "Starts a machine; %s is the plug's name. The command is not given to a shell."),
        Option(
            "trust-absence",
            "A machine without a socket counts as off: none can run elsewhere.",
            default="false",
        ),
    )

    def off(self, plug: str) -> None:
        """The process is gone."""
        path = self._path(plug)
        if not self._lives(path):
            self._check_absence(path, plug)
            return
        self._say(path, "quit", may_end=True)
        until = time.monotonic() + GONE_S
        while self._lives(path):
            if time.monotonic() > until:
                raise DeviceError(f"{plug} was told to quit, and runs on")
            time.sleep(0.01)

    def on(self, plug: str) -> None:
        """Start it, if it does not run."""
        if self._lives(self._path(plug)):
            return
        command = self.options.get("start", "")
        if not command:
            raise DeviceError("there is no start command")
        words = [word.replace("%s", plug) for word in shlex.split(command)]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, check=False, timeout=60)
        if done.returncode != 0:
            raise DeviceError(f"{words[0]} ended with {done.returncode}")

    def reboot(self, plug: str) -> None:
        """A reset is atomic: the kernel in it has no last word. One that does not run is started."""
        path = self._path(plug)
        if self._lives(path):
            self._say(path, "system_reset")
            self._say(path, "cont")  # a machine that was stopped would wait for ever after its reset
        else:
            super().reboot(plug)

    def is_on(self, plug: str) -> bool:
        """Whether the machine's processors run or could."""
        path = self._path(plug)
        if not self._lives(path):
            self._check_absence(path, plug)
            return False
        status = self._say(path, "query-status")
        return str(status.get("status")) not in ("shutdown", "internal-error", "guest-panicked")

    def plugs(self) -> Sequence[str]:
        """By the sockets that are there."""
        template = self.options.get("socket") or "/run/qemu/%s.qmp"
        folder, name = os.path.split(template)
        before, _, after = name.partition("%s")
        try:
            found = os.listdir(folder)
        except FileNotFoundError:
            return []
        matching = [one for one in found if one.startswith(before) and one.endswith(after)]
        return sorted(one[len(before) : len(one) - len(after)] for one in matching)

    def _path(self, plug: str) -> str:
        if "/" in plug:
            raise DeviceError(f"{plug!r} names no machine")
        return (self.options.get("socket") or "/run/qemu/%s.qmp").replace("%s", plug)

    def _check_absence(self, path: str, plug: str) -> None:
        """Raises DeviceError when nothing shows that this machine ever was here."""
        trusted = self.options.get("trust-absence", "").lower() in ("1", "yes", "true", "on")
        if not trusted and not os.path.lexists(path):
            raise DeviceError(
                f"there is no socket {path}: whether {plug} is off cannot be said (start it, name its "
                "socket, or set trust-absence=true when machines without a socket run nowhere)"
            )

    @staticmethod
    def _lives(path: str) -> bool:
        """Somebody listens there. A socket without a process is a machine that has ended."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_S)
            try:
                connection.connect(path)
            except (FileNotFoundError, ConnectionRefusedError):
                return False
        return True

    @staticmethod
    def _say(path: str, command: str, *, may_end: bool = False) -> dict[str, Any]:
        """One command after the handshake; events are passed over."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(path)
            stream = connection.makefile("rw", encoding="utf-8")
            stream.readline()
            answer: dict[str, Any] = {}
            for execute in ("qmp_capabilities", command):
                stream.write(json.dumps({"execute": execute}) + "\n")
                stream.flush()
                answer = _answer(stream)
        if "error" in answer:
            raise DeviceError(f"{command}: {answer['error'].get('desc', 'refused')}")
        if not answer and not may_end:
            raise DeviceError(f"{command}: the connection ended without an answer")
        value = answer.get("return", {})
        return value if isinstance(value, dict) else {}


def _answer(stream: Any) -> dict[str, Any]:
    for _ in range(LINES_MAX):
        line = stream.readline()
        if not line:
            return {}
        message = json.loads(line)
        if "return" in message or "error" in message:
            return dict(message)
    raise DeviceError("nothing but events")
