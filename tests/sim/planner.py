"""A DC's orders for simulated LRMs (cluster-protocol.md 10 and 11): integrate, fence, then place.

It stands in for scheduler, transition engine and fencer; terms, members and authority are those of the real
cores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from crm.replica.events import BecameDc, ReplicaEvent, StoppedBeingDc
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import BootToken, OperationId, ResourceId, Term
from hacluster.vocabulary.membership import Authority
from hacluster.vocabulary.operation import ExecutionStatus, Operation
from lrm.queue.events import Accept, Execute
from tests.sim.cib import ReplicaProcess
from tests.sim.engine import MS, SECOND, InvariantBroken, Node, World
from tests.sim.lrm import Asked, Look, LrmProcess, Reply, Seen
from tests.sim.membership import MembershipCluster
from tests.sim.network import Calls

STEP_NS: Final = 200 * MS
CALL_NS: Final = SECOND
AGENT: Final = AgentName("ocf", "sim", "Thing")


@dataclass(slots=True)
class Device:
    """Fences machines, truthfully: the power is off when it says so. Slow, and fails now and then."""

    world: World
    membership: MembershipCluster
    lrms: dict[str, LrmProcess]

    def shoot(self, target: Node, known: str, done: Callable[[str], None]) -> None:
        """Cut the power of `target` after a while; `done(boot token)` when it is certain."""
        rng = self.world.stream(f"device/{target.name}/{self.world.now_ns}")

        def act() -> None:
            if rng.random() < 0.2:
                self.world.count("fence_failed")
                done("")
                return
            self.world.count("fenced")
            self.world.note("device", f"{target.name} off")
            target.power_cut(rng)
            boot_ns = rng.randint(1_000, 15_000) * MS
            self.world.after(boot_ns, f"boot {target.name}", lambda: None if target.up else target.boot())
            delay_ns = rng.choice([10 * MS, 300 * MS, 3 * SECOND])
            self.world.after(delay_ns, f"fenced {target.name}", partial(done, known))

        self.world.after(rng.randint(50, 2_000) * MS, f"shoot {target.name}", act)


@dataclass(slots=True)
class Reign:
    """What one DC knows in one term."""

    term: Term
    members: dict[str, str]  # name -> boot token
    seen: dict[str, Seen] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    off: set[str] = field(default_factory=set)
    shooting: set[str] = field(default_factory=set)
    transition: int = 0
    ordered: dict[ResourceId, tuple[str, int]] = field(default_factory=dict)  # the last order: where, when
    looked_ns: dict[str, int] = field(default_factory=dict)  # when what is seen was asked for


class Planner:
    """One node's, beside its ha-crm."""

    def __init__(
        self,
        replica: ReplicaProcess,
        membership: MembershipCluster,
        lrms: dict[str, LrmProcess],
        calls: Calls,
        device: Device,
        resources: tuple[ResourceId, ...],
    ) -> None:
        self.replica, self.membership, self.lrms = replica, membership, lrms
        self.calls, self.device, self.resources = calls, device, resources
        self.world = replica.world
        self.rng = self.world.stream(f"planner/{replica.name}")
        self.reign: Reign | None = None
        self.calm = False  # nothing is moved for fun any more

    def heard(self, event: ReplicaEvent) -> None:
        """What the replica's core says."""
        if isinstance(event, StoppedBeingDc):
            self.reign = None
        elif isinstance(event, BecameDc) and event.established:
            authority = self._authority()
            if authority is None or authority.view.id != event.view:
                return
            members = {str(member.name): str(member.boot_token) for member in authority.view.members}
            self.reign = Reign(event.term, members)
            self._step(self.reign)

    def _authority(self) -> Authority | None:
        messaging = self.membership.processes[self.replica.node.name]
        return messaging.status.authority if messaging.alive and messaging.status is not None else None

    def _may_act(self) -> bool:
        """A DC without a lease starts and fences nothing (7.5)."""
        authority = self._authority()
        now_ns = self.replica.node.clock.now_ns()
        return authority is not None and authority.quorate and authority.lease_end_ns > now_ns

    def _step(self, reign: Reign) -> None:
        if self.reign is not reign or not self.replica.alive:
            return
        if not self.replica.paused:
            for name in reign.members:
                self._ask(reign, name)
            if self._may_act():
                self._act(reign)
        self.world.after(STEP_NS, f"dc {self.replica.name}", partial(self._step, reign))

    def _ask(self, reign: Reign, name: str) -> None:
        lrm, accepted, asked_ns = self.lrms[name], name in reign.accepted, self.world.now_ns

        def execute(answer: Reply) -> None:
            ask = Look(reign.term, answer) if accepted else Asked(Accept(term=reign.term), answer)
            lrm.deliver(ask)

        def answered(reply: object) -> None:
            if isinstance(reply, Seen) and reply.boot_token == reign.members[name]:
                reign.accepted.add(name)
                reign.seen[name] = reply
                reign.looked_ns[name] = asked_ns

        self.calls.call(
            self.replica.node.name, name, execute, answered, lambda _why: None, timeout_ns=CALL_NS
        )

    # -- decisions

    def _act(self, reign: Reign) -> None:
        if reign.accepted != set(reign.members):
            return  # pending: nothing is started, nothing recovered
        lost = self._lost(reign)
        for name in lost:
            self._fence(reign, name)
        for resource in self.resources:
            name, at_ns = reign.ordered.get(resource, ("", 0))
            if (
                not name or reign.looked_ns[name] > at_ns
            ):  # calls arrive in order: what is seen has the order in it
                self._place(reign, resource, safe=not lost)

    def _lost(self, reign: Reign) -> list[str]:
        """Who must be off before anything starts that may run there."""
        return [name for name in self.membership.nodes if name not in reign.members and name not in reign.off]

    def _fence(self, reign: Reign, name: str) -> None:
        if name in reign.shooting:
            return
        reign.shooting.add(name)
        node = self.membership.nodes[name]

        def done(token: str) -> None:
            reign.shooting.discard(name)
            if token:
                reign.off.add(name)

        def dispatch() -> None:
            authority = self._authority()
            here = authority is not None and any(member.name == name for member in authority.view.members)
            if self.reign is not reign or here or not self._may_act():
                self.world.count("shot_cancelled")
                done("")
                return
            if authority is None or not authority.quorate:
                raise InvariantBroken("I17", f"{self.replica.name} fences {name} without the right")
            self.device.shoot(node, node.boot_token, done)

        self.world.after(self.rng.randint(1, 200) * MS, f"dispatch {name}", dispatch)

    def _place(self, reign: Reign, resource: ResourceId, *, safe: bool) -> None:
        states = {name: state_of(reign.seen[name], resource) for name in reign.members}
        if "busy" in states.values():
            return
        for name, state in states.items():
            if state == "dirty":
                self._order(reign, name, resource, "stop")
                return
        active = [name for name, state in states.items() if state == "active"]
        if len(active) == 1 and not self.calm and self.rng.random() < 0.02:
            self.world.count("moved")
            self._order(reign, active[0], resource, "stop")
        elif len(active) > 1:
            self._order(reign, active[-1], resource, "stop")
        elif active and not _is_watched(reign.seen[active[0]], resource):
            self._order(reign, active[0], resource, "monitor", interval_ms=2_000)
        elif not active and safe:
            self._order(reign, self.rng.choice(sorted(reign.members)), resource, "start")

    def _order(
        self, reign: Reign, name: str, resource: ResourceId, action: str, *, interval_ms: int = 0
    ) -> None:
        reign.transition += 1
        reign.ordered[resource] = (name, self.world.now_ns)
        authority = self._authority()
        assert authority is not None
        event = Execute(
            id=OperationId(reign.term, reign.transition, 1),
            view=authority.view.id,
            boot_token=BootToken(reign.members[name]),
            operation=Operation(
                resource=resource, agent=AGENT, action=action, interval_ms=interval_ms, timeout_ms=3_000
            ),
        )
        lrm = self.lrms[name]
        self.world.count(f"ordered_{action}")
        self.calls.call(
            self.replica.node.name,
            name,
            lambda answer: lrm.deliver(Asked(event, answer)),
            lambda _reply: None,
            lambda _why: None,
            timeout_ns=CALL_NS,
        )


def state_of(seen: Seen, resource: ResourceId) -> str:
    """busy, dirty (must be stopped first), active, or absent."""
    if seen.queued or any(one.operation.resource == resource for one in seen.running):
        return "busy"
    state, newest = "absent", 0
    for one in seen.results:
        operation = one.operation
        if operation.resource != resource or one.call_id < newest:
            continue
        newest = one.call_id
        good = one.status is ExecutionStatus.DONE and one.rc == 0
        if operation.action == "stop":
            state = "absent" if good else "dirty"
        else:
            state = "active" if good else "dirty"
    return state


def _is_watched(seen: Seen, resource: ResourceId) -> bool:
    """Whether it has a monitor that was begun after its last start: a stop ends all former ones."""
    own = [one for one in seen.results if one.operation.resource == resource]
    since = max((one.call_id for one in own if not one.operation.interval_ms), default=0)
    return any(
        one.operation.interval_ms and one.status is ExecutionStatus.DONE and one.call_id > since
        for one in own
    )
