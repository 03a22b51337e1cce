"""DATA: order, gaps, flow, loss, and what belongs to which view; two ends on a wire in memory."""

from __future__ import annotations

import random
from typing import Any

import pytest

from hacluster.vocabulary.ids import NO_VIEW, NodeId, NodeName, ViewId
from hacluster.vocabulary.membership import QuorumConfig
from messaging.membership.detector import Detector
from messaging.membership.events import (
    Config,
    ConfiguredNode,
    Data,
    DataAnswered,
    DataRequested,
    Deliver,
    InstalledView,
    Lost,
    Message,
    Nack,
    ViewMember,
    node_list,
)
from messaging.membership.layouts import Layouts
from messaging.membership.talk import HISTORY_MESSAGES, NACK_RANGE_MAX, Talk
from messaging.packet import TO_ALL

MS = 1_000_000
VIEW = ViewId(3, 1)


def a_view(counter: int = 3, nodes: int = 3) -> InstalledView:
    members = tuple(ViewMember(id=NodeId(n), incarnation=n) for n in range(1, nodes + 1))
    return InstalledView(id=ViewId(counter, 1), members=members)


class End:
    """One node's Talk; `sent` is what it put on the wire."""

    def __init__(self, node: int) -> None:
        nodes = tuple(ConfiguredNode(id=NodeId(n), name=NodeName(f"n{n}")) for n in (1, 2, 3))
        config = Config(
            node_id=NodeId(node),
            nodes=nodes,
            links=1,
            keepalive_ns=100 * MS,
            warntime_ns=250 * MS,
            deadtime_ns=500 * MS,
            initdead_ns=5_000 * MS,
            quorum=QuorumConfig(voters=((NodeId(1), 1),)),
        )
        self.detector = Detector(config, 1, 0, Layouts(node_list(nodes)))
        for number, peer in self.detector.peers.items():
            peer.incarnation, peer.heard = number, True
        self.sent: list[tuple[int, Message]] = []
        self.talk = Talk(
            config, node, random.Random(1), self.detector, lambda to, message: self.sent.append((to, message))
        )
        self.talk.view_is(a_view(), 0)

    def say(self, payload: bytes = b"x", **options: object) -> DataAnswered:
        self.talk.request(DataRequested(token=1, topic="t", payload=payload, **options), 0)  # type: ignore[arg-type]
        answer = self.talk.out.pop()
        assert isinstance(answer, DataAnswered)
        return answer

    def take(self, sender: int, data: Data, now_ns: int = 0) -> None:
        self.talk.data(self.detector.peers[sender], data, now_ns)

    def delivered(self) -> list[int]:
        numbers = [news.data.number for news in self.talk.out if isinstance(news, Deliver)]
        self.talk.out.clear()
        return numbers

    def data(self) -> list[Data]:
        found = [message for _, message in self.sent if isinstance(message, Data)]
        self.sent.clear()
        return found


def test_in_order_whatever_order_they_come_in() -> None:
    one, two = End(1), End(2)
    for _ in range(3):
        one.say()
    first, second, third = one.data()
    for data in (third, first, first, second, third):
        two.take(1, data)
    assert two.delivered() == [1, 2, 3]


def test_a_gap_is_asked_for_and_repeated_to_the_one_who_asks() -> None:
    one, two = End(1), End(2)
    for _ in range(4):
        one.say()
    sent = one.data()
    two.take(1, sent[0])
    two.take(1, sent[3])
    at_ns = two.talk.wake_ns()
    assert at_ns is not None
    assert at_ns <= 20 * MS
    two.talk.tick(at_ns)
    assert two.sent == [(1, Nack(first=2, last=3, incarnation=1))]
    one.talk.nack(2, Nack(first=2, last=3, incarnation=1), at_ns)
    assert [to for to, _ in one.sent] == [2, 2]
    one.talk.nack(2, Nack(first=2, last=3, incarnation=1), at_ns + MS)  # too soon to ask again
    for data in one.data():
        two.take(1, data)
    assert two.delivered() == [1, 2, 3, 4]


