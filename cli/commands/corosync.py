"""`hacli corosync`: corosync.conf of the nodes, where corosync is the cluster's backend."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cli import elsewhere, user_options
from cli.commands.services import differences
from cli.context import EXIT_FAILED, EXIT_OK, Context, UsageError
from cli.grammar import corosync_text
from cli.workspace import write_atomically
from hacluster.digits import is_count
from hacluster.errors import HaError, InvalidRequest

TOOL_WITHIN_S: Final = 30
LOG_LINES: Final = 1_000
LOG_BYTES_MAX: Final = 8 * 1024 * 1024
TOOL: Final = "corosync-cfgtool"
_STATUS: Final = {
    "ring": (TOOL, "-s"),
    "quorum": ("corosync-quorumtool", "-s"),
    "qdevice": ("corosync-qdevice-tool", "-sv"),
    "qnetd": ("corosync-qnetd-tool", "-lv"),
    "cpg": ("corosync-cpgtool",),
}
_PARTS: Final = {
    "corosync-qdevice-tool": "corosync-qdevice",
    "corosync-qnetd-tool": "corosync-qnetd, on the machine that gives its vote",
}


def conf_path(context: Context) -> Path:
    """corosync.conf of this node."""
    return context.paths.root / "etc/corosync/corosync.conf"


def conf_text(context: Context) -> str:
    """What stands in it. Raises InvalidRequest."""
    path = conf_path(context)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidRequest(
            what=f"{path} does not exist: corosync does not carry this cluster",
            remedy="the builtin backend's settings are in cluster.toml; see `hacli cluster links`",
        ) from None
    except UnicodeDecodeError as error:
        raise InvalidRequest(what=f"{path} is not UTF-8: {error}") from None


def show(context: Context, words: Sequence[str]) -> int:
    """`show`: the file."""
    if words:
        raise UsageError(what="show takes no arguments", usage="corosync show")
    context.print(conf_text(context), end="")
    return EXIT_OK


def get(context: Context, words: Sequence[str]) -> int:
    """`get PATH`: its values, one a line; status 1 when there is none."""
    if len(words) != 1:
        raise UsageError(what="name one path", usage="corosync get PATH (as totem.cluster_name)")
    found = corosync_text.get(conf_text(context), words[0], source=str(conf_path(context)))
    for one in found:
        context.print(one)
    return EXIT_OK if found else EXIT_FAILED


def set(context: Context, words: Sequence[str]) -> int:  # noqa: A001 (the command's name)
    """`set PATH VALUE`: in this node's file; the other nodes' have to be made the same."""
    if len(words) != 2:
        raise UsageError(what="a path and a value are needed", usage="corosync set PATH VALUE")
    path = conf_path(context)
    changed = corosync_text.put(conf_text(context), words[0], words[1], source=str(path))
    write_atomically(path, changed.encode())
    context.info("put the same on the other nodes (`hacli corosync push`), then `hacli corosync reload`")
    return EXIT_OK


def edit(context: Context, words: Sequence[str]) -> int:
    """`edit`: this node's file in $EDITOR; what cannot be read by corosync is not written."""
    if words:
        raise UsageError(what="edit takes no arguments", usage="corosync edit")
    if not sys.stdin.isatty():
        raise InvalidRequest(what="edit needs a terminal", remedy="use `corosync set PATH VALUE`")
    path, text = conf_path(context), conf_text(context)
    with tempfile.NamedTemporaryFile("w+", suffix=".conf", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        changed = _edited(context, Path(file.name))
    if not changed:
        return EXIT_FAILED
    if changed == text:
        context.info("nothing was changed")
        return EXIT_OK
    write_atomically(path, changed.encode())
    context.info("put the same on the other nodes (`hacli corosync push`), then `hacli corosync reload`")
    return EXIT_OK


def _edited(context: Context, path: Path) -> str:
    """What the editor leaves that can be read; empty when it is given up."""
    editor = user_options.value("editor") or os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    while True:
        subprocess.run([*shlex.split(editor), str(path)], check=False, timeout=24 * 3600)
        try:
            changed = path.read_text(encoding="utf-8")
            corosync_text.check(changed, source="the edited text")
            return changed
        except (HaError, UnicodeDecodeError) as error:
            context.error(str(error))
            if not context.confirm("Edit it again?"):
                return ""


def diff(context: Context, words: Sequence[str]) -> int:
    """`diff [NODE…]`: how other nodes' files differ from this one's; status 1 when one does."""
    return differences(context, str(conf_path(context)), conf_text(context).encode(), words)


def push(context: Context, words: Sequence[str]) -> int:
    """`push [NODE…]`: this node's file becomes theirs, unnamed all others'."""
    text, path = conf_text(context), str(conf_path(context))
    corosync_text.check(text, source=path)
    status = EXIT_OK
    for node in elsewhere.others(context, words):
        try:
            elsewhere.store(context, node, path, text.encode())
        except elsewhere.NotReached as error:
            context.error(str(error))
            status = EXIT_FAILED
            continue
        context.print(f"{node}: written")
    if status == EXIT_OK:
        context.info("now `hacli corosync reload`")
    return status


def pull(context: Context, words: Sequence[str]) -> int:
    """`pull NODE`: that node's file becomes this one's."""
    if len(words) != 1:
        raise UsageError(what="name the node", usage="corosync pull NODE")
    (node,) = elsewhere.others(context, words) or [""]
    if not node:
        raise InvalidRequest(what=f"{words[0]} is this node")
    text = _text_of(context, node)
    corosync_text.check(text, source=f"{conf_path(context)} of {node}")
    conf_path(context).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(conf_path(context), text.encode())
    context.info("now `hacli corosync reload`")
    return EXIT_OK


def _text_of(context: Context, node: str) -> str:
    return elsewhere.fetch(context, node, str(conf_path(context))).decode(errors="replace")


def log(context: Context, words: Sequence[str]) -> int:
    """`log [COUNT]`: the end of corosync's own log: the file that corosync.conf names, else the journal."""
    if len(words) > 1 or (words and not is_count(words[0])):
        raise UsageError(what="a number of lines is needed", usage="corosync log [COUNT]")
    count = int(words[0]) if words else LOG_LINES
    named = corosync_text.get(conf_text(context), "logging.logfile", source=str(conf_path(context)))
    for name in named:
        path = context.paths.root / name.lstrip("/")
        if path.exists():
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - LOG_BYTES_MAX))
                lines = file.read().decode(errors="replace").splitlines()
            for line in lines[-count:] if count else ():
                context.print(line)
            return EXIT_OK
    if shutil.which("journalctl") is None:
        raise InvalidRequest(what="corosync.conf names no logfile that is there, and there is no journal")
    return _program(context, "journalctl", "-u", "corosync", "--no-pager", "-o", "short-iso", f"-n{count}")


