"""When to start, check, kill and give up a node's services: the supervisor's rules, pure.

The same rules as the systemd units in deploy/: restart always but for a configuration error, a watchdog, and
an orderly stop. `hacluster.supervisor` carries the effects out.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias, assert_never

EXIT_CONFIG: Final = 6
"""As hacluster.supervision, which this process does not import for its weight."""

EXIT_FENCED: Final = 100

_MS: Final = 1_000_000
_NEVER: Final = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times in ms. A daemon that has run for `settled_ms` has its restarts forgotten."""

    check_every_ms: int = 1_000
    answer_within_ms: int = 5_000
    first_answer_within_ms: int = 30_000  # from its start: a busy machine imports slowly
    restarts_at_once: int = 3
    delay_first_ms: int = 500
    delay_ms_max: int = 10_000
    settled_ms: int = 60_000
    stop_within_ms: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Exited:
    """A service's process ended; `code` is negative for a signal."""

    service: str
    code: int


@dataclass(frozen=True, slots=True)
class Answered:
    """A service answered its health call."""

    service: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The node is to be stopped in order; a second one means at once."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went by."""


Event: TypeAlias = Exited | Answered | StopRequested | Tick


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the service's process."""

    service: str


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the service's process."""

    service: str
    number: signal.Signals


