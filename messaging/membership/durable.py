"""What ha-messaging keeps on disk, as bytes: two slots each with a CRC, the newer one counts (15).

A slot is replaced whole, so a power cut leaves it as it was or as it was to be: what does not fit its CRC is
damage.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

from hacluster.vocabulary.ids import BootToken, NodeId, ViewId
from hacluster.vocabulary.membership import QuorumConfig
from messaging.membership.events import CommittedQuorum, Durable, InstalledView, ViewMember

SLOTS = 2


def encode_slot(serial: int, content: dict[str, Any]) -> bytes:
    """One slot. `serial` grows with each write; write to slot `serial % SLOTS`."""
    body = json.dumps({"serial": serial, **content}, sort_keys=True).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decode_slot(raw: bytes | None) -> dict[str, Any] | None:
    """The content with its serial, or None when it is missing, torn or damaged."""
    if raw is None or len(raw) < 10 or raw[8:9] != b" " or raw[-1:] != b"\n":
        return None
    body = raw[9:-1]
    if raw[:8] != b"%08x" % zlib.crc32(body):
        return None
    content = json.loads(body)
    return content if isinstance(content, dict) and isinstance(content.get("serial"), int) else None


def newest(slots: Sequence[bytes | None]) -> tuple[dict[str, Any] | None, bool]:
    """The content of the newest valid slot, and whether it can be trusted.

    A damaged slot may have been the newer one: what was promised in it is not known, only that it was no
    less than what the other says.
    """
    valid = [content for raw in slots if (content := decode_slot(raw)) is not None]
    trusted = len(valid) == sum(raw is not None for raw in slots)
    return max(valid, key=lambda content: int(content["serial"]), default=None), trusted


def durable_content(durable: Durable) -> dict[str, Any]:
    """What a slot of messaging/view holds."""
    quorum = durable.quorum
    return {
        "promised": durable.promised,
        "boot_token": durable.boot_token,
        "view": [durable.view.id.counter, durable.view.id.coordinator],
        "members": [[m.id, m.incarnation, m.boot_token] for m in durable.view.members],
        "quorum": None
        if quorum is None
        else {
            "log_index": quorum.log_index,
            "voters": [list(voter) for voter in quorum.config.voters],
            "two_node": quorum.config.two_node,
            "wait_for_all": quorum.config.wait_for_all,
            "tiebreak": quorum.config.tiebreak,
        },
    }


def durable_from(slots: Sequence[bytes | None]) -> Durable:
    """What messaging/view says; `trusted` is false when it is damaged."""
    content, trusted = newest(slots)
    if content is None:
        return Durable(trusted=trusted)
    quorum = content["quorum"]
    return Durable(
        trusted=trusted,
        promised=content["promised"],
        boot_token=BootToken(content["boot_token"]),
        view=InstalledView(
            id=ViewId(*content["view"]),
            members=tuple(
                ViewMember(id=NodeId(node), incarnation=incarnation, boot_token=BootToken(token))
                for node, incarnation, token in content["members"]
            ),
        ),
        quorum=None
        if quorum is None
        else CommittedQuorum(
            config=QuorumConfig(
                voters=tuple((NodeId(node), votes) for node, votes in quorum["voters"]),
                two_node=quorum["two_node"],
                wait_for_all=quorum["wait_for_all"],
                tiebreak=None if quorum["tiebreak"] is None else NodeId(quorum["tiebreak"]),
            ),
            log_index=quorum["log_index"],
        ),
    )
