"""One question to ha-crm and its answer, and what to do when there is none."""

from __future__ import annotations

import os
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SOCKET_VARIABLE = "HACLUSTER_AGENT_SOCKET"
SOCKET_DEFAULT = "/run/hacluster/agent.sock"

# Pacemaker's crm_exit codes, which agents compare with numbers.
EXIT_OK = 0
EXIT_ERROR = 1
EXIT_UNIMPLEMENTED = 3
EXIT_PERMISSION = 4
EXIT_USAGE = 64
EXIT_NO_INPUT = 66
EXIT_DISCONNECT = 102
EXIT_NO_SUCH = 105
EXIT_TIMEOUT = 124

RETRY_S = 5.0
ANSWER_S_MAX = 10.0
ANSWER_BYTES_MAX = 4 * 1024 * 1024


class Refused(Exception):
    """The command fails with `exit_code` and says `text`."""

    def __init__(self, exit_code: int, text: str) -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.text = text


def ask(
    request: Mapping[str, object], environ: Mapping[str, str], *, retry_s: float = RETRY_S
) -> dict[str, Any]:
    """Send one request; its answer. Raises Refused, with EXIT_DISCONNECT when nobody answers.

    ha-crm may be restarting, or without a DC: for `retry_s` it is tried again. All requests may be repeated
    but an arithmetic update, which is sent once.
    """
    path = environ.get(SOCKET_VARIABLE) or SOCKET_DEFAULT
    repeatable = request.get("command") != "update" or not _is_arithmetic(str(request.get("value")))
    until = time.monotonic() + retry_s
    answer: dict[str, Any] = {}
    pause_s = 0.02
    while True:
        sent = False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(ANSWER_S_MAX)
                connection.connect(path)
                sent = True
                answer = _exchange(connection, request)
            refused = _refused(answer)
        except OSError as error:
            refused = Refused(EXIT_DISCONNECT, f"ha-crm does not answer on {path}: {error}")
        if refused is None:
            return answer
        last = time.monotonic() + pause_s > until or (sent and not repeatable)
        if refused.exit_code != EXIT_DISCONNECT or last:
            raise refused
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.5)


def set_promotion_score(environ: Mapping[str, str], resource: str, score: int | None) -> str:
    """Set or (None) delete the promotion score of `resource` on this node; "" or why that failed.

    Under Pacemaker, where there is no socket of ours, its own crm_attribute is called.
    """
    if not environ.get(SOCKET_VARIABLE) and not os.path.exists(SOCKET_DEFAULT):
        return _by_command(environ, resource, score)
    request: dict[str, object] = {
        "command": "delete" if score is None else "update",
        "section": "status",
        "node": "",
        "name": promotion_attribute(resource),
        "resource": resource,
    }
    if score is not None:
        request["value"] = str(score)
    try:
        ask(request, environ)
    except Refused as refused:
        return "" if score is None and refused.exit_code == EXIT_NO_SUCH else refused.text
    return ""


def set_attribute(
    environ: Mapping[str, str], resource: str, name: str, value: str | None, dampen_ms: int
) -> str:
    """Set or (None) delete a transient attribute of this node; "" or why that failed.

    Under Pacemaker, where there is no socket of ours, its own attrd_updater is called.
    """
    if not environ.get(SOCKET_VARIABLE) and not os.path.exists(SOCKET_DEFAULT):
        what = ["-D"] if value is None else ["-v", value, "-d", f"{dampen_ms}ms"]
        return _run_command(environ, "attrd_updater", ["-n", name, *what])
    request: dict[str, object] = {
        "command": "delete" if value is None else "update",
        "section": "status",
        "node": "",
        "name": name,
        "resource": resource,
    }
    if value is not None:
        request |= {"value": value, "dampen_ms": dampen_ms}
    try:
        ask(request, environ)
    except Refused as refused:
        return "" if value is None and refused.exit_code == EXIT_NO_SUCH else refused.text
    return ""


def promotion_attribute(resource: str) -> str:
    """The transient attribute that holds a promotion score (Pacemaker's old name, which all know)."""
    return f"master-{resource}"


def fail(command: str, refused: Refused) -> int:
    """Say why a command failed; its exit code. Loud, since most agents ignore the exit code."""
    print(f"{command}: {refused.text}", file=sys.stderr)
    if refused.exit_code == EXIT_DISCONNECT:
        import syslog

        syslog.syslog(syslog.LOG_ERR, f"{command} {' '.join(sys.argv[1:])}: {refused.text}")
    return refused.exit_code


def _exchange(connection: socket.socket, request: Mapping[str, object]) -> dict[str, Any]:
    import json

    connection.sendall(json.dumps(request).encode() + b"\n")
    received = bytearray()
    while not received.endswith(b"\n"):
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError("the answer was cut off")
        received += chunk
        if len(received) > ANSWER_BYTES_MAX:
            raise ConnectionError(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
    answer = json.loads(received)
    if not isinstance(answer, dict):
        raise ConnectionError("the answer is not an object")
    return answer


def _refused(answer: Mapping[str, Any]) -> Refused | None:
    if answer.get("ok"):
        return None
    return Refused(int(answer.get("exit", EXIT_ERROR)), str(answer.get("error", "no reason given")))


def _is_arithmetic(value: str) -> bool:
    return "++" in value or "+=" in value


def _by_command(environ: Mapping[str, str], resource: str, score: int | None) -> str:
    what = ["-D"] if score is None else ["-v", str(score)]
    environ = {**environ, "OCF_RESOURCE_INSTANCE": resource}
    return _run_command(environ, "crm_attribute", [f"--promotion={resource}", *what])


def _run_command(environ: Mapping[str, str], name: str, arguments: list[str]) -> str:
    import subprocess

    command = os.path.join(environ.get("HA_SBIN_DIR") or "/usr/sbin", name)
    try:
        done = subprocess.run(
            [command, *arguments],
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"
