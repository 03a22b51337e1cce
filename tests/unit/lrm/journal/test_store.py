"""The journal's file: what a crash, a reboot and a damaged line leave of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hacluster.vocabulary.ids import BootToken, Term
from hacluster.vocabulary.operation import ExecutionStatus, OperationResult
from lrm.journal import store as journal_store
from lrm.journal.codec import BadRecord, decode, encode
from lrm.journal.model import Ledger
from lrm.journal.records import Accepted, Begun, Concluded, Record, TermSeen
from lrm.journal.store import Store
from tests.unit.lrm.queue.world import VIEW, an_execute, an_operation

BOOT = BootToken("1" * 64)


def some_records() -> list[Record]:
    execute = an_execute(an_operation("web", meta={"on-fail": "ü"}))
    result = OperationResult(
        id=execute.id,
        call_id=1,
        operation=execute.operation,
        status=ExecutionStatus.DONE,
        rc=0,
        output="two\nlines",
        private_parameters=("password",),
    )
    return [
        TermSeen(term=Term(1, 1)),
        Accepted(
            call_id=1,
            id=execute.id,
            operation=execute.operation,
            view=VIEW,
            without_quorum=False,
            received_ns=5,
            due_ns=5,
        ),
        Begun(call_id=1, run=0, began_ns=6),
        Concluded(result=result),
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lrm/journal"


def write(path: Path, records: list[Record]) -> Store:
    store = Store(path, BOOT)
    ledger = store.open().ledger
    for record in records:
        ledger.apply(record)
        store.append(record)
    return store


@pytest.mark.parametrize("record", some_records(), ids=lambda record: type(record).__name__)
def test_records_survive_their_line(record: Record) -> None:
    line = encode(record)
    assert b"\n" not in line
    assert decode(line) == record


@pytest.mark.parametrize("line", [b"", b"[]", b'["Nope",{}]', b'["TermSeen",{"term":3}]', b"\xff"])
def test_nonsense_is_no_record(line: bytes) -> None:
    with pytest.raises(BadRecord):
        decode(line)


def test_what_was_written_is_read_back(path: Path) -> None:
    write(path, some_records()).close()
    opened = Store(path, BOOT).open()
    assert opened.ledger.max_term == Term(1, 1)
    assert [result.output for result in opened.ledger.results()] == ["two\nlines"]
    assert opened.void == ""
    assert opened.cut_bytes == 0


def test_the_journal_keeps_its_name(path: Path) -> None:
    write(path, []).close()
    first = Store(path, BOOT).open().journal_id
    assert Store(path, BOOT).open().journal_id == first


def test_a_reboot_voids_it(path: Path) -> None:
    write(path, some_records()).close()
    former = Store(path, BOOT).open().journal_id
    opened = Store(path, BootToken("2" * 64)).open()
    assert "another boot" in opened.void
    assert opened.ledger == Ledger()
    assert opened.journal_id != former, "tokens of runs must not meet those of the former boot"
    assert Store(path, BOOT).open().void, "for good"


def test_every_way_to_tear_the_file(path: Path) -> None:
    """A writer that was killed, or a file system that lost the end: what is whole counts."""
    write(path, some_records()).close()
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    ends = [sum(map(len, lines[:n])) for n in range(1, len(lines) + 1)]
    sizes = {*range(0, len(content), 9), *(end + at for end in ends for at in (-1, 0))} - {len(content)}
    for size in sorted(sizes):  # the first three lines are the head and an empty ledger
        path.write_bytes(content[:size])
        opened = Store(path, BOOT).open()
        whole = sum(end <= size for end in ends)
        expected = Ledger()
        for record in some_records()[: max(0, whole - 3)]:
            expected.apply(record)
        assert opened.ledger == expected, size
        assert bool(opened.void) == (size < ends[0] - 1), "the head alone says whose journal it is"


def test_a_flipped_bit_ends_the_journal_there(path: Path) -> None:
    write(path, some_records()).close()
    content = bytearray(path.read_bytes())
    second_line = content.index(b"Accepted")
    content[second_line] ^= 1
    path.write_bytes(content)
    opened = Store(path, BOOT).open()
    assert opened.ledger.max_term == Term(1, 1)
    assert not opened.ledger.pending
    assert opened.cut_bytes > 0


def test_it_is_rewritten_when_it_has_grown(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_store, "COMPACT_ABOVE_BYTES", 4_000)
    store = Store(path, BOOT)
    ledger = store.open().ledger
    rewritten = 0
    for counter in range(1, 500):
        record = TermSeen(term=Term(counter, 1))
        ledger.apply(record)
        store.append(record)
        rewritten += store.compact_if_grown(ledger)
    store.close()
    assert rewritten > 3
    assert path.stat().st_size < 5_000
    assert Store(path, BOOT).open().ledger.max_term == Term(499, 1)
