"""The replicated CIB in the simulator: the protocol's walk-throughs, some seeds of each class, mutants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crm.replica.effects import FenceConfirmed
from crm.replica.events import Outcome
from tests.sim import full  # noqa: F401 - registers its classes
from tests.sim.cib import CibCluster, ReplicaProcess, Write, configuration_of
from tests.sim.cib_classes import CibProfile, CibRun
from tests.sim.classes import REGISTRY
from tests.sim.engine import MS, SECOND

CLASSES = sorted(name for name in REGISTRY if name.startswith(("cib", "voters", "witness")))


class Script:
    """A hand-made course of events with all checkers on."""

    def __init__(self, seed: int, nodes: int, **profile: bool) -> None:
        self.run = CibRun(seed, CibProfile(nodes=nodes, **profile))  # type: ignore[arg-type]
        self.cluster: CibCluster = self.run.cluster
        self.world = self.run.world
        self.rng = self.world.stream("script")

    def boot(self) -> None:
        self.run.boot()

    def wait(self, ns: int) -> None:
        self.world.run_until(self.world.now_ns + ns)

    def at(self, node_id: int) -> ReplicaProcess:
        return self.cluster.by_id[node_id]

    def write(
        self, node_id: int, *, force: bool = False, shared: str = "", wait_ns: int = 2 * SECOND
    ) -> Write:
        write = self.cluster.clients.write(self.at(node_id), force=force, shared=shared)
        self.wait(wait_ns)
        return write

    def cut(self, node_id: int) -> None:
        self.cluster.power_cut(node_id, self.rng)

    def is_dc(self, node_id: int) -> bool:
        core = self.at(node_id).core
        return core is not None and core.dc.is_me and core.dc.established

    def has(self, node_id: int, write: Write) -> bool:
        return configuration_of(self.at(node_id)).by_id(f"w{write.number}") is not None

    def settle(self) -> None:
        self.run.settle()


@pytest.fixture(params=range(1, 6))
def seed(request: pytest.FixtureRequest) -> Iterator[int]:
    return request.param  # type: ignore[no-any-return]


def test_power_cut_2(seed: int) -> None:
    """The survivor of two goes on (fencing off), provisionally; nothing is lost when the other returns."""
    script = Script(seed, 2, two_node=True)
    script.boot()
    assert script.is_dc(1)
    script.cut(1)
    script.wait(6 * SECOND)
    assert script.is_dc(2)
    alone = script.write(2)
    assert (alone.outcome, alone.provisional) == (Outcome.OK, True)
    script.settle()
    assert script.has(1, alone)
    assert script.cluster.orphans == []


def test_power_cut_2_with_fencing_waits(seed: int) -> None:
    """With fencing on and nobody fenced, the survivor is not established and refuses in the end."""
    script = Script(seed, 2, two_node=True, fencing=True)
    script.boot()
    script.cut(1)
    script.wait(6 * SECOND)
    assert not script.is_dc(2)
    refused = script.write(2, wait_ns=4 * SECOND)
    assert refused.outcome is Outcome.FAILED
    script.settle()
    assert not script.has(1, refused)


def test_power_cut_2_fenced(seed: int) -> None:
    """The survivor waits for the confirmation, then goes on safely; whoever returns is caught up."""
    script = Script(seed, 2, two_node=True, fencing=True)
    script.boot()
    token = script.cluster.nodes[1].boot_token
    script.cut(1)
    script.wait(6 * SECOND)
    assert not script.is_dc(2)
    script.at(2).deliver(FenceConfirmed(1, token))
    script.wait(SECOND)
    assert script.is_dc(2)
    alone = script.write(2)
    assert (alone.outcome, alone.provisional) == (Outcome.OK, False)
    script.at(2).crash()  # the right is kept over the end of the daemon
    script.at(2).start()
    script.wait(4 * SECOND)
    assert not script.is_dc(2)
    script.at(2).deliver(FenceConfirmed(1, token))
    script.wait(SECOND)
    assert script.is_dc(2)
    script.settle()
    assert script.has(1, alone)


def test_split_2_fenced(seed: int) -> None:
    """Both may fence; never do both commit, and nothing that was answered OK is lost."""
    script = Script(seed, 2, two_node=True, fencing=True, device=True)
    script.boot()
    script.cluster.partition([1], [2])
    writes = []
    for _ in range(12):
        script.wait(2 * SECOND)
        leading = [node for node in (1, 2) if script.is_dc(node)]
        assert len(leading) < 2
        writes += [script.write(node, wait_ns=0) for node in leading]
    script.settle()
    assert not any(saved.committed for saved in script.cluster.orphans)
    assert all(script.has(1, write) for write in writes if write.outcome is Outcome.OK)


def test_split_2_both_write(seed: int) -> None:
    """Two survivors of a split without fencing: one history wins, the other is reported."""
    script = Script(seed, 2, two_node=True)
    script.boot()
    script.cluster.partition([1], [2])
    script.wait(6 * SECOND)
    one, other = script.write(1), script.write(2)
    assert {one.outcome, other.outcome} == {Outcome.OK}
    assert one.provisional
    assert other.provisional
    script.settle()
    assert script.has(1, one) != script.has(1, other)
    assert [saved.committed for saved in script.cluster.orphans] == [1]


def test_split_3(seed: int) -> None:
    """The majority goes on in a new term, the third is a caretaker that writes nothing."""
    script = Script(seed, 3)
    script.boot()
    script.cluster.partition([1, 2], [3])
    script.wait(6 * SECOND)
    assert script.is_dc(1)
    core = script.at(3).core
    assert core is not None
    assert core.dc.caretaker
    good, bad = script.write(1), script.write(3)
    assert (good.outcome, good.provisional) == (Outcome.OK, False)
    assert bad.outcome is Outcome.FAILED
    script.settle()


def test_minority_writes(seed: int) -> None:
    """Refused without quorum; with force provisional, and an orphan report after the merge."""
    script = Script(seed, 3)
    script.boot()
    script.cluster.partition([1, 2], [3])
    script.wait(6 * SECOND)
    forced = [script.write(3, force=True) for _ in range(5)]
    good = script.write(1)
    assert all((write.outcome, write.provisional) == (Outcome.OK, True) for write in forced)
    script.settle()
    assert script.has(3, good)
    assert not any(script.has(3, write) for write in forced)
    assert [(saved.node, saved.committed) for saved in script.cluster.orphans] == [(3, 5)]


def test_pause_dc(seed: int) -> None:
    """A DC's machine stands still for 30 s: the others go on, it steps down when it wakes."""
    script = Script(seed, 3)
    script.boot()
    before = script.write(1)
    script.at(1).pause(30 * SECOND)
    late = script.cluster.clients.write(script.at(1))
    script.cluster.partition([1], [2, 3])
    script.wait(8 * SECOND)
    assert script.is_dc(2)
    during = script.write(2)
    script.cluster.heal()
    script.wait(30 * SECOND)
    assert not (script.is_dc(1) and script.is_dc(2))
    script.settle()
    assert script.has(1, before)
    assert script.has(1, during)
    assert late.outcome in (Outcome.FAILED, Outcome.UNKNOWN, Outcome.OK)


