"""Scenario classes by name: each builds a world from a seed, runs it, and raises what a checker found.

`REGISTRY` is open: the classes of other layers add themselves by importing `register`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.sim import plan
from tests.sim.checkers import NobodyLeaves, OneQuorum, Settles, Views
from tests.sim.engine import MS, SECOND, START_NS, World
from tests.sim.membership import MembershipCluster, Timing


class Run(Protocol):
    """A run in the making: `play` raises InvariantBroken."""

    world: World

    def play(self) -> None:
        """The whole of it."""
        ...


REGISTRY: dict[str, Callable[[int], Run]] = {}


def register(name: str) -> Callable[[Callable[[int], Run]], Callable[[int], Run]]:
    """Make a class known to `python -m tests.sim run --class NAME`."""

    def keep(make: Callable[[int], Run]) -> Callable[[int], Run]:
        REGISTRY[name] = make
        return make

    return keep


class Planned:
    """A run whose faults are data: drawn from its seed, or `given` (a plan that was cut down)."""

    given: Sequence[plan.Fault] | None = None
    faults: Sequence[plan.Fault] = ()
    clients = True  # writers at work; a shrinker tries without

    def planned(self, draw: Callable[[], list[plan.Fault]]) -> Sequence[plan.Fault]:
        """The faults of this run. They are drawn in any case, so that what else is drawn stays the same."""
        drawn = draw()
        self.faults = drawn if self.given is None else self.given
        return self.faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The dials of a class."""

    nodes: int = 3
    kinds: tuple[str, ...] = ()
    faults_ns: int = 60 * SECOND
    mean_gap_ns: int = 3 * SECOND
    two_node: bool = False
    check_quorum: bool = True
    rate_ppm: int = 0
    at_bound: bool = False  # each clock is off by all of rate_ppm
    diskless: tuple[str, ...] = ()
    lms_window_ms: int = 0
    witness_votes: int = 0
    timing: Timing = Timing()  # noqa: RUF009


class ViewsRun(Planned):
    """ha-messaging alone: boot, faults, healing, verdict."""

    def __init__(self, seed: int, profile: Profile) -> None:
        self.world = World(seed)
        self.profile = profile
        self.rng = self.world.stream("plan")
        rates = [self.rng.randint(-profile.rate_ppm, profile.rate_ppm) for _ in range(profile.nodes)]
        if profile.at_bound:
            rates = [self.rng.choice([-profile.rate_ppm, profile.rate_ppm]) for _ in rates]
        self.cluster = MembershipCluster(
            self.world,
            profile.nodes,
            timing=profile.timing,
            two_node=profile.two_node,
            rates_ppm=rates if profile.rate_ppm else (),
            diskless=profile.diskless,
            lms_window_ms=profile.lms_window_ms,
            witness_votes=profile.witness_votes,
        )
        self.views = Views(self.cluster)
        self.world.checkers += [self.views, Settles(self.cluster)]
        if profile.check_quorum:
            self.world.checkers.append(OneQuorum(self.cluster))

    def play(self) -> None:
        """Boot all at once, then faults, then quiet."""
        self.cluster.boot_all()
        self.world.run_until(START_NS + 3 * SECOND)
        plan.schedule(self.cluster, self.planned(self.draw))
        self.world.run_until(self.world.now_ns + self.profile.faults_ns + 20 * SECOND)
        plan.end_faults(self.cluster)
        self.settle()

    def draw(self) -> list[plan.Fault]:
        """The faults of this seed."""
        return plan.draw(
            self.rng,
            self.cluster.network.nodes,
            kinds=self.profile.kinds,
            until_ns=self.profile.faults_ns,
            mean_gap_ns=self.profile.mean_gap_ns,
        )

    def settle(self) -> None:
        """One view that stays, within the longest rejoin_hold and a little; usually long before.

        Whoever was silent when the faults ended may yet be left out for that, though all are in one view at
        that moment. Later nobody is any more (I15).
        """
        deadtime_ns = self.profile.timing.deadtime_ns
        now_ns = since_ns = self.world.now_ns
        nobody = NobodyLeaves(self.cluster)
        nobody_ns = now_ns + 2 * deadtime_ns
        end_ns = now_ns + 70 * deadtime_ns + 10 * SECOND + self.profile.timing.initdead_ns
        while (now_ns := self.world.now_ns) < end_ns:
            nobody.armed = now_ns >= nobody_ns
            if not self.cluster.one_view():
                since_ns = now_ns
            elif now_ns - since_ns >= 2 * deadtime_ns:
                break
            self.world.run_until(now_ns + SECOND)
        nobody.armed = False
        self.world.settle()


