"""More faults of the network and the disks than `plan` has, and the classes that are there for them.

Packets are sealed bytes here, fragments included, so that what is damaged, forged or too long is met by the
real gate. A disk that lies about fsync may lose a promise, and no protocol that counts on disks survives that
beside other faults; so that one is played alone (`LyingRun`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from messaging.packet import HEADER, Keyring, Kind, Sealer, WorkingKey
from tests.sim import plan
from tests.sim.classes import CHAOS, Profile, ViewsRun, register
from tests.sim.engine import MS, SECOND, START_NS, SYNC_NS
from tests.sim.membership import KEYRING, MembershipCluster
from tests.sim.network import Damaged
from tests.sim.plan import Fault
from tests.sim.talk import TalkChecker, chatter

FLAPS = 8
FLAP_MS = (60, 250, 1_100, 1_300, 2_400, 2_600, 5_100)
"""Half a period: about keepalive, deadtime / 2, deadtime, rejoin_hold at the default timers."""
HOLES_BYTES = (110, 200, 500, 1_000, 1_350)
DAY_S = 86_400
WALL_S = (DAY_S, -DAY_S, 30, -30, -10_000_000)
"""The last goes to 1970."""


# -- drawn


def _one(rng: random.Random, names: Sequence[str]) -> tuple[str, ...]:
    return (rng.choice(list(names)),)


def _swizzle(rng: random.Random, names: Sequence[str], at_ns: int) -> Fault:
    """Nodes are cut off one by one, and come back one by one in another order (`link`: which)."""
    nodes = tuple(rng.sample(list(names), rng.randint(2, len(names))))
    return Fault(
        at_ns=at_ns,
        kind="swizzle",
        nodes=nodes,
        link=rng.randrange(1 << 16),
        for_ns=rng.choice([500 * MS, 4 * SECOND, 15 * SECOND]),
    )


def _flap(rng: random.Random, names: Sequence[str], at_ns: int) -> Fault:
    nodes = tuple(rng.sample(list(names), 2))
    link = rng.choice([None, None, 0, 1])
    return Fault(at_ns=at_ns, kind="flap", nodes=nodes, link=link, for_ns=rng.choice(FLAP_MS) * MS)


def _hole(rng: random.Random, names: Sequence[str], at_ns: int) -> Fault:
    """`link`: the limit in bytes. One node's cable, or an edge."""
    nodes = tuple(rng.sample(list(names), rng.choice([1, 2])))
    return Fault(
        at_ns=at_ns,
        kind="mtu-hole",
        nodes=nodes,
        link=rng.choice(HOLES_BYTES),
        for_ns=rng.randint(1, 10_000) * MS,
    )


plan.MAKERS |= {
    "swizzle": _swizzle,
    "flap": _flap,
    "mtu-hole": _hole,
    "flips": lambda rng, names, at: Fault(
        at_ns=at, kind="flips", link=rng.choice([1, 5, 30]), for_ns=rng.randint(1, 8_000) * MS
    ),
    "forge": lambda rng, names, at: Fault(
        at_ns=at, kind="forge", nodes=tuple(rng.sample(list(names), 2)), link=rng.randrange(1 << 16)
    ),
    "slow-disk": lambda rng, names, at: Fault(
        at_ns=at, kind="slow-disk", nodes=_one(rng, names), for_ns=rng.randint(1, 15_000) * MS
    ),
    "full-disk": lambda rng, names, at: Fault(
        at_ns=at,
        kind="full-disk",
        nodes=_one(rng, names),
        link=rng.choice([0, 20, 100, 300, 600]),
        for_ns=rng.randint(1, 8_000) * MS,
    ),
    "wall": lambda rng, names, at: Fault(
        at_ns=at, kind="wall", nodes=_one(rng, names), link=rng.randrange(len(WALL_S))
    ),
}


# -- done


def _later(cluster: MembershipCluster, in_ns: int, what: str, action: Callable[[], None]) -> None:
    """Unless all faults have ended by then."""
    cluster.world.after(in_ns, what, lambda: None if cluster.faults_over else action())


