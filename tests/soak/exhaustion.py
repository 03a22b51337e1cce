"""`python -m tests.soak.exhaustion --watches 100000 --seconds 120`: one client asks for more than there is.

Three nodes with real daemons on loopback, deadtime 1 s. A client opens watches without end, and then writes
at 1,000/s for a while, far more than is answered. What must hold:

- a user has as many watches as one may have, and each further one is refused in words; those that are open
  are told every change to the end; other nodes' clients get theirs;
- of the writes each is answered: written, or refused in words; what was answered OK is there;
- no node leaves a view, and the DC stays; whoever asks a node for its status meanwhile is answered;
- the memory and the descriptors of the daemons are bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import grpc

from crm.cib import codec
from crm.cib.model import Element, element
from crm.service import WATCHES_EACH_MAX, WRITES_EACH_MAX
from hacluster.v1 import crm_pb2, crm_pb2_grpc
from tests.live.local_cluster import SERVICES, LocalCluster, LocalNode, until

WORKERS: Final = 16
WRITE_CHANNELS: Final = 8
STARTED_MAX: Final = 512
"""Writes of this client that have no answer yet: its connections carry no more. Others are not begun."""
ASKED_FOR: Final = 10
"""So many of the writes whose answer did not come in time are asked for, by their request ids."""
REOPEN_S: Final = 20.0
WRITE_S: Final = 60.0
SAMPLE_S: Final = 0.25
GROWTH_MIB_MAX: Final = 64.0
GROWTH_LATE_MIB_MAX: Final = 16.0
"""In the second half: the log has as many entries as it keeps, and does not grow any more."""
DESCRIPTORS_MORE_MAX: Final = 4 * (WORKERS + WRITE_CHANNELS + 4)
"""A client's connection is three of ha-crm's: accepted, handed on, and taken by its gRPC server."""
STATUS_S_MAX: Final = 5.0
NOT_IN_TIME: Final = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
KNOWN: Final = ("ok", "unknown", "not begun", "more than", "it was never written")
REFUSED_STREAM: Final = "RST_STREAM with error code 7)"
"""HTTP/2's word for "nobody has looked at it": a connection has only so many streams."""
Updates = AsyncIterator[crm_pb2.ClusterStatus]
_ALONE: Final = (("grpc.use_local_subchannel_pool", 1),)


@dataclass(slots=True)
class Flood:
    """What became of what was asked for: "ok", or why not."""

    answers: Counter[str] = field(default_factory=Counter)
    took_ms: list[float] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)  # of the writes that were answered OK
    unknown: list[int] = field(default_factory=list)  # whose answer was that it may or may not be written
    seconds: float = 0.0

    def line(self) -> str:
        """For people."""
        asked = self.answers.total()
        p50 = f", p50 {statistics.median(self.took_ms):.0f} ms" if self.took_ms else ""
        parts = "; ".join(f"{count} {why}" for why, count in self.answers.most_common())
        return f"{asked} in {self.seconds:.1f} s ({asked / self.seconds:.0f}/s{p50}): {parts}"


