"""The host's side: import our agents once, then fork a child for each action and tell how it ended."""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from lrm.host.handle import REQUEST_BYTES_MAX

Entry = Callable[[str, str, Mapping[str, str]], int]
"""(type of the agent, action, its environment) -> OCF exit code."""

_CRASHED: Final = 1
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD, signal.SIGHUP)


def serve(control: socket.socket, entry: Entry) -> None:
    """Fork for each request until lrm-exec closes its end. Children outlive us: lrm-exec is their reaper."""
    wake_read, wake_write = socket.socketpair()
    for end in (wake_read, wake_write):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake_write.fileno(), warn_on_full_buffer=False)
    gc.collect()
    gc.freeze()
    _say(control, ["ready"])

    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == wake_read.fileno():
                wake_read.recv(4_096)
                _reap(control)
            elif not _serve_one(control, (wake_read, wake_write), entry):
                return


def _serve_one(control: socket.socket, others: tuple[socket.socket, ...], entry: Entry) -> bool:
    packet, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES_MAX + 1, 2)
    if not packet:
        return False
    request: dict[str, Any] = json.loads(packet)
    try:
        pid = os.fork()
    except OSError:
        pid = -1
    if pid == 0:
        signal.set_wakeup_fd(-1)
        control.close()
        for other in others:
            other.close()
        _child(request, descriptors, entry)
    for descriptor in descriptors:
        os.close(descriptor)
    _say(control, ["forked", request["token"], max(pid, 0)])
    return True


def _child(request: dict[str, Any], descriptors: list[int], entry: Entry) -> NoReturn:
    """What an executed agent would find (session, signals, descriptors, environment), then the action."""
    code = _CRASHED
    try:
        os.setsid()
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        if request["cgroup"]:
            group = Path(request["cgroup"])
            group.mkdir(parents=True, exist_ok=True)
            (group / "cgroup.procs").write_text("0")
        for source, target in zip(descriptors, (1, 2), strict=True):
            os.dup2(source, target)
            os.close(source)
        os.environ.clear()
        os.environ.update(request["env"])
        code = entry(request["agent"], request["action"], request["env"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else _CRASHED
    except BaseException:
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code & 0xFF)


def _flush() -> None:

    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            continue  # nobody reads any more


def _reap(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say(control, ["exited", pid, status])


def _say(control: socket.socket, message: list[str | int]) -> None:
    try:
        control.sendall(json.dumps(message).encode())
    except OSError:
        os._exit(0)  # lrm-exec is gone; it is the one that knows what to do with our children