@dataclass(frozen=True, slots=True)
class Check:
    """Ask the service for its health, unless an earlier question is still unanswered."""

    service: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Kill what is left of the node and exit."""

    code: int


@dataclass(frozen=True, slots=True)
class Note:
    """Something to log."""

    level: str
    event: str
    service: str = ""
    fields: tuple[tuple[str, int], ...] = ()


Effect: TypeAlias = Spawn | Signal | Check | Finish | Note


class Phase(StrEnum):
    """Where a service stands."""

    WAITING = "waiting"  # to be started at `due_ns`
    RUNNING = "running"
    REFUSED = "refused"  # it cannot use its configuration
    STOPPED = "stopped"  # by our own stop


@dataclass(slots=True)
class _Service:
    name: str
    phase: Phase = Phase.WAITING
    due_ns: int = 0
    started_ns: int = 0
    answered_ns: int | None = None
    check_ns: int = _NEVER
    restarts: int = 0
    killed: bool = False


class Supervisor:
    """The services of one node. `start` and `stop` are their names in the order of starting and stopping."""

    def __init__(self, *, start: Sequence[str], stop: Sequence[str], limits: Limits) -> None:
        assert sorted(start) == sorted(stop)
        self._services = {name: _Service(name) for name in start}
        self._stop_order = tuple(stop)
        self._limits = limits
        self._stopping: int | None = None  # index into the stop order
        self._stop_due_ns = _NEVER
        self._ticked_ns: int | None = None
        self._finished = False

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """What to do about it. Nothing follows a Finish."""
        if self._finished:
            return []
        match event:
            case Exited(name, code):
                effects = self._exited(self._services[name], code, now_ns)
            case Answered(name):
                effects = self._answered(self._services[name], now_ns)
            case StopRequested():
                effects = self._stop_requested(now_ns)
            case Tick():
                effects = self._tick(now_ns)
            case _:
                assert_never(event)
        self._finished = any(isinstance(effect, Finish) for effect in effects)
        return effects

    def due_ns(self) -> int:
        """When the next Tick is wanted."""
        times = [self._stop_due_ns]
        for service in self._services.values():
            if service.phase is Phase.WAITING and self._stopping is None:
                times.append(service.due_ns)
            elif service.phase is Phase.RUNNING and not service.killed:
                times += [service.check_ns, self._deadline_ns(service)]
        return min(times)

    def _deadline_ns(self, service: _Service) -> int:
        if service.answered_ns is None:
            return service.started_ns + self._limits.first_answer_within_ms * _MS
        return service.answered_ns + self._limits.answer_within_ms * _MS

    def _tick(self, now_ns: int) -> list[Effect]:
        effects = self._forgive_pause(now_ns)
        for service in self._services.values():
            if service.phase is Phase.WAITING and self._stopping is None and now_ns >= service.due_ns:
                service.phase, service.started_ns, service.answered_ns = Phase.RUNNING, now_ns, None
                service.killed = False
                service.check_ns = now_ns + self._limits.check_every_ms * _MS // 4
                effects.append(Spawn(service.name))
            elif service.phase is Phase.RUNNING and not service.killed:
                effects += self._watch(service, now_ns)
        if now_ns >= self._stop_due_ns and self._stopping is not None:
            name = self._stop_order[self._stopping]
            self._stop_due_ns = _NEVER
            self._services[name].killed = True
            effects += [
                Note("warning", "supervisor.stop_too_slow", name),
                Signal(name, signal.SIGKILL),
            ]
        return effects

    def _watch(self, service: _Service, now_ns: int) -> list[Effect]:
        if now_ns >= self._deadline_ns(service):
            silent_ms = (now_ns - (service.answered_ns or service.started_ns)) // _MS
            service.killed = True
            return [
                Note("error", "supervisor.service_hangs", service.name, (("silent_ms", silent_ms),)),
                Signal(service.name, signal.SIGKILL),
            ]
        if now_ns < service.check_ns:
            return []
        # Until the first answer look four times as often: a start is waited for, a healthy service is not.
        pace = 4 if service.answered_ns is None else 1
        service.check_ns = now_ns + self._limits.check_every_ms * _MS // pace
        return [Check(service.name)]

    def _forgive_pause(self, now_ns: int) -> list[Effect]:
        """The whole node was stopped and goes on: its services' silence was not their own."""
        before, self._ticked_ns = self._ticked_ns, now_ns
        if before is None or now_ns - before < 2 * self._limits.check_every_ms * _MS:
            return []
        for service in self._services.values():
            if service.phase is Phase.RUNNING and service.answered_ns is not None:
                service.answered_ns = now_ns
        if self._stop_due_ns != _NEVER:
            self._stop_due_ns += now_ns - before
        return [Note("warning", "supervisor.paused", fields=(("paused_ms", (now_ns - before) // _MS),))]

    def _answered(self, service: _Service, now_ns: int) -> list[Effect]:
        if service.phase is not Phase.RUNNING:
            return []
        first = service.answered_ns is None
        service.answered_ns = now_ns
        if first:
            started_ms = (now_ns - service.started_ns) // _MS
            service.check_ns = now_ns + self._limits.check_every_ms * _MS
            return [Note("info", "supervisor.service_ready", service.name, (("started_ms", started_ms),))]
        return []

    def _exited(self, service: _Service, code: int, now_ns: int) -> list[Effect]:
        if self._stopping is not None:
            service.phase = Phase.STOPPED
            return self._stop_next(now_ns) if self._stop_order[self._stopping] == service.name else []
        ran_ms = (now_ns - service.started_ns) // _MS
        if code == EXIT_FENCED:
            service.phase = Phase.REFUSED
            return [Note("critical", "supervisor.service_stays_out", service.name)]
        if code == EXIT_CONFIG:
            service.phase = Phase.REFUSED
            effects: list[Effect] = [Note("error", "supervisor.service_refuses_configuration", service.name)]
            if all(other.phase is Phase.REFUSED for other in self._services.values()):
                effects.append(Finish(EXIT_CONFIG))
            return effects
        service.restarts = 1 if ran_ms >= self._limits.settled_ms else service.restarts + 1
        beyond = service.restarts - self._limits.restarts_at_once
        delay_ms = 0
        if beyond > 0:
            delay_ms = min(self._limits.delay_first_ms << min(beyond - 1, 30), self._limits.delay_ms_max)
        service.phase, service.due_ns = Phase.WAITING, now_ns + delay_ms * _MS
        fields = (("code", code), ("ran_ms", ran_ms), ("delay_ms", delay_ms), ("restarts", service.restarts))
        return [Note("warning", "supervisor.service_died", service.name, fields), *self._tick(now_ns)]

    def _stop_requested(self, now_ns: int) -> list[Effect]:
        if self._stopping is not None:
            return [Note("warning", "supervisor.stop_at_once"), Finish(1)]
        self._stopping = -1
        for service in self._services.values():
            if service.phase is not Phase.RUNNING:
                service.phase = Phase.STOPPED
        return [Note("info", "supervisor.stopping"), *self._stop_next(now_ns)]

    def _stop_next(self, now_ns: int) -> list[Effect]:
        assert self._stopping is not None
        for index in range(self._stopping + 1, len(self._stop_order)):
            service = self._services[self._stop_order[index]]
            self._stopping = index
            if service.phase is Phase.RUNNING:
                self._stop_due_ns = now_ns + self._limits.stop_within_ms[service.name] * _MS
                return [Signal(service.name, signal.SIGTERM)]
        self._stop_due_ns = _NEVER
        return [Note("info", "supervisor.stopped"), Finish(0)]
