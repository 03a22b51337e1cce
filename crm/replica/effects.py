"""What the cores of the replicated CIB ask their shell to do, and what the shell tells them: values only.

Effects of one list are carried out in order, and lists in the order they were made: whatever follows a
Persist… effect waits until that is on the disk. So nothing is said that a crash could make untrue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from crm.cib.model import Element
from crm.cib.replication.messages import Append, ReplicationMessage
from crm.cib.replication.model import LogEntry, Promise, Report, Snapshot
from crm.cib.replication.voters import VotersWanted
from crm.cib.versions import NO_VERSION, CibVersion
from crm.election.messages import ElectionMessage
from crm.replica.events import ReplicaEvent, WriteOutcome
from hacluster.vocabulary.ids import Term
from hacluster.vocabulary.membership import Authority

Message = ElectionMessage | ReplicationMessage


@dataclass(frozen=True, slots=True)
class Call:
    """Send to a peer; the answer comes as Received without token, or CallFailed."""

    peer: int
    message: Message


@dataclass(frozen=True, slots=True)
class Tell:
    """Send to a peer that does not answer it. It arrives after what was sent before, or not at all."""

    peer: int
    message: Append


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer the request that came with this token."""

    token: int
    message: Message


@dataclass(frozen=True, slots=True)
class PersistPromise:
    """On disk before anything after it happens."""

    promise: Promise


@dataclass(frozen=True, slots=True)
class PersistEntries:
    """Cut the log after index `after`, then add the entries. Comes back as Persisted.

    `shown`: the highest version this node has shown, when the entry that had it is cut.
    """

    after: int
    entries: tuple[LogEntry, ...]
    commit_index: int
    shown: CibVersion = NO_VERSION


@dataclass(frozen=True, slots=True)
class PersistSnapshot:
    """The log on disk becomes the snapshot and the entries after it. `shown`: as in PersistEntries."""

    snapshot: Snapshot
    entries: tuple[LogEntry, ...]
    commit_index: int
    shown: CibVersion = NO_VERSION


@dataclass(frozen=True, slots=True)
class MarkCommitted:
    """Remember on disk, without waiting for it, that entries up to `index` are committed.

    So a restarted daemon does not show less than before; after a power cut the DC tells again.
    """

    index: int


@dataclass(frozen=True, slots=True)
class MarkSoloRight:
    """Until our next boot remember the other voter's boot with which a commit was shared, or none."""

    boot_token: str


@dataclass(frozen=True, slots=True)
class TellWitness:
    """Say to the witness, by ha-messaging, who has everything that is committed. Comes back as WitnessSaid.

    Without nodes it is a candidate's: no DC of an older term is heard there any more. `serial` counts in a
    term, so that what was said last stands.
    """

    term: Term
    in_sync: tuple[int, ...]
    serial: int


@dataclass(frozen=True, slots=True)
class SaveOrphans:
    """Entries that are cut: written down before they are. `committed` of them were, provisionally.

    `content` is the configuration with all of them, `base` the one they were made on.

    Comes back as OrphansKept.
    """

    after: int
    after_chain: bytes
    entries: tuple[LogEntry, ...]
    committed: int
    content: Element
    base: Element


@dataclass(frozen=True, slots=True, kw_only=True)
class Propose:
    """Write it at the DC of that term, whichever node that is. Comes back as Proposed; never waits."""

    term: Term
    request_id: str
    author: str
    configuration: Element
    expected_digest: str


@dataclass(frozen=True, slots=True)
class DecideOrphans:
    """A report is decided: what was merged, what was left (index and reason), and what `left` was made on.

    The shell raises Orphans for what is left.
    """

    file: str
    merged: tuple[int, ...]
    left: tuple[tuple[int, str], ...]
    base: Element


@dataclass(frozen=True, slots=True)
class TellOrphans:
    """The shell raises Orphans for a report that is not decided yet."""

    file: str