def _do_swizzle(cluster: MembershipCluster, fault: Fault, _rng: random.Random) -> None:
    network, names = cluster.network, fault.nodes
    rng = random.Random(fault.link)
    back = list(names)
    rng.shuffle(back)
    moments = sorted(rng.randrange(fault.for_ns) for _ in range(2 * len(names)))

    def turn(name: str, *, cut: bool) -> None:
        for other in network.nodes:
            if other != name:
                for path in (*network.each(name, other), *network.each(other, name)):
                    path.cut = cut

    for at_ns, name in zip(moments, names, strict=False):
        _later(cluster, at_ns, f"swizzle {name} off", partial(turn, name, cut=True))
    for at_ns, name in zip(moments[len(names) :], back, strict=True):
        _later(cluster, at_ns, f"swizzle {name} on", partial(turn, name, cut=False))


def _do_flap(cluster: MembershipCluster, fault: Fault, _rng: random.Random) -> None:
    network = cluster.network
    one, other = fault.nodes

    def turn(left: int) -> None:
        for path in (*network.each(one, other, fault.link), *network.each(other, one, fault.link)):
            path.cut = left % 2 == 1
        if left:
            _later(cluster, fault.for_ns, f"flap {one} {other}", partial(turn, left - 1))

    turn(2 * FLAPS - 1)


def _do_hole(cluster: MembershipCluster, fault: Fault, _rng: random.Random) -> None:
    network, one = cluster.network, fault.nodes[0]
    other = fault.nodes[1] if len(fault.nodes) > 1 else None
    paths = [*network.each(one, other), *network.each(other, one)]

    def turn(limit_bytes: int) -> None:
        for path in paths:
            path.mtu_bytes = limit_bytes

    turn(fault.link or 0)
    _later(cluster, fault.for_ns, "mtu as before", partial(turn, 0))


def _do_flips(cluster: MembershipCluster, fault: Fault, _rng: random.Random) -> None:
    def turn(chance: float) -> None:
        for path in cluster.network.each():
            path.flip = chance

    turn((fault.link or 0) / 100)
    _later(cluster, fault.for_ns, "no more flips", partial(turn, 0.0))


def _do_forge(cluster: MembershipCluster, fault: Fault, _rng: random.Random) -> None:
    """Somebody on the wire, with all that can be read there and without the key."""
    rng = random.Random(fault.link)
    claimed, target = fault.nodes
    for datagram in forgeries(cluster, claimed, rng):
        for link in range(cluster.network.links):
            cluster.network.inject(claimed, target, link, Damaged(datagram), rng.randrange(20 * MS))


def forgeries(cluster: MembershipCluster, claimed: str, rng: random.Random) -> list[bytes]:
    """Packets that look as if `claimed` had sent them."""
    process = cluster.processes[claimed]
    session, incarnation = process._identity
    session = session or rng.randbytes(16)
    wrong = WorkingKey(id=1, method="sha256", key=rng.randbytes(32))
    found = []
    for cluster_id, keyring in (
        (bytes(16), Keyring(keys={1: wrong}, signing=1)),
        (bytes(16), Keyring(keys={9: replace(wrong, id=9)}, signing=9)),
        (bytes(16), Keyring(keys={1: replace(wrong, method="aes256gcm")}, signing=1)),
        (b"other cluster id", KEYRING),
    ):
        sealer = Sealer(
            cluster_id=cluster_id,
            node_id=int(process.config.node_id),
            session=session,
            incarnation=incarnation + rng.randrange(3),
            keyring=keyring,
        )
        kind, body = rng.choice([*Kind]), rng.randbytes(rng.randrange(300))
        found.append(sealer.seal(kind, body, link=0, sequence=rng.getrandbits(40)))
    heard = [payload for *_, payload in cluster.network.recorded if isinstance(payload, bytes)]
    genuine = [payload for payload in heard if not isinstance(payload, Damaged)]
    if genuine:
        real = rng.choice(genuine)
        found += [real[:-1], real[: HEADER.size], real + b"\0", real[:-32] + bytes(32)]
    return [*found, rng.randbytes(rng.randrange(2_000)), b"", b"HA"]


def _do_slow_disk(cluster: MembershipCluster, fault: Fault, _rng: random.Random) -> None:
    disk = cluster.nodes[fault.nodes[0]].disk
    sync_ns = disk.sync_ns

    def mend() -> None:
        disk.sync_ns = sync_ns

    if sync_ns == SYNC_NS:
        disk.sync_ns = (200 * MS, 5 * SECOND)
        cluster.world.after(fault.for_ns, "a fast disk again", mend)


