"""ha-lrm as a process: what a DC sees of it while agents and ha-messaging misbehave."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
from pathlib import Path

import pytest

from hacluster import rpc
from hacluster.errors import ErrorCode, HaError, StaleTerm
from hacluster.v1 import lrm_pb2
from hacluster.vocabulary.operation import ExecutionStatus
from tests.live.lrm_node import LrmNode, authority, until
from tests.unit.lrm.systemd.fake_systemd import fake_systemd

pytestmark = pytest.mark.netns


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
