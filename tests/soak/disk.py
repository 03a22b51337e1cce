"""A disk that loses what was not synced: ext4 on a loop device, shut down by the kernel as in a power cut."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from pathlib import Path
from typing import Final, TypeVar

SIZE_BYTES: Final = 48 * 1024 * 1024
OPTIONS: Final = "noauto_da_alloc,commit=300,noatime"
"""The kernel saves careless programs: it writes data before a rename, and everything every 5 s. Not here."""

_SHUTDOWN: Final = 0x8004587D  # FS_IOC_SHUTDOWN: _IOR('X', 125, __u32)


_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 0x4000, 1 << 18
Value = TypeVar("Value")


def in_own_mounts(work: Callable[[], Value]) -> Value:
    """Do it in a thread, and processes it starts, that have a mount namespace of their own.

    Else every namespace that somebody makes meanwhile would have our disks mounted, too; such a disk stays
    shut down however often we unmount it, because it never is. Raises what `work` raises, and OSError.
    """

    def alone() -> Value:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWNS) or libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None):
            raise OSError(ctypes.get_errno(), "no mount namespace of our own")
        return work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(alone).result()


class Cut(IntEnum):
    """How the file system is shut down; the kernel's numbers."""

    JOURNAL_KEPT = 1
    """What is in the journal reaches the disk, data that nobody synced does not: files that were renamed into
    place without a sync are empty."""
    ALL_LOST = 2
    """Nothing reaches the disk any more."""


class Disk:
    """One file system for one folder. Needs root."""

    def __init__(self, image: Path, folder: Path) -> None:
        """Raises OSError and CalledProcessError where there are no loop devices or no right to mount."""
        self._folder, self._image = folder, image
        with image.open("wb") as file:
            file.truncate(SIZE_BYTES)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
        folder.mkdir(parents=True, exist_ok=True)
        self._device = _run("losetup", "--find", "--show", str(image)).strip()
        try:
            self.mount()
        except BaseException:
            _run("losetup", "--detach", self._device)
            raise

    def mount(self) -> None:
        """Power on: the journal is replayed."""
        _run("mount", "-t", "ext4", "-o", OPTIONS, self._device, str(self._folder))

    def cut(self, how: Cut) -> None:
        """From now on nothing is written; each call of the programs that use it ends with EIO."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", how))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Once nobody uses it."""
        _run("umount", str(self._folder))

    def close(self) -> None:
        """Unmount, give the device back, remove the image."""
        if os.path.ismount(self._folder):
            self.unmount()
        _run("losetup", "--detach", self._device)
        self._image.unlink(missing_ok=True)


def _run(*words: str) -> str:
    done = subprocess.run(
        words, check=True, timeout=30, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    return done.stdout
