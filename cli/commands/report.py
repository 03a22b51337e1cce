"""`hacli report`: what others need to help, in one tar file: configuration, state and logs of this node.

Secrets are removed: keys are not taken, values of parameters named like secrets are hidden in
the CIB and in logs. What could not be had is noted in the file `problems`.
"""

from __future__ import annotations

import io
import os
import platform
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from cli.commands.changes import read, view_of
from cli.context import EXIT_OK, Context, UsageError
from cli.grammar.show import show
from cli.redaction import redacted, without_secrets
from crm.cib import codec
from hacluster import VERSION
from hacluster.errors import HaError, InvalidRequest

_USAGE: Final = "report [-f FROM] [-t TO] [DEST]"
LOG_BYTES_MAX: Final = 8 * 1024 * 1024
JOURNAL_WITHIN_S: Final = 60
UNITS: Final = ("ha-messaging", "ha-crm", "ha-lrm")


def report(context: Context, words: Sequence[str]) -> int:
    """`report [-f FROM] [-t TO] [DEST]`: times as 2026-01-31, "2026-01-31 12:30" or 2h (ago); DEST."""
    start_s, end_s, target = _words(words)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    node = context.options.node or os.uname().nodename
    path = Path(f"{target or f'hacluster-report-{node}-{stamp}'}.tar.gz")
    if path.exists() and not context.options.force:
        raise InvalidRequest(what=f"{path} exists", remedy="choose another name, or use -F")
    name = path.name.removesuffix(".tar.gz")
    problems: list[str] = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
        for member, text in _members(context, start_s, end_s, problems):
            _add(tar, f"{name}/{member}", text)
        _add(tar, f"{name}/problems", "".join(f"{one}\n" for one in problems))
    for problem in problems:
        context.warning(problem)
    context.print(str(path))
    return EXIT_OK


def _words(words: Sequence[str]) -> tuple[int, int, str]:
    rest, names = list(words), []
    times = {"-f": 0, "-t": int(time.time())}
    while rest:
        word = rest.pop(0)
        if word in times:
            if not rest:
                raise UsageError(what=f"{word} needs a time", usage=_USAGE)
            times[word] = moment(rest.pop(0))
        elif word in ("-n", "--nodes"):
            names_of = " ".join(rest[:1]) or "NODE"
            raise InvalidRequest(
                what="a report is about the node that it is made on",
                remedy=f"`ssh {names_of.split()[0]} hacli report`, and so on each of them",
            )
        elif word.startswith("-"):
            raise UsageError(what=f"{word} is not known here", usage=_USAGE)
        else:
            names.append(word)
    if len(names) > 1:
        raise UsageError(what="name one destination", usage=_USAGE)
    return times["-f"], times["-t"], names[0] if names else ""


def moment(text: str) -> int:
    """Seconds since 1970 of a local date, date and time, or a time ago. Raises UsageError."""
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"):
        try:
            return int(time.mktime(time.strptime(text, form)))
        except (ValueError, OverflowError):
            continue
    from cli.options import duration_ms

    return int(time.time()) - duration_ms(text, text) // 1_000


def _add(tar: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode(errors="replace")
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(data), int(time.time()), 0o600
    tar.addfile(member, io.BytesIO(data))


def _members(context: Context, start_s: int, end_s: int, problems: list[str]) -> Iterator[tuple[str, str]]:
    parts: tuple[tuple[str, Callable[[], str]], ...] = (
        ("cib.xml", lambda: codec.render(without_secrets(read(context)))),
        ("configuration.crm", lambda: show(without_secrets(read(context)))),
        ("status.txt", lambda: _status(context)),
        ("events.txt", lambda: _output(context, "events")),
        ("commits.txt", lambda: _output(context, "config")),
        ("links.txt", lambda: _links(context)),
        ("cluster.toml", lambda: redacted(context.paths.cluster_toml.read_text())),
        ("system.txt", _system),
    )
    for name, make in parts:
        if context.offline and name in ("commits.txt", "links.txt", "events.txt"):
            continue
        try:
            yield name, make()
        except (HaError, OSError) as error:
            problems.append(f"{name}: {error}")
    yield from logs(context, start_s, end_s, problems)


def _status(context: Context) -> str:
    shown = view_of(read(context))
    return "\n".join([*shown.node_lines(), *shown.resource_lines(), *map(str, shown.failed_actions()), ""])


def _output(context: Context, what: str) -> str:
    """What `history events` or `history config` would print."""
    from cli.commands import events, history

    out = io.StringIO()
    before, context.out = context.out, out
    try:
        (events.events if what == "events" else history.config)(context, ())
    finally:
        context.out = before
    return redacted(out.getvalue())


def _links(context: Context) -> str:
    from google.protobuf.json_format import MessageToJson

    return str(MessageToJson(context.client.links(), preserving_proto_field_name=True))


def _system() -> str:
    facts = {
        "hacluster": VERSION,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "node": os.uname().nodename,
        "time": time.strftime("%F %T %Z"),
    }
    return "".join(f"{name}: {value}\n" for name, value in facts.items())


def logs(context: Context, start_s: int, end_s: int, problems: list[str]) -> Iterator[tuple[str, str]]:
    """Files below the root and in /var/log/hacluster (their ends), and the journal where there is one."""
    root = context.paths.root
    for path in sorted({*root.glob("*.log"), *(root / "var/log/hacluster").glob("*.log")}):
        try:
            if path.stat().st_mtime < start_s:
                continue
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - LOG_BYTES_MAX))
                yield f"logs/{path.name}", redacted(file.read().decode(errors="replace"))
        except OSError as error:
            problems.append(f"{path}: {error}")
    if not Path("/run/systemd/system").is_dir():
        return
    since = ["--since", f"@{start_s}"] if start_s else ["--since", "-24h"]
    for unit in UNITS:
        command = ["journalctl", "-u", unit, "-o", "short-iso", "--no-pager", *since, "--until", f"@{end_s}"]
        try:
            done = subprocess.run(
                command, capture_output=True, check=False, timeout=JOURNAL_WITHIN_S, stdin=subprocess.DEVNULL
            )
            yield f"logs/{unit}.journal", redacted(done.stdout[-LOG_BYTES_MAX:].decode(errors="replace"))
        except (OSError, subprocess.TimeoutExpired) as error:
            problems.append(f"journal of {unit}: {error}")
