"""ha-lrm as a process: what a DC sees of it while it, lrm-exec, agents and ha-messaging misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import re
import signal
import sys
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import pytest

from hacluster import rpc
from hacluster.clock import SystemClock
from hacluster.errors import ErrorCode, HaError, StaleTerm
from hacluster.v1 import lrm_pb2
from hacluster.vocabulary.operation import ExecutionStatus
from lrm.exec import processes
from lrm.exec.cgroups import Cgroups
from lrm.exec.launch import cgroup_name
from tests.live.lrm_node import PENDING, LrmNode, a_term, an_agent, authority, until
from tests.soak.lrm_kill import soak
from tests.unit.lrm.systemd.fake_systemd import fake_systemd

pytestmark = pytest.mark.netns


@pytest.fixture
def ocf_root(tmp_path: Path) -> Path:
    return tmp_path / "ocf"


@pytest.fixture
async def node(tmp_path: Path, ocf_root: Path) -> AsyncIterator[LrmNode]:
    roots = f"{ocf_root}:/usr/lib/ocf"
    async with LrmNode(tmp_path / "n", environment={"HACLUSTER_OCF_ROOTS": roots}) as node:
        yield node


async def refused(code: ErrorCode, node: LrmNode, *arguments: str, **more: object) -> HaError:
    with pytest.raises(HaError) as caught:
        await node.execute(*arguments, **more)  # type: ignore[arg-type]
    assert caught.value.code is code
    return caught.value


async def test_a_resource_lives(node: LrmNode) -> None:
    reply = await node.accept()
    assert (reply.node, reply.max_term.counter) == ("node1", 1)
    codes = [(await node.run("d", action)).rc for action in ("monitor", "start", "monitor", "stop", "stop")]
    assert codes == [7, 0, 0, 0, 0]
    assert [event.result.operation.action for event in await node.recorded()] == ["start", "monitor", "stop"]
    assert node.messaging.instances == [reply.instance & 0xFFFFFFFF]


async def test_the_gate_is_shut_without_authority(node: LrmNode) -> None:
    await node.accept()
    node.messaging.say(authority(quorate=False))
    await until(lambda: "quorate=False" in node.log() or "quorate=false" in node.log(), "no quorum")
    assert "no quorum" in str(await refused(ErrorCode.NO_AUTHORITY, node, "d", "start"))
    node.messaging.say(authority(view=(6, 1)))
    await until(lambda: "view=6.1" in node.log(), "view 6.1")
    assert "view" in str(await refused(ErrorCode.NO_AUTHORITY, node, "d", "start"))
    node.messaging.say(authority(lease_ms=300))
    await until(lambda: node.log().count("view=5.1") == 2, "view 5.1")
    await asyncio.sleep(0.4)
    assert "lease" in str(await refused(ErrorCode.NO_AUTHORITY, node, "d", "promote"))
    assert (await node.run("d", "stop")).rc == 0, "stops are always allowed"


async def test_no_stream_no_authority_and_it_reconnects(node: LrmNode) -> None:
    await node.accept()
    assert node.server is not None
    await node.server.stop(0)
    await until(lambda: "lrm.authority_lost" in node.log(), "the stream is gone")
    assert "ha-messaging" in str(await refused(ErrorCode.NO_AUTHORITY, node, "d", "start"))
    await node.start_messaging()
    await until(lambda: node.messaging.watching == 1, "the stream is back")
    await until(lambda: node.log().count("event=lrm.authority ") == 2, "authority")
    assert (await node.run("d", "start")).rc == 0


async def test_a_superseded_dc_is_refused_also_after_a_restart(node: LrmNode) -> None:
    await node.accept((4, 1))
    await node.accept((5, 2))
    error = await refused(ErrorCode.STALE_TERM, node, "d", "monitor", term=(4, 1))
    assert isinstance(error, StaleTerm)
    assert error.current.counter == 5
    await node.kill()
    await node.start()
    await refused(ErrorCode.STALE_TERM, node, "d", "monitor", term=(4, 1))
    await refused(ErrorCode.STALE_TERM, node, "d", "monitor", term=(5, 1))


async def test_the_same_operation_again_is_not_run_again(
    node: LrmNode, ocf_root: Path, tmp_path: Path
) -> None:
    agent = an_agent(ocf_root, "Count", f"start) echo ran >>{tmp_path}/count; exit 0;;")
    await node.accept()
    first = await node.run("c", "start", agent, number=77)
    again = await node.execute("c", "start", agent, number=77)
    assert (again.call_id, again.result.rc) == (first.call_id, 0)
    await node.kill()
    await node.start()
    again = await node.execute("c", "start", agent, number=77)
    assert (again.call_id, again.result.rc) == (first.call_id, 0)
    assert (tmp_path / "count").read_text() == "ran\n"


def held(folder: Path) -> str:
    """A step of an agent's that lasts until the file is there: as long as the test needs, and no longer."""
    return f"while ! [ -e {folder}/go_on ]; do sleep 0.05; done"


