"""Clean stops: of one node, of some, of the whole cluster, in any order, and starts again.

A node that is to stop says so to the DC, which moves its resources away, stops those that nobody can
take, and lets it go: it leaves with LEAVE, and its daemons end. A partition that has no quorum left has a
caretaker, who stops what runs. What shows here: nothing is active on a node that leaves, nobody is fenced
on the way down or at the next start (I17; cluster-protocol.md 12), a stop ends (I16), and afterwards all is
as it was.

Who is lost and who has left is said by ha-crm's own table of nodes; the last DC's status goes to the others.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from crm.api.cluster import PRIORITY_LEAVING
from crm.cib.model import Element
from crm.cib.replication.basis import Basis
from crm.cib.status import status_section
from crm.controller.leaving import LEAVE_POLL_MS, LEAVE_WITHOUT_DC_MS, Leaving
from crm.controller.nodes import NodeTable
from crm.replica.effects import EligibilityChanged
from crm.replica.events import BecameDc, ReplicaEvent
from hacluster.vocabulary.ids import ResourceId
from messaging.membership.core import LEAVE_APART_NS, LEAVE_COPIES
from messaging.membership.events import Leave, LeaveRequested, Status
from tests.sim import plan
from tests.sim.classes import register
from tests.sim.engine import MS, SECOND, START_NS, InvariantBroken, Node
from tests.sim.full import FullProfile
from tests.sim.membership import MessagingProcess
from tests.sim.planner import Device, Planner, Reign, state_of
from tests.sim.whole import RESOURCES, WholeRun

STOPS_WITHIN_NS = 90 * SECOND
BOOTS_APART_MS = 3_000


@dataclass(slots=True)
class Wish:
    """A node's, until its next boot: to stop. `status`: the last that a DC has sent it."""

    stops: bool = False
    status: Element = field(default_factory=lambda: Element("status"))


@dataclass(slots=True)
class CountingDevice(Device):
    """Knows whom it has shot since that node left cleanly: it may be lost once more by a late shot."""

    shot: set[str] = field(default_factory=set)

    def shoot(self, target: Node, known: str, done: Callable[[str], None]) -> None:
        self.shot.add(target.name)
        Device.shoot(self, target, known, done)


class StopPlanner(Planner):
    """One that lets nodes go."""

    run: StopRun
    device: CountingDevice

    def begin(self, run: StopRun) -> None:
        """With the others of the run."""
        self.run, self._boots, self._up_ns, self._caretaker = run, 0, 0, False
        self._stopping: set[str] = set()
        self._let: dict[str, int] = {}
        self._new_table()
        self.membership.processes[self.replica.node.name].on_publish.append(self._published)

    def _new_table(self) -> None:
        ids = [(int(p.config.node_id), name) for name, p in self.membership.processes.items()]
        self.table = NodeTable(ids, _no_digest)

    def _published(self, _process: MessagingProcess, status: Status) -> None:
        if self._boots != self.replica.node.boots:
            self._boots, self._up_ns = self.replica.node.boots, self.world.now_ns
            self._new_table()
            self.run.wishes[self.replica.node.name] = Wish()
        states = {str(node.name): (node.state, node.clean_leave) for node in status.nodes}
        runs = {str(node.name): node.last_run for node in status.nodes}
        self.table.set_view(status.authority.view, states, self.replica.node.wall_s(), runs=runs)

    def heard(self, event: ReplicaEvent) -> None:
        caretaker = isinstance(event, BecameDc) and event.basis is Basis.CARETAKER
        if isinstance(event, BecameDc) and (event.established or caretaker):
            self._stopping, self._let, self._caretaker = set(), {}, caretaker
            self.table.adopt_status(
                self.run.wishes[self.replica.node.name].status, own=self.replica.node.name
            )
            if caretaker:
                self.world.count("caretaker")
            event = BecameDc(event.term, event.view, event.basis, established=True)
        super().heard(event)

    def _may_act(self) -> bool:
        """A caretaker starts and fences nothing; to stop what runs it needs no lease."""
        return self._caretaker or super()._may_act()

    def _ask(self, reign: Reign, name: str) -> None:
        super()._ask(reign, name)
        status = status_section(self.table.facts(Element("configuration")))

        def execute(answer: Callable[[object], None]) -> None:
            wish = self.run.wishes[name]
            wish.status = status
            answer(wish.stops)

        def answered(stops: object) -> None:
            if stops is True and self.reign is reign:
                self._stopping.add(name)

        self.calls.call(self.replica.node.name, name, execute, answered, lambda _why: None, timeout_ns=SECOND)

    def _lost(self, reign: Reign) -> list[str]:
        if self._caretaker:
            return []
        return [
            record.name
            for record in self.table.records()
            if not (record.member or record.left_cleanly or record.fenced or record.name in reign.off)
        ]

    def _fence(self, reign: Reign, name: str) -> None:
        """One never seen since this node has booted (startup-fencing), or that left with something active."""
        if name not in self.run.unclean | self.device.shot:
            if self.table[name].seen:
                raise InvariantBroken("I17", f"{name} is to be fenced, and nodes do nothing but stop cleanly")
            if self.run.left_ns.get(name, 0) > self._up_ns and not self.membership.nodes[name].up:
                raise InvariantBroken("I17", f"{name} is to be fenced, and has said that it leaves")
            self.world.count("never_seen")
        super()._fence(reign, name)

    def _act(self, reign: Reign) -> None:
        super()._act(reign)
        if reign.accepted == set(reign.members):
            self._let_go(reign)

    def _place(self, reign: Reign, resource: ResourceId, *, safe: bool) -> None:
        states = {name: state_of(reign.seen[name], resource) for name in reign.members}
        ready = not {"busy", "dirty"} & set(states.values())
        active = [name for name, state in states.items() if state == "active"]
        stays = sorted(set(reign.members) - self._stopping)
        if ready and active and (self._caretaker or active[0] in self._stopping):
            self.world.count("stopped_by_caretaker" if self._caretaker else "moved_away")
            self._order(reign, active[0], resource, "stop")
        elif ready and not active:
            if stays and safe and not self._caretaker:
                self._order(reign, self.rng.choice(stays), resource, "start")
        else:
            super()._place(reign, resource, safe=False)

    def _let_go(self, reign: Reign) -> None:
        """Who has nothing any more; this node after all others that are to stop."""
        me = self.replica.node.name
        going = self._stopping & set(reign.members)
        for name in sorted(going):
            others = going - {me}
            waits = self.world.now_ns - self._let.get(name, -SECOND) < SECOND
            if waits or (name == me and others) or not self._is_empty(reign, name):
                continue
            self._let[name] = self.world.now_ns
            self.calls.call(
                me,
                name,
                partial(self._leave, name),
                lambda _reply: None,
                lambda _why: None,
                timeout_ns=SECOND,
            )

    def _leave(self, name: str, answer: Callable[[object], None]) -> None:
        answer(self.run.leave(name))

    def _is_empty(self, reign: Reign, name: str) -> bool:
        for resource in self.resources:
            where, at_ns = reign.ordered.get(resource, ("", 0))
            if where == name and reign.looked_ns[name] <= at_ns:
                return False
            if state_of(reign.seen[name], resource) != "absent":
                return False
        return True


