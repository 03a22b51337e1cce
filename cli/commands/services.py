"""`hacli cluster start|stop|enable|run|copy|health …`: the services and files of nodes."""

from __future__ import annotations

import difflib
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cli import elsewhere, node_checks
from cli.commands.changes import this_node, view_of
from cli.commands.configure import property_value
from cli.context import EXIT_FAILED, EXIT_OK, Context, UsageError
from cli.grammar.words import boolean_of
from crm.cib import codec
from hacluster.digits import is_count
from hacluster.errors import HaError, InvalidRequest

TARGET: Final = "hacluster.target"
SYSTEMCTL_WITHIN_S: Final = 180
RUN_WITHIN_S: Final = 600
STARTUP_WITHIN_S: Final = 30
STARTUP_PAUSE_S: Final = 0.5
LEAVE_MS_MIN: Final = 120_000


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


def start(context: Context, words: Sequence[str]) -> int:
    """`start [NODE…|--all]`."""
    return _on_nodes(context, words, "start", _start)


def stop(context: Context, words: Sequence[str]) -> int:
    """`stop [NODE…|--all]`: resources move away first, then the node leaves, then the services stop."""
    return _on_nodes(context, words, "stop", _stop)


def restart(context: Context, words: Sequence[str]) -> int:
    """`restart [NODE…|--all]`: one node after the other."""
    return _on_nodes(context, words, "restart", _restart)


def enable(context: Context, words: Sequence[str]) -> int:
    """`enable [NODE…|--all]`: the services begin with each boot."""
    return _on_nodes(context, words, "enable", lambda _context: _systemctl("enable"))


def disable(context: Context, words: Sequence[str]) -> int:
    """`disable [NODE…|--all]`: they do not any more; what runs goes on."""
    return _on_nodes(context, words, "disable", lambda _context: _systemctl("disable"))


def wait_for_startup(context: Context, words: Sequence[str]) -> int:
    """`wait_for_startup [SECONDS]`: until this node is a member and somebody decides; else status 1."""
    if len(words) > 1 or (words and not is_count(words[0])):
        raise UsageError(what="a number of seconds is needed", usage="cluster wait_for_startup [SECONDS]")
    until = time.monotonic() + (int(words[0]) if words else STARTUP_WITHIN_S)
    while True:
        missing = _missing(context)
        if not missing:
            return EXIT_OK
        if time.monotonic() >= until:
            context.error(f"the cluster has not started: {missing}")
            return EXIT_FAILED
        time.sleep(STARTUP_PAUSE_S)


def _missing(context: Context) -> str:
    """What keeps this node from having started; empty when nothing does."""
    try:
        status = context.client.status()
    except HaError as error:
        return str(error)
    if not any(one.name == status.node and one.state == "member" for one in status.nodes):
        return "this node is no member"
    return "" if status.dc else "there is no DC"


def copy(context: Context, words: Sequence[str]) -> int:
    """`copy FILE [NODE…]`: to the same place on the nodes named, or on all others."""
    if not words:
        raise UsageError(what="a file is needed", usage="cluster copy FILE [NODE…]")
    path = Path(words[0]).resolve()
    data, mode = path.read_bytes(), path.stat().st_mode & 0o777
    status = EXIT_OK
    for node in elsewhere.others(context, words[1:]):
        try:
            elsewhere.store(context, node, str(path), data, mode=mode)
        except elsewhere.NotReached as error:
            context.error(str(error))
            status = EXIT_FAILED
            continue
        context.print(f"{node}: written")
    return status


def diff(context: Context, words: Sequence[str]) -> int:
    """`diff FILE [NODE…]`: how it differs from this node's; status 1 when it does."""
    if not words:
        raise UsageError(what="a file is needed", usage="cluster diff FILE [NODE…]")
    path = Path(words[0]).resolve()
    return differences(context, str(path), path.read_bytes(), words[1:])


def differences(context: Context, path: str, own: bytes, nodes: Sequence[str]) -> int:
    """Print how a file of other nodes differs from `own`. Status 1 when one does, or cannot be had."""
    status = EXIT_OK
    for node in elsewhere.others(context, nodes):
        try:
            theirs = elsewhere.fetch(context, node, path)
        except elsewhere.NotReached as error:
            context.error(str(error))
            status = EXIT_FAILED
            continue
        if theirs == own:
            context.info(f"{node} has the same")
            continue
        status = EXIT_FAILED
        old, new = (one.decode(errors="replace").splitlines() for one in (own, theirs))
        lines = list(difflib.unified_diff(old, new, "here", node, lineterm=""))
        for line in lines or [f"{node}: not the same bytes"]:
            context.print(line)
    return status


