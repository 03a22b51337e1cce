"""`hacli cluster start|stop|restart|health`: this node's services, where systemd runs them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cli import node_checks
from cli.commands.changes import view
from cli.context import EXIT_FAILED, EXIT_OK, Context, UsageError
from hacluster.errors import HaError, InvalidRequest

TARGET: Final = "hacluster.target"
SYSTEMCTL_WITHIN_S: Final = 180


def _systemd_runs() -> bool:
    return shutil.which("systemctl") is not None and Path("/run/systemd/system").is_dir()


def _systemctl(action: str) -> None:
    if not _systemd_runs():
        raise InvalidRequest(
            what=f"systemd does not run here, so nothing can {action} the services",
            remedy="where `python -m hacluster.supervisor` runs them, start it, or end it with SIGTERM",
        )
    done = subprocess.run(
        ["systemctl", action, TARGET], check=False, timeout=SYSTEMCTL_WITHIN_S, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        raise InvalidRequest(
            what=f"systemctl {action} {TARGET}: status {done.returncode}", remedy="see its message"
        )


def _no_words(words: Sequence[str], name: str) -> None:
    if words:
        raise UsageError(
            what="other nodes are not reached from here",
            usage=f"cluster {name}, on the node itself: `ssh {words[0]} hacli cluster {name}`",
        )


def start(_context: Context, words: Sequence[str]) -> int:
    """`start`: the services of this node."""
    _no_words(words, "start")
    _systemctl("start")
    return EXIT_OK


def start_enabled(context: Context) -> None:
    """This node's services, now and at each boot; said where that cannot be done. Raises InvalidRequest."""
    if not _systemd_runs():
        context.info("systemd does not run here: start the services, or `python -m hacluster.supervisor`")
        return
    words = ["systemctl", "enable", "--now", TARGET, "ha-lrm", "ha-messaging", "ha-crm"]
    done = subprocess.run(words, check=False, timeout=SYSTEMCTL_WITHIN_S, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise InvalidRequest(what=f"{' '.join(words)}: status {done.returncode}", remedy="see its message")


def stop(context: Context, words: Sequence[str]) -> int:
    """`stop`: resources move away first, then the node leaves, then the services stop."""
    _no_words(words, "stop")
    context.client.stop_node(max(context.options.wait_ms, 120_000))
    context.info("this node has left the cluster; its resources are stopped or moved")
    if _systemd_runs():
        _systemctl("stop")
    else:
        context.info("systemd does not run here: now end the services, or their supervisor, with SIGTERM")
    return EXIT_OK


def restart(context: Context, words: Sequence[str]) -> int:
    """`restart`."""
    _no_words(words, "restart")
    if not _systemd_runs():
        _systemctl("restart")  # says what to do instead
    stop(context, ())
    return start(context, ())


def health(context: Context, words: Sequence[str]) -> int:
    """`health`: status 0 when all is well; else what is not, one line each."""
    _no_words(words, "health")
    problems = list(_problems(context))
    if context.options.structured:
        context.emit("health", {"healthy": not problems, "problems": problems})
        return EXIT_FAILED if problems else EXIT_OK
    for problem in problems:
        context.print(problem)
    if not problems:
        context.print("the cluster is well")
    return EXIT_FAILED if problems else EXIT_OK


def _problems(context: Context) -> list[str]:
    try:
        status = context.client.status()
        links = context.client.links()
    except HaError as error:
        return [str(error)]
    found: list[str] = []
    if not status.dc:
        found.append("there is no DC")
    if not status.quorate:
        found.append("this partition has no quorum")
    shown = view(context)
    found += [f"node {one.name}: {one.state}" for one in shown.nodes() if one.state != "online"]
    found += [
        f"node {one.name}: ha-lrm is not connected"
        for one in status.nodes
        if one.state == "member" and not one.lrm
    ]
    found += [str(one) for one in shown.failed_actions()]
    found += [f"link {one.link} to {one.peer}: {one.state}" for one in links.links if one.state != "up"]
    found += list(status.notices)
    members = {one.name for one in status.nodes if one.state == "member"}
    found += node_checks.problems(context.paths, status.node, members)
    return found