def test_dc_crm_stopped(seed: int) -> None:
    """Only the DC's ha-crm stops, the view stands: a new DC within 3.5 s; it steps down when it goes on."""
    script = Script(seed, 3)
    script.boot()
    script.at(1).pause(20 * SECOND)
    script.wait(3_500 * MS)
    new = max((node for node in (2, 3) if script.is_dc(node)), default=0)
    assert new, "nobody replaced the silent DC"
    assert script.write(new).outcome is Outcome.OK
    script.wait(20 * SECOND)
    assert not script.is_dc(1)
    script.settle()


def test_all_power_lost_after_ok(seed: int) -> None:
    """OK means on the disks of a quorum: whichever two boot have it."""
    script = Script(seed, 3)
    script.boot()
    write = script.write(1, wait_ns=50 * MS)
    assert write.outcome is Outcome.OK
    for node in (1, 2, 3):
        script.cut(node)
    first, second = script.rng.sample([1, 2, 3], 2)
    script.wait(SECOND)
    script.cluster.boot(first)
    script.cluster.boot(second)
    script.wait(8 * SECOND)
    assert script.is_dc(first) or script.is_dc(second)
    assert script.has(first, write)
    script.settle()


def test_old_disk(seed: int) -> None:
    """A node comes back with a copy of long ago: a prefix is caught up."""
    script = Script(seed, 3)
    script.boot()
    old = script.write(1)
    script.cut(3)
    backup = dict(script.cluster.nodes[3].disk.durable)
    script.cluster.boot(3)
    script.wait(6 * SECOND)
    dc = script.cluster.dc(safe=True)
    assert dc is not None
    news = [script.write(dc.id) for _ in range(3)]
    script.cut(3)
    disk = script.cluster.nodes[3].disk
    disk.visible, disk.durable = dict(backup), dict(backup)
    script.settle()
    assert all(script.has(3, write) for write in [old, *news])
    assert script.cluster.orphans == []


