"""`hacli report`: what others need to help, in one tar file: configuration, state and logs of nodes.

Of other nodes: their own reports, made there and fetched by ssh. Secrets are removed: keys are not taken,
values of parameters named like secrets are hidden in the CIB and in logs. What could not be had is noted in
the file `problems`.
"""

from __future__ import annotations

import io
import os
import platform
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from cli import elsewhere
from cli.commands.changes import read, view_of
from cli.context import EXIT_OK, Context, UsageError
from cli.grammar.show import show
from cli.redaction import redacted, without_secrets
from crm.cib import codec
from hacluster import VERSION
from hacluster.digits import is_count
from hacluster.errors import HaError, InvalidRequest

_USAGE: Final = "report [-f FROM] [-t TO] [-n NODE,…|all] [DEST|-]"
REPORT_WITHIN_S: Final = 300
LOG_BYTES_MAX: Final = 8 * 1024 * 1024
MEMBER_BYTES_MAX: Final = 2 * LOG_BYTES_MAX
JOURNAL_WITHIN_S: Final = 60
UNITS: Final = ("ha-messaging", "ha-crm", "ha-lrm")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What the words of a report say. `nodes`: others; `here`: this one, too."""

    start_s: int
    end_s: int
    target: str = ""
    nodes: tuple[str, ...] = ()
    here: bool = True


def report(context: Context, words: Sequence[str]) -> int:
    """`report [-f FROM] [-t TO] [-n NODES] [DEST|-]`: times as 2026-01-31, "2026-01-31 12:30", 2h (ago)."""
    wanted = _words(context, words)
    problems: list[str] = []
    if wanted.target == "-":
        data = io.BytesIO()
        _write(context, data, f"hacluster-report-{_me(context)}", wanted, problems)
        sys.stdout.buffer.write(data.getvalue())
        sys.stdout.buffer.flush()
        return EXIT_OK
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = Path(f"{wanted.target or f'hacluster-report-{_me(context)}-{stamp}'}.tar.gz")
    if path.exists() and not context.options.force:
        raise InvalidRequest(what=f"{path} exists", remedy="choose another name, or use -F")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        _write(context, file, path.name.removesuffix(".tar.gz"), wanted, problems)
    for problem in problems:
        context.warning(problem)
    context.print(str(path))
    return EXIT_OK


def _me(context: Context) -> str:
    return context.options.node or os.uname().nodename


def _write(context: Context, file: IO[bytes], name: str, wanted: _Wanted, problems: list[str]) -> None:
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        if wanted.here:
            own = f"{name}/{_me(context)}" if wanted.nodes else name
            for member, text in _members(context, wanted.start_s, wanted.end_s, problems):
                _add(tar, f"{own}/{member}", text)
        for node in wanted.nodes:
            try:
                for member, text in _from(context, node, wanted):
                    _add(tar, f"{name}/{node}/{member}", text)
            except (HaError, tarfile.TarError, OSError, EOFError) as error:
                problems.append(str(error) if isinstance(error, HaError) else f"{node}: its report: {error}")
        _add(tar, f"{name}/problems", "".join(f"{one}\n" for one in problems))


def _from(context: Context, node: str, wanted: _Wanted) -> Iterator[tuple[str, str]]:
    """The files of another node's report. Raises HaError, and what an archive can that is none."""
    times = ["-f", f"@{wanted.start_s}"] if wanted.start_s else []
    words = ["report", *times, "-t", f"@{wanted.end_s}", "-"]
    answer = elsewhere.hacli(context, node, words, within_s=REPORT_WITHIN_S)
    with tarfile.open(fileobj=io.BytesIO(answer.checked("hacli report")), mode="r:gz") as tar:
        for member in tar:
            _top, _, name = member.name.partition("/")
            part = tar.extractfile(member) if member.isfile() and member.size <= MEMBER_BYTES_MAX else None
            if part is not None and name and ".." not in name.split("/"):
                yield name, part.read().decode(errors="replace")


def _words(context: Context, words: Sequence[str]) -> _Wanted:
    rest, names = list(words), []
    nodes: list[str] = []
    times = {"-f": 0, "-t": int(time.time())}
    while rest:
        word = rest.pop(0)
        if word in times:
            if not rest:
                raise UsageError(what=f"{word} needs a time", usage=_USAGE)
            times[word] = moment(rest.pop(0))
        elif word in ("-n", "--nodes"):
            if not rest:
                raise UsageError(what=f"{word} needs nodes", usage=_USAGE)
            nodes.append(rest.pop(0))
        elif word.startswith("-") and word != "-":
            raise UsageError(what=f"{word} is not known here", usage=_USAGE)
        else:
            names.append(word)
    if len(names) > 1:
        raise UsageError(what="name one destination", usage=_USAGE)
    all_of_them = elsewhere.chosen(context, nodes, everybody=("all", "--all"))
    return _Wanted(
        start_s=times["-f"],
        end_s=times["-t"],
        target=names[0] if names else "",
        nodes=tuple(one for one in all_of_them if one != _me(context)),
        here=not all_of_them or _me(context) in all_of_them,
    )


def moment(text: str) -> int:
    """Seconds since 1970 of a local date, date and time, a time ago, or @SECONDS. Raises UsageError."""
    if text.startswith("@") and is_count(text[1:]):
        return int(text[1:])
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
