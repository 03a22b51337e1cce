"""Files of one folder, as `store.py` needs them: a Protocol to be faked, and the real one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol


class Readable(Protocol):
    """What a reader of named files needs of them. `read` may raise OSError."""

    def read(self, name: str) -> bytes | None:
        """The content, or None when there is no such file."""
        ...


class Storage(Readable, Protocol):
    """Named files. Every method may raise OSError; nothing is durable before `sync` or `replace` returned."""

    def names(self, folder: str = "") -> list[str]:
        """The files there (or in a folder below; none when it does not exist), sorted, folders left out."""
        ...

    def append(self, name: str, data: bytes) -> None:
        """Add to the end, making the file when it is not there."""
        ...

    def sync(self, name: str) -> None:
        """What was appended survives a power cut."""
        ...

    def truncate(self, name: str, size: int) -> None:
        """Cut the end off, durably."""
        ...

    def replace(self, name: str, data: bytes) -> None:
        """The whole content at once, or the old one: durable and never torn."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Durable. Folders in `new` are made."""
        ...

    def remove(self, name: str) -> None:
        """Nothing when it is not there."""
        ...


class FolderStorage:
    """A folder of the file system; made with mode 0750 when it is not there."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        self.folder = folder
        self._open: dict[str, int] = {}

    def names(self, folder: str = "") -> list[str]:
        """The files (not folders)."""
        place = self.folder / folder
        if not place.is_dir():
            return []
        return sorted(path.name for path in place.iterdir() if path.is_file())

    def read(self, name: str) -> bytes | None:
        """The content, or None."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def append(self, name: str, data: bytes) -> None:
        """The file stays open for the next append."""
        if name not in self._open:
            existed = (self.folder / name).exists()
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._open[name] = os.open(self.folder / name, flags, 0o640)
            if not existed:
                self._sync_folder()
        _write_all(self._open[name], data)

    def sync(self, name: str) -> None:
        """fdatasync: the size is data too."""
        os.fdatasync(self._open[name])

    def truncate(self, name: str, size: int) -> None:
        """Cut and fsync."""
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def replace(self, name: str, data: bytes) -> None:
        """Temporary file, fsync, rename, fsync of the folder."""
        path = self.folder / name
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._close(name)
        fresh.rename(path)
        self._sync_folder(path.parent)

    def rename(self, old: str, new: str) -> None:
        """With an fsync of both folders."""
        self._close(old)
        target = self.folder / new
        target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        (self.folder / old).rename(target)
        self._sync_folder(target.parent)
        self._sync_folder()

    def remove(self, name: str) -> None:
        """The folder is synced with the next replace; a file that comes back does no harm."""
        self._close(name)
        (self.folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Close what is open."""
        for name in list(self._open):
            self._close(name)

    def _close(self, name: str) -> None:
        descriptor = self._open.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

    def _sync_folder(self, folder: Path | None = None) -> None:
        descriptor = os.open(folder or self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
