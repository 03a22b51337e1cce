"""The disk's copy: what comes back, cut off or flipped at every byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm.cib import codec
from crm.cib.model import Element, element
from crm.cib.replication.basis import Basis
from crm.cib.replication.log import Log
from crm.cib.replication.model import Kind, LogEntry, Promise, Snapshot, Stored
from crm.cib.storage import FolderStorage
from crm.cib.store import CibStore, frame, frames
from crm.cib.versions import CibVersion
from crm.replica.effects import DecideOrphans, SaveOrphans
from crm.replica.events import Orphans
from hacluster.vocabulary.ids import Term
from tests.sim.cib_disk import SimStorage
from tests.sim.engine import Disk

TERM = Term(3, 1)


def a_log(changes: int) -> Log:
    log = Log(Snapshot(), (), 0)
    log.append_new(term=TERM, basis=Basis.MAJORITY, kind=Kind.BARRIER, version=CibVersion(0, 1, 0))
    for number in range(changes):
        log.append_new(
            term=TERM,
            basis=Basis.MAJORITY,
            kind=Kind.PATCH,
            version=CibVersion(0, 2 + number, 0),
            author="root@n1",
            request_id=f"r{number}",
            content=element("configuration", {}, element("tags", {"id": f"t{number}"})),
        )
    return log


def entries_of(log: Log) -> tuple[LogEntry, ...]:
    return tuple(log.entry(index) for index in range(log.base.index + 1, log.last_index + 1))


def load(folder: Path) -> Stored:
    return CibStore(FolderStorage(folder)).load(wall_s=7)


def filled(folder: Path, log: Log) -> CibStore:
    store = CibStore(FolderStorage(folder))
    assert store.load(wall_s=1) == Stored()
    store.promise(Promise(term=TERM, voter=True))
    for entry in entries_of(log):
        store.entries(entry.index - 1, (entry,), entry.index - 1)
    return store


def test_everything_comes_back(tmp_path: Path) -> None:
    log = a_log(3)
    filled(tmp_path, log)
    stored = load(tmp_path)
    assert stored.promise == Promise(term=TERM, voter=True)
    assert stored.entries == entries_of(log)
    assert stored.commit_index == 3
    assert stored.corrupt == ""


def test_a_cut_comes_back(tmp_path: Path) -> None:
    log = a_log(3)
    store = filled(tmp_path, log)
    log.cut(2)
    new = log.append_new(term=Term(4, 2), basis=Basis.MAJORITY, kind=Kind.BARRIER, version=CibVersion(0, 9))
    store.entries(2, (new,), 1)
    stored = load(tmp_path)
    assert stored.entries == entries_of(log)
    assert stored.entries[-1].term == Term(4, 2)


def test_what_was_shown_outlives_what_had_it(tmp_path: Path) -> None:
    """Higher at each start: what is committed may be something else each time."""
    log = a_log(3)
    store = filled(tmp_path, log)
    log.cut(2)
    new = log.append_new(term=Term(4, 2), basis=Basis.MAJORITY, kind=Kind.BARRIER, version=CibVersion(0, 3))
    store.entries(2, (new,), 3, CibVersion(0, 4, 7))
    assert load(tmp_path).shown == CibVersion(0, 5, 0)
    store = CibStore(FolderStorage(tmp_path))
    assert store.load(wall_s=8).shown == CibVersion(0, 6, 0)
    store.snapshot(log.snapshot(3), (), 3, CibVersion(0, 6, 0))
    store = CibStore(FolderStorage(tmp_path))
    assert store.load(wall_s=8).shown == CibVersion(0, 7, 0)
    above = log.append_new(term=Term(4, 2), basis=Basis.MAJORITY, kind=Kind.BARRIER, version=CibVersion(0, 9))
    store.entries(3, (above,), 4)
    size = (tmp_path / "log.2").stat().st_size
    stored = load(tmp_path)
    assert stored.committed_version == CibVersion(0, 9) > stored.shown
    assert (tmp_path / "log.2").stat().st_size == size


def test_a_snapshot_begins_a_new_file(tmp_path: Path) -> None:
    log = a_log(5)
    store = filled(tmp_path, log)
    log.commit(6, safe=True)
    snapshot, rest = log.compact(4)
    store.snapshot(snapshot, rest, 6)
    more = log.append_new(term=TERM, basis=Basis.MAJORITY, kind=Kind.BARRIER, version=CibVersion(0, 20))
    store.entries(6, (more,), 6)
    stored = load(tmp_path)
    assert stored.snapshot == snapshot
    assert stored.commit_index == 6
    assert stored.entries == entries_of(log)
    assert [path.name for path in tmp_path.glob("log.*")] == ["log.2"]
    assert Log(stored.snapshot, stored.entries, 6).find_request("r0") == 2


def test_a_commit_mark_outlives_the_daemon(tmp_path: Path) -> None:
    store = filled(tmp_path, a_log(2))
    store.mark_committed(3)
    assert load(tmp_path).commit_index == 3


def filled_disk(log: Log) -> Disk:
    """As `filled`, on a disk in memory."""
    disk = Disk()
    store = CibStore(SimStorage(disk))
    store.load(wall_s=1)
    store.promise(Promise(term=TERM, voter=True))
    for entry in entries_of(log):
        store.entries(entry.index - 1, (entry,), entry.index - 1)
    return disk


def test_cut_off_at_every_byte_is_a_torn_write() -> None:
    log = a_log(3)
    data = filled_disk(log).visible["cib/log.1"]
    payloads, _ = frames(data, "log.1")
    ends = [sum(len(frame(payload)) for payload in payloads[: n + 1]) for n in range(len(payloads))]
    for size in range(ends[0], len(data)):
        disk = filled_disk(log)
        disk.visible["cib/log.1"] = data[:size]
        stored = CibStore(SimStorage(disk)).load(wall_s=7)
        whole = sum(1 for end in ends[1:] if end <= size)
        assert stored.corrupt == "", size
        assert stored.entries == entries_of(log)[:whole], size
        assert len(disk.visible["cib/log.1"]) == max(end for end in ends if end <= size)


@pytest.mark.parametrize("name", ["log.1", "promise"])
def test_a_flip_at_every_byte_is_damage(name: str) -> None:
    log = a_log(2)
    files = dict(filled_disk(log).visible)
    for at in range(len(files[f"cib/{name}"])):
        damaged = bytearray(files[f"cib/{name}"])
        damaged[at] ^= 1 << (at % 8)
        disk = Disk(visible={**files, f"cib/{name}": bytes(damaged)})
        stored = CibStore(SimStorage(disk)).load(wall_s=7)
        assert stored.corrupt, at
        assert stored.promise == Promise(lost=True), "what is empty now is not new"
        assert stored.entries == ()
        assert disk.visible[f"cib/corrupt-7/{name}"] == bytes(damaged)
        again = CibStore(SimStorage(disk)).load(wall_s=8)
        assert (again.corrupt, again.promise) == ("", Promise(lost=True))


def test_sectors_that_were_never_written_are_a_torn_write(tmp_path: Path) -> None:
    log = a_log(1)
    store = filled(tmp_path, log)
    big = log.append_new(
        term=TERM,
        basis=Basis.MAJORITY,
        kind=Kind.PATCH,
        version=CibVersion(0, 9),
        content=element("configuration", {"text": "x" * 4_000}),
    )
    size = (tmp_path / "log.1").stat().st_size
    store.entries(2, (big,), 2)
    data = bytearray((tmp_path / "log.1").read_bytes())
    hole = -(-size // 512) * 512 + 1_024
    data[hole : hole + 512] = bytes(512)
    (tmp_path / "log.1").write_bytes(bytes(data))
    stored = load(tmp_path)
    assert stored.corrupt == ""
    assert stored.entries == entries_of(log)[:2]


def test_a_missing_log_is_damage(tmp_path: Path) -> None:
    filled(tmp_path, a_log(1))
    (tmp_path / "log.1").unlink()
    assert "no log" in load(tmp_path).corrupt


def test_a_missing_promise_is_damage(tmp_path: Path) -> None:
    filled(tmp_path, a_log(1))
    (tmp_path / "promise").unlink()
    assert "no promise" in load(tmp_path).corrupt


def test_cib_xml_is_pacemakers_form_and_archived(tmp_path: Path) -> None:
    store = filled(tmp_path, a_log(0))
    for number in range(3):
        tags = element("configuration", {}, element("tags", {"id": f"t{number}"}))
        store.cib_xml(tags, CibVersion(0, number, 0), last_change="root", origin="n1")
    cib = codec.parse((tmp_path / "cib.xml").read_bytes())
    assert (cib.tag, cib.get("epoch"), cib.get("validate-with")) == ("cib", "2", "pacemaker-3.9")
    assert [child.tag for child in cib.children] == ["configuration", "status"]
    assert b't0"' in (tmp_path / "cib-1.raw").read_bytes()
    assert b't1"' in (tmp_path / "cib-2.raw").read_bytes()


def test_orphans_hold_what_was_cut(tmp_path: Path) -> None:
    log = a_log(2)
    store = filled(tmp_path, log)
    content: Element = log.head.content
    dropped = log.cut(1)
    effect = SaveOrphans(1, log.last_chain, dropped, 2, content, log.head.content)
    name = store.orphans.save(effect, node="n1", wall_s=99)
    saved = codec.parse((tmp_path / name).read_bytes())
    assert [entry.get("request-id") for entry in saved.all("entry")] == ["r0", "r1"]
    assert saved.child("configuration") == content
    assert [child.children for child in saved.all("base")] == [(log.head.content,)]
    assert store.orphans.found() == [Orphans(2, 2, "n1", name)]
    (report,) = store.orphans.undecided()
    assert report == store.orphans.kept(name)
    assert [one.request_id for one in report.orphans] == ["r0", "r1"]
    (tmp_path / name).unlink()
    assert store.orphans.found() == []


def decided(
    folder: Path, *, merged: tuple[int, ...], left: tuple[tuple[int, str], ...]
) -> tuple[str, CibStore]:
    """A report of the entries 1 and 2, of which 1 was committed, and what was decided."""
    log = a_log(2)
    store = filled(folder, log)
    content, base = log.head.content, log.base.content
    effect = SaveOrphans(0, b"", log.cut(0), 1, content, base)
    name = store.orphans.save(effect, node="n1", wall_s=99)
    store.orphans.decide(DecideOrphans(name, merged, left, element("configuration", {}, element("ours"))))
    return name, store


def test_what_is_merged_goes_from_the_report(tmp_path: Path) -> None:
    name, store = decided(tmp_path, merged=(2,), left=((3, "why"),))
    assert store.orphans.found() == [Orphans(1, 0, "n1", name)]
    assert store.orphans.undecided() == []
    rest = codec.parse((tmp_path / name).read_bytes())
    assert [(e.get("request-id"), e.get("left")) for e in rest.all("entry") if e.get("kind") == "patch"] == [
        ("r1", "why")
    ]
    assert [child.children[0].child("ours") is not None for child in rest.all("base")] == [True]
    whole = codec.parse((tmp_path / name.replace("orphans/", "orphans/done/")).read_bytes())
    assert [(e.get("merged"), e.get("left")) for e in whole.all("entry") if e.get("kind") == "patch"] == [
        ("true", ""),
        ("", "why"),
    ]


def test_a_report_of_which_all_is_merged_is_done_with(tmp_path: Path) -> None:
    name, store = decided(tmp_path, merged=(2, 3), left=())
    assert store.orphans.found() == []
    assert not (tmp_path / name).exists()
    assert (tmp_path / name.replace("orphans/", "orphans/done/")).is_file()


def test_a_report_of_which_nothing_is_merged_says_why(tmp_path: Path) -> None:
    name, store = decided(tmp_path, merged=(), left=((2, "a"), (3, "b")))
    assert store.orphans.found() == [Orphans(2, 1, "n1", name)]
    assert store.orphans.undecided() == []
    assert not (tmp_path / "orphans/done").exists()