@dataclass(slots=True)
class Seen:
    """What an observer beside the flood saw."""

    views: set[str] = field(default_factory=set)
    terms: set[str] = field(default_factory=set)
    slowest_s: float = 0.0
    unanswered: int = 0
    rss_mib: dict[str, list[float]] = field(default_factory=dict)
    descriptors: dict[str, list[int]] = field(default_factory=dict)

    def growth(self, service: str, *, late: bool = False) -> float:
        """MiB from the beginning (or the middle) to the highest after it, of the daemon that grew most."""
        found = [values for name, values in self.rss_mib.items() if name.endswith(service)]
        return max(max(values) - values[len(values) // 2 if late else 0] for values in found)

    def lines(self) -> list[str]:
        """For people."""
        growth = ", ".join(f"{name} {self.growth(name):.1f} MiB" for name in SERVICES)
        most = {name: max(values) for name, values in self.descriptors.items() if name.endswith("crm")}
        return [
            f"views {len(self.views)}, terms {len(self.terms)}; status: slowest "
            f"{self.slowest_s * 1_000:.0f} ms, {self.unanswered} unanswered",
            f"grown: {growth} (ha-crm in the second half {self.growth('crm', late=True):.1f} MiB)",
            f"descriptors of ha-crm at most {max(most.values())}",
        ]


class Observer:
    """Asks every node for its status, again and again, and looks at its daemons' memory."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.seen = Seen()
        self._cluster = cluster
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(node,)) for node in cluster.nodes]

    def __enter__(self) -> Seen:
        for thread in self._threads:
            thread.start()
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, node: LocalNode) -> None:
        while not self._end.is_set():
            began = time.monotonic()
            try:
                request = crm_pb2.ClusterStatusRequest(local=True)
                status = node.call("Status", request, crm_pb2.ClusterStatus, STATUS_S_MAX)
            except grpc.RpcError:
                self.seen.unanswered += 1
            else:
                self.seen.slowest_s = max(self.seen.slowest_s, time.monotonic() - began)
                self.seen.views.add(f"{status.view.counter}.{status.view.coordinator}")
                self.seen.terms.add(f"{status.term.counter}.{status.term.node_id}")
            for service, process in node.processes.items():
                name = f"{node.name} {service}"
                self.seen.rss_mib.setdefault(name, []).append(_rss_mib(process.pid))
                self.seen.descriptors.setdefault(name, []).append(_descriptors(process.pid))
            self._end.wait(SAMPLE_S)


def _rss_mib(pid: int) -> float:
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in one)
    return int(line.split()[1]) / 1_024


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _why(error: grpc.aio.AioRpcError) -> str:
    return f"{error.code().name}: {error.details()}"


async def _watch(stub: crm_pb2_grpc.CrmStub) -> tuple[Updates, str]:
    """The stream, and the digest that came first. Raises AioRpcError."""
    updates = aiter(stub.Watch(crm_pb2.WatchClusterRequest()))
    first = await anext(updates)
    return updates, first.cib_digest


class Watches:
    """Watches of one user, as many as are asked for; those that are granted stay open."""

    def __init__(self, node: LocalNode) -> None:
        self.flood = Flood()
        self.reopened = 0  # the connection broke: a client that does not answer in time is given up
        self.newest: list[str] = []  # what each open one was told last: the CIB's digest
        self._target = f"unix:{node.paths.crm_socket}"
        self._open: list[asyncio.Task[None]] = []

    async def ask(self, count: int) -> None:
        """So many, some beside each other."""
        began = time.monotonic()
        shares = [count // WORKERS + (number < count % WORKERS) for number in range(WORKERS)]
        await asyncio.gather(*(self._ask(share) for share in shares))
        self.flood.seconds += time.monotonic() - began

    async def _ask(self, count: int) -> None:
        channel = grpc.aio.insecure_channel(self._target, options=_ALONE)
        stub = crm_pb2_grpc.CrmStub(channel)
        kept = False
        for _ in range(count):
            try:
                call, digest = await _watch(stub)
            except grpc.aio.AioRpcError as error:
                self.flood.answers[_why(error)] += 1
            else:
                self.flood.answers["ok"] += 1
                self._open.append(asyncio.create_task(self._follow(stub, call, digest)))
                kept = True
        if not kept:
            await channel.close()

    async def _follow(self, stub: crm_pb2_grpc.CrmStub, call: Updates, digest: str) -> None:
        """As any client: when the connection breaks it watches anew."""
        place = len(self.newest)
        self.newest.append(digest)
        while True:  # until cancelled
            try:
                async for status in call:
                    self.newest[place] = status.cib_digest
                return
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            self.reopened += 1
            call, self.newest[place] = await self._again(stub)

    async def _again(self, stub: crm_pb2_grpc.CrmStub) -> tuple[Updates, str]:
        """The old one may count for a moment still."""
        async with asyncio.timeout(REOPEN_S):
            while True:
                try:
                    return await _watch(stub)
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.1)

    @property
    def ended(self) -> list[str]:
        """Why those have that are not open any more."""
        return [repr(task.exception()) for task in self._open if task.done()]

    def close(self) -> None:
        """All of them."""
        for task in self._open:
            task.cancel()


async def write_flood(node: LocalNode, seconds: float, rate: int) -> Flood:
    """Writes of one user, `rate` a second are begun whatever becomes of them; each sets one option."""
    flood = Flood()
    channels = [
        grpc.aio.insecure_channel(f"unix:{node.paths.crm_socket}", options=_ALONE)
        for _ in range(WRITE_CHANNELS)
    ]
    stubs = [crm_pb2_grpc.CrmStub(channel) for channel in channels]
    status = crm_pb2.ClusterStatus()
    for stub in stubs:  # so each connection knows how many streams it may have
        status = await stub.Status(crm_pb2.ClusterStatusRequest(local=True), timeout=STATUS_S_MAX)
    base = codec.parse(status.cib_xml).child("configuration")
    assert base is not None
    tasks: set[asyncio.Task[None]] = set()

    async def write(number: int) -> None:
        began = time.monotonic()
        request = crm_pb2.WriteCibRequest(
            request_id=f"flood-{number}",
            configuration_xml=codec.render(numbered(base, number)).encode(),
            client="flood",
        )
        try:
            reply = await stubs[number % WRITE_CHANNELS].WriteCib(request, timeout=WRITE_S)
        except grpc.aio.AioRpcError as error:
            if error.code() in NOT_IN_TIME:
                flood.answers["unknown: not in time"] += 1
                flood.unknown.append(number)
            else:
                flood.answers[_why(error)] += 1
            return
        if reply.outcome == crm_pb2.WriteReply.OUTCOME_OK:
            flood.answers["ok"] += 1
            flood.numbers.append(number)
            flood.took_ms.append((time.monotonic() - began) * 1_000)
        elif reply.outcome == crm_pb2.WriteReply.OUTCOME_UNKNOWN:
            flood.answers["unknown"] += 1
            flood.unknown.append(number)
        else:
            flood.answers[reply.reason] += 1

    began = time.monotonic()
    number = 0
    while (passed := time.monotonic() - began) < seconds:
        while number < passed * rate:
            number += 1
            if len(tasks) >= STARTED_MAX:
                flood.answers["not begun: too many without an answer"] += 1
                continue
            task = asyncio.create_task(write(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    flood.seconds = time.monotonic() - began
    for channel in channels:
        await channel.close()
    return flood


def numbered(configuration: Element, number: int) -> Element:
    """With an option of that value."""
    pair = element("nvpair", {"id": "flood", "name": "cluster-ipc-limit", "value": str(number)})
    options = element("cluster_property_set", {"id": "flood-options"}, pair)
    crm_config = configuration.child("crm_config") or element("crm_config")
    return configuration.with_child(crm_config.with_child(options))


@asynccontextmanager
async def held_watches(node: LocalNode, count: int) -> AsyncIterator[Watches]:
    """Ask for so many; those that are granted are open inside."""
    watches = Watches(node)
    try:
        await watches.ask(count)
        yield watches
    finally:
        watches.close()


async def run(
    cluster: LocalCluster,
    *,
    watches: int,
    seconds: float,
    rate: int = 1_000,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """All of it. Raises AssertionError; `tell` is given the figures for people."""
    victim, other = cluster.nodes[0], cluster.nodes[1]
    with Observer(cluster) as seen:
        async with held_watches(victim, watches) as held:
            tell(f"watches: {held.flood.line()}")
            _refused_in_words(held.flood, WATCHES_EACH_MAX, "watches")
            async with held_watches(other, 1) as elsewhere:
                assert elsewhere.flood.answers["ok"] == 1
            flood = await write_flood(victim, seconds, rate)
            tell(f"writes: {flood.line()}")
            await asyncio.to_thread(_every_write_is_answered, flood, victim)
            await _all_are_told(cluster, held)
            tell(f"all watches were told the last change; {held.reopened} had to be opened again")
    for line in seen.lines():
        tell(line)
    _undisturbed(seen, long=seconds >= 60)


def _refused_in_words(flood: Flood, granted: int, what: str) -> None:
    assert flood.answers["ok"] == granted, flood.line()
    others = [why for why in flood.answers if why != "ok"]
    assert all("RESOURCE_EXHAUSTED" in why and f"{granted} {what} open already" in why for why in others), (
        others
    )


def _every_write_is_answered(flood: Flood, node: LocalNode) -> None:
    """And what the last of them has written is none that was refused."""
    for why in flood.answers:
        in_words = f"{WRITES_EACH_MAX} writes open already" in why and "RESOURCE_EXHAUSTED" in why
        assert in_words or why.startswith(KNOWN) or REFUSED_STREAM in why, why
    for number in flood.unknown[:ASKED_FOR]:
        until(partial(_is_known, node, number, flood), 20, f"what became of write {number}")
    assert flood.numbers, flood.line()
    status = node.status()
    assert status is not None
    pair = codec.parse(status.cib_xml).by_id("flood")
    assert pair is not None
    assert int(pair.get("value")) in (*flood.numbers, *flood.unknown)


def _is_known(node: LocalNode, number: int, flood: Flood) -> bool:
    """Ask what became of it; whether the answer is final."""
    request = crm_pb2.WriteOutcomeRequest(request_id=f"flood-{number}")
    outcome = node.call("WriteOutcome", request, crm_pb2.WriteReply).outcome
    if outcome == crm_pb2.WriteReply.OUTCOME_OK:
        flood.numbers.append(number)
    return outcome != crm_pb2.WriteReply.OUTCOME_UNKNOWN


async def _all_are_told(cluster: LocalCluster, held: Watches) -> None:
    """The flood is over: one more write, and everybody who watches hears of it, on all nodes the same."""
    done = await write_flood(cluster.nodes[2], 0.01, 100)
    assert done.answers["ok"], done.line()

    def told() -> bool:
        digests = {status.cib_digest for node in cluster.nodes if (status := node.status()) is not None}
        return len(digests) == 1 and set(held.newest) == digests

    assert not held.ended, held.ended
    await asyncio.to_thread(until, told, 20, "all who watch are told")


def _undisturbed(seen: Seen, *, long: bool) -> None:
    assert len(seen.views) == 1, f"views came and went: {sorted(seen.views)}"
    assert len(seen.terms) == 1, f"the DC has changed: {sorted(seen.terms)}"
    assert seen.unanswered == 0, f"{seen.unanswered} questions for the status had no answer"
    for service in SERVICES:
        assert seen.growth(service) <= GROWTH_MIB_MAX, (
            f"{service} has grown by {seen.growth(service):.0f} MiB"
        )
        if long:
            late = seen.growth(service, late=True)
            assert late <= GROWTH_LATE_MIB_MAX, f"{service} still grows: {late:.0f} MiB in the second half"
    for name, values in seen.descriptors.items():
        assert max(values) - values[0] <= DESCRIPTORS_MORE_MAX, (
            f"{name}: {values[0]} to {max(values)} descriptors"
        )


def ready(cluster: LocalCluster) -> Callable[[], bool]:
    """All nodes are there, and one is DC."""

    def look() -> bool:
        dc = cluster.dc()
        status = dc.status() if dc is not None else None
        return (
            status is not None
            and status.quorate
            and all(node.crm and node.integrated for node in status.nodes)
        )

    return look


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--watches", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rate", type=int, default=1_000)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="exhaustion-") as folder:
        cluster = LocalCluster(Path(folder), 3, deadtime_ms=1_000, initdead_ms=10_000)
        cluster.start()
        try:
            _say(f"a cluster after {until(ready(cluster), 60, 'a cluster'):.0f} s")
            asyncio.run(
                run(cluster, watches=chosen.watches, seconds=chosen.seconds, rate=chosen.rate, tell=_say)
            )
        finally:
            cluster.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
