"""ha-qnet: only genuine and fresh questions move anything; its state survives; its file is checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hacluster.errors import InvalidDocument
from hacluster.vocabulary.ids import NodeId, ViewId
from messaging.membership.events import AskWitness, ReleaseWitness
from messaging.membership.runs import Run
from messaging.packet import Gate, Kind, Opened
from messaging.witness import wire
from messaging.witness.__main__ import StateFile, configuration
from messaging.witness.arbiter import ARBITER_ID, Arbiter
from messaging.witness.core import Answer, Asked, WitnessState
from tests.unit.messaging.lab import CLUSTER, a_keyring, a_sealer

VIEW = ViewId(5, NodeId(1))
QUESTION = AskWitness(nonce=3, view=VIEW, members=(1, 2), voters=(1, 2), config_index=0, lease_ms=1_000)


class Bench:
    def __init__(self) -> None:
        self.kept: list[WitnessState] = []
        self.arbiter = Arbiter(
            cluster_id=CLUSTER,
            nodes=(1, 2),
            keyring=a_keyring(),
            state=WitnessState(),
            incarnation=1,
            session=b"w" * 16,
            keep=self.kept.append,
            secret=lambda: b"c" * 16,
            now_ns=0,
        )
        self.gate = Gate(cluster_id=CLUSTER, node_id=1, nodes=[ARBITER_ID], keyring=a_keyring())
        self.sealer = a_sealer(1)
        self.sequence = 0

    def sealed(self, question: AskWitness | ReleaseWitness, challenge: bytes) -> bytes:
        self.sequence += 1
        body = wire.ask_to(question, challenge)
        return self.sealer.seal(
            Kind.WITNESS_ASK, body, link=0, sequence=self.sequence, destination=ARBITER_ID
        )

    def ask(self, challenge: bytes) -> tuple[bytes, bool]:
        """The challenge and the word that come back."""
        answer = self.arbiter.taken(self.sealed(QUESTION, challenge), 0)
        assert not isinstance(answer, str)
        assert answer[0] == 1
        opened = self.gate.open(answer[1])
        assert isinstance(opened, Opened)
        told = wire.answer_from(opened.body)
        assert told is not None
        return told[0], told[1].granted


def test_only_who_knows_the_challenge_is_believed() -> None:
    bench = Bench()
    challenge, granted = bench.ask(bytes(16))
    assert not granted
    assert bench.kept == []
    assert bench.ask(challenge) == (challenge, True)
    assert bench.kept[-1].last == VIEW


def test_what_was_recorded_or_forged_changes_nothing() -> None:
    bench = Bench()
    challenge, _ = bench.ask(bytes(16))
    recorded = bench.sealed(QUESTION, challenge)
    assert not isinstance(bench.arbiter.taken(recorded, 0), str)
    before = bench.arbiter.core.state, dict(bench.arbiter.core._support)
    assert bench.arbiter.taken(recorded, 10**12) == "replayed"
    forged = a_sealer(1, keyring=a_keyring(secret=b"f" * 32), session=b"f" * 16)
    body = wire.ask_to(QUESTION, challenge)
    packet = forged.seal(Kind.WITNESS_ASK, body, link=0, sequence=9, destination=ARBITER_ID)
    assert bench.arbiter.taken(packet, 10**12) == "bad_tag"
    stranger = a_sealer(3).seal(Kind.WITNESS_ASK, body, link=0, sequence=9, destination=ARBITER_ID)
    assert bench.arbiter.taken(stranger, 10**12) == "unknown_sender"
    heartbeat = bench.sealer.seal(Kind.HEARTBEAT, b"", link=0, sequence=99, destination=ARBITER_ID)
    assert bench.arbiter.taken(heartbeat, 10**12) == "bad_body"
    assert bench.arbiter.taken(b"noise", 0) == "bad_length"
    assert (bench.arbiter.core.state, bench.arbiter.core._support) == before


def test_a_release_without_the_challenge_is_stale() -> None:
    bench = Bench()
    challenge, _ = bench.ask(bytes(16))
    bench.ask(challenge)
    assert bench.arbiter.taken(bench.sealed(ReleaseWitness(VIEW), bytes(16)), 0) == "stale"
    assert 1 in bench.arbiter.core._support
    assert bench.arbiter.taken(bench.sealed(ReleaseWitness(VIEW), challenge), 0) == "released"
    assert 1 not in bench.arbiter.core._support


def test_the_state_survives_and_damage_is_noticed(tmp_path: Path) -> None:
    state = WitnessState(last=VIEW, members=(1, 2), lease_ms=9, config_index=4, in_sync=(2,), term=(3, 2))
    state = replace(state, runs=(Run(1, 4), Run(2, 2**63)))
    StateFile(tmp_path, CLUSTER).keep(state)
    again = StateFile(tmp_path, CLUSTER)
    assert (again.state, again.trusted) == (state, True)
    again.keep(state)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-3])
    assert not StateFile(tmp_path, CLUSTER).trusted


GOOD = f'port = 7000\n[[cluster]]\nid = "{CLUSTER.hex()}"\nnodes = [1, 2]\nauthkeys = "/etc/x"\n'


def test_the_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "qnet.toml"
    file.write_text(GOOD)
    address, port, (served,) = configuration(file)
    assert (address, port, served.id, served.nodes) == ("0.0.0.0", 7_000, CLUSTER, (1, 2))


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (CLUSTER.hex(), "web", "no valid id"),
        ("[1, 2]", "[0]", "names no nodes"),
        ('"/etc/x"', '"x"', "names no authkeys"),
        ("port = 7000", 'port = "x"', "out of bounds"),
        ("port = 7000", 'address = "here"', "no IP address"),
        ("[[cluster]]", "[[claster]]", "no \\[\\[cluster\\]\\]"),
        ("port = 7000", "port = ", "Invalid"),
    ],
)
def test_mistakes_are_named(old: str, new: str, what: str, tmp_path: Path) -> None:
    file = tmp_path / "qnet.toml"
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(InvalidDocument, match=what):
        configuration(file)


def test_runs_come_back_as_they_were_and_are_judged() -> None:
    question = replace(QUESTION, runs=(Run(1, 4), Run(2, 9)))
    asked = wire.ask_from(1, wire.ask_to(question, bytes(16)))
    assert asked is not None
    assert isinstance(asked[1], Asked)
    assert asked[1].runs == question.runs
    for bad in ((Run(3, 1),), (Run(2, 1), Run(1, 1)), (Run(1, 0),)):
        assert wire.ask_from(1, wire.ask_to(replace(QUESTION, runs=bad), bytes(16))) is None, bad
    answer = Answer(node=1, nonce=3, view=VIEW, granted=True, runs=(Run(2, 9), Run(7, 1)))
    said = wire.answer_from(wire.answer_to(answer, bytes(16)))
    assert said is not None
    assert said[1].runs == answer.runs
    bad_answer = replace(answer, runs=(Run(7, 1), Run(2, 9)))
    assert wire.answer_from(wire.answer_to(bad_answer, bytes(16))) is None
