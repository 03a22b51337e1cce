"""From operations to calls of programs: every class, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.catalog import Catalog, our_ocf_root
from agents.metadata import glue_metadata, parse
from hacluster.paths import Paths
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import ResourceId
from hacluster.vocabulary.operation import ExecutionStatus, Operation
from lrm.calls import AgentCall, Calls, CannotCall, UnitCall


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def calls(folder: Path) -> Calls:
    catalog = Catalog(
        ours=our_ocf_root(),
        ocf_roots=(folder / "ocf",),
        lsb_folder=folder / "init.d",
        heartbeat_folder=folder / "resource.d",
        fence_folder=folder / "sbin",
        glue_folder=folder / "glue",
    )
    return Calls(Paths(folder / "root"), "node1", "1", catalog)


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def an_operation(
    agent: str, action: str, *, interval_ms: int = 0, parameters: dict[str, str] | None = None
) -> Operation:
    return Operation(
        resource=ResourceId("r"),
        agent=AgentName.parse(agent),
        action=action,
        interval_ms=interval_ms,
        parameters=parameters or {},
    )


def called(calls: Calls, *arguments: str, **more: object) -> AgentCall:
    call = calls.call(an_operation(*arguments, **more))  # type: ignore[arg-type]
    assert isinstance(call, AgentCall), call
    return call


def refused(calls: Calls, operation: Operation) -> CannotCall:
    call = calls.call(operation)
    assert isinstance(call, CannotCall)
    return call


def test_an_ocf_agent(calls: Calls, folder: Path) -> None:
    path = program(folder / "ocf/resource.d/p/A", "")
    call = called(calls, "ocf:p:A", "start", parameters={"ip": "1.2.3.4"})
    assert call.argv == (str(path), "start")
    assert call.env["OCF_RESKEY_ip"] == "1.2.3.4"
    assert call.env["OCF_ROOT"] == str(folder / "ocf")
    assert call.env["HA_RSCTMP"] == str(folder / "root/run/resource-agents")
    assert call.warm == ""


def test_our_own_agents_may_run_warm_unless_they_are_traced(calls: Calls) -> None:
    assert called(calls, "ocf:hacluster:Dummy", "monitor").warm == "Dummy"
    assert called(calls, "ocf:hacluster:Dummy", "monitor", parameters={"trace_ra": "1"}).warm == ""


def test_an_init_script(calls: Calls, folder: Path) -> None:
    path = program(folder / "init.d/web", "")
    assert called(calls, "lsb:web", "monitor").argv == (str(path), "status")
    assert called(calls, "service:web", "start").argv == (str(path), "start")
    assert calls.standard_of(AgentName.parse("service:web")) == "lsb"


def run(call: AgentCall) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        call.argv, env=dict(call.env), capture_output=True, text=True, timeout=30, check=False
    )


HEARTBEAT_SCRIPT = """
echo "$@" >>"$0.log"
case $2 in
start) echo running >"$0.state" ;;
stop) rm -f "$0.state" ;;
status) cat "$0.state" 2>/dev/null || echo "not running" ;;
esac
"""


def test_a_heartbeat_script_is_not_started_twice(calls: Calls, folder: Path) -> None:
    path = program(folder / "resource.d/Thing", HEARTBEAT_SCRIPT)
    start = called(calls, "heartbeat:Thing", "start", parameters={"1": "eth0"})
    assert [run(start).returncode for _ in range(2)] == [0, 0]
    log = path.with_name("Thing.log").read_text().splitlines()
    assert log == ["eth0 status", "eth0 start", "eth0 status"]
    monitor = called(calls, "heartbeat:Thing", "monitor", parameters={"1": "eth0"})
    assert run(monitor).stdout == "running\n"
    stop = called(calls, "heartbeat:Thing", "stop", parameters={"1": "eth0"})
    assert run(stop).returncode == 0
    assert run(monitor).stdout == "not running\n"


def test_a_heartbeat_stop_is_tried_again(calls: Calls, folder: Path) -> None:
    script = 'echo x >>"$0.tries"; [ $1 = stop ] && [ $(wc -l <"$0.tries") -lt 2 ] && exit 1; exit 0'
    path = program(folder / "resource.d/Slow", script)
    assert run(called(calls, "heartbeat:Slow", "stop")).returncode == 0
    assert path.with_name("Slow.tries").read_text() == "x\nx\n"


FENCE_AGENT = "program reads its options from stdin"


def test_a_fence_device(calls: Calls, folder: Path) -> None:
    path = program(folder / "sbin/fence_x", FENCE_AGENT)
    call = called(calls, "stonith:fence_x", "off", parameters={"plug": "n2", "pcmk_host_list": "n2"})
    assert call.argv == (str(path),)
    assert call.stdin.splitlines() == ["action=off", "plug=n2"]
    assert called(calls, "stonith:fence_x", "start").stdin == "action=monitor\n"
    assert called(calls, "stonith:fence_x", "monitor", interval_ms=10_000).stdin == "action=monitor\n"


def test_registering_a_fence_device_is_all_that_start_and_stop_do(calls: Calls, folder: Path) -> None:
    program(folder / "sbin/fence_x", FENCE_AGENT)
    stop = calls.call(an_operation("stonith:fence_x", "stop"))
    assert isinstance(stop, CannotCall)
    assert (stop.status, stop.rc) == (ExecutionStatus.DONE, 0)
    probe = an_operation("stonith:fence_x", "monitor")
    answers = [calls.call(probe, started=started) for started in (False, True)]
    assert [answer.rc for answer in answers if isinstance(answer, CannotCall)] == [7, 0]


@pytest.mark.parametrize(
    ("agent", "status", "rc"),
    [
        ("ocf:p:Nowhere", ExecutionStatus.NOT_INSTALLED, 5),
        ("lsb:nowhere", ExecutionStatus.NOT_INSTALLED, 5),
        ("stonith:fence_nowhere", ExecutionStatus.NOT_INSTALLED, 5),
        ("ocf:p:Writable", ExecutionStatus.ERROR, 4),
    ],
)
def test_what_cannot_be_called(
    calls: Calls, folder: Path, agent: str, status: ExecutionStatus, rc: int
) -> None:
    program(folder / "ocf/resource.d/p/Writable", "").chmod(0o777)
    cannot = refused(calls, an_operation(agent, "start"))
    assert (cannot.status, cannot.rc) == (status, rc)
    assert cannot.reason


def test_a_unit_is_systemds_business_and_service_means_an_init_script_first(
    calls: Calls, folder: Path
) -> None:
    assert calls.call(an_operation("systemd:web", "start")) == UnitCall("web.service")
    assert calls.call(an_operation("service:web", "start")) == UnitCall("web.service")
    path = program(folder / "init.d/web", "")
    assert called(calls, "service:web", "start").argv == (str(path), "start")


def test_a_plugin_of_cluster_glue(calls: Calls, folder: Path) -> None:
    path = program(folder / "glue/external/ssh", "")
    parameters = {"hostlist": "n1 n2", "nodename": "n2", "pcmk_host_list": "n1 n2"}
    reset = called(calls, "stonith:external/ssh", "reboot", parameters=parameters)
    assert (reset.argv, reset.stdin) == ((str(path), "reset", "n2"), "")
    assert reset.env["hostlist"] == "n1 n2"
    assert "pcmk_host_list" not in reset.env
    assert called(calls, "stonith:external/ssh", "monitor", interval_ms=9).argv == (str(path), "status")
    assert called(calls, "stonith:external/ssh", "list").argv == (str(path), "gethosts")
    for name in ("PATH", "LD_PRELOAD"):
        cannot = refused(calls, an_operation("stonith:external/ssh", "off", parameters={name: "x"}))
        assert cannot.status is ExecutionStatus.INVALID
    assert calls.metadata_call(AgentName.parse("stonith:external/ssh")).argv == (str(path), "getinfo-xml")
    described = glue_metadata("external/ssh", '<parameters><parameter name="hostlist"/></parameters>')
    metadata = parse(described, "external/ssh")
    assert metadata.parameter("hostlist") is not None
    assert {action.name for action in metadata.actions} == {"on", "off", "reboot", "list", "monitor"}
    assert AgentName("stonith", "", "external/ssh") in calls.catalog.list("stonith")
    cannot = refused(calls, an_operation("stonith:external/none", "off"))
    assert cannot.status is ExecutionStatus.NOT_INSTALLED


def test_a_compiled_plugin_of_cluster_glue(calls: Calls, folder: Path) -> None:
    program(folder / "glue/stonith2/ssh.so", "")
    program(folder / "glue/stonith2/external.so", "")
    name = AgentName.parse("stonith:ssh")
    assert name not in calls.catalog.list("stonith"), "stonith(8) is not there"
    assert refused(calls, an_operation("stonith:ssh", "off")).status is ExecutionStatus.NOT_INSTALLED
    path = str(program(folder / "sbin/stonith", ""))
    parameters = {"hostlist": "n1 n2", "nodename": "n2"}
    reset = called(calls, "stonith:ssh", "reboot", parameters=parameters)
    assert reset.argv == (path, "-s", "-t", "ssh", "-E", "-T", "reset", "n2")
    assert (reset.env["hostlist"], reset.stdin) == ("n1 n2", "")
    monitor = called(calls, "stonith:ssh", "monitor", interval_ms=9)
    assert monitor.argv == (path, "-s", "-t", "ssh", "-E", "-S")
    assert called(calls, "stonith:ssh", "list").argv[-1] == "-l"
    assert refused(calls, an_operation("stonith:ssh", "status")).status is ExecutionStatus.INVALID
    assert calls.metadata_call(name).argv == (path, "-t", "ssh", "-m")
    printed = (
        '<resource-agent name="x"><parameters><parameter name="a"/></parameters><actions/></resource-agent>'
    )
    metadata = parse(glue_metadata("ssh", printed), "ssh")
    assert metadata.parameter("a") is not None
    assert {action.name for action in metadata.actions} == {"on", "off", "reboot", "list", "monitor"}
    assert name in calls.catalog.list("stonith")
    assert refused(calls, an_operation("stonith:external", "off")).status is ExecutionStatus.NOT_INSTALLED


def test_parameters_that_no_environment_can_hold(calls: Calls, folder: Path) -> None:
    program(folder / "ocf/resource.d/p/A", "")
    cannot = refused(calls, an_operation("ocf:p:A", "start", parameters={"a=b": "c"}))
    assert (cannot.status, cannot.rc) == (ExecutionStatus.INVALID, 2)


@pytest.mark.parametrize("action", ["monitor", "start", "stop"])
def test_a_remote_node_s_connection_is_not_installed(calls: Calls, folder: Path, action: str) -> None:
    """Debian's program for it fails always: a probe would lead to a stop that fails, and to fencing."""
    program(folder / "ocf/resource.d/pacemaker/remote", "exit 1")
    call = calls.call(an_operation("ocf:pacemaker:remote", action))
    assert isinstance(call, CannotCall)
    assert (call.status, call.rc) == (ExecutionStatus.NOT_INSTALLED, 5)
    assert "not supported" in call.reason
