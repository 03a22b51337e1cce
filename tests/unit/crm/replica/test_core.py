"""Replicas without disk and network: what the simulator meets too rarely to be sure of."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from crm.cib.model import Element, element
from crm.cib.replication.basis import Basis
from crm.cib.replication.log import Log
from crm.cib.replication.messages import Append, AppendReply, InstallSnapshot
from crm.cib.replication.model import Kind, Promise, Snapshot, Stored
from crm.cib.storage import FolderStorage
from crm.cib.store import CibStore
from crm.cib.versions import CibVersion
from crm.election.model import ElectionSettings
from crm.replica.core import Replica
from crm.replica.effects import (
    Answer,
    AuthorityChanged,
    Call,
    CallFailed,
    CancelTimer,
    Effect,
    Event,
    FenceConfirmed,
    ForceQuorum,
    MarkCommitted,
    OutcomeAsked,
    Persisted,
    PersistEntries,
    PersistPromise,
    PersistSnapshot,
    ReadAsked,
    Received,
    Reply,
    SetTimer,
    Started,
    Tell,
    TellWitness,
    TimerFired,
    Up,
    WitnessSaid,
    WriteRequested,
    WritesRequested,
)
from crm.replica.events import BecameDc, Committed, Outcome, ReplicaEvent, WriteOutcome
from hacluster.vocabulary.ids import BootToken, NodeId, NodeName, Term, ViewId
from hacluster.vocabulary.membership import Authority, Member, MembershipView, QuorumConfig

SECOND = 1_000_000_000


@dataclass
class Net:
    """Some replicas; everything arrives at once and in order, unless `held`."""

    count: int
    founders: int = 0  # so many have a vote; 0: all
    two_node: bool = False
    witness_votes: int = 0
    witness: bool = False  # it supports every view
    told: list[TellWitness] = field(default_factory=list)
    in_sync: tuple[int, ...] = ()  # as the witness has it
    keep_entries: int = 1_000
    now: int = SECOND
    held: set[int] = field(default_factory=set)  # nodes whose disk does not come back
    deaf: set[int] = field(default_factory=set)  # nodes that no entry reaches
    mute: set[int] = field(default_factory=set)  # nodes whose "stored" reaches nobody
    stopped: set[int] = field(default_factory=set)  # nodes whose ha-crm does not run: it hears all later
    lost: set[int] = field(default_factory=set)  # nodes that no news reach
    news: list[tuple[int, int, Append]] = field(default_factory=list)  # told without a reply
    events: list[tuple[int, ReplicaEvent]] = field(default_factory=list)
    answers: dict[int, WriteOutcome] = field(default_factory=dict)
    sent: list[tuple[int, int, object]] = field(default_factory=list)
    counter: int = 0
    tokens: int = 0
    replies: dict[int, AppendReply] = field(default_factory=dict)  # the last of each node
    stores: dict[int, CibStore] = field(default_factory=dict)  # of the nodes that have a disk

    def __post_init__(self) -> None:
        ids = range(1, self.count + 1)
        self.instances = dict.fromkeys(ids, 1)
        self.nodes = {node: self.replica(node, Stored()) for node in ids}
        self.queue: deque[tuple[int, Event]] = deque()
        self.timers: dict[tuple[int, str], int] = {}
        self.requests: dict[int, int] = {}

    def replica(self, node: int, stored: Stored) -> Replica:
        """A run of a node's ha-crm, with this on its disk."""
        voters = tuple((NodeId(n), 1) for n in range(1, (self.founders or self.count) + 1))
        return Replica(
            ElectionSettings(
                me=node,
                boot_token=self.token(node),
                instance=self.instances[node],
                quorum=QuorumConfig(voters=voters, two_node=self.two_node, witness_votes=self.witness_votes),
            ),
            stored,
            initial=element("configuration", {}, element("crm_config")),
            validate=lambda content: "no <bad> wanted" if content.child("bad") else "",
            keep_entries=self.keep_entries,
        )

    def restart(self, node: int, stored: Stored) -> None:
        """Its ha-crm begins anew and finds this on its disk; nobody has been told yet."""
        self.instances[node] += 1
        self.nodes[node] = self.replica(node, stored)
        self.timers = {(at, key): due for (at, key), due in self.timers.items() if at != node}

    def token(self, node: int) -> BootToken:
        return BootToken(f"{node:x}" * 64)

    def give(self, node: int, event: Event) -> None:
        self.queue.append((node, event))
        while self.queue:
            at, what = self.queue.popleft()
            if at in self.stopped:
                continue
            for effect in self.nodes[at].handle(what, self.now):
                self._apply(at, effect)

    def _apply(self, node: int, effect: Effect) -> None:
        if node in self.stores:
            _store(self.stores[node], effect)
        match effect:
            case Tell(peer, message):
                self.news.append((node, peer, message))
                if peer not in self.deaf | self.lost:
                    self.queue.append((peer, Received(node, message)))
            case Call(peer, message):
                self.sent.append((node, peer, message))
                self.tokens += 1
                self.requests[self.tokens] = node
                if peer in self.deaf and isinstance(message, Append) and message.entries:
                    self.queue.append((node, CallFailed(peer, message)))
                    return
                self.queue.append((peer, Received(node, message, self.tokens)))
            case Reply(token, message):
                if isinstance(message, AppendReply):
                    self.replies[node] = message
                stored = isinstance(message, AppendReply) and message.stored
                if node not in self.held and not (stored and node in self.mute):
                    self.queue.append((self.requests.pop(token), Received(node, message)))
            case PersistEntries(_, entries, _, _):
                if node not in self.held:
                    self.queue.append((node, Persisted(entries[-1].index, entries[-1].chain)))
            case TellWitness(term, in_sync):
                self.told.append(effect)
                if self.witness:
                    self.in_sync = in_sync or self.in_sync
                    self.queue.append((node, WitnessSaid(effect, self.in_sync, term)))
            case SetTimer(key, at_ns):
                self.timers[node, key] = at_ns
            case CancelTimer(key):
                self.timers.pop((node, key), None)
            case Up(event):
                self.events.append((node, event))
            case Answer(token, outcome):
                self.answers[token] = outcome
            case _:
                pass

    def wait(self, ns: int) -> None:
        end = self.now + ns
        while True:
            due = min(((at, key) for key, at in self.timers.items()), default=None)
            if due is None or due[0] > end:
                break
            self.now = max(self.now, due[0])
            del self.timers[due[1]]
            self.give(due[1][0], TimerFired(due[1][1]))
        self.now = end

    def view(self, *members: int, **authority: Any) -> None:
        self.counter += 1
        self.same_view(*members, **authority)

    def same_view(self, *members: int, quorate: bool = True, **authority: Any) -> None:
        view = MembershipView(
            id=ViewId(self.counter, members[0]),
            members=tuple(
                Member(
                    id=NodeId(node),
                    name=NodeName(f"n{node}"),
                    incarnation=1,
                    boot_token=self.token(node),
                    crm_instance=self.instances[node],
                )
                for node in members
            ),
        )
        for node in members:
            told = Authority(view=view, quorate=quorate, witness=self.witness, **authority)
            self.give(node, AuthorityChanged(told))

    def write(self, node: int, name: str, **more: object) -> int:
        self.tokens += 1
        token = self.tokens
        self.give(node, WritesRequested((self.request(token, name, **more),)))
        return token

    def request(self, token: int, name: str, **more: object) -> WriteRequested:
        return WriteRequested(
            token=token,
            change=lambda old: old.with_children((*old.children, element(name))),
            author="me",
            request_id=str(more.pop("request_id", f"r{token}")),
            deadline_ns=self.now + 5 * SECOND,
            **more,  # type: ignore[arg-type]
        )

    def content(self, node: int) -> Element:
        return self.nodes[node].replication.log.committed.content

    def names(self, node: int) -> list[str]:
        return [child.tag for child in self.content(node).children]


