"""The live picture of the demo: redrawn on a terminal, one line an event elsewhere."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from cli.demo.observer import Attempt

_EVERY_S: Final = 0.1
_BOLD, _DIM, _RED, _GREEN, _YELLOW, _PLAIN = (
    "\x1b[1m",
    "\x1b[2m",
    "\x1b[31m",
    "\x1b[32m",
    "\x1b[33m",
    "\x1b[0m",
)


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to see at one moment."""

    nodes: Mapping[str, bool]  # name -> it is on
    places: Mapping[str, Sequence[str]]  # resource -> nodes
    attempts: Sequence[Attempt]
    violations: int


def strip(attempts: Sequence[Attempt], width: int) -> str:
    """The newest attempts, one character each: a bar for a page, a dot for none."""
    return "".join("|" if attempt.ok else "." for attempt in attempts[-width:])


def draw(scene: Scene, title: str, elapsed_s: float, *, width: int, colour: bool) -> list[str]:
    """The picture as lines."""

    def paint(code: str, text: str) -> str:
        return f"{code}{text}{_PLAIN}" if colour else text

    names = [name.partition(".")[0] for name in scene.nodes]
    lines = [paint(_BOLD, f"{elapsed_s:6.1f} s  {title}"), ""]
    column = max(8, *(len(name) for name in names)) + 2
    head = "".join(
        paint(_GREEN if on else _RED, f"{name + (' on' if on else ' OFF'):<{column + 4}}")
        for name, on in zip(names, scene.nodes.values(), strict=True)
    )
    label = max(12, *(len(resource) for resource in scene.places)) + 2
    lines.append(" " * label + head)
    for resource, where in scene.places.items():
        cells = "".join(f"{'active' if name in where else '-':<{column + 4}}" for name in scene.nodes)
        lines.append(f"{resource:<{label}}{cells}")
    fetched = strip(scene.attempts, max(10, width - label - 2))
    served = scene.attempts[-1].ok if scene.attempts else False
    lines += ["", f"{'client':<{label}}{paint(_GREEN if served else _RED, fetched)}"]
    if scene.violations:
        lines.append(paint(_RED, f"{scene.violations} rules broken"))
    return lines


class Stage:
    """Shows what goes on; `scene` is asked for the present picture."""

    def __init__(self, out: TextIO, *, quiet: bool = False) -> None:
        self._out = out
        self._quiet = quiet
        self._live = out.isatty() and not quiet
        self._start = time.monotonic()
        self._title = ""
        self._drawn = 0
        self._scene: Callable[[], Scene] | None = None
        self._ended = threading.Event()
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._animate, name="picture", daemon=True)

    def open(self, scene: Callable[[], Scene]) -> None:
        """Begin to show."""
        self._scene = scene
        if self._live:
            self._thread.start()

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._quiet:
            return
        with self._lock:
            self._erase()
            self._out.write(f"{time.monotonic() - self._start:6.1f} s  {text}\n")
            self._out.flush()
            self._draw()

    def step(self, title: str) -> None:
        """What is being waited for now."""
        self._title = title
        if not self._live:
            self.say(title)

    def close(self) -> None:
        """The picture goes, the lines stay."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(2)
        with self._lock:
            self._erase()
            self._live = False

    def _animate(self) -> None:
        while not self._ended.wait(_EVERY_S):
            with self._lock:
                self._erase()
                self._draw()

    def _erase(self) -> None:
        if self._drawn:
            self._out.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        if not self._live or self._scene is None or self._ended.is_set():
            return
        width = shutil.get_terminal_size().columns
        elapsed = time.monotonic() - self._start
        lines = draw(self._scene(), self._title, elapsed, width=width, colour=True)
        self._out.write("\n".join(["", *lines]) + "\n")
        self._out.flush()
        self._drawn = len(lines) + 1


def stdout_stage(*, quiet: bool) -> Stage:
    """On stdout for people, nothing when a machine reads."""
    return Stage(sys.stdout, quiet=quiet)
