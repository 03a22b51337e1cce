"""The CIB that is worked on: read once, changed in memory, written if nobody else wrote meanwhile."""

from __future__ import annotations

import bz2
import contextlib
import os
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from cli.cib_file import is_packed, unpacked
from cli.grammar.document import configuration_of
from cli.grammar.lexer import unwritable
from crm.cib import codec, objects
from crm.cib.model import Element
from crm.cib.objects import ConflictingChanges
from hacluster.digits import is_count
from hacluster.errors import Conflict, InvalidDocument, InvalidRequest

# Writers that meet take turns: each waits a random time, up to this much more with each attempt.
ATTEMPTS_MAX: Final = 10
PAUSE_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A CIB as read, and the digest of its <configuration>."""

    cib: Element
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """A commit that is undone unless it is confirmed within that time, or when a guard stops running."""

    within_ms: int
    guards: tuple[str, ...] = ()


class CibSource(Protocol):
    """A place that a CIB can be read from and written to."""

    name: str

    def read(self) -> Snapshot:
        """Read it whole."""

    def write(
        self, cib: Element, expected_digest: str, client: str, *, confirm: Confirm | None = None
    ) -> Snapshot:
        """Write the configuration; raises Conflict when it is no longer the one that was read."""


def digest_of(cib: Element) -> str:
    """The digest of the <configuration>, as the daemons compute it; "" without one."""
    configuration = cib.child("configuration")
    return "" if configuration is None else codec.digest(configuration)


class FileSource:
    """A CIB in a file; no cluster is needed."""

    def __init__(self, path: str) -> None:
        self.name = path
        self._path = Path(path)

    def read(self) -> Snapshot:
        """Raises InvalidDocument when it cannot be read or is no CIB."""
        try:
            data = self._path.read_bytes()
        except OSError as error:
            raise InvalidDocument(
                source=self.name,
                line=0,
                what=error.strerror or str(error),
                remedy="give --cib-file a CIB; `hacli cib new FILE` makes an empty one",
            ) from None
        cib = codec.parse(unpacked(data, self.name), source=self.name)
        if cib.tag != "cib":
            raise InvalidDocument(
                source=self.name, line=1, what=f"<{cib.tag}> is not <cib>", remedy="give a whole CIB"
            )
        return Snapshot(cib=cib, digest=digest_of(cib))

    def write(
        self, cib: Element, expected_digest: str, client: str, *, confirm: Confirm | None = None
    ) -> Snapshot:
        """Replace the file in one step. The epoch grows by one."""
        if confirm is not None:
            raise InvalidRequest(
                what="nobody would undo a change of a file",
                remedy="--confirm is for a running cluster; keep a copy of the file",
            )
        if self._path.exists() and expected_digest and self.read().digest != expected_digest:
            raise Conflict(what=f"{self.name} was changed by somebody else meanwhile; nothing was written")
        epoch = cib.get("epoch", "0")
        cib = cib.with_attribute_map(
            {
                "epoch": str(int(epoch) + 1 if is_count(epoch) else 1),
                "num_updates": "0",
                "update-client": client,
            }
        )
        text = codec.render(cib)
        if bad := unwritable(text):
            raise InvalidRequest(what=f"the CIB cannot hold the character {bad}; nothing was written")
        self._put(text)
        return Snapshot(cib=cib, digest=digest_of(cib))

    def replace(self, cib: Element) -> None:
        """Write all of it as it is: for a status that is pretended. Raises OSError."""
        self._put(codec.render(cib))

    def _put(self, text: str) -> None:
        """Compressed again when it was."""
        packed = self._path.exists() and is_packed(self._path.read_bytes())
        write_atomically(self._path, bz2.compress(text.encode()) if packed else text.encode())


def write_atomically(path: Path, data: bytes, mode: int | None = None) -> None:
    """Write beside, fsync, rename. Raises OSError; the old file is whole at every moment.

    A symbolic link stays one: what it leads to is written.

    `mode`: None keeps the old file's (0644 for a new one).
    """
    path = Path(os.path.realpath(path))
    if mode is None:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:  # it names the file beside
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


@dataclass(slots=True, kw_only=True)
class Workspace:
    """Changes that are collected until `commit`."""

    source: CibSource
    base: Snapshot
    cib: Element
    failed: bool = False
    deletes: bool = False  # something is deleted: what that interrupts is asked about
    named: set[str] = field(default_factory=set)
    pruned: set[str] = field(default_factory=set)  # what goes because nothing names it

    @classmethod
    def begin(cls, source: CibSource) -> Workspace:
        """Read the CIB and start with no changes."""
        base = source.read()
        return cls(source=source, base=base, cib=base.cib)

    @property
    def changed(self) -> bool:
        """Something is to be written."""
        if self.cib.get("validate-with") != self.base.cib.get("validate-with"):
            return True
        return self.cib is not self.base.cib and self.cib.child("configuration") != self.base.cib.child(
            "configuration"
        )

    def refresh(self) -> None:
        """Drop the changes and read again."""
        self.base = self.source.read()
        self.cib = self.base.cib
        self.failed = self.deletes = False
        self.named.clear()
        self.pruned.clear()

    def commit(self, client: str, *, confirm: Confirm | None = None) -> bool:
        """Write; False when there was nothing to write. Raises Conflict and what the source raises.

        What somebody else wrote meanwhile stays, unless it is about the same objects.
        """
        if not self.changed:
            return False
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                self.base = self.source.write(self.cib, self.base.digest, client, confirm=confirm)
                break
            except ConflictingChanges:
                raise
            except Conflict:
                if attempt == ATTEMPTS_MAX:
                    raise
                time.sleep(random.uniform(0, PAUSE_S * attempt))  # noqa: S311 (no secret)
                self.rebase()
        self.cib = self.base.cib
        self.deletes = False
        self.named.clear()
        self.pruned.clear()
        return True

    def rebase(self) -> None:
        """Read again and make the changes on top of that. Raises ConflictingChanges."""
        fresh = self.source.read()
        wanted = objects.changes(configuration_of(self.base.cib), configuration_of(self.cib))
        merged = objects.on_top(wanted, configuration_of(fresh.cib))
        rest = (part for part in fresh.cib.children if part.tag != "configuration")
        self.cib = fresh.cib.with_children((merged, *rest))
        self.base = fresh