class StopRun(WholeRun):
    """Group after group stops and starts again."""

    planner = StopPlanner
    device = CountingDevice

    def __init__(self, seed: int, profile: FullProfile) -> None:
        super().__init__(seed, profile)
        self.wishes = {name: Wish() for name in self.membership.nodes}
        self._left: set[tuple[str, int]] = set()  # in which boot
        self.unclean: set[str] = set()
        self.left_ns: dict[str, int] = {}  # the last clean LEAVE
        for planner in self.planners.values():
            assert isinstance(planner, StopPlanner)
            planner.begin(self)
            self.shooter = planner.device  # there is one

    def play(self) -> None:
        """The whole of it."""
        self._boot(list(self.membership.nodes), 0)
        self.world.run_until(START_NS + 8 * SECOND)
        if self.cluster.dc(safe=True) is None:
            raise InvariantBroken("I16", "no DC eight seconds after all booted")
        rng = self.world.stream("stops")
        self._noise(rng.randint(0, 10))
        for fault in self.planned(self.draw):
            self.world.run_until(self.world.now_ns + fault.at_ns)
            self._stop(fault, rng)
        self._noise(0)
        self.calls.slow = 0
        self.world.run_until(self.world.now_ns + BOOTS_APART_MS * MS)
        self._settle()

    def _noise(self, percent: int) -> None:
        loss = percent / 100
        self.membership.network.noise(
            drop=loss, duplicate=loss / 2, delay_ns=(MS // 10, 20 * MS), tail=loss / 10
        )

    def draw(self) -> list[plan.Fault]:
        """Groups; `at_ns` is the pause before each."""
        rng, names = self.rng, list(self.membership.nodes)
        faults = []
        for _ in range(5):
            rng.shuffle(names)
            group = names[: rng.choice((1, rng.randint(1, len(names)), len(names)))]
            pause_ns = rng.choice((rng.randint(0, 4_000), rng.randint(5_000, 20_000))) * MS
            down_ns = rng.choice((rng.randint(0, 500), rng.randint(1_000, 12_000))) * MS
            faults.append(plan.Fault(at_ns=pause_ns, kind="stop", nodes=tuple(group), for_ns=down_ns))
        return faults

    def _stop(self, fault: plan.Fault, rng: random.Random) -> None:
        """In this order, soon after one another; when all are down they stay so, and start again."""
        self.world.note("fault", str(fault)[14:])
        apart_ms = rng.choice((0, 200, 3_000))
        for name in fault.nodes:
            self._wish(name)
            self.world.run_until(self.world.now_ns + rng.randint(0, apart_ms) * MS)
        end_ns = self.world.now_ns + STOPS_WITHIN_NS
        nodes = [self.membership.nodes[name] for name in fault.nodes]
        while any(node.up and self.wishes[node.name].stops for node in nodes):
            if self.world.now_ns >= end_ns:
                up = [node.name for node in nodes if node.up]
                raise InvariantBroken("I16", f"{up} have not stopped in {STOPS_WITHIN_NS // SECOND} s")
            self.world.run_until(self.world.now_ns + 100 * MS)
        if not any(node.up for node in self.membership.nodes.values()):
            self.world.count("all_down")
        self.world.run_until(self.world.now_ns + fault.for_ns)
        self._boot(list(fault.nodes), BOOTS_APART_MS, rng)

    def _boot(self, names: list[str], apart_ms: int, rng: random.Random | None = None) -> None:
        for name in names:
            delay_ms = rng.randint(0, apart_ms) if rng is not None else 0

            def boot(name: str = name) -> None:
                node = self.membership.nodes[name]
                if not node.up:
                    self.wishes[name] = Wish()
                    node.boot()

            self.world.after(delay_ms * MS, f"boot {name}", boot)

    def _wish(self, name: str) -> None:
        node, messaging = self.membership.nodes[name], self.membership.processes[name]
        if not node.up:
            return
        self.wishes[name].stops = True
        replica = self.cluster.by_id[int(messaging.config.node_id)]
        replica.deliver(EligibilityChanged(eligible=True, priority=PRIORITY_LEAVING))
        self._poll(name, Leaving(LEAVE_WITHOUT_DC_MS), node.boots)

    def _poll(self, name: str, leaving: Leaving, boots: int) -> None:
        """As ha-crm does, which waits for the DC."""

        def again() -> None:
            node, messaging = self.membership.nodes[name], self.membership.processes[name]
            if not node.up or node.boots != boots or (name, boots) in self._left:
                return
            replica = self.cluster.by_id[int(messaging.config.node_id)]
            status, active = messaging.status, self._active(name)
            has_view = status is not None and bool(status.authority.view.members)
            has_dc = replica.core is not None and replica.core.dc.dc_node_id is not None
            if leaving.may_leave(LEAVE_POLL_MS, has_view=has_view, has_dc=has_dc, active=active):
                self.world.count("left_without_a_dc" if has_view else "left_without_a_view")
                self.leave(name, active)
            else:
                self._poll(name, leaving, boots)

        self.world.after(LEAVE_POLL_MS * MS, f"leave {name}", again)

    def _active(self, name: str) -> tuple[str, ...]:
        """What ha-crm knows of the node: its ha-lrm's history."""
        seen = self.lrms[name].seen()
        return tuple(one for one in RESOURCES if state_of(seen, one) != "absent")

    def leave(self, name: str, active: tuple[str, ...] = ()) -> bool:
        """The DC says that nothing is left to run there; or the node itself, or it says what is left."""
        node, lrm = self.membership.nodes[name], self.lrms[name]
        if not node.up or (name, node.boots) in self._left:
            return True
        if not self.wishes[name].stops:
            self.world.count("late_word_to_leave")  # meant for the boot before
            return False
        self._left.add((name, node.boots))
        really = sorted(lrm.agents.active | lrm.agents.running.keys())
        if really and not active:
            raise InvariantBroken("I21", f"{name} leaves cleanly, and there are {really}")
        self.world.count("left_with_something" if active else "left_cleanly")
        if active:
            self.unclean.add(name)
        else:
            self.left_ns[name] = self.world.now_ns
            self.unclean.discard(name)
            self.shooter.shot.discard(name)
        self.membership.processes[name].deliver(
            LeaveRequested(Leave(clean=not active, active_unmanaged=active))
        )
        self.world.after(2 * LEAVE_COPIES * LEAVE_APART_NS, f"stop {name}", lambda: self._off(name))
        return True

    def _off(self, name: str) -> None:
        """Its daemons end, then the machine; what is in its files stays."""
        node = self.membership.nodes[name]
        if node.up:
            node.up = False
            for process in node.processes:
                process.crash()
            node.disk.durable = dict(node.disk.visible)


def _no_digest(*_: object) -> str:
    return ""


def _class(name: str, profile: FullProfile) -> None:
    register(name)(lambda seed: StopRun(seed, profile))


_class("stop3", FullProfile())
_class("stop5", FullProfile(nodes=5))