@dataclass(frozen=True, slots=True)
class SetTimer:
    """One timer a key; setting replaces. Fires as TimerFired, never early."""

    key: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Not an error when it is not set."""

    key: str


@dataclass(frozen=True, slots=True)
class Up:
    """To the rest of ha-crm."""

    event: ReplicaEvent


@dataclass(frozen=True, slots=True)
class Answer:
    """To the writer with this token."""

    token: int
    outcome: WriteOutcome


@dataclass(frozen=True, slots=True)
class Note:
    """For the log: a constant name and what varies."""

    name: str
    fields: tuple[tuple[str, str | int], ...] = ()


@dataclass(frozen=True, slots=True)
class Die:
    """Stop this daemon at once; the supervisor starts it again."""

    why: str


Effect = (
    Call
    | Tell
    | Reply
    | PersistPromise
    | PersistEntries
    | PersistSnapshot
    | MarkCommitted
    | MarkSoloRight
    | TellWitness
    | SaveOrphans
    | Propose
    | DecideOrphans
    | TellOrphans
    | SetTimer
    | CancelTimer
    | Up
    | Answer
    | Note
    | Die
)


@dataclass(frozen=True, slots=True)
class Started:
    """First event: what was found on the disk is announced."""


@dataclass(frozen=True, slots=True)
class AuthorityChanged:
    """From ha-messaging."""

    authority: Authority


@dataclass(frozen=True, slots=True)
class Received:
    """A request (with a token to answer it), the answer to a Call, or what was told (without)."""

    peer: int
    message: Message
    token: int | None = None


@dataclass(frozen=True, slots=True)
class CallFailed:
    """No answer; whether the peer acted on it is unknown."""

    peer: int
    message: Message


@dataclass(frozen=True, slots=True)
class Persisted:
    """The log up to this entry is on the disk."""

    index: int
    chain: bytes


@dataclass(frozen=True, slots=True)
class OrphansKept:
    """They are on the disk, since now or since before the start; nobody has decided on them yet."""

    report: Report


@dataclass(frozen=True, slots=True)
class Proposed:
    """The DC's answer to a Propose; UNKNOWN when there was none."""

    request_id: str
    outcome: WriteOutcome


@dataclass(frozen=True, slots=True)
class WitnessSaid:
    """The witness's answer to `told`: who is in sync now; `term` is the highest that has spoken to it.

    None for `in_sync`: no answer, or a refusal; it may have taken effect all the same, or do so yet.
    """

    told: TellWitness
    in_sync: tuple[int, ...] | None
    term: Term


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer's time has come."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRequested:
    """A client's write."""

    token: int
    change: Element | Callable[[Element], Element]
    author: str
    request_id: str
    expected_digest: str = ""
    force: bool = False
    deadline_ns: int


@dataclass(frozen=True, slots=True)
class WritesRequested:
    """Clients' writes at this node, which must be DC: those that came together, in the order they came."""

    requests: tuple[WriteRequested, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VotersChangeRequested:
    """A change of voters at this node, which must be DC."""

    token: int
    wanted: VotersWanted
    author: str
    request_id: str
    deadline_ns: int


@dataclass(frozen=True, slots=True)
class OutcomeAsked:
    """What became of a write."""

    token: int
    request_id: str


@dataclass(frozen=True, slots=True)
class ReadAsked:
    """Does what this node shows have all that was committed before this was asked? OK: it does.

    What is shown when the answer is carried out counts. `by_quorum`: without trust in any clock.
    """

    token: int
    by_quorum: bool


@dataclass(frozen=True, slots=True)
class ForceQuorum:
    """The operator's decree."""

    token: int
    author: str


@dataclass(frozen=True, slots=True)
class FenceConfirmed:
    """The node, in that boot, is certainly off."""

    node_id: int
    boot_token: str


@dataclass(frozen=True, slots=True)
class EligibilityChanged:
    """May this node be DC, and how much does it want to. `gives_up`: another election, now."""

    eligible: bool
    priority: int
    gives_up: bool = False


Event = (
    Started
    | AuthorityChanged
    | Received
    | CallFailed
    | Persisted
    | OrphansKept
    | Proposed
    | WitnessSaid
    | TimerFired
    | WritesRequested
    | VotersChangeRequested
    | OutcomeAsked
    | ReadAsked
    | ForceQuorum
    | FenceConfirmed
    | EligibilityChanged
)
