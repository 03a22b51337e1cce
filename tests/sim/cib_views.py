"""Views for the simulated replicas: an abstract service that keeps the promises of the membership layer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from crm.replica.effects import AuthorityChanged
from crm.replica.events import VotersCommitted
from hacluster.vocabulary.ids import BootToken, NodeId, NodeName, ViewId
from hacluster.vocabulary.membership import Authority, Member, MembershipView, QuorumConfig
from messaging.membership.quorum import WITNESS, by_votes, is_quorate
from tests.sim.engine import MS

if TYPE_CHECKING:
    from tests.sim.cib import CibCluster, ReplicaProcess


class ViewService(Protocol):
    """What tells ha-crm who is here."""

    def links_changed(self) -> None:
        """Someone was cut off, came back, was switched on or off."""

    def crm_changed(self) -> None:
        """A daemon connected or disconnected."""

    def forget(self, node_id: int) -> None:
        """The node lost its power."""

    def tell(self, process: ReplicaProcess) -> None:
        """Hand what this node's ha-messaging says to its ha-crm."""


class Views:
    """The abstract membership service."""

    def __init__(self, cluster: CibCluster) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.counter = 0
        self.at: dict[int, tuple[ViewId, tuple[int, ...]]] = {}
        self._rng = self.world.stream("views")
        self._form_planned = False
        self._crm_planned = False

    def links_changed(self) -> None:
        """Someone was cut off, came back, was switched on or off: new views after a while."""
        if not self._form_planned:
            self._form_planned = True
            delay_ns = self._rng.choice([20 * MS, 300 * MS, 2_500 * MS])
            self.world.after(delay_ns, "views form", self._form)

    def crm_changed(self) -> None:
        """A daemon connected or disconnected: the members learn of it."""
        if not self._crm_planned:
            self._crm_planned = True
            self.world.after(self._rng.randint(1, 300) * MS, "crm instances", self._tell_instances)

    def forget(self, node_id: int) -> None:
        self.at.pop(node_id, None)

    def _form(self) -> None:
        self._form_planned = False
        left = {process.id for process in self.cluster.processes if process.node.up}
        while left:
            start = min(left)
            group = tuple(sorted(other for other in left if self._reach(start, other)))
            left -= set(group)
            if all(self.at.get(one, (None, ()))[1] == group for one in group) and not self._rebooted(group):
                continue
            self.counter += 1
            view, voters = ViewId(self.counter, group[0]), self.cluster.meet(group)
            for one in group:
                self.cluster.boots_seen[one] = self.cluster.by_id[one].node.boots
                delay_ns = self._rng.choice([0, 1, 5, 30, 400]) * MS
                install = partial(self._install, one, view, group, voters)
                self.world.after(delay_ns, f"view {view} at {one}", install)

    def _rebooted(self, group: tuple[int, ...]) -> bool:
        return any(self.cluster.boots_seen.get(one) != self.cluster.by_id[one].node.boots for one in group)

    def _reach(self, one: int, other: int) -> bool:
        a, b = self.cluster.by_id[one].node.name, self.cluster.by_id[other].node.name
        return self.cluster.network.connected(a, b) and self.cluster.network.connected(b, a)

    def _install(
        self, node_id: int, view: ViewId, group: tuple[int, ...], voters: VotersCommitted | None
    ) -> None:
        node = self.cluster.by_id[node_id].node
        if not node.up or view < self.at.get(node_id, (view, ()))[0]:
            return
        self.at[node_id] = (view, group)
        self.cluster.install(node_id, voters)
        met = {*(node.run.read("met") or b"").decode().split(), *map(str, group)}
        node.run.write("met", " ".join(sorted(met)).encode())
        self.tell(self.cluster.by_id[node_id])
        if self.cluster.witness is not None:
            self.cluster.witness.look()

    def _tell_instances(self) -> None:
        self._crm_planned = False
        for process in self.cluster.processes:
            self.tell(process)

    def tell(self, process: ReplicaProcess) -> None:
        """Hand the node's view to its ha-crm."""
        if process.id not in self.at or not process.alive:
            return
        view, group = self.at[process.id]
        members = []
        for one in group:
            other = self.cluster.by_id[one]
            members.append(
                Member(
                    id=NodeId(one),
                    name=NodeName(other.node.name),
                    incarnation=other.node.boots,
                    boot_token=BootToken(other.node.boot_token),
                    crm_instance=other.instance if other.alive else 0,
                )
            )
        witness = self.cluster.witness is not None and self.cluster.witness.supports(process.id, view)
        present = (*group, WITNESS) if witness else group
        config = self.cluster.counted_by(process.id)
        quorate = is_quorate(config, present) and not self._waits(process, config)
        authority = Authority(
            view=MembershipView(id=view, members=tuple(members)),
            quorate=quorate,
            witness=witness,
            by_votes=quorate and is_quorate(by_votes(config), present),
        )
        process.deliver(AuthorityChanged(authority))

    @staticmethod
    def _waits(process: ReplicaProcess, config: QuorumConfig) -> bool:
        """wait_for_all: one of two waits until it has been in a view with the other, since its boot."""
        met = (process.node.run.read("met") or b"").decode().split()
        return (
            config.two_node and config.wait_for_all and any(str(node) not in met for node, _ in config.voters)
        )
