from __future__ import annotations

from pathlib import Path

import pytest

from agents.catalog import Catalog, our_ocf_root
from agents.metadata import AgentMetadata, parse
from cli.agent_checks import agent_problems, new_problems
from cli.agent_sources import AgentsHere, AgentsOfTheCluster
from cli.context import Context, Options
from cli.grammar.definitions import parse_text
from cli.grammar.document import empty_cib
from cli.grammar.load import load
from crm.cib.model import element
from hacluster.errors import NotFound, Timeout
from hacluster.vocabulary.agent import AgentName
from tests.unit.cli.runner import hacli


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Catalog(
        ours=our_ocf_root(),
        ocf_roots=(),
        lsb_folder=tmp_path,
        heartbeat_folder=tmp_path,
        fence_folder=tmp_path,
        systemd_folders=(),
    )


def problems(text: str, catalog: Catalog) -> list[str]:
    cib = load(empty_cib(), parse_text(text, "text"), source="text").cib
    return [str(problem) for problem in agent_problems(cib, AgentsHere(catalog))]


def test_what_is_right_is_not_mentioned(catalog: Catalog) -> None:
    text = "primitive ip ocf:hacluster:IPaddr params ip=10.0.0.1 op monitor interval=10s timeout=20s"
    assert problems(text, catalog) == []


def test_findings(catalog: Catalog) -> None:
    text = """
primitive a ocf:hacluster:IPaddr params nick=eth0 op monitor interval=10s timeout=3s
primitive b ocf:hacluster:Nonsense
primitive c ocf:heartbeat:Dummy
primitive d lsb:nothing
primitive e systemd:whatever
"""
    assert problems(text, catalog) == [
        "a: IPaddr needs the parameter ip (params ip=…: The address, IPv4 or IPv6, without a netmask)",
        "a: IPaddr knows no parameter 'nick' (did you mean nic? see `hacli ra info ocf:hacluster:IPaddr`)",
        "a: monitor timeout 3s is less than the 20 s that IPaddr advises",
        "b: the agent ocf:hacluster:Nonsense is not installed here",
        "c: the agent ocf:heartbeat:Dummy is not installed here",
        "d: lsb:nothing: there is no agent 'lsb:nothing'",
    ]


def test_a_template_is_taken_into_account(catalog: Catalog) -> None:
    text = "rsc_template t ocf:hacluster:IPaddr params ip=10.0.0.1\nprimitive ip @t\n"
    assert problems(text, catalog) == []


def test_sets_and_pairs_that_are_referred_to_count(catalog: Catalog) -> None:
    text = """
primitive a ocf:hacluster:IPaddr params $id=common ip=10.0.0.1
primitive b ocf:hacluster:IPaddr params $id-ref=common
primitive c ocf:pacemaker:remote params server=there
"""
    assert problems(text, catalog) == []


def described(xml: str) -> AgentMetadata:
    return parse(f'<resource-agent name="fence_x"><parameters>{xml}</parameters></resource-agent>', "fence_x")


def told(text: str, xml: str) -> list[str]:
    cib = load(empty_cib(), parse_text(text, "text"), source="text").cib
    return [problem.what for problem in agent_problems(cib, lambda _name: described(xml))]


def test_what_a_fence_agent_requires() -> None:
    """Old names of parameters stand for the new ones, and what each request has need not be configured."""
    xml = """
<parameter name="ip" required="1" obsoletes="ipaddr"><content type="string"/></parameter>
<parameter name="ipaddr" required="1" deprecated="1"><content type="string"/></parameter>
<parameter name="plug" required="1" obsoletes="port"><content type="string"/></parameter>
<parameter name="port" required="1" deprecated="1"><content type="string"/></parameter>
<parameter name="action" required="1"><content type="string"/></parameter>
<parameter name="login" required="1"><content type="string" default="root"/></parameter>
"""
    assert told("primitive f stonith:fence_x params ip=n1-bmc pcmk_host_list=n1", xml) == []
    assert told("primitive f stonith:fence_x params ipaddr=n1-bmc", xml) == []
    assert told("primitive f stonith:fence_x params ip=n1-bmc priority=10", xml) == []
    assert told("rsc_template t stonith:fence_x params priority=1\nprimitive f @t params ip=bmc", xml) == []
    assert told("primitive f stonith:fence_x params login=me", xml) == ["fence_x needs the parameter ip"]
    assert described(xml).parameters[1].replaced_with == ("ip",)