async def running_pid(folder: Path) -> int:
    """Of an agent that writes its pid there."""
    path = folder / "pid"
    await until(lambda: path.exists() and path.read_text().endswith("\n"), "it runs")
    return int(path.read_text())


@pytest.mark.parametrize("agent_ends", ["before the restart", "after the restart"])
async def test_ha_lrm_is_killed_in_the_middle_of_an_operation(
    node: LrmNode, ocf_root: Path, tmp_path: Path, agent_ends: str
) -> None:
    """The agent goes on, the next ha-lrm gets its result, whether it ends before or after the restart."""
    script = f"start) echo $$ >>{tmp_path}/ran; {held(tmp_path)}; echo done >>{tmp_path}/ran; exit 5;;"
    agent = an_agent(ocf_root, "Slow", script)
    await node.accept()
    call_id = (await node.execute("s", "start", agent)).call_id
    await until((tmp_path / "ran").exists, "the agent runs")
    await node.kill()
    if agent_ends == "before the restart":
        (tmp_path / "go_on").touch()
        await until(lambda: "done" in (tmp_path / "ran").read_text(), "the agent ends meanwhile")
    await node.start()
    running = [event.running for event in await node.recorded() if event.HasField("running")]
    if agent_ends == "after the restart":
        assert [(r.call_id, r.status) for r in running] == [(call_id, PENDING)]
        (tmp_path / "go_on").touch()
    result = await node.result(call_id)
    assert (result.status, result.rc) == (ExecutionStatus.DONE, 5)
    assert len((tmp_path / "ran").read_text().split()) == 2, "once"


async def test_ha_lrm_is_killed_again_and_again(node: LrmNode, tmp_path: Path, ocf_root: Path) -> None:
    """A storm: every operation runs exactly once, also those the DC has to ask for again, and operations of
    a resource never overlap.

    lrm-exec lives on, so no result is lost: what it never heard of was not run, and is said to be so.
    """
    script = f"mkdir {tmp_path}/in-$OCF_RESOURCE_INSTANCE || echo overlap >>{tmp_path}/log"
    script += f"; sleep 0.05; echo $1 >>{tmp_path}/log; rmdir {tmp_path}/in-$OCF_RESOURCE_INSTANCE; exit 0;;"
    agent = an_agent(ocf_root, "Witness", f"start|stop|monitor) {script}")
    await node.accept()
    asked: dict[int, tuple[str, str]] = {}
    for _ in range(6):
        for resource, action in product("ab", ("start", "stop")):
            asked[(await node.execute(resource, action, agent)).call_id] = (resource, action)
        await asyncio.sleep(0.03)
        await node.kill()
        await node.start()
    results = {call: await node.result(call) for call in list(asked)[-4:]}
    results |= {event.result.call_id: event.result for event in await node.recorded() if event.result.call_id}
    not_run = [call for call, result in results.items() if result.status == ExecutionStatus.NOT_RUN]
    for call in not_run:  # as the DC does: it plans again, and what is not done yet is asked for again
        again = await node.run(*asked[call], agent)
        assert (again.status, again.rc) == (ExecutionStatus.DONE, 0)
    rest = {result.status for call, result in results.items() if call not in not_run}
    assert rest == {ExecutionStatus.DONE}
    lines = (tmp_path / "log").read_text().split()
    assert (lines.count("start"), lines.count("stop"), "overlap" in lines) == (12, 12, False)


async def test_killed_at_random_moments(tmp_path: Path) -> None:
    """A few rounds of what `python -m tests.soak.lrm_kill` does by the thousand."""
    figures = await soak(tmp_path, rounds=8, seed=1)
    assert figures.rounds == 8
    assert figures.done + figures.not_run > 8


