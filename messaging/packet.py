"""Packets of the heartbeat protocol: header, heartbeat body, tag, replay window (cluster-protocol.md, 3).

Says what bytes mean and whether they are genuine and new. What the sender's being alive means is the
membership core's; bodies other than heartbeats are translated by `messaging.wire`.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import cache
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC: Final = b"HA"
WIRE_VERSION: Final = 1
TO_ALL: Final = 0xFFFF
FLAG_ENCRYPTED: Final = 1
FLAG_URGENT: Final = 2

HEADER: Final = struct.Struct(">2sBBBBHHH4s16sQQHH")
HMAC_BYTES: Final = 32
AEAD_TAG_BYTES: Final = 16
DATAGRAM_BYTES_MAX: Final = 65_507
NODES_MAX: Final = 1_024
REPLAY_WINDOW: Final = 1_024

_HEARTBEAT: Final = struct.Struct(">QHQBB8sIIHH4s")
_PROBE_ACK: Final = struct.Struct(">QQQ")
_BLOCK_BYTES: Final = 64  # SHA-256's
_TOLD_BYTES: Final = 4
TOLD_MS_MAX: Final = 60_000
_WINDOW_MASK: Final = (1 << REPLAY_WINDOW) - 1


class Kind(IntEnum):
    """What a packet's body is."""

    HEARTBEAT = 1
    PROBE = 2
    PROBE_ACK = 3
    LEAVE = 4
    PROPOSE = 5
    ACCEPT = 6
    REFUSE = 7
    INSTALL = 8
    INSTALLED = 9
    DATA = 10
    NACK = 11
    FRAGMENT = 12
    WITNESS_ASK = 13  # these two only between a node and ha-qnet
    WITNESS_ANSWER = 14
    BARS = 15


class Drop(StrEnum):
    """Why a packet was not accepted; the counters' names."""

    BAD_LENGTH = "bad_length"
    BAD_MAGIC = "bad_magic"
    WRONG_VERSION = "wrong_version"
    WRONG_CLUSTER = "wrong_cluster"
    UNKNOWN_SENDER = "unknown_sender"
    NOT_FOR_US = "not_for_us"
    UNKNOWN_KEY = "unknown_key"
    OWN_ID = "own_id"  # with a good tag: another machine says that it is this node
    BAD_TAG = "bad_tag"
    OLD_INCARNATION = "old_incarnation"
    REPLAYED = "replayed"
    BAD_BODY = "bad_body"
    INCOMPLETE = "incomplete"  # fragments of which the rest did not come in time


REMEDY: Final[Mapping[Drop, str]] = {
    Drop.BAD_LENGTH: "something else sends to this port, or a smaller mtu cuts packets: see the link's mtu",
    Drop.BAD_MAGIC: "something else sends to this port: give the link another one",
    Drop.WRONG_VERSION: "another release speaks another wire version: finish the upgrade on that node",
    Drop.WRONG_CLUSTER: "another cluster uses this port or group: give one of them another; or copy our "
    "cluster.toml to that node",
    Drop.UNKNOWN_SENDER: "our cluster.toml does not name that node: copy the newest one to every node",
    Drop.NOT_FOR_US: "",
    Drop.UNKNOWN_KEY: "it signs with a key that our authkeys does not list: copy the newest file, and reload",
    Drop.OWN_ID: "two machines have the same node id and name: start ha-messaging there with its own --node",
    Drop.BAD_TAG: "the secrets in authkeys differ: copy the file from a member, mode 0600",
    Drop.OLD_INCARNATION: "that node lost its state and is told so; if it goes on, two machines use one id",
    Drop.REPLAYED: "somebody repeats old packets, or two machines use one id",
    Drop.BAD_BODY: "another release, or a damaged packet with a good tag: see the versions on both nodes",
    Drop.INCOMPLETE: "packets get lost: see the losses of the links",
}
"""What to do about packets that are dropped, in the words of the log."""


class State(IntEnum):
    """What a node says of itself in a heartbeat."""

    JOINING = 1
    MEMBER = 2
    LEAVING = 3
    REFUSING = 4  # alive, but its disk failed: no view may count on it


class Header(NamedTuple):
    """The fields of a packet's header that its receiver needs."""

    kind: int
    key_id: int
    flags: int
    link: int
    sender: int
    destination: int
    session: bytes
    incarnation: int
    sequence: int


class Opened(NamedTuple):
    """A genuine, new packet; the body is not decoded yet."""

    header: Header
    body: bytes


class Dropped(NamedTuple):
    """A packet that changes nothing. `header` is None unless its tag was good."""

    reason: Drop
    header: Header | None = None
    highest_incarnation: int = 0  # with OLD_INCARNATION: what the sender must exceed