class NoiseRun(ViewsRun):
    """Loss up to 20 % on two links, delays below K: nobody leaves (I15)."""

    def play(self) -> None:
        nobody = NobodyLeaves(self.cluster)
        self.world.checkers.append(nobody)
        keepalive_ns = self.profile.timing.keepalive_ns
        self.cluster.network.noise(
            drop=self.rng.uniform(0, 0.2),
            duplicate=self.rng.uniform(0, 0.2),
            delay_ns=(MS // 10, self.rng.randint(MS, keepalive_ns)),
        )
        self.cluster.boot_all()
        self.world.run_until(START_NS + 45 * SECOND)
        assert self.cluster.one_view(), "no view under noise within initdead"
        nobody.armed = True
        self.world.run_until(START_NS + 165 * SECOND)
        self.world.settle()


class BridgeRun(ViewsRun):
    """One edge is cut for good: the clique without its higher end goes on, and nothing flaps (6.6)."""

    def play(self) -> None:
        names = self.cluster.network.nodes
        self.cluster.boot_all()
        self.world.run_until(START_NS + 3 * SECOND)
        assert self.cluster.one_view(), "no view within three seconds of booting"
        one, other = sorted(self.rng.sample(list(names), 2))
        self.cluster.network.cut_edge(one, other)
        self.world.note("fault", f"bridge: {one} and {other} cannot hear each other")
        self.world.run_until(self.world.now_ns + 20 * SECOND)
        rest = {number for number, name in enumerate(names, 1) if name != other}
        views = {
            process.core.agreement.installed
            for process in self.cluster.live()
            if process.core is not None and process.config.node_id in rest
        }
        assert len(views) == 1, f"the clique without {other} has {len(views)} views"
        view = views.pop()
        assert view is not None
        assert {member.id for member in view.members} == rest, f"{view.id} is not the clique {rest}"
        self.world.run_until(self.world.now_ns + 30 * SECOND)
        for process in self.cluster.live():
            if process.config.node_id in rest and process.core is not None:
                assert process.core.agreement.installed == view, "the view flaps"
        self.cluster.network.heal()
        self.settle()


class StartupRun(ViewsRun):
    """Any subset, any order, any delay."""

    def play(self) -> None:
        for node in self.cluster.nodes.values():
            self.world.after(self.rng.randint(0, 60_000) * MS, f"boot {node.name}", node.boot)
        self.world.run_until(START_NS + 61 * SECOND)
        self.settle()


class RestartRun(ViewsRun):
    """ha-messaging is killed here and there, and back well within D: nobody is ever left out (I24)."""

    def play(self) -> None:
        nobody = NobodyLeaves(self.cluster)
        self.world.checkers.append(nobody)
        self.cluster.boot_all()
        self.world.run_until(START_NS + 5 * SECOND)
        nobody.armed = True
        deadtime_ms = self.profile.timing.deadtime_ns // MS
        back_ns = dict.fromkeys(self.cluster.network.nodes, 0)
        for _ in range(10):
            # Who dies again before anybody has heard it was away for longer: that is another story.
            name = self.rng.choice([n for n in back_ns if back_ns[n] <= self.world.now_ns])
            process = self.cluster.processes[name]
            process.crash()
            nobody.sizes.pop(name, None)
            away_ns = self.rng.randint(1, deadtime_ms * 4 // 5) * MS
            back_ns[name] = self.world.now_ns + away_ns + 2 * self.profile.timing.keepalive_ns
            self.world.after(away_ns, f"restart {name}", process.start)
            self.world.run_until(self.world.now_ns + self.rng.randint(deadtime_ms // 2, 4 * deadtime_ms) * MS)
        self.settle()


class SplitRun(ViewsRun):
    """Two nodes, cut apart and joined again, several times."""

    def play(self) -> None:
        self.cluster.boot_all()
        self.world.run_until(START_NS + 3 * SECOND)
        for _ in range(4):
            self.cluster.network.partition(["n1"], ["n2"])
            self.world.run_until(self.world.now_ns + self.rng.randint(100, 8_000) * MS)
            self.cluster.network.heal()
            self.world.run_until(self.world.now_ns + self.rng.randint(100, 8_000) * MS)
        self.settle()


class LoadRun(ViewsRun):
    """`deadtime = "auto"` on machines that stall for longer and longer: it follows, and nobody is left out.

    First a quiet time in which it comes down; then each stall is up to seven tenths of what deadtime has come
    to, on one node at a time.
    """

    def play(self) -> None:
        self.cluster.boot_all()
        self.world.run_until(START_NS + 3 * SECOND)
        nobody = NobodyLeaves(self.cluster)
        self.world.checkers.append(nobody)
        nobody.armed = True
        self.world.run_until(self.world.now_ns + 240 * SECOND)
        begin_ns = self._least()
        assert begin_ns < self.profile.timing.deadtime_ns * 6 // 10, f"deadtime stays at {begin_ns // MS} ms"
        for _ in range(25):
            process = self.rng.choice(self.cluster.live())
            process.pause(int(self._least() * self.rng.uniform(0.3, 0.7)))
            self.world.run_until(self.world.now_ns + self.rng.randint(4_000, 9_000) * MS)
        assert self._least() > begin_ns, "deadtime has not followed the stalls"
        self.settle()

    def _least(self) -> int:
        return min(process.core.detector.deadtime.ns for process in self.cluster.live() if process.core)


class BigRun(ViewsRun):
    """Many nodes: one view soon after the last has booted, and without a dead one soon after deadtime."""

    def __init__(self, seed: int, profile: Profile) -> None:
        super().__init__(seed, profile)
        self.cluster = MembershipCluster(self.world, profile.nodes, links=1, timing=profile.timing)
        self.world.checkers[:] = [Views(self.cluster), Settles(self.cluster)]

    def play(self) -> None:
        for node in self.cluster.nodes.values():
            self.world.after(self.rng.randint(0, 2_000) * MS, f"boot {node.name}", node.boot)
        self.world.run_until(START_NS + 12 * SECOND)
        assert self.cluster.one_view(), "no view of all ten seconds after the last booted"
        self.rng.choice(list(self.cluster.nodes.values())).power_cut(self.rng)
        self.world.run_until(self.world.now_ns + self.profile.timing.deadtime_ns + 3 * SECOND)
        assert self.cluster.one_view(), "the dead one is still in the view"
        self.world.settle()


CHAOS = ("partition", "cut", "one-way", "dark", "kill", "crash-between", "power", "pause", "noise", "replay")


def _class(name: str, kind: type[ViewsRun], profile: Profile) -> None:
    register(name)(lambda seed: kind(seed, profile))


_class("noise", NoiseRun, Profile())
_class("chaos3", ViewsRun, Profile(kinds=CHAOS))
_class("chaos5", ViewsRun, Profile(nodes=5, kinds=CHAOS))
_class("chaos9", ViewsRun, Profile(nodes=9, kinds=CHAOS, faults_ns=30 * SECOND))
_class("split2", SplitRun, Profile(nodes=2))
_class("split2-two-node", SplitRun, Profile(nodes=2, two_node=True, check_quorum=False))
_class("bridge", BridgeRun, Profile(nodes=4))
_class("startup", StartupRun, Profile(nodes=5))
_FAST = Timing(keepalive_ns=100 * MS, warntime_ns=250 * MS, deadtime_ns=500 * MS, initdead_ns=5 * SECOND)
_class("restart", RestartRun, Profile(nodes=4, timing=_FAST))
_class("pause", ViewsRun, Profile(kinds=("pause",), mean_gap_ns=5 * SECOND))
_class("stand-still", ViewsRun, Profile(kinds=("stand-still",), mean_gap_ns=5 * SECOND, check_quorum=False))
_class("power", ViewsRun, Profile(kinds=("power", "power-in-sync", "kill"), mean_gap_ns=5 * SECOND))
_class("clock", ViewsRun, Profile(kinds=CHAOS, rate_ppm=50_000))
_class("clock-bound", ViewsRun, Profile(nodes=4, kinds=CHAOS, rate_ppm=50_000, at_bound=True))
_class("diskless", ViewsRun, Profile(nodes=4, kinds=CHAOS, diskless=("n1",)))
_SLOW = Timing(keepalive_ns=SECOND, warntime_ns=4 * SECOND, deadtime_ns=10 * SECOND, initdead_ns=60 * SECOND)
_QUIET = Timing(keepalive_ns=SECOND, warntime_ns=5 * SECOND, deadtime_ns=10 * SECOND, initdead_ns=30 * SECOND)
_class(
    "quiet3",
    ViewsRun,
    Profile(kinds=CHAOS, timing=_QUIET, faults_ns=3_600 * SECOND, mean_gap_ns=300 * SECOND),
)
_class("big30", BigRun, Profile(nodes=30, timing=_SLOW))
_class("big100", BigRun, Profile(nodes=100, timing=_SLOW))
_AUTO = Timing(deadtime_auto=True)
_class("auto3", ViewsRun, Profile(kinds=CHAOS, timing=_AUTO))
_class("auto5", ViewsRun, Profile(nodes=5, kinds=CHAOS, timing=_AUTO, rate_ppm=50_000))
_class("auto-load", LoadRun, Profile(timing=_AUTO))
_class("wipe", ViewsRun, Profile(kinds=("wipe",), mean_gap_ns=20 * SECOND, check_quorum=False))
