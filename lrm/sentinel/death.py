"""How a node ends itself: the machine, or in a lab only what belongs to the node.

Nothing but an installed unit may end the machine: `--self-fence machine`, and no --root. Everywhere else
other nodes may live on the same machine.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from enum import StrEnum
from pathlib import Path
from typing import Final

from hacluster.errors import InvalidRequest
from hacluster.paths import Paths
from lrm.exec.cgroups import Cgroups
from lrm.exec.launch import cgroup_name

_RB_AUTOBOOT: Final = 0x01234567
_ROUNDS: Final = 50


class SelfFence(StrEnum):
    """What dies."""

    MACHINE = "machine"
    NODE = "node"  # the processes of this node: those below the supervisor, and what agents started
    NOTHING = "nothing"  # only said: for tests of the sentinel itself


def check(how: SelfFence, paths: Paths) -> None:
    """Raises InvalidRequest when the machine would die for a lab."""
    if how is SelfFence.MACHINE and paths.root != Path("/"):
        raise InvalidRequest(
            what=f"--self-fence machine with --root {paths.root}: other nodes may live on this machine",
            remedy="--self-fence node",
        )


def die(how: SelfFence, paths: Paths, node: str, supervisor: int) -> None:
    """End it. Returns only for NOTHING and, when everything was ended, for NODE."""
    match how:
        case SelfFence.MACHINE:
            _end_machine()
        case SelfFence.NODE:
            _end_node(paths, node, supervisor)
        case SelfFence.NOTHING:
            return


def _end_machine() -> None:
    """The kernel restarts at once, without syncing or stopping anything: who is to die must be quick."""
    try:
        with open("/proc/sysrq-trigger", "wb", buffering=0) as trigger:
            trigger.write(b"b")
    except OSError:
        pass  # sysrq is switched off or hidden: the system call is left
    ctypes.CDLL(None, use_errno=True).reboot(_RB_AUTOBOOT)
    raise SystemExit("neither sysrq nor reboot(2) ends this machine")


def _end_node(paths: Paths, node: str, supervisor: int) -> None:
    """Kill until nothing is left: agents' cgroups, and everything below the node's supervisor and itself."""
    cgroups = Cgroups.find(cgroup_name(node, paths))
    for _ in range(_ROUNDS):
        if cgroups is not None:
            cgroups.kill(cgroups.base)
        victims = [pid for pid in _below(supervisor) if pid != os.getpid()]
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if not victims:
            return
        time.sleep(0.01)


def _below(root: int) -> list[int]:
    """A process and all its descendants, the deepest last."""
    if root <= 1 and not _is_supervisor(root):
        return []
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue
        rest = stat.rpartition(")")[2].split()
        if rest[0] != "Z":
            children.setdefault(int(rest[1]), []).append(int(folder.name))
    found, left = [], [root]
    while left:
        pid = left.pop()
        found.append(pid)
        left += children.get(pid, [])
    return [pid for pid in found if Path(f"/proc/{pid}").exists() and not _is_zombie(pid)]


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _is_supervisor(pid: int) -> bool:
    """Whether this is a node's first process, and not a machine's init."""
    try:
        return b"hacluster.supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