async def test_lrm_exec_is_killed_in_the_middle_of_an_operation(
    node: LrmNode, ocf_root: Path, tmp_path: Path
) -> None:
    """Its result is lost, which is said when the agent is gone and not before; the next operation waits."""
    script = f"start) echo $$ >{tmp_path}/pid; {held(tmp_path)}; exit 0;;\nstop) exit 0;;"
    agent = an_agent(ocf_root, "Slow", script)
    await node.accept()
    call_id = (await node.execute("s", "start", agent)).call_id
    stop = (await node.execute("s", "stop", agent)).call_id
    pid = await running_pid(tmp_path)
    os.kill(node.exec_pid, signal.SIGKILL)
    await connected(node, 2)
    assert processes.is_alive(pid, processes.start_ticks(pid)), "the next lrm-exec waits for it"
    assert not [e for e in await node.recorded() if e.HasField("result") and e.result.call_id == call_id]
    (tmp_path / "go_on").touch()
    result = await node.result(call_id)
    assert result.status == ExecutionStatus.UNKNOWN
    assert not processes.is_alive(pid, processes.start_ticks(pid))
    assert (await node.result(stop)).rc == 0


async def connected(node: LrmNode, times: int) -> None:
    """ha-lrm has met so many of lrm-exec."""
    await until(lambda: node.log().count("event=lrm.executor_connected") == times, f"{times} of lrm-exec")


async def test_lrm_exec_is_killed_at_any_moment(node: LrmNode, ocf_root: Path, tmp_path: Path) -> None:
    """Also between the start of an agent and the word of it: what is told as lost runs no more."""
    script = (
        f"mkdir {tmp_path}/in || echo overlap >>{tmp_path}/log; echo begin-$1 >>{tmp_path}/log; sleep 0.1"
    )
    script += f"; echo end-$1 >>{tmp_path}/log; rmdir {tmp_path}/in; exit 0;;"
    agent = an_agent(ocf_root, "Witness", f"start|stop) {script}")
    await node.accept()
    await node.run("w", "stop", agent)  # its meta-data is known: no other call is on the way at the kill
    rounds, seen = 12, set()
    for number in range(rounds):
        await connected(node, number + 1)
        (tmp_path / "log").unlink()
        start = (await node.execute("w", "start", agent)).call_id
        stop = (await node.execute("w", "stop", agent)).call_id
        await asyncio.sleep(0.15 * number / rounds)
        os.kill(node.exec_pid, signal.SIGKILL)
        result = await node.result(start)
        said = (tmp_path / "log").read_text().split() if (tmp_path / "log").exists() else []
        assert said.count("begin-start") == said.count("end-start") <= 1, (number, said)
        assert result.status in (ExecutionStatus.UNKNOWN, ExecutionStatus.DONE), result
        assert result.status == ExecutionStatus.UNKNOWN or said.count("end-start") == 1
        assert (await node.result(stop)).status in (ExecutionStatus.DONE, ExecutionStatus.UNKNOWN)
        said = (tmp_path / "log").read_text().split()
        assert "overlap" not in said
        assert said.count("begin-stop") == said.count("end-stop") <= 1, (number, said)
        seen.add(result.status)
    assert ExecutionStatus.UNKNOWN in seen


async def test_lrm_exec_is_killed_while_its_workers_work(node: LrmNode) -> None:
    """A worker whose result was told as lost does nothing any more, and none outlives its lrm-exec."""
    cgroups = Cgroups.find(cgroup_name("node1", node.paths))
    if cgroups is None:
        pytest.skip("no writable cgroup v2 here")
    await node.accept()
    await node.run("w", "monitor")
    state = node.paths.agent_tmp / "Dummy-w.state"
    rounds, seen = 10, set()
    for number in range(rounds):
        await connected(node, number + 1)
        start = (await node.execute("w", "start", op_sleep="150ms")).call_id
        stop = (await node.execute("w", "stop", op_sleep="50ms")).call_id
        await asyncio.sleep(0.25 * number / rounds)
        killed = node.exec_pid
        os.kill(killed, signal.SIGKILL)
        seen.add((await node.result(start)).status)
        if (await node.result(stop)).status == ExecutionStatus.UNKNOWN:
            assert (await node.run("w", "stop")).rc == 0
        assert not state.exists(), number

        def left(killed: int = killed) -> list[int]:
            old = [group for group in cgroups.workers() if group.name.startswith(f"{killed}-")]
            return [pid for group in old for pid in cgroups.members(group)]

        await until(lambda: not left(), "the workers of the one that was killed are gone")
        assert not state.exists(), number
    await connected(node, rounds + 1)  # the one that ends by itself with the test
    assert seen <= {ExecutionStatus.UNKNOWN, ExecutionStatus.DONE}
    assert ExecutionStatus.UNKNOWN in seen


