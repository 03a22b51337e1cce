"""Names and parameters of agents are data: what they hold is never executed, opened or obeyed."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.catalog import Catalog
from agents.environment import NodeFacts, fence_input, invocation
from agents.exit_codes import EXIT_REASON_CHARACTERS_MAX, exit_reason
from agents.metadata import parse
from crm.cib.model import Element
from crm.cib.schema import refusal
from hacluster.errors import ErrorCode, HaError, InvalidDocument, InvalidRequest
from hacluster.paths import Paths
from hacluster.v1 import lrm_pb2
from hacluster.vocabulary.agent import AgentName, OcfExit
from hacluster.vocabulary.ids import ResourceId
from hacluster.vocabulary.operation import ExecutionStatus, Operation
from lrm.alerts import Alert, Alerts
from lrm.calls import Calls, CannotCall
from tests.live.lrm_node import LrmNode, an_agent, until

NAMES = ["../../bin/sh", "/bin/sh", "x/../sh", "..", ".hidden", "a\nb", "a\0b", "x" * 300, "", "a\x1b[2J"]

VALUES = {
    "semicolon": "; rm -rf /tmp/never",
    "substitution": "$(touch /tmp/never)`touch /tmp/never`${IFS}",
    "quotes": "' \" \\ '\\'' \"",
    "lines": "one\ntwo\r\nOCF_ROOT=/tmp",
    "blanks": "  lead and trail  ",
    "percent": "%s%n%x",
    "unicode": "ä\u202e\u0007",
    "option": "--help",
}

HOSTILE_NAMES = ["LD_PRELOAD", "PATH", "OCF_ROOT", "HA_SBIN_DIR", "BASH_ENV", "PYTHONPATH", "IFS"]


def a_primitive(kind: str, provider: str = "heartbeat") -> Element:
    return Element("primitive", {"id": "p", "class": "ocf", "provider": provider, "type": kind})


def a_configuration(primitive: Element) -> Element:
    resources = Element("resources", {}, (primitive,))
    return Element(
        "configuration", {}, (Element("crm_config"), Element("nodes"), resources, Element("constraints"))
    )


@pytest.mark.parametrize("name", [one for one in NAMES if one])
def test_names_that_leave_a_folder_are_refused_where_they_are_written(name: str) -> None:
    assert refusal(a_configuration(a_primitive(name)))
    assert refusal(a_configuration(a_primitive("Dummy", provider=name)))
    assert not refusal(a_configuration(a_primitive("Dummy")))


@pytest.mark.parametrize("name", ["a/b", "../x", "/x", "a\nb", "a b", "-x", "a;id", "$(id)", "a\x1b[2J"])
def test_ids_that_are_paths_or_more_are_refused_where_they_are_written(name: str) -> None:
    primitive = Element("primitive", {"id": name, "class": "ocf", "provider": "heartbeat", "type": "Dummy"})
    assert "cannot be an id" in refusal(a_configuration(primitive))


@pytest.mark.parametrize("standard", ["heartbeat", "lsb", "ocf", "service", "stonith", "systemd"])
@pytest.mark.parametrize(
    "name", ["/etc/../bin/sh", "/", "//bin/sh", "/bin/", "/a/./b", "/a\nb", "a/b/c", "../x"]
)
def test_no_path_that_climbs_is_written_for_any_class(name: str, standard: str) -> None:
    primitive = Element("primitive", {"id": "p", "class": standard, "provider": "p", "type": name})
    assert refusal(a_configuration(primitive))


@pytest.mark.parametrize("standard", ["heartbeat", "lsb", "ocf", "service", "stonith", "systemd"])
def test_an_absolute_path_is_written_for_lsb_alone(standard: str) -> None:
    primitive = Element("primitive", {"id": "p", "class": standard, "provider": "p", "type": "/bin/sh"})
    assert bool(refusal(a_configuration(primitive))) is (standard != "lsb")


def test_an_absolute_path_is_never_run(tmp_path: Path) -> None:
    script = tmp_path / "init.d/web"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    calls = Calls(
        Paths(tmp_path / "root"), "n", "1", Catalog(ours=tmp_path / "ours", lsb_folder=script.parent)
    )
    operation = an_operation(f"lsb:{script}", {})
    found = calls.call(operation)
    assert isinstance(found, CannotCall)
    assert found.rc == OcfExit.ERR_CONFIGURED


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("standard", ["ocf", "lsb", "heartbeat", "stonith", "systemd", "service"])
def test_the_catalog_opens_nothing_outside(name: str, standard: str, tmp_path: Path) -> None:
    catalog = Catalog(
        ours=tmp_path / "ours",
        ocf_roots=(tmp_path / "ocf",),
        lsb_folder=tmp_path / "init.d",
        heartbeat_folder=tmp_path / "resource.d",
        fence_folder=tmp_path / "sbin",
    )
    for provider, kind in ((name, "Dummy"), ("heartbeat", name)):
        if standard != "ocf" and kind == "Dummy":
            continue
        with pytest.raises(HaError) as refused:
            catalog.resolve(AgentName(standard, provider if standard == "ocf" else "", kind))
        assert refused.value.code in (ErrorCode.INVALID_REQUEST, ErrorCode.NOT_FOUND)


def test_links_that_lead_out_and_files_of_others_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "ocf/resource.d/p"
    folder.mkdir(parents=True)
    catalog = Catalog(ours=tmp_path / "ours", ocf_roots=(tmp_path / "ocf",))
    (folder / "Link").symlink_to("/bin/sh")
    (folder / "Loop").symlink_to(folder / "Loop")
    (folder / "Writable").write_text("#!/bin/sh\n")
    (folder / "Writable").chmod(0o777)
    (folder / "Folder").mkdir()
    (folder / "Pipe").touch()
    os.mkfifo(folder / "Fifo", 0o755)
    for kind in ("Link", "Loop", "Writable", "Folder", "Pipe", "Fifo"):
        with pytest.raises(HaError):
            catalog.resolve(AgentName("ocf", "p", kind))


def an_operation(agent: str, parameters: dict[str, str]) -> Operation:
    return Operation(
        resource=ResourceId("r"), agent=AgentName.parse(agent), action="start", parameters=parameters
    )


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_parameters_name_replaces_nothing_of_ours(name: str) -> None:
    plain = invocation(an_operation("ocf:p:A", {}), "/a", NodeFacts(node="n")).environ
    with_it = invocation(an_operation("ocf:p:A", {name: "evil"}), "/a", NodeFacts(node="n")).environ
    assert with_it[f"OCF_RESKEY_{name}"] == "evil"
    assert {k: v for k, v in with_it.items() if k != f"OCF_RESKEY_{name}"} == dict(plain)


@pytest.mark.parametrize("name", ["a b", "a=b", "a\nb", "a\0", "", "1a", "a;b", "ä", "x" * 300, "CRM_meta\n"])
def test_names_no_environment_may_hold(name: str) -> None:
    with pytest.raises(InvalidRequest):
        invocation(an_operation("ocf:p:A", {name: "x"}), "/a", NodeFacts(node="n"))


def test_a_parameter_cannot_pose_as_a_meta_value() -> None:
    hostile = {"CRM_meta_on_node": "elsewhere", "CRM_meta_interval": "7"}
    environ = invocation(an_operation("ocf:p:A", hostile), "/a", NodeFacts(node="n")).environ
    assert environ["OCF_RESKEY_CRM_meta_on_node"] == "n"
    assert environ["OCF_RESKEY_CRM_meta_interval"] == "0"


def test_a_mebibyte_is_refused_not_cut() -> None:
    with pytest.raises(InvalidRequest, match="longer than"):
        invocation(an_operation("ocf:p:A", {"a": "x" * 1024 * 1024}), "/a", NodeFacts(node="n"))


def test_a_line_break_cannot_add_a_line_for_a_fence_agent() -> None:
    for end in ("\n", "\r", "\r\n"):  # Python reads each of them as the end of a line
        operation = an_operation("stonith:fence_x", {"port": f"1{end}action=off{end}plug=2"})
        with pytest.raises(InvalidRequest, match="line break"):
            fence_input(operation)


def test_output_is_bounded_and_no_terminal_obeys_it() -> None:
    reason = exit_reason(
        "ocf-exit-reason:\x1b[2J\x1b]0;owned\x07" + "x" * 5_000 + "\nlevel=info event=forged"
    )
    assert len(reason) <= EXIT_REASON_CHARACTERS_MAX
    assert reason.isprintable()
    assert "forged" not in reason


BOMB = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "text",
    [
        f'<!DOCTYPE r [<!ENTITY l0 "lol">{BOMB}]><resource-agent name="&l9;"/>',
        '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        '<resource-agent name="a"><longdesc>&x;</longdesc></resource-agent>',
        '<!DOCTYPE r SYSTEM "http://127.0.0.1:9/x.dtd"><resource-agent name="a"/>',
        "<a>" * 10_000,
        "<resource-agent " + " ".join(f'a{n}="1"' for n in range(200_000)) + "/>",
        '<resource-agent name="a" name="b"/>',
        "\udcff<resource-agent/>",
        "x" * 5_000_000,
    ],
    ids=["laughs", "file", "dtd", "deep", "attributes", "twice", "invalid", "long"],
)
def test_hostile_meta_data(text: str) -> None:
    began = time.process_time()
    try:
        metadata = parse(text.encode(errors="surrogateescape"), "test")
    except InvalidDocument:
        metadata = None
    assert time.process_time() - began < 1.0
    if metadata is not None:
        assert "root:" not in metadata.longdesc
        assert len(metadata.name) < 1_000


@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "LD_AUDIT", "PATH", "GLIBC_TUNABLES", "BASH_ENV", "PYTHONPATH", "IFS"]
)
def test_an_alerts_attribute_cannot_load_code_into_what_drops_privileges(name: str) -> None:
    class Never:
        async def run_aside(self, *_: object) -> None:
            raise AssertionError("nothing may run")

    alerts = Alerts(Never(), "node1")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="may not set"):
        alerts.add(Alert(alert="a", path="/bin/true", environment={name: "/tmp/x.so"}, timeout_ms=1_000))
    for path in ("bin/true", "/bin/true\0x", ""):
        with pytest.raises(InvalidRequest):
            alerts.add(Alert(alert="a", path=path, environment={}, timeout_ms=1_000))


# With a real ha-lrm.

netns = pytest.mark.netns


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[LrmNode]:
    environment = {"HACLUSTER_OCF_ROOTS": f"{tmp_path / 'ocf'}:/usr/lib/ocf", "CANARY_SECRET": "c4n4ry"}
    async with LrmNode(tmp_path / "n", environment=environment) as one:
        await one.accept()
        yield one


@netns
async def test_values_arrive_as_they_are_and_run_nowhere(node: LrmNode, tmp_path: Path) -> None:
    out = tmp_path / "environment"
    never = Path("/tmp/never")
    assert not never.exists()
    script = f"start|monitor) env -0 >{out}; ls -l /proc/self/fd >{out}.fd; exit 0;;"
    agent = an_agent(tmp_path / "ocf", "Dump", script)
    hostile = dict.fromkeys(HOSTILE_NAMES, "evil")
    assert (await node.run("r", "start", agent, parameters={**VALUES, **hostile})).rc == 0
    entries = out.read_bytes().decode().split("\0")
    environ = dict(entry.split("=", 1) for entry in entries if "=" in entry)
    for name, value in VALUES.items():
        assert environ[f"OCF_RESKEY_{name}"] == value
    assert environ["PATH"].startswith("/")
    assert "evil" not in environ["PATH"]
    assert "LD_PRELOAD" not in environ
    assert "CANARY_SECRET" not in environ, "the daemon's own environment is not handed on"
    descriptors = (tmp_path / "environment.fd").read_text()
    opened = {line.split()[-3] for line in descriptors.splitlines() if "->" in line}
    assert opened <= {"0", "1", "2", "3"}, "3 is ls's own"
    warm = {"envfile": str(tmp_path / "warm"), "fake": VALUES["substitution"]}
    assert (await node.run("w", "start", "ocf:hacluster:Dummy", parameters=warm)).rc == 0
    assert f"OCF_RESKEY_fake={VALUES['substitution']}" in (tmp_path / "warm").read_text()
    assert not never.exists()
    assert "c4n4ry" not in node.log()


@netns
async def test_hostile_names_reach_no_program(node: LrmNode, tmp_path: Path) -> None:
    for name in NAMES:
        if "\0" in name:
            continue  # protobuf carries it; checked above
        with pytest.raises(HaError) as refused:
            await node.execute("r", "start", f"ocf:heartbeat:{name}")
        assert refused.value.code is ErrorCode.INVALID_REQUEST, name
    for resource in ("a/b", "../x", "", "a\0b"):
        with pytest.raises(HaError):
            await node.execute(resource, "start")
    for action in ("../x", "start;id", "-x", "a b"):
        result = await node.run("r", action, "ocf:heartbeat:Dummy")
        assert result.status in (ExecutionStatus.INVALID, ExecutionStatus.NOT_INSTALLED), action


@netns
async def test_an_agent_cannot_forge_a_line_of_the_log(node: LrmNode, tmp_path: Path) -> None:
    text = "Nov 23 02:24:03 ERROR: x\\nlevel=info event=forged.line resource=other"
    agent = an_agent(
        tmp_path / "ocf",
        "Forger",
        f"start) printf '{text}\\n' >&2; printf 'ocf-exit-reason:a\\033[31mb event=forged\\n' >&2; exit 1;;",
    )
    result = await node.run("r", "start", agent)
    assert result.rc == 1
    assert "\x1b" not in result.exit_reason
    await until(lambda: "lrm.operation_ended" in node.log(), "it was logged")
    assert not [
        line
        for line in node.log().splitlines()
        if line.startswith(("level=info event=forged", "event=forged"))
    ]
    assert "\x1b[31m" not in node.log()


@netns
async def test_an_agent_that_never_stops_writing_is_bounded(node: LrmNode, tmp_path: Path) -> None:
    agent = an_agent(tmp_path / "ocf", "Flood", "start) head -c 20000000 /dev/zero | tr '\\0' x; exit 0;;")
    result = await node.run("r", "start", agent, timeout_ms=30_000)
    assert result.rc == 0
    assert len(result.output) <= 4_096
    journal = (node.paths.var / "lrm/journal").stat().st_size
    assert journal < 1_000_000
    reply = await node.stub.Status(lrm_pb2.LrmStatusRequest())
    assert reply.node == "node1"
