"""Our own agents in processes that wait for them."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import replace

from hacluster.paths import Paths
from lrm.exec import launch, processes, survivors
from lrm.exec.cgroups import Cgroups
from lrm.exec.protocol import (
    Finished,
    How,
    Kill,
    Start,
    Started,
)
from tests.ports import free_port
from tests.unit.lrm.exec.exec_lab import (
    Client,
    Connect,
    code,
    nameless,
    needs_cgroups,
    replaced,
    until,
    until_gone,
)


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
