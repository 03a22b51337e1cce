"""Copies looked at from outside: damaged at any byte, the newest, what would be lost, a new beginning."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm.cib import codec, copies
from crm.cib.copies import Copy
from crm.cib.model import element
from crm.cib.replication.log import Log
from crm.cib.replication.model import Kind, Promise
from crm.cib.storage import FolderStorage
from crm.cib.store import CibStore
from crm.cib.versions import CibVersion
from hacluster.vocabulary.ids import Term
from tests.sim.cib import configuration_of as configuration_at
from tests.sim.cib_checkers import Durable
from tests.sim.cib_classes import CibProfile, CibRun
from tests.sim.engine import SECOND
from tests.unit.crm.cib.test_store import TERM, a_log, entries_of, filled


def look(folder: Path, inside: str = "") -> Copy:
    copy = copies.examine(FolderStorage(folder), place=folder.name, folder=inside)
    assert copy is not None
    return copy


def snapshot_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_whole_copy(tmp_path: Path) -> None:
    log = a_log(3)
    filled(tmp_path, log)
    copy = look(tmp_path)
    assert not copy.damage
    assert copy.log is not None
    assert (copy.log.last_index, copy.log.head.digest) == (4, log.head.digest)
    assert copy.promise == Promise(term=TERM, voter=True)


def test_no_copy_and_a_blank_one(tmp_path: Path) -> None:
    assert copies.examine(FolderStorage(tmp_path), place="x") is None
    CibStore(FolderStorage(tmp_path)).load(wall_s=1)
    assert look(tmp_path).is_blank
    assert copies.newest([look(tmp_path)]) is None


def test_looking_changes_nothing_at_any_cut_or_flip(tmp_path: Path) -> None:
    """What can be read is always a prefix of the history, and a flip is never taken for sound data."""
    log = a_log(3)
    filled(tmp_path, log)
    path = tmp_path / "log.1"
    whole = path.read_bytes()
    chains = {entry.index: entry.chain for entry in entries_of(log)}
    for at in range(0, len(whole), 3):
        flipped = bytearray(whole)
        flipped[at] ^= 0x10
        for damaged in (whole[:at], bytes(flipped)):
            path.write_bytes(damaged)
            before = snapshot_of(tmp_path)
            copy = look(tmp_path)
            assert snapshot_of(tmp_path) == before
            readable = copy.log
            if readable is not None and readable.last_index:
                assert readable.last_chain == chains[readable.last_index]
            if damaged != whole[:at]:
                assert copy.damage or copy.torn, at
                assert copy.damage == "" or copy.missing_bytes > 0, at


def test_what_precedes_the_damage_is_kept(tmp_path: Path) -> None:
    log = a_log(5)
    filled(tmp_path, log)
    path = tmp_path / "log.1"
    data = bytearray(path.read_bytes())
    data[-len(data) // 3] ^= 1
    path.write_bytes(bytes(data))
    copy = look(tmp_path)
    assert "damaged" in copy.damage
    assert copy.log is not None
    assert 0 < copy.log.last_index < 6


def test_a_damaged_promise_is_damage_though_the_log_is_whole(tmp_path: Path) -> None:
    filled(tmp_path, a_log(1))
    (tmp_path / "promise").write_bytes(b"x" * 40)
    copy = look(tmp_path)
    assert copy.damage.startswith("promise")
    assert copy.log is not None
    assert copy.log.last_index == 2


def test_what_was_kept_aside_is_a_copy_too(tmp_path: Path) -> None:
    filled(tmp_path, a_log(2))
    data = bytearray((tmp_path / "log.1").read_bytes())
    data[-10] ^= 1
    (tmp_path / "log.1").write_bytes(bytes(data) + b"HAcl")
    CibStore(FolderStorage(tmp_path)).load(wall_s=5)
    assert look(tmp_path).is_blank
    assert look(tmp_path, "corrupt-5").log is not None


def test_the_newest_is_whole_before_damaged_then_by_rank(tmp_path: Path) -> None:
    long, short, broken = (tmp_path / name for name in ("long", "short", "broken"))
    filled(long, a_log(4))
    filled(short, a_log(2))
    filled(broken, a_log(9))
    data = bytearray((broken / "log.1").read_bytes())
    data[-40] ^= 1
    (broken / "log.1").write_bytes(bytes(data))
    found = [look(short), look(broken), look(long)]
    assert copies.newest(found) is found[2]
    assert copies.newest(found[:2]) is found[0]
    assert copies.newest([found[1]]) is found[1]


def test_what_would_be_lost(tmp_path: Path) -> None:
    long, short = tmp_path / "long", tmp_path / "short"
    filled(long, a_log(4))
    filled(short, a_log(2))
    (loss,) = copies.losses(look(short), [look(short), look(long)])
    assert (loss.place, [one.request_id for one in loss.changes]) == ("long", ["r2", "r3"])
    assert copies.losses(look(long), [look(short)]) == []


def test_another_history_is_said_to_be_one(tmp_path: Path) -> None:
    text = b"<cib epoch='9'><configuration><tags id='z'/></configuration></cib>"
    filled(tmp_path, a_log(1))
    (loss,) = copies.losses(copies.of_document(text, place="export"), [look(tmp_path)])
    assert loss.unknown


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"<cib", "export"),
        (b"<cib/>", "no <configuration>"),
        (b"\x00\xff", "export"),
    ],
)
def test_a_document_that_is_no_copy(text: bytes, says: str) -> None:
    copy = copies.of_document(text, place="export")
    assert says in copy.damage
    assert copy.log is None


def test_a_document_with_another_signature_is_damaged_and_readable() -> None:
    copy = copies.of_document(b"<cib><configuration/></cib>", place="cib.xml", signature=b"00\n")
    assert "signature" in copy.damage
    assert copy.log is not None


def test_a_beginning_puts_everything_aside_and_is_the_same_on_each_node(tmp_path: Path) -> None:
    source = tmp_path / "source"
    filled(source, a_log(3))
    made = []
    for name in ("n1", "n2"):
        folder = tmp_path / name
        store = filled(folder, a_log(1))
        store.promise(Promise(term=Term(7, 2), voter=True))
        before = snapshot_of(folder)
        snapshot, promise = copies.beginning(look(source), [look(folder)])
        copies.begin_anew(FolderStorage(folder), snapshot, promise, folder="aside-1")
        after = snapshot_of(folder)
        assert {f"aside-1/{path}": data for path, data in before.items()}.items() <= after.items()
        stored = CibStore(FolderStorage(folder)).load(wall_s=9)
        assert not stored.corrupt
        assert stored.promise == Promise(term=Term(7, 2), voter=True)
        made.append(stored.snapshot)
    assert made[0] == made[1]
    assert made[0].version == CibVersion(1, 5, 0)
    assert made[0].content == a_log(3).head.content


def test_a_beginning_cut_short_can_be_done_again(tmp_path: Path) -> None:
    filled(tmp_path, a_log(3))
    source = look(tmp_path)
    snapshot, promise = copies.beginning(source)
    FolderStorage(tmp_path).rename("promise", "aside-1/promise")
    copies.begin_anew(FolderStorage(tmp_path), snapshot, promise, folder="aside-2")
    assert sorted(path.parent.name for path in tmp_path.rglob("aside-*/*")) == ["aside-1", "aside-2"]
    assert look(tmp_path).log is not None


@pytest.mark.parametrize("from_archive", [False, True])
@pytest.mark.parametrize("seed", range(1, 4))
def test_all_copies_damaged_and_a_cluster_that_begins_anew(seed: int, from_archive: bool) -> None:
    """Nobody has a memory, so nobody is DC; with a beginning on most they agree, and the third follows."""
    run = CibRun(seed, CibProfile(nodes=3))
    run.boot()
    cluster, rng = run.cluster, run.world.stream("damage")
    dc = cluster.dc(safe=True)
    assert dc is not None
    written = cluster.clients.write(dc)
    run.world.run_until(run.world.now_ns + 2 * SECOND)
    kept = configuration_at(dc)
    for process in cluster.processes:
        cluster.power_cut(process.id, rng)
    sources = [copies.examine(process.storage, place=process.node.name) for process in cluster.processes]
    for process in cluster.processes:
        process.storage.putting_off = False
        data = process.storage.read("promise")
        assert data is not None
        process.storage.replace("promise", data[:-1] + b"x")
        run.no_damage.damage(process)
        cluster.boot(process.id)
    run.world.run_until(run.world.now_ns + 10 * SECOND)
    assert cluster.dc(safe=True) is None, "a cluster without a memory decided something"
    text = codec.render(element("cib", {"epoch": "9"}, kept)).encode()
    newest = copies.newest([one for one in sources if one is not None])
    source = copies.of_document(text, place="cib.xml") if from_archive else newest
    assert source is not None
    for process in cluster.processes:
        cluster.power_cut(process.id, rng)
    for checker in run.world.checkers:
        if from_archive and isinstance(checker, Durable):  # it knows nothing of requests and positions
            checker.answered.clear()
            checker.safe.clear()
    for process in cluster.processes[:2]:
        process.storage.putting_off = False
        snapshot, promise = copies.beginning(source)
        copies.begin_anew(process.storage, snapshot, promise, folder="aside-1")
    for process in cluster.processes:
        cluster.boot(process.id)
    run.world.run_until(run.world.now_ns + 15 * SECOND)
    dc = cluster.dc(safe=True)
    assert dc is not None, "nobody decides after a new beginning"
    assert cluster.settled()
    for process in cluster.processes:
        assert configuration_at(process).by_id(f"w{written.number}") is not None
        assert process.core is not None
        assert process.core.promise.voter, f"{process.node.name} has no vote"


def test_a_log_of_kinds() -> None:
    """The test's own log: one barrier, then patches."""
    log: Log = a_log(2)
    assert [entry.kind for entry in entries_of(log)] == [Kind.BARRIER, Kind.PATCH, Kind.PATCH]
