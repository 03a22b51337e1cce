"""The story: three services on two nodes, a power cut, the return, standby, a killed web server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from cli.demo.ground import LabError, until
from cli.demo.lab import Lab
from cli.demo.node import SERVICES, Node
from cli.demo.picture import Scene, Stage
from cli.demo.seats import Client, Watch
from cli.demo.table import Result
from cli.demo.timeline import Cause, Record, record_from, spans

TAKEOVER_SLACK_MS: Final = 300
"""What a take-over may cost beyond deadtime and one keepalive: agreement, decision and the agents' work."""

_SETTLED_S: Final = 1.0
_MOVE_WITHIN_S: Final = 30.0
_START_WITHIN_S: Final = 60.0
_RECOVERY_WITHIN_S: Final = 40.0  # a monitor each 10 s finds it, then stop and start


@dataclass(frozen=True, slots=True, kw_only=True)
class Timers:
    """The cluster's, in ms."""

    keepalive_ms: int
    deadtime_ms: int

    @property
    def takeover_bound_ms(self) -> float:
        """The longest outage a power cut may cause."""
        return self.deadtime_ms + self.keepalive_ms + TAKEOVER_SLACK_MS


class Story:
    """Plays the events on a lab that is configured and off; what goes wrong is in the results."""

    def __init__(self, lab: Lab, client: Client, watch: Watch, stage: Stage, timers: Timers) -> None:
        self.lab, self.client, self.watch = lab, client, watch
        self.stage, self.timers = stage, timers
        self.results: list[Result] = []
        self._one, self._other = lab.nodes

    def scene(self) -> Scene:
        """What there is to see now."""
        now = time.monotonic_ns()
        return Scene(
            nodes={node.name: node.is_on for node in self.lab.nodes},
            places=self.watch.places(),
            attempts=self.client.attempts(now - 5_000_000_000),
            violations=len(self.watch.violations()),
        )

    def play(self, runs: int) -> None:
        """All of it, power cut and return as often as asked, or until something goes wrong."""
        steps = [self.start, *[self.power_cut, self.power_returns] * runs, self.standby, self.online]
        for step in (*steps, self.kill_web_server):
            step()
            if not self.results[-1].ok:
                self.stage.say("the rest of the story is not played")
                return

    # --- the events

    def start(self) -> None:
        """Power on both at once."""

        def both() -> int:
            at_ns = time.monotonic_ns()
            for node in self.lab.nodes:
                self.boot(node)
            return at_ns

        self._event("both nodes start", both, self._one, within_s=_START_WITHIN_S, kind=Cause.BOOT)

    def power_cut(self) -> None:
        """Node 1 loses power: node 2 takes over."""

        def cut() -> int:
            at_ns = self._one.power_cut()
            self.watch.tell(self._one)
            return at_ns

        self._event(
            f"power cut of {self._short(self._one)}",
            cut,
            self._other,
            within_s=self.timers.deadtime_ms / 1e3 + _MOVE_WITHIN_S,
            bound_ms=self.timers.takeover_bound_ms,
            kind=Cause.LOSS,
        )

    def power_returns(self) -> None:
        """Node 1 returns: auto_failback is on, so everything moves back."""

        def boot() -> int:
            at_ns = time.monotonic_ns()
            self.boot(self._one)
            return at_ns

        name = f"{self._short(self._one)} returns"
        self._event(name, boot, self._one, within_s=_START_WITHIN_S, kind=Cause.BOOT)

    def standby(self) -> None:
        """An administrator wants node 1 free."""
        name = f"node standby {self._short(self._one)}"
        self._event(name, lambda: self._order("node", "standby", self._one.name), self._other)

    def online(self) -> None:
        """And gives it back."""
        name = f"node online {self._short(self._one)}"
        self._event(name, lambda: self._order("node", "online", self._one.name), self._one)

    def kill_web_server(self) -> None:
        """The service itself dies: recovered in place."""

        def kill() -> int:
            at_ns = time.monotonic_ns()
            listeners = self._one.exec("ss", "-Hltnp", "sport = :80").stdout
            pids = sorted({word.partition(",")[0] for word in listeners.split("pid=")[1:]})
            if not pids:
                raise LabError(what=f"no web server to kill on {self._one.name}: {listeners}")
            self._one.exec("kill", "-9", *pids)
            until(lambda: not self.watch.all_on(self._one.name), 2, what="the web server to be gone")
            return at_ns

        self._event("web server killed", kill, self._one, within_s=_RECOVERY_WITHIN_S)

    # --- how they are played

    def boot(self, node: Node) -> None:
        """Power on, and tell the onlooker."""
        node.boot()
        self.watch.tell(node)

    def _order(self, *words: str) -> int:
        at_ns = time.monotonic_ns()
        self._other.hacli(*words)
        return at_ns

    def _event(
        self,
        name: str,
        cause: Callable[[], int],
        target: Node,
        *,
        within_s: float = _MOVE_WITHIN_S,
        bound_ms: float | None = None,
        kind: Cause = Cause.ORDER,
    ) -> None:
        self.stage.step(name)
        at_ns = time.monotonic_ns()
        remark = ""
        ok = True
        try:
            at_ns = cause()
            self.watch.wait_all_on(target, within_s)
            self.client.wait_served(5)
        except LabError as error:
            ok, remark = False, str(error)
        served_ns = self._service_back_ns(at_ns)
        if ok:
            self._settle(target, within_s)
        outage_ms = self.client.longest_outage_ms(at_ns)
        total_ms = (served_ns - at_ns) / 1e6
        parts = spans(list(self.records()), at_ns, served_ns, kind)
        result = Result(
            name=name,
            ok=ok,
            outage_ms=outage_ms,
            total_ms=total_ms,
            bound_ms=bound_ms,
            spans=tuple(parts),
            remark=remark,
        )
        self.results.append(result)
        verdict = "" if result.ok and result.within else f"  WRONG {remark}"
        place = self._short(target)
        self.stage.say(f"{name}: on {place}, {outage_ms:,.0f} ms without service{verdict}")

    def _service_back_ns(self, since_ns: int) -> int:
        """When the client's last outage since then ended; now when it had none or has one still."""
        ends = [outage.end_ns for outage in self.client.outages(since_ns)]
        return ends[-1] if ends and ends[-1] else time.monotonic_ns()

    def _settle(self, target: Node, within_s: float) -> None:
        """Wait until nothing has moved for a second, so that the next event finds a quiet cluster."""
        end = time.monotonic() + within_s
        quiet_since = time.monotonic()
        while time.monotonic() < end and time.monotonic() - quiet_since < _SETTLED_S:
            if not (self.watch.all_on(target.name) and self.client.is_served()):
                quiet_since = time.monotonic()
            time.sleep(0.05)

    def records(self) -> Iterator[Record]:
        """All daemons' logs, on our clock."""
        offset_ns = time.time_ns() - time.monotonic_ns()
        for node in self.lab.nodes:
            for service in SERVICES:
                for line in node.log_records(service):
                    record = record_from(node.name, line, wall_minus_clock_ns=offset_ns)
                    if record is not None:
                        yield record

    @staticmethod
    def _short(node: Node) -> str:
        return node.name.partition(".")[0]


@contextmanager
def shown(story: Story) -> Iterator[None]:
    """The picture is live inside."""
    story.stage.open(story.scene)
    try:
        yield
    finally:
        story.stage.close()
