"""The drop-in that says a unit is the cluster's while it runs here (Pacemaker's systemd class does the same).

It lives below /run: a reboot forgets it. Its "Before=" has systemd stop our services first at a shutdown, so
that they stop the unit in the cluster's order; systemd must not restart what the cluster recovers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

FILE: Final = "50-hacluster.conf"
OUR_UNITS: Final = "ha-crm.service ha-lrm.service ha-messaging.service"


def text(unit: str) -> str:
    """The drop-in's contents."""
    restart = "\n[Service]\nRestart=no\n" if unit.endswith(".service") else ""
    return (
        "# Written by ha-lrm when it started this unit; gone when it has stopped it.\n"
        f"[Unit]\nDescription=Cluster Controlled {unit.rpartition('.')[0]}\nBefore={OUR_UNITS}\n{restart}"
    )


def write(folder: Path, unit: str) -> None:
    """Put it in place. Raises OSError."""
    path = folder / f"{unit}.d" / FILE
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(text(unit))
    new.chmod(0o644)
    new.rename(path)


def remove(folder: Path, unit: str) -> bool:
    """Take it away, with its folder when that is empty. Says whether there was one. Raises OSError."""
    path = folder / f"{unit}.d" / FILE
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    if not any(path.parent.iterdir()):
        path.parent.rmdir()
    return True
