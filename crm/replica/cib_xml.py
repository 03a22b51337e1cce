"""Keeps cib.xml, for people and tools; nothing is read from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from crm.cib.model import Element
from crm.cib.store import CibStore
from crm.cib.versions import CibVersion
from crm.replica import log_events

DELAY_S: Final = 1.0

log = structlog.get_logger()


class CibXml:
    """`shown` says the configuration, its version and who changed it last."""

    def __init__(
        self, store: CibStore, shown: Callable[[], tuple[Element, CibVersion, str]], node_name: str
    ) -> None:
        self._store, self._shown, self._node_name = store, shown, node_name
        self._dirty = asyncio.Event()

    def changed(self) -> None:
        """There is another configuration."""
        self._dirty.set()

    async def keep(self, on_disk: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        """Write it a second after a change, by `on_disk`. Ends by cancellation."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(DELAY_S)
            self._dirty.clear()
            await on_disk(self._write)

    def finish(self) -> None:
        """At the end: what was not written yet."""
        if self._dirty.is_set():
            self._write()

    def _write(self) -> None:
        """A failure is logged, not fatal: the log on disk is what counts."""
        configuration, version, author = self._shown()
        try:
            self._store.cib_xml(configuration, version, last_change=author, origin=self._node_name)
        except OSError as error:
            log.warning(log_events.CIB_XML_FAILED, reason=str(error))
