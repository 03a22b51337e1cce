"""The kill ladder of agents.md section 6: SIGTERM to the group, a grace time, SIGKILL to everything, and what
to say when even that does not help. Pure; the server owns the processes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lrm.exec.protocol import How

UNKILLABLE_AFTER_NS = 5_000_000_000


class Rung(StrEnum):
    """How far a run has come."""

    RUNNING = "running"
    TERMINATED = "terminated"  # SIGTERM was sent
    KILLED = "killed"  # SIGKILL was sent
    UNKILLABLE = "unkillable"  # reported; still there
    GONE = "gone"


class Deed(StrEnum):
    """What the server has to do now."""

    TERMINATE_GROUP = "terminate_group"
    KILL_ALL = "kill_all"
    REPORT_UNKILLABLE = "report_unkillable"
    FINISH = "finish"
    REPORT_VANISHED = "report_vanished"


@dataclass(slots=True)
class Ladder:
    """One run. `deadline_ns` 0 means no time limit."""

    deadline_ns: int
    grace_ns: int
    rung: Rung = Rung.RUNNING
    how: How = How.EXITED
    _next_ns: int = 0

    def wake_at(self) -> int | None:
        """When `tick` has something to do, or None."""
        match self.rung:
            case Rung.RUNNING:
                return self.deadline_ns or None
            case Rung.TERMINATED | Rung.KILLED:
                return self._next_ns
            case Rung.UNKILLABLE | Rung.GONE:
                return None

    def tick(self, now_ns: int) -> list[Deed]:
        """Time has passed."""
        due_ns = self.wake_at()
        if due_ns is None or now_ns < due_ns:
            return []
        match self.rung:
            case Rung.RUNNING:
                return self.kill(How.TIMEOUT, now_ns)
            case Rung.TERMINATED:
                return self._kill_all(now_ns)
            case _:
                self.rung = Rung.UNKILLABLE
                return [Deed.REPORT_UNKILLABLE]

    def kill(self, how: How, now_ns: int) -> list[Deed]:
        """Someone wants it ended (`how` is TIMEOUT or KILLED). The first reason counts."""
        if self.rung is not Rung.RUNNING:
            return []
        self.how = how
        if self.grace_ns == 0:
            return self._kill_all(now_ns)
        self.rung, self._next_ns = Rung.TERMINATED, now_ns + self.grace_ns
        return [Deed.TERMINATE_GROUP]

    def exited(self) -> list[Deed]:
        """The agent's own process is gone. What a killed one left in its group goes too."""
        before, self.rung = self.rung, Rung.GONE
        match before:
            case Rung.RUNNING:
                return [Deed.FINISH]
            case Rung.TERMINATED | Rung.KILLED:
                return [Deed.KILL_ALL, Deed.FINISH]
            case Rung.UNKILLABLE:
                return [Deed.KILL_ALL, Deed.REPORT_VANISHED]
            case Rung.GONE:
                return []

    def _kill_all(self, now_ns: int) -> list[Deed]:
        self.rung, self._next_ns = Rung.KILLED, now_ns + UNKILLABLE_AFTER_NS
        return [Deed.KILL_ALL]
