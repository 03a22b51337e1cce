"""`python -m tests.qemu` (as root): the story, from power to power. See the package's text.

--folder DIR keeps consoles, journals and disks there; --cache DIR the base of the disks (build/qemu).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.qemu.image import CHECKOUT, Image, build
from tests.qemu.machine import HOST, Ground, Machine, until

INSIDE: Final = "--inside"
NODE1, NODE2 = "node1.nyist.com", "node2.nyist.com"
ADDRESSES: Final = {NODE1: "172.16.20.11", NODE2: "172.16.20.12"}
SERVICE: Final = "172.16.20.100"
TIMERS: Final = {"keepalive": "2", "deadtime": "30", "warntime": "15", "initdead": "300"}
"""Emulated processors on a machine that others use, too: silence of seconds says nothing here."""
BOOT_S, MOVE_S, FENCE_S, RESET_S = 1_200.0, 600.0, 300.0, 300.0
MEMBERS: Final = ("ip", "fs", "httpd")
BEGUN: Final = re.compile(r"event=lrm\.operation_begun .*")


@dataclass
class Story:
    """What happens, and what has to follow."""

    folder: Path
    image: Image
    began_s: float = field(default_factory=time.monotonic)
    failed: bool = False

    def __post_init__(self) -> None:
        self.machines = {
            name: Machine(name, address, number, self.image, self.folder)
            for number, (name, address) in enumerate(ADDRESSES.items(), start=1)
        }

    def say(self, text: str) -> None:
        """One line with the time since the beginning."""
        print(f"[{time.monotonic() - self.began_s:6.1f} s] {text}", flush=True)

    def wait(self, true: Callable[[], bool], what: str, within_s: float) -> None:
        """Say that it came true, and how long it took."""
        took_s = until(true, what, within_s, self.say)
        self.say(f"{what} (after {took_s:.1f} s)")

    def page_from(self) -> str:
        """Which node answers a request to the service's address; empty when none does."""
        try:
            done = subprocess.run(
                ["curl", "-s", "-m", "5", f"http://{SERVICE}/index.html"],
                capture_output=True,
                timeout=10,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return ""
        if done.stdout != b"the page\n":
            return ""
        return next((name for name in self.machines if self.has_address(name)), "")

    def has_address(self, name: str) -> bool:
        """Whether the neighbours' table of the host has the service's address at this machine's card."""
        number = self.machines[name].number
        shown = subprocess.run(
            ["ip", "neighbour", "show", SERVICE], capture_output=True, text=True, timeout=10, check=True
        )
        return f"52:54:00:16:20:{number:02x}" in shown.stdout

    def serves(self, name: str) -> Callable[[], bool]:
        """For `wait`."""
        return lambda: self.page_from() == name

    def boots(self, *names: str) -> None:
        """Power on, and until the cluster's daemons answer."""
        for name in names:
            self.machines[name].power_on()
        for name in names:
            machine = self.machines[name]
            self.wait(machine.answers, f"{name} has systemd and a network", BOOT_S)
            version = machine.run("uname -r; systemctl --version | head -1").splitlines()
            self.say(f"  {name}: Linux {', '.join(version)}")

    def status(self, name: str) -> None:
        """What the cluster says of itself, there."""
        for line in self.machines[name].run("hacli status 2>&1", 120).splitlines():
            self.say(f"  {line}")

    def order(self, name: str, verb: str, since_s: int = 0) -> None:
        """The group's members in the order in which they were started or stopped since the machine's boot."""
        text = self.machines[name].run(f"journalctl -q -b -o cat -u ha-lrm --since @{since_s}", 120)
        fields = [dict(re.findall(r"(\w+)=(\S+)", line)) for line in BEGUN.findall(text)]
        seen = [each["resource"] for each in fields if each.get("operation") == verb]
        members = [each for each in seen if each in MEMBERS]
        wanted = MEMBERS if verb == "start" else MEMBERS[::-1]
        self.expect(members == list(wanted), f"{name}: {verb} {', '.join(members)}")

    def now_s(self, name: str) -> int:
        """The clock of a machine."""
        said = self.machines[name].run("date +%s").strip()
        return int(said) if said.isdecimal() else 0

    def expect(self, true: bool, what: str) -> None:
        """A finding that does not end the story."""
        self.say(("yes: " if true else "NO: ") + what)
        self.failed = self.failed or not true

    def play(self) -> None:
        """All acts."""
        one, two = self.machines.values()
        self.say("== both machines are switched on")
        self.boots(NODE1, NODE2)
        self.wait(self.serves(NODE1), "node1 serves the page", BOOT_S)
        self.status(NODE2)
        self.order(NODE1, "start")
        self.expect("type nfs4" in one.run("mount -t nfs4"), "the page is on an NFS mount of node1's kernel")
        self.expect(
            "running" in one.run("systemctl is-system-running").replace("degraded", "running"),
            "systemd is up",
        )
        self.say(
            f"  {one.run('cat /sys/class/watchdog/watchdog0/identity /sys/class/watchdog/watchdog0/state')!r}"
        )

        self.say("== node1's plug is pulled")
        since_s = self.now_s(NODE2)
        one.cut_power()
        self.wait(self.serves(NODE2), "node2 serves the page", MOVE_S)
        self.order(NODE2, "start", since_s)
        self.status(NODE2)

        self.say("== node1 is switched on again")
        since_s = self.now_s(NODE2)
        self.boots(NODE1)
        self.wait(self.serves(NODE1), "node1 serves the page again", BOOT_S)
        self.order(NODE2, "stop", since_s)
        self.order(NODE1, "start")

        self.say("== node1 hangs (its processor is stopped), with the address and the mount")
        since_s = self.now_s(NODE2)
        one.say("stop")
        self.wait(lambda: not one.runs, "node2 has switched node1 off by QMP", FENCE_S)
        self.wait(self.serves(NODE2), "node2 serves the page", MOVE_S)
        self.order(NODE2, "start", since_s)
        fenced = two.run(
            f"journalctl -q -o cat --since @{since_s} -u ha-crm | grep event=crm.node_fenced", 120
        )
        self.expect("device=power1" in fenced, "node2 knows that node1 is fenced, by power1")

        self.say("== node1 is switched on again, and its sentinel hangs: nobody feeds the watchdog")
        self.boots(NODE1)
        self.wait(self.serves(NODE1), "node1 serves the page again", BOOT_S)
        hang = "systemctl kill --signal=STOP ha-sentinel"
        took_s = one.wait_event("WATCHDOG", lambda: one.run(hang), RESET_S)
        self.say(f"its watchdog (i6300esb) has reset node1 (after {took_s:.1f} s)")
        self.wait(self.serves(NODE2), "node2 serves the page", MOVE_S)
        if not one.runs:
            self.say("node2 has switched node1 off besides: it is switched on")
            one.power_on()
        self.wait(self.serves(NODE1), "node1 serves the page in the end", BOOT_S)
        self.status(NODE2)

    def journals(self) -> None:
        """Keep what the machines have logged."""
        for machine in self.machines.values():
            if machine.runs:
                text = machine.run("journalctl -q -b --no-pager", 120)
                (self.folder / f"node{machine.number}.journal").write_text(text)

    def end(self) -> None:
        """No machine is left."""
        for machine in self.machines.values():
            if machine.runs:
                machine.cut_power()


def configuration(folder: Path) -> Path:
    """The tutorial's three files, imported, with power fencing besides."""
    old, new = folder / "ha.d", folder / "nodes"
    old.mkdir(parents=True)
    for path in (CHECKOUT / "deploy/examples/heartbeat-v1").iterdir():
        text = path.read_text()
        for directive, seconds in TIMERS.items():
            text = re.sub(rf"(?m)^{directive} .*", f"{directive} {seconds}", text)
        (old / path.name).write_text(text)
    nodes = [word for name, address in ADDRESSES.items() for word in ("--node", f"{name}={address}")]
    hacli("import", "heartbeat", str(old), *nodes, "--output", str(new))
    initial = new / NODE1 / "etc/hacluster/initial-cib.xml"
    offline = ("--cib-file", str(initial), "configure")
    for number, name in enumerate(ADDRESSES, start=1):
        params = (f"socket=tcp:{HOST}:{4440 + number}", "trust-absence=true", f"pcmk_host_list={name}")
        hacli(
            *(*offline, "primitive", f"power{number}", "stonith:fence_qemu", "params", *params),
            *("pcmk_reboot_action=off", "op", "monitor", "interval=120s", "timeout=120s"),
        )
        hacli(*offline, "location", f"power{number}-elsewhere", f"power{number}", "-inf:", name)
    hacli(*offline, "property", "stonith-enabled=true", "stonith-timeout=180s", "dc-deadtime=120s")
    (new / NODE2 / "etc/hacluster/initial-cib.xml").write_bytes(initial.read_bytes())
    return new


def hacli(*words: str) -> None:
    """Run it. Raises CalledProcessError."""
    command = [sys.executable, "-m", "cli", *words]
    subprocess.run(command, cwd=CHECKOUT, check=True, timeout=120, stdout=subprocess.DEVNULL)


def main(argv: Sequence[str]) -> int:
    """0 when all of it happened."""
    parser = argparse.ArgumentParser(prog="tests.qemu")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--cache", type=Path, default=CHECKOUT / "build/qemu")
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if os.geteuid() != 0:
        print("tests.qemu: it has to be run by root: it makes a network namespace", file=sys.stderr)
        return 2
    if not options.inside:
        return _in_a_namespace(argv)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="qemu-tutorial-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"consoles, journals and disks are in {folder}", flush=True)
    image = build(options.cache, configuration(folder), lambda text: print(f"making: {text}", flush=True))
    ground, story = Ground(folder), Story(folder, image)
    try:
        ground.lay()
        ground.serve_files()
        story.play()
    except TimeoutError as error:
        story.say(f"FAILED: {error}")
        story.failed = True
    finally:
        story.journals()
        story.end()
        ground.clear()
    story.say("some of it did not happen" if story.failed else "all of it happened")
    return 1 if story.failed else 0


def _in_a_namespace(argv: Sequence[str]) -> int:
    """Again, with a network of its own, which goes with the last process in it."""
    command = ["unshare", "--net", sys.executable, "-m", "tests.qemu", *argv, INSIDE]
    return subprocess.run(command, cwd=CHECKOUT, check=False, timeout=3 * 3_600).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
