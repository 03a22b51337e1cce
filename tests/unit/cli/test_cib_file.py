"""CIBs in files: plain, compressed, and what is none."""

from __future__ import annotations

import bz2
from pathlib import Path

import pytest

from cli import cib_file
from cli.cib_file import read_cib
from hacluster.errors import HaError, InvalidRequest
from tests.unit.cli.runner import hacli

CIB = b"<cib><configuration><crm_config/><nodes/><resources/><constraints/></configuration><status/></cib>"


def test_plain_and_compressed(tmp_path: Path) -> None:
    (tmp_path / "cib.xml").write_bytes(CIB)
    (tmp_path / "pe-input-1.bz2").write_bytes(bz2.compress(CIB))
    assert read_cib(str(tmp_path / "cib.xml")) == read_cib(str(tmp_path / "pe-input-1.bz2"))
    for words in (["simulate", "-x"], ["verify", "-x"], ["why", "fenced", "nobody", "-x"]):
        assert hacli([*words, str(tmp_path / "cib.xml")]) == hacli([*words, str(tmp_path / "pe-input-1.bz2")])


def test_what_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"

    def refused(data: bytes) -> str:
        path.write_bytes(data)
        with pytest.raises(HaError) as caught:
            read_cib(str(path))
        return str(caught.value)

    packed = bz2.compress(CIB)
    assert "no sound bzip2" in refused(b"BZh9" + b"x" * 40)
    assert "cut off" in refused(packed[:-10])
    assert "a transition graph, no <cib>" in refused(b"<transition_graph/>")
    monkeypatch.setattr(cib_file, "SIZE_BYTES_MAX", 50)
    assert "more than" in refused(packed)
    path.write_bytes(b"<nodes/>")
    with pytest.raises(InvalidRequest, match="holds <nodes>"):
        read_cib(str(path))


def test_a_link_stays_one_and_an_archive_stays_compressed(tmp_path: Path) -> None:
    file, link = tmp_path / "pe-input-1.bz2", tmp_path / "link"
    file.write_bytes(bz2.compress(CIB))
    file.chmod(0o640)
    link.symlink_to(file.name)
    done = hacli(["--cib-file", str(link), "configure", "property", "maintenance-mode=true"])
    assert done[0] == 0, done[1]
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert file.read_bytes().startswith(b"BZh")
    assert b"maintenance-mode" in bz2.decompress(file.read_bytes())
    shown = hacli(["--cib-file", str(link), "configure", "show"])
    assert "maintenance-mode=true" in shown[1]
    file.write_bytes(CIB)
    assert hacli(["--cib-file", str(link), "configure", "property", "maintenance-mode=true"])[0] == 0
    assert file.read_bytes().startswith(b"<"), "plain stays plain"
