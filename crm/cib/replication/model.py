"""The log's values: entries with their chain, ranks, snapshots, what is remembered on disk."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from crm.cib.model import Element
from crm.cib.replication.basis import Basis
from crm.cib.versions import NO_VERSION, CibVersion
from hacluster.vocabulary.ids import NO_TERM, Term
from hacluster.vocabulary.membership import QuorumConfig

NO_CHAIN: Final = bytes(32)
"""The chain before the first entry."""


class Kind(StrEnum):
    """What an entry does."""

    BARRIER = "barrier"  # opens a term; changes nothing but the version
    PATCH = "patch"  # changes the configuration
    CONFIG = "config"  # changes the voters
    SNAPSHOT_MARK = "snapshot-mark"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry. `chain` is SHA-256 of the previous chain and all other fields: equal chains, equal pasts."""

    index: int
    term: Term
    basis: Basis
    kind: Kind
    author: str = ""
    request_id: str = ""
    digest_before: str = ""
    digest_after: str = ""
    version: CibVersion = NO_VERSION
    payload: bytes = b""
    chain: bytes = NO_CHAIN


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class LogRank:
    """How new a log is; class before term: a safe history beats a provisional one of any length."""

    admin_epoch: int = 0
    safe_term: Term = NO_TERM
    safe_index: int = 0
    last_term: Term = NO_TERM
    last_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The configuration after entry `index` (0: before the first), and what must be known of earlier ones.

    `safe_term` and `safe_index` are those of the last safe entry up to here; `requests` the request ids of
    the last entries, oldest first, with their index; `voters` those of entry `voters_index` (None: no entry
    up to here named any).
    """

    index: int = 0
    term: Term = NO_TERM
    chain: bytes = NO_CHAIN
    safe_term: Term = NO_TERM
    safe_index: int = 0
    version: CibVersion = NO_VERSION
    digest: str = ""
    content: Element = field(default_factory=lambda: Element("configuration"))
    requests: tuple[tuple[str, int], ...] = ()
    voters: QuorumConfig | None = None
    voters_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A change that had to give way."""

    index: int
    request_id: str
    author: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The changes that were cut together, as they are written down in `file`; `base`: before the first."""

    file: str
    base: Element
    orphans: tuple[Orphan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a node must not forget: the highest term it promised, and whether its memory is whole.

    `voter` is false at a node that has lost (or never had) its copy: it has no vote and its stores do not
    count until a DC has brought it up to date with all other voters present. `lost`: it had one, which its
    disk could not give back: its emptiness is no sign of a new cluster.
    """

    term: Term = NO_TERM
    voter: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a node finds on its disk at start. `corrupt` says why the former copy could not be used.

    `shown` is the version to show what is committed with, where that has a lower one: the node showed more
    before entries of its own gave way.
    """

    promise: Promise = Promise()
    snapshot: Snapshot = field(default_factory=Snapshot)
    entries: tuple[LogEntry, ...] = ()
    commit_index: int = 0
    shown: CibVersion = NO_VERSION
    corrupt: str = ""

    @property
    def committed_version(self) -> CibVersion:
        """Of what is committed."""
        at = self.commit_index - self.snapshot.index
        return self.entries[at - 1].version if at > 0 else self.snapshot.version


_HEAD: Final = struct.Struct(">QQHQQQ")


def _fields(entry: LogEntry) -> bytes:
    version = entry.version
    head = _HEAD.pack(
        entry.index,
        entry.term.counter,
        entry.term.node_id,
        version.admin_epoch,
        version.epoch,
        version.num_updates,
    )
    texts = (
        entry.basis.value,
        entry.kind.value,
        entry.author,
        entry.request_id,
        entry.digest_before,
        entry.digest_after,
    )
    parts = [head]
    for raw in (*(text.encode() for text in texts), entry.payload):
        parts.append(struct.pack(">I", len(raw)))
        parts.append(raw)
    return b"".join(parts)


def sealed(previous_chain: bytes, entry: LogEntry) -> LogEntry:
    """The entry with its chain, following an entry with `previous_chain`."""
    return replace(entry, chain=hashlib.sha256(previous_chain + _fields(entry)).digest())


def is_sealed(previous_chain: bytes, entry: LogEntry) -> bool:
    """Whether the entry's chain is right after `previous_chain`."""
    return entry.chain == hashlib.sha256(previous_chain + _fields(entry)).digest()


def encode(entry: LogEntry) -> bytes:
    """For the disk. Inverse: `decode`."""
    return _fields(entry) + entry.chain


def decode(data: bytes) -> LogEntry:
    """Raises ValueError for anything `encode` did not make."""
    try:
        index, counter, node_id, admin_epoch, epoch, num_updates = _HEAD.unpack_from(data)
        at = _HEAD.size
        raws = []
        for _ in range(7):
            (length,) = struct.unpack_from(">I", data, at)
            at += 4
            raws.append(data[at : at + length])
            if len(raws[-1]) != length:
                raise ValueError("cut short")
            at += length
        texts = [raw.decode() for raw in raws[:6]]
    except struct.error as error:
        raise ValueError(str(error)) from None
    if len(data) != at + 32:
        raise ValueError("wrong length")
    return LogEntry(
        index=index,
        term=Term(counter, node_id),
        basis=Basis(texts[0]),
        kind=Kind(texts[1]),
        author=texts[2],
        request_id=texts[3],
        digest_before=texts[4],
        digest_after=texts[5],
        version=CibVersion(admin_epoch, epoch, num_updates),
        payload=raws[6],
        chain=data[at:],
    )
