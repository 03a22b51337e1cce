"""Virtual address: start, monitor and stop in milliseconds, ours through both doors against IPaddr2.

`python -m benchmarks.agents [ROUNDS]`; root or a user namespace. Everything happens in a network namespace
of its own. Prints medians, and the ratio of IPaddr2 to each of ours.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from agents import sdk
from agents.catalog import our_ocf_root, our_sbin_dir

ROOT = Path(__file__).resolve().parents[2]

THEIRS = Path("/usr/lib/ocf/resource.d/heartbeat/IPaddr2")
ACTIONS = ("monitor (stopped)", "start", "monitor", "stop")
EXPECTED = (7, 0, 0, 0)
INSIDE = "HACLUSTER_BENCHMARK_INSIDE"


def main() -> None:
    """Enter the namespace, measure, print."""
    if os.environ.get(INSIDE) != "1":
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        command = ["unshare", *user, "--net", sys.executable, "-m", "benchmarks.agents", *sys.argv[1:]]
        sys.exit(subprocess.run(command, cwd=ROOT, env={**os.environ, INSIDE: "1"}, check=False).returncode)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    for line in (
        "link set lo up",
        "link add bench0 type veth peer name bench1",
        "link set bench0 up",
        "link set bench1 up",
        "address add 10.78.0.1/24 dev bench0",
    ):
        subprocess.run(["ip", *line.split()], check=True)
    with tempfile.TemporaryDirectory() as folder:
        report(rounds, environment(folder))


def environment(folder: str) -> dict[str, str]:
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C",
        "OCF_ROOT": "/usr/lib/ocf",
        "OCF_RA_VERSION_MAJOR": "1",
        "OCF_RA_VERSION_MINOR": "1",
        "OCF_RESOURCE_INSTANCE": "bench",
        "OCF_RESOURCE_TYPE": "IPaddr",
        "OCF_RESKEY_ip": "10.78.0.9",
        "OCF_RESKEY_CRM_meta_interval": "0",
        "OCF_RESKEY_CRM_meta_timeout": "20000",
        "HA_RSCTMP": folder,
        "HA_SBIN_DIR": str(our_sbin_dir()),
        "HA_AGENT": str(our_sbin_dir().parent / "bin/ha-agent"),
        "HA_PYTHON": sys.executable,
    }


def report(rounds: int, environ: Mapping[str, str]) -> None:
    sdk.preload()
    ours = str(our_ocf_root() / "resource.d/hacluster/IPaddr")
    doors: dict[str, Callable[[str], int]] = {
        "warm host (fork)": lambda action: forked(action, environ),
        "executed by OCF path": lambda action: executed(ours, action, environ),
    }
    if THEIRS.exists():
        doors["ocf:heartbeat:IPaddr2"] = lambda action: executed(str(THEIRS), action, environ)
    figures = {name: measure(door, rounds) for name, door in doors.items()}
    width = max(map(len, figures)) + 2
    print(
        f"{'median ms of ' + str(rounds) + ' rounds':{width + 6}}", *(f"{action:>18}" for action in ACTIONS)
    )
    for name, medians in figures.items():
        print(f"{name:{width + 6}}", *(f"{value:18.2f}" for value in medians))
    theirs = figures.get("ocf:heartbeat:IPaddr2")
    if theirs is None:
        print("resource-agents is not installed: nothing to compare with")
        return
    for name, medians in figures.items():
        if medians is not theirs:
            ratios = (f"{their / our:17.1f}x" for their, our in zip(theirs, medians, strict=True))
            print(f"{'IPaddr2 / ' + name:{width + 6}}", *ratios)


def measure(door: Callable[[str], int], rounds: int) -> list[float]:
    samples: list[list[float]] = [[] for _ in ACTIONS]
    for _ in range(rounds):
        for number, (action, expected) in enumerate(zip(ACTIONS, EXPECTED, strict=True)):
            began = time.perf_counter()
            code = door(action.split()[0])
            samples[number].append((time.perf_counter() - began) * 1000)
            if code != expected:
                sys.exit(f"{action} ended with {code}, not {expected}")
    return [statistics.median(one) for one in samples]


def executed(path: str, action: str, environ: Mapping[str, str]) -> int:
    return subprocess.run(
        [path, action], env=dict(environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    ).returncode


def forked(action: str, environ: Mapping[str, str]) -> int:
    """What the warm host does for each action."""
    child = os.fork()
    if child == 0:
        sdk.let_go_of_output()
        os._exit(sdk.run("IPaddr", action, environ))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        sys.exit("needs ip (iproute2) and unshare (util-linux)")
    main()
