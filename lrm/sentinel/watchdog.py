"""The watchdog device (Linux watchdog API), or its stand-in for tests: a file that is written like one."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Final, Protocol

from hacluster.errors import Unavailable

WDIOC_GETSUPPORT: Final = 0x80285700
WDIOC_SETTIMEOUT: Final = 0xC0045706
WDIOC_GETTIMEOUT: Final = 0x80045707
WDIOF_MAGICCLOSE: Final = 0x0100
DEVICES: Final = ("/dev/watchdog0", "/dev/watchdog")
TEST: Final = "test:"

_INFO: Final = struct.Struct("II32s")  # struct watchdog_info: options, firmware_version, identity
_SYSFS: Final = Path("/sys/class/watchdog")


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
            info = fcntl.ioctl(self._descriptor, WDIOC_GETSUPPORT, b"\0" * _INFO.size)
            fcntl.ioctl(self._descriptor, WDIOC_SETTIMEOUT, struct.pack("i", timeout_s))
            (actual_s,) = struct.unpack("i", fcntl.ioctl(self._descriptor, WDIOC_GETTIMEOUT, b"\0" * 4))
        except OSError as error:
            self.close(disarm=True)
            raise Unavailable(why=f"{path} takes no timeout of {timeout_s} s: {error.strerror}") from error
        why, self.kind = judge(info, nowayout=_has_no_way_out(path))
        if not why and actual_s > timeout_s:
            why = f"it waits {actual_s} s, longer than the {timeout_s} s asked for"
        if why:
            self.close(disarm=True)
            raise Unavailable(why=f"{path}: {why}")
        self.timeout_ms = actual_s * 1_000

    def feed(self) -> None:
        """Another timeout to live."""
        os.write(self._descriptor, b"\0")

    def close(self, *, disarm: bool) -> None:
        """The letter V before closing disarms it (unless the driver was told never to)."""
        if disarm:
            os.write(self._descriptor, b"V")
        os.close(self._descriptor)


def judge(info: bytes, *, nowayout: bool) -> tuple[str, str]:
    """Why a device must not be counted on (empty: it may), and its kind, from its struct watchdog_info.

    Without magic close the kernel disarms it whenever it is closed, also when this process is killed: the
    node would live on with nobody to end it, and others take it for dead.
    """
    options, _, identity = _INFO.unpack(info)
    if not options & WDIOF_MAGICCLOSE and not nowayout:
        return (
            "it is disarmed when ha-sentinel is killed (no magic close; load its driver with nowayout=1)",
            "",
        )
    # softdog survives no hang of the kernel: it is no better than our own timer.
    return "", "softdog" if identity.startswith(b"Software") else "hardware"


def _has_no_way_out(path: str) -> bool:
    try:
        return (_SYSFS / Path(path).name / "nowayout").read_text().strip() == "1"
    except OSError:
        return False


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