def reload(context: Context, words: Sequence[str]) -> int:
    """`reload`: corosync reads its file again, on all nodes."""
    if words:
        raise UsageError(what="reload takes no arguments", usage="corosync reload")
    return _tool(context, TOOL, "-R")


def status(context: Context, words: Sequence[str]) -> int:
    """`status [ring|quorum|qdevice|qnetd|cpg]`: as corosync's own tools say it."""
    what = words[0] if words else "ring"
    if len(words) > 1 or what not in _STATUS:
        raise UsageError(what="that is not shown here", usage=f"corosync status [{'|'.join(_STATUS)}]")
    return _tool(context, *_STATUS[what])


def _tool(context: Context, tool: str, *options: str) -> int:
    if shutil.which(tool) is None:
        raise InvalidRequest(
            what=f"{tool} is not installed here", remedy=f"it is part of {_PARTS.get(tool, 'corosync')}"
        )
    return _program(context, tool, *options)


def _program(context: Context, *words: str) -> int:
    try:
        done = subprocess.run(
            words, capture_output=True, check=False, timeout=TOOL_WITHIN_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise InvalidRequest(what=f"{' '.join(words)} does not end within {TOOL_WITHIN_S} s") from None
    context.print((done.stdout + done.stderr).decode(errors="replace"), end="")
    return EXIT_OK if done.returncode == 0 else EXIT_FAILED
