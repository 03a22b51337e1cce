"""A lab node's first process, until it becomes the supervisor.

Run by path inside new mount, net, pid, uts and ipc namespaces; standard library only. It builds the node's
root on a tmpfs: the machine's programs as they are, but /run, /var, /tmp, /dev/shm, /etc/hacluster and
/etc/ha.d its own (/var and the two of /etc from the node's disk, which outlives a power cut), says "ready",
waits for its cables and "go", sets its addresses and executes what it was told.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_MOVE, _MS_REC = 2, 4, 8, 4096, 8192, 16384
_OWN = ("proc", "sys", "dev", "run", "var", "tmp", "etc", "sbin", "lost+found")
_VAR = (
    "lib/hacluster",
    "lib/heartbeat",
    "log/hacluster",
    "log/nginx",
    "lib/nginx",
    "tmp",
    "www/html",
    "cache",
    "spool",
)
_RUN = ("lock", "resource-agents", "hacluster", "heartbeat")
_ETC_OWN = ("hacluster", "ha.d")

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError naming the target."""
    if _libc.mount(
        source.encode(), str(target).encode(), kind.encode() or None, flags, data.encode() or None
    ):
        error = ctypes.get_errno()
        raise OSError(error, f"mount {kind} {source}: {os.strerror(error)}", str(target))


def bind(source: Path, target: Path) -> None:
    """The directory `source`, with what is mounted below it, at `target` too."""
    target.mkdir(parents=True, exist_ok=True)
    mount(str(source), target, flags=_MS_BIND | _MS_REC)


def copy_link(source: Path, target: Path) -> None:
    """The same symbolic link."""
    target.symlink_to(source.readlink())


def build_root(root: Path, plan: dict[str, Any]) -> None:
    """The node's file system below `root`."""
    disk = Path(plan["disk"])
    mount("node", root, "tmpfs", _MS_NOSUID, "mode=0755")
    for entry in sorted(Path("/").iterdir()):
        if entry.name in _OWN:
            continue
        if entry.is_symlink():
            copy_link(entry, root / entry.name)
        elif entry.is_dir():
            bind(entry, root / entry.name)
    bind(Path("/dev"), root / "dev")
    build_etc(root, disk, plan)
    build_sbin(root, plan["helpers"])
    for name in ("run", "tmp", "proc", "sys"):
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    for name in _RUN:
        (root / "run" / name).mkdir()
    (root / "run/resource-agents").chmod(0o1755)
    for name in _VAR:
        (disk / "var" / name).mkdir(parents=True, exist_ok=True)
    for name, target in (("run", "/run"), ("lock", "/run/lock")):
        if not (disk / "var" / name).is_symlink():
            (disk / "var" / name).symlink_to(target)
    bind(disk / "var", root / "var")
    bind(Path(plan["shared"]), root / "shared")
    for path in map(Path, plan["needed"]):  # the interpreter and the code, where we have hidden their place
        inside = root / path.relative_to("/")
        if not inside.exists():
            bind(path, inside)
    for number, path in enumerate(map(Path, plan["copies"])):  # what must belong to whom we are here
        shutil.copytree(path, root / ".own" / str(number), symlinks=True)
        bind(root / ".own" / str(number), root / path.relative_to("/"))


def build_etc(root: Path, disk: Path, plan: dict[str, Any]) -> None:
    """Links to the machine's own configuration, but for what a node has of its own."""
    bind(Path("/etc"), root / ".host/etc")
    etc = root / "etc"
    etc.mkdir()
    for entry in Path("/etc").iterdir():
        if entry.name in (*_ETC_OWN, "hosts", "hostname"):
            continue
        if entry.is_symlink():
            copy_link(entry, etc / entry.name)
        else:
            (etc / entry.name).symlink_to(f"/.host/etc/{entry.name}")
    for name in _ETC_OWN:
        (disk / "etc" / name).mkdir(parents=True, exist_ok=True)
        bind(disk / "etc" / name, etc / name)
    (etc / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for a, n in plan["hosts"]))
    (etc / "hostname").write_text(plan["name"] + "\n")


def build_sbin(root: Path, helpers: dict[str, str]) -> None:
    """A directory of links, not one link, so that a node can have commands of its own (mount helpers)."""
    sbin, origin = root / "sbin", Path("/sbin")
    inside = "/usr/sbin" if origin.is_symlink() else "/.host/sbin"
    if not origin.is_symlink():
        bind(origin, root / ".host/sbin")
    sbin.mkdir()
    for entry in origin.iterdir():
        if entry.name not in helpers:
            (sbin / entry.name).symlink_to(f"{inside}/{entry.name}")
    for name, text in helpers.items():
        (sbin / name).write_text(text)
        (sbin / name).chmod(0o755)


def enter_root(root: Path) -> None:
    """Make `root` this namespace's root, and what is per namespace new."""
    os.chdir(root)
    mount(str(root), Path("/"), flags=_MS_MOVE)
    os.chroot(".")
    os.chdir("/")
    mount("proc", Path("/proc"), "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    mount("shm", Path("/dev/shm"), "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=1777")  # noqa: S108 - it is private
    mount("sysfs", Path("/sys"), "sysfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def configure_network(plan: dict[str, Any]) -> None:
    """Addresses of the cables that are there now."""
    lines = ["link set lo up"]
    for interface, address in plan["interfaces"]:
        lines += [f"addr add {address} brd + dev {interface}", f"link set {interface} up"]
    lines += [f"route add {route}" for route in plan["routes"]]
    done = subprocess.run(
        ["ip", "-batch", "-"], input="\n".join(lines), text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"ip -batch: {done.stderr.strip()}")


def say(text: str) -> None:
    """One line to whoever boots us."""
    os.write(1, text.encode() + b"\n")


def main() -> int:
    """Build, wait, execute."""
    plan = json.loads(sys.argv[1])
    try:
        socket.sethostname(plan["name"])
        root = Path(plan["root"])
        if plan["root"]:
            build_root(root, plan)
            enter_root(root)
        say("ready")
        if sys.stdin.readline() != "go\n":
            return 1
        configure_network(plan)
    except (OSError, RuntimeError, shutil.Error) as error:
        say(f"failed {error}")
        return 1
    log = os.open(plan["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open("/dev/null", os.O_RDONLY)
    say("booted")
    for number, descriptor in enumerate((null, log, log)):
        os.dup2(descriptor, number)
    os.execve(plan["command"][0], plan["command"], plan["environment"])  # noqa: S606 - it is ours
    return 1


if __name__ == "__main__":
    sys.exit(main())
