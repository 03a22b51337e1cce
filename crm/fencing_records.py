"""The history of fencings on this node: on disk, told to the other nodes by the DC, and to alert agents."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import structlog

from crm import log_events
from crm.fencing.history import FencingHistory, FencingRecord, FencingState
from hacluster.clock import Clock

log = structlog.get_logger()


class FencingRecords:
    """`on_news`: called with each record that is new, or has changed, wherever it came from."""

    def __init__(self, path: Path, node: str, clock: Clock) -> None:
        self._path, self._node, self._clock = path, node, clock
        self.history = FencingHistory(_read(path))
        self.on_news: Callable[[FencingRecord], None] = lambda _record: None
        self.tell: Callable[[Sequence[FencingRecord]], None] = lambda _records: None

    def take(self, records: Sequence[FencingRecord]) -> None:
        """Another node's DC says so."""
        for record in self._keep(records):
            self.on_news(record)

    def begin(self, target: str, action: str, client: str, boot: str = "") -> FencingRecord:
        """At the DC: a fencing begins, or goes on that a former DC had begun."""
        for known in reversed(self.history.under_way(target)):
            if known.action == action:
                return self.change(known, dc=self._node, state=FencingState.PENDING)
        now_s = self._clock.wall_s()
        record = FencingRecord(
            id=f"{target}.{self._node}.{self._clock.now_ns():x}",
            target=target,
            action=action,
            dc=self._node,
            client=client,
            boot=boot[:16],
            state=FencingState.PENDING,
            version=1,
            began_s=now_s,
            changed_s=now_s,
        )
        self._publish(record)
        return record

    def change(self, record: FencingRecord, **changes: Any) -> FencingRecord:
        """At the DC: it is further on."""
        changed = replace(record, version=record.version + 1, changed_s=self._clock.wall_s(), **changes)
        self._publish(changed)
        return changed

    def _publish(self, record: FencingRecord) -> None:
        self.take((record,))
        self.tell((record,))

    def _keep(self, records: Sequence[FencingRecord]) -> tuple[FencingRecord, ...]:
        news = self.history.take(records)
        if news:
            self._write()
        return news

    def _write(self) -> None:
        """Small and seldom. What cannot be written is known to the other nodes all the same."""
        text = json.dumps([asdict(record) for record in self.history.records()])
        fresh = self._path.with_name(f".{self._path.name}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(text)
            fresh.chmod(0o600)
            fresh.replace(self._path)
        except OSError as error:
            log.warning(log_events.FENCING_HISTORY_NOT_KEPT, file=str(self._path), reason=str(error))


def _read(path: Path) -> tuple[FencingRecord, ...]:
    try:
        stored = json.loads(path.read_bytes())
        return tuple(
            FencingRecord(
                **{**one, "state": FencingState(one["state"]), "operation": tuple(one["operation"])}
            )
            for one in stored
        )
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning(log_events.FENCING_HISTORY_NOT_KEPT, file=str(path), reason=f"not readable: {error}")
        return ()
