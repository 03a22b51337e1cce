"""What a DC and its followers say to each other about the log: values only."""

from __future__ import annotations

from dataclasses import dataclass

from crm.cib.replication.model import LogEntry, LogRank, Snapshot
from crm.cib.versions import NO_VERSION, CibVersion
from hacluster.vocabulary.ids import Term, ViewId


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Entries after (previous_index, previous_chain); without entries: a keepalive.

    `boot_token` is the addressed node's. `restores` is the run of ha-crm there (0: none) that counts as a
    voter again, or from now on: its memory was lost, or it has become a voter, and the others have stored an
    entry that was made after this run was seen. `aligned` is false in a caretaker's keepalive:
    it does not ask whether the logs agree. `acts`: the DC's ha-messaging lets it act in this view.
    """

    term: Term
    view: ViewId
    boot_token: str
    previous_index: int
    previous_chain: bytes
    entries: tuple[LogEntry, ...]
    commit_index: int
    established: bool
    restores: int
    aligned: bool = True
    basis: str = ""
    acts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallSnapshot:
    """The whole configuration at a position, where entries no longer suffice."""

    term: Term
    view: ViewId
    boot_token: str
    snapshot: Snapshot
    established: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendReply:
    """`stored`: everything up to `last_index` is on the receiver's disk and equals the DC's log.

    Otherwise `why` says what is wrong, and `hint` is the highest index at which the logs may agree.
    `version`: the highest the receiver has ever shown. `instance`: which run of its ha-crm says so.
    """

    term: Term
    stored: bool
    promised: Term
    last_index: int
    hint: int
    voter: bool
    rank: LogRank
    why: str = ""
    version: CibVersion = NO_VERSION
    instance: int = 0


ReplicationMessage = Append | InstallSnapshot | AppendReply