def _do_full_disk(cluster: MembershipCluster, fault: Fault, _rng: random.Random) -> None:
    """ha-messaging then refuses, as long as it runs; so it is restarted when there is room again."""
    process = cluster.processes[fault.nodes[0]]
    process.disk.room_bytes = fault.link

    def mend() -> None:
        process.disk.room_bytes = None
        plan.restart_if_refusing(process)

    cluster.world.after(fault.for_ns, f"room on {fault.nodes[0]}", mend)


def _do_wall(cluster: MembershipCluster, fault: Fault, _rng: random.Random) -> None:
    cluster.nodes[fault.nodes[0]].wall_ahead_s = WALL_S[fault.link or 0]


plan.MORE |= {
    "swizzle": _do_swizzle,
    "flap": _do_flap,
    "mtu-hole": _do_hole,
    "flips": _do_flips,
    "forge": _do_forge,
    "slow-disk": _do_slow_disk,
    "full-disk": _do_full_disk,
    "wall": _do_wall,
}


# -- classes


class WireRun(ViewsRun):
    """Sealed packets, and everybody talks, also at length: holes, flips, forgeries and flapping links."""

    def __init__(self, seed: int, profile: Profile) -> None:
        super().__init__(seed, profile)
        self.checker = TalkChecker(self.cluster)
        self.world.checkers.append(self.checker)
        for process in self.cluster.processes.values():
            process.wire = True

    def play(self) -> None:
        self.cluster.boot_all()
        self.world.run_until(START_NS + 3 * SECOND)
        end_ns = self.world.now_ns + self.profile.faults_ns
        if self.clients:
            chatter(self.cluster, self.checker, self.world.stream("talk"), end_ns + 14 * SECOND, 6_000)
        plan.schedule(self.cluster, self.planned(self.draw))
        self.world.run_until(end_ns + 20 * SECOND)
        plan.end_faults(self.cluster)
        self.settle()


class LyingRun(ViewsRun):
    """One node's fsync lies for a while, then its power fails; all others are well until it is caught up.

    While the disk lies another node restarts, so that there is something to promise. It does so before the
    power fails: what goes down after that would be a second fault beside a lost promise.
    """

    def play(self) -> None:
        self.cluster.boot_all()
        self.world.run_until(START_NS + 3 * SECOND)
        for node in self.cluster.nodes.values():
            self.world.after(
                self.rng.randrange(3_000) * MS, "first change", partial(self._restart, node.name)
            )
        self.world.run_until(START_NS + 10 * SECOND)
        for _ in range(6):
            name = self.rng.choice(self.cluster.network.nodes)
            node, other = self.cluster.nodes[name], self.rng.choice(self.cluster.network.nodes)
            self.views.wiped.add(name)
            node.disk.lies = True
            self.world.note("fault", f"lying-disk {name}")
            lies_ms = self.rng.randint(1, 6_000)
            change_ns = self.rng.randrange(lies_ms) * MS
            self.world.after(change_ns, "a change of views", partial(self._restart, other))
            self.world.run_until(self.world.now_ns + lies_ms * MS)
            node.power_cut(self.rng)
            self.world.run_until(self.world.now_ns + self.rng.randint(1, 6_000) * MS)
            node.boot()
            for process in self.cluster.processes.values():
                process.start()
            self.settle()

    def _restart(self, name: str) -> None:
        process = self.cluster.processes[name]
        process.crash()
        self.world.after(4 * SECOND, f"restart {process.name}", process.start)


NET = ("swizzle", "flap", "mtu-hole", "flips", "forge", "noise", "partition", "one-way", "replay")
DISKS = ("slow-disk", "full-disk", "power", "power-in-sync", "kill", "crash-between", "partition")


def _class(name: str, kind: type[ViewsRun], profile: Profile) -> None:
    register(name)(lambda seed: kind(seed, profile))


_class("wire3", WireRun, Profile(kinds=NET, faults_ns=40 * SECOND))
_class("wire5", WireRun, Profile(nodes=5, kinds=(*NET, "kill", "power", "pause"), faults_ns=40 * SECOND))
_class("net5", ViewsRun, Profile(nodes=5, kinds=("swizzle", "flap", "cut", "kill"), mean_gap_ns=4 * SECOND))
_class("disks", ViewsRun, Profile(kinds=DISKS))
_class("lying", LyingRun, Profile(check_quorum=False))
_class("wall", ViewsRun, Profile(nodes=4, kinds=(*CHAOS, "wall", "wall"), diskless=("n1",)))