def _store(store: CibStore, effect: Effect) -> None:
    match effect:
        case PersistPromise(promise):
            store.promise(promise)
        case PersistEntries(after, entries, commit_index, shown):
            store.entries(after, entries, commit_index, shown)
        case PersistSnapshot(snapshot, entries, commit_index, shown):
            store.snapshot(snapshot, entries, commit_index, shown)
        case MarkCommitted(index):
            store.mark_committed(index)
        case _:
            pass


@pytest.fixture
def three() -> Net:
    net = Net(3)
    net.view(1, 2, 3)
    assert net.nodes[1].dc.established
    return net


def test_a_write_is_answered_when_a_majority_has_it(three: Net) -> None:
    three.held = {2, 3}
    token = three.write(1, "a")
    assert token not in three.answers
    three.held = set()
    three.wait(SECOND)  # no answer came from either: their calls hang, so nothing is retried here
    assert token not in three.answers
    three.view(1, 2, 3)
    assert three.answers[token].outcome is Outcome.OK
    assert three.names(2) == ["crm_config", "a"]


def test_how_long_no_dc_was_heard() -> None:
    """Counted from the start of a node that never heard one, and from the end of a reign of its own."""
    net = Net(3)
    net.now = 90_000 * SECOND
    net.give(3, Started())
    assert net.nodes[3].election.dc_heard_ns == net.now
    net.view(1, 2, 3)
    assert net.nodes[1].dc.is_me
    net.now += 100 * SECOND
    net.view(2, 3)
    net.counter += 1
    net.give(1, AuthorityChanged(Authority(view=MembershipView(), quorate=False)))
    assert not net.nodes[1].dc.is_me
    assert net.nodes[1].election.dc_heard_ns == net.now


