"""`hacli fence`: what devices there are for a node, what became of fencings, and to have a node fenced."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from cli.commands.changes import node_of, read
from cli.context import EXIT_FAILED, EXIT_OK, Context, UsageError
from hacluster.errors import InvalidRequest
from hacluster.v1 import common_pb2

WAIT_S: Final = 300.0
POLL_S: Final = 0.2
_ENDED: Final = frozenset({"done", "cancelled"})


def show(context: Context, words: Sequence[str]) -> int:
    """`list [NODE]`: the devices that would be used, level by level."""
    _online(context)
    cib = read(context)
    names = (
        [_node(context, words[0])]
        if words
        else [item.get("uname") for item in cib.walk() if item.tag == "node" and item.get("uname")]
    )
    if context.options.structured:
        rows = [{"name": name, "levels": _levels(context, name)} for name in names]
        context.emit("fence-devices", {"nodes": rows})
        return EXIT_OK
    for name in names:
        levels = context.client.fencing_devices(name)
        if not levels:
            context.print(f"{name}: no device can fence it")
        for number, (devices, executors) in enumerate(levels, 1):
            by = f", by {' or '.join(executors)}" if executors else ", and no member can use it"
            context.print(f"{name}: {number}. {' and '.join(devices)}{by}")
    return EXIT_OK


def _levels(context: Context, name: str) -> list[dict[str, list[str]]]:
    return [
        {"devices": list(devices), "executors": list(executors)}
        for devices, executors in context.client.fencing_devices(name)
    ]


def history(context: Context, words: Sequence[str]) -> int:
    """`history [NODE]`: what became of fencings, the oldest first."""
    _online(context)
    records = context.client.fencing_history(_node(context, words[0]) if words else "")
    if context.options.structured:
        rows = [
            {
                "target": one.target,
                "action": one.action,
                "state": one.state,
                "device": one.device,
                "changed_s": one.changed_s,
                "text": describe(one),
            }
            for one in records
        ]
        context.emit("fence-history", {"fencings": rows})
        return EXIT_OK
    for record in records:
        context.print(describe(record))
    if not records:
        context.print("nothing has been fenced")
    return EXIT_OK


def fence(context: Context, words: Sequence[str]) -> int:
    """`fence NODE [reboot|off]`: by its devices; returns when it is certain, or all have failed."""
    if not 1 <= len(words) <= 2 or (len(words) == 2 and words[1] not in ("reboot", "off")):
        raise UsageError(what="name the node to be fenced", usage="fence NODE [reboot|off]")
    return _carry_out(context, words[0], words[1] if len(words) == 2 else "reboot")


def unfence(context: Context, words: Sequence[str]) -> int:
    """`unfence NODE`: give it back what its devices have cut off."""
    if len(words) != 1:
        raise UsageError(what="name the node to be unfenced", usage="unfence NODE")
    return _carry_out(context, words[0], "on")


def confirm(context: Context, words: Sequence[str]) -> int:
    """`confirm NODE [--force]`: it is off, as sure as if it had been fenced; refused while it is heard."""
    name, force = _one_node(context, words, "name the node that is off", "confirm NODE [--force]")
    context.client.confirm_fenced(name, force=force)
    context.print(f"{name} counts as fenced: what waited for that goes on")
    return EXIT_OK


def forgive(context: Context, words: Sequence[str]) -> int:
    """`forgive NODE [--force]`: let in whom a device lied about; refused while it is not heard."""
    name, force = _one_node(context, words, "name the node that is to be let in", "forgive NODE [--force]")
    context.client.forgive(name, force=force)
    context.print(f"{name} may join again; who said that it was off is not believed until it has rebooted")
    return EXIT_OK


def _one_node(context: Context, words: Sequence[str], what: str, usage: str) -> tuple[str, bool]:
    """The node that is named, and whether --force stands beside it, or before the command."""
    names = [word for word in words if word not in ("-f", "--force")]
    if len(names) != 1:
        raise UsageError(what=what, usage=usage)
    _online(context)
    return _node(context, names[0]), context.options.force or len(names) != len(words)


def describe(record: common_pb2.FencingRecord) -> str:
    """One line for people."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.changed_s))
    parts = [f"{at} {record.action} of {record.target}: {record.state}"]
    if record.device:
        parts.append(f"by {record.device.replace(',', ' and ')}")
    if record.executor:
        parts.append(f"at {record.executor}")
    parts.append(f"for {record.client or 'the cluster'}, DC {record.dc}")
    text = ", ".join(parts)
    if record.took_ms:
        text += f", {record.took_ms} ms"
    return f"{text} ({record.why})" if record.why else text


def _carry_out(context: Context, word: str, action: str) -> int:
    _online(context)
    name = _node(context, word)
    identity = context.client.fence(name, action)
    record = _wait(lambda: _find(context, identity))
    context.print(describe(record))
    if record.state == "failed":
        context.warning(
            f"{action} of {name} is given up, unless the cluster needs it itself (see `hacli fence history`)"
        )
    return EXIT_OK if record.state == "done" else EXIT_FAILED


def _wait(look: Callable[[], common_pb2.FencingRecord | None]) -> common_pb2.FencingRecord:
    """Until it has ended, or all devices have failed."""
    until = time.monotonic() + WAIT_S
    while True:
        record = look()
        if record is not None and (record.state in _ENDED or record.state == "failed"):
            return record
        if time.monotonic() > until:
            raise InvalidRequest(
                what=f"it has not ended within {WAIT_S:g} s", remedy="see `hacli fence history`"
            )
        time.sleep(POLL_S)


def _find(context: Context, identity: str) -> common_pb2.FencingRecord | None:
    return next((one for one in context.client.fencing_history() if one.id == identity), None)


def _node(context: Context, name: str) -> str:
    node_of(read(context), name)
    return name


def _online(context: Context) -> None:
    if context.offline:
        raise InvalidRequest(what="fencing is the business of a running cluster, not of a file")
