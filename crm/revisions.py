"""The configurations of the past: one file a commit, on every node that saw it, for `hacli history config`.

A file is a head of one line (JSON: version, time, author) and the <configuration> as XML, compressed. The
last `KEPT_MAX` are kept. Nothing here is needed to run the cluster: what cannot be written is logged.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import structlog

from crm import log_events
from crm.cib.codec import render
from crm.cib.model import Element
from crm.cib.versions import CibVersion

KEPT_MAX: Final = 300
QUEUE_MAX: Final = 256
_FILE: Final = re.compile(r"(\d+)\.(\d+)\.gz")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Which configuration, since when, by whom. `changed_s`: wall time of the node that keeps it."""

    admin_epoch: int
    epoch: int
    changed_s: int
    author: str


class Revisions:
    """Keeps configurations; `note` never blocks and never raises."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._queue: asyncio.Queue[tuple[Head, Element]] = asyncio.Queue(QUEUE_MAX)
        self._last = (-1, -1)

    def note(self, configuration: Element, version: CibVersion, author: str, changed_s: int) -> None:
        """Keep this one, unless it is the one kept last. A full queue drops it and says so."""
        name = (version.admin_epoch, version.epoch)
        if name == self._last or not configuration.children:
            return
        self._last = name
        head = Head(admin_epoch=version.admin_epoch, epoch=version.epoch, changed_s=changed_s, author=author)
        try:
            self._queue.put_nowait((head, configuration))
        except asyncio.QueueFull:
            log.warning(
                log_events.REVISION_NOT_KEPT, version=f"{name[0]}.{name[1]}", reason="too many at once"
            )

    async def run(self) -> None:
        """Write what is noted; ends by cancellation."""
        while True:
            head, configuration = await self._queue.get()
            try:
                await asyncio.to_thread(keep, self._folder, head, configuration)
            except OSError as error:
                log.warning(
                    log_events.REVISION_NOT_KEPT,
                    version=f"{head.admin_epoch}.{head.epoch}",
                    reason=str(error),
                )


def keep(folder: Path, head: Head, configuration: Element) -> None:
    """Write one, drop the oldest. One that is there already stays as it was first seen. Raises OSError."""
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    path = folder / f"{head.admin_epoch}.{head.epoch}.gz"
    if path.exists() and not head.author:
        return
    data = gzip.compress(json.dumps(asdict(head)).encode() + b"\n" + render(configuration).encode(), 6)
    fresh = path.with_name(f".{path.name}")
    # Not for others to read: the configuration may hold passwords.
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    fresh.replace(path)
    for old in _paths(folder)[:-KEPT_MAX]:
        old.unlink(missing_ok=True)


def _paths(folder: Path) -> list[Path]:
    found = [(match, path) for path in folder.glob("*.gz") if (match := _FILE.fullmatch(path.name))]
    return [path for _match, path in sorted(found, key=lambda one: (int(one[0][1]), int(one[0][2])))]


def heads(folder: Path) -> list[Head]:
    """All that are kept, the oldest first; one that cannot be read is left out."""
    found: list[Head] = []
    for path in _paths(folder):
        try:
            with gzip.open(path) as file:
                found.append(Head(**json.loads(file.readline())))
        except (OSError, ValueError, TypeError, EOFError):
            continue
    return found


def read(folder: Path, admin_epoch: int, epoch: int) -> tuple[Head, bytes]:
    """One of them: head and XML. Raises FileNotFoundError, OSError, ValueError."""
    return parse((folder / f"{admin_epoch}.{epoch}.gz").read_bytes())


def parse(packed: bytes) -> tuple[Head, bytes]:
    """The content of a file: head and XML. Raises OSError, EOFError, ValueError, TypeError."""
    head, _, xml = gzip.decompress(packed).partition(b"\n")
    return Head(**json.loads(head)), xml
