"""The process of an action that a former lrm-exec started and had no time to tell of.

lrm-exec may be killed between the start of an agent and the word of it. The agent is then found by its
cgroup, which it is in from its first instruction on; where there are none, by a mark in its environment. A
warm worker is found by the name it gives itself before it begins. The lock of lrm-exec makes that certain: a
child holds it until it is what it was made for, so a new lrm-exec serves only when each of them is found, or
(workers) does not begin.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

from lrm.exec import processes
from lrm.exec.cgroups import Cgroups

MARK: Final = "HACLUSTER_RUN"
"""The variable with the run's token."""

_PROC: Final = Path("/proc")
_NAME_CHARACTERS: Final = 12  # Linux keeps 15 of a process's name


def name_of(token: str) -> str:
    """What a warm worker calls itself while it does this run."""
    return f"ha-{sha256(token.encode()).hexdigest()[:_NAME_CHARACTERS]}"


def leader(cgroups: Cgroups | None, resource: str, token: str) -> tuple[int, int] | None:
    """(pid, start ticks) of the agent's own process; None when it has ended, whatever it has left behind.

    That is the leader of a session, as we start every agent; of several (a server it started may lead one,
    too) the oldest. Raises OSError.
    """
    if cgroups is None:
        pids: Iterable[int] = _marked(token)
    else:
        name = name_of(token)
        workers = (pid for group in cgroups.workers() for pid in cgroups.members(group))
        pids = [
            *cgroups.members(cgroups.operation(resource, token)),
            *(pid for pid in workers if _name(pid) == name),
        ]
    found = [(processes.start_ticks(pid), pid) for pid in pids if processes.leads_a_session(pid)]
    if not found:
        return None
    ticks, pid = min(found)
    return pid, ticks


def works_for_another(cgroups: Cgroups | None, token: str, pid: int) -> bool:
    """Whether this process is a warm worker that does something else now, or has not begun, and will not."""
    if cgroups is None or not any(pid in cgroups.members(group) for group in cgroups.workers()):
        return False  # without cgroups workers are not used again
    return _name(pid) != name_of(token)


def _name(pid: int) -> str:
    """What a process calls itself; nothing when there is none."""
    try:
        return (_PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return ""


def _marked(token: str) -> Iterator[int]:
    mark, name = os.fsencode(f"{MARK}={token}"), name_of(token).encode()
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            is_named = (entry / "comm").read_bytes().strip() == name
            if is_named or mark in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)
        except OSError:
            continue  # it has ended, or is another user's
