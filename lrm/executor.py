"""The client of lrm-exec: orders of the queue become calls of agents, ends of processes become results.

After a restart (ours or lrm-exec's) `Welcome` says what runs there; what the journal knows and lrm-exec does
not is watched by its pid, or lost.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog

from agents import exit_codes
from hacluster.clock import Clock
from hacluster.errors import HaError
from hacluster.paths import Paths
from hacluster.vocabulary.agent import AgentName, OcfExit
from hacluster.vocabulary.ids import ResourceId
from hacluster.vocabulary.operation import ExecutionStatus, Operation
from lrm import log_events, reattach
from lrm.calls import AgentCall, Calls, CannotCall, UnitCall
from lrm.exec.protocol import (
    VERSION,
    Acknowledge,
    Bye,
    Finished,
    Hello,
    How,
    Kill,
    Leftover,
    Message,
    Ping,
    Pong,
    Running,
    Start,
    Started,
    Vanished,
    Welcome,
)
from lrm.exec_watch import BEAT_S, ExecWatch
from lrm.journal.model import Flight
from lrm.link import ExecLink
from lrm.metadata import MetadataCache, facts_of
from lrm.queue.events import Begin, Ended, Event, RunId, Spawned, Stuck
from lrm.queue.events import Vanished as ResourceVanished
from lrm.systemd.bus import SystemdBus
from lrm.systemd.units import Result, Units

log = structlog.get_logger()

RELOAD: Final = "reload-agent"
GRACE_MS: Final = 2_000
NO_GRACE: Final = frozenset({"monitor", "on", "off", "reboot", "status", "list"})
OUTPUT_CHARACTERS_MAX: Final = 4_096
LIST_CHARACTERS_MAX: Final = 65_536  # which nodes a fence device knows
METADATA_WAIT_S: Final = 3.0
UNSENT_S_MAX: Final = 15.0
NS_PER_MS: Final = 1_000_000

_OCF_LOG_LINE: Final = re.compile(r"[A-Z][a-z]{2} +\d+ [\d:]{8} (DEBUG|INFO|WARN|WARNING|ERROR|CRIT): (.*)")


@dataclass(slots=True)
class _Order:
    """A run the queue has begun; `unsent` is what lrm-exec has not been told yet, `path` the program.

    `waits`: for the agent's meta-data; nothing has been begun yet.
    """

    run: RunId
    operation: Operation
    unsent: Start | None = None
    path: str = ""
    waits: bool = False
    due_ns: int = 0  # by when lrm-exec has ended it, whatever the agent does; 0: it has nothing to do with it


class Executor:
    """Runs agents through lrm-exec. Ends are handed to `tell` as events of the queue."""

    def __init__(
        self,
        *,
        paths: Paths,
        node: str,
        instance: int,
        journal_id: str,
        calls: Calls,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        tell: Callable[[Event], None],
        flights: Callable[[], list[Flight]],
        has_started: Callable[[ResourceId], bool],
        never_began: Callable[[ResourceId], bool],
    ) -> None:
        self._instance = instance
        self._journal_id = journal_id
        self._calls = calls
        self._clock = clock
        self._tasks = tasks
        self._tell = tell
        self._flights = flights
        self._has_started, self._never_began = has_started, never_began
        self._orders: dict[str, _Order] = {}
        self._asides: dict[str, asyncio.Future[Finished]] = {}
        self._aside_count = 0
        self._describing: set[str] = set()  # results that wait for meta-data
        self._bus = SystemdBus()
        self._units = Units(self._bus)
        self._unit_tasks: dict[str, asyncio.Task[None]] = {}
        self.metadata = MetadataCache(calls, self, self._units.describe)
        self._watch = ExecWatch()
        self.link = ExecLink(
            paths, node, on_up=self._connected, on_down=self._disconnected, on_message=self._received
        )

    def begin(self, order: Begin) -> None:
        """Start the agent of a run. Its end comes through `tell`, later, also when nothing can be started."""
        token = self._token(order.run)
        entry = _Order(order.run, order.operation)
        self._orders[token] = entry
        path = self._path_to_describe(entry) if order.operation.action == RELOAD else ""
        if path and self.metadata.cached(path) is None:
            entry.waits = True
            self._tasks.create_task(self._begin_described(order, entry), name="describe, then reload")
        else:
            self._launch(order, entry)

    async def _begin_described(self, order: Begin, entry: _Order) -> None:
        """Without its meta-data it is not known by which action the agent takes parameters."""
        await self._learn(order.operation)
        if self._orders.get(self._token(order.run)) is entry and entry.waits:
            entry.waits = False
            self._launch(order, entry)

    def _as_the_agent_calls_it(self, operation: Operation, entry: _Order) -> Operation:
        """Agents of OCF 1.0 take changed parameters by "reload", which is something else in OCF 1.1."""
        if operation.action == RELOAD and entry.path:
            metadata = self.metadata.cached(entry.path)
            if metadata is not None and metadata.reload_action:
                return replace(operation, action=metadata.reload_action)
        return operation

    def _launch(self, order: Begin, entry: _Order) -> None:
        token, operation = self._token(order.run), order.operation
        called = self._as_the_agent_calls_it(operation, entry)
        call = self._calls.call(called, started=self._has_started(operation.resource))
        if isinstance(call, CannotCall):
            if operation.action == "stop" and self._never_began(operation.resource):
                # Its start was refused, too. A stop that fails would fence the node, and then the next one.
                call = CannotCall(status=ExecutionStatus.DONE, rc=OcfExit.OK, reason=call.reason)
            asyncio.get_running_loop().call_soon(self._cannot, token, call)
            return
        if isinstance(call, UnitCall):
            act = self._act_on_unit(token, entry, call.unit, order.not_after_ns)
            self._unit_tasks[token] = self._tasks.create_task(act, name=f"{operation.key} of {call.unit}")
            return
        entry.path = call.agent.path
        entry.due_ns = self._due_ns(operation, self._clock.now_ns())
        leftover = Leftover.KEEP
        if operation.action == "stop":
            leftover = Leftover.KILL if order.after_failure else Leftover.REPORT
        start = Start(
            token=token,
            resource=operation.resource,
            action=called.action,
            argv=call.argv,
            env=call.env,
            timeout_ms=operation.timeout_ms,
            grace_ms=_grace_ms(operation),
            leftover=leftover,
            warm=call.warm,
            stdin=call.stdin,
            not_after_ns=order.not_after_ns,
        )
        if not self.link.send(start):
            entry.unsent = start
            asyncio.get_running_loop().call_later(UNSENT_S_MAX, self._give_up, token)
        if call.agent.standard == "ocf" and self.metadata.cached(call.agent.path) is None:
            self._tasks.create_task(self._learn(operation), name=f"meta-data of {operation.agent}")

    def _give_up(self, token: str) -> None:
        order = self._orders.get(token)
        if order is not None and order.unsent is not None:
            reason = "lrm-exec cannot be reached: see its log"
            self._cannot(
                token, CannotCall(status=ExecutionStatus.ERROR, rc=OcfExit.ERR_GENERIC, reason=reason)
            )

    async def _act_on_unit(self, token: str, order: _Order, unit: str, not_after_ns: int) -> None:
        """Have systemd do it. Cancelled by `kill`: systemd's job goes on, and the next action replaces it."""
        operation, began_ns = order.operation, self._clock.now_ns()
        try:
            result = await self._units.run(
                operation, unit, lambda: not not_after_ns or self._clock.now_ns() < not_after_ns
            )
        except asyncio.CancelledError:
            if token not in self._orders:
                raise  # this daemon ends
            result = Result(status=ExecutionStatus.CANCELLED, rc=OcfExit.ERR_GENERIC, reason="cancelled")
        finally:
            self._unit_tasks.pop(token, None)
        executed_ms = (self._clock.now_ns() - began_ns) // NS_PER_MS
        self._settle(token, result.status, result.rc, result.reason, executed_ms)

    async def close(self) -> None:
        """Let go of the system bus; what systemd is doing goes on."""
        for token, task in list(self._unit_tasks.items()):
            self._orders.pop(token, None)
            task.cancel()
        await self._bus.close()

    def kill(self, run: RunId) -> None:
        """End a run; nothing happens when it has ended."""
        token = self._token(run)
        if token in self._unit_tasks:
            self._unit_tasks[token].cancel()
            return
        order = self._orders.get(token)
        if order is not None and (order.waits or order.unsent is not None):
            order.waits, order.unsent = False, None
            now_ns = self._clock.now_ns()
            self._finished(Finished(token=token, how=How.KILLED, started_ns=now_ns, ended_ns=now_ns))
            return
        self.link.send(Kill(token=token))

    def list_agents(self, standard: str, provider: str) -> tuple[AgentName, ...]:
        """Agents of this node. Raises InvalidRequest."""
        return self._calls.catalog.list(standard, provider)

    def bye(self) -> None:
        """This node's LRM ends for good: lrm-exec may leave when nothing runs."""
        self.link.send(Bye())

    async def run_aside(self, call: AgentCall, action: str, timeout_ms: int) -> Finished:
        """Run a call that belongs to no operation (meta-data, alerts). Its end may be NOT_STARTED."""
        self._aside_count += 1
        token = f"{self._journal_id}.{self._instance:x}.aside.{self._aside_count}"
        future: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()
        self._asides[token] = future
        start = Start(
            token=token,
            resource="aside",
            action=action,
            argv=call.argv,
            env=call.env,
            timeout_ms=timeout_ms,
            grace_ms=0,
            warm=call.warm,
            stdin=call.stdin,
        )
        try:
            if not self.link.send(start):
                return Finished(token=token, how=How.LOST)
            async with asyncio.timeout(timeout_ms / 1_000 + 10):
                return await future
        except TimeoutError:
            return Finished(token=token, how=How.TIMEOUT)
        finally:
            self._asides.pop(token, None)

    async def watch(self) -> None:
        """Ping lrm-exec, and kill one that is hung: another takes over what it ran. Never returns."""
        while True:
            await asyncio.sleep(BEAT_S)
            if not self.link.connected:
                continue
            orders = self._orders.items()
            due = ((token, order.due_ns) for token, order in orders if order.due_ns and order.unsent is None)
            why = self._watch.beat(self._clock.now_ns(), due)
            if why:
                log.error(log_events.EXECUTOR_HUNG, reason=why)
                self.link.kill_peer()
            else:
                self.link.send(Ping())

    def _due_ns(self, operation: Operation, began_ns: int) -> int:
        return began_ns + (operation.timeout_ms + _grace_ms(operation)) * NS_PER_MS

    def _token(self, run: RunId) -> str:
        return f"{self._journal_id}.{run.call_id}.{run.run}"

    def _connected(self) -> None:
        self._watch.opened()
        self.link.send(Hello(instance=self._instance))

    def _disconnected(self) -> None:
        log.warning(log_events.EXECUTOR_LOST)
        for future in self._asides.values():
            if not future.done():
                future.set_result(Finished(token="", how=How.LOST))

    def _received(self, message: Message) -> None:
        self._watch.heard()
        match message:
            case Welcome():
                self._reconcile(message)
            case Started(token=token):
                order = self._orders.get(token)
                if order is not None:
                    self._spawned(order, message)
            case Finished(token=token):
                future = self._asides.get(token)
                if future is not None:
                    if not future.done():
                        future.set_result(message)
                    self.link.send(Acknowledge(token=token))
                else:
                    self._finished(message)
            case Vanished(resource=resource):
                log.warning(log_events.VANISHED, resource=resource)
                self._tell(ResourceVanished(ResourceId(resource)))
            case Pong():
                pass  # that it was heard is all
            case _:
                raise AssertionError(f"lrm-exec said {message!r}")

    def _reconcile(self, welcome: Welcome) -> None:
        """Compare what the journal says is in flight with what lrm-exec has."""
        log.info(
            log_events.EXECUTOR_CONNECTED,
            pid=welcome.pid,
            running=len(welcome.running),
            results=len(welcome.ended),
            cgroups=welcome.cgroups,
        )
        if welcome.version != VERSION:
            log.warning(log_events.EXECUTOR_OTHER_VERSION, version=welcome.version)
            self.bye()
            self.link.drop()
            return
        for resource in welcome.stuck:
            self._tell(Stuck(ResourceId(resource)))
        running = {run.token: run for run in welcome.running}
        for flight in self._flights():
            run = RunId(flight.accepted.call_id, flight.run)
            token = self._token(run)
            if token in self._describing:
                continue
            order = self._orders.setdefault(token, _Order(run, flight.accepted.operation))
            if token in self._unit_tasks:
                continue
            order.due_ns = order.due_ns or self._due_ns(order.operation, flight.began_ns)
            if order.unsent is None:
                self._follow(order, flight, welcome)
            elif self.link.send(order.unsent):
                order.unsent = None
        for token in running:
            if token not in self._orders and token not in self._asides:
                log.warning(log_events.EXECUTOR_STRANGER, token=token, pid=running[token].pid)
                self.link.send(Kill(token=token))

    def _follow(self, order: _Order, flight: Flight, welcome: Welcome) -> None:
        """Bring a run to its end that the journal has begun, whatever became of its process."""
        token = self._token(order.run)
        by_systemd = self._calls.standard_of(order.operation.agent) == "systemd"
        grace_ms = _grace_ms(order.operation)
        match reattach.fate(flight, token, welcome, by_systemd=by_systemd, grace_ms=grace_ms):
            case reattach.Runs(running=running, unrecorded=unrecorded):
                log.info(log_events.REATTACHED, **_names(order), pid=running.pid)
                if unrecorded:
                    self._spawned(order, running)
            case reattach.ResultFollows():
                pass
            case reattach.Find(adopt=adopt):
                self.link.send(adopt)
            case reattach.NeverBegan():
                reason = "ha-lrm ended before lrm-exec had heard of it"
                never = CannotCall(status=ExecutionStatus.NOT_RUN, rc=OcfExit.ERR_GENERIC, reason=reason)
                self._cannot(token, never)
            case reattach.Lost():
                now_ns = self._clock.now_ns()
                self._finished(Finished(token=token, how=How.LOST, started_ns=now_ns, ended_ns=now_ns))

    def _spawned(self, order: _Order, process: Started | Running) -> None:
        """Into the journal: by this a later lrm-exec finds the process."""
        order.due_ns = self._due_ns(order.operation, process.started_ns)
        self._tell(
            Spawned(
                run=order.run,
                pid=process.pid,
                start_ticks=process.start_ticks,
                deadline_ns=process.started_ns + order.operation.timeout_ms * NS_PER_MS,
            )
        )

    def _cannot(self, token: str, cannot: CannotCall) -> None:
        self._settle(token, cannot.status, cannot.rc, cannot.reason, 0)

    def _settle(self, token: str, status: ExecutionStatus, rc: int, reason: str, executed_ms: int) -> None:
        """The end of what had no process of ours."""
        order = self._orders.pop(token)
        now_s = self._clock.wall_s()
        level = log.info if status is ExecutionStatus.DONE else log.warning
        if order.operation.interval_ms:
            level = log.debug
        level(
            log_events.OPERATION_ENDED,
            **_names(order),
            rc=int(rc),
            status=status.name.lower(),
            executed_ms=executed_ms,
            reason=reason,
        )
        self._tell(
            Ended(
                run=order.run,
                status=status,
                rc=int(rc),
                executed_ms=executed_ms,
                last_run_s=now_s - executed_ms // 1_000,
                now_s=now_s,
                exit_reason=reason,
            )
        )

    def _finished(self, finished: Finished) -> None:
        if finished.token in self._describing:
            return  # said again
        order = self._orders.pop(finished.token, None)
        if order is None:
            self.link.send(Acknowledge(token=finished.token))
            return
        path = self._path_to_describe(order)
        if path and self.metadata.cached(path) is None and finished.how is How.EXITED:
            self._describing.add(finished.token)
            self._tasks.create_task(self._finish_described(order, finished), name="describe")
        else:
            self._finish(order, finished)

    async def _finish_described(self, order: _Order, finished: Finished) -> None:
        """The first result of an agent waits a little for its meta-data."""
        try:
            async with asyncio.timeout(METADATA_WAIT_S):
                await self._learn(order.operation)
        except TimeoutError:
            log.info(log_events.METADATA_FAILED, agent=str(order.operation.agent), reason="slow")
        finally:
            self._describing.discard(finished.token)
        self._finish(order, finished)

    async def _learn(self, operation: Operation) -> None:
        try:
            await self.metadata.describe(operation.agent)
        except HaError as error:
            log.info(log_events.METADATA_FAILED, agent=str(operation.agent), reason=str(error))

    def _path_to_describe(self, order: _Order) -> str:
        """The program whose meta-data matters; looked up again for a run of a former ha-lrm's."""
        if order.operation.agent.standard != "ocf":
            return ""
        if not order.path:
            try:
                order.path = self._calls.catalog.resolve(order.operation.agent).path
            except HaError:
                return ""
        return order.path

    def _finish(self, order: _Order, finished: Finished) -> None:
        """Translate, tell, and only then let lrm-exec forget: the queue has journalled it by now."""
        operation = order.operation
        finished = replace(
            finished,
            stdout=self._calls.without_secrets(operation, finished.stdout),
            stderr=self._calls.without_secrets(operation, finished.stderr),
        )
        status, rc, raw_status, reason = self._outcome(operation, finished)
        executed_ms = max(0, finished.ended_ns - finished.started_ns) // NS_PER_MS
        if finished.how is How.TIMEOUT:
            executed_ms = operation.timeout_ms
        now_s = self._clock.wall_s()
        path = self._path_to_describe(order)
        facts = facts_of(self.metadata.cached(path) if path else None, tuple(operation.parameters))
        most = LIST_CHARACTERS_MAX if operation.action == "list" else OUTPUT_CHARACTERS_MAX
        output = (finished.stdout + finished.stderr)[-most:]
        self._report(order, finished, status, rc, reason, executed_ms)
        self._tell(
            Ended(
                run=order.run,
                status=status,
                rc=rc,
                raw_status=raw_status,
                executed_ms=executed_ms,
                last_run_s=now_s - executed_ms // 1_000,
                now_s=now_s,
                exit_reason=reason,
                output=output,
                private_parameters=facts.private,
                reloadable_parameters=facts.reloadable,
                restart_parameters=facts.restart,
                supports_reload=facts.supports_reload,
                unkillable=finished.unkillable,
            )
        )
        self.link.send(Acknowledge(token=finished.token))

    def _outcome(self, operation: Operation, finished: Finished) -> tuple[ExecutionStatus, int, int, str]:
        end: exit_codes.End
        match finished.how:
            case How.EXITED:
                code = os.waitstatus_to_exitcode(finished.status)
                end = exit_codes.Exited(code) if code >= 0 else exit_codes.Killed(-code)
            case How.TIMEOUT:
                end = exit_codes.TimedOut(operation.timeout_ms)
            case How.KILLED:
                end = exit_codes.Cancelled()
            case How.NOT_STARTED:
                end = exit_codes.NotStarted(finished.errno)
            case How.LOST:
                reason = "the agent's result was lost when the executor died: probe the resource"
                return ExecutionStatus.UNKNOWN, OcfExit.ERR_GENERIC, 0, reason
            case How.TOO_LATE:
                reason = "no authority: it had run out before lrm-exec could start the agent"
                return ExecutionStatus.NOT_RUN, OcfExit.ERR_GENERIC, 0, reason
        standard = self._calls.standard_of(operation.agent)
        outcome = exit_codes.outcome(
            standard, operation.action, end, stdout=finished.stdout, stderr=finished.stderr
        )
        return outcome.status, int(outcome.rc), outcome.raw_status, outcome.reason

    def _report(
        self,
        order: _Order,
        finished: Finished,
        status: ExecutionStatus,
        rc: int,
        reason: str,
        executed_ms: int,
    ) -> None:
        """The log's side of a result."""
        names = _names(order)
        level = log.debug if order.operation.interval_ms else log.info
        level(
            log_events.OPERATION_ENDED,
            **names,
            rc=rc,
            status=status.name.lower(),
            executed_ms=executed_ms,
            reason=reason,
        )
        for line in finished.stderr.splitlines():
            said = _OCF_LOG_LINE.match(line)
            if said is not None:
                say = log.debug if said[1] in ("DEBUG", "INFO") else log.warning
                say(log_events.AGENT_SAID, **names, agent_level=said[1].lower(), text=said[2])
        if finished.unkillable:
            log.error(log_events.UNKILLABLE, **names)
        if finished.leftover:
            log.warning(
                log_events.LEFTOVER,
                **names,
                pids=" ".join(map(str, finished.leftover)),
                killed=finished.leftover_killed,
            )


def empty_agent_tmp(folder: Path) -> int:
    """Make HA_RSCTMP as it must be after a boot: empty, mode 1755. The number of entries removed."""
    removed = 0
    folder.mkdir(parents=True, exist_ok=True)
    for base, folders, files in os.walk(folder, topdown=False):
        for name in files:
            (Path(base) / name).unlink(missing_ok=True)
            removed += 1
        for name in folders:
            path = Path(base) / name
            path.unlink() if path.is_symlink() else path.rmdir()
            removed += 1
    folder.chmod(0o1755)
    return removed


def _grace_ms(operation: Operation) -> int:
    return 0 if operation.action in NO_GRACE else GRACE_MS


def _names(order: _Order) -> dict[str, str | int]:
    return {
        "resource": order.operation.resource,
        "operation": order.operation.action,
        "interval_ms": order.operation.interval_ms,
        "call_id": order.run.call_id,
    }