def test_seen_then_split(seed: int) -> None:
    """B boots, sees A with newer writes, and is cut off before it is caught up: with fencing on it stays
    unestablished, so A's history is the only one.
    """
    script = Script(seed, 2, two_node=True)
    script.boot()
    script.cut(2)
    script.wait(6 * SECOND)
    alone = script.write(1)
    script.cluster.boot(2)
    script.wait(script.rng.randint(1, 40) * MS)
    script.cluster.partition([1], [2])
    script.wait(8 * SECOND)
    more = script.write(1)
    assert more.outcome is Outcome.OK
    script.settle()
    assert script.has(2, alone)
    assert script.has(2, more)


def test_a_wiped_node_gets_its_vote_back(seed: int) -> None:
    """Without a memory it has no vote; with all voters present and caught up it has one again."""
    script = Script(seed, 3)
    script.boot()
    script.write(1)
    script.cut(3)
    script.cluster.nodes[3].disk.wipe()
    script.cluster.partition([1], [2], [3])
    script.cluster.boot(3)
    script.cluster.partition([1], [2, 3])
    script.wait(8 * SECOND)
    assert not script.is_dc(2), "a vote without a memory counted"
    script.cluster.heal()
    script.wait(8 * SECOND)
    core = script.at(3).core
    assert core is not None
    assert core.promise.voter
    script.cut(1)
    script.wait(8 * SECOND)
    assert script.is_dc(2) or script.is_dc(3)
    script.settle()


def test_a_merge_makes_again_what_is_in_nobodys_way(seed: int) -> None:
    """One writes alone, so do the others; what the others have called never written is not merged."""
    script = Script(seed, 3, disjoint=True)
    script.boot()
    script.cluster.partition([1], [2, 3])
    script.wait(8 * SECOND)
    alone = [
        script.write(1, force=True),
        script.write(1, force=True, shared="s1"),
        script.write(1, force=True),
    ]
    assert {write.outcome for write in alone} == {Outcome.OK}
    winner = 2 if script.is_dc(2) else 3
    other = script.write(winner, shared="s1")
    alone[2].outcome = Outcome.UNKNOWN  # its writer never heard of it, and asks on the other side
    script.cluster.clients.ask_again(script.at(winner))
    script.wait(SECOND)
    assert alone[2].outcome is Outcome.FAILED
    script.cluster.heal()
    script.settle()
    assert [script.has(2, write) for write in (*alone, other)] == [True, False, False, True]
    (report,) = script.at(1).store.orphans.found()
    assert (report.count, report.answered) == (2, 2)


@pytest.mark.parametrize("name", CLASSES)
def test_a_seed(name: str) -> None:
    REGISTRY[name](1).play()


def test_the_same_seed_is_the_same_run() -> None:
    hashes = []
    for _ in range(2):
        run = REGISTRY["cib3"](7)
        run.play()
        hashes.append(run.world.trace_hash)
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("name", ["full2", "full3", "full3-wait"])
def test_with_real_views(name: str) -> None:
    """ha-messaging's cores give the views."""
    REGISTRY[name](1).play()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["full2", "full3", "full3-force", "full3-wait", "full5"])
def test_many_seeds_with_real_views(name: str) -> None:
    for number in range(100, 106):
        REGISTRY[name](number).play()


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_many_seeds(name: str) -> None:
    for number in range(100, 120):
        REGISTRY[name](number).play()
