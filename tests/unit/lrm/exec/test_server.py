"""lrm-exec itself, with sh for agents: a real process, its real socket."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hacluster.paths import Paths
from lrm.exec import launch, processes
from lrm.exec.cgroups import Cgroups
from lrm.exec.protocol import (
    Acknowledge,
    Bye,
    Finished,
    How,
    Kill,
    Leftover,
    Ping,
    Pong,
    Start,
    Started,
)
from lrm.exec.server import is_registered
from tests.unit.lrm.exec.exec_lab import (
    WITHIN_S,
    Client,
    Connect,
    code,
    sh,
    until,
    until_gone,
)


def test_an_agent_finds_nothing_but_what_it_is_given(client: Client) -> None:
    script = 'env | sort; pwd; umask; cat; ls /proc/self/fd | tr "\\n" " "; echo oops >&2; exit 7'
    client.say(sh("1", script))
    started, finished = client.hear(Started), client.hear(Finished)
    assert started.start_ticks > 0
    assert code(finished) == 7
    lines = finished.stdout.splitlines()
    assert lines[0] == "COLOUR=blue"
    assert [line for line in lines if "=" in line and not line.startswith(("PATH=", "PWD=", "COLOUR="))] == []
    assert lines[-3:] == ["/", "0022", "0 1 2 3 "], "descriptor 3 is ls's own"
    assert finished.stderr == "oops\n"


def test_what_a_fence_agent_reads(client: Client) -> None:
    options = "action=off\nplug=node2\n"
    start = Start(
        token="1",
        resource="fencing",
        action="off",
        argv=("/bin/cat",),
        env={},
        timeout_ms=5_000,
        grace_ms=0,
        stdin=options,
    )
    client.say(start)
    assert client.hear(Finished).stdout == options


def test_what_was_closed_in_this_pass_is_not_read_under_another_s_descriptor() -> None:
    """One agent ends, another starts, and the pipe of the one was ready, too: all in one pass of the loop."""
    with selectors.DefaultSelector() as selector:
        read, write = os.pipe()
        os.write(write, b"x")
        selector.register(read, selectors.EVENT_READ, lambda: "the first agent")
        ((key, _),) = selector.select(5)
        assert is_registered(selector, key)
        selector.unregister(read)
        assert not is_registered(selector, key)
        os.close(read)
        again, other = os.pipe()
        assert again == read, "the lowest number that is free"
        selector.register(again, selectors.EVENT_READ, lambda: "the second agent")
        assert not is_registered(selector, key)
        for descriptor in (write, again, other):
            os.close(descriptor)


def test_a_session_of_its_own(client: Client) -> None:
    client.say(sh("1", 'cut -d" " -f1,5,6 /proc/$$/stat'))
    pid, group, session = client.hear(Finished).stdout.split()
    assert pid == group == session


def test_completion_is_the_exit_not_the_end_of_the_output(client: Client) -> None:
    before_s = time.monotonic()
    client.say(sh("1", "sleep 5 & echo started"))
    finished = client.hear(Finished)
    assert time.monotonic() - before_s < 3
    assert finished.stdout == "started\n"


def test_a_timeout_ends_the_whole_group(client: Client, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"trap '' TERM; sleep 60 & echo $! >{pids}; echo $$ >>{pids}; sleep 60"
    client.say(sh("1", script, timeout_ms=500))
    finished = client.hear(Finished)
    assert finished.how is How.TIMEOUT
    for pid in map(int, pids.read_text().split()):
        until_gone(pid)


def test_an_agent_that_ignores_terminate_gets_the_grace_time(client: Client) -> None:
    client.say(sh("1", "trap '' TERM; while :; do sleep 0.1; done", timeout_ms=300, grace_ms=400))
    finished = client.hear(Finished)
    assert 690 <= (finished.ended_ns - finished.started_ns) // 1_000_000 < 2_000


def test_a_timeout_reaches_daemons_too_when_there_are_cgroups(client: Client, tmp_path: Path) -> None:
    if not client.hello().cgroups:
        pytest.skip("no writable cgroup v2 here")
    pid_file = tmp_path / "pid"
    client.say(sh("1", f"setsid sh -c 'echo $$ >{pid_file}; exec sleep 60' & sleep 60", timeout_ms=500))
    assert client.hear(Finished).how is How.TIMEOUT
    pid = int(pid_file.read_text())
    until_gone(pid)


def test_no_cgroup_outlives_its_use(paths: Paths, client: Client, connect: Connect) -> None:
    """After a stop nothing is left of a resource; what a killed lrm-exec left, the next one removes."""
    if not client.hello().cgroups:
        pytest.skip("no writable cgroup v2 here")
    cgroups = Cgroups.find(launch.cgroup_name("node1", paths))
    assert cgroups is not None
    resource = cgroups.service("web").parent
    client.say(sh("1", "exit 0"))
    client.hear(Finished)
    assert resource.exists()
    client.say(replace(sh("2", "exit 0"), action="stop", leftover=Leftover.REPORT))
    client.hear(Finished)
    assert not resource.exists()
    client.say(sh("3", "exec sleep 60"))
    agent = client.hear(Started, "3").pid
    elsewhere = replace(cgroups, base=cgroups.base.with_name("sweep-test"))
    elsewhere.service("db").mkdir(parents=True)
    for pid in (client.hello().pid, agent):
        os.kill(pid, signal.SIGKILL)
        until_gone(pid)
    assert resource.exists()
    connect().hello()
    assert not resource.exists()
    assert elsewhere.base == cgroups.base or not elsewhere.base.exists()


def test_terminate_comes_first(client: Client) -> None:
    client.say(sh("1", "trap 'echo cleaning; exit 1' TERM; sleep 60 & wait", timeout_ms=300, grace_ms=5_000))
    finished = client.hear(Finished)
    assert (finished.how, finished.stdout) == (How.TIMEOUT, "cleaning\n")


def test_kill_on_demand(client: Client) -> None:
    client.say(sh("1", "sleep 60"))
    client.hear(Started)
    client.say(Kill(token="1"))
    assert client.hear(Finished).how is How.KILLED
    client.say(Kill(token="1"))  # harmless
    client.say(sh("2", "exit 0"))
    assert code(client.hear(Finished, "2")) == 0


def test_a_token_runs_once(client: Client, tmp_path: Path) -> None:
    start = sh("1", f"echo ran >>{tmp_path}/log; exit 3")
    client.say(start)
    client.hear(Finished)
    client.say(start)
    assert code(client.hear(Finished)) == 3
    assert (tmp_path / "log").read_text() == "ran\n"


def test_what_cannot_be_started(client: Client, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for number, path in enumerate(("/nonexistent", str(tmp_path / "text"), "/etc")):
        start = Start(
            token=str(number),
            resource="r",
            action="start",
            argv=(path,),
            env={},
            timeout_ms=1_000,
            grace_ms=0,
        )
        client.say(start)
        finished = client.hear(Finished, str(number))
        assert finished.how is How.NOT_STARTED
        assert finished.errno in (2, 13)


def test_nothing_is_started_after_its_authority_has_run_out(client: Client, tmp_path: Path) -> None:
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    late = replace(sh("late", f"touch {tmp_path}/late"), not_after_ns=now_ns)
    client.say(late)
    assert client.hear(Finished, "late").how is How.TOO_LATE
    client.say(replace(sh("in time", "exit 4"), not_after_ns=now_ns + 60_000_000_000))
    assert code(client.hear(Finished, "in time")) == 4
    assert not (tmp_path / "late").exists()


def waiting(path: Path, code: int) -> str:
    """A script that ends with that code when the file is there."""
    return f"while ! [ -e {path} ]; do sleep 0.02; done; exit {code}"


def test_results_wait_for_the_next_ha_lrm(client: Client, connect: Connect, tmp_path: Path) -> None:
    """ha-lrm is killed while one operation runs, and another ends before it is back."""
    client.say(sh("short", waiting(tmp_path / "short", 5)))
    client.say(sh("long", waiting(tmp_path / "long", 6)))
    pid = client.hear(Started, "short").pid
    client.hear(Started, "long")
    client.connection.close()
    (tmp_path / "short").touch()
    until(lambda: not Path(f"/proc/{pid}").exists(), "it has ended, and lrm-exec knows")
    second = connect()
    welcome = second.hello()
    assert welcome.ended == ("short",)
    assert [run.token for run in welcome.running] == ["long"]
    assert code(second.hear(Finished, "short")) == 5
    (tmp_path / "long").touch()
    assert code(second.hear(Finished, "long")) == 6
    second.say(Acknowledge(token="short"))
    second.connection.close()
    third = connect()
    assert third.hello().ended == ("long",), "what is acknowledged is forgotten, nothing else"


def test_orphans_are_reaped_at_once(client: Client, tmp_path: Path) -> None:
    """A daemon whose starter is gone is our child: when it dies, no zombie answers `kill -0`."""
    pid_file = tmp_path / "pid"
    client.say(sh("1", f"(setsid sleep 60 & echo $! >{pid_file}) & exit 0"))
    assert code(client.hear(Finished)) == 0
    until(lambda: pid_file.exists() and bool(pid_file.read_text().strip()), "the daemon is there")
    pid = int(pid_file.read_text())
    os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}").exists(), "it is reaped")


def test_it_leaves_when_told_and_nothing_runs(
    paths: Paths, client: Client, connect: Connect, tmp_path: Path
) -> None:
    pid = int((paths.run / "lrm-exec.lock").read_text())
    client.say(sh("1", waiting(tmp_path / "go_on", 0)))
    client.hear(Started)
    client.say(Bye())
    client.connection.close()
    time.sleep(0.1)
    assert processes.is_alive(pid, processes.start_ticks(pid)), "not while something runs"
    second = connect()
    second.hello()
    (tmp_path / "go_on").touch()
    second.hear(Finished)
    second.say(Acknowledge(token="1"))
    second.say(Bye())
    second.connection.close()
    until(lambda: not paths.lrm_exec_socket.exists(), "it is gone, with its socket")


def test_it_ends_with_the_supervisor(paths: Paths) -> None:
    """But not before what runs has ended, and not as long as there is a ha-lrm."""
    supervisor = subprocess.Popen(["sleep", "60"])
    command = [sys.executable, "-m", "lrm.exec", "--root", str(paths.root), "--node", "node1"]
    executor = subprocess.Popen(
        [*command, "--supervisor", str(supervisor.pid)], env=launch.import_environment()
    )
    client = Client(launch.ensure_running(paths, "node1"))
    try:
        client.hello()
        client.say(sh("1", "sleep 0.5"))
        client.hear(Started)
        supervisor.kill()
        supervisor.wait(WITHIN_S)
        time.sleep(0.2)
        assert executor.poll() is None
        client.hear(Finished)
        client.say(Acknowledge(token="1"))
        client.connection.close()
        assert executor.wait(WITHIN_S) == 0
    finally:
        client.connection.close()
        for process in (supervisor, executor):
            process.kill()
            process.wait(WITHIN_S)


def test_only_one_a_node(paths: Paths, client: Client) -> None:
    before = (paths.run / "lrm-exec.lock").read_text()
    launch.start(paths, "node1")
    log = paths.log / "lrm-exec.log"
    until(lambda: "another lrm-exec" in log.read_text(), "the second one says why it leaves")
    assert (paths.run / "lrm-exec.lock").read_text() == before
    assert client.hello().pid == int(before)


def test_it_answers_pings(client: Client) -> None:
    client.say(sh("1", "sleep 60"))
    client.say(Ping())
    assert client.hear(Pong) == Pong()


def test_one_that_accepts_nobody_any_more_is_replaced(paths: Paths, client: Client, connect: Connect) -> None:
    """Stopped, with a backlog full of dead ha-lrms: a connect that waits for it would wait for ever."""
    client.say(sh("1", "sleep 60"))
    started = client.hear(Started)
    hung = launch.peer_pid(client.connection)
    assert hung == int((paths.run / "lrm-exec.lock").read_text())
    os.kill(hung, signal.SIGSTOP)
    dead = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(8)]
    for each in dead:
        each.setblocking(False)
        each.connect_ex(str(paths.lrm_exec_socket))
    with pytest.raises(BlockingIOError):
        launch.connect(paths.lrm_exec_socket)
    second = connect()
    assert second.hello().pid != hung
    assert processes.is_alive(started.pid, started.start_ticks), "its agents live on"
    os.kill(started.pid, signal.SIGKILL)
    for each in dead:
        each.close()
