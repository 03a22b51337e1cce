"""One fencing after the other device: delays, levels, executors, retries for ever. Pure.

Fail closed: a node counts as fenced when every device of one level has answered success, and never because
something took too long. When all levels have failed, they are tried again after 1, 2, 4 … 60 s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol, assert_never

from crm.fencing.devices import Device

BACKOFF_MS: Final = 1_000
BACKOFF_MS_MAX: Final = 60_000
_MS: Final = 1_000_000


class Rng(Protocol):
    """Randomness; random.Random satisfies it."""

    def random(self) -> float:
        """0.0 up to, not including, 1.0."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Fence this node. `executors`: members that can run agents, the best first, never the target.

    `extra_delay_ms` comes before the first device, with the device's own delay. Asked again for a node that
    is being fenced: devices and executors count from the next round on, and that begins at once when the
    devices are others.
    """

    target: str
    how: str
    levels: tuple[tuple[Device, ...], ...]
    executors: tuple[str, ...]
    timeout_ms: int
    extra_delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class Ran:
    """An agent has ended, or could not be run; `attempt` is that of Run."""

    target: str
    attempt: int
    succeeded: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The delay or the pause for a target is over."""

    target: str


@dataclass(frozen=True, slots=True)
class Returned:
    """The target is a clean member again, or another DC decides now: a shot would be stale."""

    target: str


Event = Wanted | Ran | TimerFired | Returned


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Have an executor run the device's agent; answered by Ran with the same attempt."""

    target: str
    attempt: int
    device: Device
    action: str
    executor: str
    timeout_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fenced:
    """It is certain: all devices of a level have answered success."""

    target: str
    how: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """All levels have failed once more; the next round begins after the pause."""

    target: str
    rounds: int
    why: str
    pause_ms: int


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Say TimerFired at this instant."""

    target: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class ClearTimer:
    """The fencing of this target has ended."""

    target: str


Effect = Run | Fenced | Failed | SetTimer | ClearTimer


@dataclass(slots=True)
class _Step:
    device: Device
    action: str
    must: bool  # switching on again may fail


@dataclass(slots=True)
class _Fencing:
    order: Wanted
    latest: Wanted
    rounds: int = 0
    level: int = 0
    steps: list[_Step] = field(default_factory=list)
    executors: list[str] = field(default_factory=list)
    attempt: int = 0
    running: bool = False
    why: str = ""


class Fencer:
    """All fencings under way at the DC."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self._under_way: dict[str, _Fencing] = {}
        self._attempts = 0

    @property
    def targets(self) -> dict[str, str]:
        """Nodes that are being fenced, and the last failure of each."""
        return {target: fencing.why for target, fencing in self._under_way.items()}

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """Take one event."""
        effects: list[Effect] = []
        match event:
            case Wanted():
                fencing = self._under_way.get(event.target)
                if fencing is None:
                    self._begin(event, effects, now_ns)
                else:
                    self._again(fencing, event, effects, now_ns)
            case Ran():
                self._ran(event, effects, now_ns)
            case TimerFired(target):
                fencing = self._under_way.get(target)
                if fencing is not None and not fencing.running:
                    self._next(fencing, effects, now_ns)
            case Returned(target):
                if self._under_way.pop(target, None) is not None:
                    effects.append(ClearTimer(target))
            case _:
                assert_never(event)
        return effects

    def _begin(self, order: Wanted, effects: list[Effect], now_ns: int) -> None:
        fencing = _Fencing(order, order)
        self._under_way[order.target] = fencing
        self._enter_level(fencing)
        first = fencing.steps[0].device if fencing.steps else None
        fixed_ms, chance_ms = first.delay_ms(order.target) if first is not None else (0, 0)
        delay_ms = order.extra_delay_ms + fixed_ms + int(chance_ms * self._rng.random())
        if delay_ms:
            effects.append(SetTimer(order.target, now_ns + delay_ms * _MS))
        else:
            self._next(fencing, effects, now_ns)

    def _again(self, fencing: _Fencing, order: Wanted, effects: list[Effect], now_ns: int) -> None:
        before, fencing.latest = fencing.latest, order
        pausing = not fencing.running and fencing.rounds > 0
        if pausing and (before.levels != order.levels or not before.executors):
            fencing.order = order
            self._enter_level(fencing)
            self._next(fencing, effects, now_ns)

    def _enter_level(self, fencing: _Fencing) -> None:
        """A reboot by several devices is off at all of them, then on."""
        levels, how = fencing.order.levels, fencing.order.how
        group = levels[fencing.level] if fencing.level < len(levels) else ()
        if how == "reboot" and len(group) > 1:
            fencing.steps = [_Step(device, "off", True) for device in group]
            fencing.steps += [_Step(device, "on", False) for device in group]
        else:
            fencing.steps = [_Step(device, how, True) for device in group]
        fencing.executors = list(fencing.order.executors)

    def _next(self, fencing: _Fencing, effects: list[Effect], now_ns: int) -> None:
        """Run the next step; without one the level is done, without a level all have failed."""
        order = fencing.order
        if not fencing.steps and fencing.level < len(order.levels):
            del self._under_way[order.target]
            names = tuple(device.id for device in order.levels[fencing.level])
            effects.append(ClearTimer(order.target))
            effects.append(Fenced(target=order.target, how=order.how, devices=names))
            return
        if not fencing.steps or not fencing.executors:
            self._fail_round(fencing, effects, now_ns)
            return
        step = fencing.steps[0]
        self._attempts += 1
        fencing.attempt, fencing.running = self._attempts, True
        effects.append(
            Run(
                target=order.target,
                attempt=fencing.attempt,
                device=step.device,
                action=step.action,
                executor=fencing.executors[0],
                timeout_ms=step.device.timeout_ms(step.action, order.timeout_ms),
            )
        )

    def _ran(self, event: Ran, effects: list[Effect], now_ns: int) -> None:
        fencing = self._under_way.get(event.target)
        if fencing is None or fencing.attempt != event.attempt or not fencing.running:
            return
        fencing.running = False
        step = fencing.steps[0]
        if event.succeeded or (not step.must and len(fencing.executors) == 1):
            fencing.steps.pop(0)
            fencing.executors = list(fencing.order.executors)
        else:
            fencing.why = f"{step.device.id}: {event.why or 'failed'}"
            fencing.executors.pop(0)
            if not fencing.executors:
                fencing.level += 1
                self._enter_level(fencing)
        self._next(fencing, effects, now_ns)

    def _fail_round(self, fencing: _Fencing, effects: list[Effect], now_ns: int) -> None:
        order = fencing.order
        pause_ms = min(BACKOFF_MS << min(fencing.rounds, 10), BACKOFF_MS_MAX)
        fencing.rounds += 1
        fencing.level = 0
        fencing.order = fencing.latest
        self._enter_level(fencing)
        if not order.levels:
            fencing.why = f"no device can fence {order.target}"
        elif not order.executors:
            fencing.why = "no member can run a fence agent"
        failed = Failed(target=order.target, rounds=fencing.rounds, why=fencing.why, pause_ms=pause_ms)
        effects.append(failed)
        effects.append(SetTimer(order.target, now_ns + pause_ms * _MS))
