"""Changes of voters as a fault like any other, and what must hold of them."""

from __future__ import annotations

import random

from crm.cib.replication.basis import Basis
from crm.cib.replication.voters import VotersWanted
from crm.election.quorum import halves, is_quorum, other_voter
from crm.replica.effects import VotersChangeRequested
from crm.replica.events import BecameDc, Outcome, ReplicaEvent, VotersCommitted, WriteOutcome
from hacluster.vocabulary.ids import NodeId
from hacluster.vocabulary.membership import QuorumConfig
from tests.sim.cib import CibCluster, ReplicaProcess
from tests.sim.cib_views import Views
from tests.sim.engine import SECOND, InvariantBroken, World

DEADLINE_NS = 5 * SECOND
FIRST_TOKEN = 1_000_000
"""Above those of the writers."""
NOT_BY_VOTERS = (Basis.CARETAKER, Basis.FORCED)


class VoterChanges:
    """I7 for voters: a change that was answered OK is in every later DC's log, one that FAILED in none.

    And 9.5: both the old and the next voters agree to it.
    """

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
                wanted=VotersWanted(
                    add=tuple((node, 1) for node in sorted(added)), remove=tuple(removed), two_node=True
                ),
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
        core = process.core
        if isinstance(event, VotersCommitted) and core is not None:
            if event.log_index > core.replication.log.safe_commit_index:
                return  # of one alone, or by a decree: it may have to give way yet
            self._look_at_step(process, event.quorum, event.log_index)
            if event.quorum.next is not None:
                self._look_at_next(process, event.quorum.next, event.log_index)

    def _look_at_step(self, process: ReplicaProcess, now: QuorumConfig, index: int) -> None:
        """9.5: the old voters with the next, then the next alone; the survivor of two may go on alone."""
        assert process.core is not None
        log = process.core.replication.log
        before = log.voters_at(index - 1)[1] if index > log.base.index else None
        if before is None:
            return
        if now.next is not None:
            in_order = before.next is None and before.voters == now.voters
        else:
            alone = len(before.voters) == 2 and len(now.voters) == 1
            in_order = alone or now.voters == (before.next or before).voters
        if not in_order:
            what = f"{process.name} has committed {_votes(now)} after {_votes(before)}"
            raise InvariantBroken("9.5", what)

    def _look_at_next(self, process: ReplicaProcess, following: QuorumConfig, index: int) -> None:
        """9.5: a change is committed when the next voters have it, too. Whoever is down may have had it."""
        there = set()
        for one in self.cluster.processes:
            has = one.core.replication.log.last_index if one.core is not None else one.had_index
            if has >= index:
                there.add(one.id)
        self.cluster.world.count("changes_committed")
        if not is_quorum(following, there, witness=True):
            what = f"{process.name} has committed a change that too few of the next voters have stored"
            raise InvariantBroken("9.5", f"{what}: {sorted(there)}")

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


class WaitsForTheOther:
    """7.3: one of two voters that wait for all is no DC alone before it has met the other since its boot.

    Whatever its ha-messaging knows by then of there being two.
    """

    def __init__(self, cluster: CibCluster) -> None:
        assert isinstance(cluster.views, Views)
        self.cluster, self._views = cluster, cluster.views
        self.met: dict[tuple[int, str], set[int]] = {}
        self._seen: dict[int, object] = {}
        cluster.listeners.append(self._event)

    def _event(self, process: ReplicaProcess, event: ReplicaEvent) -> None:
        core = process.core
        if not isinstance(event, BecameDc) or event.basis in NOT_BY_VOTERS or core is None:
            return
        config, other = core.quorum, other_voter(core.quorum, process.id)
        if other is None or core.election.view.member(other) is not None:
            return
        process.world.count("one_of_two_alone")
        waits = config.two_node and config.wait_for_all
        if waits and other not in self.met.get((process.id, process.node.boot_token), ()):
            raise InvariantBroken(
                "7.3", f"{process.name} acts alone and has not met node {other} since its boot"
            )

    def after_event(self, world: World) -> None:
        """Whose ha-messaging has a new view, has met its members; whether its ha-crm runs or not."""
        for node_id, now in self._views.at.items():
            if self._seen.get(node_id) is not now:
                self._seen[node_id] = now
                boot = self.cluster.by_id[node_id].node.boot_token
                self.met.setdefault((node_id, boot), set()).update(now[1])

    def settled(self, world: World) -> None:
        """Nothing more."""


def _votes(config: QuorumConfig) -> str:
    """For people."""
    return " -> ".join(str([node for node, _ in half.voters]) for half in halves(config))
