"""What /proc and prctl say about processes: start times, sessions, being the reaper of orphans."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_PR_SET_CHILD_SUBREAPER = 36
# Fields of /proc/PID/stat after the command's closing bracket, from 0 (proc(5)).

_STATE, _SESSION, _START_TICKS = 0, 3, 19
NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def become_subreaper() -> None:
    """Orphans below us become our children (prctl(2)). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def start_ticks(pid: int) -> int:
    """When this process started, in clock ticks since boot; 0 when there is none (a zombie still counts)."""
    fields = _stat(pid)
    return int(fields[_START_TICKS]) if fields else 0


def is_alive(pid: int, ticks: int) -> bool:
    """This very process exists and is no zombie."""
    fields = _stat(pid)
    return bool(fields) and int(fields[_START_TICKS]) == ticks and fields[_STATE] not in ("Z", "X")


def leads_a_session(pid: int) -> bool:
    """It exists, is no zombie, and has made a session of its own."""
    fields = _stat(pid)
    return bool(fields) and int(fields[_SESSION]) == pid and fields[_STATE] not in ("Z", "X")


def members_of_session(session: int) -> Iterator[int]:
    """The pids in a session: all process groups an agent made, short of setsid()."""
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields and int(fields[_SESSION]) == session and fields[_STATE] not in ("Z", "X"):
                yield int(entry.name)


def send_signal(pid: int, number: signal.Signals) -> None:
    """Signal one process; one that has just gone is fine."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def send_signal_to_group(group: int, number: signal.Signals) -> None:
    """Signal a process group; an empty one is fine."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _stat(pid: int) -> list[str]:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text[text.rindex(")") + 2 :].split()