async def test_a_run_that_the_next_ha_lrm_finds_is_waited_for_by_the_next_lrm_exec(
    node: LrmNode, ocf_root: Path, tmp_path: Path
) -> None:
    """ha-lrm was killed before it was told of the process, lrm-exec after that."""
    script = f"start) echo $$ >{tmp_path}/pid; {held(tmp_path)}; exit 0;;\nstop) exit 0;;"
    agent = an_agent(ocf_root, "Slow", script)
    await node.accept()
    await node.run("s", "stop", agent)
    os.kill(node.exec_pid, signal.SIGSTOP)
    start = (await node.execute("s", "start", agent)).call_id
    await node.kill()
    os.kill(node.exec_pid, signal.SIGCONT)
    pid = await running_pid(tmp_path)
    ticks = processes.start_ticks(pid)
    await node.start()
    journal = node.paths.var / "lrm/journal"
    await until(lambda: b"Spawned" in journal.read_bytes(), "ha-lrm knows the process")
    os.kill(node.exec_pid, signal.SIGKILL)
    await connected(node, 3)
    (tmp_path / "go_on").touch()
    assert (await node.result(start)).status == ExecutionStatus.UNKNOWN
    assert not processes.is_alive(pid, ticks)


async def test_lrm_exec_hangs(node: LrmNode, ocf_root: Path, tmp_path: Path) -> None:
    """Stopped, it would hold the DC's plan for ever: it is killed, and another takes over what it ran."""
    script = f"start) echo $$ >{tmp_path}/pid; {held(tmp_path)}; exit 0;;\nstop) exit 0;;"
    agent = an_agent(ocf_root, "Slow", script)
    await node.accept()
    start = (await node.execute("s", "start", agent, timeout_ms=60_000)).call_id
    pid, hung = await running_pid(tmp_path), node.exec_pid
    ticks = processes.start_ticks(pid)
    os.kill(hung, signal.SIGSTOP)
    never_heard_of = (await node.execute("t", "start", agent)).call_id
    await until(lambda: "lrm.executor_hung" in node.log(), "it is found out")
    await connected(node, 2)
    assert node.exec_pid != hung
    assert (await node.result(never_heard_of)).status == ExecutionStatus.UNKNOWN
    assert processes.is_alive(pid, ticks), "the agent lives on"
    (tmp_path / "go_on").touch()
    assert (await node.result(start)).status == ExecutionStatus.UNKNOWN
    assert not processes.is_alive(pid, ticks), "and is waited for"
    assert (await node.run("s", "stop", agent)).rc == 0


async def test_both_are_killed(node: LrmNode, ocf_root: Path, tmp_path: Path) -> None:
    agent = an_agent(ocf_root, "Slow", f"start) echo $$ >{tmp_path}/pid; {held(tmp_path)}; exit 0;;")
    await node.accept()
    call_id = (await node.execute("s", "start", agent)).call_id
    await running_pid(tmp_path)
    os.kill(node.exec_pid, signal.SIGKILL)
    await node.kill()
    await node.start()
    (tmp_path / "go_on").touch()
    assert (await node.result(call_id)).status == ExecutionStatus.UNKNOWN


async def test_recurring_monitors_keep_their_phase_over_a_restart(
    node: LrmNode, ocf_root: Path, tmp_path: Path
) -> None:
    """Neither at once nor from anew: the next run is due when it was. And it does come."""
    agent = an_agent(ocf_root, "Beat", f"monitor) date +%s.%N >>{tmp_path}/$OCF_RESOURCE_INSTANCE; exit 0;;")
    await node.accept()
    slow = (await node.execute("slow", "monitor", agent, interval_ms=600_000)).call_id
    assert (await node.result(slow)).rc == 0
    due_ms = await due_boottime_ms(node, "slow")
    fast = (await node.execute("fast", "monitor", agent, interval_ms=3_000)).call_id
    assert (await node.result(fast)).rc == 0
    await node.kill()
    await node.start()
    assert abs(await due_boottime_ms(node, "slow") - due_ms) < 5_000, "it has kept its phase"
    await until(lambda: len((tmp_path / "fast").read_text().split()) >= 2, "it goes on")
    first, second = map(float, (tmp_path / "fast").read_text().split()[:2])
    assert second - first > 2.9, "not at once"
    assert len((tmp_path / "slow").read_text().split()) == 1
    results = [event.result for event in await node.recorded() if event.HasField("result")]
    assert sorted((r.call_id, r.rc) for r in results) == [(slow, 0), (fast, 0)]
    found = {each.resource: each.interval_ms for each in (await node.status()).recurring}
    assert found == {"slow": 600_000, "fast": 3_000}


