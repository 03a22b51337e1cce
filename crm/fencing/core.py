"""One fencing after the other device: delays, levels, executors, retries for ever. Pure.

Fail closed: a node counts as fenced when every device of one level has answered success, and never because
something took too long. An agent that fails quickly is tried again by the same executor
(pcmk_ACTION_retries), then by the others; then comes the next level. When all levels have failed, they are
tried again after 1, 2, 4 … 60 s. A device does no more at a time than pcmk_action_limit says, whoever asks,
and one thing to one node: an "on" that is given up may not end after the "off".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, assert_never

from crm.fencing.devices import Device

BACKOFF_MS: Final = 1_000
BACKOFF_MS_MAX: Final = 60_000
RETRY_MS: Final = 1_000
QUICK_PERCENT: Final = 70
"""Of its time: an agent that took longer before it failed is not tried again (Pacemaker's rule)."""

_MS: Final = 1_000_000


class Rng(Protocol):
    """Randomness; random.Random satisfies it."""

    def random(self) -> float:
        """0.0 up to, not including, 1.0."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """A former DC had this agent run: its result is awaited instead of another shot."""

    device: str
    action: str
    executor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Fence this node. `executors`: members that can run agents, the best first, never the target.

    `by_device`: other executors for some devices. `verify`: devices are asked whether the node is off, too (a
    reboot is off and on then); Ran has succeeded when they say so. `extra_delay_ms` comes before the first
    device, with the device's own delay. Asked again for a node that is being fenced: devices and executors
    count from the next round on, and that begins at once when the devices are others. `once`: an operator's
    order, which ends when all levels have failed; what the cluster needs is tried for ever.
    """

    target: str
    how: str
    levels: tuple[tuple[Device, ...], ...]
    executors: tuple[str, ...]
    timeout_ms: int
    extra_delay_ms: int = 0
    by_device: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    verify: bool = False
    once: bool = False
    under_way: UnderWay | None = None


@dataclass(frozen=True, slots=True)
class Ran:
    """An agent has ended, or could not be run; `attempt`: of Run. `final`: not to be repeated at once."""

    target: str
    attempt: int
    succeeded: bool
    why: str = ""
    final: bool = False


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
    """Have an executor run the device's agent; answered by Ran with the same attempt.

    `adopted`: it runs already, by a former DC's order.
    """

    target: str
    attempt: int
    device: Device
    action: str
    executor: str
    timeout_ms: int
    adopted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fenced:
    """It is certain: all devices of a level have answered success."""

    target: str
    how: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """All levels have failed once more; the next round begins after the pause (0: there is none)."""

    target: str
    how: str
    rounds: int
    why: str
    pause_ms: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """No shot any more: the target has returned, or another DC decides."""

    target: str
    how: str


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Say TimerFired at this instant."""

    target: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class ClearTimer:
    """The fencing of this target has ended."""

    target: str


Effect = Run | Fenced | Failed | Cancelled | SetTimer | ClearTimer


@dataclass(frozen=True, slots=True)
class _Use:
    """`late`: an "on" whose executor is lost. Whoever else may use the device, but not to end the target."""

    device: str
    target: str
    late: bool = False

    def is_against(self, action: str, target: str) -> bool:
        return self.target == target and not (self.late and action == "on")


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
    between_rounds: bool = False
    attempt: int = 0
    tries: int = 0
    began_ns: int = 0
    running: bool = False
    waits_for: str = ""  # a device that is busy
    why: str = ""


class Fencer:
    """All fencings under way at the DC."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self._under_way: dict[str, _Fencing] = {}
        self._attempts = 0
        self._busy: dict[int, _Use] = {}  # of an attempt

    @property
    def targets(self) -> dict[str, str]:
        """Nodes that are being fenced, and the last failure of each."""
        return {target: fencing.why for target, fencing in self._under_way.items()}

    def is_wanted(self, target: str, attempt: int) -> bool:
        """Whether the agent of this Run is still to be run, or its end awaited."""
        fencing = self._under_way.get(target)
        return fencing is not None and fencing.running and fencing.attempt == attempt

    def occupy(self, device: str, target: str, *, late: bool = False) -> int:
        """An agent is running that a former DC had started, for nothing that is wanted now.

        Its device is busy until Ran is told of the attempt that this returns. `late`: it lets the target in,
        and its executor is lost: the target can be let in by others, but not be ended before.
        """
        self._attempts += 1
        self._busy[self._attempts] = _Use(device, target, late)
        return self._attempts

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
                use = self._busy.pop(event.attempt, None)
                self._ran(event, effects, now_ns)
                self._device_is_free(use.device if use is not None else "", effects, now_ns)
            case TimerFired(target):
                fencing = self._under_way.get(target)
                if fencing is not None and not fencing.running and not fencing.waits_for:
                    if fencing.between_rounds:
                        fencing.order = fencing.latest
                        self._enter_level(fencing)
                    self._next(fencing, effects, now_ns)
            case Returned(target):
                fencing = self._under_way.pop(target, None)
                if fencing is not None:
                    effects.append(ClearTimer(target))
                    effects.append(Cancelled(target, fencing.order.how))
            case _:
                assert_never(event)
        return effects

    def _begin(self, order: Wanted, effects: list[Effect], now_ns: int) -> None:
        fencing = _Fencing(order, order)
        self._under_way[order.target] = fencing
        self._enter_level(fencing)
        if order.under_way is not None and self._adopt(fencing, order.under_way, effects, now_ns):
            return
        first = fencing.steps[0].device if fencing.steps else None
        fixed_ms, chance_ms = first.delay_ms(order.target) if first is not None else (0, 0)
        delay_ms = order.extra_delay_ms + fixed_ms + int(chance_ms * self._rng.random())
        if delay_ms:
            effects.append(SetTimer(order.target, now_ns + delay_ms * _MS))
        else:
            self._next(fencing, effects, now_ns)

    def _adopt(self, fencing: _Fencing, running: UnderWay, effects: list[Effect], now_ns: int) -> bool:
        """Go on where the former DC was. What it had done before in the same level is done."""
        for level in range(len(fencing.order.levels)):
            fencing.level = level
            self._enter_level(fencing)
            while fencing.steps:
                step = fencing.steps[0]
                if (step.device.id, step.action) == (running.device, running.action):
                    others = [name for name in fencing.executors if name != running.executor]
                    fencing.executors = [running.executor, *others]
                    self._run(fencing, effects, now_ns, adopted=True)
                    return True
                fencing.steps.pop(0)
        fencing.level = 0
        self._enter_level(fencing)
        return False

    def _again(self, fencing: _Fencing, order: Wanted, effects: list[Effect], now_ns: int) -> None:
        assert (order.how == "on") == (fencing.order.how == "on"), "Returned comes between off and on"
        before, fencing.latest = fencing.latest, replace(order, once=fencing.latest.once and order.once)
        pausing = not fencing.running and fencing.rounds > 0 and not fencing.waits_for
        if pausing and (before.levels != order.levels or not before.executors):
            fencing.order = fencing.latest
            fencing.level = 0
            self._enter_level(fencing)
            self._next(fencing, effects, now_ns)

    def _enter_level(self, fencing: _Fencing) -> None:
        """A reboot by several devices is off at all of them, then on; so is one by a device that cannot.

        Those that unfence do not let in a node that may still run: it is unfenced when it is back.
        """
        levels, how = fencing.order.levels, fencing.order.how
        group = levels[fencing.level] if fencing.level < len(levels) else ()
        verified = [device for device in group if device.can("status")] if fencing.order.verify else []
        apart = len(group) > 1 or bool(verified) or any(not device.can("reboot") for device in group)
        if how == "on" or not apart or (how == "off" and not verified):
            fencing.steps = [_Step(device, how, True) for device in group]
        else:
            fencing.steps = [_Step(device, "off", True) for device in group]
            fencing.steps += [_Step(device, "status", True) for device in verified]
            again = [device for device in group if how == "reboot" and not device.unfences]
            fencing.steps += [_Step(device, "on", False) for device in again]
        self._enter_step(fencing)

    def _enter_step(self, fencing: _Fencing) -> None:
        order = fencing.order
        fencing.tries = 0
        if fencing.steps:
            device = fencing.steps[0].device.id
            fencing.executors = list(order.by_device.get(device, order.executors))
        else:
            fencing.executors = list(order.executors)

    def _next(self, fencing: _Fencing, effects: list[Effect], now_ns: int) -> None:
        """Run the next step; without one the level is done, without a level all have failed."""
        order = fencing.order
        self._pass_over(fencing)
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
        if self._is_busy(step, order.target):
            fencing.waits_for = step.device.id
            return
        self._run(fencing, effects, now_ns)

    def _is_busy(self, step: _Step, target: str) -> bool:
        uses = [use for use in self._busy.values() if use.device == step.device.id]
        if any(use.is_against(step.action, target) for use in uses):
            return True
        return 0 <= step.device.action_limit <= sum(not use.late for use in uses)

    def _pass_over(self, fencing: _Fencing) -> None:
        """A device that nobody may run cannot succeed: the next level is tried."""
        while fencing.steps and not fencing.executors and fencing.order.executors:
            fencing.why = f"{fencing.steps[0].device.id}: it is banned from all members that could run it"
            fencing.level += 1
            self._enter_level(fencing)

    def _run(self, fencing: _Fencing, effects: list[Effect], now_ns: int, *, adopted: bool = False) -> None:
        step, order = fencing.steps[0], fencing.order
        self._attempts += 1
        fencing.attempt, fencing.running, fencing.began_ns = self._attempts, True, now_ns
        fencing.between_rounds = False
        fencing.tries += 1
        self._busy[self._attempts] = _Use(step.device.id, order.target)
        effects.append(
            Run(
                target=order.target,
                attempt=fencing.attempt,
                device=step.device,
                action=step.action,
                executor=fencing.executors[0],
                timeout_ms=step.device.timeout_ms(step.action, order.timeout_ms),
                adopted=adopted,
            )
        )

    def _device_is_free(self, device: str, effects: list[Effect], now_ns: int) -> None:
        for fencing in list(self._under_way.values()):
            if device and fencing.waits_for == device:
                fencing.waits_for = ""
                self._next(fencing, effects, now_ns)

    def _ran(self, event: Ran, effects: list[Effect], now_ns: int) -> None:
        fencing = self._under_way.get(event.target)
        if fencing is None or fencing.attempt != event.attempt or not fencing.running:
            return
        fencing.running = False
        step = fencing.steps[0]
        if not event.succeeded:
            fencing.why = f"{step.device.id}: {event.why or 'failed'}"
            if self._may_repeat(fencing, step, event, now_ns):
                effects.append(SetTimer(event.target, now_ns + RETRY_MS * _MS))
                return
        if event.succeeded or (not step.must and len(fencing.executors) == 1):
            fencing.steps.pop(0)
            self._enter_step(fencing)
        else:
            fencing.executors.pop(0)
            fencing.tries = 0
            if not fencing.executors:
                fencing.level += 1
                self._enter_level(fencing)
        self._next(fencing, effects, now_ns)

    def _may_repeat(self, fencing: _Fencing, step: _Step, event: Ran, now_ns: int) -> bool:
        """Whether the same executor tries the same once more: it failed quickly, and has tries left."""
        limit_ms = step.device.timeout_ms(step.action, fencing.order.timeout_ms)
        took_ms = (now_ns - fencing.began_ns) // _MS
        quick = took_ms * 100 < limit_ms * QUICK_PERCENT
        return quick and not event.final and fencing.tries < step.device.tries(step.action)

    def _fail_round(self, fencing: _Fencing, effects: list[Effect], now_ns: int) -> None:
        order = fencing.order
        pause_ms = min(BACKOFF_MS << min(fencing.rounds, 10), BACKOFF_MS_MAX)
        fencing.rounds += 1
        fencing.between_rounds = True
        fencing.level = 0
        fencing.order = fencing.latest
        self._enter_level(fencing)
        if not order.levels:
            fencing.why = f"no device can fence {order.target}"
        elif not order.executors:
            fencing.why = "no member can run a fence agent"
        once = fencing.latest.once
        failed = Failed(
            target=order.target,
            how=order.how,
            rounds=fencing.rounds,
            why=fencing.why,
            pause_ms=0 if once else pause_ms,
        )
        effects.append(failed)
        if once:
            del self._under_way[order.target]
            effects.append(ClearTimer(order.target))
            return
        effects.append(SetTimer(order.target, now_ns + pause_ms * _MS))
