"""Actions on a unit, as operations of a resource (agents.md section 7; Pacemaker's systemd class).

start and stop are jobs: their call returns at once, and the job's end says what became of it. A unit that is
activating or deactivating has no state yet: monitor asks again until it has one, or its time is over.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from hacluster.vocabulary.agent import OcfExit
from hacluster.vocabulary.operation import ExecutionStatus, Operation
from lrm import log_events
from lrm.systemd import dropin
from lrm.systemd.bus import BusGone, Manager, Refused

FOLDER_VARIABLE: Final = "HACLUSTER_SYSTEMD_RUNTIME"
FOLDER: Final = "/run/systemd/system"

_POLL_S: Final = 0.25
_POLL_S_MAX: Final = 2.0
_JOB_CHECK_S: Final = 2.0
_ACTIVE: Final = frozenset({"active", "reloading", "refreshing"})
_CHANGING: Final = frozenset({"activating", "deactivating"})
_NO_SUCH_UNIT: Final = frozenset({"NoSuchUnit", "LoadFailed", "InvalidName", "UnitMasked"})
_JOBS: Final = {"start": "StartUnit", "stop": "StopUnit", "reload": "ReloadUnit", "restart": "RestartUnit"}
_NO_JOB: Final = "/"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of an action."""

    status: ExecutionStatus
    rc: OcfExit
    reason: str = ""