async def due_boottime_ms(node: LrmNode, resource: str) -> int:
    """When the next run of its monitor is due; of a status that was asked for within a second."""
    for _ in range(20):
        before_ns = SystemClock().now_ns()
        (recurring,) = [each for each in (await node.status()).recurring if each.resource == resource]
        after_ns = SystemClock().now_ns()
        if after_ns - before_ns < 1_000_000_000:
            return after_ns // 1_000_000 + recurring.due_in_ms
    raise AssertionError("no answer within a second")


async def test_a_monitor_reports_changes_only(node: LrmNode, ocf_root: Path, tmp_path: Path) -> None:
    agent = an_agent(
        ocf_root, "File", f"monitor) echo x >>{tmp_path}/runs; test -e {tmp_path}/up || exit 7; exit 0;;"
    )
    (tmp_path / "up").touch()
    await node.accept()
    await node.execute("f", "monitor", agent, interval_ms=100)
    await until(lambda: (tmp_path / "runs").exists() and len((tmp_path / "runs").read_text()) >= 10, "5 runs")
    (tmp_path / "up").unlink()
    await until(lambda: "lrm.recurring_changed" in node.log() and " rc=7" in node.log(), "the change")
    assert len(re.findall("event=lrm.recurring_changed", node.log())) == 2


async def test_a_timeout_kills_the_group_and_says_timeout(
    node: LrmNode, ocf_root: Path, tmp_path: Path
) -> None:
    agent = an_agent(ocf_root, "Hang", f"monitor) sleep 60 & echo $! >{tmp_path}/pid; wait;;")
    await node.accept()
    result = await node.run("h", "monitor", agent, timeout_ms=400)
    assert (result.status, result.rc, result.executed_ms) == (ExecutionStatus.TIMEOUT, 1, 400)
    pid = int((tmp_path / "pid").read_text())
    await until(lambda: not processes.is_alive(pid, processes.start_ticks(pid)), "the child is killed")


async def test_a_daemon_that_holds_the_pipe_delays_nothing(
    node: LrmNode, ocf_root: Path, tmp_path: Path
) -> None:
    agent = an_agent(
        ocf_root, "Daemon", f"start) sleep 7 & echo $! >{tmp_path}/pid; exit 0;;\nstop) exit 0;;"
    )
    await node.accept()
    result = await node.run("d", "start", agent)
    assert result.rc == 0
    assert result.executed_ms < 3_000
    pid = int((tmp_path / "pid").read_text())
    assert processes.is_alive(pid, processes.start_ticks(pid)), "what a start leaves behind is the service"


async def test_what_a_stop_leaves_behind_is_killed_after_a_failure(
    node: LrmNode, ocf_root: Path, tmp_path: Path
) -> None:
    """A worker keeps the port after its master was killed: only this makes a restart possible."""
    agent = an_agent(
        ocf_root,
        "Worker",
        f"start) setsid sleep 60 >/dev/null 2>&1 & echo $! >{tmp_path}/pid; exit 0;;\n"
        "monitor) exit 7;;\nstop) exit 0;;",
    )
    await node.accept()
    await node.run("w", "start", agent)
    if "cgroups=True" not in node.log() and "cgroups=true" not in node.log():
        pytest.skip("no writable cgroup v2 here")
    pid = int((tmp_path / "pid").read_text())
    ticks = processes.start_ticks(pid)
    await node.run("w", "stop", agent)
    await until(lambda: "lrm.leftover_after_stop" in node.log(), "the leftover is reported")
    assert processes.is_alive(pid, ticks), "without a failure it may belong to somebody else"
    monitor = await node.execute("w", "monitor", agent, interval_ms=60_000)
    assert (await node.result(monitor.call_id)).rc == 7
    await node.run("w", "stop", agent)
    await until(lambda: not processes.is_alive(pid, ticks), "after a failure it is killed")


