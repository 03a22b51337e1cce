"""What the next lrm-exec makes of processes that it did not start."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from hacluster.paths import Paths
from lrm.exec import launch, processes
from lrm.exec.cgroups import Cgroups
from lrm.exec.protocol import (
    Adopt,
    Finished,
    How,
    Ping,
    Pong,
    Started,
)
from tests.unit.lrm.exec.exec_lab import (
    Client,
    Connect,
    nameless,
    needs_cgroups,
    replaced,
    sh,
    until_gone,
)


def test_an_adopted_process_is_waited_for_and_its_result_is_lost(
    paths: Paths, client: Client, connect: Connect
) -> None:
    """lrm-exec itself was killed: the agent lives on, and the next one finds it by pid and start time."""
    client.say(sh("1", "sleep 0.4; exit 0"))
    started = client.hear(Started)
    pid = int((paths.run / "lrm-exec.lock").read_text())
    os.kill(pid, signal.SIGKILL)
    until_gone(pid)
    second = connect()
    assert second.hello().running == ()
    adopt = Adopt(
        token="1",
        resource="web",
        pid=started.pid,
        start_ticks=started.start_ticks,
        deadline_ns=0,
        grace_ms=0,
    )
    second.say(adopt)
    finished = second.hear(Finished)
    assert finished.how is How.LOST
    assert not processes.is_alive(started.pid, started.start_ticks)


def test_a_process_that_nobody_was_told_of_is_found_and_waited_for(
    paths: Paths, client: Client, connect: Connect, tmp_path: Path
) -> None:
    """lrm-exec was killed between the start of the agent and the word of it."""
    needs_cgroups(client)
    go_on = tmp_path / "go_on"
    client.say(sh("1", f"setsid sleep 60 & while ! [ -e {go_on} ]; do sleep 0.05; done; exit 0"))
    told = client.hear(Started)  # by this client; the next one knows nothing
    second = replaced(paths, connect)
    second.say(nameless("1"))
    found = second.hear(Started)
    assert (found.pid, found.start_ticks) == (told.pid, told.start_ticks)
    second.say(Ping())
    second.hear(Pong)
    assert not any(isinstance(message, Finished) for message in second.heard), "it is waited for"
    go_on.touch()
    finished = second.hear(Finished)
    assert finished.how is How.LOST
    assert not processes.is_alive(told.pid, told.start_ticks)
    cgroups = Cgroups.find(launch.cgroup_name("node1", paths))
    assert cgroups is not None
    assert cgroups.members(cgroups.operation("web", "1")) == ()
    assert len(cgroups.members(cgroups.service("web"))) == 1, "what it has left is the resource's"


def test_what_is_found_has_its_timeout_from_its_start(paths: Paths, client: Client, connect: Connect) -> None:
    needs_cgroups(client)
    client.say(sh("1", "sleep 60"))
    told = client.hear(Started)
    second = replaced(paths, connect)
    second.say(nameless("1", timeout_ms=1))
    assert second.hear(Finished).how is How.TIMEOUT
    assert not processes.is_alive(told.pid, told.start_ticks)


def test_one_that_has_ended_meanwhile_is_lost_at_once(paths: Paths, client: Client, connect: Connect) -> None:
    """What it left running is no reason to wait."""
    needs_cgroups(client)
    client.say(sh("1", "sleep 60 & exit 0"))
    client.hear(Started)
    client.hear(Finished)
    second = replaced(paths, connect)
    for token in ("1", "never started"):
        second.say(nameless(token))
        assert second.hear(Finished, token).how is How.LOST


def test_a_pid_that_is_another_process_now_is_not_touched(client: Client) -> None:
    us = os.getpid()
    stranger = Adopt(
        token="1",
        resource="web",
        pid=us,
        start_ticks=processes.start_ticks(us) + 1,
        deadline_ns=1,
        grace_ms=0,
    )
    client.say(stranger)
    assert client.hear(Finished).how is How.LOST
