"""Changes of voters as a fault like any other, and what must hold of them."""

from __future__ import annotations

import random

from crm.cib.replication.voters import VotersWanted
from crm.replica.effects import VotersChangeRequested
from crm.replica.events import BecameDc, Outcome, ReplicaEvent, WriteOutcome
from hacluster.vocabulary.ids import NodeId
from tests.sim.cib import CibCluster, ReplicaProcess
from tests.sim.engine import SECOND, InvariantBroken, World

DEADLINE_NS = 5 * SECOND
FIRST_TOKEN = 1_000_000
"""Above those of the writers."""


class VoterChanges:
    """I7 for voters: a change that was answered OK is in every later DC's log, one that FAILED in none."""

    def __init__(self, cluster: CibCluster) -> None:
        self.cluster = cluster
        self.asked: dict[int, str] = {}
        self.outcomes: dict[str, Outcome] = {}
        cluster.clients.others = self._answered
        cluster.listeners.append(self._event)

    def strike(self, rng: random.Random) -> None:
        """Some node that thinks it is DC is asked to change a few."""
        leading = [p for p in self.cluster.processes if p.core is not None and p.core.dc.is_me]
        if not leading:
            return
        process = rng.choice(leading)
        assert process.core is not None
        voters = [node for node, _ in process.core.quorum.voters]
        others = [NodeId(node) for node in self.cluster.nodes if node not in voters]
        added = rng.sample(others, rng.randint(0, len(others)))
        removed = rng.sample(voters, rng.randint(0, len(voters) - 1))
        token = FIRST_TOKEN + len(self.asked)
        self.asked[token] = f"voters{token}"
        self.cluster.world.count("voter_changes_asked")
        process.deliver(
            VotersChangeRequested(
                token=token,
                wanted=VotersWanted(add=tuple((node, 1) for node in sorted(added)), remove=tuple(removed)),
                author="root",
                request_id=self.asked[token],
                deadline_ns=process.node.clock.now_ns() + DEADLINE_NS,
            )
        )

    def _answered(self, token: int, outcome: WriteOutcome) -> None:
        if token in self.asked:
            self.outcomes[self.asked[token]] = outcome.outcome
            self.cluster.world.count(f"voter_changes_{outcome.outcome.value}")

    def _event(self, process: ReplicaProcess, event: ReplicaEvent) -> None:
        if isinstance(event, BecameDc) and event.established and event.basis.safe:
            self._look(process)

    def _look(self, process: ReplicaProcess) -> None:
        assert process.core is not None
        log = process.core.replication.log
        for request_id, outcome in self.outcomes.items():
            index = log.find_request(request_id)
            if outcome is Outcome.OK and (index is None or index > log.commit_index):
                what = f"the change of voters {request_id} was answered OK; {process.name} lacks it"
                raise InvariantBroken("I7", what)
            if outcome is Outcome.FAILED and index is not None:
                raise InvariantBroken("I9", f"the change of voters {request_id} FAILED and is there")

    def after_event(self, world: World) -> None:
        """Looked at when somebody becomes DC."""

    def settled(self, world: World) -> None:
        process = self.cluster.dc(safe=True)
        assert process is not None
        assert process.core is not None
        self._look(process)
        if process.core.quorum.next is not None:
            raise InvariantBroken("I16", "a change of voters is not over at rest")
        if all(node != process.id for node, _ in process.core.quorum.voters):
            raise InvariantBroken("I16", f"{process.name} is DC and has no vote")
        if not process.core.replication.log.voters[0]:
            raise InvariantBroken("I16", "the voters are not in the log")
