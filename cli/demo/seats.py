"""The client's and the onlooker's processes in a lab, and the threads that read what they say."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from cli.demo.ground import LabError, until
from cli.demo.lab import Lab
from cli.demo.node import Node
from cli.demo.observer import Attempt, Onlooker, Outage, Picture, outages

_KEPT: Final = 200_000  # more than an hour of attempts


class Client:
    """Fetches a page of `address` every 20 ms from a machine that is no node."""

    def __init__(
        self, lab: Lab, address: str, *, port: int = 80, number: int = 0, every_ms: int = 20
    ) -> None:
        own = lab.client_address(number)
        words = ("--own", own, "--address", address, "--port", str(port), "--every-ms", str(every_ms))
        self._attempts: list[Attempt] = []
        self._names = {node.interfaces[0].mac: node.name for node in lab.nodes}
        self._process = lab.guest("fetch_script.py", *words, address=own)
        self._lock = threading.Lock()
        threading.Thread(target=self._read, name="client", daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            attempt = Attempt.parse(line, self._names)
            with self._lock:
                self._attempts.append(attempt)
                del self._attempts[:-_KEPT]

    def attempts(self, since_ns: int = 0) -> list[Attempt]:
        """Those that ended after `since_ns`."""
        with self._lock:
            return [attempt for attempt in self._attempts if attempt.end_ns >= since_ns]

    def last_ok(self) -> Attempt | None:
        """The newest good answer."""
        with self._lock:
            return next((attempt for attempt in reversed(self._attempts) if attempt.ok), None)

    def is_served(self, within_ms: int = 300) -> bool:
        """A page came lately."""
        last = self.last_ok()
        return last is not None and time.monotonic_ns() - last.end_ns < within_ms * 1_000_000

    def wait_served(self, within_s: float) -> Attempt:
        """Wait for a page that is asked for after this call. Raises LabError."""
        now = time.monotonic_ns()

        def fresh() -> list[Attempt]:
            return [each for each in self.attempts(now) if each.ok and each.start_ns >= now]

        return until(fresh, within_s, what="a page through the virtual address")[0]

    def outages(self, since_ns: int) -> list[Outage]:
        """Gaps in the service since then."""
        return outages(self.attempts(since_ns - 2_000_000_000), since_ns=since_ns)

    def longest_outage_ms(self, since_ns: int) -> float:
        """The longest of them, 0 when there was none."""
        now = time.monotonic_ns()
        return max((each.ms(now) for each in self.outages(since_ns)), default=0.0)


class Watch:
    """Looks into every node; told of boots and power cuts by who makes them."""

    def __init__(
        self, lab: Lab, resources: Mapping[str, Mapping[str, object]], *, exclusive: bool = True
    ) -> None:
        self.seen = Onlooker(list(resources), exclusive=exclusive)
        self.lock = threading.Lock()
        self.on_change: Callable[[], None] = lambda: None
        self._process = lab.guest("watch_script.py", "--resources", json.dumps(resources))
        threading.Thread(target=self._read, name="onlooker", daemon=True).start()
        for node in lab.nodes:
            self.tell(node)

    def tell(self, node: Node) -> None:
        """The node has just booted or gone off."""
        assert self._process.stdin is not None
        pid = node.first_in_room if node.is_on else 0
        try:
            self._process.stdin.write(json.dumps({"node": node.name, "pid": pid}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise LabError(what="the onlooker is gone") from error

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self.lock:
                self.seen.see([Picture.parse(record) for record in json.loads(line)])
            self.on_change()

    def wait_all_on(self, node: Node | str, within_s: float) -> None:
        """Wait until everything is active there and nowhere else. Raises LabError."""
        name = node if isinstance(node, str) else node.name
        until(lambda: self.all_on(name), within_s, what=f"all resources on {name}: {self.places()}")

    def all_on(self, name: str) -> bool:
        """Everything is active there and nowhere else."""
        with self.lock:
            return self.seen.all_on(name)

    def places(self) -> dict[str, list[str]]:
        """Where each resource is active now."""
        with self.lock:
            return {resource: self.seen.where(resource) for resource in self.seen.resources}

    def violations(self) -> list[str]:
        """Rules broken so far."""
        with self.lock:
            return [violation.text for violation in self.seen.violations]

    def when(self, node: str, resource: str, active: bool, since_ns: int) -> int | None:
        """The moment of that change after `since_ns`."""
        with self.lock:
            return self.seen.when(node, resource, active, since_ns)
