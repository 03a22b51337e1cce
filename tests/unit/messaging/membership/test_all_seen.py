"""wait_for_all when the voters become two while all runs, and after a boot in the middle of that."""

from __future__ import annotations

from dataclasses import replace

from hacluster.vocabulary.ids import NodeId
from hacluster.vocabulary.membership import Authority, QuorumConfig
from messaging.membership.events import CommittedQuorum, QuorumConfigured
from messaging.membership.waiting import WaitingEnded
from tests.sim.engine import SECOND, World
from tests.sim.membership import MembershipCluster

THREE = QuorumConfig(voters=tuple((NodeId(node), 1) for node in (1, 2, 3)))
TWO = replace(THREE.among(THREE.voters[:2]), two_node=True, wait_for_all=True)


class Lab:
    """n1 and n2 of three voters; n3 has not been there since they booted."""

    def __init__(self) -> None:
        self.world = World(1)
        self.cluster = MembershipCluster(self.world, 3)
        self.told: list[tuple[str, Authority]] = []
        for process in self.cluster.processes.values():
            process.on_publish.append(lambda one, status: self.told.append((one.node.name, status.authority)))
        self.boot("n1")
        self.boot("n2")
        self.run(40)  # initdead
        assert self.now("n1").quorate

    def boot(self, name: str) -> None:
        self.cluster.nodes[name].boot()

    def cut(self, name: str) -> None:
        self.cluster.nodes[name].power_cut(self.world.stream("test"))

    def restart(self, name: str) -> None:
        self.cluster.processes[name].crash()
        self.cluster.processes[name].start()
        self.told.clear()

    def run(self, seconds: int = 5) -> None:
        self.world.run_until(self.world.now_ns + seconds * SECOND)

    def tell(self, name: str, config: QuorumConfig, log_index: int) -> None:
        quorum = CommittedQuorum(config=config, log_index=log_index)
        self.cluster.processes[name].deliver(QuorumConfigured(quorum))

    def now(self, name: str) -> Authority:
        return next(authority for one, authority in reversed(self.told) if one == name)


def test_two_who_are_left_of_three_need_not_meet_anew() -> None:
    lab = Lab()
    assert lab.now("n1").by_votes
    lab.told.clear()
    for name in ("n1", "n2"):
        lab.tell(name, replace(THREE, next=TWO), 8)
        lab.tell(name, TWO, 9)
    lab.run(2)
    assert all(authority.quorate and not authority.waiting for _, authority in lab.told)
    lab.cut("n2")
    lab.run()
    assert (lab.now("n1").quorate, lab.now("n1").by_votes) == (True, False), "it acts alone"
    lab.cut("n1")
    lab.boot("n1")
    lab.run(40)
    assert (lab.now("n1").quorate, lab.now("n1").waiting) == (False, True), "after a boot it waits"
    lab.boot("n2")
    lab.run(40)
    assert (lab.now("n1").quorate, lab.now("n1").waiting, lab.now("n1").by_votes) == (True, False, True)


def test_who_boots_before_it_has_heard_of_the_two_learns_it_from_the_other() -> None:
    lab = Lab()
    lab.boot("n3")
    lab.run()
    lab.cut("n2")  # it has the new voters in its log, not in its ha-messaging
    lab.run(1)
    lab.tell("n1", TWO, 9)
    lab.boot("n2")
    lab.run(40)
    assert (lab.now("n2").quorate, lab.now("n2").by_votes) == (True, True)
    lab.cut("n1")
    lab.run()
    assert (lab.now("n2").quorate, lab.now("n2").by_votes) == (True, False)


def test_while_the_voters_change_one_of_the_next_two_does_not_act() -> None:
    lab = Lab()
    lab.boot("n3")
    lab.run()
    for name in ("n1", "n2", "n3"):
        lab.tell(name, replace(THREE, next=TWO), 8)
    lab.cut("n2")
    lab.run()
    assert not lab.now("n1").quorate, "two of the old voters, and one of the next"


def test_one_of_two_waits_for_the_other_though_it_had_seen_all_before() -> None:
    """It was told late: n3 took n2's place, was there for the change, and has not been met since the boot."""
    lab = Lab()
    before = replace(THREE.among(THREE.voters[:2]), wait_for_all=True)
    lab.tell("n1", before, 8)
    lab.tell("n2", before, 8)
    lab.run(1)
    assert not lab.now("n1").waiting, "all of them are here"
    lab.tell("n1", replace(TWO, voters=(THREE.voters[0], THREE.voters[2])), 9)
    lab.run()
    assert (lab.now("n1").quorate, lab.now("n1").waiting) == (False, True)
    lab.boot("n3")
    lab.run()
    assert (lab.now("n1").quorate, lab.now("n1").waiting) == (True, False)
    lab.cut("n3")
    lab.run()
    assert (lab.now("n1").quorate, lab.now("n1").by_votes) == (True, False)
    lab.restart("n1")
    lab.run(40)
    assert (lab.now("n1").quorate, lab.now("n1").waiting) == (True, False), "the daemon's end is no boot"


def a_node_that_waits(config: QuorumConfig, *others: str) -> Lab:
    """n1 has booted anew, with these others of the voters."""
    lab = Lab()
    for name in ("n1", "n2"):
        lab.tell(name, config, 9)
    lab.run(1)
    for name in ("n1", "n2"):
        lab.cut(name)
    for name in ("n1", *others):
        lab.boot(name)
    lab.run(40)
    assert (lab.now("n1").quorate, lab.now("n1").waiting) == (False, True)
    return lab


def test_a_decree_lets_one_of_two_act_until_it_boots_again() -> None:
    lab = a_node_that_waits(TWO)
    process = lab.cluster.processes["n1"]
    view = lab.now("n1").view.id
    process.deliver(WaitingEnded(replace(view, counter=view.counter + 1)))
    lab.run()
    assert lab.now("n1").waiting, "that was said of another view"
    process.deliver(WaitingEnded(view))
    lab.run()
    assert (lab.now("n1").quorate, lab.now("n1").waiting, lab.now("n1").by_votes) == (True, False, False)
    assert lab.now("n1").view.id == view
    lab.restart("n1")
    lab.run(40)
    assert (lab.now("n1").quorate, lab.now("n1").waiting) == (True, False), "the daemon's end is no boot"
    lab.cut("n1")
    lab.boot("n1")
    lab.run(40)
    assert (lab.now("n1").quorate, lab.now("n1").waiting) == (False, True), "a decree is of one boot"


def test_a_decree_gives_no_votes() -> None:
    waits = replace(THREE, wait_for_all=True)
    lab = a_node_that_waits(waits)
    lab.cluster.processes["n1"].deliver(WaitingEnded(lab.now("n1").view.id))
    lab.run()
    assert (lab.now("n1").quorate, lab.now("n1").waiting) == (False, False), "one of three"
    lab = a_node_that_waits(waits, "n2")
    for name in ("n1", "n2"):
        lab.cluster.processes[name].deliver(WaitingEnded(lab.now(name).view.id))
    lab.run()
    assert all(lab.now(name).quorate and not lab.now(name).waiting for name in ("n1", "n2"))


def test_a_decree_about_two_says_nothing_of_other_two() -> None:
    lab = a_node_that_waits(TWO)
    lab.cluster.processes["n1"].deliver(WaitingEnded(lab.now("n1").view.id))
    lab.run(1)
    lab.tell("n1", replace(TWO, voters=(THREE.voters[0], THREE.voters[2])), 10)
    lab.run()
    assert (lab.now("n1").quorate, lab.now("n1").waiting) == (False, True)
