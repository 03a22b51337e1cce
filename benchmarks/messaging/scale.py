"""`python -m benchmarks.messaging.scale [--nodes 32] [--seconds 30]`: real daemons in network namespaces.

How long after the last one's start they are in one view, and what each costs idle, in CPU seconds a second,
at K = 1 s, with initdead as it is by default. Machines are switched on one after the other, each when the one
before serves: here all share a few cores, which real ones do not. Limits: 10 s, 1 % of a core. Needs root;
the namespaces (names `hamsg-…`) are removed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SWITCH = "hamsg-sw"
VIEW_LIMIT_S = 10.0
IDLE_LIMIT = 0.01
GIVE_UP_S = 300.0

HEAD = """\
[cluster]
name = "scale"
id = "9f86d081884c7d659a2feaa0c55ad015"
[timers]
keepalive = "1s"
warntime = "4s"
deadtime = "10s"
initdead = "30s"
[[link]]
kind = "udp"
"""


def ip(*words: str, space: str = "") -> None:
    subprocess.run(["ip", *(["-n", space] if space else []), *words], check=True, capture_output=True)


def address(number: int) -> str:
    return f"10.231.{number // 250}.{number % 250 + 1}"


class Machines:
    """n namespaces on one bridge, which is in a namespace of its own."""

    def __init__(self, count: int, folder: Path, head: str = HEAD, start_by: tuple[str, ...] = ()) -> None:
        """`head`: what cluster.toml says before its nodes; `start_by`: a command before the daemons'."""
        self.count, self.folder, self.head, self.start_by = count, folder, head, start_by
        self.daemons: dict[int, subprocess.Popen[bytes]] = {}
        self.spaces: list[str] = []

    def build(self) -> None:
        self._space(SWITCH)
        ip("link", "add", "br0", "type", "bridge", space=SWITCH)
        ip("link", "set", "br0", "up", space=SWITCH)
        text = self.head + "".join(
            f'[[node]]\nid = {n}\nname = "n{n}"\naddresses = ["{address(n)}"]\n'
            for n in range(1, self.count + 1)
        )
        for number in range(1, self.count + 1):
            space = f"hamsg-{number}"
            self._space(space)
            ip(
                "link",
                "add",
                "eth0",
                "netns",
                space,
                "type",
                "veth",
                "peer",
                "name",
                f"p{number}",
                "netns",
                SWITCH,
            )
            ip("link", "set", f"p{number}", "master", "br0", "up", space=SWITCH)
            ip("addr", "add", f"{address(number)}/16", "dev", "eth0", space=space)
            ip("link", "set", "eth0", "up", space=space)
            ip("link", "set", "lo", "up", space=space)
            etc = self.folder / f"n{number}/etc/hacluster"
            etc.mkdir(parents=True)
            (etc / "cluster.toml").write_text(text)
            (etc / "authkeys").write_text("auth 1\n1 sha256 0123456789abcdef0123456789abcdef\n")
            (etc / "authkeys").chmod(0o600)

    def _space(self, name: str) -> None:
        ip("netns", "add", name)
        self.spaces.append(name)

    def start(self, number: int) -> None:
        environment = {**os.environ, "HACLUSTER_LAB": "1", "GRPC_ENABLE_FORK_SUPPORT": "0"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed daemon is compiled, too
        environment["PYTHONPYCACHEPREFIX"] = str(self.folder / "compiled")
        root = self.folder / f"n{number}"
        command = [
            "ip",
            "netns",
            "exec",
            f"hamsg-{number}",
            *self.start_by,
            sys.executable,
            "-m",
            "messaging",
        ]
        command += ["--root", str(root), "--node", f"n{number}", "--log-format", "kv"]
        with (self.folder / f"n{number}.log").open("ab") as log:
            self.daemons[number] = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log
            )

    def in_one_view(self) -> bool:
        """Every daemon's newest view has all members."""
        return all(self._view(number) == self.count for number in range(1, self.count + 1))

    def _view(self, number: int) -> int:
        log = (self.folder / f"n{number}.log").read_text(errors="replace")
        found = re.findall(r"view_installed.*?members='?([^'=]*n\d+)'?", log)
        return len(found[-1].split()) if found else 0

    def serves(self, number: int) -> bool:
        """It has begun to send, and has imported gRPC: here all share a few cores for that."""
        return "messaging.serving" in (self.folder / f"n{number}.log").read_text(errors="replace")

    def cpu_s(self) -> list[float]:
        ticks = os.sysconf("SC_CLK_TCK")
        fields = [
            Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
            for daemon in self.daemons.values()
        ]
        return [(int(one[11]) + int(one[12])) / ticks for one in fields]

    def remove(self) -> None:
        for daemon in self.daemons.values():
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait(20)
        for space in self.spaces:
            ip("netns", "del", space)


def wait(what: str, holds: object) -> float:
    """Seconds of wall time until it holds."""
    assert callable(holds)
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > GIVE_UP_S:
            raise SystemExit(f"{what}: not within {GIVE_UP_S:.0f} s")
        time.sleep(0.2)
    return time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.messaging.scale")
    parser.add_argument("--nodes", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hamsg-"))
    machines = Machines(options.nodes, folder)
    try:
        machines.build()
        for number in range(1, options.nodes + 1):
            if number > 1:
                wait("the one before serves", lambda before=number - 1: machines.serves(before))
            machines.start(number)
        view_s = wait("one view", machines.in_one_view)
        wait("all serve", lambda: all(map(machines.serves, range(1, options.nodes + 1))))
        wait("start-up over", lambda: _settled(machines))
        before, began = machines.cpu_s(), time.monotonic()
        time.sleep(options.seconds)
        took = time.monotonic() - began
        shares = sorted((after - was) / took for was, after in zip(before, machines.cpu_s(), strict=True))
        still = machines.in_one_view()
    finally:
        machines.remove()
        shutil.rmtree(folder, ignore_errors=True)
    mean = sum(shares) / len(shares)
    print(f"{options.nodes} daemons, one view of all {view_s:.1f} s after the last one's start", end="")
    print(f"   limit {VIEW_LIMIT_S:.0f} s")
    print(f"idle at K = 1 s: mean {mean:.2%} of a core, most {shares[-1]:.2%}   limit {IDLE_LIMIT:.0%}")
    print(
        f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; view still whole: {still}"
    )
    return 0 if view_s <= VIEW_LIMIT_S and mean <= IDLE_LIMIT and still else 1


def _settled(machines: Machines) -> bool:
    """A second in which nobody used more than a tenth of a core."""
    before = machines.cpu_s()
    time.sleep(1.0)
    return max(after - was for was, after in zip(before, machines.cpu_s(), strict=True)) < 0.1


if __name__ == "__main__":
    sys.exit(main())
