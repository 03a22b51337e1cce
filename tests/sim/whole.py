"""Messaging, CIB and LRMs together: resources are placed, moved and recovered while everything fails.

What it shows: two DCs never act on one node, a lost node's resources start elsewhere only after it is off,
one agent at a time works on a resource, and a killed ha-lrm takes up what runs (I1, I3, I4, I17, I19, I24,
I27, I28).
"""

from __future__ import annotations

import random
from dataclasses import replace

from crm.replica.events import ReplicaEvent
from hacluster.vocabulary.ids import ResourceId
from tests.sim import plan
from tests.sim.agents import Agents, Dials, Truth
from tests.sim.cib import ReplicaProcess
from tests.sim.classes import register
from tests.sim.engine import MS, SECOND, InvariantBroken
from tests.sim.full import FullProfile, FullRun
from tests.sim.lrm import LrmProcess
from tests.sim.network import Calls
from tests.sim.planner import Device, Planner

RESOURCES = (ResourceId("web"), ResourceId("ip"))


class WholeRun(FullRun):
    """As `full`, with ha-lrm and agents on each node."""

    planner: type[Planner] = Planner
    device: type[Device] = Device
    dials = Dials()
    truth_of: type[Truth] = Truth

    def __init__(self, seed: int, profile: FullProfile) -> None:
        super().__init__(seed, profile)
        self.truth = self.truth_of(self.world)
        self.lrms: dict[str, LrmProcess] = {}
        for name, messaging in self.membership.processes.items():
            agents = Agents(self.world, messaging.node, self.dials, self.truth)
            self.truth.machines.append(agents)
            self.lrms[name] = LrmProcess(messaging.node, messaging, agents)
        device = self.device(self.world, self.membership, self.lrms)
        self.calls = Calls(self.membership.network, slow=0.02)
        self.planners = {
            replica.id: self.planner(replica, self.membership, self.lrms, self.calls, device, RESOURCES)
            for replica in self.cluster.processes
        }
        self.cluster.listeners.append(self._heard)

    def _heard(self, replica: ReplicaProcess, event: ReplicaEvent) -> None:
        self.planners[replica.id].heard(event)

    def _draw_crm(self) -> list[plan.Fault]:
        """And ha-lrm's: killed, killed between two effects, stopped for a while."""
        rng, faults = self.rng, super()._draw_crm()
        for at_ns in plan.moments(rng, 5 * SECOND, self.profile.faults_ns):
            nodes = (rng.choice(self.cluster.network.nodes),)
            kind = rng.choice(["lrm-kill", "lrm-between", "lrm-pause"])
            fault = plan.Fault(at_ns=at_ns, kind=kind, nodes=nodes, for_ns=rng.randint(1, 4_000) * MS)
            faults.append(replace(fault, link=rng.randrange(6)) if kind == "lrm-between" else fault)
        return faults

    def _inflict(self, fault: plan.Fault, rng: random.Random) -> None:
        if not fault.kind.startswith("lrm-"):
            super()._inflict(fault, rng)
            return
        self.world.note("fault", str(fault)[14:])
        lrm = self.lrms[fault.nodes[0]]
        match fault.kind:
            case "lrm-kill":
                lrm.crash()
                self.world.after(fault.for_ns, f"restart {lrm.name}", lrm.start)
            case "lrm-between":
                lrm.crash_after = fault.link
                self.world.after(fault.for_ns, f"restart {lrm.name}", lrm.start)
            case _:
                lrm.pause(fault.for_ns)

    def _settle(self) -> None:
        """No faults: each resource is on one node, and that is what its LRM and the DC believe."""
        for planner in self.planners.values():
            planner.calm = True
        for agents in self.truth.machines:
            agents.dials = Dials(fail=0, hang=0, dies=0)
        for lrm in self.lrms.values():
            lrm.crash_after = None
            lrm.start()
        self._wait_placed()
        super()._settle()
        if not self._wait_placed():  # a monitor that hung before then may have failed only now
            where = {resource: self.truth.where(resource) for resource in RESOURCES}
            raise InvariantBroken("I16", f"resources are not placed when nothing fails any more: {where}")
        for resource in RESOURCES:
            (name,) = self.truth.where(resource)
            for other, lrm in self.lrms.items():
                assert lrm.queue is not None
                believed = lrm.queue.ledger.has_started(resource)
                if believed is not (other == name):
                    raise InvariantBroken("I28", f"{resource} is active on {name}, {other} says {believed}")

    def _wait_placed(self) -> bool:
        end_ns = self.world.now_ns + 200 * SECOND
        while self.world.now_ns < end_ns and not self._placed():
            self.world.run_until(self.world.now_ns + SECOND)
        return self._placed()

    def _placed(self) -> bool:
        return all(len(self.truth.where(resource)) == 1 for resource in RESOURCES)


class TwoDcsRun(WholeRun):
    """A DC behind an MTU hole is replaced in its own view, and goes on giving orders while ha-lrms restart.

    What an LRM has to remember over its restart, which DC it obeys, shows here.
    """

    def draw(self) -> list[plan.Fault]:
        rng, faults = self.rng, []
        at_ns = SECOND
        while at_ns < self.profile.faults_ns:
            for_ns = rng.randint(6_000, 9_000) * MS
            faults.append(plan.Fault(at_ns=at_ns, kind="dc-hole", link=500, for_ns=for_ns))
            for node in self.cluster.network.nodes:
                kill_ns = at_ns + rng.randint(2_500, 7_000) * MS
                away_ns = rng.randint(1, 300) * MS
                faults.append(plan.Fault(at_ns=kill_ns, kind="lrm-kill", nodes=(node,), for_ns=away_ns))
            at_ns += for_ns + rng.randint(1_000, 4_000) * MS
        return sorted(faults, key=lambda fault: fault.at_ns)

    def _inflict(self, fault: plan.Fault, rng: random.Random) -> None:
        if fault.kind != "dc-hole":
            super()._inflict(fault, rng)
            return
        dc = self.cluster.dc(safe=True)
        if dc is not None:
            hole = replace(fault, kind="mtu-hole", nodes=(dc.node.name,))
            super()._inflict(hole, rng)


def _class(name: str, profile: FullProfile) -> None:
    register(name)(lambda seed: WholeRun(seed, profile))


_class("whole3", FullProfile())
_class("whole5", FullProfile(nodes=5))
_NET = ("swizzle", "flap", "mtu-hole", "noise", "one-way", "slow-disk", "kill", "pause")
_class("whole3-net", FullProfile(kinds=_NET))
register("whole3-two-dcs")(lambda seed: TwoDcsRun(seed, FullProfile()))
