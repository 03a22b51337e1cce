"""XPaths of clients, evaluated beside the event loop: one may take hours, and cannot be ended."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from typing import Final

from crm.cib.model import Element
from crm.cib.selection import select
from hacluster.errors import HaError, InvalidRequest, ResourceExhausted

SELECT_S: Final = 5.0
AT_ONCE_MAX: Final = 2
_NICE: Final = 19


class Selections:
    """Of one kind of clients: those who take too long hold up nobody but their own kind."""

    def __init__(self, *, within_s: float = SELECT_S) -> None:
        self._within_s = within_s
        self._free = asyncio.Semaphore(AT_ONCE_MAX)

    async def select(self, cib: Element, xpath: str) -> bytes:
        """As `crm.cib.selection.select`. Raises InvalidRequest, NotFound, ResourceExhausted too."""
        if not xpath:
            return select(cib, xpath)
        try:
            async with asyncio.timeout(self._within_s):
                await self._free.acquire()
        except TimeoutError:
            raise ResourceExhausted(what="other XPaths are still being evaluated") from None
        found = self._begin(cib, xpath)
        try:
            async with asyncio.timeout(self._within_s):
                return await found
        except TimeoutError:
            raise InvalidRequest(
                what=f"{xpath!r} takes more than {self._within_s:g} s",
                remedy="within [] no path that begins with / or //",
            ) from None

    def _begin(self, cib: Element, xpath: str) -> asyncio.Future[bytes]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[bytes] = loop.create_future()

        def end(result: bytes | Exception) -> None:
            self._free.release()
            if found.done():
                return
            if isinstance(result, Exception):
                found.set_exception(result)
            else:
                found.set_result(result)

        def work() -> None:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
            result: bytes | Exception
            try:
                result = select(cib, xpath)
            except (HaError, ValueError, MemoryError) as error:
                result = error
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(end, result)

        threading.Thread(target=work, name="xpath", daemon=True).start()
        return found
