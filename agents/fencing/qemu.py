"""fence_qemu: power for virtual machines by QEMU's monitor protocol (QMP) on unix sockets or TCP.

off is "quit" (as if the plug was pulled), reboot is "system_reset", status asks whether the machine runs. A
machine that was quit is started again by `start`, a command in which %s is the plug's name.

A plug without a socket may be a machine on another host, or a name that is wrong: nothing is said of it, and
off fails, unless trust-absence is set.

A machine's socket may also be tcp:HOST:PORT, for machines that fence each other through their host. QMP
knows no password: only the nodes may reach that port. A HOST that refuses the connection has no such machine,
or the port is wrong: that is absence, too. A HOST that does not answer proves nothing, and off fails always.
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
_TCP = "tcp:"

_TEXT = __doc__ or ""


class Qemu(Device):
    """Machines with a QMP socket each."""

    name = "fence_qemu"
    shortdesc = "Power fencing of QEMU machines by QMP"
    longdesc = _TEXT
    own = (
        Option(
            "socket",
            "The QMP socket of a machine, a path or tcp:HOST:PORT; %s is the plug's name.",
            default="/run/qemu/%s.qmp",
        ),
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
        if template.startswith(_TCP):
            return []  # whoever asks has to name them
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
        if not trusted and (path.startswith(_TCP) or not os.path.lexists(path)):
            raise DeviceError(
                f"there is no socket {path}: whether {plug} is off cannot be said (start it, name its "
                "socket, or set trust-absence=true when machines without a socket run nowhere)"
            )

    @staticmethod
    def _lives(path: str) -> bool:
        """Somebody listens there. A socket without a process is a machine that has ended."""
        try:
            _connect(path).close()
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except ConnectionResetError:
            pass  # somebody did, and is about to end perhaps
        return True

    @staticmethod
    def _say(path: str, command: str, *, may_end: bool = False) -> dict[str, Any]:
        """One command after the handshake; events are passed over."""
        with _connect(path) as connection:
            stream = connection.makefile("rw", encoding="utf-8")
            stream.readline()
            answer: dict[str, Any] = {}
            try:
                for execute in ("qmp_capabilities", command):
                    stream.write(json.dumps({"execute": execute}) + "\n")
                    stream.flush()
                    answer = _answer(stream)
            except ConnectionResetError:
                if not may_end:
                    raise
                answer = {}
        if "error" in answer:
            raise DeviceError(f"{command}: {answer['error'].get('desc', 'refused')}")
        if not answer and not may_end:
            raise DeviceError(f"{command}: the connection ended without an answer")
        value = answer.get("return", {})
        return value if isinstance(value, dict) else {}


def _connect(path: str) -> socket.socket:
    """To a unix socket, or to tcp:HOST:PORT. Raises OSError."""
    if path.startswith(_TCP):
        host, _, port = path[len(_TCP) :].rpartition(":")
        if not host or not port.isdecimal():
            raise DeviceError(f"socket {path!r} is not of the form tcp:HOST:PORT")
        return socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(ANSWER_S)
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def _answer(stream: Any) -> dict[str, Any]:
    for _ in range(LINES_MAX):
        line = stream.readline()
        if not line:
            return {}
        message = json.loads(line)
        if "return" in message or "error" in message:
            return dict(message)
    raise DeviceError("nothing but events")