async def test_cancel_ends_a_running_monitor(node: LrmNode, ocf_root: Path, tmp_path: Path) -> None:
    agent = an_agent(ocf_root, "Hang", f"monitor) echo $$ >{tmp_path}/pid; exec sleep 60;;\nstop) exit 0;;")
    await node.accept()
    await node.execute("h", "monitor", agent, interval_ms=1_000, timeout_ms=60_000)
    await until((tmp_path / "pid").exists, "it runs")
    request = lrm_pb2.CancelRequest(term=a_term((1, 1)), resource="h", action="monitor", interval_ms=1_000)
    reply = await rpc.call(node.stub.Cancel, request, timeout_ms=5_000, who="ha-lrm")
    assert reply.was_known
    reply = await rpc.call(node.stub.Cancel, request, timeout_ms=5_000, who="ha-lrm")
    assert not reply.was_known
    assert (await node.run("h", "stop", agent)).rc == 0
    assert not (await node.status()).recurring


async def test_parameters_secrets_and_what_the_dc_needs_of_the_metadata(
    node: LrmNode, ocf_root: Path, tmp_path: Path
) -> None:
    script = (
        f'echo "$OCF_RESKEY_password" >{tmp_path}/seen; echo "pw=$OCF_RESKEY_password size=$OCF_RESKEY_size"'
    )
    reason = 'echo "ocf-exit-reason:no login with $OCF_RESKEY_password" >&2'
    agent = an_agent(ocf_root, "Env", f"start) {script}; {reason}; exit 0;;")
    await node.accept()
    result = await node.run("e", "start", agent, password="lrm://", size="3")
    assert (result.status, result.rc) == (ExecutionStatus.NO_SECRETS, 2)
    folder = node.paths.var / "lrm/secrets/e"
    folder.mkdir(parents=True)
    (folder / "password").write_text("geheim\n")
    (folder / "password.sign").write_text("e1daeb5ed92c9fccd23f1d8c8ae8f0c8")
    assert (await node.run("e", "start", agent, password="lrm://")).rc == 2, "a wrong signature"
    (folder / "password.sign").write_text(hashlib.md5(b"geheim").hexdigest())
    result = await node.run("e", "start", agent, password="lrm://", size="3")
    assert (tmp_path / "seen").read_text() == "geheim\n"
    assert result.output.startswith("pw=lrm:// size=3\n"), "what an agent says of its secrets is not kept"
    assert result.exit_reason == "no login with lrm://"
    assert list(result.private_parameters) == ["password"]
    assert list(result.reloadable_parameters) == ["size"]
    assert list(result.restart_parameters) == ["password", "path"]
    assert result.supports_reload
    assert dict(result.operation.parameters) == {"password": "lrm://", "size": "3"}
    assert "geheim" not in node.log() + (node.paths.var / "lrm/journal").read_text()


async def test_what_runs_is_stopped_with_what_it_was_started_with(
    node: LrmNode, ocf_root: Path, tmp_path: Path
) -> None:
    """Neither new parameters nor another agent reach it, nor does a restart of ha-lrm lose the old ones."""
    script = f'start|stop) echo "$0 $1 $OCF_RESKEY_ip" >>{tmp_path}/said; exit 0;;'
    old, new = (an_agent(ocf_root, kind, script) for kind in ("Old", "New"))
    await node.accept()
    await node.run("a", "start", old, ip="10.0.0.1")
    await node.kill()
    await node.start()
    await node.accept()
    stopped = await node.run("a", "stop", new, ip="10.0.0.2")
    assert (stopped.rc, dict(stopped.operation.parameters)) == (0, {"ip": "10.0.0.1"})
    await node.run("a", "start", new, ip="10.0.0.2")
    await node.run("a", "stop", new)  # it has been taken out of the configuration
    said = [line.rpartition("/")[2] for line in (tmp_path / "said").read_text().splitlines()]
    assert said == [
        "Old start 10.0.0.1",
        "Old stop 10.0.0.1",
        "New start 10.0.0.2",
        "New stop 10.0.0.2",
    ]


