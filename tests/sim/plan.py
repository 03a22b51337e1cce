"""A fault plan is data: timed faults drawn from a seed before the run, for reading and cutting down."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from messaging.packet import State
from tests.sim.engine import MS, SECOND, SYNC_NS, Node
from tests.sim.membership import MembershipCluster, MessagingProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something bad (or its end) at a moment after the start of the run."""

    at_ns: int
    kind: str
    nodes: tuple[str, ...] = ()
    link: int | None = None
    for_ns: int = 0

    def __str__(self) -> str:
        link = "" if self.link is None else f" link {self.link}"
        lasting = f" for {self.for_ns // MS} ms" if self.for_ns else ""
        return f"{self.at_ns / MS:10.1f} ms {self.kind} {' '.join(self.nodes)}{link}{lasting}"


Maker = Callable[[random.Random, Sequence[str], int], Fault]
Inflict = Callable[[MembershipCluster, Fault, random.Random], None]


def _some(rng: random.Random, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(rng.sample(list(names), rng.randint(1, max(1, len(names) - 1)))))


def _pair(rng: random.Random, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(rng.sample(list(names), 2))


def _link(rng: random.Random) -> int | None:
    return rng.choice([None, None, 0, 1])


def _pause_ns(rng: random.Random) -> int:
    return rng.choice([200 * MS, 700 * MS, 1_300 * MS, 2_400 * MS, 3 * SECOND, 8 * SECOND])


MAKERS: dict[str, Maker] = {
    "partition": lambda rng, names, at: Fault(at_ns=at, kind="partition", nodes=_some(rng, names)),
    "cut": lambda rng, names, at: Fault(at_ns=at, kind="cut", nodes=_pair(rng, names), link=_link(rng)),
    "one-way": lambda rng, names, at: Fault(
        at_ns=at, kind="one-way", nodes=_pair(rng, names), link=_link(rng)
    ),
    "dark": lambda rng, names, at: Fault(at_ns=at, kind="dark", link=rng.randrange(2)),
    "mend": lambda rng, names, at: Fault(at_ns=at, kind="mend"),
    "kill": lambda rng, names, at: Fault(
        at_ns=at, kind="kill", nodes=_some(rng, names)[:1], for_ns=rng.randint(1, 5_000) * MS
    ),
    "crash-between": lambda rng, names, at: Fault(
        at_ns=at, kind="crash-between", nodes=_some(rng, names)[:1], link=rng.randrange(8)
    ),
    "power": lambda rng, names, at: Fault(
        at_ns=at, kind="power", nodes=_some(rng, names), for_ns=rng.randint(1, 20_000) * MS
    ),
    "pause": lambda rng, names, at: Fault(
        at_ns=at, kind="pause", nodes=_some(rng, names)[:1], for_ns=_pause_ns(rng)
    ),
    "stand-still": lambda rng, names, at: Fault(
        at_ns=at, kind="stand-still", nodes=_some(rng, names)[:1], for_ns=_pause_ns(rng)
    ),
    "noise": lambda rng, names, at: Fault(at_ns=at, kind="noise", link=rng.randint(0, 40)),
    "replay": lambda rng, names, at: Fault(at_ns=at, kind="replay"),
    "power-in-sync": lambda rng, names, at: Fault(
        at_ns=at, kind="power-in-sync", nodes=_some(rng, names), for_ns=rng.randint(1, 20_000) * MS
    ),
    "wipe": lambda rng, names, at: Fault(at_ns=at, kind="wipe", nodes=_some(rng, names)[:1], for_ns=SECOND),
}


def draw(
    rng: random.Random, names: Sequence[str], *, kinds: Sequence[str], until_ns: int, mean_gap_ns: int
) -> list[Fault]:
    """Faults up to `until_ns`. Only some of the kinds are used in one run: uniform mixes find less."""
    used = rng.sample(list(kinds), rng.randint(1, len(kinds)))
    faults: list[Fault] = []
    for at_ns in moments(rng, mean_gap_ns, until_ns):
        kind = "mend" if rng.random() < 0.3 else rng.choice(used)
        faults.append(MAKERS[kind](rng, names, at_ns))
    return faults


def moments(rng: random.Random, mean_gap_ns: int, until_ns: int) -> Iterator[int]:
    """Moments before `until_ns`, each drawn when it is asked for: as often as that, at no fixed distance."""
    at_ns = int(rng.expovariate(1.0) * mean_gap_ns)
    while at_ns < until_ns:
        yield at_ns
        at_ns += int(rng.expovariate(1.0) * mean_gap_ns)


def schedule(cluster: MembershipCluster, faults: Sequence[Fault]) -> None:
    """Put the plan on the world's heap."""
    rng = cluster.world.stream("faults")
    start_ns = cluster.world.now_ns
    for fault in faults:
        cluster.world.at(start_ns + fault.at_ns, f"fault {fault}", partial(inflict, cluster, fault, rng))


def inflict(cluster: MembershipCluster, fault: Fault, rng: random.Random) -> None:
    """Do it now."""
    world, network, nodes = cluster.world, cluster.network, fault.nodes
    world.note("fault", str(fault)[14:])
    match fault.kind:
        case "partition":
            rest = [name for name in network.nodes if name not in nodes]
            if not network.beside:
                network.partition(nodes, rest)
            else:  # what is beside is with one side, with both, or with none
                with_one, with_both = rng.random() < 0.7, rng.random() < 0.5
                one = (*nodes, *network.beside) if with_one else nodes
                network.partition(one, rest, shared=network.beside if with_both else ())
        case "cut":
            network.cut_edge(nodes[0], nodes[1], fault.link)
        case "one-way":
            network.cut_one_way(nodes[0], nodes[1], fault.link)
        case "dark":
            network.cut_link(fault.link or 0)
        case "mend":
            network.uncut()
        case "noise":
            loss = (fault.link or 0) / 100
            network.noise(drop=loss, duplicate=loss / 2, delay_ns=(MS // 10, 30 * MS), tail=loss / 4)
        case "kill":
            for name in nodes:
                process = cluster.processes[name]
                process.crash()
                world.after(fault.for_ns, f"restart {name}", process.start)
        case "crash-between":
            process = cluster.processes[nodes[0]]
            process.crash_after = fault.link
            world.after(SECOND, f"restart {nodes[0]}", process.start)
        case "power-in-sync":
            for name in nodes:
                cluster.processes[name].power_cut_for_ns = fault.for_ns
        case "power" | "wipe":
            for name in nodes:
                node = cluster.nodes[name]
                node.power_cut(rng)
                if fault.kind == "wipe":
                    node.disk.wipe()
                world.after(fault.for_ns, f"boot {name}", partial(_boot, node))
        case "pause" | "stand-still":
            for name in nodes:
                cluster.nodes[name].pause(fault.for_ns, clock_stands=fault.kind == "stand-still")
        case "replay":
            for src, dst, link, payload in list(network.recorded)[:: rng.randint(1, 7)]:
                network.inject(src, dst, link, payload, rng.randint(0, 50 * MS))
        case _:
            MORE[fault.kind](cluster, fault, rng)


MORE: dict[str, Inflict] = {}
"""Faults that other modules add, with their makers."""


def _boot(node: Node) -> None:
    if not node.up:
        node.boot()


def end_faults(cluster: MembershipCluster) -> None:
    """Heal the network and the disks, and start whatever is down."""
    cluster.world.note("fault", "all end")
    cluster.faults_over = True
    cluster.network.heal()
    for node in cluster.nodes.values():
        node.disk.sync_ns, node.disk.broken, node.disk.room_bytes = SYNC_NS, False, None
        if not node.up:
            node.boot()
    for process in cluster.processes.values():
        process.crash_after, process.power_cut_for_ns = None, 0
        restart_if_refusing(process)
        process.start()


def restart_if_refusing(process: MessagingProcess) -> None:
    """Its disk had failed, and it stays out of all views until somebody restarts it."""
    if process.core is not None and process.core.agreement.state is State.REFUSING:
        process.world.count("refused_for_its_disk")
        process.crash()
        process.start()
