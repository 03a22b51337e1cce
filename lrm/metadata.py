"""Meta-data of agents, asked for once a version of the program: by (path, time of change, size)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from agents.environment import is_glue
from agents.metadata import (
    AgentMetadata,
    glue_metadata,
    is_secret_name,
    lsb_metadata,
    parse,
    systemd_metadata,
    to_xml,
)
from hacluster.errors import HaError, InvalidRequest, NotFound, Timeout, Unavailable
from hacluster.vocabulary.agent import AgentName
from lrm.calls import AgentCall, Calls
from lrm.exec.protocol import Finished, How
from lrm.systemd.bus import BusGone, Refused

TIMEOUT_MS: Final = 30_000
AT_ONCE_MAX: Final = 2
CACHED_MAX: Final = 512


class Runner(Protocol):
    """Runs a call that belongs to no operation."""

    async def run_aside(self, call: AgentCall, action: str, timeout_ms: int) -> Finished:
        """What became of it."""
        ...


@dataclass(frozen=True, slots=True)
class Described:
    """The XML as the agent printed it, and what it says."""

    xml: str
    metadata: AgentMetadata


@dataclass(frozen=True, slots=True)
class ParameterFacts:
    """What the DC needs for the digests of the status section."""

    private: tuple[str, ...] = ()
    reloadable: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    supports_reload: bool = False


def facts_of(metadata: AgentMetadata | None, used: tuple[str, ...]) -> ParameterFacts:
    """Facts about the parameters used; without meta-data only names that look secret are known."""
    if metadata is None:
        return ParameterFacts(private=tuple(name for name in used if is_secret_name(name)))
    private = {*metadata.private_parameters, *(name for name in used if is_secret_name(name))}
    reloadable = metadata.reloadable_parameters
    supports = bool(metadata.reload_action)
    restart = tuple(p.name for p in metadata.parameters if p.name not in reloadable) if supports else ()
    return ParameterFacts(
        private=tuple(sorted(private)),
        reloadable=reloadable,
        restart=restart,
        supports_reload=supports,
    )


class MetadataCache:
    """Asks at most two agents at once; failures are not remembered."""

    def __init__(
        self, calls: Calls, runner: Runner, unit: Callable[[str], Awaitable[tuple[str, str]]]
    ) -> None:
        """`unit`: id and description of a systemd unit. Raises BusGone, Refused."""
        self._unit = unit
        self._calls = calls
        self._runner = runner
        self._known: dict[tuple[str, int, int], Described] = {}
        self._asked: dict[AgentName, asyncio.Future[Described]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE_MAX)

    def cached(self, path: str) -> AgentMetadata | None:
        """What is known of the program at `path` as it is now, without waiting."""
        key = _version(path)
        described = self._known.get(key) if key is not None else None
        return described.metadata if described is not None else None

    async def describe(self, name: AgentName) -> Described:
        """The meta-data of an agent. Raises NotFound, InvalidRequest, InvalidDocument, Timeout."""
        agent = self._calls.catalog.resolve(name)
        if agent.standard == "lsb":
            text = await asyncio.to_thread(Path(agent.path).read_text, errors="replace")
            return _described(lsb_metadata(text, name.type))
        if agent.standard == "systemd":
            try:
                return _described(systemd_metadata(*await self._unit(agent.unit)))
            except BusGone as gone:
                raise Unavailable(why=f"systemd: {gone}") from gone
            except Refused as refused:
                raise NotFound(kind="unit", name=f"{agent.unit} ({refused})") from refused
        call = self._calls.metadata_call(name)
        key = _version(call.agent.path)
        if key is not None and key in self._known:
            return self._known[key]
        pending = self._asked.get(name)
        if pending is None:
            pending = asyncio.get_running_loop().create_future()
            self._asked[name] = pending
            try:
                pending.set_result(await self._ask(name, call))
            except (HaError, asyncio.CancelledError) as error:
                pending.set_exception(
                    error if isinstance(error, HaError) else Timeout(what=f"meta-data of {name}", after_ms=0)
                )
                pending.exception()  # this caller is told by what follows; there may be no other
                raise
            finally:
                del self._asked[name]
        described = await asyncio.shield(pending)
        if key is not None:
            while len(self._known) >= CACHED_MAX:
                self._known.pop(next(iter(self._known)))
            self._known[key] = described
        return described

    async def _ask(self, name: AgentName, call: AgentCall) -> Described:
        async with self._slots:
            finished = await self._runner.run_aside(call, "meta-data", TIMEOUT_MS)
        if finished.how is How.TIMEOUT:
            raise Timeout(what=f"meta-data of {name}", after_ms=TIMEOUT_MS)
        if finished.how is How.NOT_STARTED:
            raise NotFound(kind="agent", name=f"{name} ({os.strerror(finished.errno)})")
        if finished.how is not How.EXITED or finished.status != 0:
            raise InvalidRequest(what=f"{name} meta-data failed", remedy=finished.stderr[-500:].strip())
        text = finished.stdout
        if name.standard == "stonith" and is_glue(name.type):
            text = glue_metadata(name.type, text)
        return Described(text, parse(text, str(name)))


def _described(metadata: AgentMetadata) -> Described:
    return Described(to_xml(metadata), metadata)


def _version(path: str) -> tuple[str, int, int] | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return path, status.st_mtime_ns, status.st_size
