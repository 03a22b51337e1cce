"""Checkers of the membership layer, one class an invariant; each is named by the protocol's number."""

from __future__ import annotations

from itertools import permutations

from hacluster.vocabulary.ids import NO_VIEW, ViewId
from messaging.membership import durable as slots
from messaging.membership.events import Status
from tests.sim.engine import InvariantBroken, World
from tests.sim.membership import MembershipCluster, MessagingProcess


class Views:
    """I6: V1 ids grow at each node, V2 same id same members, V3 one is a member, V4 all disks promised."""

    def __init__(self, cluster: MembershipCluster) -> None:
        self.cluster = cluster
        self.last: dict[str, ViewId] = {}
        self.members: dict[ViewId, tuple[tuple[int, int], ...]] = {}
        self.installed = 0
        self.wiped: set[str] = set()
        self.boots: dict[str, int] = {}
        for process in cluster.processes.values():
            process.on_publish.append(self._published)

    def _published(self, process: MessagingProcess, status: Status) -> None:
        view = status.authority.view
        name = process.node.name
        if view.id == NO_VIEW or view.id == self.last.get(name):
            return
        self.installed += 1
        boot = process.node.boots if process.diskless else 0
        if boot != self.boots.get(name, boot):
            self.last.pop(name, None)  # it could not remember
        self.boots[name] = boot
        if name in self.last and view.id < self.last[name] and name not in self.wiped:
            raise InvariantBroken("I6/V1", f"{name} went from view {self.last[name]} back to {view.id}")
        self.last[name] = view.id
        runs = tuple((member.id, member.incarnation) for member in view.members)
        if self.members.setdefault(view.id, runs) != runs:
            raise InvariantBroken(
                "I6/V2", f"view {view.id} is {runs} at {name}, {self.members[view.id]} elsewhere"
            )
        coordinator = self.cluster.processes[f"n{view.id.coordinator}"]
        if coordinator.diskless:
            raise InvariantBroken("I6/V2", f"{view.id} was made by a node that cannot remember its ids")
        own = view.member(process.config.node_id)
        if own is None:
            raise InvariantBroken("I6/V3", f"{name} installed {view.id} = {runs} without itself")
        for member in view.members:
            self._promised(member.name, view.id)

    def _promised(self, member: str, view: ViewId) -> None:
        if member in self.wiped:
            return
        disk = self.cluster.processes[member].disk
        raw = [disk.durable.get(f"view.{number}") for number in range(slots.SLOTS)]
        promised = [content["promised"] for slot in raw if (content := slots.decode_slot(slot))]
        if max(promised, default=0) < view.counter:
            raise InvariantBroken("I6/V4", f"{member} is in {view}, its disk promised {promised}")

    def after_event(self, world: World) -> None:
        """Views are looked at when they are published."""

    def settled(self, world: World) -> None:
        """Nothing more."""


class OneQuorum:
    """I14 and I5: while somebody holds quorum and lease in a view, nobody whom it leaves out does in another.

    Not for two_node, and not where a paused machine's clock stood still.
    """

    def __init__(self, cluster: MembershipCluster) -> None:
        self._processes = tuple(cluster.processes.values())

    def after_event(self, world: World) -> None:
        """Most of the time all are in one view, so that is looked at first, and cheaply."""
        first, differ = None, False
        for process in self._processes:
            if process.alive and process.core is not None:
                view = process.core.agreement.candidates.view
                if view is not None:
                    if first is None:
                        first = view
                    elif view is not first and view.id != first.id:
                        differ = True
                        break
        if not differ:
            return
        world.count("two_views_at_once")
        views = {
            process: process.core.agreement.installed
            for process in self._processes
            if process.alive and process.core is not None and process.core.agreement.installed is not None
        }
        holders = [
            (view, process)
            for process, view in views.items()
            if process.core is not None and process.core.authority.lease_end_ns(process.node.clock.now_ns())
        ]
        for (view, process), (later, holder) in permutations(holders, 2):
            if view.id < later.id and later.member(process.config.node_id) is None:
                acting = f"{holder.node.name} acts in {later.id} without it"
                what = f"{process.node.name} in {view.id} although {acting}"
                raise InvariantBroken("I14", what)

    def settled(self, world: World) -> None:
        """Nothing more."""


class NobodyLeaves:
    """I15: while loss and delay are within bounds, no healthy node leaves a view."""

    def __init__(self, cluster: MembershipCluster) -> None:
        self.sizes: dict[str, frozenset[int]] = {}
        self.armed = False
        for process in cluster.processes.values():
            process.on_publish.append(self._published)

    def _published(self, process: MessagingProcess, status: Status) -> None:
        now = frozenset(member.id for member in status.authority.view.members)
        before = self.sizes.get(process.node.name, frozenset())
        if self.armed and not before <= now:
            raise InvariantBroken("I15", f"{process.node.name}: {sorted(before)} became {sorted(now)}")
        self.sizes[process.node.name] = now

    def after_event(self, world: World) -> None:
        """Views are looked at when they are published."""

    def settled(self, world: World) -> None:
        """Nothing more."""


class Settles:
    """I16 for views: one view of all who live."""

    def __init__(self, cluster: MembershipCluster) -> None:
        self.cluster = cluster

    def after_event(self, world: World) -> None:
        """Only at the end."""

    def settled(self, world: World) -> None:
        if not self.cluster.one_view():
            views = {
                process.node.name: str(
                    process.core.agreement.installed and process.core.agreement.installed.id
                )
                for process in self.cluster.live()
                if process.core is not None
            }
            raise InvariantBroken("I16", f"no single view after the faults have ended: {views}")
