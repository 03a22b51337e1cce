"""The scheduler's worker process: answers, is killed when it hangs, stores what it planned."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.scheduler.built_in import cluster
from crm.cib.codec import canonical, parse
from crm.cib.model import Element, element
from crm.scheduler.pipeline import schedule
from crm.scheduling import PlanRequest, SchedulerWorker
from crm.scheduling_files import KEPT_MAX, keep, newest, read_kept, summaries
from crm.transition.graph_xml import graph_xml
from hacluster.errors import Timeout, Unavailable
from hacluster.vocabulary.ids import Term

STUB = "tests.unit.crm.scheduler_stub"


def a_request(*primitives: str, number: int = 1) -> PlanRequest:
    cib = element("cib", None, *(Element("primitive", {"id": name}) for name in primitives))
    return PlanRequest(cib=cib, now_s=77, number=number, term=Term(3, 1), cause="a test")


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[SchedulerWorker]:
    worker = SchedulerWorker(tmp_path, timeout_ms=20_000, module=STUB)
    yield worker
    worker.stop()


async def test_plans_and_keeps_what_it_planned(worker: SchedulerWorker, tmp_path: Path) -> None:
    plan = await worker.plan(a_request("web", "db"))
    assert [action.key for action in plan.graph.actions()] == ["web_77", "db_77"]
    pid = worker.pid
    assert (await worker.plan(a_request("r", number=2))).graph.actions() == ()
    assert worker.pid == pid, "the process is kept"
    worker.finished(1, "complete", "")
    await worker.plan(a_request("r", number=2))  # answered after what was asked before
    (summary,) = summaries(tmp_path)
    assert summary == {
        "number": 1,
        "started_s": 77,
        "cause": "a test",
        "term": [3, 1],
        "actions": 2,
        "outcome": "complete",
        "reason": "",
    }
    cib, graph = read_kept(tmp_path, 1)
    assert parse(cib) == a_request("web", "db").cib
    assert parse(graph).tag == "transition_graph"
    assert newest(tmp_path) == 1


async def test_a_worker_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    worker = SchedulerWorker(tmp_path, timeout_ms=2_000, module=STUB)
    await worker.start()
    pid = worker.pid
    with pytest.raises(Timeout, match="the scheduler"):
        await worker.plan(a_request("hang"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert len((await worker.plan(a_request("web"))).graph.actions()) == 1
    worker.stop()


async def test_a_worker_that_dies_is_replaced(worker: SchedulerWorker) -> None:
    with pytest.raises(Unavailable, match="its process ended"):
        await worker.plan(a_request("die"))
    assert len((await worker.plan(a_request("web"))).graph.actions()) == 1


async def test_an_exception_of_the_scheduler_is_an_answer(worker: SchedulerWorker, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="ValueError: no such stage"):
        await worker.plan(a_request("raise"))
    pid = worker.pid
    await worker.plan(a_request("r", number=2))
    assert worker.pid == pid
    assert [item["outcome"] for item in summaries(tmp_path)] == ["failed"]


def test_a_limited_number_is_kept(tmp_path: Path) -> None:
    for number in (1, 2, KEPT_MAX + 1):
        header = {"folder": str(tmp_path), "number": number, "now_s": 1, "cause": "", "term": [1, 1]}
        keep(header, b"<cib/>", {"error": "", "actions": 1}, b"<transition_graph/>")
    assert [item["number"] for item in summaries(tmp_path)] == [2, KEPT_MAX + 1]
    assert all(path.stat().st_mode & 0o027 == 0 for path in tmp_path.iterdir())
    (tmp_path / "9-summary.json").write_text("{")
    assert [item["number"] for item in summaries(tmp_path)] == [2, KEPT_MAX + 1]


async def test_of_a_cib_that_the_worker_has_only_what_changed_is_sent(tmp_path: Path) -> None:
    first = parse(cluster(3, 30, "running"))
    status = first.child("status")
    assert status is not None
    lost = status.children[-1].with_attributes(in_ccm="false", crmd="offline", join="down")
    second = first.with_child(status.with_children((*status.children[:-1], lost)))
    worker = SchedulerWorker(tmp_path)
    try:
        for number, cib in enumerate((first, second, first), 1):
            request = PlanRequest(cib=cib, now_s=77, number=number, term=Term(3, 1), cause="a test")
            plan = await worker.plan(request)
            wanted = schedule(parse(canonical(cib)), 77).graph
            assert graph_xml(plan.graph) == graph_xml(wanted)
        await worker.plan(PlanRequest(cib=second, now_s=77, number=4, term=Term(3, 1), cause="a test"))
        await worker.plan(PlanRequest(cib=first, now_s=77, number=5, term=Term(3, 1), cause="a test"))
    finally:
        worker.stop()
    cib_bytes, graph = read_kept(tmp_path, 4)
    assert cib_bytes == canonical(second)
    assert graph == graph_xml(schedule(second, 77).graph)
