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
from messaging.membership.events import Bar, Bars, CommittedQuorum, Durable, InstalledView, ViewMember
from messaging.membership.runs import Run

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
        "told_deadtime_ns": durable.told_deadtime_ns,
        "bars": [[node, bar.number, bar.boot.hex()] for node, bar in durable.bars.words],
        "view": [durable.view.id.counter, durable.view.id.coordinator],
        "members": [[m.id, m.incarnation, m.boot_token] for m in durable.view.members],
        "runs": [[run.node, run.incarnation] for run in durable.runs],
        "forgetful": durable.forgetful,
        "quorum": None
        if quorum is None
        else {"log_index": quorum.log_index, **_quorum_content(quorum.config)},
    }


def durable_from(slots: Sequence[bytes | None]) -> Durable:
    """What messaging/view says; `trusted` is false when it is damaged."""
    content, trusted = newest(slots)
    if content is None:
        return Durable(trusted=trusted, forgetful=not trusted)
    quorum = content["quorum"]
    # A file of a release that kept no runs has those of its last view.
    runs = content.get("runs", [member[:2] for member in content["members"]])
    return Durable(
        trusted=trusted,
        promised=content["promised"],
        boot_token=BootToken(content["boot_token"]),
        told_deadtime_ns=content.get("told_deadtime_ns", 0),
        bars=Bars(
            tuple((node, Bar(number, bytes.fromhex(boot))) for node, number, boot in content.get("bars", ()))
        ),
        runs=tuple(Run(node, incarnation) for node, incarnation in runs),
        forgetful=not trusted or content.get("forgetful", False),
        view=InstalledView(
            id=ViewId(*content["view"]),
            members=tuple(
                ViewMember(id=NodeId(node), incarnation=incarnation, boot_token=BootToken(token))
                for node, incarnation, token in content["members"]
            ),
        ),
        quorum=None
        if quorum is None
        else CommittedQuorum(config=_quorum_from(quorum), log_index=quorum["log_index"]),
    )


def _quorum_content(config: QuorumConfig) -> dict[str, Any]:
    return {
        "voters": [list(voter) for voter in config.voters],
        "two_node": config.two_node,
        "wait_for_all": config.wait_for_all,
        "tiebreak": config.tiebreak,
        "tiebreak_order": list(config.tiebreak_order),
        "lms_window_ms": config.lms_window_ms,
        "witness_votes": config.witness_votes,
        "next": None if config.next is None else _quorum_content(config.next),
    }


def _quorum_from(content: dict[str, Any]) -> QuorumConfig:
    following = content.get("next")
    return QuorumConfig(
        voters=tuple((NodeId(node), votes) for node, votes in content["voters"]),
        two_node=content["two_node"],
        wait_for_all=content["wait_for_all"],
        tiebreak=None if content["tiebreak"] is None else NodeId(content["tiebreak"]),
        tiebreak_order=tuple(NodeId(node) for node in content.get("tiebreak_order", ())),
        lms_window_ms=content.get("lms_window_ms", 0),
        witness_votes=content.get("witness_votes", 0),
        next=None if following is None else _quorum_from(following),
    )
