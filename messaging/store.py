"""The files of ha-messaging: incarnation, view, highest incarnations seen; the wait-for-all flag in run."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Final

from hacluster.paths import Paths
from hacluster.vocabulary.ids import BootToken
from messaging.membership import durable as slots
from messaging.membership.events import Durable
from messaging.membership.layouts import FORMER_MAX, NodeList

DISKLESS_SHIFT: Final = 20
"""Restarts that fit between two seconds of the clock: about a million (heartbeat's `hbgenmethod time`)."""


class Store:
    """Reads at start; writes with fsync. Every method raises OSError when the disk fails.

    A diskless node keeps the same until its next boot, and takes its incarnations from the clock.
    """

    def __init__(self, paths: Paths, boot_token: BootToken, *, diskless: bool = False) -> None:
        self._folder = (paths.run if diskless else paths.var) / "messaging"
        self._diskless = diskless
        self._all_seen, self._met = paths.run / "all-voters-seen", paths.run / "nodes-met"
        self._boot_token = boot_token
        self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._serials: dict[str, int] = {}

    def next_incarnation(self) -> int:
        """One more than ever before, on disk before it is used."""
        content, _ = slots.newest(self._read("incarnation"))
        incarnation = (int(content["incarnation"]) if content is not None else 0) + 1
        if self._diskless:
            incarnation = max(incarnation, int(time.time()) << DISKLESS_SHIFT)
        self.raise_incarnation(incarnation)
        return incarnation

    def raise_incarnation(self, incarnation: int) -> None:
        """The next run will be above it."""
        self._write("incarnation", {"incarnation": incarnation})

    def durable(self) -> Durable:
        """What was promised, as far as it can be read."""
        return slots.durable_from(self._read("view"))

    def keep(self, durable: Durable) -> None:
        """Promises and the view: on disk when this returns."""
        self._write("view", slots.durable_content(durable))

    def seen(self) -> dict[int, int]:
        """Highest incarnation seen of each node, as of a minute before the last stop at worst."""
        try:
            content = json.loads((self._folder / "peers").read_text())
            return {int(node): int(incarnation) for node, incarnation in content.items()}
        except (OSError, ValueError, AttributeError):
            return {}  # a hint only: replays are refused by their echo as well

    def keep_seen(self, seen: dict[int, int]) -> None:
        """Lazily: a lost write costs nothing but the hint."""
        fresh = self._folder / ".peers.new"
        fresh.write_text(json.dumps({str(node): incarnation for node, incarnation in seen.items()}))
        fresh.rename(self._folder / "peers")

    def node_lists(self, now: NodeList) -> tuple[NodeList, ...]:
        """The lists before `now`, oldest first; `now` will be one of them. A hint, like `seen`."""
        file = self._folder / "nodes"
        try:
            content = json.loads(file.read_text())
            lists = [tuple((int(node), str(name)) for node, name in listed) for listed in content]
        except (OSError, ValueError, TypeError):
            lists = []
        former = [listed for listed in lists if listed != now][-FORMER_MAX:]
        if not lists or lists[-1] != now:
            fresh = self._folder / ".nodes.new"
            fresh.write_text(json.dumps([*former, now]))
            fresh.rename(file)
        return tuple(former)

    @property
    def all_seen(self) -> bool:
        """Since this boot, all voters were in one view together."""
        try:
            return self._all_seen.read_text().strip() == self._boot_token
        except OSError:
            return False

    def mark_all_seen(self) -> None:
        """Until the next boot."""
        self._all_seen.write_text(self._boot_token + "\n")

    @property
    def met(self) -> frozenset[int]:
        """Since this boot, these nodes were in a view with us."""
        try:
            token, *nodes = self._met.read_text().split()
            return frozenset(map(int, nodes)) if token == self._boot_token else frozenset()
        except (OSError, ValueError):
            return frozenset()

    def keep_met(self, nodes: frozenset[int]) -> None:
        """Until the next boot."""
        fresh = self._met.with_name(".nodes-met.new")
        fresh.write_text(" ".join([self._boot_token, *map(str, sorted(nodes))]) + "\n")
        fresh.rename(self._met)

    def _read(self, name: str) -> list[bytes | None]:
        raw: list[bytes | None] = []
        for number in range(slots.SLOTS):
            path = self._folder / f"{name}.{number}"
            raw.append(path.read_bytes() if path.exists() else None)
        return raw

    def _write(self, name: str, content: dict[str, object]) -> None:
        if name not in self._serials:
            newest, _ = slots.newest(self._read(name))
            self._serials[name] = int(newest["serial"]) if newest is not None else 0
        self._serials[name] += 1
        serial = self._serials[name]
        fresh = self._folder / f".{name}.new"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(slots.encode_slot(serial, content))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self._folder / f"{name}.{serial % slots.SLOTS}")  # so that no slot is ever torn
        _sync_folder(self._folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
