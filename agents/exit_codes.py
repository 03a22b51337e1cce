"""From the end of an agent's process to a result: one function per agent standard, all pure.

What the result means for the cluster (recovery, ban, fencing) is the scheduler's business.
"""

from __future__ import annotations

import re
import signal as signals
from dataclasses import dataclass
from errno import EACCES, EINVAL, EISDIR, ENOENT, ENOEXEC, ENOTDIR, EPERM
from typing import Final, assert_never

from hacluster.vocabulary.agent import OcfExit
from hacluster.vocabulary.operation import ExecutionStatus

EXIT_REASON_PREFIX: Final = "ocf-exit-reason:"
EXIT_REASON_CHARACTERS_MAX: Final = 1024

_NOT_INSTALLED_ERRNOS: Final = frozenset({ENOENT, EISDIR, ENOTDIR, EINVAL, ENOEXEC})
_OCF_CODES: Final = frozenset(OcfExit)

# LSB 5.0, "Init Script Actions": exit codes of `status`; 150 and 151 lie in the range reserved for
# applications and are Pacemaker's.
_LSB_STATUS: Final = {
    0: OcfExit.OK,
    1: OcfExit.NOT_RUNNING,
    2: OcfExit.NOT_RUNNING,
    3: OcfExit.NOT_RUNNING,
    150: OcfExit.ERR_INSTALLED,
    151: OcfExit.ERR_PERM,
}

# What the fence agent API's `status` says; everything else is unknown.
_FENCE_STATUS: Final = {0: OcfExit.OK, 2: OcfExit.NOT_RUNNING}


@dataclass(frozen=True, slots=True)
class Exited:
    """The process ended by itself with `code`, 0..255."""

    code: int


@dataclass(frozen=True, slots=True)
class Killed:
    """The process was ended by a signal that was not ours."""

    signal: int


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The process was still running after `after_ms` and was killed, or could not be."""

    after_ms: int


@dataclass(frozen=True, slots=True)
class NotStarted:
    """There never was a process: looking up or executing the agent failed with `errno`."""

    errno: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody withdrew the operation while the process was running, and it was killed."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The process is gone and nobody saw how: its exit code can never be known."""


End = Exited | Killed | TimedOut | NotStarted | Cancelled | Lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What is recorded of one operation: `status` and `rc` are kept apart (agents.md, "Exit codes").

    `raw_status` is what the process really returned: its exit code, or the negative number of the signal.
    """

    status: ExecutionStatus
    rc: OcfExit
    raw_status: int = 0
    reason: str = ""

    @property
    def succeeded(self) -> bool:
        """True when the agent ran to its end and said 0."""
        return self.status is ExecutionStatus.DONE and self.rc is OcfExit.OK


def outcome(standard: str, action: str, end: End, *, stdout: str = "", stderr: str = "") -> Outcome:
    """Translate the end of one agent process.

    `standard` is that of the resolved agent (never "service"), `action` the OCF name of the action
    ("monitor", also where the script was called with "status"). `stdout` is needed for `heartbeat`
    (the text of status decides), `stderr` for `ocf` (exit reason). A code outside OCF's becomes
    ERR_GENERIC, as in Pacemaker; `raw_status` keeps it.
    """
    match end:
        case Exited(code):
            return _exited(standard, action, code, stdout, stderr)
        case Killed(number):
            return Outcome(
                status=ExecutionStatus.ERROR,
                rc=OcfExit.ERR_GENERIC,
                raw_status=-number,
                reason=f"interrupted by {signal_name(number)}",
            )
        case TimedOut(after_ms):
            return Outcome(
                status=ExecutionStatus.TIMEOUT,
                rc=OcfExit.ERR_GENERIC,
                reason=f"{action} did not complete within {after_ms} ms",
            )
        case NotStarted(errno):
            return _not_started(errno)
        case Cancelled():
            return Outcome(status=ExecutionStatus.CANCELLED, rc=OcfExit.ERR_GENERIC, reason="cancelled")
        case Lost():
            return Outcome(
                status=ExecutionStatus.ERROR,
                rc=OcfExit.ERR_GENERIC,
                reason=f"the process of {action} is gone and its exit code is unknown",
            )
        case _:
            assert_never(end)


def exit_reason(stderr: str) -> str:
    """The last reason an OCF agent gave, without the prefix; empty when it gave none.

    Runs to the end of the line and counts also when the agent succeeded (OCF RA API 1.1). Cut to
    EXIT_REASON_CHARACTERS_MAX; characters a terminal would obey are replaced.
    """
    start = stderr.rfind(EXIT_REASON_PREFIX)
    if start < 0:
        return ""
    line = stderr[start + len(EXIT_REASON_PREFIX) :].partition("\n")[0].strip()
    return "".join(c if c.isprintable() else "?" for c in line)[:EXIT_REASON_CHARACTERS_MAX]


def signal_name(number: int) -> str:
    """SIGKILL for 9; "signal 99" for what has no name here."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


