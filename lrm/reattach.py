"""What became of a run the journal has begun and not ended, by what lrm-exec says when it is met. Pure.

A result is never called lost while its agent may be running: what lrm-exec does not know, it looks for.
"""

from __future__ import annotations

from dataclasses import dataclass

from lrm.exec.protocol import Adopt, Running, Welcome
from lrm.journal.model import Flight


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """lrm-exec has it. `unrecorded`: the journal has no process for it, or another one, and must."""

    running: Running
    unrecorded: bool


@dataclass(frozen=True, slots=True)
class ResultFollows:
    """It has ended; lrm-exec is about to say how."""


@dataclass(frozen=True, slots=True)
class Find:
    """lrm-exec is a new one: have it look for the process, by pid or by its cgroup, and wait for its end."""

    adopt: Adopt


@dataclass(frozen=True, slots=True)
class NeverBegan:
    """This lrm-exec was there all the time, and never heard of it."""


@dataclass(frozen=True, slots=True)
class Lost:
    """systemd was told, or not: there is no process of ours to look for."""


Fate = Runs | ResultFollows | Find | NeverBegan | Lost


def fate(flight: Flight, token: str, welcome: Welcome, *, by_systemd: bool, grace_ms: int) -> Fate:
    """`token` is the run's name at lrm-exec; `by_systemd`: its agent is a unit, which lrm-exec never runs."""
    if by_systemd:
        return Lost()
    for running in welcome.running:
        if running.token == token:
            recorded = (flight.pid, flight.start_ticks) == (running.pid, running.start_ticks)
            return Runs(running=running, unrecorded=not recorded)
    if token in welcome.ended:
        return ResultFollows()
    operation = flight.accepted.operation
    if flight.pid:
        return Find(
            Adopt(
                token=token,
                resource=operation.resource,
                pid=flight.pid,
                start_ticks=flight.start_ticks,
                deadline_ns=flight.deadline_ns,
                grace_ms=grace_ms,
            )
        )
    if 0 < welcome.since_ns < flight.began_ns:
        return NeverBegan()
    return Find(
        Adopt(
            token=token,
            resource=operation.resource,
            pid=0,
            start_ticks=0,
            deadline_ns=0,
            grace_ms=grace_ms,
            timeout_ms=operation.timeout_ms,
        )
    )