class Heartbeat(NamedTuple):
    """The body of HEARTBEAT, first part of PROBE_ACK's. Slots are the configured nodes in order of id."""

    view_counter: int
    view_coordinator: int
    promised: int
    state: int
    load: int
    boot_token: bytes  # its first 8 bytes
    crm_instance: int
    lrm_instance: int
    key_ids: int
    config_hash: bytes
    hear: int  # bit j: slot j was heard within deadtime
    echo: tuple[int, ...]  # slot j: low 32 bits of the highest sequence heard from it on this link
    told_ms: int = 0  # the sender's deadtime when it finds that by itself; not in the packet when 0


@cache
def _echo_struct(slots: int) -> struct.Struct:
    return struct.Struct(f">{slots}I")


CONNECTIVITY_MAX = 14


def load_of(health: int, connectivity: int | None) -> int:
    """The byte `load`: health in its lower half, in the upper one connectivity and one more; 0: not known."""
    said = 0 if connectivity is None else min(connectivity, CONNECTIVITY_MAX) + 1
    return health | said << 4


def connectivity_of(load: int) -> int | None:
    """What the sender says of its links and ping targets."""
    return (load >> 4) - 1 if load >> 4 else None


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """The fixed binary body."""
    slots = len(heartbeat.echo)
    return (
        _HEARTBEAT.pack(*heartbeat[:9], slots, heartbeat.config_hash)
        + heartbeat.hear.to_bytes((slots + 7) // 8, "little")
        + _echo_struct(slots).pack(*heartbeat.echo)
        + (heartbeat.told_ms.to_bytes(_TOLD_BYTES, "big") if heartbeat.told_ms else b"")
    )


def decode_heartbeat(body: bytes) -> Heartbeat | None:
    """The heartbeat, or None when its length and counts do not agree or are out of bounds."""
    heartbeat, rest = _split_heartbeat(body)
    return heartbeat if rest == 0 else _told(heartbeat, rest, body)


def _told(heartbeat: Heartbeat | None, rest: int, body: bytes) -> Heartbeat | None:
    """With the sender's deadtime, which ends the body; None when that is not what ends it."""
    told_ms = int.from_bytes(body[len(body) - rest :], "big")
    if heartbeat is None or rest != _TOLD_BYTES or not 0 < told_ms <= TOLD_MS_MAX:
        return None
    return heartbeat._replace(told_ms=told_ms)


def encode_probe_ack(heartbeat: Heartbeat, highest_incarnation: int, ack_incarnation: int, ack: int) -> bytes:
    """The highest incarnation seen of the addressee (0: nothing to say), what has arrived of its DATA (up to
    `ack` of its run `ack_incarnation`), then a heartbeat's body."""
    return _PROBE_ACK.pack(highest_incarnation, ack_incarnation, ack) + encode_heartbeat(heartbeat)


def decode_probe_ack(body: bytes) -> tuple[Heartbeat, int, int, int] | None:
    """What `encode_probe_ack` was given, or None."""
    heartbeat = decode_heartbeat(body[_PROBE_ACK.size :])
    return (heartbeat, *_PROBE_ACK.unpack_from(body)) if heartbeat is not None else None


def _split_heartbeat(body: bytes) -> tuple[Heartbeat | None, int]:
    """The heartbeat at the start of `body`, and how many bytes follow it."""
    if len(body) < _HEARTBEAT.size:
        return None, 0
    fields = _HEARTBEAT.unpack_from(body)
    slots = fields[9]
    hear_end = _HEARTBEAT.size + (slots + 7) // 8
    rest = len(body) - hear_end - 4 * slots
    if slots > NODES_MAX or rest < 0 or not State.JOINING <= fields[3] <= State.REFUSING:
        return None, 0
    hear = int.from_bytes(body[_HEARTBEAT.size : hear_end], "little")
    if hear >> slots:
        return None, 0
    echo = _echo_struct(slots).unpack_from(body, hear_end)
    return Heartbeat._make((*fields[:9], fields[10], hear, echo, 0)), rest


def hkdf_sha256(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """32 bytes of HKDF-SHA256 (RFC 5869), which is one block of output."""
    pseudo_random_key = hmac.digest(salt, secret, "sha256")
    return hmac.digest(pseudo_random_key, info + b"\x01", "sha256")


class Mac:
    """HMAC-SHA256 (RFC 2104) under one key, from the two states that its halves begin with.

    Half of the time of `hmac.digest`, which looks the digest up and keys it anew each time; the less of it a
    daemon that sleeps between packets has to load back into its caches, the better (a third).
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = (key if len(key) <= _BLOCK_BYTES else hashlib.sha256(key).digest()).ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def tag(self, data: bytes) -> bytes:
        """32 bytes."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(data)
        outer.update(inner.digest())
        return outer.digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingKey:
    """A key as derived for one cluster; `method` is "sha256" (HMAC) or "aes256gcm" (AEAD)."""

    id: int
    method: str
    key: bytes = field(repr=False)

    @property
    def encrypts(self) -> bool:
        """Whether bodies travel encrypted under it."""
        return self.method == "aes256gcm"

    def for_session(self, session: bytes) -> AESGCM:
        """The session's own encryption key: nonces never repeat under it, even if a node loses its disk."""
        return AESGCM(hkdf_sha256(self.key, session, b"hacluster/1/session"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """Every key verifies; one signs."""

    keys: Mapping[int, WorkingKey]
    signing: int

    @property
    def id_bits(self) -> int:
        """The ids we can verify, as the bit set that heartbeats carry."""
        return sum(1 << key_id for key_id in self.keys)


def _nonce(link: int, sequence: int) -> bytes:
    return struct.pack(">HHQ", link, 0, sequence)


class Sealer:
    """Makes our datagrams. Sequences are the caller's: one that grows for each link."""

    def __init__(
        self, *, cluster_id: bytes, node_id: int, session: bytes, incarnation: int, keyring: Keyring
    ) -> None:
        assert len(session) == 16
        self._cluster = cluster_id[:4]
        self._node_id, self._session, self._incarnation = node_id, session, incarnation
        self.use(keyring)

    def use(self, keyring: Keyring) -> None:
        """Sign with this keyring's key from now on."""
        self.keyring = keyring
        self._key = keyring.keys[keyring.signing]
        self._mac = Mac(self._key.key)
        self._aead = self._key.for_session(self._session) if self._key.encrypts else None

    def seal(
        self,
        kind: int,
        body: bytes,
        *,
        link: int,
        sequence: int,
        destination: int = TO_ALL,
        urgent: bool = False,
    ) -> bytes:
        """The whole datagram."""
        flags = (FLAG_URGENT if urgent else 0) | (FLAG_ENCRYPTED if self._aead else 0)
        header = HEADER.pack(
            MAGIC, WIRE_VERSION, kind, self._key.id, flags, link, self._node_id, destination,
            self._cluster, self._session, self._incarnation, sequence, len(body), 0,
        )  # fmt: skip
        if self._aead is not None:
            return header + self._aead.encrypt(_nonce(link, sequence), body, header)
        signed = header + body
        return signed + self._mac.tag(signed)


class ReplayWindow:
    """Which sequences of one (sender, session, link) were seen: the highest and the 1,024 below it."""

    __slots__ = ("_bits", "_highest")

    def __init__(self) -> None:
        self._highest = -1
        self._bits = 0

    def take(self, sequence: int) -> bool:
        """Whether the sequence is new; it is not any more afterwards."""
        ahead = sequence - self._highest
        if ahead > 0:
            self._bits = ((self._bits << ahead) | 1) & _WINDOW_MASK if ahead < REPLAY_WINDOW else 1
            self._highest = sequence
            return True
        bit = 1 << -ahead
        if -ahead >= REPLAY_WINDOW or self._bits & bit:
            return False
        self._bits |= bit
        return True


class _Sender:
    """What we remember of one authenticated sender."""

    __slots__ = ("aead", "aead_key", "incarnation", "session", "windows")

    def __init__(self, incarnation: int) -> None:
        self.incarnation = incarnation
        self.begin(b"")

    def begin(self, session: bytes) -> None:
        """A new run of the sender."""
        self.session = session
        self.windows: dict[int, ReplayWindow] = {}
        self.aead: AESGCM | None = None
        self.aead_key = b""


class Gate:
    """Lets genuine new packets in; everything else is dropped with the first reason that applies.

    The order of checks is the protocol's (3.1). Nothing is remembered of a packet before its tag was good.
    """

    def __init__(
        self,
        *,
        cluster_id: bytes,
        node_id: int,
        nodes: Iterable[int],
        keyring: Keyring,
        seen: Mapping[int, int] | None = None,
        links_max: int = 8,
        session: bytes = b"",
    ) -> None:
        """`seen`: highest incarnation known of each node, from a former run. `session`: our own."""
        self._session = session
        self._cluster = cluster_id[:4]
        self._node_id = node_id
        self._others = frozenset(nodes) - {node_id}
        self.use(keyring)
        self._links_max = links_max
        known = {node: number for node, number in (seen or {}).items() if node in self._others}
        self._senders = {node: _Sender(incarnation) for node, incarnation in known.items()}

    def use_nodes(self, nodes: Iterable[int]) -> None:
        """Accept packets of these nodes from now on."""
        self._others = frozenset(nodes) - {self._node_id}

    def use(self, keyring: Keyring) -> None:
        """Verify with these keys from now on."""
        self._keys = keyring.keys
        self._macs = {key_id: Mac(key.key) for key_id, key in keyring.keys.items()}

    @property
    def seen(self) -> dict[int, int]:
        """The highest incarnation of each sender so far."""
        return {node: sender.incarnation for node, sender in sorted(self._senders.items())}

    def open(self, datagram: bytes) -> Opened | Dropped:
        """The packet, or why not."""
        size = len(datagram)
        if size < HEADER.size + AEAD_TAG_BYTES or size > DATAGRAM_BYTES_MAX:
            return Dropped(Drop.BAD_LENGTH)
        (
            magic, version, kind, key_id, flags, link, sender, destination,
            cluster, session, incarnation, sequence, body_bytes, zero,
        ) = HEADER.unpack_from(datagram)  # fmt: skip
        tag_bytes = AEAD_TAG_BYTES if flags & FLAG_ENCRYPTED else HMAC_BYTES
        body_end = HEADER.size + body_bytes
        if size != body_end + tag_bytes or zero:
            return Dropped(Drop.BAD_LENGTH if magic == MAGIC else Drop.BAD_MAGIC)
        if magic != MAGIC:
            return Dropped(Drop.BAD_MAGIC)
        if version != WIRE_VERSION:
            return Dropped(Drop.WRONG_VERSION)
        if cluster != self._cluster:
            return Dropped(Drop.WRONG_CLUSTER)
        if sender == self._node_id and session == self._session:
            return Dropped(Drop.NOT_FOR_US)  # our own: a group of which we are a member, a looped cable
        if destination not in (TO_ALL, self._node_id):
            return Dropped(Drop.NOT_FOR_US)
        key = self._keys.get(key_id)
        if key is None:
            return Dropped(Drop.UNKNOWN_KEY)
        header = Header(kind, key_id, flags, link, sender, destination, session, incarnation, sequence)
        if flags & FLAG_ENCRYPTED:
            plain = self._decrypt(key, header, datagram)
            if plain is None:
                return Dropped(Drop.BAD_TAG)
            body = plain
        else:
            tag = self._macs[key_id].tag(datagram[:body_end])
            if key.encrypts or not hmac.compare_digest(tag, datagram[body_end:]):
                return Dropped(Drop.BAD_TAG)
            body = datagram[HEADER.size : body_end]
        if sender == self._node_id:
            return Dropped(Drop.OWN_ID)
        if sender not in self._others:  # with a good tag: it is of our cluster, by another cluster.toml
            return Dropped(Drop.UNKNOWN_SENDER, header)
        reason = self.admit(header)
        if reason is not None:
            return Dropped(reason, header, self._senders[sender].incarnation)
        return Opened(header, body)

    def admit(self, header: Header) -> Drop | None:
        """The checks of a genuine packet that need memory: incarnation, session, window."""
        sender = self._senders.get(header.sender)
        if sender is None:
            sender = self._senders[header.sender] = _Sender(header.incarnation)
        if header.incarnation < sender.incarnation:
            return Drop.OLD_INCARNATION
        if header.incarnation > sender.incarnation or not sender.session:
            sender.incarnation = header.incarnation
            sender.begin(header.session)
        elif header.session != sender.session:
            return Drop.REPLAYED
        if header.link >= self._links_max:
            return Drop.BAD_BODY
        window = sender.windows.get(header.link)
        if window is None:
            window = sender.windows[header.link] = ReplayWindow()
        return None if window.take(header.sequence) else Drop.REPLAYED

    def outdated(self, header: Header) -> bool:
        """Whether a dropped genuine packet is of a run that its node's disk should have counted past.

        True for a lower incarnation, and for another session under the highest one: a node whose disk was
        lost counts from 1 again.
        """
        sender = self._senders.get(header.sender)
        return (
            header.sender in self._others
            and sender is not None
            and (
                header.incarnation < sender.incarnation
                or (header.incarnation == sender.incarnation and header.session != sender.session)
            )
        )

    def _decrypt(self, key: WorkingKey, header: Header, datagram: bytes) -> bytes | None:
        if not key.encrypts:
            return None
        sender = self._senders.get(header.sender)
        remembered = sender is not None and sender.session == header.session and sender.aead_key == key.key
        aead = sender.aead if sender is not None and remembered else None
        if aead is None:
            aead = key.for_session(header.session)
        try:
            body = aead.decrypt(
                _nonce(header.link, header.sequence), datagram[HEADER.size :], datagram[: HEADER.size]
            )
        except InvalidTag:
            return None
        if sender is not None and sender.session == header.session:
            sender.aead, sender.aead_key = aead, key.key
        return body


def config_hash(nodes: Iterable[tuple[int, str]]) -> bytes:
    """4 bytes that agree when two nodes mean the same slots: ids and names in order of id."""
    text = "".join(f"{node_id} {name}\n" for node_id, name in sorted(nodes))
    return hashlib.sha256(text.encode()).digest()[:4]
