"""`hacli cib recover|history|diff|orphans` on state folders, ha-crm stopped."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cli.formats import misfits
from crm.cib import codec
from crm.cib.model import Element, element
from crm.cib.replication.basis import Basis
from crm.cib.replication.log import Log
from crm.cib.replication.model import Kind, Snapshot
from crm.cib.storage import FolderStorage
from crm.cib.store import CibStore
from crm.cib.versions import CibVersion
from crm.replica.effects import SaveOrphans
from tests.unit.cli.runner import hacli
from tests.unit.crm.cib.test_store import TERM, a_log, entries_of, filled


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HACLUSTER_ROOT", str(tmp_path))
    return tmp_path


def cib_folder(root: Path) -> Path:
    folder = root / "var/lib/hacluster/cib"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def run(*words: str, status: int = 0) -> str:
    code, said = hacli(words)
    assert code == status, said
    return said


def answer(*words: str) -> dict[str, object]:
    value: dict[str, object] = json.loads(run("--json", *words))
    return value


def test_a_whole_copy_is_shown_as_the_newest(root: Path) -> None:
    filled(cib_folder(root), a_log(2))
    said = run("cib", "recover")
    assert f"* {cib_folder(root)}: version 0.3.0, entry 3 of term 3, written " in said
    assert "would be lost" not in said


def test_no_folder_and_no_copy(root: Path) -> None:
    assert "var/lib/hacluster/cib" in run("cib", "recover", status=1)
    cib_folder(root)
    assert "no copy can be read" in run("cib", "recover", status=1)


def test_copies_of_three_nodes_side_by_side(root: Path) -> None:
    folders = [root / name for name in ("n1", "n2", "n3")]
    for folder, changes in zip(folders, (2, 4, 6), strict=True):
        filled(cib_folder(folder), a_log(changes))
    flip(cib_folder(folders[2]) / "log.1", -30)
    said = run("cib", "recover", *map(str, folders))
    assert f"the newest that can be read is {cib_folder(folders[1])}" in said
    assert f"with it would be lost from {cib_folder(folders[2])}: 1 changes in 1 entries; " in said
    assert "0.6.0 by root@n1 (majority)" in said
    data = answer("cib", "recover", *map(str, folders))
    assert data["newest"] == str(cib_folder(folders[1]))
    assert "<" in run("--output", "xml", "cib", "recover", *map(str, folders))


def test_what_was_set_aside_and_cib_xml_are_shown_too(root: Path) -> None:
    folder = cib_folder(root)
    store = filled(folder, a_log(2))
    for epoch in (3, 4):
        store.cib_xml(element("configuration"), CibVersion(0, epoch, 0), last_change="", origin="")
    flip(folder / "log.1", 40)
    CibStore(FolderStorage(folder)).load(wall_s=5)
    said = run("cib", "recover")
    assert "corrupt-5: cannot be read: log.1" in said
    assert f"* {folder / 'cib.xml'}: version 0.4.0" in said
    assert "cib-1.raw: version 0.3.0" in said
    (folder / "cib.xml").write_text("<cib epoch='99'><configuration/></cib>")
    assert "cib.xml: version 0.99.0, entry 1 of term 1, damaged (its signature" in run("cib", "recover")


def test_a_beginning_needs_force_and_keeps_the_old_files(root: Path) -> None:
    folder = cib_folder(root)
    store = filled(folder, a_log(2))
    store.cib_xml(element("configuration"), CibVersion(0, 3, 0), last_change="", origin="")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    source = root / "export.xml"
    source.write_text('<cib epoch="7"><configuration><tags id="kept"/></configuration></cib>')
    assert "say -F" in run("cib", "recover", "from", str(source), status=1)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    said = run("-F", "cib", "recover", "from", str(source))
    assert "begins anew with version 1.8.0" in said
    (aside,) = folder.glob("aside-*")
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == before
    stored = CibStore(FolderStorage(folder)).load(wall_s=9)
    assert not stored.corrupt
    assert stored.snapshot.content.child("tags") is not None
    assert "aside-" in run("cib", "recover")
    assert answer("-F", "cib", "recover", "from", str(source), "to", str(folder))["version"] == "1.8.0"
    assert len(list(folder.glob("aside-*"))) == 2
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == before


def test_no_beginning_from_what_cannot_be_read(root: Path) -> None:
    filled(cib_folder(root), a_log(1))
    (root / "bad.xml").write_text("<cib>")
    for source in ("bad.xml", "nothing.xml"):
        assert source in run("-F", "cib", "recover", "from", str(root / source), status=1)
    run("cib", "recover", "from", status=2)
    assert not list(cib_folder(root).glob("aside-*"))


def test_no_beginning_below_a_running_daemon(root: Path) -> None:
    import socket

    filled(cib_folder(root), a_log(1))
    path = root / "run/hacluster/crm.sock"
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        said = run("-F", "cib", "recover", "from", str(cib_folder(root)), status=1)
    assert "ha-crm runs on this node" in said


def test_the_log_of_a_copy(root: Path) -> None:
    filled(cib_folder(root), a_log(2))
    lines = run("cib", "history").splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert "patch by root@n1" in lines[1]
    assert lines[2].endswith("not known to be committed")
    entries = answer("cib", "history", str(root))["entries"]
    assert isinstance(entries, list)
    assert [one["committed"] for one in entries] == [True, True, False]
    flip(cib_folder(root) / "log.1", -30)
    assert "bytes after that are missing" in run("cib", "history")


def test_the_difference_of_two_copies(root: Path) -> None:
    for name, text in (("a", ""), ("b", '<tags><tag id="t"><obj_ref id="x"/></tag></tags>')):
        (root / name).write_text(f"<cib><configuration>{text}</configuration></cib>")
    assert "tag t" in run("cib", "diff", str(root / "a"), str(root / "b"))
    assert "the same" in run("cib", "diff", str(root / "a"), str(root / "a"))
    assert answer("cib", "diff", str(root / "a"), str(root / "b"))["changes"]


def a_report(root: Path, *, with_base: bool = True) -> str:
    """Two changes of n2's, made on an empty configuration: a property, and a tag."""
    base = element("configuration", {}, element("crm_config"), element("tags"))
    log = Log(Snapshot(content=base, digest=codec.digest(base)), (), 0)
    nvpair = element("nvpair", {"id": "o-x", "name": "batch-limit", "value": "7"})
    options = element("crm_config", {}, element("cluster_property_set", {"id": "o"}, nvpair))
    tag = element("tags", {}, element("tag", {"id": "t"}, element("obj_ref", {"id": "x"})))
    contents = (
        element("configuration", {}, options, element("tags")),
        element("configuration", {}, options, tag),
    )
    for number, content in enumerate(contents):
        log.append_new(
            term=TERM,
            basis=Basis.UNQUORATE,
            kind=Kind.PATCH,
            version=CibVersion(0, 2 + number, 0),
            author="root@n2",
            request_id=f"r{number}",
            content=content,
        )
    content, dropped = log.head.content, entries_of(log)
    effect = SaveOrphans(0, b"", dropped, 1, content, base if with_base else Element("nothing"))
    store = CibStore(FolderStorage(cib_folder(root)))
    return store.orphans.save(effect, node="n2", wall_s=99).removeprefix("orphans/")


