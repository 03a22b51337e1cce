"""A node's copy of the log on disk (cluster-protocol.md 9.6): what is there at start, and every change to it.

`log.<n>` is one file of frames: the first holds a snapshot, each later one the entries of one sync, or a
cut. Before a cut stands the highest version that was shown: the next run of the daemon shows none below it. A
new file begins when entries give way to a snapshot; it is complete before it gets its name, and the former
one goes. `promise` is replaced whole. `cib.xml` is for people and tools only, nothing is read from it.

A frame that was being written when the power went was never acknowledged and is cut off. Everything else that
does not fit is damage: all files are kept aside and the node starts without a memory, and without a vote.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from dataclasses import replace
from typing import Final

from crm.cib import codec as xml
from crm.cib.document import SCHEMA
from crm.cib.history import FEATURE_SET
from crm.cib.model import Element, element
from crm.cib.orphan_files import OrphanFiles
from crm.cib.replication.codec import decode_snapshot, encode_snapshot
from crm.cib.replication.log import Damaged, Log
from crm.cib.replication.model import LogEntry, Promise, Snapshot, Stored, decode, encode
from crm.cib.storage import Readable, Storage
from crm.cib.versions import NO_VERSION, CibVersion
from hacluster.digits import is_count
from hacluster.vocabulary.ids import Term

ARCHIVES_MAX: Final = 100

_MAGIC: Final = b"HAcl"
_HEAD: Final = struct.Struct(">4sIII")  # magic, length of payload, CRC-32 of payload, CRC-32 of the former 12
_VERSION: Final = struct.Struct(">QQQ")
_SECTOR: Final = 512
_SNAPSHOT, _ENTRIES, _CUT, _MARK, _SHOWN = b"S", b"E", b"X", b"C", b"V"


class Unusable(Exception):
    """The copy is damaged; `str` says where and how."""


def frame(payload: bytes) -> bytes:
    """One frame: header with its own sum, payload, and the magic again as the end."""
    head = struct.pack(">4sII", _MAGIC, len(payload), zlib.crc32(payload))
    return head + struct.pack(">I", zlib.crc32(head)) + payload + _MAGIC


def frames(data: bytes, name: str) -> tuple[list[bytes], int]:
    """The payloads, and how many bytes are good: less than all when the last frame was torn.

    Raises Unusable for damage that no torn write explains: a frame that is complete but wrong (unless a
    sector of it is all zeros: never written), or a header that is wrong with something behind it.
    """
    payloads: list[bytes] = []
    at = 0
    while at < len(data):
        rest = len(data) - at
        if rest < _HEAD.size or not data[at:].strip(b"\0"):
            break
        magic, length, crc, head_crc = _HEAD.unpack_from(data, at)
        if magic != _MAGIC or zlib.crc32(data[at : at + 12]) != head_crc:
            raise Unusable(f"{name}: the frame at byte {at} has a damaged head")
        end = at + _HEAD.size + length + len(_MAGIC)
        if end > len(data):
            break
        payload = data[at + _HEAD.size : end - len(_MAGIC)]
        if zlib.crc32(payload) != crc or data[end - len(_MAGIC) : end] != _MAGIC:
            if end == len(data) and _has_unwritten_sector(data, at, end):
                break
            raise Unusable(f"{name}: the frame at byte {at} is damaged")
        payloads.append(payload)
        at = end
    return payloads, at


def readable(data: bytes) -> list[bytes]:
    """The payloads up to the first damage or torn frame: what can still be saved of a damaged file."""
    payloads: list[bytes] = []
    at = 0
    while len(data) - at >= _HEAD.size:
        magic, length, crc, head_crc = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length + len(_MAGIC)
        payload = data[at + _HEAD.size : end - len(_MAGIC)]
        head_is_good = magic == _MAGIC and zlib.crc32(data[at : at + 12]) == head_crc and end <= len(data)
        if not head_is_good or zlib.crc32(payload) != crc or data[end - len(_MAGIC) : end] != _MAGIC:
            break
        payloads.append(payload)
        at = end
    return payloads


def _has_unwritten_sector(data: bytes, start: int, end: int) -> bool:
    first = -(-start // _SECTOR) * _SECTOR
    return any(not any(data[at : at + _SECTOR]) for at in range(first, end - 1, _SECTOR)) and end > first


class CibStore:
    """All reads and writes of one node's copy. Not safe for several threads at once.

    Every write may raise OSError, after which the store must not be used again: the daemon ends, and what
    is on the disk is looked at afresh.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._segment = 0
        self._last = 0  # index of the last entry in the file
        self._archive = 0
        self.orphans = OrphanFiles(storage)

    # -- start

    def load(self, *, wall_s: int) -> Stored:
        """What is on the disk. A damaged copy is moved aside and said so; a new node gets an empty one."""
        try:
            return self._load()
        except (Unusable, Damaged, ValueError, KeyError, TypeError, struct.error) as damage:
            folder = f"corrupt-{wall_s}"
            for name in self._storage.names():
                if name == "promise" or name.startswith("log."):
                    self._storage.rename(name, f"{folder}/{name}")
            self._begin_segment(1, Snapshot(), (), 0)
            self.promise(Promise(lost=True))
            return Stored(promise=Promise(lost=True), corrupt=f"{damage}; kept in {folder}")

    def _load(self) -> Stored:
        promise = read_promise(self._storage)
        segments = sorted(
            int(name.removeprefix("log.")) for name in self._storage.names() if name.startswith("log.")
        )
        if not segments:
            if promise is not None:
                raise Unusable("there is a promise but no log")
            self._begin_segment(1, Snapshot(), (), 0)
            return Stored()
        self._segment = segments[-1]
        stored = self._read_segment(f"log.{self._segment}", promise or Promise())
        if promise is None and (stored.entries or stored.snapshot.index):
            raise Unusable("there is a log but no promise")
        for old in segments[:-1]:
            self._storage.remove(f"log.{old}")
        return stored

    def _read_segment(self, name: str, promise: Promise) -> Stored:
        data = self._storage.read(name) or b""
        payloads, good = frames(data, name)
        if not payloads or payloads[0][:1] != _SNAPSHOT:
            raise Unusable(f"{name}: it does not begin with a snapshot")
        if good < len(data):
            self._storage.truncate(name, good)
        stored = stored_in(payloads, name, promise)
        self._last = stored.snapshot.index + len(stored.entries)
        if stored.shown < stored.committed_version or stored.shown == NO_VERSION:
            return stored
        above = stored.shown.configuration_changed()  # and again at the next start: it may have other content
        self._storage.append(name, _shown(above))
        return replace(stored, shown=above)

    # -- what must be durable before it is spoken of

    def promise(self, promise: Promise) -> None:
        """Durable when it returns."""
        value = {
            "term": [promise.term.counter, promise.term.node_id],
            "voter": promise.voter,
            "lost": promise.lost,
        }
        self._storage.replace("promise", frame(json.dumps(value).encode()))

    def entries(
        self, after: int, entries: tuple[LogEntry, ...], commit_index: int, shown: CibVersion = NO_VERSION
    ) -> None:
        """Durable when it returns. Entries after index `after` that are there go first."""
        assert after <= self._last, (after, self._last)
        name = f"log.{self._segment}"
        if after < self._last:
            if shown != NO_VERSION:
                self._storage.append(name, _shown(shown))
            self._storage.append(name, frame(_CUT + struct.pack(">Q", after)))
        parts = [_ENTRIES, struct.pack(">Q", commit_index)]
        for entry in entries:
            raw = encode(entry)
            parts += [struct.pack(">I", len(raw)), raw]
        self._storage.append(name, frame(b"".join(parts)))
        self._storage.sync(name)
        self._last = after + len(entries)

    def mark_committed(self, index: int) -> None:
        """Not durable: lost with the power, kept over the end of the daemon."""
        self._storage.append(f"log.{self._segment}", frame(_MARK + struct.pack(">Q", index)))

    def snapshot(
        self,
        snapshot: Snapshot,
        entries: tuple[LogEntry, ...],
        commit_index: int,
        shown: CibVersion = NO_VERSION,
    ) -> None:
        """Begin a new file with the snapshot and the entries after it; the old one goes."""
        old = self._segment
        self._begin_segment(old + 1, snapshot, entries, commit_index, shown)
        self._storage.remove(f"log.{old}")

    def _begin_segment(
        self,
        number: int,
        snapshot: Snapshot,
        entries: tuple[LogEntry, ...],
        commit_index: int,
        shown: CibVersion = NO_VERSION,
    ) -> None:
        parts = [_ENTRIES, struct.pack(">Q", commit_index)]
        for entry in entries:
            raw = encode(entry)
            parts += [struct.pack(">I", len(raw)), raw]
        data = frame(_SNAPSHOT + encode_snapshot(snapshot))
        if entries:
            data += frame(b"".join(parts))
        if shown != NO_VERSION:
            data += _shown(shown)
        self._storage.replace(f"log.{number}", data)
        self._segment = number
        self._last = snapshot.index + len(entries)

    def refound(self, snapshot: Snapshot, promise: Promise) -> None:
        """Begin anew from a snapshot in a folder without a log; durable when it returns."""
        assert not any(name.startswith("log.") for name in self._storage.names())
        self._begin_segment(1, snapshot, (), snapshot.index)
        self.promise(promise)

    # -- for people and tools

    def cib_xml(self, configuration: Element, version: CibVersion, *, last_change: str, origin: str) -> None:
        """cib.xml in Pacemaker's form and cib.xml.sig; the former one becomes cib-<n>.raw."""
        cib = whole_cib(configuration, version, last_change=last_change, origin=origin)
        text = xml.render(cib).encode()
        former = self._storage.read("cib.xml")
        if former == text:
            return
        if former is not None:
            self._archive = (self._archive or self._last_archive()) % ARCHIVES_MAX + 1
            self._storage.replace(f"cib-{self._archive}.raw", former)
            self._storage.replace("cib.last", str(self._archive).encode())
        self._storage.replace("cib.xml", text)
        self._storage.replace("cib.xml.sig", hashlib.sha256(text).hexdigest().encode() + b"\n")

    def _last_archive(self) -> int:
        text = (self._storage.read("cib.last") or b"").decode(errors="replace")
        return int(text) if is_count(text) else 0