async def test_a_stop_after_a_refused_start_fences_nobody(node: LrmNode) -> None:
    """A value that no environment takes: the start never had a process, so the stop has nothing to stop."""
    await node.accept()
    big = "x" * 140_000
    start = await node.run("b", "start", "ocf:hacluster:Dummy", state=big)
    assert (start.status, start.rc) == (ExecutionStatus.INVALID, 2)
    assert (await node.run("b", "stop", "ocf:hacluster:Dummy", state=big)).rc == 0
    assert (await node.run("c", "start", "ocf:hacluster:Dummy")).rc == 0
    assert (await node.run("c", "stop", "ocf:test:Nowhere")).rc == 0, "what runs is stopped by its own agent"
    assert (await node.run("d", "stop", "ocf:test:Nowhere")).rc == 5, "nobody knows what may be there"


async def test_an_lrm_exec_that_hangs_when_ha_lrm_begins(node: LrmNode) -> None:
    """Its socket still takes connections, and nothing else."""
    await node.accept()
    await node.run("w", "start")
    hung = node.exec_pid
    os.kill(hung, signal.SIGSTOP)
    await node.kill()
    await node.start()
    await node.accept()
    stop = (await node.execute("w", "stop")).call_id
    lost = await node.result(stop)
    assert (lost.status, lost.operation.action) == (ExecutionStatus.UNKNOWN, "stop"), "it may have begun"
    assert node.exec_pid != hung
    assert (await node.run("w", "monitor")).rc == 0, "what ran runs, and is answered for"
    assert (await node.run("w", "stop")).rc == 0


