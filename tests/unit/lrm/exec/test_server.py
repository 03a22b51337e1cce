"""lrm-exec itself, with sh for agents: a real process, its real socket."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from hacluster.paths import Paths
from lrm.exec import launch, processes, survivors
from lrm.exec.cgroups import Cgroups
from lrm.exec.protocol import (
    Acknowledge,
    Adopt,
    Assembler,
    Bye,
    Finished,
    Hello,
    How,
    Kill,
    Leftover,
    Message,
    Ping,
    Pong,
    Start,
    Started,
    ToExec,
    Welcome,
    encode,
)
from lrm.exec.server import is_registered
from tests.ports import free_port
from tests.unit.lrm.exec.cleanup import clear_cgroups

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


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    paths = Paths(tmp_path)
    paths.run.mkdir(parents=True)
    yield paths
    lock = paths.run / "lrm-exec.lock"
    if lock.exists() and lock.read_text().strip():
        pid = int(lock.read_text())
        processes.send_signal(pid, signal.SIGTERM)
        until_gone(pid)
    clear_cgroups(paths)


@pytest.fixture
def connect(paths: Paths) -> Iterator[Connect]:
    clients: list[Client] = []

    def connect() -> Client:
        clients.append(Client(launch.ensure_running(paths, "node1")))
        return clients[-1]

    yield connect
    for client in clients:
        client.connection.close()


@pytest.fixture
def client(connect: Connect) -> Client:
    client = connect()
    client.hello()
    return client


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


def warm(paths: Paths, token: str, agent: str, action: str, **parameters: str) -> Start:
    paths.agent_tmp.mkdir(parents=True, exist_ok=True)
    env = {
        "PATH": "/usr/bin:/bin",
        "OCF_RESOURCE_INSTANCE": "d",
        "HA_RSCTMP": str(paths.agent_tmp),
        "OCF_RESKEY_CRM_meta_interval": "0",
        **{f"OCF_RESKEY_{name}": value for name, value in parameters.items()},
    }
    return Start(
        token=token,
        resource="d",
        action=action,
        argv=("/bin/false",),
        env=env,
        timeout_ms=5_000,
        grace_ms=0,
        warm=agent,
    )


def test_the_warm_host_runs_our_agents(paths: Paths, client: Client) -> None:
    """The same as the executed agent, without starting an interpreter; both doors give the same answers."""
    answers, pids = [], set()
    for number, action in enumerate(("monitor", "start", "monitor", "stop", "monitor", "nonsense")):
        client.say(warm(paths, str(number), "Dummy", action))
        pids.add(client.hear(Started, str(number)).pid)
        answers.append(code(client.hear(Finished, str(number))))
    assert answers == [7, 0, 0, 0, 7, 3]
    if client.hello().cgroups:
        assert len(pids) == 1, "one worker did all of it"


def test_a_late_action_of_the_warm_host_takes_its_worker_with_it(paths: Paths, client: Client) -> None:
    late = replace(warm(paths, "1", "Delay", "start", startdelay="60"), timeout_ms=300)
    client.say(late)
    pid = client.hear(Started, "1").pid
    assert client.hear(Finished, "1").how is How.TIMEOUT
    until_gone(pid)
    client.say(warm(paths, "2", "Dummy", "monitor"))
    assert client.hear(Started, "2").pid != pid
    assert code(client.hear(Finished, "2")) == 7


def test_a_worker_that_wakes_when_lrm_exec_is_gone_does_not_begin(
    paths: Paths, client: Client, connect: Connect
) -> None:
    """The next lrm-exec has said that the result is lost: nothing may happen after that."""
    needs_cgroups(client)
    client.say(warm(paths, "1", "Dummy", "monitor"))
    worker = client.hear(Started, "1")
    assert code(client.hear(Finished, "1")) == 7
    os.kill(worker.pid, signal.SIGSTOP)
    client.say(warm(paths, "2", "Dummy", "start"))
    assert client.hear(Started, "2").pid == worker.pid
    second = replaced(paths, connect)
    second.say(nameless("2", resource="d"))
    assert second.hear(Finished, "2").how is How.LOST
    os.kill(worker.pid, signal.SIGCONT)
    until_gone(worker.pid)
    second.say(warm(paths, "3", "Dummy", "monitor"))
    assert code(second.hear(Finished, "3")) == 7, "it was not started"


def test_a_worker_that_does_another_action_is_not_waited_for(
    paths: Paths, client: Client, connect: Connect
) -> None:
    """The result of its former one was on the way when lrm-exec was killed."""
    needs_cgroups(client)
    client.say(warm(paths, "1", "Dummy", "monitor"))
    worker = client.hear(Started, "1")
    client.hear(Finished, "1")
    client.say(replace(warm(paths, "2", "Delay", "start", startdelay="60"), resource="e"))
    busy = client.hear(Started, "2")
    assert busy.pid == worker.pid
    cgroups = Cgroups.find(launch.cgroup_name("node1", paths))
    until(lambda: survivors.leader(cgroups, "e", "2") is not None, "it has begun")
    second = replaced(paths, connect)
    for token, resource in (("1", "d"), ("2", "e")):
        found = nameless(token, resource=resource)
        second.say(replace(found, pid=worker.pid, start_ticks=worker.start_ticks))
    assert second.hear(Finished, "1").how is How.LOST
    assert processes.is_alive(busy.pid, busy.start_ticks)
    second.say(Kill(token="2"))
    second.hear(Finished, "2")
    assert not processes.is_alive(busy.pid, busy.start_ticks)


def test_what_a_worker_s_action_left_is_the_resource_s_also_when_lrm_exec_died_over_it(
    paths: Paths, client: Client, connect: Connect
) -> None:
    """A server was started and had left the worker when lrm-exec was killed, which was not told of it."""
    needs_cgroups(client)
    port = free_port()
    client.say(warm(paths, "1", "WebServer", "start", docroot=str(paths.root), port=str(port)))
    client.hear(Started, "1")
    first = int((paths.run / "lrm-exec.lock").read_text())
    os.kill(first, signal.SIGSTOP)
    cgroups = Cgroups.find(launch.cgroup_name("node1", paths))
    assert cgroups is not None

    def serves() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    until(serves, "the server runs")
    second = replaced(paths, connect)
    second.say(nameless("1", resource="d"))
    assert second.hear(Finished, "1").how is How.LOST
    assert cgroups.members(cgroups.service("d")), "it is the resource's"
    assert serves()


def test_as_many_workers_are_kept_as_were_needed_at_once(paths: Paths, client: Client) -> None:
    needs_cgroups(client)
    tokens = [f"c{number}" for number in range(5)]
    for token in tokens:
        client.say(replace(warm(paths, token, "Delay", "start", startdelay="1"), resource=token))
    first = {client.hear(Started, token).pid for token in tokens}
    assert [code(client.hear(Finished, token)) for token in tokens] == [0] * 5
    for token in tokens:
        client.say(replace(warm(paths, f"{token}.2", "Delay", "monitor"), resource=token))
    assert {client.hear(Started, f"{token}.2").pid for token in tokens} <= first


def test_a_worker_whose_action_left_a_process_gets_no_other(paths: Paths, client: Client) -> None:
    """A server that the agent started may be in a session of the worker's, and would be killed with it."""
    root = {"docroot": str(paths.root), "port": str(free_port())}
    client.say(warm(paths, "1", "WebServer", "start", **root))
    started = client.hear(Started, "1").pid
    assert code(client.hear(Finished, "1")) == 0
    client.say(warm(paths, "2", "WebServer", "monitor", **root))
    assert client.hear(Started, "2").pid != started
    assert code(client.hear(Finished, "2")) == 0
    client.say(warm(paths, "3", "WebServer", "stop", **root))
    assert code(client.hear(Finished, "3")) == 0
