"""A lab's node: power, freezing, entering it, its services, its logs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cli.demo.ground import LabError, code_path, host_env

if TYPE_CHECKING:
    from cli.demo.lab import Lab

READY_WITHIN_S: Final = 20.0
SERVICES: Final = ("lrm", "messaging", "crm")
_COMMAND_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One end of a cable: the node's interface on a bridge. Its MAC is the same at each boot."""

    name: str
    bridge: str
    address: str  # with prefix length
    mac: str

    @property
    def ip(self) -> str:
        """Without the prefix length."""
        return self.address.partition("/")[0]


@dataclass(slots=True)
class Node:
    """One machine. Everything about it goes through its lab."""

    lab: Lab
    number: int
    name: str
    interfaces: tuple[Interface, ...]
    launcher: subprocess.Popen[str] | None = None
    first: int = 0  # pid of its first process as we see it; 0: it is off
    boots: int = 0
    boot_args: tuple[str, ...] = ()
    _stopped: bool = field(default=False)

    @property
    def is_on(self) -> bool:
        """It has been booted and not been cut or ended."""
        return self.first != 0 and Path(f"/proc/{self.first}").exists()

    @property
    def disk(self) -> Path:
        """Its /var and /etc/hacluster, whether it is on or off."""
        return self.lab.base_seen_from_here / self.name

    @property
    def first_in_room(self) -> int:
        """Its first process's pid as the machine room sees it."""
        return self.lab.pid_in_room(self.first)

    def boot(self, *, command: Sequence[str] | None = None) -> Node:
        """Power on: a new /run and /tmp, the old /var. Returns when its first process runs."""
        assert not self.is_on, f"{self.name} is on"
        self.lab.boot_node(self, command)
        return self

    def power_cut(self) -> int:
        """Cables dead and every process killed, in that order within a millisecond; the moment in ns."""
        ports = [self.lab.port(self, interface) for interface in self.interfaces]
        reply = self.lab.ask("cut", pid=self.first_in_room, ports=ports)
        self._buried()
        self.lab.ask("unwire", ports=ports)
        return int(reply["at_ns"])

    def shut_down(self, within_s: float = 60.0) -> int:
        """SIGTERM to its first process, an orderly stop; its exit code."""
        assert self.launcher is not None
        os.kill(self.first, signal.SIGTERM)
        try:
            code = self.launcher.wait(within_s)
        except subprocess.TimeoutExpired as error:
            raise LabError(what=f"{self.name} did not stop within {within_s:g} s") from error
        self._buried()
        return code

    def _buried(self) -> None:
        if self.launcher is not None:
            self.launcher.wait(READY_WITHIN_S)
            for stream in (self.launcher.stdin, self.launcher.stdout, self.launcher.stderr):
                if stream is not None:
                    stream.close()
        self.launcher, self.first = None, 0
        self._stopped = False

    def freeze(self) -> int:
        """Stop every process of it, as a paused virtual machine; the moment in ns."""
        self._stopped = True
        return int(self.lab.ask("signal", pid=self.first_in_room, number=int(signal.SIGSTOP))["at_ns"])

    def thaw(self) -> int:
        """Let it go on."""
        self._stopped = False
        return int(self.lab.ask("signal", pid=self.first_in_room, number=int(signal.SIGCONT))["at_ns"])

    def enter(self, *command: str) -> list[str]:
        """The command line that runs `command` in the node."""
        return self.lab.enter(self.first, *command)

    def exec(
        self, *command: str, check: bool = True, stdin: str = "", within_s: float = _COMMAND_WITHIN_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it. Raises LabError with its output unless it ends with 0 in time."""
        try:
            done = subprocess.run(
                self.enter(*command),
                input=stdin,
                text=True,
                capture_output=True,
                check=False,
                timeout=within_s,
                env=self.environment,
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(what=f"{self.name}: {' '.join(command)} took more than {within_s:g} s") from error
        if check and done.returncode:
            text = (done.stdout + done.stderr).strip()[-2_000:]
            raise LabError(what=f"{self.name}: {' '.join(command)} ended with {done.returncode}: {text}")
        return done

    def hacli(self, *words: str, check: bool = True, within_s: float = _COMMAND_WITHIN_S) -> str:
        """Run hacli in it; its output."""
        return self.exec(sys.executable, "-m", "cli", *words, check=check, within_s=within_s).stdout

    @property
    def environment(self) -> dict[str, str]:
        """Of every process in it."""
        return {
            **host_env(),
            "PYTHONPATH": code_path(),
            "GRPC_ENABLE_FORK_SUPPORT": "0",
            "HACLUSTER_NODE": self.name,
            "HACLUSTER_LAB": self.lab.name,
            "HOME": "/tmp",  # noqa: S108 - the node's own
        }

    def pids(self, module: str) -> list[int]:
        """Pids, as we see them, of `python -m MODULE` in it."""
        found = []
        namespace = namespace_of(self.first)
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    named = b"-m" in words[1:4] and words[words.index(b"-m") + 1] == module.encode()
                    if named and namespace_of(int(entry.name)) == namespace:
                        found.append(int(entry.name))
        return sorted(found)

    def service_pid(self, service: str) -> int:
        """The pid of one of the three services. Raises LabError when it does not run."""
        pids = self.pids(service)
        if not pids:
            raise LabError(what=f"{service} does not run on {self.name}")
        return pids[0]

    def kill_service(self, service: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to one of the three services; the moment in ns."""
        at_ns = time.monotonic_ns()
        os.kill(self.service_pid(service), number)
        return at_ns

    def log(self, service: str) -> str:
        """What a service ("supervisor" too) has written since the node's first boot."""
        path = self.disk / "var/log/hacluster" / f"{service}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def log_records(self, service: str) -> Iterator[dict[str, Any]]:
        """The same, parsed; what is no JSON comes as {"event": "text", "text": LINE}."""
        for line in self.log(service).splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                record = {"event": "text", "text": line}
            if isinstance(record, dict):
                yield record

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file of its disk, below /etc/hacluster, /etc/ha.d or /var; also while it is off."""
        target = self.disk / path.lstrip("/")
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        target.parent.chmod(target.parent.stat().st_mode & ~0o022)  # whatever the umask: keys may lie there
        target.touch(mode=mode)
        target.chmod(mode)
        target.write_text(text)


def namespace_of(pid: int) -> str:
    """Names the pid namespace a process is in. Raises OSError when it is gone."""
    return str(Path(f"/proc/{pid}/ns/pid").readlink())
