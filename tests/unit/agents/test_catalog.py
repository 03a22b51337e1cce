from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.catalog import Catalog, our_ocf_root, our_sbin_dir, systemd_unit
from hacluster.errors import InvalidRequest, NotFound, PermissionDenied
from hacluster.vocabulary.agent import AgentName


def a_program(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(mode)
    return path


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(
        ours=tmp_path / "ours",
        ocf_roots=(tmp_path / "ocf", tmp_path / "more"),
        lsb_folder=tmp_path / "init.d",
        heartbeat_folder=tmp_path / "ha.d",
        fence_folder=tmp_path / "sbin",
        our_fence_folder=tmp_path / "fencing",
        glue_folder=tmp_path / "glue",
        systemd_folders=(tmp_path / "system",),
    )


def test_ours_come_first_and_are_known_as_ours(catalog: Catalog, tmp_path: Path) -> None:
    a_program(tmp_path / "ours/resource.d/hacluster/IPaddr")
    a_program(tmp_path / "ocf/resource.d/hacluster/IPaddr")
    found = catalog.resolve(AgentName.parse("ocf:hacluster:IPaddr"))
    assert found.path == str(tmp_path / "ours/resource.d/hacluster/IPaddr")
    assert found.ours
    assert found.ocf_root == str(tmp_path / "ocf")


def test_ocf_roots_are_searched_in_order(catalog: Catalog, tmp_path: Path) -> None:
    a_program(tmp_path / "more/resource.d/heartbeat/Dummy")
    found = catalog.resolve(AgentName.parse("ocf:heartbeat:Dummy"))
    assert (found.ours, found.ocf_root, found.standard) == (False, str(tmp_path / "more"), "ocf")


def test_service_is_an_init_script_or_a_unit(catalog: Catalog, tmp_path: Path) -> None:
    name = AgentName.parse("service:nginx")
    assert catalog.resolve(name).unit == "nginx.service"
    a_program(tmp_path / "init.d/nginx")
    assert catalog.resolve(name).standard == "lsb"
    assert catalog.resolve(name).path == str(tmp_path / "init.d/nginx")


def test_heartbeat_scripts_then_init_scripts(catalog: Catalog, tmp_path: Path) -> None:
    a_program(tmp_path / "init.d/httpd")
    name = AgentName.parse("heartbeat:httpd")
    assert catalog.resolve(name).path == str(tmp_path / "init.d/httpd")
    a_program(tmp_path / "ha.d/httpd")
    assert catalog.resolve(name).path == str(tmp_path / "ha.d/httpd")


@pytest.mark.parametrize(
    "text", ["ocf:a:missing", "lsb:missing", "heartbeat:missing", "stonith:fence_missing"]
)
def test_missing(catalog: Catalog, text: str) -> None:
    with pytest.raises(NotFound):
        catalog.resolve(AgentName.parse(text))


def test_only_executable_regular_files_are_agents(catalog: Catalog, tmp_path: Path) -> None:
    a_program(tmp_path / "ocf/resource.d/p/plain", 0o644)
    (tmp_path / "ocf/resource.d/p/folder").mkdir()
    for kind in ("plain", "folder"):
        with pytest.raises(NotFound, match="not an executable file"):
            catalog.resolve(AgentName("ocf", "p", kind))
    assert catalog.list("ocf") == ()


def test_an_agent_that_anybody_can_write_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    a_program(tmp_path / "init.d/open", 0o777)
    with pytest.raises(PermissionDenied):
        catalog.resolve(AgentName.parse("lsb:open"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_an_agent_of_another_user_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    os.chown(a_program(tmp_path / "init.d/foreign"), 12345, 12345)
    with pytest.raises(PermissionDenied):
        catalog.resolve(AgentName.parse("lsb:foreign"))


def test_links_may_lead_to_agent_folders_only(catalog: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "ocf/resource.d/p"
    a_program(folder / "real")
    (folder / "alias").symlink_to("real")
    assert catalog.resolve(AgentName("ocf", "p", "alias")).path == str(folder / "alias")
    (folder / "escape").symlink_to(a_program(tmp_path / "elsewhere"))
    with pytest.raises(PermissionDenied, match="leads out"):
        catalog.resolve(AgentName("ocf", "p", "escape"))
    (folder / "loop").symlink_to("loop")
    with pytest.raises(NotFound):
        catalog.resolve(AgentName("ocf", "p", "loop"))


@pytest.mark.parametrize(
    ("provider", "kind"),
    [("..", "x"), ("p", "../../bin/sh"), ("p", "/bin/sh"), ("p", "a\0"), ("p", "a\n"), ("p", ".hidden"),
     ("", "x"), ("p", ""), ("p", "x" * 300), ("p/q", "x")],
)  # fmt: skip
def test_names_that_are_no_names(catalog: Catalog, provider: str, kind: str) -> None:
    with pytest.raises(InvalidRequest):
        catalog.resolve(AgentName("ocf", provider, kind))


def test_list(catalog: Catalog, tmp_path: Path) -> None:
    for path in (
        "ours/resource.d/hacluster/IPaddr",
        "ocf/resource.d/heartbeat/Dummy",
        "ocf/resource.d/heartbeat/.hidden",
        "init.d/nginx",
        "init.d/README",
        "ha.d/IPaddr",
        "sbin/fence_dummy",
        "sbin/other",
        "system/cron.service",
    ):
        a_program(tmp_path / path)
    assert list(map(str, catalog.list())) == [
        "heartbeat:IPaddr",
        "lsb:nginx",
        "ocf:hacluster:IPaddr",
        "ocf:heartbeat:Dummy",
        "stonith:fence_dummy",
        "systemd:cron",
    ]
    assert list(map(str, catalog.list("ocf", "heartbeat"))) == ["ocf:heartbeat:Dummy"]
    assert catalog.providers() == ("hacluster", "heartbeat")
    with pytest.raises(InvalidRequest):
        catalog.list("ocf", "..")


def test_systemd_units() -> None:
    assert systemd_unit("nginx") == "nginx.service"
    assert systemd_unit("x@a:b.timer") == "x@a:b.timer"


def test_roots_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HACLUSTER_OCF_ROOTS", "/a::/b")
    assert Catalog.of_this_node().ocf_roots == (Path("/a"), Path("/b"))
    monkeypatch.delenv("HACLUSTER_OCF_ROOTS")
    assert Catalog.of_this_node().ocf_roots == (Path("/usr/lib/ocf"),)


def test_our_folders_are_beside_the_code() -> None:
    assert our_ocf_root().name == "ocf"
    assert our_sbin_dir().parent == our_ocf_root().parent