def test_the_back_off_doubles_to_its_bound() -> None:
    one, two = End(1), End(2)
    one.say()
    one.say()
    two.take(1, one.data()[1])
    waits, last_ns = [], 0
    for _ in range(8):
        at_ns = two.talk._inboxes[1].nack_at_ns
        assert at_ns is not None
        waits.append(at_ns - last_ns)
        last_ns = at_ns
        two.talk.tick(at_ns)
    assert [wait // MS for wait in waits[1:]] == [20, 40, 80, 160, 320, 320, 320]


def test_a_message_for_one_is_nothing_to_the_others() -> None:
    one, two, three = End(1), End(2), End(3)
    one.say(destination=2)
    one.say()
    assert [to for to, _ in one.sent] == [2, TO_ALL, TO_ALL]
    real, void, both = one.data()
    for end, packets in ((two, (void, real, both)), (three, (void, both))):
        for data in packets:
            end.take(1, data)
    assert two.delivered() == [1, 2]
    assert three.delivered() == [2]


def test_half_the_window_is_the_limit_until_all_have_acknowledged() -> None:
    one = End(1)
    for _ in range(HISTORY_MESSAGES // 2):
        assert not one.say().refusal
    assert one.say().exhausted
    one.talk.acknowledged(2, 1, 200)
    assert one.say().exhausted
    one.talk.acknowledged(3, 99, 200)  # of another run of ours
    assert one.say().exhausted
    one.talk.acknowledged(3, 1, 100)
    assert not one.say().refusal
    assert len(one.talk._kept) <= HISTORY_MESSAGES


def test_bytes_count_too() -> None:
    one = End(1)
    answers = [one.say(bytes(50_000)) for _ in range(12)]
    assert [answer.exhausted for answer in answers] == [False] * 11 + [True]
    assert "more than" in one.say(bytes(61_441)).refusal


def test_what_left_the_history_is_lost_and_said_to_be() -> None:
    one, two = End(1), End(2)
    one.say()
    one.say()
    two.take(1, one.data()[0])
    for _ in range(HISTORY_MESSAGES + 10):
        one.say()
        for node in (2, 3):
            one.talk.acknowledged(node, 1, one.talk._next - 1)
    one.sent.clear()
    one.talk.nack(2, Nack(first=2, last=5, incarnation=1), 0)
    for data in one.data():
        two.take(1, data)
    lost = [news for news in two.talk.out if isinstance(news, Lost)]
    assert lost == [Lost(NodeId(1), 1, 2, 12)]
    assert two.talk._inboxes[1].expected == 13


def test_only_in_its_view_but_for_what_is_bound_to_none() -> None:
    one, two = End(1), End(2)
    one.say(b"old")
    one.say(b"any", any_view=True)
    old, unbound = one.data()
    two.talk.view_is(a_view(4), 0)
    two.take(1, old)
    two.take(1, unbound)
    assert two.delivered() == [2]
    assert two.talk.counters["data_stale"] == 1


def test_a_message_of_a_view_that_is_still_to_come_waits_for_it() -> None:
    one, two = End(1), End(2)
    one.talk.view_is(a_view(4), 0)
    one.say()
    two.take(1, one.data()[0])
    assert two.delivered() == []
    two.talk.view_is(a_view(4), 10 * MS)
    assert two.delivered() == [1]


def test_it_does_not_wait_for_ever() -> None:
    one, two = End(1), End(2)
    one.talk.view_is(a_view(4), 0)
    one.say()
    one.say(b"any", any_view=True)
    for data in one.data():
        two.take(1, data)
    assert two.delivered() == []
    two.talk.tick(500 * MS)
    assert two.delivered() == [2]


def test_who_comes_new_into_the_view_starts_with_it() -> None:
    one, two = End(1), End(2)
    for _ in range(5):
        one.say()
    one.talk.view_is(a_view(4), 0)
    two.talk.view_is(a_view(4), 0)
    one.data()
    one.say()
    two.take(1, one.data()[0])
    assert two.delivered() == [6]
    assert two.talk.wake_ns() == 100 * MS  # nothing to ask for, only to acknowledge


def test_silence_is_announced_until_it_is_acknowledged() -> None:
    one, two = End(1), End(2)
    one.say()
    one.sent.clear()  # lost
    one.talk.acknowledged(3, 1, 1)
    one.talk.tick(100 * MS)
    assert [to for to, _ in one.sent] == [2]
    two.take(1, one.data()[0], 100 * MS)
    at_ns = two.talk.wake_ns()
    assert at_ns is not None
    two.talk.tick(at_ns)
    assert any(isinstance(message, Nack) for _, message in two.sent)
    one.talk.nack(2, Nack(first=1, last=1, incarnation=1), at_ns)
    two.take(1, one.data()[0], at_ns)
    two.sent.clear()
    two.talk.tick(at_ns + 100 * MS)
    (ack,) = two.data()
    assert (ack.ack_incarnation, ack.ack) == (1, 1)
    one.take(2, ack)
    one.talk.tick(200 * MS)
    assert one.talk.wake_ns() is None


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"destination": 9}, "no other node"),
        ({"destination": 1}, "no other node"),
    ],
)
def test_refusals(options: dict[str, Any], why: str) -> None:
    assert why in End(1).say(b"x", **options).refusal


def test_without_a_view_only_what_is_bound_to_none() -> None:
    one = End(1)
    one.talk.view_is(None, 0)
    assert "no view" in one.say().refusal
    assert one.say(any_view=True) == DataAnswered(token=1, number=1, view=NO_VIEW)


def test_a_nack_for_anything_else_is_ignored() -> None:
    one = End(1)
    for _ in range(200):
        one.say()
    one.sent.clear()
    for bad in (Nack(1, 500, 1), Nack(1, 2, 7), Nack(5, 3, 1), Nack(0, 300, 1)):
        one.talk.nack(2, bad, 0)
    assert one.sent == []
    one.talk.nack(2, Nack(1, 200, 1), 0)
    assert len(one.sent) == NACK_RANGE_MAX