async def test_units_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a bus of the test's own; a restart of ha-lrm in a job's middle loses its result, and says so."""
    folder = tmp_path / "units"
    folder.mkdir()
    async with fake_systemd(tmp_path, monkeypatch) as systemd:
        environment = {"HACLUSTER_SYSTEMD_RUNTIME": str(folder)}
        async with LrmNode(tmp_path / "n", environment=environment) as node:
            systemd.unit("web.service", seconds=0.1)
            await node.accept()
            probe = await node.run("web", "monitor", "systemd:web")
            assert (probe.status, probe.rc) == (ExecutionStatus.DONE, 7)
            started = await node.run("web", "start", "systemd:web")
            assert (started.status, started.rc) == (ExecutionStatus.DONE, 0)
            assert started.executed_ms >= 100
            assert (folder / "web.service.d/50-hacluster.conf").exists()
            await node.execute("web", "monitor", "systemd:web", interval_ms=50)
            await until(lambda: sum(said.startswith("LoadUnit") for said in systemd.said) > 6, "monitors")
            systemd.units["web.service"].active = "failed"
            await until(lambda: "lrm.recurring_changed" in node.log() and "rc=7" in node.log(), "it failed")
            assert (await node.run("web", "stop", "systemd:web")).rc == 0
            metadata = await node.stub.Metadata(lrm_pb2.MetadataRequest(agent="systemd:web"))
            assert "The unit web.service" in metadata.xml
            systemd.units["web.service"].seconds = 5.0
            reply = await node.execute("web", "start", "systemd:web")
            await until(lambda: systemd.said.count("StartUnit web.service") == 2, "the second start")
            await node.kill()
            await node.start()
            lost = await node.result(reply.call_id)
            assert (lost.status, lost.rc) == (ExecutionStatus.UNKNOWN, 1)


async def test_alert_agents_run_as_another_user_and_only_for_this_node(node: LrmNode, tmp_path: Path) -> None:
    folder = tmp_path / "alerts"
    folder.mkdir()
    folder.chmod(0o777)
    for parent in folder.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o111)
    agent = folder / "agent"
    agent.write_text(
        f"#!/bin/sh\nid -un >{folder}/$CRM_alert_recipient; env >>{folder}/$CRM_alert_recipient\n"
    )
    agent.chmod(0o755)
    request = lrm_pb2.RunAlertRequest(alert="a", path=str(agent), timeout_ms=5_000)
    request.environment.update({"CRM_alert_recipient": "out", "CRM_alert_kind": "node"})
    await node.stub.RunAlert(request)
    out = folder / "out"
    await until(lambda: out.exists() and "CRM_alert_kind=node" in out.read_text(), "the alert ran")
    try:
        user = pwd.getpwnam("hacluster").pw_name if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = pwd.getpwuid(os.geteuid()).pw_name
    lines = out.read_text().splitlines()
    assert lines[0] == user
    names = {line.partition("=")[0] for line in lines[1:]}
    assert names <= {"PATH", "LC_ALL", "HOME", "SHELL", "HACLUSTER_NODE", "PWD", "OLDPWD", "SHLVL", "_"} | {
        "CRM_alert_recipient",
        "CRM_alert_kind",
    }
    agent.write_text("#!/bin/sh\nexec sleep 60\n")
    await node.stub.RunAlert(
        lrm_pb2.RunAlertRequest(alert="slow", path=str(agent), timeout_ms=200, environment={})
    )
    await until(lambda: "lrm.alert_failed" in node.log() and "how=timeout" in node.log(), "it was ended")
    relative = lrm_pb2.RunAlertRequest(alert="a", path="bin/a", timeout_ms=1)
    with pytest.raises(HaError, match="absolute"):
        await rpc.call(node.stub.RunAlert, relative, timeout_ms=5_000, who="ha-lrm")


async def test_agents_that_are_not_there_say_so(node: LrmNode) -> None:
    await node.accept()
    result = await node.run("s", "monitor", "ocf:test:Nowhere")
    assert (result.status, result.rc) == (ExecutionStatus.NOT_INSTALLED, 5)
    await refused(ErrorCode.INVALID_REQUEST, node, "s", "monitor", "ocf:../x:y")
    await refused(ErrorCode.INVALID_REQUEST, node, "a/b", "monitor")


async def test_agents_state_folder_is_emptied_once_a_boot(node: LrmNode) -> None:
    (node.paths.agent_tmp / "state").touch()
    await node.kill()
    await node.start()
    assert (node.paths.agent_tmp / "state").exists(), "a restart is no boot"
    await node.kill()
    (node.paths.run / "boot-seed").unlink()
    (node.paths.agent_tmp / "deep/er").mkdir(parents=True)
    await node.start()
    assert list(node.paths.agent_tmp.iterdir()) == []
    assert node.paths.agent_tmp.stat().st_mode & 0o7777 == 0o1755
    assert "lrm.journal_void" in node.log()


async def test_a_clean_stop_takes_lrm_exec_along(node: LrmNode) -> None:
    await node.accept()
    await node.run("d", "monitor")
    assert await node.kill(signal.SIGTERM) == 0
    await until(lambda: not node.paths.lrm_exec_socket.exists(), "lrm-exec ends")


async def test_sockets_are_for_those_who_need_them(node: LrmNode) -> None:
    lrm, executor = (path.stat() for path in (node.paths.lrm_socket, node.paths.lrm_exec_socket))
    assert lrm.st_mode & 0o777 == 0o600
    assert executor.st_mode & 0o777 == 0o600
    assert executor.st_uid == os.geteuid()
    users = {user.pw_name: user.pw_uid for user in pwd.getpwall()}
    assert lrm.st_uid in (users.get("hacluster", 0), os.geteuid())


async def test_the_second_ha_lrm_of_a_node_leaves(node: LrmNode) -> None:
    command = [sys.executable, "-m", "lrm", "--root", str(node.root), "--node", "node1"]
    pid = os.posix_spawn(sys.executable, command, dict(os.environ))
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    await node.accept()


FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.mark.skipif(
    not (FREEZER / "tasks").exists(), reason="no freezer of cgroup version 1: its tasks survive SIGKILL"
)
async def test_a_process_that_cannot_be_killed(node: LrmNode, ocf_root: Path, tmp_path: Path) -> None:
    """As one that waits for a dead disk: the time-out is reported, and nothing is started on top of it."""
    agent = an_agent(
        ocf_root, "Hang", f"monitor) echo $$ >{tmp_path}/pid; exec sleep 60;;\nstart|stop) exit 0;;"
    )
    await node.accept()
    call_id = (await node.execute("h", "monitor", agent, timeout_ms=2_000)).call_id
    await until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()), "it runs")
    frozen = FREEZER / f"lrm-{os.getpid()}"
    frozen.mkdir()
    try:
        (frozen / "tasks").write_text((tmp_path / "pid").read_text())
        (frozen / "freezer.state").write_text("FROZEN")
        result = await node.result(call_id)
        assert (result.status, result.executed_ms) == (ExecutionStatus.TIMEOUT, 2_000)
        assert (await node.run("h", "start", agent)).status == ExecutionStatus.NOT_RUN
        await node.kill()
        await node.start()
        assert (await node.run("h", "start", agent)).status == ExecutionStatus.NOT_RUN
        assert (await node.run("h", "stop", agent)).rc == 0
    finally:
        (frozen / "freezer.state").write_text("THAWED")
    await until(lambda: "lrm.unkillable_vanished" in node.log(), "it is gone")
    frozen.rmdir()
    assert (await node.run("h", "start", agent)).rc == 0
