"""Some replicas without disk and network, which tests and their events drive."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from crm.cib.model import Element, element
from crm.cib.replication.messages import Append, AppendReply
from crm.cib.replication.model import Stored
from crm.cib.store import CibStore
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
    MarkCommitted,
    Persisted,
    PersistEntries,
    PersistPromise,
    PersistSnapshot,
    Received,
    Reply,
    SetTimer,
    Tell,
    TellWitness,
    TimerFired,
    Up,
    WitnessSaid,
    WriteRequested,
    WritesRequested,
)
from crm.replica.events import ReplicaEvent, WriteOutcome
from hacluster.vocabulary.ids import BootToken, NodeId, NodeName, ViewId
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
            store_effect(self.stores[node], effect)
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
            **more,  # type: ignore[arg-type]  # names of fields
        )

    def content(self, node: int) -> Element:
        return self.nodes[node].replication.log.committed.content

    def names(self, node: int) -> list[str]:
        return [child.tag for child in self.content(node).children]


def store_effect(store: CibStore, effect: Effect) -> None:
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
