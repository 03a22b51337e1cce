"""The system bus as far as units need it: calls of systemd's manager, and the end of its jobs.

The only module that imports dbus_fast. A broken connection is made again with the next call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Protocol

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import AuthError, DBusError

NAME: Final = "org.freedesktop.systemd1"
PATH: Final = "/org/freedesktop/systemd1"
MANAGER: Final = "org.freedesktop.systemd1.Manager"
UNIT: Final = "org.freedesktop.systemd1.Unit"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"
DBUS: Final = "org.freedesktop.DBus"

ENDED_JOBS_MAX: Final = 1_024
CONNECT_S: Final = 5.0

# What a bus says when systemd re-executes itself, or when the bus itself goes: nothing is known of the call.
_GONE: Final = frozenset(
    {
        "org.freedesktop.DBus.Error.NoReply",
        "org.freedesktop.DBus.Error.Disconnected",
        "org.freedesktop.DBus.Error.NameHasNoOwner",
        "org.freedesktop.DBus.Error.ServiceUnknown",
    }
)


class BusGone(Exception):
    """Nobody answers: systemd executes itself anew, or there is no bus. The call may have counted."""


class Refused(Exception):
    """systemd has answered with an error; `name` is D-Bus's, without its first parts."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text or name)
        self.name = name.rpartition(".")[2]


class Manager(Protocol):
    """What units need of systemd."""

    async def call(self, member: str, signature: str = "", *body: Any) -> Sequence[Any]:
        """Call a method of the manager. Raises BusGone, Refused."""
        ...

    async def get(self, unit_path: str, name: str) -> Any:
        """One property of a unit. Raises BusGone, Refused."""
        ...

    async def job_ended(self, job_path: str, within_s: float) -> str:
        """The result of a job ("done", "failed", …); empty when nothing was heard within that time."""
        ...


class SystemdBus:
    """One connection to the system bus (DBUS_SYSTEM_BUS_ADDRESS names another)."""

    def __init__(self) -> None:
        self._bus: MessageBus | None = None
        self._connecting = asyncio.Lock()
        self._ended: dict[str, str] = {}
        self._awaited: dict[str, asyncio.Future[str]] = {}

    async def call(self, member: str, signature: str = "", *body: Any) -> Sequence[Any]:
        """Call a method of the manager. Raises BusGone, Refused."""
        return await self._call(PATH, MANAGER, member, signature, body)

    async def get(self, unit_path: str, name: str) -> Any:
        """One property of a unit. Raises BusGone, Refused."""
        (value,) = await self._call(unit_path, PROPERTIES, "Get", "ss", (UNIT, name))
        return value.value

    async def job_ended(self, job_path: str, within_s: float) -> str:
        """The result of a job; empty when nothing was heard within that time. One caller a job."""
        if job_path in self._ended:
            return self._ended.pop(job_path)
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._awaited[job_path] = future
        try:
            async with asyncio.timeout(within_s):
                return await future
        except TimeoutError:
            return ""
        finally:
            self._awaited.pop(job_path, None)

    async def close(self) -> None:
        """Give the connection back."""
        if self._bus is not None:
            self._bus.disconnect()
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # dbus-fast gives it no types
            self._bus = None

    async def _call(
        self, path: str, interface: str, member: str, signature: str, body: Sequence[Any]
    ) -> Sequence[Any]:
        bus = await self._connected()
        return await _ask(bus, NAME, path, interface, member, signature, body)

    async def _connected(self) -> MessageBus:
        async with self._connecting:
            if self._bus is not None and self._bus.connected:
                return self._bus
            self._ended.clear()
            try:
                async with asyncio.timeout(CONNECT_S):
                    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
            except (OSError, AuthError, EOFError, TimeoutError) as error:
                raise BusGone(f"the system bus cannot be reached: {error}") from error
            bus.add_message_handler(self._heard)
            rule = f"type='signal',sender='{NAME}',interface='{MANAGER}',member='JobRemoved',path='{PATH}'"
            try:
                await _ask(bus, DBUS, "/org/freedesktop/DBus", DBUS, "AddMatch", "s", (rule,))
                await _ask(bus, NAME, PATH, MANAGER, "Subscribe", "", ())
            except Refused as refused:
                if refused.name != "AlreadySubscribed":
                    bus.disconnect()
                    raise
            except BusGone:
                bus.disconnect()
                raise
            self._bus = bus
            return bus

    def _heard(self, message: Message) -> None:
        """JobRemoved may come before the answer that names its job: ends are kept for a while."""
        if message.message_type is not MessageType.SIGNAL or message.member != "JobRemoved":
            return
        _, job_path, _, result = message.body
        future = self._awaited.get(job_path)
        if future is not None:
            if not future.done():
                future.set_result(result)
            return
        while len(self._ended) >= ENDED_JOBS_MAX:
            self._ended.pop(next(iter(self._ended)))
        self._ended[job_path] = result


async def _ask(
    bus: MessageBus,
    destination: str,
    path: str,
    interface: str,
    member: str,
    signature: str,
    body: Sequence[Any],
) -> Sequence[Any]:
    message = Message(
        destination=destination,
        path=path,
        interface=interface,
        member=member,
        signature=signature,
        body=list(body),
    )
    try:
        reply = await bus.call(message)
    except (OSError, EOFError, DBusError) as error:
        raise BusGone(f"the system bus is gone: {error}") from error
    if reply is None:
        raise BusGone("the system bus is gone")
    if reply.message_type is MessageType.ERROR:
        text = str(reply.body[0]) if reply.body else ""
        if reply.error_name in _GONE:
            raise BusGone(text or str(reply.error_name))
        raise Refused(str(reply.error_name), text)
    answer: Sequence[Any] = reply.body
    return answer