def whole_cib(
    configuration: Element,
    version: CibVersion,
    status: Element | None = None,
    *,
    last_change: str = "",
    origin: str = "",
) -> Element:
    """The <cib> document around a configuration, with Pacemaker's attributes."""
    attributes = {"crm_feature_set": FEATURE_SET, "validate-with": SCHEMA, **version.attributes()}
    if last_change:
        attributes["cib-last-written"] = last_change
    if origin:
        attributes["update-origin"] = origin
    return element("cib", attributes, configuration, status or element("status"))


def stored_in(payloads: list[bytes], name: str, promise: Promise) -> Stored:
    """What the frames of a file say. Raises Unusable, Damaged, ValueError, struct.error."""
    snapshot = decode_snapshot(payloads[0][1:])
    if snapshot.index and xml.digest(snapshot.content) != snapshot.digest:
        raise Unusable(f"{name}: the snapshot has another digest than it says")
    entries: list[LogEntry] = []
    commit_index, shown = snapshot.index, NO_VERSION
    for payload in payloads[1:]:
        if payload[:1] == _SHOWN:
            shown = max(shown, CibVersion(*_VERSION.unpack_from(payload, 1)))
            continue
        (number,) = struct.unpack_from(">Q", payload, 1)
        if payload[:1] == _CUT:
            del entries[max(0, number - snapshot.index) :]
            commit_index = min(commit_index, number)
        else:
            commit_index = max(commit_index, number)
            entries.extend(_split(payload[9:], name) if payload[:1] == _ENTRIES else ())
    stored = Stored(
        promise=promise,
        snapshot=snapshot,
        entries=tuple(entries),
        commit_index=min(commit_index, snapshot.index + len(entries)),
        shown=shown,
    )
    Log(stored.snapshot, stored.entries, stored.commit_index)  # chain and digests, or Damaged
    return stored


def _shown(version: CibVersion) -> bytes:
    numbers = version.admin_epoch, version.epoch, version.num_updates
    return frame(_SHOWN + _VERSION.pack(*numbers))


def read_promise(storage: Readable) -> Promise | None:
    """What a copy has promised; None when nothing was. Raises Unusable, ValueError, KeyError, TypeError."""
    data = storage.read("promise")
    if data is None:
        return None
    payloads, good = frames(data, "promise")
    if len(payloads) != 1 or good != len(data):
        raise Unusable("promise: damaged")
    value = json.loads(payloads[0])
    return Promise(
        term=Term(int(value["term"][0]), int(value["term"][1])),
        voter=bool(value["voter"]),
        lost=bool(value.get("lost", False)),
    )


def _split(data: bytes, name: str) -> list[LogEntry]:
    entries = []
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        at += 4
        entries.append(decode(data[at : at + length]))
        at += length
    if at != len(data):
        raise Unusable(f"{name}: a frame's entries do not fit it")
    return entries
