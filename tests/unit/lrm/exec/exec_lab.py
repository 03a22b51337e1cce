"""lrm-exec and what ha-lrm is to it, made simple."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from hacluster.paths import Paths
from lrm.exec import processes
from lrm.exec.protocol import (
    Adopt,
    Assembler,
    Finished,
    Hello,
    How,
    Message,
    Start,
    ToExec,
    Welcome,
    encode,
)

WITHIN_S = 20.0
Kind = TypeVar("Kind", bound=Message)


class Client:
    """What ha-lrm is to lrm-exec, made simple."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(WITHIN_S)
        self.connection = connection
        self.assembler = Assembler()
        self.heard: list[Message] = []

    def say(self, message: ToExec) -> None:
        for packet in encode(message):
            self.connection.send(packet)

    def hear(self, kind: type[Kind], token: str = "") -> Kind:
        """The next message of that kind (about that run); others are kept."""
        deadline_s = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline_s:
            for message in self.heard:
                if isinstance(message, kind) and token in ("", getattr(message, "token", "")):
                    self.heard.remove(message)
                    return message
            packet = self.connection.recv(65_536)
            assert packet, "lrm-exec closed the connection"
            self.heard += self.assembler.feed(packet)
        raise AssertionError(f"no {kind.__name__} {token} within {WITHIN_S} s")

    def hello(self) -> Welcome:
        self.say(Hello(instance=1))
        return self.hear(Welcome)


Connect = Callable[[], Client]


def sh(token: str, script: str, *, timeout_ms: int = 10_000, grace_ms: int = 200) -> Start:
    return Start(
        token=token,
        resource="web",
        action="start",
        argv=("/bin/sh", "-c", script),
        env={"PATH": "/usr/bin:/bin", "COLOUR": "blue"},
        timeout_ms=timeout_ms,
        grace_ms=grace_ms,
    )


def until(true: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.01)


def until_gone(pid: int) -> None:
    until(lambda: not processes.is_alive(pid, processes.start_ticks(pid)), f"{pid} is gone")


def code(finished: Finished) -> int:
    assert finished.how is How.EXITED
    return os.waitstatus_to_exitcode(finished.status)


def replaced(paths: Paths, connect: Connect) -> Client:
    """Another lrm-exec, after the death of the first."""
    pid = int((paths.run / "lrm-exec.lock").read_text())
    os.kill(pid, signal.SIGKILL)
    until_gone(pid)
    second = connect()
    assert second.hello().running == ()
    return second


def nameless(token: str, *, resource: str = "web", timeout_ms: int = 10_000) -> Adopt:
    """What ha-lrm says of a run whose process it was not told."""
    return Adopt(
        token=token,
        resource=resource,
        pid=0,
        start_ticks=0,
        deadline_ns=0,
        grace_ms=0,
        timeout_ms=timeout_ms,
    )


def needs_cgroups(client: Client) -> None:
    if not client.hello().cgroups:
        pytest.skip("no writable cgroup v2 here")
