"""`python -m tests.soak.lrm_kill --rounds N [--seed S]`: SIGKILL to ha-lrm at random moments under load.

Each round a DC orders operations of several resources, ha-lrm is killed within them, and the DC asks the next
one for each again by the same id, as it does. What must hold:

- every operation is concluded, as done or as not run (lrm-exec lives on, so no result is lost);
- what is done ran exactly once, from its beginning to its end; what is not run, never;
- operations of one resource never overlap;
- recurring monitors go on; there is one lrm-exec, the same all the time, and no process besides.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hacluster.errors import ErrorCode, HaError
from hacluster.paths import Paths
from hacluster.v1 import lrm_pb2
from hacluster.vocabulary.operation import ExecutionStatus
from tests.live.lrm_node import LrmNode, an_agent

RESOURCES: Final = ("a", "b", "c", "d", "e")
RECURRING: Final = ("m1", "m2", "m3")
ACTIONS: Final = ("start", "stop", "monitor")
OPERATIONS_MAX: Final = 12
KILL_WITHIN_S: Final = 0.25
ATTEMPTS_MAX: Final = 20
PATIENCE_S: Final = 300.0  # the machine may be busy, and we are nice
LOST: Final = frozenset({ErrorCode.UNREACHABLE, ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE})

# Parameters are of the instance: a stop has those of the start.
SCRIPT: Final = """start|stop|monitor)
  serial=$OCF_RESKEY_CRM_meta_serial seconds=$OCF_RESKEY_CRM_meta_seconds
  in={folder}/in-$OCF_RESOURCE_INSTANCE
  mkdir $in || echo "$serial overlap" >>{folder}/log
  echo "$serial begin" >>{folder}/log
  sleep $seconds
  rmdir $in
  echo "$serial end" >>{folder}/log
  exit 0;;"""


class Broken(Exception):
    """What must hold does not."""


@dataclass(slots=True)
class Ordered:
    """One operation, and what became of it; `call_id` is 0 until ha-lrm has answered."""

    serial: int
    resource: str
    action: str
    seconds: float
    call_id: int = 0
    result: lrm_pb2.OperationResult | None = None


@dataclass(slots=True)
class Figures:
    """What was seen."""

    rounds: int = 0
    done: int = 0
    not_run: int = 0
    unanswered: int = 0  # Execute was cut off by the kill
    restart_ms_max: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


class Soak:
    """A node, a DC, and the agents' own record."""

    def __init__(self, node: LrmNode, folder: Path, rng: random.Random) -> None:
        self.figures = Figures()
        self._node, self._folder, self._rng = node, folder, rng
        self._serial = 0
        self._agent = ""
        self._exec_pid = 0

    async def begin(self) -> None:
        """The agent, a DC, and recurring monitors."""
        self._agent = an_agent(self._folder / "ocf", "Witness", SCRIPT.format(folder=self._folder))
        await self._node.accept()
        for resource in RECURRING:
            operation = Ordered(self._next(), resource, "monitor", 0.02)
            await self._execute(operation, interval_ms=300)
        self._exec_pid = self._node.exec_pid

    async def round(self) -> None:
        """Order, kill, start, ask again, look."""
        rng, node = self._rng, self._node
        node.transition += 1
        ordered = [
            Ordered(self._next(), rng.choice(RESOURCES), rng.choice(ACTIONS), rng.choice((0, 0.02, 0.1)))
            for _ in range(rng.randint(1, OPERATIONS_MAX))
        ]
        killing = asyncio.create_task(self._kill(rng.random() * KILL_WITHIN_S))
        for operation in ordered:
            if not await self._try(operation):
                self.figures.unanswered += 1
                break
        await killing
        began = time.monotonic()
        await node.start()
        self.figures.restart_ms_max = max(
            self.figures.restart_ms_max, int((time.monotonic() - began) * 1_000)
        )
        if rng.random() < 0.5:  # the DC may have begun anew meanwhile, too
            await node.accept()
        for operation in ordered:
            for _ in range(ATTEMPTS_MAX):
                if await self._try(operation):
                    break
            else:
                raise Broken(f"{operation} cannot be ordered")
        await self._conclude({operation.call_id: operation for operation in ordered})
        self._check(ordered)
        self.figures.rounds += 1

    async def end(self) -> None:
        """Nothing is left that should not be."""
        keys = {recurring.resource for recurring in (await self._node.status()).recurring}
        if keys != set(RECURRING):
            raise Broken(f"recurring monitors of {sorted(keys)} are left, of {RECURRING}")
        if self._node.exec_pid != self._exec_pid:
            raise Broken("lrm-exec is another one")
        strays: list[str] = []
        for _ in range(50):  # a recurring monitor may be running now
            strays = self._strays()
            if not strays:
                return
            await asyncio.sleep(0.05)
        raise Broken(f"processes are left: {strays}")

    async def _kill(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await self._node.kill()

    async def _try(self, operation: Ordered) -> bool:
        """Order it; false when ha-lrm is gone."""
        try:
            await self._execute(operation)
        except HaError as error:
            if error.code not in LOST:
                raise
            return False
        return True

    async def _execute(self, operation: Ordered, *, interval_ms: int = 0) -> None:
        reply = await self._node.execute(
            operation.resource,
            operation.action,
            self._agent,
            number=operation.serial,
            interval_ms=interval_ms,
            meta={"serial": str(operation.serial), "seconds": str(operation.seconds)},
        )
        if operation.call_id and reply.call_id != operation.call_id:
            raise Broken(f"{operation}: accepted a second time as call {reply.call_id}")
        operation.call_id = reply.call_id
        if reply.HasField("result") and reply.result.call_id == reply.call_id:
            operation.result = reply.result

    async def _conclude(self, waiting: dict[int, Ordered]) -> None:
        """Read the history until all have a result."""
        waiting = {call: operation for call, operation in waiting.items() if operation.result is None}
        stream = self._node.stub.History(lrm_pb2.HistoryRequest())
        try:
            async with asyncio.timeout(PATIENCE_S):
                while waiting:
                    event = await stream.read()
                    assert isinstance(event, lrm_pb2.HistoryEvent), "the stream ended"
                    operation = waiting.get(event.result.call_id) if event.HasField("result") else None
                    if operation is not None:
                        operation.result = event.result
                        del waiting[operation.call_id]
                        continue
                    if event.synced:
                        await self._ask_again(waiting)
        except TimeoutError:
            raise Broken(f"not concluded within {PATIENCE_S:.0f} s: {waiting}") from None
        finally:
            stream.cancel()

    async def _ask_again(self, waiting: dict[int, Ordered]) -> None:
        """Of one action the history has the newest result only; each id has its own."""
        for call, operation in list(waiting.items()):
            await self._execute(operation)
            if operation.result is not None:
                del waiting[call]

    def _check(self, ordered: list[Ordered]) -> None:
        said = Counter((self._folder / "log").read_text().splitlines())
        for operation in ordered:
            assert operation.result is not None
            status = ExecutionStatus(operation.result.status)
            words = [said[f"{operation.serial} {word}"] for word in ("begin", "end", "overlap")]
            self.figures.kinds[status.name.lower()] += 1
            if status is ExecutionStatus.DONE and words == [1, 1, 0]:
                self.figures.done += 1
            elif status is ExecutionStatus.NOT_RUN and words == [0, 0, 0]:
                self.figures.not_run += 1
            else:
                raise Broken(
                    f"{operation.action} of {operation.resource} (serial {operation.serial}) is "
                    f"{status.name.lower()} ({operation.result.exit_reason}); the agent began {words[0]} and "
                    f"ended {words[1]} times, overlaps: {words[2]}"
                )

    def _strays(self) -> list[str]:
        """Command lines of agents of ours."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:
                    continue
                if str(self._folder / "ocf") in line:
                    found.append(line)
        return found

    def _next(self) -> int:
        self._serial += 1
        return self._serial


async def soak(folder: Path, *, rounds: int, seed: int, until_s: float = float("inf")) -> Figures:
    """So many rounds, or as many as fit before the instant `until_s` (time.monotonic). Raises Broken."""
    roots = f"{folder}/ocf:/usr/lib/ocf"
    async with LrmNode(folder / "n", environment={"HACLUSTER_OCF_ROOTS": roots}, within_s=PATIENCE_S) as node:
        run = Soak(node, folder, random.Random(seed))
        await run.begin()
        while run.figures.rounds < rounds and time.monotonic() < until_s:
            await run.round()
            if run.figures.rounds % 25 == 0:
                print(f"{time.strftime('%H:%M:%S')} {run.figures}", flush=True)
        await run.end()
        return run.figures


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when everything held; 1 with what did not."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.lrm_kill", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this time")
    options = parser.parse_args(arguments)
    os.nice(10)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is ended
    until_s = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory(prefix="lrm-kill-") as folder:
        try:
            figures = asyncio.run(
                soak(Path(folder), rounds=options.rounds, seed=options.seed, until_s=until_s)
            )
        except Broken as broken:
            for log in (Path(folder) / "n/lrm.log", Paths(Path(folder) / "n").log / "lrm-exec.log"):
                if log.exists():
                    print(f"== {log.name}", *log.read_text(errors="replace").splitlines()[-100:], sep="\n")
            print(f"BROKEN (seed {options.seed}): {broken}")
            return 1
    print(f"held: {figures}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
