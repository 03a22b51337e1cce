"""Class systemd against a systemd that speaks its D-Bus interface, over a real bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import ResourceId
from hacluster.vocabulary.operation import ExecutionStatus, Operation
from lrm.systemd import dropin
from lrm.systemd.bus import SystemdBus
from lrm.systemd.units import Result, Units
from tests.unit.lrm.systemd.fake_systemd import FakeSystemd, fake_systemd

WEB = "web.service"


@pytest.fixture
async def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeSystemd]:
    async with fake_systemd(tmp_path, monkeypatch) as fake:
        yield fake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run-systemd"
    path.mkdir()
    return path


@pytest.fixture
async def units(systemd: FakeSystemd, folder: Path) -> AsyncIterator[Units]:
    bus = SystemdBus()
    yield Units(bus, folder)
    await bus.close()


async def run(
    units: Units, action: str, unit: str = WEB, *, timeout_ms: int = 10_000, gate: bool = True
) -> Result:
    operation = Operation(
        resource=ResourceId("web"), agent=AgentName.parse("systemd:web"), action=action, timeout_ms=timeout_ms
    )
    return await units.run(operation, unit, lambda: gate)


def of(result: Result) -> tuple[str, int]:
    return result.status.name, int(result.rc)


async def test_a_unit_lives(units: Units, systemd: FakeSystemd, folder: Path) -> None:
    systemd.unit(WEB, seconds=0.05)
    override = folder / f"{WEB}.d" / dropin.FILE
    assert of(await run(units, "monitor")) == ("DONE", 7)
    assert of(await run(units, "start")) == ("DONE", 0)
    assert systemd.units[WEB].active == "active"
    assert "Restart=no" in override.read_text()
    assert override.stat().st_mode & 0o777 == 0o644
    assert of(await run(units, "monitor")) == ("DONE", 0)
    assert of(await run(units, "reload")) == ("DONE", 0)
    assert of(await run(units, "stop")) == ("DONE", 0)
    assert not override.parent.exists()
    assert of(await run(units, "monitor")) == ("DONE", 7)
    assert [said.split()[0] for said in systemd.said if not said.startswith("LoadUnit")] == [
        "Subscribe", "Reload", "StartUnit", "ReloadUnit", "Reload", "StopUnit"
    ]  # fmt: skip


async def test_the_end_of_a_job_may_come_before_its_name(units: Units, systemd: FakeSystemd) -> None:
    systemd.unit(WEB)
    systemd.early_signal = True
    assert of(await run(units, "start")) == ("DONE", 0)


async def test_a_job_that_fails(units: Units, systemd: FakeSystemd) -> None:
    systemd.unit(WEB, result="failed")
    result = await run(units, "start")
    assert of(result) == ("DONE", 1)
    assert "failed" in result.reason
    systemd.units[WEB].result = "timeout"
    assert of(await run(units, "start")) == ("TIMEOUT", 1)
    assert of(await run(units, "monitor")) == ("DONE", 7)


async def test_a_job_that_takes_longer_than_the_operation_may(units: Units, systemd: FakeSystemd) -> None:
    systemd.unit(WEB, seconds=60)
    assert of(await run(units, "start", timeout_ms=200)) == ("TIMEOUT", 1)
    # While it is activating it has no state, and monitor waits for one.
    assert of(await run(units, "monitor", timeout_ms=200)) == ("TIMEOUT", 1)
    systemd.units[WEB].seconds = 0
    assert of(await run(units, "stop")) == ("DONE", 0)


async def test_a_unit_nobody_knows(units: Units, systemd: FakeSystemd) -> None:
    assert of(await run(units, "start", "none.service")) == ("NOT_INSTALLED", 5)
    assert of(await run(units, "stop", "none.service")) == ("DONE", 0)
    assert of(await run(units, "monitor", "none.service")) == ("DONE", 7)


async def test_a_name_that_no_unit_can_have(units: Units, systemd: FakeSystemd, folder: Path) -> None:
    """A typing error must not end in a stop that fails, and by that in a node that is fenced."""
    assert of(await run(units, "monitor", "my web.service")) == ("NOT_INSTALLED", 5)
    assert of(await run(units, "start", "my web.service")) == ("NOT_INSTALLED", 5)
    assert of(await run(units, "stop", "my web.service")) == ("DONE", 0)
    assert not (folder / "my web.service.d").exists()


async def test_a_refused_stop_of_a_unit_that_may_run_is_no_success(
    units: Units, systemd: FakeSystemd
) -> None:
    """Else it would be started on another node beside it."""
    systemd.unit(WEB, active="active")
    systemd.refuses = "StopUnit"
    assert of(await run(units, "stop")) == ("ERROR", 1)
    systemd.refuses = "Get"
    assert of(await run(units, "monitor"))[0] == "ERROR"


async def test_systemd_executes_itself_anew(units: Units, systemd: FakeSystemd) -> None:
    """Calls are without an answer, a job's end is not heard: the unit's state says what became of it."""
    systemd.unit(WEB)
    systemd.no_reply = 2
    assert of(await run(units, "start")) == ("DONE", 0)
    systemd.mute_jobs = True
    assert of(await run(units, "stop")) == ("DONE", 0)
    systemd.units[WEB].result = "failed"
    result = await run(units, "start")
    assert of(result) == ("DONE", 1)
    assert "not heard" in result.reason


async def test_the_gate_is_looked_at_right_before_the_job(units: Units, systemd: FakeSystemd) -> None:
    systemd.unit(WEB)
    assert (await run(units, "start", gate=False)).status is ExecutionStatus.NOT_RUN
    assert of(await run(units, "stop", gate=False)) == ("DONE", 0)
    assert not any(said.startswith("StartUnit") for said in systemd.said)


async def test_without_systemd(tmp_path: Path) -> None:
    units = Units(SystemdBus(), tmp_path / "none")
    assert of(await run(units, "monitor")) == ("NOT_INSTALLED", 5)


async def test_a_bus_that_is_not_there_is_no_answer(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit may well run: only a time-out can be said."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    assert of(await run(Units(SystemdBus(), folder), "monitor", timeout_ms=300)) == ("TIMEOUT", 1)


async def test_other_actions_are_none_of_its(units: Units) -> None:
    assert of(await run(units, "promote")) == ("DONE", 3)


async def test_what_it_says_of_itself(units: Units, systemd: FakeSystemd) -> None:
    assert await units.describe(WEB) == (WEB, f"The unit {WEB}")
    assert (await units.describe("x@.service"))[0] == "x@hacluster.service"


async def test_many_at_once(units: Units, systemd: FakeSystemd) -> None:
    names = [f"u{number}.service" for number in range(30)]
    for name in names:
        systemd.unit(name, seconds=0.02)
    results = await asyncio.gather(*(run(units, "start", name) for name in names))
    assert {of(result) for result in results} == {("DONE", 0)}