def test_that_it_is_committed_is_told_and_not_asked(three: Net) -> None:
    """So the next write need not wait for an answer."""
    three.sent.clear()
    three.news.clear()
    three.write(1, "a")
    assert [peer for _, peer, what in three.sent if isinstance(what, Append) and what.entries] == [2, 3]
    assert len(three.sent) == 2
    assert [(peer, what.entries) for _, peer, what in three.news] == [(2, ()), (3, ())]
    assert three.names(2) == three.names(3) == ["crm_config", "a"]


def test_news_that_get_lost_come_with_the_next_message(three: Net) -> None:
    three.lost = {3}
    three.write(1, "a")
    assert (three.names(2), three.names(3)) == (["crm_config", "a"], ["crm_config"])
    three.write(1, "b")
    assert three.names(3) == ["crm_config", "a"]
    three.wait(SECOND // 2)
    assert three.names(3) == ["crm_config", "a", "b"], "a keepalive says it, too"


def test_old_news_change_nothing(three: Net) -> None:
    three.write(1, "a")
    _, peer, news = three.news[-1]
    three.write(1, "b")
    three.give(peer, Received(1, news))
    assert three.names(peer) == ["crm_config", "a", "b"]
    three.view(1, 2, 3)
    three.give(peer, Received(1, replace(news, commit_index=news.commit_index + 5)))
    three.give(peer, Received(2, news))
    assert three.names(peer) == ["crm_config", "a", "b"]


def test_those_that_come_together_are_stored_together(three: Net) -> None:
    """Each is judged by itself, and makes an entry of its own."""
    requests = [three.request(100 + number, name) for number, name in enumerate("abc")]
    requests[1] = three.request(101, "b", expected_digest="another")
    three.sent.clear()
    before = three.nodes[1].replication.log.last_index
    three.give(1, WritesRequested(tuple(requests)))
    outcomes = [three.answers[100 + number].outcome for number in range(3)]
    assert outcomes == [Outcome.OK, Outcome.FAILED, Outcome.OK]
    first = [what for _, _, what in three.sent[:2] if isinstance(what, Append)]
    assert [[entry.index - before for entry in what.entries] for what in first] == [[1, 2], [1, 2]]
    assert three.names(1) == three.names(2) == three.names(3) == ["crm_config", "a", "c"]


def test_what_is_committed_of_several_is_shown(three: Net) -> None:
    """And what is cut of the rest leaves no trace, whichever is the last that stays."""
    log = three.nodes[2].replication.log
    three.deaf = {1, 3}  # nobody else has what node 2 is told
    before = log.commit_index
    leader = three.nodes[1].replication.log
    entries = [
        leader.append_new(
            term=leader.term_at(leader.last_index),
            basis=Basis.MAJORITY,
            kind=Kind.PATCH,
            version=leader.head.version.configuration_changed(),
            content=leader.head.content.with_children((*leader.head.content.children, element(name))),
        )
        for name in "abc"
    ]
    for entry in entries:
        log.append(entry)
    assert [entry.index for entry in log.commit(before + 2, safe=True)] == [before + 1, before + 2]
    assert three.names(2) == ["crm_config", "a", "b"]
    assert log.committed.digest == entries[1].digest_after
    assert log.cut(before + 2) == (entries[2],)
    assert log.head.content == log.committed.content
    log.append(entries[2])
    assert log.cut(before + 1) == (entries[1], entries[2])
    assert (log.commit_index, log.head.index) == (before + 1, before + 1)
    assert three.names(2) == ["crm_config", "a"]
    for entry in entries[1:]:
        log.append(entry)
    assert [entry.index for entry in log.commit(before + 9, safe=True)] == [before + 2, before + 3]
    assert log.committed.digest == log.head.digest == entries[2].digest_after


def test_the_slowest_is_waited_for_only_a_little(three: Net) -> None:
    three.held = {3}
    token = three.write(1, "a")
    assert token not in three.answers
    three.wait(SECOND // 10)
    assert three.answers[token].outcome is Outcome.OK


def test_no_ok_without_a_lease() -> None:
    net = Net(3)
    net.view(1, 2, 3, lease_end_ns=net.now + SECOND)
    net.wait(2 * SECOND)
    token = net.write(1, "a")
    net.wait(SECOND)
    assert token not in net.answers
    net.same_view(1, 2, 3, lease_end_ns=net.now + SECOND)
    assert net.answers[token].outcome is Outcome.OK


def test_no_ok_when_the_lease_is_said_to_be_lost(three: Net) -> None:
    three.held = {3}
    token = three.write(1, "a")  # committed, and the third is waited for
    three.same_view(1, 2, 3, quorate=False)
    three.wait(SECOND)
    assert token not in three.answers
    three.same_view(1, 2, 3, lease_end_ns=three.now + SECOND)
    assert three.answers[token].outcome is Outcome.OK


def test_a_write_that_is_not_valid_is_refused(three: Net) -> None:
    token = three.write(1, "bad")
    assert three.answers[token] == WriteOutcome(outcome=Outcome.FAILED, reason="no <bad> wanted")


def test_a_write_that_no_message_can_carry_is_refused(three: Net) -> None:
    token = three.write(1, "x" * (13 * 1024 * 1024))
    assert three.answers[token].outcome is Outcome.FAILED
    assert "several steps" in three.answers[token].reason
    assert three.nodes[1].replication.log.last_index == 3  # barrier, voters, first configuration


def test_the_same_request_is_the_same_write(three: Net) -> None:
    first = three.write(1, "a", request_id="same")
    second = three.write(1, "a", request_id="same")
    assert three.answers[first] == three.answers[second]
    assert three.names(3) == ["crm_config", "a"]


def test_the_same_request_that_comes_while_the_first_still_waits(three: Net) -> None:
    three.held = {1}
    three.write(1, "z")  # its sync is under way: the next ones wait for that
    three.held = set()
    first = three.write(1, "a", request_id="same", expected_digest="")
    second = three.write(1, "a", request_id="same")
    leading = three.nodes[1].replication.leading
    assert leading is not None
    assert leading.is_pending("same")
    entry = three.nodes[1].replication.log.entry(4)
    three.give(1, Persisted(entry.index, entry.chain))
    three.wait(SECOND)
    assert three.answers[first] == three.answers[second]
    assert three.names(3) == ["crm_config", "z", "a"]


def test_a_request_older_than_the_log_is_not_written_again() -> None:
    net = Net(3, keep_entries=2)
    net.view(1, 2, 3)
    net.write(1, "a", request_id="old")
    for name in ("b", "c", "d", "e", "f", "g"):
        net.write(1, name)
    log = net.nodes[1].replication.log
    assert (log.find_request("old") or 0) <= log.base.index
    token = net.write(1, "a", request_id="old")
    assert net.answers[token].outcome is Outcome.OK
    assert net.names(1).count("a") == 1


def test_a_changed_configuration_is_noticed(three: Net) -> None:
    digest = three.nodes[1].replication.log.committed.digest
    first = three.write(1, "a", expected_digest=digest)
    second = three.write(1, "b", expected_digest=digest)
    assert three.answers[first].outcome is Outcome.OK
    assert three.answers[second].outcome is Outcome.FAILED


def test_what_was_answered_failed_cannot_succeed_later(three: Net) -> None:
    three.give(1, OutcomeAsked(900, "late"))
    assert three.answers[900].outcome is Outcome.FAILED
    token = three.write(1, "a", request_id="late")
    assert three.answers[token].outcome is Outcome.FAILED
    assert three.names(1) == ["crm_config"]


def test_never_written_is_said_only_with_the_consent_of_a_quorum(three: Net) -> None:
    """A DC that its followers have replaced in the same view does not know what the new one has written."""
    three.deaf = {2, 3}
    three.give(1, OutcomeAsked(900, "elsewhere"))
    assert 900 not in three.answers
    three.wait(4 * SECOND)
    assert three.answers[900].outcome is Outcome.UNKNOWN
    three.deaf = set()
    three.wait(SECOND)
    three.give(1, OutcomeAsked(901, "elsewhere"))
    assert three.answers[901].outcome is Outcome.FAILED


def read(net: Net, node: int, *, by_quorum: bool = False) -> WriteOutcome | None:
    token = 1_000_000 + len(net.sent)
    net.answers.pop(token, None)
    net.give(node, ReadAsked(token, by_quorum))
    return net.answers.get(token)


def test_a_read_by_quorum_waits_for_an_entry_made_since(three: Net) -> None:
    three.write(1, "a")
    last = three.nodes[1].replication.log.last_index
    answer = read(three, 1, by_quorum=True)
    assert answer is not None
    assert (answer.outcome, answer.reason) == (Outcome.OK, "")
    assert answer.digest == three.nodes[1].replication.log.committed.digest
    assert three.nodes[1].replication.log.last_index == last + 1
    three.deaf = {2, 3}
    three.give(1, ReadAsked(900, True))
    assert 900 not in three.answers
    three.wait(4 * SECOND)
    assert three.answers[900].outcome is Outcome.UNKNOWN
    answer = read(three, 2, by_quorum=True)  # it was made DC in the same view
    assert answer is not None
    assert answer.outcome is Outcome.OK
    answer = read(three, 3, by_quorum=True)
    assert answer is not None
    assert answer.outcome is Outcome.FAILED


def test_a_lease_answers_a_read_while_a_quorum_has_just_obeyed(three: Net) -> None:
    three.same_view(1, 2, 3, lease_end_ns=three.now + 60 * SECOND)
    three.wait(SECOND)
    last = three.nodes[1].replication.log.last_index
    answer = read(three, 1)
    assert answer is not None
    assert answer.outcome is Outcome.OK
    assert three.nodes[1].replication.log.last_index == last
    three.now += 2 * SECOND  # the daemon was stopped meanwhile
    three.deaf = {2, 3}
    assert read(three, 1) is None
    three.deaf = set()
    three.wait(SECOND)
    three.same_view(1, 2, 3, lease_end_ns=three.now - 1)
    answer = read(three, 1)  # the lease is over: a quorum says so
    assert answer is not None
    assert answer.outcome is Outcome.OK
    assert three.nodes[1].replication.log.last_index > last


def next_dc_while_the_first_is_stopped(net: Net) -> None:
    """The others have another DC, which has written; the first one runs again, and hears all that later."""
    for _ in range(50):
        if net.nodes[2].dc.established:
            break
        net.wait(SECOND // 10)
    assert net.answers[net.write(2, "a")].outcome is Outcome.OK
    net.stopped = set()
    net.deaf = set(net.nodes) - {1}


def test_no_lease_of_a_former_view_answers_what_the_next_dc_has_changed() -> None:
    """The DC's daemon is stopped while a node joins: its lease runs on, as its node is in both views."""
    net = Net(4, founders=3)
    net.view(1, 2, 3, lease_end_ns=net.now + 60 * SECOND)
    net.stopped = {1}
    net.view(1, 2, 3, 4, lease_end_ns=net.now + 60 * SECOND)
    next_dc_while_the_first_is_stopped(net)
    assert read(net, 1) is None
    assert net.names(1) != net.names(2)


def test_no_lease_answers_what_others_wrote_who_forgot_at_a_restart_that_they_obeyed(three: Net) -> None:
    three.same_view(1, 2, 3, lease_end_ns=three.now + 60 * SECOND)
    three.wait(SECOND)
    three.stopped = {1}
    for node in (2, 3):
        log, promise = three.nodes[node].replication.log, three.nodes[node].promise
        kept = Stored(
            promise=promise,
            snapshot=log.base,
            entries=tuple(log.after(log.base.index)),
            commit_index=log.commit_index,
        )
        three.restart(node, kept)
        three.give(node, Started())
    three.same_view(1, 2, 3, lease_end_ns=three.now + 60 * SECOND)
    next_dc_while_the_first_is_stopped(three)
    assert read(three, 1) is None
    assert three.names(1) != three.names(2)


def test_reads_without_a_quorum_say_so() -> None:
    two = Net(2, two_node=True)
    two.view(1, 2)
    two.wait(SECOND)
    answer = read(two, 1, by_quorum=True)
    assert answer is not None
    assert answer.outcome is Outcome.OK
    two.view(1)
    two.wait(3 * SECOND)
    assert two.nodes[1].dc.authority == "none before the other node is fenced"
    for by_quorum in (True, False):
        answer = read(two, 1, by_quorum=by_quorum)
        assert answer is not None
        assert answer.outcome is Outcome.FAILED
    two.give(1, ForceQuorum(900, "root"))
    answer = read(two, 1)
    assert answer is not None
    assert (answer.outcome, answer.reason) == (Outcome.OK, "")
    answer = read(two, 1, by_quorum=True)
    assert answer is not None
    assert answer.outcome is Outcome.FAILED


def test_questions_that_the_end_of_a_reign_leaves_open_are_unknown(three: Net) -> None:
    three.deaf = {2, 3}
    three.give(1, OutcomeAsked(900, "elsewhere"))
    three.view(1, 2, 3)
    assert three.answers[900].outcome is Outcome.UNKNOWN


def test_writes_during_a_sync_share_the_next(three: Net) -> None:
    three.held = {1}
    three.write(1, "a")
    three.sent.clear()
    tokens = [three.write(1, name) for name in ("b", "c", "d")]
    assert three.nodes[1].replication.log.last_index == 4
    three.held = set()
    log = three.nodes[1].replication.log
    three.give(1, Persisted(log.last_index, log.last_chain))
    appends = [m for _, peer, m in three.sent if peer == 2 and isinstance(m, Append) and m.entries]
    assert [len(append.entries) for append in appends] == [3]
    assert all(three.answers[token].outcome is Outcome.OK for token in tokens)


def test_entries_of_an_older_term_are_not_committed_by_counting(three: Net) -> None:
    three.held = {1, 2, 3}
    token = three.write(1, "a")
    index = three.nodes[1].replication.log.last_index
    three.nodes[1].replication.waiters.expire(token)
    three.view(1, 2, 3)  # the promise is still said by all: votes are held too, so nobody wins
    assert three.nodes[1].replication.log.commit_index < index
    three.held = set()
    three.view(1, 2, 3)
    leading = three.nodes[1].replication.leading
    assert leading is not None
    assert leading.established
    assert three.nodes[1].replication.log.commit_index > index


def test_who_lags_behind_the_log_gets_a_snapshot() -> None:
    net = Net(3, keep_entries=3)
    net.view(1, 2, 3)
    net.view(1, 2)
    for number in range(12):
        net.write(1, f"e{number}")
    assert net.nodes[1].replication.log.base.index > 3
    net.sent.clear()
    net.view(1, 2, 3)
    net.wait(SECOND)
    assert any(peer == 3 and isinstance(message, InstallSnapshot) for _, peer, message in net.sent)
    assert net.content(3) == net.content(1)
    assert net.nodes[3].replication.log.find_request("r1") == net.nodes[1].replication.log.find_request("r1")


def test_force_quorum_is_safe_by_decree_and_wins(three: Net) -> None:
    three.view(1, 2)
    three.view(3, quorate=False)
    assert three.nodes[3].dc.caretaker
    three.write(1, "majority")
    three.give(3, ForceQuorum(77, "root"))
    assert three.answers[77].outcome is Outcome.OK
    assert three.nodes[3].dc.established
    assert three.nodes[3].replication.log.committed.version.admin_epoch == 1
    token = three.write(3, "decree")
    assert (three.answers[token].outcome, three.answers[token].reason) == (Outcome.OK, "")
    three.view(1, 2, 3)
    assert three.nodes[3].dc.is_me
    assert three.names(1) == ["crm_config", "decree"]


def test_force_quorum_with_quorum_is_refused(three: Net) -> None:
    three.give(1, ForceQuorum(77, "root"))
    assert three.answers[77].outcome is Outcome.FAILED


def test_a_write_waits_for_the_fence() -> None:
    net = Net(2, two_node=True)
    net.view(1, 2)
    net.view(2)
    held = [net.write(2, name) for name in ("a", "b")]
    net.wait(SECOND)
    assert not net.answers
    net.give(2, FenceConfirmed(1, net.token(1)))
    assert [net.answers[token] for token in held] != []
    assert all(net.answers[token].outcome is Outcome.OK for token in held)
    assert all(not net.answers[token].reason for token in held), "safely"
    assert net.names(2) == ["crm_config", "a", "b"]


def test_disabling_fencing_by_force_lets_a_lone_survivor_go_on() -> None:
    net = Net(2, two_node=True)
    net.view(1, 2)
    net.view(2)
    assert not net.nodes[2].dc.established
    held = net.write(2, "a", request_id="held")
    assert held not in net.answers, "the fence may succeed while there is time"
    net.wait(5 * SECOND)
    assert net.answers[held].outcome is Outcome.FAILED
    assert "not confirmed fenced" in net.answers[held].reason
    assert net.nodes[2].dc.authority == "none before the other node is fenced"
    off = element(
        "crm_config",
        {},
        element(
            "cluster_property_set",
            {"id": "o"},
            element("nvpair", {"id": "s", "name": "stonith-enabled", "value": "false"}),
        ),
    )
    net.tokens += 1
    token = net.tokens
    net.give(
        2,
        WritesRequested(
            (
                WriteRequested(
                    token=token,
                    change=lambda old: old.with_child(off),
                    author="root",
                    request_id="off",
                    force=True,
                    deadline_ns=net.now + SECOND,
                ),
            )
        ),
    )
    assert net.answers[token].outcome is Outcome.OK
    assert net.nodes[2].dc.established
    assert net.nodes[2].dc.authority == "assumed"
    again = net.write(2, "a", request_id="held")
    assert net.answers[again].outcome is Outcome.FAILED, "what was answered so stays so"
    another = net.write(2, "a")
    assert net.answers[another].outcome is Outcome.OK
    reigns = [event for node, event in net.events if node == 2 and isinstance(event, BecameDc)]
    assert [(event.basis.value, event.established) for event in reigns] == [
        ("fenced", False),
        ("assumed", True),
    ]


def test_wiped_disks_of_a_majority_found_no_new_cluster(three: Net) -> None:
    """The third node has the configuration; but what the majority had promised nobody knows."""
    three.write(1, "kept")
    for node in (1, 2):
        three.restart(node, Stored())
    three.events.clear()
    dc = 0
    for members in ((1, 2), (1, 2, 3)):
        three.view(*members)
        three.wait(10 * SECOND)
        assert [event for _, event in three.events if isinstance(event, BecameDc)] == []
        assert three.nodes[1].replication.log.blank
        (dc,) = [node for node in members if three.nodes[node].dc.is_me]
        refused = three.write(dc, "early")
        assert three.answers[refused].outcome is Outcome.FAILED
    assert dc == 3, "it remembers"
    three.give(3, ForceQuorum(77, "root"))
    three.wait(2 * SECOND)
    assert three.answers[77].outcome is Outcome.OK
    assert three.names(1) == three.names(2) == three.names(3) == ["crm_config", "kept"]
    assert all(replica.promise.voter for replica in three.nodes.values())


def test_the_operator_may_begin_without_those_who_remember(three: Net) -> None:
    three.write(1, "gone")
    for node in (1, 2):
        three.restart(node, Stored())
    three.view(1, 2)
    three.wait(5 * SECOND)
    (dc,) = [node for node in (1, 2) if three.nodes[node].dc.is_me]
    three.give(dc, ForceQuorum(77, "root"))
    three.wait(2 * SECOND)
    assert three.answers[77].outcome is Outcome.OK
    assert all(three.nodes[node].promise.voter for node in (1, 2)), "this is all there is to remember"
    three.write(dc, "new")
    three.view(1, 2)
    three.wait(5 * SECOND)
    assert {three.nodes[node].dc.basis for node in (1, 2)} == {Basis.MAJORITY}, "no decree is needed again"
    three.view(1, 2, 3)
    three.wait(5 * SECOND)
    assert three.names(3) == ["crm_config", "new"], "and it wins: it has the higher admin_epoch"


def test_a_corrupt_copy_is_no_new_one(three: Net) -> None:
    three.write(1, "kept")
    for node in (1, 2, 3):
        three.restart(node, Stored(promise=Promise(lost=True), corrupt="a bit flipped"))
    three.events.clear()
    three.view(1, 2, 3)
    three.wait(10 * SECOND)
    assert [event for _, event in three.events if isinstance(event, BecameDc)] == []
    assert all(replica.replication.log.blank for replica in three.nodes.values())


def test_what_another_run_of_a_follower_stored_does_not_count(three: Net) -> None:
    """Its ha-crm begins anew within the view, with an empty disk: nothing that it had is there any more."""
    three.write(1, "one")
    leading = three.nodes[1].replication.leading
    assert leading is not None
    assert leading.followers[2].match == three.nodes[1].replication.log.last_index
    three.restart(2, Stored())
    stale = replace(three.replies[2], last_index=three.nodes[1].replication.log.last_index)
    three.held = {2}
    three.same_view(1, 2, 3)
    assert leading.followers[2].match == 0
    three.give(1, Received(2, stale))
    assert leading.followers[2].match == 0, "an answer of the former run comes late"
    three.held = set()
    unanswered = [message for node, peer, message in three.sent if (node, peer) == (1, 2)][-1]
    assert isinstance(unanswered, Append)
    three.give(1, CallFailed(2, unanswered))
    three.wait(SECOND)
    assert leading.followers[2].match == three.nodes[1].replication.log.last_index
    assert three.names(2) == ["crm_config", "one"]


def _apart(folder: Path, keep_entries: int) -> Net:
    """Node 1 has shown more alone than nodes 2 and 3, who have quorum."""
    net = Net(3, keep_entries=keep_entries)
    net.stores = {1: CibStore(FolderStorage(folder))}
    net.stores[1].load(wall_s=1)
    net.view(1, 2, 3)
    net.write(1, "both")
    net.view(2, 3)
    net.view(1, quorate=False)
    for name in "abcdefgh":
        net.write(1, name, force=True)
    net.write(2, "x")
    return net


def _shown(net: Net, node: int) -> list[tuple[CibVersion, str]]:
    return [(e.version, e.digest) for at, e in net.events if at == node and isinstance(e, Committed)]


@pytest.mark.parametrize("keep_entries", [1_000, 1])
@pytest.mark.parametrize("crashes", [1, 2, 3])
def test_no_version_goes_back_when_a_merge_is_interrupted(
    tmp_path: Path, crashes: int, keep_entries: int
) -> None:
    """The daemon ends when what it had shown is cut from its disk and no DC knows of it yet (I12)."""
    net = _apart(tmp_path, keep_entries)
    for number in range(crashes):
        net.mute = {1}
        net.view(1, 2, 3)
        net.write(2, f"y{number}")
        assert "x" in net.names(1)
        assert "a" not in net.names(1)
        net.mute = set()
        net.stores[1] = CibStore(FolderStorage(tmp_path))
        net.restart(1, net.stores[1].load(wall_s=2))
    net.view(1, 2, 3)
    net.write(2, "z")
    net.wait(SECOND)
    assert net.content(1) == net.content(2)
    shown = _shown(net, 1)
    assert shown[-1][1] == net.nodes[2].replication.log.committed.digest
    for (before, digest), (after, other) in itertools.pairwise(shown):
        assert before < after or (before == after and digest == other), (before, after)


def test_a_snapshot_is_the_same_however_it_is_come_by() -> None:
    """From the one before, or from what was remembered midway, also when that was cut off meanwhile."""
    log = Log(Snapshot(), (), 0, keep_entries=4)
    version = CibVersion(0, 1, 0)
    for number in range(40):
        version = version.configuration_changed()
        content = log.head.content
        entry = log.append_new(
            term=Term(1, 1),
            basis=Basis.MAJORITY,
            kind=Kind.PATCH,
            version=version,
            content=content.with_children((*content.children[-2:], element(f"e{number}"))),
        )
        if number == 6:  # beyond the middle, which goes with it
            log.commit(entry.index, safe=True)
            again = log.cut(3)
            for one in again:
                log.append(one)
        if number % 3 == 0:
            continue  # two are committed at a time then
        log.commit(entry.index, safe=True)
        bound = log.compactable()
        if bound is not None:
            entries = tuple(log.after(log.base.index))
            plain = Log(log.base, entries, log.commit_index, keep_entries=1_000)
            assert log.compact(bound)[0] == plain.snapshot(bound)
    assert log.base.index >= 30
