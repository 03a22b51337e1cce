"""`python -m tests.soak.fence_races --rounds N [--seed S]`: two nodes lose each other, and both may shoot.

Each round their links are cut while both are healthy; a power switch, asked by fence_netns, ends who is shot.
What must hold: exactly one survives, after one shot; everything runs there and nowhere else; with the link
healed and the other node booted both are a cluster again. The switch takes a random time, up to most of a
second.
"""

from __future__ import annotations

import argparse
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cli.demo.ground import until
from cli.demo.node import Node
from tests.live.documents import Primitive
from tests.live.running import Running, running

SETTLE_S: Final = 4.0
"""Longer than the loser would need for its shot: its delay and the switch's time."""

SWITCH_S_MAX: Final = 0.8
WITHIN_S: Final = 40.0


@dataclass
class Switch:
    """The lab's power switch: a socket in the folder that all nodes share. One thing at a time."""

    path: Path
    names: Sequence[str]
    rng: random.Random
    cut: Callable[[str], None]
    is_on: Callable[[str], bool]
    shots: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self.path.chmod(0o666)
        self._listener.listen(8)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.settimeout(10)
                    line = connection.makefile(encoding="utf-8").readline().strip()
                    connection.sendall(f"{self._do(line)}\n".encode())
                except OSError:
                    continue  # who asked is gone, perhaps by this very shot

    def _do(self, line: str) -> str:
        action, _, name = line.partition(" ")
        if action == "list":
            return f"ok {' '.join(self.names)}"
        if action == "status":
            return "ok on" if self.is_on(name) else "ok off"
        if action != "off":
            return "somebody has to press the button"
        time.sleep(self.rng.uniform(0, SWITCH_S_MAX))
        if self.is_on(name):
            self.shots.append(name)
            self.cut(name)
        return "ok"


def race(live: Running, switch: Switch) -> Node:
    """One round; the survivor."""
    switch.shots.clear()
    live.lab.split([live.one], [live.other])
    until(lambda: switch.shots, WITHIN_S, what="a shot")
    time.sleep(SETTLE_S)
    assert len(switch.shots) == 1, f"shot: {switch.shots}"
    (survivor,) = (node for node in live.nodes if node.is_on)
    live.watch.wait_all_on(survivor, WITHIN_S)
    live.lab.heal()
    for node in live.nodes:
        if not node.is_on:
            live.boot(node)
    live.wait_quiet(WITHIN_S)
    assert len(switch.shots) == 1, f"shot after the race: {switch.shots}"
    return survivor


@contextmanager
def ready(
    rng: random.Random, links: int = 1, names: Sequence[str] = ("n1", "n2")
) -> Iterator[tuple[Running, Switch]]:
    """Nodes that serve, and the switch that all can ask."""
    device = Primitive(
        id="power",
        agent="stonith:fence_netns",
        parameters={"switch": "/shared/switch.sock", "log": "/shared/power.log"},
        monitor="60s",
    )
    properties = {"stonith-enabled": "true"}
    with running(names, properties=properties, alone=[device], prefer="n1", links=links) as live:
        lock = threading.Lock()

        def cut(name: str) -> None:
            with lock:
                live.power_cut(live.lab[name])

        switch = Switch(
            live.lab.shared / "switch.sock",
            names,
            rng,
            cut=cut,
            is_on=lambda name: bool(live.lab[name].is_on),
        )
        try:
            yield live, switch
        finally:
            switch.close()
        assert live.watch.violations() == []


def run(rounds: int, seed: int, say: Callable[[str], None] = lambda _text: None) -> list[str]:
    """The survivors of all races."""
    survivors = []
    with ready(random.Random(seed)) as (live, switch):
        for number in range(1, rounds + 1):
            survivors.append(race(live, switch).name)
            say(f"race {number}: {survivors[-1]} survived")
    return survivors


def isolated(seed: int) -> tuple[str, list[str]]:
    """The DC loses one of its two links, then both nodes each other: the DC, and who was shot."""
    with ready(random.Random(seed), links=2) as (live, switch):
        dc = live.cluster.wait_dc(WITHIN_S)
        worse = live.lab[dc]
        (better,) = (node for node in live.nodes if node is not worse)
        live.lab.pull(worse, link=1)
        known = {worse.name: 2, better.name: 3}  # one more than the links with carrier

        def is_known() -> bool:
            said = [live.cluster.messaging(node).authority.nodes for node in live.nodes]
            return all({node.name: node.connectivity for node in nodes} == known for nodes in said)

        until(is_known, WITHIN_S, what="both know who is worse connected")
        live.wait_quiet(WITHIN_S)
        live.lab.split([worse], [better])
        until(lambda: switch.shots, WITHIN_S, what="a shot")
        live.watch.wait_all_on(better, WITHIN_S)
        return dc, list(switch.shots)


def outvoted(seed: int) -> list[str]:
    """Who serves is alone, the two others are together: who was shot. `ready` sees what is active twice."""
    with ready(random.Random(seed), names=("n1", "n2", "n3")) as (live, switch):
        one, *rest = live.nodes
        live.lab.split([one], rest)
        until(lambda: live.watch.places()["web"] in (["n2"], ["n3"]), WITHIN_S, what="the two serve")
        live.lab.heal()
        live.boot(one)
        live.wait_served(one, WITHIN_S)
        live.wait_quiet(WITHIN_S)
        return list(switch.shots)


def main() -> int:
    """0 when exactly one survived each race."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.fence_races")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    survivors = run(given.rounds, given.seed, say=lambda text: print(text, flush=True))
    counts = {name: survivors.count(name) for name in sorted(set(survivors))}
    print(f"{len(survivors)} races, one survivor each: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
