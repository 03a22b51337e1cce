"""`hacli corosync`: corosync.conf of this node, where corosync is the cluster's backend."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cli.context import EXIT_FAILED, EXIT_OK, Context, UsageError
from cli.grammar import corosync_text
from cli.workspace import write_atomically
from hacluster.errors import InvalidRequest

TOOL_WITHIN_S: Final = 30
TOOL: Final = "corosync-cfgtool"


def _path(context: Context) -> Path:
    return context.paths.root / "etc/corosync/corosync.conf"


def _text(context: Context) -> str:
    path = _path(context)
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
    context.print(_text(context), end="")
    return EXIT_OK


def get(context: Context, words: Sequence[str]) -> int:
    """`get PATH`: its values, one a line; status 1 when there is none."""
    if len(words) != 1:
        raise UsageError(what="name one path", usage="corosync get PATH (as totem.cluster_name)")
    found = corosync_text.get(_text(context), words[0], source=str(_path(context)))
    for one in found:
        context.print(one)
    return EXIT_OK if found else EXIT_FAILED


def set(context: Context, words: Sequence[str]) -> int:  # noqa: A001 (the command's name)
    """`set PATH VALUE`: in this node's file; the other nodes' have to be made the same."""
    if len(words) != 2:
        raise UsageError(what="a path and a value are needed", usage="corosync set PATH VALUE")
    path = _path(context)
    changed = corosync_text.put(_text(context), words[0], words[1], source=str(path))
    write_atomically(path, changed.encode())
    context.info(f"put the same {path} on the other nodes, then `hacli corosync reload` on one of them")
    return EXIT_OK


def reload(context: Context, words: Sequence[str]) -> int:
    """`reload`: corosync reads its file again, on all nodes."""
    if words:
        raise UsageError(what="reload takes no arguments", usage="corosync reload")
    return _tool(context, "-R")


def status(context: Context, words: Sequence[str]) -> int:
    """`status`: corosync's links as its own tool says them."""
    if words not in ((), ("ring",)):
        raise UsageError(
            what="only links are shown here (votes: `hacli cluster quorum`)", usage="corosync status [ring]"
        )
    return _tool(context, "-s")


def _tool(context: Context, option: str) -> int:
    if shutil.which(TOOL) is None:
        raise InvalidRequest(what=f"{TOOL} is not installed here", remedy="it is part of corosync")
    try:
        done = subprocess.run(
            [TOOL, option], capture_output=True, check=False, timeout=TOOL_WITHIN_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise InvalidRequest(what=f"{TOOL} {option} does not end within {TOOL_WITHIN_S} s") from None
    context.print((done.stdout + done.stderr).decode(errors="replace"), end="")
    return EXIT_OK if done.returncode == 0 else EXIT_FAILED
