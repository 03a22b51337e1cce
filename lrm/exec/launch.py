"""Starting lrm-exec itself: what ha-lrm needs to know of it before there is a connection."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from hacluster.errors import Unavailable
from hacluster.owned_files import read_owned
from hacluster.paths import Paths

START_WITHIN_S: Final = 10.0
_START_AGAIN_S: Final = 3.0  # two at once do no harm: the second one leaves
_POLL_S: Final = 0.02
_FULL_S_MAX: Final = 3.0
_CREDENTIALS: Final = struct.Struct("3i")  # of SO_PEERCRED: pid, uid, gid
_PASSED_ON: Final = ("HACLUSTER_ROOT", "HACLUSTER_OCF_ROOTS", "TZ")


def cgroup_name(node: str, paths: Paths) -> str:
    """The node's folder below hacluster/; nodes of different roots on one machine must not share one."""
    if paths.root == Path("/"):
        return node
    return f"{node}-{hashlib.sha256(os.fsencode(paths.root)).hexdigest()[:8]}"


def import_environment() -> dict[str, str]:
    """An environment in which `python -m lrm.exec` finds this very code, from whatever directory."""
    root = str(Path(__file__).resolve().parents[2])
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {
        **passed,
        "PATH": os.defpath,
        "PYTHONPATH": root,
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
    }


def peer_pid(connection: socket.socket) -> int:
    """The process that listens at the other end. Raises OSError."""
    return _peer(connection)[0]


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user. Raises OSError."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    return pid, uid


def connect(path: Path) -> socket.socket | None:
    """A connection to a running lrm-exec, or None: none, or another user's that has the name.

    Raises BlockingIOError when it accepts nobody any more.
    """
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    client.setblocking(False)  # a full backlog would hold us up for as long as a hung lrm-exec lives
    try:
        client.connect(str(path))
        client.setblocking(True)
    except BlockingIOError:
        client.close()
        raise
    except OSError:
        client.close()
        return None
    if _peer(client)[1] not in (0, os.geteuid()):
        client.close()
        return None
    return client


def start(paths: Paths, node: str) -> None:
    """Start lrm-exec in a session of its own and return at once. It ends with our parent, the supervisor."""
    command = [sys.executable, "-P", "-m", "lrm.exec", "--root", str(paths.root), "--node", node]
    os.posix_spawn(
        sys.executable,
        [*command, "--supervisor", str(os.getppid())],
        import_environment(),
        file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)],
        setsid=True,
        setsigmask=(),
    )


def reap() -> None:
    """Take note of an lrm-exec of ours that has ended: the only child this process has."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue


def ensure_running(paths: Paths, node: str) -> socket.socket:
    """A connection, starting lrm-exec when there is none. Blocks; for the time before the event loop runs.

    One whose backlog stays full is hung, and killed: its agents live on, and the next one adopts them.
    Raises Unavailable with a remedy.
    """
    deadline_s = time.monotonic() + START_WITHIN_S
    started_s, full_since_s = float("-inf"), 0.0
    while (now_s := time.monotonic()) < deadline_s:
        try:
            client = connect(paths.lrm_exec_socket)
        except BlockingIOError:
            full_since_s = full_since_s or now_s
            if now_s - full_since_s > _FULL_S_MAX:
                _kill_hung(paths)
                full_since_s = 0.0
        else:
            if client is not None:
                return client
            if now_s - started_s > _START_AGAIN_S:
                start(paths, node)
                started_s = now_s
        time.sleep(_POLL_S)
    raise Unavailable(
        why=f"lrm-exec did not start within {START_WITHIN_S:.0f} s; see {paths.log / 'lrm-exec.log'}"
    )


def _kill_hung(paths: Paths) -> None:
    """End the lrm-exec that holds this node's lock."""
    with suppress(OSError, ValueError):
        pid = int(read_owned(paths.run / "lrm-exec.lock") or b"")
        pidfd = os.pidfd_open(pid)
        try:
            if b"lrm.exec" in Path(f"/proc/{pid}/cmdline").read_bytes():
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)
