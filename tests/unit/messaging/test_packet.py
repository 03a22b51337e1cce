"""Packets: what was sealed is accepted; all else is dropped with the first reason that applies."""

from __future__ import annotations

import hmac
import struct

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from messaging.packet import (
    HEADER,
    REMEDY,
    REPLAY_WINDOW,
    TO_ALL,
    Drop,
    Dropped,
    Gate,
    Heartbeat,
    Kind,
    Mac,
    Opened,
    ReplayWindow,
    State,
    config_hash,
    decode_heartbeat,
    decode_probe_ack,
    encode_heartbeat,
    encode_probe_ack,
    hkdf_sha256,
)
from tests.unit.messaging.lab import CLUSTER, SESSION, a_datagram, a_gate, a_heartbeat, a_keyring, a_sealer

u64 = st.integers(0, 2**64 - 1)
u32 = st.integers(0, 2**32 - 1)
u16 = st.integers(0, 2**16 - 1)


@st.composite
def heartbeats(draw: st.DrawFn) -> Heartbeat:
    slots = draw(st.integers(1, 100))
    return Heartbeat(
        view_counter=draw(u64),
        view_coordinator=draw(u16),
        promised=draw(u64),
        state=draw(st.sampled_from(State)),
        load=draw(st.integers(0, 8)),
        boot_token=draw(st.binary(min_size=8, max_size=8)),
        crm_instance=draw(u32),
        lrm_instance=draw(u32),
        key_ids=draw(u16),
        config_hash=draw(st.binary(min_size=4, max_size=4)),
        hear=draw(st.integers(0, 2**slots - 1)),
        echo=tuple(draw(st.lists(u32, min_size=slots, max_size=slots))),
    )


def reason(datagram: bytes, **gate: object) -> Drop | None:
    opened = a_gate(**gate).open(datagram)  # type: ignore[arg-type]
    return opened.reason if isinstance(opened, Dropped) else None


@given(heartbeats())
def test_heartbeats_are_encoded_and_decoded(heartbeat: Heartbeat) -> None:
    body = encode_heartbeat(heartbeat)
    assert decode_heartbeat(body) == heartbeat
    assert decode_probe_ack(encode_probe_ack(heartbeat, 77, 5, 9)) == (heartbeat, 77, 5, 9)
    assert decode_probe_ack(body) is None
    assert decode_heartbeat(body + b"x") is None


@given(st.binary(max_size=200))
def test_no_body_makes_the_decoder_raise(body: bytes) -> None:
    heartbeat = decode_heartbeat(body)
    assert heartbeat is None or encode_heartbeat(heartbeat) == body


def test_the_sizes_are_the_protocols() -> None:
    assert HEADER.size == 52
    assert len(encode_heartbeat(a_heartbeat(100, hear=0, echo=(0,) * 100))) == 44 + 13 + 400


def test_bodies_out_of_bounds_are_refused() -> None:
    body = encode_heartbeat(a_heartbeat())
    assert decode_heartbeat(body[:18] + b"\x09" + body[19:]) is None  # no such state
    assert decode_heartbeat(body[:44] + b"\xff" + body[45:]) is None  # hears slots that do not exist
    assert decode_heartbeat(body[:38] + struct.pack(">H", 2_000) + body[40:]) is None


@pytest.mark.parametrize("method", ["sha256", "aes256gcm"])
@given(
    body=st.binary(max_size=300),
    link=st.integers(0, 7),
    sequence=u64,
    destination=st.sampled_from([2, TO_ALL]),
)
def test_what_is_sealed_is_opened(
    method: str, body: bytes, link: int, sequence: int, destination: int
) -> None:
    keyring = a_keyring(method)
    datagram = a_sealer(keyring=keyring).seal(
        Kind.PROBE, body, link=link, sequence=sequence, destination=destination, urgent=True
    )
    opened = a_gate(keyring=keyring).open(datagram)
    assert isinstance(opened, Opened)
    assert opened.body == body
    assert (opened.header.sender, opened.header.link, opened.header.sequence) == (1, link, sequence)
    # A short body may stand in the tag or in ciphertext by chance.
    assert (body in datagram[52:]) == (method == "sha256") or len(body) < 8


