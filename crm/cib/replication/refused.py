"""Requests that were answered FAILED, and so must not succeed when they arrive (again) after all. Pure."""

from __future__ import annotations

from typing import Final

from crm.cib.replication.log import Log, refusal_of

REFUSED_MAX: Final = 10_000


class Refused:
    """Of one reign, and by the entries of any: those hold under later DCs, too."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._here: dict[str, None] = {}

    def add(self, request_id: str) -> None:
        """As long as this reign lasts; nothing without an id."""
        if not request_id:
            return
        self._here[request_id] = None
        while len(self._here) > REFUSED_MAX:
            del self._here[next(iter(self._here))]

    def has_entry(self, request_id: str) -> bool:
        """Whether the log, as it is now, refuses it."""
        return self._log.find_request(refusal_of(request_id)) is not None

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._here or self.has_entry(request_id)
