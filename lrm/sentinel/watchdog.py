"""The watchdog device (Linux watchdog API), or its stand-in for tests: a file that is written like one."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Final, Protocol

from hacluster.errors import Unavailable

WDIOC_SETTIMEOUT: Final = 0xC0045706
WDIOC_GETTIMEOUT: Final = 0x80045707
DEVICES: Final = ("/dev/watchdog0", "/dev/watchdog")
TEST: Final = "test:"


class Watchdog(Protocol):
    """What ends the machine when it is not fed."""

    kind: str
    timeout_ms: int

    def feed(self) -> None:
        """Another timeout to live. Raises OSError."""
        ...

    def close(self, *, disarm: bool) -> None:
        """Let go; with `disarm` it ends nothing any more."""
        ...


class Device:
    """A hardware watchdog, or softdog. Opening it arms it."""

    kind = "hardware"

    def __init__(self, path: str, timeout_s: int) -> None:
        """Raises Unavailable."""
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Unavailable(why=f"the watchdog {path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.ioctl(self._descriptor, WDIOC_SETTIMEOUT, struct.pack("i", timeout_s))
            (actual_s,) = struct.unpack("i", fcntl.ioctl(self._descriptor, WDIOC_GETTIMEOUT, b"\0" * 4))
        except OSError as error:
            self.close(disarm=True)
            raise Unavailable(why=f"{path} takes no timeout of {timeout_s} s: {error.strerror}") from error
        if actual_s > timeout_s:
            self.close(disarm=True)
            raise Unavailable(why=f"{path} waits {actual_s} s, longer than the {timeout_s} s asked for")
        self.timeout_ms = actual_s * 1_000
        if Path("/sys/class/watchdog").joinpath(Path(path).name, "identity").exists():
            identity = Path("/sys/class/watchdog") / Path(path).name / "identity"
            if "Software" in identity.read_text():
                self.kind = "softdog"  # it survives no hang of the kernel: no better than our own timer

    def feed(self) -> None:
        """Another timeout to live."""
        os.write(self._descriptor, b"\0")

    def close(self, *, disarm: bool) -> None:
        """The letter V before closing disarms it (unless the driver was told never to)."""
        if disarm:
            os.write(self._descriptor, b"V")
        os.close(self._descriptor)


class TestFile:
    """Each feeding is a byte in a file; who looks at it plays the watchdog."""

    __test__ = False  # no test class, whatever pytest thinks of the name
    kind = "test"

    def __init__(self, path: str, timeout_ms: int) -> None:
        self.timeout_ms = timeout_ms
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        self._descriptor = os.open(path, flags, 0o600)

    def feed(self) -> None:
        """Another timeout to live."""
        os.write(self._descriptor, b".")

    def close(self, *, disarm: bool) -> None:
        """As a device's."""
        if disarm:
            os.write(self._descriptor, b"V")
        os.close(self._descriptor)


def open_watchdog(wanted: str, timeout_ms: int) -> Watchdog | None:
    """`auto` (a device if there is one), `software` (None), `test:PATH`, or a path. Raises Unavailable."""
    if wanted.startswith(TEST):
        return TestFile(wanted.removeprefix(TEST), timeout_ms)
    if wanted == "software":
        return None
    timeout_s = max(timeout_ms // 1_000, 1)
    if wanted != "auto":
        return Device(wanted, timeout_s)
    path = next((one for one in DEVICES if Path(one).exists()), None)
    return Device(path, timeout_s) if path is not None else None
