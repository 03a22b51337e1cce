"""ha-lrm and lrm-exec are killed or hang: no result is made up, nothing runs twice or overlaps."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from itertools import product
from pathlib import Path

import pytest

from hacluster import rpc
from hacluster.v1 import lrm_pb2
from hacluster.vocabulary.operation import ExecutionStatus
from lrm.exec import processes
from lrm.exec.cgroups import Cgroups
from lrm.exec.launch import cgroup_name
from tests.live.lrm_node import PENDING, LrmNode, a_term, an_agent, until
from tests.soak.lrm_kill import soak

pytestmark = pytest.mark.netns


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


async def test_what_was_cleaned_up_and_is_not_stopped_is_still_said(node: LrmNode) -> None:
    """A node that leaves must not call itself empty by a history that was deleted, not by another ha-lrm."""
    await node.accept()
    assert (await node.run("web", "start")).rc == 0
    forget = lrm_pb2.DeleteHistoryRequest(term=a_term(node.term), resource="web")
    await rpc.call(node.stub.DeleteHistory, forget, timeout_ms=5_000, who="ha-lrm")
    for again in (False, True):
        if again:
            await node.kill()
            await node.start()
        assert not await node.recorded()
        left = (await node.status()).left
        assert [(one.operation.resource, one.operation.action) for one in left] == [("web", "start")]
    assert (await node.run("web", "monitor")).rc == 0
    assert (await node.status()).left, "it runs"
    assert (await node.run("web", "stop")).rc == 0
    assert not (await node.status()).left


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


async def test_the_second_ha_lrm_of_a_node_leaves(node: LrmNode) -> None:
    command = [sys.executable, "-m", "lrm", "--root", str(node.root), "--node", "node1"]
    pid = os.posix_spawn(sys.executable, command, dict(os.environ))
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    await node.accept()