class Units:
    """Runs actions on units of this node."""

    def __init__(self, manager: Manager, folder: Path | None = None) -> None:
        self._manager = manager
        self._folder = folder or Path(os.environ.get(FOLDER_VARIABLE) or FOLDER)

    async def run(self, operation: Operation, unit: str, may_begin: Callable[[], bool]) -> Result:
        """One action, within the operation's time. `may_begin`: whether the activation gate is still open."""
        if not self._folder.is_dir():
            reason = f"systemd does not run on this node (there is no {self._folder})"
            return Result(status=ExecutionStatus.NOT_INSTALLED, rc=OcfExit.ERR_INSTALLED, reason=reason)
        if operation.action not in (*_JOBS, "monitor", "status"):
            return Result(
                status=ExecutionStatus.DONE,
                rc=OcfExit.ERR_UNIMPLEMENTED,
                reason=f"a systemd unit has no action {operation.action}",
            )
        try:
            async with asyncio.timeout(operation.timeout_ms / 1_000):
                return await self._try(operation.action, unit, may_begin)
        except TimeoutError:
            return Result(
                status=ExecutionStatus.TIMEOUT,
                rc=OcfExit.ERR_GENERIC,
                reason=f"{operation.action} of {unit} did not complete within {operation.timeout_ms} ms",
            )
        except OSError as error:
            reason = f"the drop-in of {unit} below {self._folder} cannot be changed: {error.strerror}"
            return Result(status=ExecutionStatus.ERROR, rc=OcfExit.ERR_GENERIC, reason=reason)

    async def describe(self, unit: str) -> tuple[str, str]:
        """Id and description of a unit; of a template, those of an instance. Raises BusGone, Refused."""
        name, dot, suffix = unit.rpartition(".")
        path = await self._load(f"{name}hacluster.{suffix}" if dot and name.endswith("@") else unit)
        return str(await self._manager.get(path, "Id")), str(await self._manager.get(path, "Description"))

    async def _try(self, action: str, unit: str, may_begin: Callable[[], bool]) -> Result:
        """Until systemd answers: all actions are idempotent, so a lost answer is asked for again."""
        pause_s = _POLL_S
        while True:
            if action in ("start", "restart") and not may_begin():
                reason = "no authority: it had run out before systemd was told"
                return Result(status=ExecutionStatus.NOT_RUN, rc=OcfExit.ERR_GENERIC, reason=reason)
            try:
                if action in _JOBS:
                    return await self._job(action, unit)
                return await self._monitor(unit)
            except Refused as refused:
                return _of_refusal(action, unit, refused)
            except BusGone as gone:
                log.info(log_events.SYSTEMD_GONE, unit=unit, reason=str(gone))
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _POLL_S_MAX)

    async def _job(self, action: str, unit: str) -> Result:
        if action in ("start", "restart"):
            await self._warn_if_enabled(unit)
            await asyncio.to_thread(dropin.write, self._folder, unit)
            await self._manager.call("Reload")
        elif action == "stop" and await asyncio.to_thread(dropin.remove, self._folder, unit):
            await self._manager.call("Reload")
        try:
            (job,) = await self._manager.call(_JOBS[action], "ss", unit, "replace")
        except Refused as refused:
            if refused.name == "InvalidArgs":  # the name, or something else: LoadUnit is told nothing else
                await self._load(unit)
            raise
        result = await self._end_of(job, unit)
        if result == "done":
            return Result(status=ExecutionStatus.DONE, rc=OcfExit.OK)
        if not result:
            return await self._after(action, unit)
        if result == "skipped" and action == "stop":  # nothing of it was there
            return Result(status=ExecutionStatus.DONE, rc=OcfExit.OK)
        status = ExecutionStatus.TIMEOUT if result == "timeout" else ExecutionStatus.DONE
        return Result(status=status, rc=OcfExit.ERR_GENERIC, reason=f"systemd's job for {unit}: {result}")

    async def _end_of(self, job: str, unit: str) -> str:
        """The job's result; empty when the job is gone and its end was not heard."""
        while True:
            result = await self._manager.job_ended(job, _JOB_CHECK_S)
            if result:
                return result
            current = await self._manager.get(await self._load(unit), "Job")
            if current[1] == _NO_JOB:
                return await self._manager.job_ended(job, 0.1)

    async def _after(self, action: str, unit: str) -> Result:
        """What the unit's state says of a job whose end was not heard."""
        active = (await self._monitor(unit)).rc is OcfExit.OK
        if active == (action != "stop"):
            return Result(status=ExecutionStatus.DONE, rc=OcfExit.OK)
        reason = (
            f"the end of systemd's job for {unit} was not heard, and it is {'' if active else 'not '}active"
        )
        return Result(status=ExecutionStatus.DONE, rc=OcfExit.ERR_GENERIC, reason=reason)

    async def _monitor(self, unit: str) -> Result:
        path = await self._load(unit)
        pause_s = _POLL_S
        while (state := str(await self._manager.get(path, "ActiveState"))) in _CHANGING:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _POLL_S_MAX)
        if state in _ACTIVE:
            return Result(status=ExecutionStatus.DONE, rc=OcfExit.OK)
        reason = f"{unit} is {state}" if state != "inactive" else ""
        return Result(status=ExecutionStatus.DONE, rc=OcfExit.NOT_RUNNING, reason=reason)

    async def _load(self, unit: str) -> str:
        """Raises BusGone; Refused, as InvalidName if no unit can have the name (blanks, a bare template)."""
        try:
            (path,) = await self._manager.call("LoadUnit", "s", unit)
        except Refused as refused:
            raise Refused("InvalidName", str(refused)) if refused.name == "InvalidArgs" else refused from None
        return str(path)

    async def _warn_if_enabled(self, unit: str) -> None:
        """systemd would start it at boot, whatever the cluster has decided."""
        state = str(await self._manager.get(await self._load(unit), "UnitFileState"))
        if state in ("enabled", "enabled-runtime"):
            remedy = f"systemctl disable {unit}"
            log.warning(log_events.UNIT_ENABLED, unit=unit, state=state, remedy=remedy)


def _of_refusal(action: str, unit: str, refused: Refused) -> Result:
    """What is not there is stopped; what cannot be loaded is not installed."""
    if refused.name in _NO_SUCH_UNIT:
        if action == "stop":
            return Result(status=ExecutionStatus.DONE, rc=OcfExit.OK)
        reason = f"{unit}: {refused}"
        return Result(status=ExecutionStatus.NOT_INSTALLED, rc=OcfExit.ERR_INSTALLED, reason=reason)
    rc = OcfExit.ERR_PERM if refused.name in ("AccessDenied", "AuthFailed") else OcfExit.ERR_GENERIC
    return Result(status=ExecutionStatus.ERROR, rc=rc, reason=f"{unit}: {refused.name}: {refused}")
