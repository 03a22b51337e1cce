"""This node's sentinel as ha-crm sees it: its watchdog is made known, and it is told when to end the node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from crm import log_events
from crm.attributes import AttributeKeeper
from crm.cib.document import cluster_options
from crm.cib.model import Element
from crm.fencing.history import FencingRecord, FencingState
from crm.fencing.self_fence import because
from crm.fencing.watchdog import ATTRIBUTE
from hacluster.clock import Clock
from hacluster.sentinel_word import WordFile
from hacluster.vocabulary.sentinel import ACTIVITY, STATE, VERDICT, Word

LOOK_S: Final = 2.0
FRESH_NS: Final = 6_000_000_000

log = structlog.get_logger()


class Guard:
    """`boot`: this node's boot token."""

    def __init__(
        self,
        run: Path,
        node: str,
        boot: str,
        keeper: AttributeKeeper,
        clock: Clock,
        configuration: Callable[[], Element],
        alone: Callable[[], bool],
        failed_stops: Callable[[], tuple[str, ...]],
        stay_out: Callable[[str], None],
    ) -> None:
        """`alone`: there is no quorum, nor will be soon; `failed_stops`: here; `stay_out`: for good."""
        self._node, self._boot, self._keeper, self._clock = node, boot, keeper, clock
        self._configuration, self._alone, self._failed_stops = configuration, alone, failed_stops
        self._stay_out = stay_out
        self._said = ""
        self._state, self._verdict = WordFile(run, STATE), WordFile(run, VERDICT)
        self._activity = WordFile(run, ACTIVITY)

    async def watch(self) -> None:
        """Keep #watchdog true, until cancelled."""
        while True:
            known = self._keeper.current.get(ATTRIBUTE, "")
            now = self.guarded_by()
            if now != known:
                self._keeper.change({ATTRIBUTE: now})
            self.consider()
            await asyncio.sleep(LOOK_S)

    def guarded_by(self) -> str:
        """The kind of the watchdog and its timeout in ms; empty without a sentinel that feeds one."""
        state = self._state.read()
        if state is None or self._clock.now_ns() - state.written_ns > FRESH_NS:
            return ""
        return f"{state.note} {state.value}"

    def fenced(self, record: FencingRecord) -> None:
        """A fencing is further on. One of this very boot that is said to be done: it has not worked.

        fence-reaction: panic (the default) while resources are active here and a sentinel can end the node;
        else, and with stop, what runs here is stopped, and this node stays out until it is started by hand.
        """
        mine = record.target == self._node and record.boot and self._boot.startswith(record.boot)
        if not mine or record.state is not FencingState.DONE or record.action == "on":
            return
        reaction = cluster_options(self._configuration()).get("fence-reaction", "panic").lower()
        activity = self._activity.read()
        active = activity is not None and activity.value > 0
        dies = reaction == "panic" and active and bool(self.guarded_by())
        log.critical(log_events.FENCED_ALIVE, device=record.device, dc=record.dc, dies=dies)
        if dies:
            self.die("told that it was fenced")
        else:
            self._stay_out("told that it was fenced")

    def consider(self) -> None:
        """Look whether a stop has failed that nobody can make up for by fencing this node."""
        why = because(self._configuration(), self._failed_stops()) if self._alone() else ""
        if why and why != self._said:
            dies = bool(self.guarded_by())
            log.critical(log_events.STOP_FAILED_ALONE, reason=why, dies=dies)
            if dies:
                self.die("a stop failed without quorum")
        self._said = why

    def die(self, why: str) -> None:
        """The sentinel ends this node at once."""
        self._verdict.write(Word(self._clock.now_ns(), 0, why))
