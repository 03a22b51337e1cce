from __future__ import annotations

from pathlib import Path

import pytest

from agents.catalog import Catalog, our_ocf_root
from cli.agent_checks import agent_problems
from cli.grammar.definitions import parse_text
from cli.grammar.document import empty_cib
from cli.grammar.load import load
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
    return [str(problem) for problem in agent_problems(cib, catalog)]


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
        "a: IPaddr needs the parameter ip",
        "a: IPaddr knows no parameter 'nick' (see `hacli ra info`)",
        "a: monitor timeout 3s is less than the 20 s that IPaddr advises",
        "b: the agent ocf:hacluster:Nonsense is not installed here",
        "c: the agent ocf:heartbeat:Dummy is not installed here",
        "d: lsb:nothing: there is no agent 'lsb:nothing'",
    ]


def test_a_template_is_taken_into_account(catalog: Catalog) -> None:
    text = "rsc_template t ocf:hacluster:IPaddr params ip=10.0.0.1\nprimitive ip @t\n"
    assert problems(text, catalog) == []


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
