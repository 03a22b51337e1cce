"""A witness between the simulated replicas: the real core's memory, support for views given freely.

It keeps what commits may rest on (terms, serials, who is in sync) and nothing else: its support goes from one
view to another at any moment, without leases, is noticed late, and its answers are late, lost or doubled.
A node to which an older choice came last asks again, as ha-messaging does each keepalive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from crm.replica.effects import TellWitness, WitnessSaid
from hacluster.vocabulary.ids import NO_TERM, NO_VIEW, NodeId, Term, ViewId
from messaging.witness.core import Answer, SyncChanged, WitnessCore, WitnessState
from tests.sim.engine import MS, SECOND

if TYPE_CHECKING:
    from tests.sim.cib import CibCluster, ReplicaProcess
    from tests.sim.cib_views import Views

ANSWER_NS = SECOND
DELAYS_MS = (0, 1, 5, 40, 700)


class CibWitness:
    """One machine that no fault but a cut from all nodes befalls."""

    def __init__(self, cluster: CibCluster, views: Views) -> None:
        self.cluster, self.world, self._views = cluster, cluster.world, views
        self.core = WitnessCore(WitnessState(), 0)
        self.cut = False
        self._supported: dict[int, ViewId] = {}  # by node: what it believes
        self._chosen = NO_VIEW
        self._rng = self.world.stream("witness")
        self._planned = False

    @property
    def in_sync(self) -> frozenset[int]:
        """As it has been told."""
        return frozenset(self.core.state.in_sync)

    def supports(self, node_id: int, view: ViewId) -> bool:
        """Whether the node counts on it in that view."""
        return self._supported.get(node_id, NO_VIEW) == view

    def look(self) -> None:
        """Views have changed, or it was cut off: it chooses, some time later."""
        if not self._planned:
            self._planned = True
            self.world.after(self._rng.choice([1, 30, 900]) * MS, "witness chooses", self._choose)

    def _choose(self) -> None:
        self._planned = False
        views = {}
        for process in self.cluster.processes:
            view, group = self._views.at.get(process.id, (NO_VIEW, ()))
            if process.node.up and group:
                views[view] = group
        able = [v for v, group in sorted(views.items()) if not self.in_sync or self.in_sync & set(group)]
        chosen = self._rng.choice(able) if able and not self.cut else NO_VIEW
        self._chosen = chosen
        if chosen != NO_VIEW:
            self.core.state = replace(self.core.state, last=chosen, members=views[chosen])
        for process in self.cluster.processes:
            self._answer(process)

    def _answer(self, process: ReplicaProcess) -> None:
        """Sooner or later the node knows what is chosen now; a later choice may overtake that."""
        late_ms = self._rng.choice(DELAYS_MS)
        self.world.after(late_ms * MS, "witness", self._noticed(process, self._chosen))

    def _noticed(self, process: ReplicaProcess, view: ViewId) -> Callable[[], None]:
        def notice() -> None:
            self._supported[process.id] = view
            self._views.tell(process)
            if view != self._chosen:
                self._answer(process)

        return notice

    def tell(self, process: ReplicaProcess, told: TellWitness) -> None:
        """By its ha-messaging, which names the view that it is in."""
        view, _ = self._views.at.get(process.id, (NO_VIEW, ()))
        generation, answered = process.generation, False

        def back(said: WitnessSaid) -> None:
            nonlocal answered
            if not answered and process.generation == generation:
                answered = True
                process.deliver(said)

        def arrive() -> None:
            if self.cut:
                return
            said = self._heard(process.id, view, told)
            self.world.after(self._rng.choice(DELAYS_MS) * MS, "witness answers", lambda: back(said))

        for _ in range(self._rng.choice((0, 1, 1, 1, 1, 2))):
            self.world.after(self._rng.choice((*DELAYS_MS, 4_000)) * MS, "to the witness", arrive)
        self.world.after(
            ANSWER_NS, "no answer of the witness", lambda: back(WitnessSaid(told, None, NO_TERM))
        )

    def _heard(self, node_id: int, view: ViewId, told: TellWitness) -> WitnessSaid:
        change = SyncChanged(
            node=node_id,
            nonce=1,
            view=view,
            in_sync=told.in_sync,
            term=(told.term.counter, told.term.node_id),
            serial=told.serial,
        )
        answer = self.core.handle(change, self.world.now_ns)[-1]
        assert isinstance(answer, Answer)
        if answer.granted:
            self.world.count("witness_told" if told.in_sync else "witness_asked")
        counter, node = answer.term
        return WitnessSaid(told, answer.in_sync if answer.granted else None, Term(counter, NodeId(node)))
