from __future__ import annotations

import errno
import signal

import pytest

from agents.exit_codes import (
    EXIT_REASON_CHARACTERS_MAX,
    Cancelled,
    Exited,
    Killed,
    Lost,
    NotStarted,
    TimedOut,
    exit_reason,
    heartbeat_is_running,
    outcome,
)
from hacluster.vocabulary.agent import OcfExit
from hacluster.vocabulary.operation import ExecutionStatus


@pytest.mark.parametrize("code", sorted(OcfExit))
def test_ocf_codes_pass_as_they_are(code: OcfExit) -> None:
    result = outcome("ocf", "monitor", Exited(int(code)))
    assert (result.status, result.rc, result.raw_status) == (ExecutionStatus.DONE, code, code)


@pytest.mark.parametrize("code", [10, 126, 127, 137, 189, 193, 255])
def test_ocf_strange_codes_are_errors_and_keep_their_value(code: int) -> None:
    result = outcome("ocf", "start", Exited(code))
    assert (result.rc, result.raw_status) == (OcfExit.ERR_GENERIC, code)
    assert str(code) in result.reason


def test_stop_of_something_not_running_is_not_success() -> None:
    result = outcome("ocf", "stop", Exited(7))
    assert result.rc is OcfExit.NOT_RUNNING
    assert not result.succeeded


@pytest.mark.parametrize(
    ("action", "code", "rc"),
    [
        ("monitor", 0, 0),
        ("monitor", 1, 7),
        ("monitor", 2, 7),
        ("status", 3, 7),
        ("monitor", 4, 1),
        ("monitor", 77, 1),
        ("monitor", 150, 5),
        ("monitor", 151, 4),
        ("start", 0, 0),
        ("start", 5, 5),
        ("start", 7, 7),
        ("stop", 3, 3),
        ("start", 8, 1),
        ("start", 150, 1),
    ],
)
def test_lsb(action: str, code: int, rc: int) -> None:
    assert outcome("lsb", action, Exited(code)).rc == rc


@pytest.mark.parametrize(
    ("text", "running"),
    [
        ("INFO:  Running OK\n", True),
        ("running\n", True),
        ("OK", True),
        ("httpd (pid 12) is running...", True),
        ("httpd is not running", False),
        ("running once, not running now", False),
        ("Resource is stopped", False),
        ("RUNNING", False),
        ("", False),
    ],
)
def test_heartbeat_status_is_text(text: str, running: bool) -> None:
    assert heartbeat_is_running(text) is running
    result = outcome("heartbeat", "monitor", Exited(1), stdout=text)
    assert result.rc == (OcfExit.OK if running else OcfExit.NOT_RUNNING)
    assert result.status is ExecutionStatus.DONE


def test_heartbeat_start_knows_success_and_failure_only() -> None:
    assert outcome("heartbeat", "start", Exited(0)).rc is OcfExit.OK
    assert outcome("heartbeat", "stop", Exited(7)).rc is OcfExit.ERR_GENERIC


@pytest.mark.parametrize(("code", "rc"), [(0, 0), (2, 7), (1, 1), (5, 1)])
def test_fence_status(code: int, rc: int) -> None:
    assert outcome("stonith", "status", Exited(code)).rc == rc


def test_fence_off_succeeds_with_zero_only() -> None:
    assert outcome("stonith", "off", Exited(0)).succeeded
    assert outcome("stonith", "off", Exited(2)).rc is OcfExit.ERR_GENERIC


def test_killed() -> None:
    result = outcome("ocf", "start", Killed(signal.SIGKILL), stderr="ocf-exit-reason:never mind\n")
    assert (result.status, result.rc, result.raw_status) == (ExecutionStatus.ERROR, OcfExit.ERR_GENERIC, -9)
    assert result.reason == "interrupted by SIGKILL"
    assert outcome("lsb", "start", Killed(99)).reason == "interrupted by signal 99"


def test_timed_out() -> None:
    result = outcome("ocf", "monitor", TimedOut(20_000))
    assert (result.status, result.rc) == (ExecutionStatus.TIMEOUT, OcfExit.ERR_GENERIC)
    assert "20000 ms" in result.reason


@pytest.mark.parametrize(
    ("number", "status", "rc"),
    [
        (errno.ENOENT, ExecutionStatus.NOT_INSTALLED, OcfExit.ERR_INSTALLED),
        (errno.ENOEXEC, ExecutionStatus.NOT_INSTALLED, OcfExit.ERR_INSTALLED),
        (errno.EACCES, ExecutionStatus.ERROR, OcfExit.ERR_PERM),
        (errno.EPERM, ExecutionStatus.ERROR, OcfExit.ERR_PERM),
        (errno.ENOMEM, ExecutionStatus.ERROR, OcfExit.ERR_GENERIC),
    ],
)
def test_not_started(number: int, status: ExecutionStatus, rc: OcfExit) -> None:
    result = outcome("ocf", "monitor", NotStarted(number))
    assert (result.status, result.rc) == (status, rc)
    assert result.reason


def test_cancelled_and_lost_are_no_success() -> None:
    assert outcome("ocf", "monitor", Cancelled()).status is ExecutionStatus.CANCELLED
    assert outcome("ocf", "start", Lost()).status is ExecutionStatus.ERROR


def test_standards_that_are_no_processes() -> None:
    assert outcome("systemd", "start", Exited(0)).status is ExecutionStatus.INVALID


def test_exit_reason_is_the_last_one_to_the_end_of_its_line() -> None:
    stderr = "noise\nocf-exit-reason:first\nNov 23 INFO: x\nocf-exit-reason: second: why \nmore\n"
    assert exit_reason(stderr) == "second: why"
    assert outcome("ocf", "start", Exited(0), stderr=stderr).reason == "second: why"
    assert outcome("lsb", "start", Exited(1), stderr=stderr).reason == ""


def test_exit_reason_is_harmless_to_a_terminal_and_bounded() -> None:
    assert exit_reason("ocf-exit-reason:a\x1b[2Jb\x07") == "a?[2Jb?"
    assert len(exit_reason("ocf-exit-reason:" + "x" * 5000)) == EXIT_REASON_CHARACTERS_MAX