def heartbeat_is_running(text: str) -> bool:
    """What heartbeat 1 made of the text a resource.d script's `status` printed; the exit code is ignored.

    The first of "not running" -> no, "running" or "OK" -> yes; everything else is no.
    """
    return re.search(r"not running", text) is None and re.search(r"running|OK", text) is not None


def _exited(standard: str, action: str, code: int, stdout: str, stderr: str) -> Outcome:
    reason = ""
    match standard:
        case "ocf":
            rc = OcfExit(code) if code in _OCF_CODES else OcfExit.ERR_GENERIC
            reason = exit_reason(stderr)
        case "lsb":
            rc = _lsb_rc(action, code)
        case "heartbeat":
            rc = _heartbeat_rc(action, code, stdout)
        case "stonith":
            rc = _fence_rc(action, code)
        case _:
            return Outcome(
                status=ExecutionStatus.INVALID,
                rc=OcfExit.ERR_GENERIC,
                raw_status=code,
                reason=f"agents of standard {standard!r} are not executed as processes",
            )
    if rc is OcfExit.ERR_GENERIC and code not in _OCF_CODES and not reason:
        reason = _strange_code(code)
    return Outcome(status=ExecutionStatus.DONE, rc=rc, raw_status=code, reason=reason)


def _lsb_rc(action: str, code: int) -> OcfExit:
    if action in ("monitor", "status"):
        return _LSB_STATUS.get(code, OcfExit.ERR_GENERIC)
    return OcfExit(code) if 0 <= code <= OcfExit.NOT_RUNNING else OcfExit.ERR_GENERIC


def _heartbeat_rc(action: str, code: int, stdout: str) -> OcfExit:
    if action in ("monitor", "status"):
        return OcfExit.OK if heartbeat_is_running(stdout) else OcfExit.NOT_RUNNING
    return OcfExit.OK if code == 0 else OcfExit.ERR_GENERIC


def _fence_rc(action: str, code: int) -> OcfExit:
    """Success is 0 and nothing else; `status` also knows 2, the device is off."""
    if action == "status":
        return _FENCE_STATUS.get(code, OcfExit.ERR_GENERIC)
    return OcfExit.OK if code == 0 else OcfExit.ERR_GENERIC


def _strange_code(code: int) -> str:
    if code == 126:
        return "exit code 126: the agent, or what it called, cannot be executed"
    if code == 127:
        return "exit code 127: the agent's interpreter or a command it needs is missing"
    if 128 < code < 128 + signals.NSIG:
        return f"exit code {code}: the agent saw {signal_name(code - 128)}"
    return f"exit code {code} is not an OCF exit code"


def _not_started(errno: int) -> Outcome:
    if errno in _NOT_INSTALLED_ERRNOS:
        return Outcome(
            status=ExecutionStatus.NOT_INSTALLED,
            rc=OcfExit.ERR_INSTALLED,
            raw_status=errno,
            reason="there is no such agent here" if errno == ENOENT else "the agent is not a program",
        )
    if errno in (EACCES, EPERM):
        return Outcome(
            status=ExecutionStatus.ERROR,
            rc=OcfExit.ERR_PERM,
            raw_status=errno,
            reason="no permission to execute the agent",
        )
    return Outcome(
        status=ExecutionStatus.ERROR,
        rc=OcfExit.ERR_GENERIC,
        raw_status=errno,
        reason=f"the agent could not be executed (errno {errno})",
    )
