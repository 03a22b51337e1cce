"""What a lab needs of the machine, its error, and waiting with a bound."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from hacluster.errors import HaError

HERE: Final = Path(__file__).resolve().parent
CODE: Final = HERE.parents[1]
NAMESPACES: Final = ("--mount", "--uts", "--ipc", "--net", "--pid")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_CAP_SYS_ADMIN: Final = 21

T = TypeVar("T")


class LabError(HaError):
    """The lab cannot be built or does not obey; `remedy` says what to allow or install."""

    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return self.what + (f"\n{self.remedy}" if self.remedy else "")


def until(look: Callable[[], T], within_s: float, *, what: str = "", every_s: float = 0.02) -> T:
    """Poll until `look` gives something true; a LabError of it means not yet. Raises LabError in the end."""
    end = time.monotonic() + within_s
    while True:
        why = ""
        try:
            if found := look():
                return found
        except LabError as error:
            why = f" ({error})"
        if time.monotonic() > end:
            raise LabError(what=f"not within {within_s:g} s: {what or look.__name__}{why}")
        time.sleep(every_s)


def needs_user_namespace() -> bool:
    """We are not root, or a root that may not make namespaces (CAP_SYS_ADMIN), as in many containers."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return not int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1
    return True


def user_flags() -> list[str]:
    """For unshare(1), where a user namespace is needed."""
    return ["--user", "--map-root-user"] if needs_user_namespace() else []


def requirements() -> None:
    """Raise LabError saying what is missing for a lab here and how to get it."""
    packages = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2"}
    path = os.environ.get("PATH", "") + ":" + _PATH
    missing = sorted({package for tool, package in packages.items() if not shutil.which(tool, path=path)})
    if missing:
        raise LabError(
            what=f"missing programs: {' '.join(missing)}", remedy=f"apt-get install {' '.join(missing)}"
        )
    command = [
        "unshare",
        *user_flags(),
        *NAMESPACES,
        "--fork",
        "--kill-child",
        "mount",
        "-t",
        "proc",
        "proc",
        "/proc",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=host_env()
    )
    if done.returncode:
        raise LabError(what=f"no namespaces here: {done.stderr.strip()}", remedy=_namespace_remedy())


def _namespace_remedy() -> str:
    if os.geteuid() == 0:
        return (
            "This root may make neither namespaces (it lacks CAP_SYS_ADMIN) nor user namespaces: a container?"
            " Start it with --privileged, or run the demo on the machine itself."
        )
    advice = ["Run it as root, or let ordinary users make user namespaces (as root, until the next boot):"]
    for name, wanted in (
        ("kernel.unprivileged_userns_clone", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "0"),
        ("user.max_user_namespaces", "15000"),
    ):
        path = Path("/proc/sys") / name.replace(".", "/")
        if (
            path.exists()
            and (value := path.read_text().strip()) != wanted
            and not (value > "0" and wanted == "15000")
        ):
            advice.append(f"  sysctl -w {name}={wanted}    # now {value}")
    if len(advice) == 1:
        advice.append("  (no sysctl forbids it: a container's seccomp or LSM rules do)")
    return "\n".join(advice)


def host_env() -> dict[str, str]:
    """The environment of everything in a lab: built from scratch."""
    return {"PATH": _PATH, "LANG": "C", "LC_ALL": "C", "HOME": os.environ.get("HOME", "/"), "TERM": "dumb"}


def code_path() -> str:
    """PYTHONPATH for our own modules in a lab: our code, and where our caller looks for the others."""
    return os.pathsep.join(filter(None, (str(CODE), os.environ.get("PYTHONPATH"))))
