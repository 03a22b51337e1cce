"""What ha-messagings say to each other in the process group: a line of JSON, then the payload."""

from __future__ import annotations

import json
from typing import Any, Final, assert_never

from hacluster.vocabulary.ids import NodeId, ViewId
from messaging.corosync.core import Accept, Daemons, Hello, Packet, Small
from messaging.fragments import TOPIC_CHARACTERS_MAX
from messaging.membership.events import Data, Leave
from messaging.membership.runs import Run
from messaging.membership.talk import DATA_BYTES_MAX

VERSION: Final = 1
_HEAD_BYTES_MAX: Final = 64 * 1_024
_COUNTER_MAX: Final = 1 << 63


def encode(packet: Packet) -> bytes:
    """One message of the group."""
    payload = b""
    match packet:
        case Hello():
            head: dict[str, Any] = {
                "hello": [packet.counter, packet.incarnation, packet.crm, packet.lrm],
                "tag": packet.tag,
                "boot": packet.boot_token,
                "runs": [[run.node, run.incarnation, run.left] for run in packet.runs],
                "forgetful": packet.forgetful,
            }
        case Accept():
            head = {"accept": [packet.view.counter, packet.view.coordinator], "tag": packet.tag}
        case Daemons():
            head = {"daemons": [packet.crm, packet.lrm]}
        case Leave():
            head = {"leave": packet.clean, "active": list(packet.active_unmanaged)}
        case Small():
            data, payload = packet.data, packet.data.payload
            head = {
                "small": [data.number, data.view.counter, data.view.coordinator, packet.destination],
                "any": data.any_view,
                "topic": data.topic,
            }
        case _:
            assert_never(packet)
    return json.dumps({"v": VERSION, **head}).encode() + b"\n" + payload


def decode(message: bytes) -> Packet | None:
    """None: not one of ours, or of another version."""
    line, _, payload = message.partition(b"\n")
    try:
        head = json.loads(line) if len(line) <= _HEAD_BYTES_MAX else None
        if not isinstance(head, dict) or head.get("v") != VERSION:
            return None
        return _decode(head, payload)
    except (ValueError, KeyError, TypeError):
        return None


def _decode(head: dict[str, Any], payload: bytes) -> Packet | None:
    """Raises ValueError, KeyError, TypeError."""
    if "hello" in head:
        counter, incarnation, crm, lrm = map(_number, head["hello"])
        boot = bytes.fromhex(head["boot"]).hex()
        return Hello(
            tag=str(head["tag"]),
            counter=counter,
            incarnation=incarnation,
            boot_token=boot,
            crm=crm,
            lrm=lrm,
            runs=_runs(head.get("runs", [])),  # a release before this says none
            forgetful=bool(head.get("forgetful", False)),
        )
    if "accept" in head:
        counter, coordinator = map(_number, head["accept"])
        return Accept(tag=str(head["tag"]), view=ViewId(counter, NodeId(coordinator)))
    if "daemons" in head:
        crm, lrm = map(_number, head["daemons"])
        return Daemons(crm=crm, lrm=lrm)
    if "leave" in head:
        return Leave(clean=bool(head["leave"]), active_unmanaged=tuple(map(str, head["active"])))
    number, counter, coordinator, destination = map(_number, head["small"])
    topic = str(head["topic"])
    if len(topic) > TOPIC_CHARACTERS_MAX or len(payload) > DATA_BYTES_MAX:
        return None
    data = Data(
        number=number,
        view=ViewId(counter, NodeId(coordinator)),
        any_view=bool(head["any"]),
        topic=topic,
        payload=payload,
    )
    return Small(destination=destination, data=data)


def _runs(values: list[Any]) -> tuple[Run, ...]:
    """Raises ValueError, TypeError."""
    runs = tuple(Run(_number(node), _number(number), left=bool(left)) for node, number, left in values)
    ids = [run.node for run in runs]
    if ids != sorted(set(ids)) or not all(0 < run.node <= 0xFFFF and run.incarnation for run in runs):
        raise ValueError("runs are in order of nodes, each of a node and an incarnation")
    return runs


def _number(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < _COUNTER_MAX:
        raise ValueError(f"{value!r} is out of bounds")
    return value
