"""systemd's manager on a bus of the test's own: units with a state, and jobs that take their time."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from lrm.systemd.bus import MANAGER, NAME, PATH, UNIT

_CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>"""


@dataclass
class FakeUnit:
    """`seconds`: how long its jobs take. `result`: how they end."""

    name: str
    active: str = "inactive"
    file_state: str = "disabled"
    seconds: float = 0.0
    result: str = "done"
    job: str = "/"


@dataclass
class FakeSystemd:
    """Speaks as org.freedesktop.systemd1. `said`: the calls in order; `mute_jobs`: no JobRemoved."""

    bus: MessageBus
    units: dict[str, FakeUnit] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    mute_jobs: bool = False
    no_reply: int = 0  # so many calls are answered as by a systemd that executes itself anew
    refuses: str = ""  # a method whose arguments are wrong, whatever they are
    early_signal: bool = False  # JobRemoved comes before the answer that names the job
    jobs: int = 0
    running: set[asyncio.Task[None]] = field(default_factory=set)

    def unit(self, name: str, **more: object) -> FakeUnit:
        self.units[name] = unit = FakeUnit(name, **more)  # type: ignore[arg-type]
        return unit

    def handle(self, message: Message) -> Message | bool:
        path, member = str(message.path), str(message.member)
        if message.message_type is not MessageType.METHOD_CALL or not path.startswith(PATH):
            return False
        if self.no_reply > 0 and message.member != "Subscribe":
            self.no_reply -= 1
            return Message.new_error(message, "org.freedesktop.DBus.Error.NoReply", "disconnected")
        if message.member == self.refuses:
            return Message.new_error(message, "org.freedesktop.DBus.Error.InvalidArgs", "Job mode is invalid")
        if message.member == "Get":
            return self._get(message)
        if message.member in ("LoadUnit", "StartUnit", "StopUnit") and " " in message.body[0]:
            text = f"Unit name {message.body[0]} is not valid."
            return Message.new_error(message, "org.freedesktop.DBus.Error.InvalidArgs", text)
        self.said.append(" ".join([str(message.member), *map(str, message.body[:1])]))
        match member:
            case "Subscribe" | "Reload":
                return Message.new_method_return(message)
            case "LoadUnit":
                return Message.new_method_return(message, "o", [self._path(message.body[0])])
            case "StartUnit" | "StopUnit" | "ReloadUnit" | "RestartUnit":
                return self._job(message)
            case _:
                pass
        return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownMethod", "?")

    def _path(self, unit: str) -> str:
        if unit not in self.units:
            self.unit(unit, active="inactive", file_state="", job="missing")
        return f"{PATH}/unit/u{list(self.units).index(unit)}"

    def _get(self, message: Message) -> Message:
        unit = list(self.units.values())[int(str(message.path).rpartition("u")[2])]
        job = unit.job if unit.job.startswith("/") else "/"
        value = {
            "ActiveState": Variant("s", unit.active),
            "UnitFileState": Variant("s", unit.file_state),
            "Id": Variant("s", unit.name),
            "Description": Variant("s", f"The unit {unit.name}"),
            "Job": Variant("(uo)", [0 if job == "/" else 1, job]),
        }[message.body[1]]
        assert message.body[0] == UNIT
        return Message.new_method_return(message, "v", [value])

    def _job(self, message: Message) -> Message:
        name = message.body[0]
        unit = self.units.get(name)
        if unit is None or unit.job == "missing":
            text = f"Unit {name} not found."
            return Message.new_error(message, "org.freedesktop.systemd1.NoSuchUnit", text)
        self.jobs += 1
        unit.job = f"{PATH}/job/{self.jobs}"
        end = {"StartUnit": "active", "RestartUnit": "active", "StopUnit": "inactive"}.get(
            str(message.member)
        )
        if end is not None:
            unit.active = "deactivating" if end == "inactive" else "activating"
        if self.early_signal:
            self._end(unit, end, self.jobs, unit.job)
            return Message.new_method_return(message, "o", [f"{PATH}/job/{self.jobs}"])
        task = asyncio.get_running_loop().create_task(self._later(unit, end, self.jobs, unit.job))
        self.running.add(task)
        return Message.new_method_return(message, "o", [unit.job])

    async def _later(self, unit: FakeUnit, end: str | None, number: int, path: str) -> None:
        await asyncio.sleep(unit.seconds)
        if unit.job == path:
            self._end(unit, end, number, path)

    def _end(self, unit: FakeUnit, end: str | None, number: int, path: str) -> None:
        unit.job = "/"
        if unit.result != "done":
            unit.active = "failed"
        elif end is not None:
            unit.active = end
        if not self.mute_jobs:
            body = [number, path, unit.name, unit.result]
            self.bus.send(Message.new_signal(PATH, MANAGER, "JobRemoved", "uoss", body))


@asynccontextmanager
async def fake_systemd(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeSystemd]:
    """A bus and a systemd on it; DBUS_SYSTEM_BUS_ADDRESS names the bus."""
    program = shutil.which("dbus-daemon")
    if program is None:
        pytest.skip("dbus-daemon is not installed (apt-get install dbus-daemon)")
    configuration, socket = folder / "bus.conf", folder / "bus.sock"
    configuration.write_text(_CONFIGURATION.format(socket=socket))
    daemon = await asyncio.create_subprocess_exec(
        program, f"--config-file={configuration}", "--nofork", "--nopidfile", "--nosyslog"
    )
    try:
        address = f"unix:path={socket}"
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        bus = await _connected(address)
        fake = FakeSystemd(bus)
        bus.add_message_handler(fake.handle)
        await bus.request_name(NAME)
        try:
            yield fake
        finally:
            for task in fake.running:
                task.cancel()
            bus.disconnect()
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
    finally:
        daemon.terminate()
        await daemon.wait()


async def _connected(address: str) -> MessageBus:
    """The daemon may have bound its socket, and not listen yet."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await MessageBus(bus_address=address).connect()
            except OSError:
                await asyncio.sleep(0.01)
