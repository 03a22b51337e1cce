"""DATA in the simulator: clients that send at every node, and what may be expected of it (5)."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial

from hacluster.vocabulary.ids import NO_VIEW, ViewId
from messaging.membership import talk
from messaging.membership.events import Data, DataAnswered, DataRequested, Deliver, Lost
from tests.sim.checkers import NobodyLeaves
from tests.sim.classes import CHAOS, Profile, ViewsRun, register
from tests.sim.engine import MS, SECOND, START_NS, InvariantBroken, World
from tests.sim.membership import MembershipCluster, MessagingProcess
from tests.sim.plan import draw, end_faults, schedule


@dataclass(slots=True)
class Sent:
    """A message as its sender gave it away."""

    request: DataRequested
    view: ViewId
    members: frozenset[int]


@dataclass(slots=True)
class Run:
    """One run of one receiver."""

    last: dict[tuple[int, int], int] = field(default_factory=dict)  # (sender, run): number delivered last
    got: set[tuple[int, int, int]] = field(default_factory=set)


class TalkChecker:
    """In order, at most once, only in its view, only where it was meant to go, nothing but what was sent; and

    all of it where both ends have stayed in the view.
    """

    def __init__(self, cluster: MembershipCluster) -> None:
        self.cluster = cluster
        self.asked: dict[tuple[str, int], DataRequested] = {}
        self.sent: dict[tuple[int, int, int], Sent] = {}  # (sender, run, number)
        self.runs: dict[tuple[str, int], Run] = {}
        self.refused = self.lost = 0
        for process in cluster.processes.values():
            process.on_talk.append(self._heard)

    def say(self, process: MessagingProcess, request: DataRequested) -> None:
        self.asked[process.node.name, request.token] = request
        process.deliver(request)

    def _heard(self, process: MessagingProcess, news: DataAnswered | Deliver | Lost) -> None:
        match news:
            case DataAnswered():
                self._answered(process, news)
            case Deliver():
                self._delivered(process, news)
            case Lost():
                self.lost += 1
                process.world.count("data_lost")

    def _answered(self, process: MessagingProcess, answer: DataAnswered) -> None:
        request = self.asked.pop((process.node.name, answer.token))
        if answer.refusal:
            self.refused += 1
            process.world.count("data_exhausted" if answer.exhausted else "data_refused")
            return
        assert process.core is not None
        view = process.core.agreement.installed
        incarnation = process.core._start.incarnation
        members = frozenset(member.id for member in view.members) if view is not None else frozenset()
        key = (process.config.node_id, incarnation, answer.number)
        self.sent[key] = Sent(request, answer.view, members)

    def _delivered(self, process: MessagingProcess, news: Deliver) -> None:
        core, data, name = process.core, news.data, process.node.name
        assert core is not None
        run = self.runs.setdefault((name, process.generation), Run())
        key = (int(news.sender), news.incarnation, data.number)
        request = self._request(key, data)
        if request is None:
            raise InvariantBroken("S5/content", f"{name} got {key}, which nobody sent so")
        if request.destination not in (0, process.config.node_id):
            raise InvariantBroken("S5/address", f"{name} got {key}, which is for {request.destination}")
        last = run.last.get(key[:2], 0)
        if data.number <= last:
            raise InvariantBroken("S5/order", f"{name} got {key} after {last}")
        run.last[key[:2]] = data.number
        run.got.add(key)
        installed = core.agreement.installed.id if core.agreement.installed is not None else NO_VIEW
        if not request.any_view and data.view != installed:
            raise InvariantBroken("S5/view", f"{name} is in {installed} and got {key} of {data.view}")
        process.world.count("data_delivered")

    def _request(self, key: tuple[int, int, int], data: Data) -> DataRequested | None:
        """What it goes back to. A sender that crashed before its answer may have sent it all the same."""
        sent = self.sent.get(key)
        asked = [sent.request] if sent is not None else self.asked.values()
        return next((r for r in asked if (r.payload, r.topic) == (data.payload, data.topic)), None)

    def after_event(self, world: World) -> None:
        for process in self.cluster.live():
            assert process.core is not None
            told = process.core.talk
            if len(told._kept) > talk.HISTORY_MESSAGES or told._kept_bytes > talk.HISTORY_BYTES:
                raise InvariantBroken("I25", f"{process.node.name} keeps {len(told._kept)} messages")
            if any(len(inbox.waiting) > talk.HISTORY_MESSAGES for inbox in told._inboxes.values()):
                raise InvariantBroken("I25", f"{process.node.name}: an inbox has no bound")

    def settled(self, world: World) -> None:
        """What was sent in the view that everybody is in at last has arrived everywhere."""
        live = {process.config.node_id: process for process in self.cluster.live()}
        for (sender, incarnation, number), sent in self.sent.items():
            source = live.get(sender)  # type: ignore[call-overload]
            if source is None or source.core is None or source.core._start.incarnation != incarnation:
                continue
            installed = source.core.agreement.installed
            if installed is None or sent.view != installed.id:
                continue
            for member in installed.members:
                process = live[member.id]
                wanted = sent.request.destination in (0, member.id) and member.id != sender
                run = self.runs.get((process.node.name, process.generation), Run())
                if wanted and (sender, incarnation, number) not in run.got:
                    raise InvariantBroken(
                        "S5/all", f"{process.node.name} lacks {sender}:{number} of {sent.view}"
                    )


def chatter(
    cluster: MembershipCluster, checker: TalkChecker, rng: random.Random, end_ns: int, longest: int
) -> None:
    """Everybody sends now and then until `end_ns`: to all or to one, bound to the view or not."""
    world, token = cluster.world, 0

    def speak(process: MessagingProcess) -> None:
        nonlocal token
        if world.now_ns >= end_ns:
            return
        token += 1
        if process.alive and not process.paused:
            others = [p.config.node_id for p in cluster.processes.values() if p is not process]
            request = DataRequested(
                token=token,
                topic=rng.choice(["election", "attributes"]),
                payload=b"%d:" % token + bytes(rng.randrange(longest)),
                destination=rng.choice([0, 0, rng.choice(others)]),
                any_view=rng.random() < 0.2,
            )
            for _ in range(1 if rng.random() < 0.98 else 0):
                checker.say(process, request)
        world.after(rng.randint(2, 300) * MS, f"say {process.node.name}", lambda: speak(process))

    for process in cluster.processes.values():
        world.after(rng.randint(1, 100) * MS, f"say {process.node.name}", partial(speak, process))


class TalkRun(ViewsRun):
    """Messages under faults; every second seed with sealed packets and fragments."""

    noise_only = False

    def __init__(self, seed: int, profile: Profile) -> None:
        super().__init__(seed, profile)
        self.checker = TalkChecker(self.cluster)
        self.world.checkers.append(self.checker)
        if seed % 2:
            for process in self.cluster.processes.values():
                process.wire = True
        self.longest = 6_000 if seed % 2 else 40

    def play(self) -> None:
        self.cluster.boot_all()
        self.world.run_until(START_NS + 3 * SECOND)
        end_ns = self.world.now_ns + self.profile.faults_ns
        chatter(self.cluster, self.checker, self.rng, end_ns + 14 * SECOND, self.longest)
        self.trouble()
        self.world.run_until(end_ns + 10 * SECOND)  # the longest pause is over
        end_faults(self.cluster)
        self.settle()

    def trouble(self) -> None:
        names = self.cluster.network.nodes
        faults = draw(
            self.rng,
            names,
            kinds=self.profile.kinds,
            until_ns=self.profile.faults_ns,
            mean_gap_ns=self.profile.mean_gap_ns,
        )
        schedule(self.cluster, faults)


class TalkNoiseRun(TalkRun):
    """Loss up to 20 % on two links: nobody leaves, so everything arrives, and nothing is given up."""

    def trouble(self) -> None:
        nobody = NobodyLeaves(self.cluster)
        nobody.armed = True
        self.world.checkers.append(nobody)
        self.cluster.network.noise(
            drop=self.rng.uniform(0.05, 0.2), duplicate=0.1, delay_ns=(MS // 10, self.rng.randint(1, 40) * MS)
        )

    def settle(self) -> None:
        super().settle()
        if self.checker.lost:
            raise InvariantBroken("S5/all", "messages were lost although nobody left")


class FloodRun(TalkNoiseRun):
    """More than can be acknowledged in time: refused at half the window, never dropped."""

    def play(self) -> None:
        self.cluster.boot_all()
        self.world.run_until(START_NS + 3 * SECOND)
        self.trouble()
        for process in self.cluster.processes.values():
            for token in range(1, 701):
                request = DataRequested(
                    token=token, topic="flood", payload=bytes(self.rng.randrange(self.longest))
                )
                self.checker.say(process, request)
        if not self.checker.refused:
            raise InvariantBroken("S5/flow", "700 messages at once were all taken")
        self.world.run_until(self.world.now_ns + 10 * SECOND)
        self.settle()


register("talk")(lambda seed: TalkRun(seed, Profile(nodes=4, kinds=CHAOS, faults_ns=30 * SECOND)))
register("talk-noise")(lambda seed: TalkNoiseRun(seed, Profile(nodes=4, faults_ns=20 * SECOND)))
register("talk-flood")(lambda seed: FloodRun(seed, Profile(faults_ns=10 * SECOND)))
