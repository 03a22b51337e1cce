"""Real replicas: real disks, gRPC with node certificates, views given by hand."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from crm.cib import codec
from crm.cib.model import Element, element
from crm.replica.core import Replica
from crm.replica.effects import Die, Effect
from crm.replica.events import BecameDc, Committed, Orphans, Outcome, ReplicaEvent, WriteOutcome
from crm.replica.recent import Recent
from tests.cib_lab import Lab, lab, until


def with_tag(name: str) -> Element:
    """A configuration that differs from others in one tag."""
    return element(
        "configuration", {}, element("crm_config"), element("tags", {}, element("tag", {"id": name}))
    )


async def running(cluster: Lab) -> None:
    await until(lambda: all(cluster.shell(node)._core is not None for node in cluster.nodes))


async def test_a_write_commits_on_three_nodes(tmp_path: Path) -> None:
    async with lab(tmp_path) as cluster:
        await running(cluster)
        events: list[asyncio.Queue[ReplicaEvent]] = [cluster.shell(n).subscribe() for n in (1, 2, 3)]
        cluster.view([1, 2, 3])
        dc = await cluster.dc(1, 2, 3)
        assert dc == 1
        first = await cluster.agree(1, 2, 3)
        nodes = cluster.shell(3).configuration.child("nodes")
        assert nodes is not None
        assert [node.get("uname") for node in nodes.children] == ["n1", "n2", "n3"]
        for node in (1, 2, 3):
            shell = cluster.shell(node)
            outcome = await shell.write(with_tag(f"t{node}"), author="root", client="test")
            assert outcome.outcome is Outcome.OK, outcome
            assert outcome.digest == codec.digest(with_tag(f"t{node}"))
        stale = await cluster.shell(2).write(with_tag("x"), author="root", expected_digest=first)
        assert stale.outcome is Outcome.FAILED
        digest = await cluster.agree(1, 2, 3)
        assert digest == codec.digest(with_tag("t3"))
        seen = [event for event in _drain(events[2]) if isinstance(event, Committed)]
        assert [event.author for event in seen][-3:] == ["root@n1/test", "root@n2/test", "root@n3/test"]
        assert any(isinstance(event, BecameDc) for event in _drain(events[0]))


async def test_who_stops_waits_for_no_open_call(tmp_path: Path) -> None:
    """The DC has one to each follower; it opens another when the follower is back."""
    async with lab(tmp_path) as cluster:
        await running(cluster)
        cluster.view([1, 2, 3])
        assert await cluster.dc(1, 2, 3) == 1
        assert (await cluster.shell(1).write(with_tag("a"), author="root")).outcome is Outcome.OK
        follower = cluster.nodes[2]
        assert follower.server is not None
        assert follower.service is not None
        follower.service.end_streams()
        async with asyncio.timeout(10):
            await follower.server.stop(60)
        await cluster.stop(2)
        await cluster.start(2)
        await running(cluster)
        cluster.view([1, 2, 3])
        await cluster.dc(1, 2, 3)
        assert (await cluster.shell(1).write(with_tag("b"), author="root")).outcome is Outcome.OK
        assert await cluster.agree(1, 2, 3) == codec.digest(with_tag("b"))


async def test_a_follower_s_writes_are_each_as_at_the_dc(tmp_path: Path) -> None:
    """Also on a configuration that the DC does not know by its digest (any more)."""
    async with lab(tmp_path) as cluster:
        await running(cluster)
        cluster.view([1, 2, 3])
        assert await cluster.dc(1, 2, 3) == 1
        follower = cluster.shell(3)
        before = await cluster.agree(1, 2, 3)

        async def write(name: str, *, request_id: str = "", expected_digest: str = "") -> WriteOutcome:
            return await follower.write(
                with_tag(name),
                author="root",
                client="test",
                request_id=request_id,
                expected_digest=expected_digest,
            )

        for forget in (False, True):
            if forget:
                cluster.shell(1).recent = Recent()
            names = [f"{forget}{number}" for number in range(40)]
            outcomes = await asyncio.gather(*(write(name, request_id=name) for name in names))
            assert {outcome.outcome for outcome in outcomes} == {Outcome.OK}
            assert [one.digest for one in outcomes] == [codec.digest(with_tag(name)) for name in names]
            versions = [outcome.version for outcome in outcomes]
            assert versions == sorted(set(versions)), "in the order they came"
            again = await write("another", request_id=names[7])
            assert (again.outcome, again.version) == (Outcome.OK, versions[7])
        stale, good = await asyncio.gather(
            write("stale", expected_digest=before), write("good", expected_digest=follower.digest)
        )
        assert (stale.outcome, good.outcome) == (Outcome.FAILED, Outcome.OK)
        assert await cluster.agree(1, 2, 3) == codec.digest(with_tag("good"))
        assert cluster.shell(1)._author == "root@n3/test"


async def test_a_dc_that_goes_away_leaves_no_write_untold(tmp_path: Path) -> None:
    """Each is written once or certainly not; which of them, the next DC knows."""
    async with lab(tmp_path) as cluster:
        await running(cluster)
        cluster.view([1, 2, 3])
        assert await cluster.dc(1, 2, 3) == 1
        follower, events = cluster.shell(3), cluster.shell(2).subscribe()

        async def write(number: int) -> WriteOutcome:
            await asyncio.sleep(number / 500)
            return await follower.write(
                with_tag(f"w{number}"), author="root", request_id=f"w{number}", deadline_ms=20_000
            )

        writing = [asyncio.ensure_future(write(number)) for number in range(100)]
        await until(lambda: sum(one.done() for one in writing) > 20)
        await cluster.stop(1)
        cluster.view([2, 3])
        assert await cluster.dc(2, 3) in (2, 3)
        outcomes = await asyncio.gather(*writing)
        assert {one.outcome for one in outcomes} <= {Outcome.OK, Outcome.FAILED}
        assert (await write(100)).outcome is Outcome.OK
        for number, outcome in enumerate(outcomes):
            assert (await follower.outcome_of(f"w{number}")).outcome is outcome.outcome
        await cluster.agree(2, 3)
        seen = [event.digest for event in _drain(events) if isinstance(event, Committed)]
        assert len(seen) == len(set(seen)), "none is written twice"
        failed = {
            codec.digest(with_tag(f"w{number}"))
            for number, outcome in enumerate(outcomes)
            if outcome.outcome is Outcome.FAILED
        }
        assert not failed & set(seen)


def _drain(queue: asyncio.Queue[ReplicaEvent]) -> list[ReplicaEvent]:
    found = []
    while not queue.empty():
        found.append(queue.get_nowait())
    return found


async def test_it_survives_a_restart_of_all(tmp_path: Path) -> None:
    async with lab(tmp_path) as cluster:
        await running(cluster)
        cluster.view([1, 2, 3])
        await cluster.dc(1, 2, 3)
        outcome = await cluster.shell(3).write(with_tag("kept"), author="root", request_id="r1")
        assert outcome.outcome is Outcome.OK
        for node in (1, 2, 3):
            await cluster.stop(node)
        for node in (1, 2):
            await cluster.start(node)
        await until(lambda: all(cluster.shell(node).digest for node in (1, 2)))
        cluster.view([1, 2])
        await cluster.dc(1, 2)
        assert cluster.shell(2).digest == codec.digest(with_tag("kept"))
        assert (await cluster.shell(2).outcome_of("r1")).outcome is Outcome.OK
        assert (await cluster.shell(2).outcome_of("never")).outcome is Outcome.FAILED
        assert (tmp_path / "n1/var/lib/hacluster/cib/cib.xml").read_bytes().count(b"kept") == 1


async def test_minority_writes_become_orphans(tmp_path: Path) -> None:
    async with lab(tmp_path) as cluster:
        await running(cluster)
        cluster.view([1, 2, 3])
        await cluster.dc(1, 2, 3)
        events = cluster.shell(1).subscribe()
        cluster.view([2, 3])
        cluster.view([1], quorate=False)
        assert await cluster.dc(2, 3) == 2
        refused = await cluster.shell(1).write(with_tag("minority"), author="root")
        assert refused.outcome is Outcome.FAILED
        assert "no quorum" in refused.reason
        forced = await cluster.shell(1).write(with_tag("minority"), author="root", force=True)
        assert forced.outcome is Outcome.OK
        assert "without a quorum" in forced.reason
        good = await cluster.shell(3).write(with_tag("majority"), author="root")
        assert good.outcome is Outcome.OK
        before = cluster.shell(1).version
        cluster.view([1, 2, 3])
        await cluster.dc(1, 2, 3)
        assert await cluster.agree(1, 2, 3) == codec.digest(with_tag("majority"))
        orphans: list[Orphans] = []

        def are_told() -> bool:
            orphans.extend(event for event in _drain(events) if isinstance(event, Orphans))
            return bool(orphans)

        await until(are_told)
        assert [(event.count, event.answered, event.node) for event in orphans] == [(1, 1, "n1")]
        saved = codec.parse((tmp_path / "n1/var/lib/hacluster/cib" / orphans[0].file).read_bytes())
        assert saved.by_id("minority") is not None
        assert cluster.shell(1).version > before


def with_options(**options: str) -> Element:
    """A configuration with these options, one of which says what becomes of orphans."""
    pairs = {"cib-merge": "disjoint", **options}
    nvpairs = [
        element("nvpair", {"id": f"o-{name}", "name": name, "value": value}) for name, value in pairs.items()
    ]
    options_set = element("cluster_property_set", {"id": "o"}, *nvpairs)
    return element("configuration", {}, element("crm_config", {}, options_set), element("tags"))


@pytest.mark.parametrize("losers", [(1,), (1, 4)])
async def test_disjoint_changes_are_merged(tmp_path: Path, losers: tuple[int, ...]) -> None:
    """Two that were on the same side both propose: each change is made once all the same."""
    winners = tuple(node for node in (1, 2, 3, 4, 5) if node not in losers)
    async with lab(tmp_path, 5) as cluster:
        await running(cluster)
        cluster.view([1, 2, 3, 4, 5])
        await cluster.dc(1, 2, 3, 4, 5)
        assert (await cluster.shell(1).write(with_options(), author="root")).outcome is Outcome.OK
        await cluster.agree(1, 2, 3, 4, 5)
        events = cluster.shell(1).subscribe()
        cluster.view(winners)
        cluster.view(losers, quorate=False)
        await cluster.dc(*winners)
        for number, options in enumerate(({"a": "1"}, {"a": "1", "x": "1"}, {"a": "1", "x": "1", "b": "1"})):
            forced = await cluster.shell(1).write(
                with_options(**options), author="root", request_id=f"r{number}", force=True
            )
            assert forced.outcome is Outcome.OK
        good = await cluster.shell(3).write(with_options(x="2"), author="root")
        assert good.outcome is Outcome.OK
        cluster.view([1, 2, 3, 4, 5])
        await cluster.dc(1, 2, 3, 4, 5)
        merged = codec.digest(with_options(x="2", a="1", b="1"))
        await until(lambda: all(cluster.shell(node).digest == merged for node in (1, 2, 3, 4, 5)))
        told: list[Orphans] = []

        def are_told() -> bool:
            told.extend(event for event in _drain(events) if isinstance(event, Orphans))
            return bool(told)

        await until(are_told)
        assert [(event.count, event.answered) for event in told] == [(1, 1)]
        report = codec.parse((tmp_path / "n1/var/lib/hacluster/cib" / told[0].file).read_bytes())
        assert [entry.get("request-id") for entry in report.all("entry")][-1] == "r1"
        for request_id in ("r0", "r2"):
            assert (await cluster.shell(2).outcome_of(request_id)).outcome is Outcome.OK
        refused = await cluster.shell(2).outcome_of("r1")
        assert refused.outcome is Outcome.FAILED


async def test_status_reaches_the_followers(tmp_path: Path) -> None:
    async with lab(tmp_path) as cluster:
        await running(cluster)
        cluster.view([1, 2, 3])
        await cluster.dc(1, 2, 3)
        status = element("status", {}, element("node_state", {"id": "1", "uname": "n1"}))
        cluster.shell(1).publish_status(status)
        await until(lambda: all(cluster.shell(node).status == status for node in (2, 3)))
        assert cluster.shell(2).version == cluster.shell(1).version
        assert cluster.shell(2).version.num_updates == 1


async def test_two_nodes_survive_the_loss_of_one_without_fencing(tmp_path: Path) -> None:
    async with lab(tmp_path, 2, two_node=True) as cluster:
        await running(cluster)
        cluster.view([1, 2])
        await cluster.dc(1, 2)
        off = element(
            "configuration",
            {},
            element(
                "crm_config",
                {},
                element(
                    "cluster_property_set",
                    {"id": "o"},
                    element("nvpair", {"id": "s", "name": "stonith-enabled", "value": "false"}),
                ),
            ),
        )
        fenced = await _alone(cluster, deadline_ms=300)
        assert fenced.outcome is Outcome.FAILED
        assert "fenced" in fenced.reason
        cluster.view([1, 2])
        await cluster.dc(1, 2)
        assert (await cluster.shell(2).write(off, author="root")).outcome is Outcome.OK
        cluster.view([2])
        assert await cluster.dc(2) == 2
        alone = await cluster.shell(2).write(lambda old: old.with_child(element("tags")), author="root")
        assert alone.outcome is Outcome.OK
        cluster.view([1, 2])
        await cluster.dc(1, 2)
        await cluster.agree(1, 2)
        assert cluster.shell(1).configuration.child("tags") is not None


async def _alone(cluster: Lab, *, deadline_ms: int) -> WriteOutcome:
    cluster.view([2])
    await until(lambda: cluster.shell(2).dc.is_me)
    assert not cluster.shell(2).dc.established
    return await cluster.shell(2).write(with_tag("alone"), author="root", deadline_ms=deadline_ms)


async def test_a_bug_in_the_core_silences_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with lab(tmp_path) as cluster:
        await running(cluster)
        shell = cluster.shell(1)

        def broken(_core: Replica, _event: object, _now_ns: int) -> list[Effect]:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(Replica, "handle", broken)
            with pytest.raises(ZeroDivisionError):
                shell.set_eligibility(eligible=False)
        assert [type(effect) for effect in shell._queue] == [Die]
        shell._queue.clear()
