"""Calls on their way to ha-lrm: what it will never take is not tried again, and holds nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from crm.alerts.shell import ATTEMPTS, AlertShell
from crm.cib.codec import parse
from crm.controller.nodes import MembershipChange, NodeTable
from hacluster.errors import HaError, InvalidRequest, Unavailable

ALERTS = parse(
    '<configuration><alerts><alert id="bad" path="bin/a"/><alert id="good" path="/bin/a"/></alerts>'
    "</configuration>"
)


class Runner:
    """An ha-lrm that refuses relative paths, and whatever `fail` says so often."""

    def __init__(self, fail: int = 0) -> None:
        self.tried: list[str] = []
        self.ran = asyncio.Event()
        self._fail = fail

    async def run_alert(self, alert: str, path: str, environment: Mapping[str, str], timeout_ms: int) -> None:
        self.tried.append(alert)
        refusal: HaError | None = None
        if not path.startswith("/"):
            refusal = InvalidRequest(what=f"{path} is not an absolute path")
        elif self._fail:
            self._fail -= 1
            refusal = Unavailable(why="ha-lrm starts")
        if refusal is not None:
            raise refusal
        self.ran.set()


async def tried(fail: int) -> list[str]:
    runner = Runner(fail)
    nodes = NodeTable([(1, "node1"), (2, "node2")], lambda _parameters: "")
    shell = AlertShell("node1", nodes, runner, lambda: ALERTS)
    shell.membership(MembershipChange(gone=("node2",)))
    task = asyncio.create_task(shell.run())
    try:
        async with asyncio.timeout(10):
            await runner.ran.wait()
    finally:
        task.cancel()
    return runner.tried


async def test_what_is_refused_is_not_tried_again() -> None:
    assert await tried(0) == ["bad", "good"]


async def test_who_cannot_take_it_now_is_asked_again() -> None:
    assert ATTEMPTS > 1
    assert await tried(1) == ["bad", "good", "good"]
