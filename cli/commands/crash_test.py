"""`hacli cluster crash_test`: kill a daemon here, or fence a node, and watch the cluster mend itself."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cli.commands.changes import this_node
from cli.commands.fence import fence
from cli.context import EXIT_NOT_REACHED, EXIT_OK, Context, Unsafe, UsageError
from hacluster.errors import HaError, InvalidRequest

USAGE: Final = "cluster crash_test kill messaging|crm|lrm | fence NODE"
PAUSE_S: Final = 0.2
ASK_WITHIN_MS: Final = 3_000
CONNECT_WITHIN_S: Final = 3.0
_CREDENTIALS: Final = struct.Struct("3i")  # of SO_PEERCRED: pid, uid, gid
# crmsh's spellings, for fingers that know them.
_ALSO: Final = {
    "--kill-corosync": ("kill", "messaging"),
    "--kill-pacemakerd": ("kill", "crm"),
    "--fence-node": ("fence",),
}
_NOT_HERE: Final = {
    "--kill-sbd": "there is no sbd: `kill messaging` is what comes nearest",
    "--split-brain-iptables": "no packet filter is touched here: pull a cable, or `kill messaging`",
}


def crash_test(context: Context, words: Sequence[str]) -> int:
    """`crash_test kill messaging|crm|lrm | fence NODE`. Status 6 when it is not whole again in time."""
    if words and words[0] in _NOT_HERE:
        raise InvalidRequest(what=f"{words[0]}: {_NOT_HERE[words[0]]}")
    match (*_ALSO.get(words[0], words[:1]), *words[1:]) if words else ():
        case ("kill", ("messaging" | "crm" | "lrm") as daemon):
            return _kill(context, daemon)
        case ("fence", node):
            return _fence(context, node)
        case _:
            raise UsageError(what="say what is to fail", usage=USAGE)


def _kill(context: Context, daemon: str) -> int:
    _whole_before(context)
    path = {
        "messaging": context.paths.messaging_socket,
        "crm": context.paths.crm_socket,
        "lrm": context.paths.lrm_socket,
    }[daemon]
    pid = pid_behind(path)
    me = this_node(context)  # `Status` says who answered: the DC
    _ask(context, f"This kills ha-{daemon} of {me} (process {pid}); {me} may be fenced for it.")
    os.kill(pid, signal.SIGKILL)
    context.info(f"ha-{daemon} (process {pid}) is killed")

    def back() -> str:
        try:
            now = pid_behind(path)
        except HaError:
            return f"ha-{daemon} is gone"
        return f"ha-{daemon} is process {now} now" if now != pid else f"ha-{daemon} dies"

    return _watch(context, me, back, f"ha-{daemon} is process")


def _fence(context: Context, node: str) -> int:
    _whole_before(context)
    if node == this_node(context):
        raise InvalidRequest(what=f"{node} is this node: it would not see the end", remedy="ask another one")
    _ask(context, f"This fences {node}: what runs there is stopped the hard way.")
    began = time.monotonic()
    status = fence(context, (node,))
    if status != EXIT_OK:
        return status
    context.info(f"{node} is fenced after {time.monotonic() - began:.1f} s")
    return _watch(context, node)


def pid_behind(path: Path) -> int:
    """The process that listens on a socket, as the kernel knows it. Raises InvalidRequest."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT_WITHIN_S)
        try:
            connection.connect(str(path))
        except OSError as error:
            raise InvalidRequest(what=f"{path}: {error.strerror or error}: nobody listens there") from None
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid = int(_CREDENTIALS.unpack(raw)[0])
    if pid <= 1:
        raise InvalidRequest(what=f"who listens on {path} is in another PID namespace")
    return pid


def _whole_before(context: Context) -> None:
    """A test of a cluster that is not well says nothing. Raises InvalidRequest."""
    if context.offline:
        raise InvalidRequest(what="a CIB file cannot crash", remedy="see `hacli simulate --node-fail NODE`")
    missing = _missing(context, "")
    if missing and not context.options.force:
        raise InvalidRequest(what=f"the cluster is not whole: {missing}", remedy="mend that first, or use -F")


def _ask(context: Context, question: str) -> None:
    if not context.confirm(f"{question} Go on?"):
        raise Unsafe(what=f"{question} Nothing was done", remedy="-F does it")


def _missing(context: Context, node: str) -> str:
    """What the cluster, and `node` in it, lack; empty when nothing."""
    try:
        status = context.client.status(timeout_ms=ASK_WITHIN_MS)
    except HaError as error:
        return str(error)
    if not status.dc:
        return "there is no DC"
    if not status.quorate:
        return "there is no quorum"
    for one in status.nodes:
        if node in ("", one.name) and one.state == "member" and not (one.crm and one.lrm):
            return f"{one.name}: ha-{'lrm' if one.crm else 'crm'} is not connected"
        if node == one.name and one.state != "member":
            return f"{node} is {one.state}"
    transition = status.transition
    if transition.state not in ("idle", ""):
        return f"transition {transition.number}: {transition.done} of {transition.actions} actions"
    return ""


def _watch(context: Context, node: str, back: Callable[[], str] | None = None, wanted: str = "") -> int:
    """Say what changes, until all is as before, or the time of --wait-time is over."""
    began = time.monotonic()
    end = began + context.options.wait_ms / 1_000
    said = ""
    while True:
        here = back() if back is not None else ""
        missing = _missing(context, node)
        whole = not missing and here.startswith(wanted)
        line = "; ".join(part for part in (here, missing) if part) or "the cluster is whole"
        if line != said:
            context.print(f"{time.monotonic() - began:6.1f} s  {line}")
            context.out.flush()
            said = line
        if whole:
            context.print(f"passed: whole again after {time.monotonic() - began:.1f} s")
            return EXIT_OK
        if time.monotonic() >= end:
            context.error(f"not whole again after {context.options.wait_ms / 1_000:g} s: {line}")
            return EXIT_NOT_REACHED
        time.sleep(PAUSE_S)
