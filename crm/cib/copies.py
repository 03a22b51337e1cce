"""Copies of the CIB on disks, looked at from outside: which can be read, which is the newest, what would be
lost, and a new beginning from one of them (cluster-protocol.md 9.6, 9.7). Reads never change a copy.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from crm.cib import codec as xml
from crm.cib.model import Element
from crm.cib.replication.log import Damaged, Log
from crm.cib.replication.model import Kind, LogEntry, LogRank, Promise, Snapshot, Stored
from crm.cib.storage import Storage
from crm.cib.store import CibStore, Unusable, frames, read_promise, readable, stored_in
from crm.cib.versions import CibVersion
from hacluster.errors import InvalidDocument
from hacluster.vocabulary.ids import Term

_BAD: Final = (Unusable, Damaged, ValueError, KeyError, TypeError, struct.error)
_SALT: Final = b"hacluster: begun anew from "


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One copy of the configuration.

    `place` names it for people. `damage` says what is wrong; `stored` is what can be read (of a damaged log,
    all before the damage), None when nothing can. `missing_bytes` of the log follow that and cannot be read.
    `torn`: the last write was cut by a power loss; it was never acknowledged, and is no damage.
    """

    place: str
    damage: str = ""
    stored: Stored | None = None
    promise: Promise | None = None
    missing_bytes: int = 0
    torn: bool = False

    @property
    def log(self) -> Log | None:
        """The log of what can be read."""
        if self.stored is None:
            return None
        return Log(self.stored.snapshot, self.stored.entries, self.stored.commit_index)

    @property
    def is_blank(self) -> bool:
        """A copy without a history: of a node that has not begun, or that has lost it."""
        return not self.damage and (self.stored is None or _last_index(self.stored) == 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What one copy has and the chosen one has not."""

    place: str
    entries: tuple[LogEntry, ...] = ()
    missing_bytes: int = 0
    unknown: bool = False  # the two have no position in common that both still know

    @property
    def changes(self) -> tuple[LogEntry, ...]:
        """The changes of the configuration among the entries."""
        return tuple(entry for entry in self.entries if entry.kind is Kind.PATCH)


class _Below:
    """A folder below a storage, read only."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage, self._folder = storage, folder

    def names(self) -> list[str]:
        return self._storage.names(self._folder)

    def read(self, name: str) -> bytes | None:
        return self._storage.read(f"{self._folder}/{name}" if self._folder else name)


def examine(storage: Storage, *, place: str, folder: str = "") -> Copy | None:
    """The log in a folder (of a node's `cib`, or of what was kept aside in it); None where there is none."""
    below = _Below(storage, folder)
    segments = sorted(int(n[4:]) for n in below.names() if n.startswith("log.") and n[4:].isdigit())
    promise, damage = None, ""
    try:
        promise = read_promise(below)
    except _BAD as error:
        damage = f"{error}"
    if not segments:
        nothing = promise is None and not damage
        return None if nothing else Copy(place=place, damage=damage or "there is a promise but no log")
    name = f"log.{segments[-1]}"
    data = below.read(name) or b""
    copy = _log_of(data, name, promise or Promise())
    if promise is None and not damage and copy.stored is not None and _last_index(copy.stored):
        damage = "there is a log but no promise"
    both = "; ".join(one for one in (damage, copy.damage) if one)
    return replace(copy, place=place, damage=both, promise=promise)


def _log_of(data: bytes, name: str, promise: Promise) -> Copy:
    try:
        payloads, good = frames(data, name)
        return Copy(place="", stored=stored_in(payloads, name, promise), torn=good < len(data))
    except (*_BAD, IndexError) as error:
        damage = str(error) if payloads_begin(data) else f"{name}: it does not begin with a snapshot"
    payloads = readable(data)
    while payloads:
        try:
            stored = stored_in(payloads, name, promise)
        except (*_BAD, IndexError):
            payloads.pop()
            continue
        read_bytes = sum(len(payload) + 20 for payload in payloads)
        return Copy(place="", damage=damage, stored=stored, missing_bytes=len(data) - read_bytes)
    return Copy(place="", damage=damage, missing_bytes=len(data))


def payloads_begin(data: bytes) -> bool:
    """Whether there is a first frame that can be read."""
    return bool(readable(data))


def of_document(data: bytes, *, place: str, signature: bytes | None = None) -> Copy:
    """A copy from a <cib> as XML: `cib.xml`, an archive, an export, a revision.

    It has no log, so its term and index are those of a beginning. What is wrong is in `damage`.
    """
    damage = ""
    if signature is not None and hashlib.sha256(data).hexdigest().encode() != signature.strip():
        damage = "its signature is of another content"
    try:
        root = xml.parse(data, source=place)
    except InvalidDocument as error:
        return Copy(place=place, damage=str(error), missing_bytes=len(data))
    configuration = root if root.tag == "configuration" else root.child("configuration")
    if configuration is None:
        return Copy(place=place, damage=f"<{root.tag}> has no <configuration>", missing_bytes=len(data))
    snapshot = Snapshot(
        index=1,
        term=Term(1, 0),
        chain=hashlib.sha256(_SALT + xml.canonical(configuration)).digest(),
        version=CibVersion.of(root.attributes),
        digest=xml.digest(configuration),
        content=configuration,
    )
    return Copy(place=place, damage=damage, stored=Stored(snapshot=snapshot, commit_index=1))


def with_version(copy: Copy, version: CibVersion) -> Copy:
    """A copy from a bare <configuration>, whose version is known otherwise."""
    assert copy.stored is not None
    stored = replace(copy.stored, snapshot=replace(copy.stored.snapshot, version=version))
    return replace(copy, stored=stored)


def rank(copy: Copy) -> tuple[bool, LogRank, CibVersion]:
    """What decides which copy is the newest: whole before damaged, then as an election would (9.7)."""
    log = copy.log
    if log is None:
        return False, LogRank(), CibVersion()
    return not copy.damage, log.rank, log.head.version


def newest(copies: Sequence[Copy]) -> Copy | None:
    """The copy to go on from; of equals the first. None when none can be read."""
    useful = [copy for copy in copies if copy.stored is not None and not copy.is_blank]
    return max(useful, key=rank, default=None)


def losses(chosen: Copy, others: Sequence[Copy]) -> list[Loss]:
    """What each of the others has beyond `chosen`; those with nothing are left out."""
    found = []
    base = chosen.log
    for other in others:
        if other is chosen:
            continue
        log, loss = other.log, Loss(place=other.place, missing_bytes=other.missing_bytes)
        if log is not None and base is not None and not other.is_blank:
            common = _common(base, log)
            if common is None:
                loss = replace(loss, unknown=log.head.digest != base.head.digest)
            else:
                loss = replace(loss, entries=tuple(log.after(common, count_max=1_000_000, bytes_max=1 << 40)))
        if loss.entries or loss.missing_bytes or loss.unknown:
            found.append(loss)
    return found


def _common(one: Log, other: Log) -> int | None:
    """The last position at which both have the same chain."""
    first = max(one.base.index, other.base.index)
    for index in range(min(one.last_index, other.last_index), first - 1, -1):
        chain = one.chain_at(index)
        if chain is not None and chain == other.chain_at(index):
            return index
    return None


def beginning(source: Copy, known: Sequence[Copy] = ()) -> tuple[Snapshot, Promise]:
    """A new history from the newest configuration of `source`, above every other one by decree.

    The same source gives the same beginning on every node, so that they agree from the start. Its admin_epoch
    is one above that of the source; the promise is as high as any that is `known`: nobody votes twice.
    """
    log = source.log
    assert log is not None, "a copy that cannot be read is no source"
    whole = log.snapshot(log.last_index)
    term, version = max(whole.term, Term(1, 0)), whole.version.forced()
    salt = _SALT + whole.chain + whole.digest.encode() + str(version).encode()
    snapshot = replace(
        whole,
        term=term,
        chain=hashlib.sha256(salt).digest(),
        safe_term=term,
        safe_index=whole.index,
        version=version,
        digest=xml.digest(whole.content),
    )
    promised = [copy.promise.term for copy in (source, *known) if copy.promise is not None]
    return snapshot, Promise(term=max([term, *promised]), voter=True)


def begin_anew(storage: Storage, snapshot: Snapshot, promise: Promise, *, folder: str) -> list[str]:
    """Put what is there aside in `folder`, then write the beginning; the names of what was put aside.

    Cut short anywhere, it leaves all old files in one place or the other, and can be done again.
    """
    moved = []
    for name in storage.names():
        if name in ("promise", "cib.xml", "cib.xml.sig") or name.startswith("log."):
            storage.rename(name, f"{folder}/{name}")
            moved.append(name)
    CibStore(storage).refound(snapshot, promise)
    return moved


def configuration_of(copy: Copy) -> Element:
    """Its newest configuration."""
    log = copy.log
    assert log is not None, "a copy that cannot be read has none"
    return log.head.content


def _last_index(stored: Stored) -> int:
    return stored.snapshot.index + len(stored.entries)
