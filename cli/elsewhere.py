"""Commands on other nodes, by ssh and the caller's own keys: never a question, never without an end."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hacluster.errors import ErrorCode, HaError, InvalidRequest

if TYPE_CHECKING:
    from cli.context import Context

CONNECT_WITHIN_S: Final = 10
COMMAND_WITHIN_S: Final = 60
ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024
SSH_FAILED: Final = 255
_NOT_FOUND: Final = 127
_OPTIONS: Final = (
    *("-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_WITHIN_S}"),
    *("-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"),
)


class NotReached(HaError):
    """A node could not be asked by ssh; nothing was done there, or its end was not waited for."""

    code = ErrorCode.UNREACHABLE
    node: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.node}: {self.what}" + (f" ({self.remedy})" if self.remedy else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a command on another node ended."""

    node: str
    status: int
    out: bytes
    err: str

    def checked(self, what: str) -> bytes:
        """What it printed. Raises NotReached when it failed."""
        if self.status == 0:
            return self.out
        lines = self.err.strip().splitlines() or [f"status {self.status}"]
        raise NotReached(node=self.node, what=f"{what}: {lines[-1].removeprefix('ERROR: ')}")


def members(context: Context) -> dict[str, str]:
    """The nodes of cluster.toml with their first addresses. Raises HaError when there is no such file."""
    from hacluster import settings

    return {
        one.name: one.addresses[0] if one.addresses else ""
        for one in settings.load(context.paths.cluster_toml).nodes
    }


def chosen(context: Context, words: Sequence[str], *, everybody: Sequence[str] = ("--all",)) -> list[str]:
    """The nodes that are named, each once; all of cluster.toml for one of `everybody`.

    Raises InvalidRequest for a name that cluster.toml does not have.
    """
    names = [name for word in words for name in word.replace(",", " ").split()]
    if not names:
        return []
    known = members(context)
    wanted = [one for name in names for one in (known if name in everybody else (name,))]
    for name in wanted:
        if name not in known:
            raise InvalidRequest(
                what=f"there is no node {name!r} in {context.paths.cluster_toml}",
                remedy="it has " + ", ".join(known),
            )
    return list(dict.fromkeys(wanted))


def others(context: Context, words: Sequence[str]) -> list[str]:
    """The nodes that are named without this one; all others when none is."""
    from cli.commands.changes import this_node

    me = this_node(context)
    return [name for name in chosen(context, words or ["--all"]) if name != me]


def run(
    context: Context,
    node: str,
    words: Sequence[str],
    *,
    within_s: float = COMMAND_WITHIN_S,
    data: bytes = b"",
) -> Answer:
    """Run a program on another node, its arguments as they are. Raises NotReached."""
    if shutil.which("ssh") is None:
        raise NotReached(
            node=node,
            what="ssh is not installed here",
            remedy=f"install openssh-client, or run `{shlex.join(words)}` on {node} itself",
        )
    command = ["ssh", *_OPTIONS, *_target(context, node), shlex.join(words)]
    try:
        done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=within_s)
    except subprocess.TimeoutExpired:
        raise NotReached(
            node=node, what=f"no answer within {within_s:g} s", remedy=f"look at it there: `ssh {node}`"
        ) from None
    err = done.stderr.decode(errors="replace")
    if done.returncode == SSH_FAILED:
        lines = [line for line in err.splitlines() if line.strip()]
        raise NotReached(
            node=node,
            what=f"ssh: {lines[-1].strip() if lines else 'no connection'}",
            remedy=f"`ssh {node} true` has to work without a question: a key, and its host key known",
        )
    if done.returncode == _NOT_FOUND:
        raise NotReached(node=node, what=f"{words[0]} is not in the PATH of ssh there")
    if len(done.stdout) > ANSWER_BYTES_MAX:
        raise NotReached(node=node, what=f"more than {ANSWER_BYTES_MAX} bytes")
    return Answer(node=node, status=done.returncode, out=done.stdout, err=err)


def hacli(context: Context, node: str, words: Sequence[str], *, within_s: float = COMMAND_WITHIN_S) -> Answer:
    """Run hacli there, with the options of this run that are about how, not where. Raises NotReached."""
    options = context.options
    given = [word for word, on in (("-F", options.force), ("--safe", options.safe)) if on]
    root = ["--root", options.root] if options.root else []
    return run(context, node, ["hacli", *given, *root, *words], within_s=within_s)


def fetch(context: Context, node: str, path: str) -> bytes:
    """A file of another node. Raises NotReached."""
    return run(context, node, ["cat", "--", path]).checked(path)


def store(
    context: Context, node: str, path: str, data: bytes, *, mode: int = 0o644, private: bool = False
) -> None:
    """Put a file on another node: written beside, then renamed. Raises NotReached.

    `private`: so is its folder, which is made when it is missing.
    """
    name, new = shlex.quote(path), shlex.quote(f"{path}.new")
    folder = f'mkdir -p -- "$(dirname -- {name})" && ' if private else ""
    script = f"umask 077 && {folder}cat > {new} && chmod {mode:o} {new} && mv -f -- {new} {name}"
    run(context, node, ["sh", "-c", script], data=data).checked(path)


def relay(context: Context, answer: Answer) -> None:
    """Print what was said there, each line after the node's name."""
    for line in answer.out.decode(errors="replace").splitlines():
        context.print(f"{answer.node}: {line}")
    context.out.flush()
    for line in answer.err.splitlines():
        mark, colon, rest = line.partition(": ")
        say = {"WARNING": context.warning, "INFO": context.info, "ERROR": context.error}.get(mark)
        if say is not None and colon:
            say(f"{answer.node}: {rest}")
        else:
            context.err.write(f"{answer.node}: {line}\n")


def _target(context: Context, node: str) -> list[str]:
    """The name where it is known, else the address of cluster.toml under that name."""
    if not node or node.startswith("-"):
        raise InvalidRequest(what=f"{node!r} is not the name of a node")
    try:
        socket.getaddrinfo(node, None)
    except (OSError, UnicodeError):
        try:
            address = members(context).get(node, "")
        except HaError:
            address = ""
        if address:
            return ["-o", f"HostKeyAlias={node}", "--", address]
    return ["--", node]
