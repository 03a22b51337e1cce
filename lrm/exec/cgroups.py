"""A cgroup (version 2) for each action and each resource: nothing an agent starts can hide from a kill.

Below our unit's own cgroup, or below hacluster/NODE where there is none: rsc/ID/ops/CALL holds an action,
rsc/ID/svc what it left running, warm/N a worker of the warm host with whatever its action starts. A worker
stays in its own: to move a process takes the kernel 7 ms where none was moved for a while (it waits for
readers of a lock; the mount option favordynmods spares that), ten times what an action takes. Where no cgroup
v2 is writable, none of this is used (agents.md section 6).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_MOUNTS = Path("/proc/self/mountinfo")
_OWN = Path("/proc/self/cgroup")
_POPULATED_RETRIES = 3
_SWEPT_RETRIES = 20
_RUN = "user.hacluster.run"  # the attribute with the token of what a worker was given last
_NOT_THERE = frozenset({errno.ENOENT, errno.ENODEV})  # ENODEV: it was removed just now


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The tree of one node. All methods are quick and raise OSError."""

    base: Path
    home: Path  # where lrm-exec itself lives

    @classmethod
    def find(cls, name: str) -> Cgroups | None:
        """The tree for the node `name` (one path component), or None where there can be none."""
        mount = _mount_point()
        if mount is None:
            return None
        own = _own_cgroup()
        home = mount / own.lstrip("/")
        base = home / "hacluster" / quote(name, safe="") if own == "/" else home / "hacluster"
        try:
            base.mkdir(parents=True, exist_ok=True)
            # Writing our own pid where we are already shows whether we may write at all.
            (home / "cgroup.procs").write_text("0")
            return cls(base, home)
        except OSError:
            return None

    def operation(self, resource: str, token: str) -> Path:
        """The cgroup of one action."""
        return self.base / "rsc" / quote(resource, safe="") / "ops" / quote(token, safe="")

    def service(self, resource: str) -> Path:
        """The cgroup of what a resource's actions left running."""
        return self.base / "rsc" / quote(resource, safe="") / "svc"

    def worker(self, number: int) -> Path:
        """The cgroup of a worker of this process."""
        return self.base / "warm" / f"{os.getpid()}-{number}"

    def workers(self) -> Iterator[Path]:
        """The cgroups of all workers, also of a former lrm-exec's."""
        return self.base.glob("warm/*/")

    def mark(self, group: Path, token: str) -> None:
        """Note which run a worker is given, for `where`. Kernels before 5.7 cannot: nothing is noted then."""
        with suppress(OSError):
            os.setxattr(group, _RUN, token.encode())

    def where(self, resource: str, token: str) -> Path:
        """Where a run of a former lrm-exec's is, or has left something: with a worker, or by itself."""
        for group in self.workers():
            with suppress(OSError):
                if os.getxattr(group, _RUN) == token.encode():
                    return group
        return self.operation(resource, token)

    def enter(self, group: Path) -> None:
        """Move this process into `group`, which is made if need be."""
        join(group, 0)

    def leave(self) -> None:
        """Move this process back home."""
        (self.home / "cgroup.procs").write_text("0")

    def members(self, group: Path) -> tuple[int, ...]:
        """The pids in a group; none when it does not exist."""
        try:
            with open(f"{group}/cgroup.procs", "rb") as file:
                return tuple(map(int, file.read().split()))
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            return ()

    def kill(self, group: Path) -> None:
        """SIGKILL to everything in the group, forks in progress included."""
        try:
            (group / "cgroup.kill").write_text("1")
        except FileNotFoundError:
            return

    def settle(self, resource: str, group: Path, *, worker: int = 0) -> tuple[int, ...]:
        """An action has ended by itself: what it left running (returned) belongs to the resource now.

        Not so the process `worker`, which it was run by.
        """
        moved: tuple[int, ...] = ()
        for _ in range(_POPULATED_RETRIES):  # a member may fork while we move it
            pids = tuple(pid for pid in self.members(group) if pid != worker)
            if not pids:
                break
            moved += pids
            for pid in pids:
                try:
                    join(self.service(resource), pid)
                except ProcessLookupError:
                    continue
        if not worker:
            self.remove(group)
        return moved

    def remove(self, group: Path) -> bool:
        """Remove an empty group. False when something is still in it."""
        try:
            group.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def remove_resource(self, resource: str) -> None:
        """Remove what a resource had, unless something still lives in it."""
        service = self.service(resource)
        for folder in (service, service.parent / "ops", service.parent):
            self.remove(folder)

    def remove_empty(self) -> None:
        """Remove the whole tree but for groups that something lives in. For the end of lrm-exec."""
        _remove_empty(self.base)

    def sweep(self) -> None:
        """Remove what killed executors left, also those of other nodes of this machine (tests, demos).

        A living one loses at most groups that are empty, and makes them again when it needs them.
        """
        beside = self.base.parent if self.base.parent != self.home else self.base
        for folder in sorted(beside.iterdir()):
            if folder.is_dir():
                _remove_empty(folder)


def join(group: Path, pid: int) -> None:
    """Move a process (0: this one) into a group, which is made if need be; others may be sweeping there."""
    for _ in range(_SWEPT_RETRIES):
        if _joined(group, pid):
            return
        with suppress(FileNotFoundError):  # a folder above it was swept in between
            group.mkdir(parents=True, exist_ok=True)
    if not _joined(group, pid):
        raise FileNotFoundError(errno.ENOENT, "it is removed again and again", str(group))


def _joined(group: Path, pid: int) -> bool:
    """False when there is no such group."""
    try:
        descriptor = os.open(f"{group}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        os.write(descriptor, str(pid).encode())
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        return False
    finally:
        os.close(descriptor)
    return True


def _remove_empty(top: Path) -> None:
    for folder, _, _ in os.walk(top, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()


def _mount_point() -> Path | None:
    """Where cgroup2 is mounted (proc(5): the type follows the separator " - ")."""
    for line in _MOUNTS.read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    return None


def _own_cgroup() -> str:
    for line in _OWN.read_text().splitlines():
        if line.startswith("0::"):
            return line[3:]
    return "/"
