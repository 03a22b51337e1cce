"""The witness on a shared disk: records on a real file, torn and foreign ones, and two nodes that want it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from agents.fencing.slots import BLOCK, PAYLOAD_MAX, RECORDS_AT, Disk, Record, SlotError, init
from hacluster.vocabulary.ids import NO_VIEW, NodeId, ViewId
from messaging.membership.events import AskWitness, WitnessAnswered
from messaging.membership.runs import Run
from messaging.witness.ballot import DiskWitness, Exchange, Exchanged, ExchangeFailed
from messaging.witness.blocks import Block, decode, encode
from messaging.witness.core import Answer, Asked, Released, SyncChanged, WitnessState
from messaging.witness.disk import QdiskClient, exchange
from tests.sim import ballots

MS = 1_000_000
CLUSTER = b"c" * 16
LEASE_MS = 100
FULL = Block(
    serial=9,
    cluster=CLUSTER,
    boot=b"b" * 32,
    ballot=(8, 2),
    accepted=(7, 1),
    state=WitnessState(
        last=ViewId(5, NodeId(1)),
        members=(1, 2, 65_534),
        lease_ms=5_000,
        config_index=1 << 40,
        in_sync=(1, 2),
        term=(3, 2),
        runs=(Run(1, 1), Run(2, 127), Run(3, 128), Run(4, 300), Run(65_534, 2**64 - 1)),
    ),
    view=ViewId(5, NodeId(1)),
    lease_ms=5_000,
    renewed=77,
    wish=ViewId(6, NodeId(2)),
    wish_members=(2,),
    score=-3,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "qdisk"
    init(str(made), ["a", "b"])
    return made


class Side:
    """One node on that disk."""

    def __init__(self, path: Path, node: int, cluster: bytes = CLUSTER) -> None:
        self.node, self.disk = node, Disk(str(path))
        self.core = DiskWitness(node, cluster=cluster, boot=bytes(32), gather_ns=10 * MS)

    def ask(self, counter: int, members: tuple[int, ...], now_ms: int) -> Answer:
        asked = Asked(
            node=self.node,
            nonce=now_ms,
            view=ViewId(counter, NodeId(members[0])),
            members=members,
            voters=(1, 2),
            config_index=0,
            lease_ms=LEASE_MS,
        )
        answer = self.tell(asked, now_ms)
        assert answer is not None
        return answer

    def tell(self, event: Asked | Released | SyncChanged, now_ms: int) -> Answer | None:
        effects = self.core.handle(event, now_ms * MS)
        while effects and isinstance(effects[0], Exchange):
            read = exchange(self.disk, {1: 0, 2: 1}, self.node, effects[0].write)
            effects = self.core.handle(read, now_ms * MS)
        answers = [effect for effect in effects if isinstance(effect, Answer)]
        return answers[0] if answers else None


def test_a_record_is_read_as_it_was_written() -> None:
    assert decode(9, b"b" * 32, encode(FULL)) == FULL
    assert decode(0, bytes(32), b"") == Block()
    assert decode(9, bytes(32), encode(FULL)[:-1]) is None
    assert decode(9, bytes(32), b"\7" + encode(FULL)[1:]) is None, "another format"
    everybody = tuple(range(1, 256))
    runs = tuple(Run(node, (1 << 21) - 1) for node in everybody)
    state = WitnessState(members=everybody, in_sync=everybody, runs=runs)
    assert len(encode(Block(state=state, wish_members=everybody))) <= PAYLOAD_MAX


def test_one_of_two_copies_is_enough(path: Path) -> None:
    disk = Disk(str(path))
    four, five = (Record(n, b"b" * 32, b"%d" % n) for n in (4, 5))
    disk.write_record(1, four)
    disk.write_record(1, five)
    assert (disk.record(0), disk.record(1)) == (Record(0, bytes(32), b""), five)
    with path.open("r+b") as file:
        file.seek(RECORDS_AT + 2 * BLOCK)
        file.write(b"\xff" * 512)
    assert disk.record(1) == five, "the second copy"
    with path.open("r+b") as file:
        file.seek(RECORDS_AT + 3 * BLOCK + 20)
        file.write(b"\xff")
    assert disk.record(1) is None
    assert disk.slots() == {"a": 0, "b": 1}, "the slots beside it are untouched"
    short = path.with_name("short")
    short.write_bytes(path.read_bytes()[:RECORDS_AT])
    with pytest.raises(SlotError, match="no records"):
        Disk(str(short)).record(0)


def test_a_half_waits_until_nobody_can_rest_on_it_elsewhere(path: Path) -> None:
    one, two = Side(path, 1), Side(path, 2)
    granted = one.ask(1, (1, 2), 0)
    assert granted.granted, granted
    joined = two.ask(1, (1, 2), 1)
    assert joined.granted, joined
    refused = two.ask(2, (2,), 50)
    assert "may count on it" in refused.reason
    kept = one.ask(1, (1, 2), 60)
    assert kept.granted
    seen = two.ask(2, (2,), 70)
    assert "may count on it for 100 ms" in seen.reason, "the renewal was seen at 70"
    early = two.ask(2, (2,), 165)
    assert not early.granted
    late = [two.ask(2, (2,), at) for at in (171, 185)]
    assert late[1].granted, late
    after = one.ask(1, (1, 2), 190)
    assert after.reason == "another view has been granted"


def test_who_goes_away_in_order_is_not_waited_for(path: Path) -> None:
    one, two = Side(path, 1), Side(path, 2)
    one.ask(1, (1,), 0), one.ask(1, (1,), 11)
    two.ask(2, (2,), 20)
    waits = two.ask(2, (2,), 40)
    assert "may count" in waits.reason
    one.tell(Released(node=1, view=ViewId(1, NodeId(1))), 41)
    answers = [two.ask(2, (2,), at) for at in (42, 54)]
    assert answers[1].granted, answers


def test_a_restart_forgets_nothing(path: Path) -> None:
    Side(path, 1).ask(3, (1, 2), 0)
    again = Side(path, 1)
    old = again.ask(3, (1,), 5)
    assert "other members" in old.reason
    sync = SyncChanged(node=1, nonce=1, view=ViewId(3, NodeId(1)), in_sync=(1,), term=(1, 1))
    assert (kept := again.tell(sync, 6)) is not None
    assert kept.in_sync == (1,)
    other = [Side(path, 2).ask(4, (2,), at) for at in (200,)]
    assert not other[0].granted


def test_a_damaged_or_foreign_record_is_in_the_way(path: Path) -> None:
    Side(path, 1).ask(1, (1, 2), 0)
    foreign = Side(path, 2, cluster=b"x" * 16).ask(1, (2,), 1)
    assert "another cluster" in foreign.reason
    with path.open("r+b") as file:
        file.seek(RECORDS_AT)
        file.write(b"\xff" * 2 * BLOCK)
    damaged = Side(path, 2).ask(1, (1, 2), 2)
    assert damaged.reason == "the record of node 1 on the disk is damaged"


def test_a_failed_write_is_read_again_before_the_next() -> None:
    core = DiskWitness(1, cluster=CLUSTER, boot=bytes(32), gather_ns=0)
    asked = Asked(
        node=1, nonce=1, view=ViewId(1, NodeId(1)), members=(1,), voters=(1,), config_index=0, lease_ms=100
    )
    assert core.handle(asked, 0) == [Exchange(write=None)]
    assert core.handle(asked, 0) == [], "one exchange at a time"
    first = core.handle(Exchanged(blocks={1: Block()}), 0)[0]
    assert isinstance(first, Exchange)
    assert first.write is not None
    assert first.write.wish == asked.view
    refused = core.handle(ExchangeFailed(reason="EIO"), 0)[0]
    assert isinstance(refused, Answer)
    assert (refused.granted, refused.reason) == (False, "EIO")
    assert core.handle(asked, 0) == [Exchange(write=None)], "it may be there or not"
    assert core.idle is False
    assert asked.view != NO_VIEW


def test_the_thread_answers_and_says_what_is_wrong(path: Path) -> None:
    async def run(device: Path) -> WitnessAnswered:
        loop = asyncio.get_running_loop()
        answers: asyncio.Queue[WitnessAnswered] = asyncio.Queue()
        client = QdiskClient(
            str(device),
            DiskWitness(1, cluster=CLUSTER, boot=bytes(32), gather_ns=0),
            node=1,
            names={1: "a", 2: "b"},
            answered=answers.put_nowait,
            now_ns=lambda: 0,
        )
        client.open(loop)
        try:
            client.ask(
                AskWitness(
                    nonce=5,
                    view=ViewId(1, NodeId(1)),
                    members=(1, 2),
                    voters=(1, 2),
                    config_index=0,
                    lease_ms=LEASE_MS,
                )
            )
            return await asyncio.wait_for(answers.get(), 10)
        finally:
            client.close()

    good = asyncio.run(run(path))
    assert (good.nonce, good.granted, good.reason) == (5, True, "")
    missing = asyncio.run(run(path.with_name("none")))
    assert not missing.granted
    assert "No such file" in missing.reason
    init(str(path), ["a"])
    assert "no slot for b" in asyncio.run(run(path)).reason


def test_the_rules_are_enough() -> None:
    ballots.explore(2.0)


@pytest.mark.slow
@pytest.mark.parametrize("rule", sorted(ballots.RULES))
def test_each_rule_is_needed(rule: str) -> None:
    with pytest.raises(ballots.Violation):
        ballots.explore(60.0, rule)


def test_records_of_releases_before_runs_are_read() -> None:
    none = replace(FULL, state=replace(FULL.state, runs=()))
    payload = encode(none)
    assert decode(9, b"b" * 32, b"\2" + payload[1:]) == none
    without_serial = replace(none, state=replace(none.state, serial=0))
    assert decode(9, b"b" * 32, b"\1" + payload[1:-8]) == without_serial
    assert decode(9, b"b" * 32, b"\2" + encode(FULL)[1:]) is None
    for cut in range(1, 20):
        whole = encode(FULL)
        assert decode(9, b"b" * 32, whole[:-cut]) != FULL
