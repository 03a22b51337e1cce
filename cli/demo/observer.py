"""What is seen from outside a cluster: by its client and by somebody who looks into every node. Pure.

The client's attempts become outages; the onlooker's pictures are checked against the rules: resources start
in their order, stop in the reverse, and none is active on two nodes at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cli.demo.ground import LabError


@dataclass(frozen=True, slots=True)
class Attempt:
    """One fetch by the client; times of CLOCK_MONOTONIC in ns. `node` had the address when it ended."""

    start_ns: int
    end_ns: int
    outcome: str
    node: str

    @property
    def ok(self) -> bool:
        """The page came."""
        return self.outcome == "ok"

    @classmethod
    def parse(cls, line: str, names: Mapping[str, str]) -> Attempt:
        """A line of fetch_script; `names` are the nodes' by MAC."""
        start, end, outcome, mac = line.split()
        return cls(int(start), int(end), outcome, names.get(mac, mac))


@dataclass(frozen=True, slots=True)
class Outage:
    """No page between the last good answer and the next: `end_ns` is 0 while it lasts."""

    begin_ns: int
    end_ns: int
    failed: int

    def ms(self, now_ns: int) -> float:
        """How long."""
        return ((self.end_ns or now_ns) - self.begin_ns) / 1e6


def outages(attempts: Sequence[Attempt], *, since_ns: int = 0) -> list[Outage]:
    """Gaps in the service as the client saw it: from the last good answer before a failure to the next.

    Only those that end after `since_ns`, and only with a failed attempt in them or longer than a second.
    """
    found = []
    last_ok: int | None = None
    failed = 0
    for attempt in sorted(attempts, key=lambda each: each.end_ns):
        if not attempt.ok:
            failed += 1
            continue
        if last_ok is not None and (failed or attempt.end_ns - last_ok > 1_000_000_000):
            found.append(Outage(last_ok, attempt.end_ns, failed))
        last_ok, failed = attempt.end_ns, 0
    if failed and last_ok is not None:
        found.append(Outage(last_ok, 0, failed))
    return [each for each in found if not each.end_ns or each.end_ns > since_ns]


@dataclass(frozen=True, slots=True)
class Picture:
    """What was active on one node at one moment."""

    at_ns: int
    node: str
    on: bool
    active: Mapping[str, bool]

    @classmethod
    def parse(cls, record: Mapping[str, object]) -> Picture:
        """A line of watch_script."""
        active = record["active"]
        if not isinstance(active, Mapping):
            raise LabError(what=f"the onlooker's line is not understood: {record}")
        return cls(int(str(record["at_ns"])), str(record["node"]), bool(record["on"]), dict(active))


@dataclass(frozen=True, slots=True)
class Change:
    """A resource became active or inactive on a node."""

    at_ns: int
    node: str
    resource: str
    active: bool


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken."""

    at_ns: int
    text: str


class Onlooker:
    """Keeps what was seen; `resources` in their start order. `exclusive`: none may be active on two nodes."""

    def __init__(self, resources: Sequence[str], *, exclusive: bool = True) -> None:
        self.resources = tuple(resources)
        self.changes: list[Change] = []
        self.violations: list[Violation] = []
        self._now: dict[str, Picture] = {}
        self.exclusive = exclusive

    def see(self, pictures: Sequence[Picture]) -> None:
        """Pictures of one moment."""
        for picture in pictures:
            before = self._now.get(picture.node)
            for resource in self.resources:
                if (before.active[resource] if before else False) != picture.active[resource]:
                    change = Change(picture.at_ns, picture.node, resource, picture.active[resource])
                    self.changes.append(change)
            self._now[picture.node] = picture
        for picture in pictures:
            self._check_order(picture)
        if self.exclusive and pictures:
            self._check_exclusive(pictures[-1].at_ns)

    def _check_order(self, picture: Picture) -> None:
        """What starts later must not be there without what starts before it."""
        for earlier, later in zip(self.resources, self.resources[1:], strict=False):
            if picture.active[later] and not picture.active[earlier]:
                text = f"{picture.node}: {later} is active without {earlier}"
                self.violations.append(Violation(picture.at_ns, text))

    def _check_exclusive(self, at_ns: int) -> None:
        for resource in self.resources:
            where = self.where(resource)
            if len(where) > 1:
                self.violations.append(Violation(at_ns, f"{resource} is active on {' and '.join(where)}"))

    def where(self, resource: str) -> list[str]:
        """The nodes it is active on now."""
        return [name for name, picture in self._now.items() if picture.active[resource]]

    def all_on(self, node: str) -> bool:
        """Everything is active on that node and nothing elsewhere."""
        return all(self.where(resource) == [node] for resource in self.resources)

    def when(self, node: str, resource: str, active: bool, since_ns: int) -> int | None:
        """The moment of that change after `since_ns`, None when it has not been seen."""
        for change in self.changes:
            found = (change.node, change.resource, change.active) == (node, resource, active)
            if found and change.at_ns >= since_ns:
                return change.at_ns
        return None
