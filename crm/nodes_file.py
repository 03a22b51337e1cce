"""Notices that cluster.toml has other nodes or another name. ha-lrm writes it, or an administrator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from crm import log_events
from hacluster import settings as ha_settings
from hacluster.errors import HaError
from hacluster.settings import Settings

LOOK_EVERY_S: Final = 1.0

log = structlog.get_logger()


class NodesFile:
    """`use` gets the settings whenever their nodes, or the cluster's name, are others than before."""

    def __init__(self, path: Path, now: Settings, use: Callable[[Settings], None]) -> None:
        self._path, self._now, self._use = path, (now.cluster_name, now.nodes), use
        self._seen = (-1, -1, -1)

    def look(self) -> None:
        """Read the file if it is another one. One that cannot be used is logged once and not taken."""
        try:
            status = self._path.stat()
        except OSError:
            return
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            after = ha_settings.load(self._path)
        except HaError as error:
            log.error(log_events.NODES_KEPT, reason=str(error))
            return
        if (after.cluster_name, after.nodes) != self._now:
            self._now = (after.cluster_name, after.nodes)
            self._use(after)

    async def watch(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_EVERY_S)
