"""Whether lrm-exec still works: it answers pings, and ends what has run for too long. Pure.

Counted in beats (one a second), not in time: after a pause of this process or of the machine both sides get
the same chance to go on before anybody is called hung.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

BEAT_S: Final = 1.0
SILENT_BEATS_MAX: Final = 10
"""Without an answer to a ping, or any other word."""

OVERDUE_BEATS_MAX: Final = 20
"""Beyond a run's timeout and kill grace: SIGKILL and the five seconds until "unkillable" lie within."""


class ExecWatch:
    """One connection after the other."""

    def __init__(self) -> None:
        self._silent_beats = 0
        self._overdue: dict[str, int] = {}

    def opened(self) -> None:
        """A new connection, perhaps to a new lrm-exec: it has all its time."""
        self._silent_beats = 0
        self._overdue = {}

    def heard(self) -> None:
        """Any message shows that it works; also Welcome, which is the answer to Hello."""
        self._silent_beats = 0

    def beat(self, now_ns: int, due: Iterable[tuple[str, int]]) -> str:
        """Once a beat, before the ping is sent. `due`: runs it has, and until when each must have ended.

        Why lrm-exec must be killed, or "".
        """
        self._silent_beats += 1
        if self._silent_beats > SILENT_BEATS_MAX:
            return f"it has not answered for {SILENT_BEATS_MAX} s"
        late = [token for token, due_ns in due if due_ns < now_ns]
        self._overdue = {token: self._overdue.get(token, 0) + 1 for token in late}
        for token, beats in self._overdue.items():
            if beats > OVERDUE_BEATS_MAX:
                return f"run {token} should have been ended {OVERDUE_BEATS_MAX} s ago"
        return ""
