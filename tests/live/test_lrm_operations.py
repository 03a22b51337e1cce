"""Operations of ha-lrm: time-outs, monitors that recur, parameters and secrets, what a stop leaves."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from hacluster import rpc
from hacluster.clock import SystemClock
from hacluster.v1 import lrm_pb2
from hacluster.vocabulary.operation import ExecutionStatus
from lrm.exec import processes
from tests.live.lrm_node import LrmNode, a_term, an_agent, until

pytestmark = pytest.mark.netns


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


@pytest.mark.parametrize(("version", "word"), [("1.0", "reload"), ("1.1", "reload-agent")])
async def test_an_agent_takes_parameters_by_the_word_of_its_version(
    node: LrmNode, ocf_root: Path, tmp_path: Path, version: str, word: str
) -> None:
    """Also when ha-lrm has begun anew, and has to ask for the meta-data before it knows the word."""
    script = f'start|reload*) echo "$1 $OCF_RESKEY_CRM_meta_name" >>{tmp_path}/said; exit 0;;'
    agent = an_agent(ocf_root, "Versioned", script, version)
    await node.accept()
    await node.run("a", "start", agent, size="1")
    await node.kill()
    await node.start()
    await node.accept()
    result = await node.run("a", "reload-agent", agent, size="2")
    assert (result.status, result.rc, result.operation.action) == (ExecutionStatus.DONE, 0, "reload-agent")
    assert (tmp_path / "said").read_text().splitlines() == ["start start", f"{word} {word}"]


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
