"""What is mounted where, and which processes keep a mount busy. Read from /proc alone.

Nothing here touches a mounted file system: one whose server or disk is gone would hold us for ever.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PROC = "/proc"


class Mount:
    """One line of mountinfo. `device` is "major:minor", `root` the part of the file system that is seen."""

    __slots__ = ("device", "fstype", "id", "options", "point", "root", "source", "super_options")

    def __init__(self, line: str) -> None:
        fields = line.split()
        separator = fields.index("-", 6)
        self.id = int(fields[0])
        self.device = fields[2]
        self.root = _unescaped(fields[3])
        self.point = _unescaped(fields[4])
        self.options = fields[5].split(",")
        self.fstype = fields[separator + 1]
        self.source = _unescaped(fields[separator + 2])
        self.super_options = fields[separator + 3].split(",") if len(fields) > separator + 3 else []


def mounts(process: str = "self") -> list[Mount]:
    """All mounts of a process's namespace, oldest first; none when the process is gone."""
    try:
        with open(f"{PROC}/{process}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return [Mount(line) for line in file]
    except (FileNotFoundError, ProcessLookupError):
        return []


def at(point: str, known: Iterable[Mount]) -> Mount | None:
    """The mount seen at `point`: the latest, when several lie on top of each other."""
    found = None
    for mount in known:
        if mount.point == point:
            found = mount
    return found


def below(point: str, known: Iterable[Mount]) -> list[Mount]:
    """Mounts inside of the one at `point`, in the order they must be undone."""
    prefix = point.rstrip("/") + "/"
    return [mount for mount in known if mount.point.startswith(prefix)][::-1]


def users(mount: Mount) -> list[int]:
    """Processes that have something of a mount open, mapped, as their program, root or working folder.

    A whole file system is followed into all mount namespaces (what is in use there keeps the device in use);
    a part of one (bind mount) only in ours. We ourselves, our parent and process 1 are never listed.
    """
    ours = _namespace("self")
    excluded = {1, os.getpid(), os.getppid()}
    seen: dict[str, list[Mount]] = {}
    found = []
    for entry in os.listdir(PROC):
        if not entry.isdecimal() or int(entry) in excluded:
            continue
        namespace = _namespace(entry)
        if not namespace or (namespace != ours and mount.root != "/"):
            continue
        if namespace not in seen:
            seen[namespace] = [
                one for one in mounts(entry) if _same(one, mount, same_namespace=namespace == ours)
            ]
        if seen[namespace] and _uses(entry, seen[namespace]):
            found.append(int(entry))
    return found


def _same(one: Mount, mount: Mount, *, same_namespace: bool) -> bool:
    return one.id == mount.id if same_namespace else one.device == mount.device and one.root == "/"


def _uses(process: str, wanted: list[Mount]) -> bool:
    points = [mount.point for mount in wanted]
    ids = {mount.id for mount in wanted}
    links = (_link(process, name) for name in ("cwd", "root", "exe"))
    return (
        any(_inside(path, points) for path in links)
        or any(mount_id in ids for mount_id in _open_mounts(process))
        or any(_inside(path, points) for path in _mapped(process))
    )


def _inside(path: str, points: list[str]) -> bool:
    return any(path == point or path.startswith(point.rstrip("/") + "/") for point in points)


def _open_mounts(process: str) -> Iterable[int]:
    """The mount ids of all open files."""
    folder = f"{PROC}/{process}/fdinfo"
    try:
        descriptors = os.listdir(folder)
    except OSError:
        return  # gone, or not ours to look at
    for descriptor in descriptors:
        try:
            with open(f"{folder}/{descriptor}") as file:
                for line in file:
                    if line.startswith("mnt_id:"):
                        yield int(line.split()[1])
                        break
        except OSError:
            continue  # closed meanwhile


def _mapped(process: str) -> Iterable[str]:
    try:
        with open(f"{PROC}/{process}/maps", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                start = line.find("/")
                if start > 0:
                    yield line[start:].rstrip("\n").removesuffix(" (deleted)")
    except OSError:
        return


def _link(process: str, name: str) -> str:
    try:
        return os.readlink(f"{PROC}/{process}/{name}").removesuffix(" (deleted)")
    except OSError:
        return ""


def _namespace(process: str) -> str:
    return _link(process, "ns/mnt")


def _unescaped(text: str) -> str:
    """The kernel writes blanks, tabs, line breaks and backslashes as three octal digits."""
    parts = text.split("\\")
    return parts[0] + "".join(chr(int(part[:3], 8)) + part[3:] for part in parts[1:])
