"""fence_netns: does to a node in a network namespace what a power switch does to a machine.

Cables first, then every process, until none is left, then the namespace itself. A node with namespaces of its
own cannot reach the others': there a switch outside is asked, over a unix socket that the lab serves.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time

from agents.fencing.api import Device, DeviceError, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = "/run/netns"
OFF_WITHIN_S = 10.0
ANSWER_S = 60.0

_TEXT = __doc__ or ""


class NetworkNamespaces(Device):
    """Named network namespaces of this machine, or what a switch has."""

    name = "fence_netns"
    shortdesc = "A power switch for nodes in network namespaces"
    longdesc = _TEXT
    own = (
        Option("prefix", "The namespace of a node is this and the plug's name."),
        Option("switch", "A unix socket: one line ACTION PLUG, answered by a line that begins with ok."),
    )

    def off(self, plug: str) -> None:
        """Nothing of it is left."""
        if self.options.get("switch"):
            self._ask(f"off {plug}")
            return
        name = self._namespace(plug)
        if not os.path.exists(f"{FOLDER}/{name}"):
            return
        self._cut(name)
        until = time.monotonic() + OFF_WITHIN_S
        while pids := self._pids(name):
            if time.monotonic() > until:
                raise DeviceError(f"processes of {name} do not die: {' '.join(map(str, pids))}")
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.002)
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        if os.path.exists(f"{FOLDER}/{name}"):
            raise DeviceError(f"{FOLDER}/{name} cannot be removed")

    def on(self, plug: str) -> None:
        """Only a switch can do that: what a node consists of is not known here."""
        if not self.options.get("switch"):
            raise DeviceError("a namespace is not switched on by this agent")
        self._ask(f"on {plug}")

    def is_on(self, plug: str) -> bool:
        """Whether it has any process."""
        if self.options.get("switch"):
            return self._ask(f"status {plug}").split()[-1] == "on"
        return bool(self._pids(self._namespace(plug)))

    def plugs(self) -> Sequence[str]:
        """Namespaces with the prefix."""
        if self.options.get("switch"):
            return self._ask("list").split()[1:]
        prefix = self.options.get("prefix", "")
        try:
            found = os.listdir(FOLDER)
        except FileNotFoundError:
            return []
        return sorted(name.removeprefix(prefix) for name in found if name.startswith(prefix))

    def _namespace(self, plug: str) -> str:
        name = self.options.get("prefix", "") + plug
        if "/" in name or name in ("", ".", ".."):
            raise DeviceError(f"{name!r} names no namespace")
        return name

    @staticmethod
    def _cut(name: str) -> None:
        """Its links down, so that no packet leaves it any more; what is gone already is no failure."""
        shown = subprocess.run(
            ["ip", "-n", name, "-o", "link", "show"], check=False, capture_output=True, text=True
        )
        for line in shown.stdout.splitlines():
            link = line.split(":")[1].strip().partition("@")[0]
            subprocess.run(["ip", "-n", name, "link", "set", link, "down"], check=False, capture_output=True)

    @staticmethod
    def _pids(name: str) -> list[int]:
        try:
            wanted = os.stat(f"{FOLDER}/{name}").st_ino
        except FileNotFoundError:
            return []
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                if os.stat(f"/proc/{entry}/ns/net").st_ino == wanted:
                    found.append(int(entry))
            except OSError:
                continue
        return found

    def _ask(self, line: str) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(self.options["switch"])
            connection.sendall(line.encode() + b"\n")
            answer = connection.makefile(encoding="utf-8").readline().strip()
        if not answer.startswith("ok"):
            raise DeviceError(answer or "the switch says nothing")
        return answer