def run(context: Context, words: Sequence[str]) -> int:
    """`run COMMAND [NODE…]`: a command line of the shell, on the nodes named or on all others."""
    if not words:
        raise UsageError(what="a command is needed", usage="cluster run COMMAND [NODE…]")
    status = EXIT_OK
    for node in elsewhere.others(context, words[1:]):
        try:
            answer = elsewhere.run(context, node, ["sh", "-c", words[0]], within_s=RUN_WITHIN_S)
        except elsewhere.NotReached as error:
            context.error(str(error))
            status = EXIT_FAILED
            continue
        elsewhere.relay(context, answer)
        if answer.status:
            context.error(f"{node}: exit status {answer.status}")
            status = EXIT_FAILED
    return status


def _on_nodes(context: Context, words: Sequence[str], name: str, here: Callable[[Context], None]) -> int:
    """Here without words; else one node after the other, this one last, until one fails."""
    for word in words:
        if word.startswith("-") and word != "--all":
            raise UsageError(what=f"{word} is not known here", usage=f"cluster {name} [NODE…|--all]")
    if not words:
        here(context)
        return EXIT_OK
    me = this_node(context)
    nodes = sorted(elsewhere.chosen(context, words), key=lambda node: node == me)
    within_s = 2 * (max(context.options.wait_ms, LEAVE_MS_MIN) // 1_000 + SYSTEMCTL_WITHIN_S)
    for index, node in enumerate(nodes):
        try:
            if node == me:
                here(context)
            else:
                answer = elsewhere.hacli(context, node, ["cluster", name], within_s=within_s)
                elsewhere.relay(context, answer)
                answer.checked(f"hacli cluster {name}")
        except HaError:
            if left := nodes[index + 1 :]:
                context.warning(f"{name}: left as they are: {', '.join(left)}")
            raise
        context.print(f"{node}: {name} is done")
    return EXIT_OK


def _start(_context: Context) -> None:
    _systemctl("start")


def start_enabled(context: Context) -> None:
    """This node's services, now and at each boot; said where that cannot be done. Raises InvalidRequest."""
    if not _systemd_runs():
        context.info("systemd does not run here: start the services, or `python -m hacluster.supervisor`")
        return
    words = ["systemctl", "enable", "--now", TARGET, "ha-lrm", "ha-messaging", "ha-crm"]
    done = subprocess.run(words, check=False, timeout=SYSTEMCTL_WITHIN_S, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise InvalidRequest(what=f"{' '.join(words)}: status {done.returncode}", remedy="see its message")


def _stop(context: Context) -> None:
    context.client.stop_node(max(context.options.wait_ms, LEAVE_MS_MIN))
    context.info("this node has left the cluster; its resources are stopped or moved")
    if _systemd_runs():
        _systemctl("stop")
    else:
        context.info("systemd does not run here: now end the services, or their supervisor, with SIGTERM")


def _restart(context: Context) -> None:
    if not _systemd_runs():
        _systemctl("restart")  # says what to do instead
    _stop(context)
    _start(context)


def health(context: Context, words: Sequence[str]) -> int:
    """`health`: status 0 when all is well; else what is not, one line each."""
    if words:
        raise UsageError(what="health takes no arguments", usage="cluster health")
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
    name = status.node
    if any(one.name == name and one.state == "left" for one in status.nodes):
        return [f"{name} is STOPPED: it has left the cluster (`hacli cluster start`); ask another node"]
    found: list[str] = []
    if not status.dc:
        found.append("there is no DC")
    if not status.quorate:
        found.append("this partition has no quorum")
    cib = codec.parse(status.cib_xml, source="the cluster's CIB")
    if boolean_of(property_value(cib, "maintenance-mode") or "false"):
        found.append("maintenance mode: nothing is started, stopped or monitored (`hacli maintenance off`)")
    shown = view_of(cib)
    found += [f"node {one.name}: {one.state}" for one in shown.nodes() if one.state != "online"]
    found += [
        f"node {one.name}: ha-lrm is not connected"
        for one in status.nodes
        if one.state == "member" and not one.lrm
    ]
    found += [str(one) for one in shown.failed_actions()]
    found += [f"link {one.link} to {one.peer}: {one.state}" for one in links.links if one.state != "up"]
    found += [f"ping {one.target}: SILENT" for one in links.pings if not one.alive]
    found += list(status.notices)
    members = {one.name for one in status.nodes if one.state == "member"}
    found += node_checks.problems(context.paths, status.node, members)
    return found