@pytest.mark.parametrize("method", ["sha256", "aes256gcm"])
@given(where=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_accepted(method: str, where: int, bit: int) -> None:
    keyring = a_keyring(method)
    datagram = bytearray(
        a_sealer(keyring=keyring).seal(1, encode_heartbeat(a_heartbeat()), link=0, sequence=9)
    )
    datagram[where % len(datagram)] ^= 1 << bit
    gate = a_gate(keyring=keyring)
    assert isinstance(gate.open(bytes(datagram)), Dropped)
    assert gate.seen == {}, "nothing is remembered of a forged packet"


@given(st.binary(max_size=2_000))
def test_noise_is_dropped(noise: bytes) -> None:
    assert isinstance(a_gate().open(noise), Dropped)
    assert isinstance(a_gate().open(b"HA\x01" + noise), Dropped)


@given(st.integers(0, 400))
def test_a_truncated_packet_has_a_bad_length(keep: int) -> None:
    datagram = a_datagram()
    if keep < len(datagram):
        assert reason(datagram[:keep]) is Drop.BAD_LENGTH


def test_each_check_has_its_reason() -> None:
    good = a_datagram()
    assert reason(good) is None
    assert reason(good + b"x") is Drop.BAD_LENGTH
    assert reason(b"XX" + good[2:]) is Drop.BAD_MAGIC
    assert reason(good[:2] + b"\x02" + good[3:]) is Drop.WRONG_VERSION
    assert (
        reason(a_sealer(cluster=b"other cluster...").seal(1, b"", link=0, sequence=1)) is Drop.WRONG_CLUSTER
    )
    stranger = a_gate().open(a_sealer(9).seal(1, b"", link=0, sequence=1))
    assert isinstance(stranger, Dropped)
    assert stranger.reason is Drop.UNKNOWN_SENDER
    assert stranger.header is not None, "it has our key, which says something"
    assert stranger.header.sender == 9
    forged = a_sealer(9, keyring=a_keyring(secret=b"w" * 32)).seal(1, b"", link=0, sequence=1)
    assert reason(forged) is Drop.BAD_TAG
    assert reason(a_sealer(2).seal(1, b"", link=0, sequence=1)) is Drop.OWN_ID
    own = Gate(cluster_id=CLUSTER, node_id=2, nodes=[1, 2], keyring=a_keyring(), session=SESSION)
    echo = own.open(a_sealer(2).seal(1, b"", link=0, sequence=1))
    assert isinstance(echo, Dropped)
    assert echo.reason is Drop.NOT_FOR_US, "what we said ourselves is no other machine"
    assert set(REMEDY) == set(Drop)
    assert reason(a_sealer().seal(2, b"", link=0, sequence=1, destination=3)) is Drop.NOT_FOR_US
    assert (
        reason(a_sealer(keyring=a_keyring("sha256", 4)).seal(1, b"", link=0, sequence=1)) is Drop.UNKNOWN_KEY
    )
    wrong = a_keyring(secret=b"w" * 32)
    assert reason(a_sealer(keyring=wrong).seal(1, b"", link=0, sequence=1)) is Drop.BAD_TAG
    assert reason(good, seen={1: 6}) is Drop.OLD_INCARNATION
    assert reason(a_sealer().seal(1, b"", link=8, sequence=1)) is Drop.BAD_BODY


def test_a_key_is_used_with_its_own_method_only() -> None:
    mac, aead = a_keyring("sha256"), a_keyring("aes256gcm")
    assert reason(a_sealer(keyring=mac).seal(1, b"", link=0, sequence=1), keyring=aead) is Drop.BAD_TAG
    assert reason(a_sealer(keyring=aead).seal(1, b"", link=0, sequence=1), keyring=mac) is Drop.BAD_TAG


def test_every_key_verifies_and_one_signs() -> None:
    both = a_keyring("sha256", 2, 1)
    assert both.id_bits == 0b110
    old = a_sealer(keyring=a_keyring("sha256", 1)).seal(1, b"", link=0, sequence=1)
    new = a_sealer(keyring=both).seal(1, b"", link=0, sequence=2)
    gate = a_gate(keyring=both)
    assert isinstance(gate.open(old), Opened)
    assert isinstance(gate.open(new), Opened)
    gate.use(a_keyring("sha256", 2))
    assert gate.open(a_datagram(3)) == Dropped(Drop.UNKNOWN_KEY)


def test_a_node_that_is_not_named_any_more_is_a_stranger_whatever_run_we_knew_of_it() -> None:
    gate = a_gate(seen={1: 9})
    gate.use_nodes([2])
    late = gate.open(a_datagram(1))
    assert isinstance(late, Dropped)
    assert (late.reason, late.header and gate.outdated(late.header)) == (Drop.UNKNOWN_SENDER, False)


def test_replays_old_runs_and_second_sessions_are_dropped() -> None:
    gate = a_gate()
    first = a_datagram(100)
    assert isinstance(gate.open(first), Opened)
    again = gate.open(first)
    assert isinstance(again, Dropped)
    assert (again.reason, again.header and again.header.sender) == (Drop.REPLAYED, 1)
    other = gate.open(a_sealer(session=b"t" * 16).seal(1, b"", link=0, sequence=500))
    assert isinstance(other, Dropped)
    assert other.reason is Drop.REPLAYED
    assert other.header is not None
    assert gate.outdated(other.header), "one incarnation, one session: a node whose disk was lost"
    newer = a_sealer(incarnation=6, session=b"t" * 16)
    assert isinstance(gate.open(newer.seal(1, b"", link=0, sequence=1)), Opened)
    late = gate.open(a_datagram(101))
    assert isinstance(late, Dropped)
    assert (late.reason, late.highest_incarnation) == (Drop.OLD_INCARNATION, 6)
    assert gate.seen == {1: 6}


def test_links_have_sequences_of_their_own() -> None:
    gate, sealer = a_gate(), a_sealer()
    for link in (0, 1):
        assert isinstance(gate.open(sealer.seal(1, b"", link=link, sequence=5)), Opened)


@given(st.lists(st.one_of(st.integers(0, 40), st.integers(0, 5_000)), max_size=60))
def test_the_replay_window_agrees_with_an_obvious_one(sequences: list[int]) -> None:
    window, seen, highest = ReplayWindow(), set[int](), -1
    for sequence in sequences:
        new = sequence not in seen and sequence > highest - REPLAY_WINDOW
        assert window.take(sequence) is new
        seen.add(sequence)
        highest = max(highest, sequence)


def test_hkdf_is_rfc_5869s() -> None:
    salt, info = bytes(range(13)), bytes(range(0xF0, 0xFA))
    expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
    assert hkdf_sha256(b"\x0b" * 22, salt, info).hex() == expected
    other = HKDF(algorithm=hashes.SHA256(), length=32, salt=CLUSTER, info=b"i").derive(b"secret")
    assert hkdf_sha256(b"secret", CLUSTER, b"i") == other


def test_the_config_hash_knows_ids_and_names() -> None:
    one = config_hash([(1, "a"), (2, "b")])
    assert one == config_hash([(2, "b"), (1, "a")])
    assert one != config_hash([(1, "a"), (3, "b")])
    assert one != config_hash([(1, "a"), (2, "c")])


@given(st.binary(max_size=200), st.binary(max_size=400))
def test_the_tag_is_hmac_sha256(key: bytes, data: bytes) -> None:
    assert Mac(key).tag(data) == hmac.digest(key, data, "sha256")
