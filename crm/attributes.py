"""This node's transient attributes: kept here, over a restart of the daemon but not over a reboot."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from crm import log_events
from crm.cib.status import SHUTDOWN
from hacluster.vocabulary.ids import BootToken

NOW: Final = 0
log = structlog.get_logger()


class AttributeKeeper:
    """The keeper of one node's attributes.

    Agents on this node read `current`; the cluster is told `published`, which follows it when the attribute
    has not changed for the dampening time that was asked for (as Pacemaker's attrd does it).
    `later(delay_ms, name)` must call `settle(name)` after the delay, and forget that it was to do so before.
    """

    def __init__(
        self,
        path: Path,
        boot_token: BootToken,
        instance: int,
        *,
        later: Callable[[int, str], None],
        changed: Callable[[], None],
    ) -> None:
        self._path = path
        self._boot_token = boot_token
        self.instance = instance
        self.sequence = 1
        self._later, self._changed = later, changed
        self._dampening: dict[str, int] = {}
        self._current = self._read()
        self._current.pop(SHUTDOWN, None)  # who was leaving when the daemon died is here to stay
        self._published = dict(self._current)

    @property
    def current(self) -> Mapping[str, str]:
        """As this node knows them."""
        return self._current

    @property
    def published(self) -> Mapping[str, str]:
        """As the cluster may know them."""
        return self._published

    def change(self, changes: Mapping[str, str], dampen_ms: int | None = NOW) -> None:
        """Set attributes, or remove those with an empty value. `dampen_ms` None: as asked for before."""
        before = dict(self._current)
        for name, value in changes.items():
            if dampen_ms is not None:
                self._dampening[name] = dampen_ms
            if value:
                self._current[name] = value
            else:
                self._current.pop(name, None)
        self._write()
        waiting = [name for name in changes if self._dampening.get(name, NOW) > 0]
        for name in waiting:
            if self._current.get(name) != before.get(name):
                self._later(self._dampening[name], name)
        self._publish([name for name in changes if name not in waiting])

    def settle(self, name: str) -> None:
        """The dampening time of an attribute is over."""
        self._publish([name])

    def _publish(self, names: list[str]) -> None:
        before = dict(self._published)
        for name in names:
            if name in self._current:
                self._published[name] = self._current[name]
            else:
                self._published.pop(name, None)
        if self._published != before:
            self.sequence += 1
            self._changed()

    def _read(self) -> dict[str, str]:
        try:
            stored = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            log.warning(log_events.ATTRIBUTES_NOT_KEPT, file=str(self._path), reason=str(error))
            return {}
        if not isinstance(stored, dict) or stored.get("boot_token") != self._boot_token:
            return {}
        values = stored.get("values")
        return {str(name): str(value) for name, value in values.items()} if isinstance(values, dict) else {}

    def _write(self) -> None:
        text = json.dumps({"boot_token": self._boot_token, "values": self._current}, sort_keys=True)
        fresh = self._path.with_name(f".{self._path.name}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(text)
            fresh.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            log.warning(log_events.ATTRIBUTES_NOT_KEPT, file=str(self._path), reason=str(error))


class DampeningTimers:
    """One timer an attribute: asked for again, it begins anew."""

    def __init__(self, settle: Callable[[str], None]) -> None:
        self._settle = settle
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def later(self, delay_ms: int, name: str) -> None:
        """Settle the attribute when the delay is over, and not before."""
        if name in self._timers:
            self._timers[name].cancel()
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(delay_ms / 1_000, self._fired, name)

    def _fired(self, name: str) -> None:
        del self._timers[name]
        self._settle(name)