def changed(before: str, after: str, catalog: Catalog) -> list[str]:
    old = load(empty_cib(), parse_text(before, "text"), source="text").cib
    new = load(old, parse_text(after, "text"), source="text").cib
    return [
        f"{one.severity.value} {one.where}: {one.what}" for one in new_problems(old, new, AgentsHere(catalog))
    ]


def test_a_commit_answers_for_what_it_changes(catalog: Catalog) -> None:
    wrong = "primitive a ocf:hacluster:IPaddr params nick=eth0\n"
    wrong += "rsc_template t ocf:hacluster:IPaddr params ip=::1\n"
    other = "primitive b ocf:hacluster:Dummy params fake=1"
    assert changed(wrong, other, catalog) == []
    assert changed(wrong, "primitive a ocf:hacluster:IPaddr params nick=eth1 meta priority=1", catalog) == []
    assert changed(wrong, "primitive a ocf:hacluster:IPaddr params nick=eth0 nix=1", catalog) == [
        "error a: IPaddr knows no parameter 'nix'"
    ]
    assert changed(wrong, "primitive b ocf:hacluster:Dumy", catalog) == [
        "warning b: the agent ocf:hacluster:Dumy is not installed here"
    ]
    # A template's parameters are those of its primitives.
    assert changed(
        wrong + "primitive c @t", "rsc_template t ocf:hacluster:IPaddr params nic=lo", catalog
    ) == ["error c: IPaddr needs the parameter ip"]
    assert changed(other, "primitive b ocf:hacluster:IPaddr params fake=1", catalog) == [
        "error b: IPaddr needs the parameter ip",
        "error b: IPaddr knows no parameter 'fake'",
    ]


class FakeMembers:
    """node2 has one agent, node3 does not answer."""

    def __init__(self) -> None:
        self.settings = self
        self.asked: list[tuple[str, str]] = []

    def node(self, name: str) -> str:
        return name

    async def agent_metadata(self, name: str, agent: str, within_s: float) -> str:
        self.asked.append((name, agent))
        if name == "node3":
            raise Timeout(what="the agent", after_ms=int(within_s * 1_000))
        if agent != "ocf:site:Only":
            raise NotFound(kind="agent", name=agent)
        parameters = '<parameters><parameter name="x" required="1"/></parameters>'
        return f'<resource-agent name="Only">{parameters}</resource-agent>'


def test_members_are_asked_for_what_is_not_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    members = FakeMembers()
    monkeypatch.setattr("cli.members.Members", lambda _paths, _me: members)
    nodes = [element("node_state", {"uname": name, "crmd": "1700000000"}) for name in ("node2", "node3")]
    gone = element("node_state", {"uname": "node4", "crmd": "0"})
    cib = element("cib", None, element("status", None, *nodes, gone))
    agents = AgentsOfTheCluster(Context(options=Options(node="node1")), cib)
    only = agents(AgentName("ocf", "site", "Only"))
    assert isinstance(only, AgentMetadata)
    assert [one.name for one in only.parameters] == ["x"]
    said = [agents(AgentName("ocf", "site", kind)) for kind in ("Some", "Other")]
    assert said[1] == "the agent ocf:site:Other is not installed here, and nothing is known of node3"
    # Who has not answered once is not waited for again.
    assert [agent for node, agent in members.asked if node == "node3"] == ["ocf:site:Only"]
    assert isinstance(agents(AgentName("ocf", "hacluster", "Dummy")), AgentMetadata)
    assert len(members.asked) == 4


def test_metadata_is_kept(catalog: Catalog, tmp_path: Path) -> None:
    problems("primitive d ocf:hacluster:Dummy", catalog)
    assert len(list((tmp_path / "cache/hacluster/metadata").glob("*.xml"))) == 1


def test_ra_info(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    status, text = hacli(["ra", "info", "ocf:hacluster:Dummy"])
    assert status == 0
    assert "(ocf:hacluster:Dummy)" in text.splitlines()[0]
    assert "Operations' defaults" in text
    assert hacli(["ra", "info", "ocf:hacluster:Nonsense"])[0] == 1
    assert "hacluster:IPaddr" in hacli(["ra", "list", "ocf"])[1]
