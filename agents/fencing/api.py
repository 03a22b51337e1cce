"""The interface of fence agents (FenceAgentAPI of ClusterLabs): name=value lines on stdin, an exit code.

A device is a class with `off` and `on`, and what it knows of a plug's state. Faults that a device may be told
to have (slow, failing, hanging, lying) come from here, for tests of what a cluster makes of them.
"""

from __future__ import annotations

import os
import sys
import time
from abc import ABC, abstractmethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

OK = 0
FAILED = 1
IS_OFF = 2

HANG_S = 3_600.0
ACTIONS = ("on", "off", "reboot", "status", "list", "list-status", "monitor", "metadata", "validate-all")


class DeviceError(Exception):
    """The device did not do it; the text is for people."""


class Option:
    """One parameter as the meta-data shows it."""

    def __init__(self, name: str, text: str, *, default: str = "", required: bool = False) -> None:
        self.name, self.text, self.default, self.required = name, text, default, required


FAULTS = (
    Option("delay", "Seconds that each action takes longer, for tests."),
    Option("fail", "How many times in all off, on and reboot fail, for tests; needs statefile."),
    Option("hang", "Actions of this list never end, for tests (off,on,reboot,status,monitor)."),
    Option("lie", "Say that off, on and reboot have succeeded without doing anything, for tests."),
    Option("statefile", "Where failures are counted."),
    Option("log", "A file that gets a line for each off, on and reboot: when, what, whom, how it ended."),
)


class Device(ABC):
    """The base of a device. `options` are the parameters that were given."""

    name = ""
    shortdesc = ""
    longdesc = ""
    own: tuple[Option, ...] = ()

    def __init__(self, options: dict[str, str]) -> None:
        self.options = options

    @abstractmethod
    def off(self, plug: str) -> None:
        """Make certain that it runs nothing. Raises DeviceError."""

    @abstractmethod
    def on(self, plug: str) -> None:
        """Switch it on. Raises DeviceError."""

    @abstractmethod
    def is_on(self, plug: str) -> bool:
        """Raises DeviceError when that cannot be said."""

    def reboot(self, plug: str) -> None:
        """Off, then on; that on fails is only said: it is off. Raises DeviceError."""
        self.off(plug)
        try:
            self.on(plug)
        except DeviceError as error:
            print(f"{self.name}: {plug} is off, and stays off: {error}", file=sys.stderr)

    @abstractmethod
    def plugs(self) -> Sequence[str]:
        """What it can switch. Raises DeviceError."""

    def check(self) -> None:
        """Whether it answers. Raises DeviceError."""
        self.plugs()


def main(device: type[Device], argv: Sequence[str]) -> int:
    """Run one action; its exit code."""
    options = _read(device, argv)
    action = options.pop("action", "reboot")
    if action in ("metadata", "meta-data"):
        print(metadata(device))
        return OK
    if action not in ACTIONS:
        print(f"{device.name}: there is no action {action!r}", file=sys.stderr)
        return FAILED
    plug = options.get("plug") or options.get("port") or options.get("nodename", "")
    if action in ("on", "off", "reboot", "status") and not plug:
        print(f"{device.name}: {action} needs a plug", file=sys.stderr)
        return FAILED
    try:
        code = _act(device(options), action, plug)
    except (DeviceError, OSError, ValueError) as error:
        print(f"{device.name}: {action} {plug}: {error}", file=sys.stderr)
        code = FAILED
    _note(options, action, plug, code)
    return code


def metadata(device: type[Device]) -> str:
    """What the device says of itself."""
    lines = [
        '<?xml version="1.0" ?>',
        f'<resource-agent name="{device.name}" shortdesc="{_escape(device.shortdesc)}">',
        f"<longdesc>{_escape(device.longdesc)}</longdesc>",
        "<parameters>",
    ]
    action = Option("action", "What to do.", default="reboot")
    plug = Option("plug", "Which plug: the node's name unless pcmk_host_map says otherwise.")
    for option in (action, plug, *device.own, *FAULTS):
        default = f' default="{_escape(option.default)}"' if option.default else ""
        lines += [
            f'<parameter name="{option.name}" unique="0" required="{int(option.required)}">',
            f'<content type="string"{default}/>',
            f'<shortdesc lang="en">{_escape(option.text)}</shortdesc>',
            "</parameter>",
        ]
    lines += ["</parameters>", "<actions>"]
    lines += [f'<action name="{name}"/>' for name in ACTIONS]
    return "\n".join([*lines, "</actions>", "</resource-agent>"])


def _act(device: Device, action: str, plug: str) -> int:
    options = device.options
    if options.get("delay"):
        time.sleep(float(options["delay"]))
    if action in options.get("hang", "").replace(",", " ").split():
        time.sleep(HANG_S)
    if action in ("on", "off", "reboot"):
        if _must_fail(options):
            raise DeviceError("it was told to fail")
        if options.get("lie", "").lower() in ("1", "yes", "true", "on"):
            return OK
        getattr(device, action)(plug)
    elif action == "status":
        return OK if device.is_on(plug) else IS_OFF
    elif action in ("list", "list-status"):
        for name in device.plugs():
            print(f"{name}," if action == "list" else f"{name},,{_state(device, name)}")
    elif action == "monitor":
        device.check()
    return OK


def _state(device: Device, plug: str) -> str:
    try:
        return "on" if device.is_on(plug) else "off"
    except DeviceError as error:
        print(f"{device.name}: {error}", file=sys.stderr)
        return "unknown"


def _must_fail(options: dict[str, str]) -> bool:
    """Count down in the state file."""
    wanted = int(options.get("fail", "0") or 0)
    path = options.get("statefile", "")
    if not wanted:
        return False
    if not path:
        raise DeviceError("fail needs a statefile")
    failed = 0
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            failed = int(file.read() or 0)
    if failed >= wanted:
        return False
    with open(path, "w", encoding="utf-8") as file:
        file.write(str(failed + 1))
    return True


def _note(options: dict[str, str], action: str, plug: str, code: int) -> None:
    if options.get("log") and action in ("on", "off", "reboot"):
        with open(options["log"], "a", encoding="utf-8") as file:
            file.write(f"{time.time():.6f} {action} {plug} {code}\n")


def _read(device: type[Device], argv: Sequence[str]) -> dict[str, str]:
    """Options from stdin; `-o ACTION` and `-n PLUG` are for people."""
    options: dict[str, str] = {}
    words = list(argv)
    while words:
        word = words.pop(0)
        if word in ("-o", "--action") and words:
            options["action"] = words.pop(0)
        elif word in ("-n", "--plug") and words:
            options["plug"] = words.pop(0)
        else:
            print(f"{device.name}: ignored: {word}", file=sys.stderr)
    if argv:
        return options
    known = {option.name for option in (*device.own, *FAULTS)} | {"action", "plug", "port", "nodename"}
    for line in sys.stdin:
        text = line.strip()
        name, equals, value = text.partition("=")
        if not text or text.startswith("#"):
            continue
        if not equals or name not in known:
            print(f"{device.name}: ignored: {name}", file=sys.stderr)
            continue
        options[name] = value
    return options


def _escape(text: str) -> str:
    folded = " ".join(text.split())
    return folded.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
