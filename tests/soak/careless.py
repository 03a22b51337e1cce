"""ha-crm that leaves out a sync, to show that power_loss finds it; HACLUSTER_LEFT_OUT says which."""

from __future__ import annotations

import os
import sys
from typing import Final

from crm import __main__ as crm_main
from crm.cib.storage import FolderStorage

VARIABLE: Final = "HACLUSTER_LEFT_OUT"
LEFT_OUT: Final = ("log", "files")


def leave_out(what: str) -> None:
    """`log`: what is appended to files; `files`: what is replaced as a whole (promises, snapshots)."""
    if what == "log":
        FolderStorage.sync = _no_sync  # type: ignore[assignment, method-assign]  # a mutant
    elif what == "files":
        os.fsync = _no_fsync
    else:
        raise SystemExit(f"{VARIABLE} is {what!r}, not one of {', '.join(LEFT_OUT)}")


def _no_sync(_storage: FolderStorage, _name: str) -> None:
    return None


def _no_fsync(fd: object) -> None:
    assert fd is not None


if __name__ == "__main__":
    leave_out(os.environ.get(VARIABLE, ""))
    sys.exit(crm_main.main())
