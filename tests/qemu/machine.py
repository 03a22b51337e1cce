"""One QEMU machine, and the ground it stands on: a namespace with a bridge and an NFS server."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.qemu.image import Image

BRIDGE: Final = "lan"
HOST: Final = "172.16.20.32"
"""The NFS server of the tutorial; the client and the machines' monitors are there, too."""
GATEWAY: Final = "172.16.0.1"
BITS: Final = 16
DOOR: Final = 7000
ANSWER_S: Final = 60.0

GANESHA: Final = """
NFS_CORE_PARAM {{ NFS_Protocols = 4; Bind_addr = {host}; Enable_NLM = false; Enable_RQUOTA = false; }}
NFSV4 {{ Grace_Period = 5; Lease_Lifetime = 20; RecoveryRoot = "{folder}/recovery"; }}
EXPORT {{
    Export_Id = 1; Path = "{folder}/htdoc"; Pseudo = "/www/htdoc"; Access_Type = RW; Squash = No_Root_Squash;
    Protocols = 4; SecType = sys; FSAL {{ Name = VFS; }}
}}
"""


def command(*words: str) -> None:
    """Run one. Raises CalledProcessError."""
    subprocess.run(words, check=True, timeout=60, stdin=subprocess.DEVNULL)


@dataclass
class Ground:
    """The network, inside the namespace that this process is in already, and the NFS server."""

    folder: Path
    server: subprocess.Popen[bytes] | None = None

    def lay(self) -> None:
        """Bridge and addresses."""
        command("ip", "link", "set", "lo", "up")
        command("ip", "link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0")
        for address in (HOST, GATEWAY):
            command("ip", "address", "add", f"{address}/{BITS}", "dev", BRIDGE)
        command("ip", "link", "set", BRIDGE, "up")

    def serve_files(self) -> None:
        """ganesha.nfsd in user space exports what the web server shows."""
        (self.folder / "htdoc").mkdir(parents=True)
        (self.folder / "recovery").mkdir()
        (self.folder / "htdoc/index.html").write_text("the page\n")
        configuration = self.folder / "ganesha.conf"
        configuration.write_text(GANESHA.format(host=HOST, folder=self.folder))
        log, pid = self.folder / "ganesha.log", self.folder / "ganesha.pid"
        self.server = subprocess.Popen(
            ["ganesha.nfsd", "-F", "-f", str(configuration), "-L", str(log), "-p", str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: _answers((HOST, 2049)), "the NFS server answers", 60)

    def clear(self) -> None:
        """End the server."""
        if self.server is not None:
            self.server.terminate()
            try:
                self.server.wait(10)
            except subprocess.TimeoutExpired:
                self.server.kill()


@dataclass
class Machine:
    """A node. Its disk is an overlay that stays when it is powered off."""

    name: str
    address: str
    number: int
    image: Image
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def fence_port(self) -> int:
        """Where the host lets nodes at this machine's monitor."""
        return 4440 + self.number

    @property
    def console(self) -> Path:
        """What its kernel and systemd say."""
        return self.folder / f"node{self.number}.console"

    def power_on(self) -> None:
        """Plug it in."""
        overlay, tap = self.folder / f"node{self.number}.qcow2", f"tap{self.number}"
        if not overlay.exists():
            backing = ("-f", "qcow2", "-b", str(self.image.disk), "-F", "raw")
            command("qemu-img", "create", "-q", *backing, str(overlay))
            command("ip", "tuntap", "add", tap, "mode", "tap")
            command("ip", "link", "set", tap, "master", BRIDGE, "up")
        self._monitor_path.unlink(missing_ok=True)
        line = f"console=ttyS0 net.ifnames=0 mitigations=off panic=5 machine={self.name} "
        line += f"address={self.address}/{BITS}"
        words = (
            *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "Nehalem", "-smp", "1"),
            *("-m", "768", "-nographic", "-nodefaults", "-no-user-config"),
            *("-kernel", str(self.image.kernel), "-initrd", str(self.image.initrd), "-append", line),
            *("-drive", f"file={overlay},if=virtio,format=qcow2,cache=unsafe"),
            *("-netdev", f"tap,id=n0,ifname={tap},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=n0,mac=52:54:00:16:20:{self.number:02x}"),
            *("-device", "i6300esb", "-action", "watchdog=reset"),
            *("-serial", f"file:{self.console}"),
            *("-qmp", f"unix:{self._monitor_path},server=on,wait=off"),
            *("-qmp", f"tcp:{HOST}:{self.fence_port},server=on,wait=off"),
        )
        log = (self.folder / f"node{self.number}.qemu").open("ab")
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        until(self._monitor_path.exists, f"the monitor of {self.name}", 30)

    def cut_power(self) -> None:
        """Pull the plug."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.poll() is None

    def say(self, execute: str) -> Any:
        """One command to its monitor."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(str(self._monitor_path))
            stream = connection.makefile("rw", encoding="utf-8")
            stream.readline()
            answer = None
            for one in ("qmp_capabilities", execute):
                stream.write(json.dumps({"execute": one}) + "\n")
                stream.flush()
                answer = _answer(stream)
        return answer

    def wait_event(self, name: str, after: Callable[[], object], within_s: float) -> float:
        """Do something, and wait until the monitor tells of an event; seconds. Raises TimeoutError."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(within_s)
            connection.connect(str(self._monitor_path))
            stream = connection.makefile("rw", encoding="utf-8")
            stream.readline()
            stream.write('{"execute": "qmp_capabilities"}\n')
            stream.flush()
            _answer(stream)
            began_s = time.monotonic()
            after()
            for line in stream:
                if json.loads(line).get("event") == name:
                    return time.monotonic() - began_s
        raise TimeoutError(f"{self.name} has ended without {name}")

    def run(self, line: str, within_s: float = ANSWER_S) -> str:
        """What a command in the machine prints; empty when nobody answers."""
        try:
            with socket.create_connection((self.address, DOOR), timeout=5) as connection:
                connection.settimeout(within_s)
                connection.sendall(line.encode() + b"\n")
                said = b""
                while block := connection.recv(65_536):
                    said += block
                return said.decode(errors="replace")
        except OSError:
            return ""

    def answers(self) -> bool:
        """Whether its door is open."""
        return self.run("echo here", 20) == "here\n"

    @property
    def _monitor_path(self) -> Path:
        return self.folder / f"node{self.number}.qmp"


def _answer(stream: Any) -> Any:
    for line in stream:
        message = json.loads(line)
        if "return" in message or "error" in message:
            return message.get("return", message.get("error"))
    return None


def until(
    true: Callable[[], bool], what: str, within_s: float, say: Callable[[str], None] | None = None
) -> float:
    """Seconds it took. Raises TimeoutError; says every half minute that it waits."""
    began_s = time.monotonic()
    said_s = began_s
    while not true():
        now_s = time.monotonic()
        if now_s - began_s > within_s:
            raise TimeoutError(f"not within {within_s:.0f} s: {what}")
        if say is not None and now_s - said_s > 30:
            said_s = now_s
            say(f"... {what}: {now_s - began_s:.0f} s of {within_s:.0f}")
        time.sleep(0.2)
    return time.monotonic() - began_s


def _answers(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True