def test_orphans_are_listed_shown_and_put_away(root: Path) -> None:
    assert "are left out" in run("cib", "orphans")
    name = a_report(root)
    assert "2 changes on n2, given up" in run("cib", "orphans")
    said = run("cib", "orphans", "show", name)
    assert "0.2.0 by root@n2 (unquorate)" in said
    assert "batch-limit=7" in said
    assert "tag t" in said
    reports = answer("cib", "orphans")["reports"]
    assert isinstance(reports, list)
    assert [one["answered"] for one in reports] == [1]
    ElementTree.fromstring(run("--output", "xml", "cib", "orphans", "show", "99"))
    run("cib", "orphans", "show", "98", status=1)
    run("cib", "orphans", "discard", name)
    assert "are left out" in run("cib", "orphans")
    assert (cib_folder(root) / "orphans/done" / name).is_file()


def test_a_damaged_report_is_named(root: Path) -> None:
    name = a_report(root)
    path = cib_folder(root) / "orphans" / name
    path.write_bytes(path.read_bytes()[:-40])
    assert "cannot be read" in run("cib", "orphans")


def test_orphans_are_applied_to_the_configuration_of_now(root: Path) -> None:
    name = a_report(root)
    cib = root / "now.xml"
    cib.write_text('<cib><configuration><crm_config/><tags><tag id="u"/></tags></configuration></cib>')
    said = answer("--cib-file", str(cib), "cib", "orphans", "apply", name)
    assert misfits("cib-orphan-applied", said) == []
    now = codec.parse(cib.read_bytes())
    assert now.by_id("o-x") is not None
    assert now.by_id("t") is not None
    assert now.by_id("u") is not None
    assert not list((cib_folder(root) / "orphans").glob("*.xml"))


def test_what_was_changed_on_the_other_side_too_stays_as_it_is(root: Path) -> None:
    name = a_report(root)
    cib = root / "now.xml"
    tags = '<tags><tag id="t"><obj_ref id="y"/></tag></tags>'
    text = f"<cib><configuration><crm_config/>{tags}</configuration></cib>"
    cib.write_text(text)
    said = run("--cib-file", str(cib), "cib", "orphans", "apply", name, status=1)
    assert "changed on the other side too: t;" in said
    assert cib.read_text() == text
    assert "left as they are: t" in run("-F", "--cib-file", str(cib), "cib", "orphans", "apply", name)
    now = codec.parse(cib.read_bytes())
    assert now.by_id("y") is not None
    assert now.by_id("o-x") is not None


def test_a_report_without_its_base_is_not_applied(root: Path) -> None:
    name = a_report(root, with_base=False)
    said = run("--cib-file", str(root / "x.xml"), "cib", "orphans", "apply", name, status=1)
    assert "by hand" in said
    assert "not in the report" in run("cib", "orphans", "show", name)
