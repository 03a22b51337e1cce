"""Two slots: a damaged one is known to be one, and may have been the newer."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hacluster.vocabulary.ids import BootToken, NodeId, ViewId
from hacluster.vocabulary.membership import QuorumConfig
from messaging.membership.durable import decode_slot, durable_content, durable_from, encode_slot, newest
from messaging.membership.events import CommittedQuorum, Durable, InstalledView, ViewMember
from messaging.membership.runs import Run

TOKEN = BootToken("cd" * 32)
DURABLE = Durable(
    promised=12,
    boot_token=TOKEN,
    view=InstalledView(
        id=ViewId(11, 2), members=(ViewMember(id=NodeId(2), incarnation=5, boot_token=TOKEN),)
    ),
    quorum=CommittedQuorum(
        config=QuorumConfig(voters=((NodeId(1), 1), (NodeId(2), 1)), wait_for_all=True, tiebreak=NodeId(1)),
        log_index=3,
    ),
    runs=(Run(1, 9), Run(2, 5)),
)


def test_there_and_back() -> None:
    assert durable_from([encode_slot(4, durable_content(DURABLE)), None]) == DURABLE
    assert durable_from([None, None]) == Durable()


def test_the_newer_slot_counts() -> None:
    old, new = encode_slot(7, {"promised": 1}), encode_slot(8, {"promised": 2})
    for slots in ([old, new], [new, old]):
        content, trusted = newest(slots)
        assert content == {"serial": 8, "promised": 2}
        assert trusted


def test_a_file_that_kept_no_runs_has_those_of_its_view() -> None:
    content = durable_content(DURABLE)
    del content["runs"], content["forgetful"]
    assert durable_from([encode_slot(4, content), None]) == replace(DURABLE, runs=(Run(2, 5),))


@given(st.integers(0), st.integers(0, 7))
def test_a_flipped_bit_is_seen(where: int, bit: int) -> None:
    raw = bytearray(encode_slot(8, durable_content(DURABLE)))
    raw[where % len(raw)] ^= 1 << bit
    assert decode_slot(bytes(raw)) is None
    assert not durable_from([bytes(raw), None]).trusted
    older = replace(DURABLE, promised=10)
    found = durable_from([encode_slot(7, durable_content(older)), bytes(raw)])
    lost = replace(older, trusted=False, forgetful=True)
    assert found == lost, "no less was promised, but who knows how much more"


@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise(raw: bytes) -> None:
    assert decode_slot(raw) is None
