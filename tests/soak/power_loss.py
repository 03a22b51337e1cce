"""`python -m tests.soak.power_loss --rounds N [--seed S]`: all nodes lose power at once, again and again.

Three nodes with real ha-messaging and ha-crm, each with a disk of its own (disk.py). A writer at every node
writes without a pause; at a random moment, start and election not excepted, the disks stop and everything
gets SIGKILL; what was not synced is gone. What must hold when they are on again:

- every write that was answered OK is there, on every node, in the order in which it was made;
- so is every write that some client has read on some node: nothing is discarded in silence;
- no write that was answered FAILED is there; the version has not gone back.

`--left-out log` (or `files`) runs daemons that leave out a sync: losses must be found then. ha-lrm is not
needed for a write and keeps nothing over a power cut; `--lrm` starts it, too.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import grpc

from hacluster.v1 import crm_pb2
from tests.live.local_cluster import LocalCluster, LocalNode, until
from tests.soak import careless
from tests.soak.disk import Cut, Disk, in_own_mounts

WITHIN_S: Final = 300.0  # the machine may be busy, and we are nice
LOST_AFTER_S: Final = 60.0
"""Nodes that agree on a DC have all that was committed well before."""

WRITE_MS: Final = 3_000
BETWEEN_S: Final = 0.02
EARLY_SHARE: Final = 0.2
"""So many cuts come while the cluster forms."""

EARLY_S_MAX: Final = 2.0
LATE_S_MAX: Final = 0.5
_CIB: Final = """<cib><configuration><crm_config><cluster_property_set id="options">
<nvpair id="o-f" name="stonith-enabled" value="false"/>
</cluster_property_set></crm_config><nodes/><resources/><constraints/></configuration></cib>"""


class Lost(AssertionError):
    """What was acknowledged, or seen, is not there; or what failed is."""


@dataclass
class Known:
    """What clients know of one writer's numbers above `floor`."""

    acknowledged: list[int] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    floor: int = 0


class Ledger:
    """What was promised to all writers. Thread-safe."""

    def __init__(self, names: list[str]) -> None:
        self._lock = threading.Lock()
        self._known = {name: Known() for name in names}
        self._version = (0, 0)
        self.acknowledged = self.unanswered = 0

    def answered(self, name: str, number: int, reply: crm_pb2.WriteReply) -> None:
        """A writer got an answer."""
        known = self._known[name]
        with self._lock:
            if reply.outcome == crm_pb2.WriteReply.OUTCOME_OK:
                known.acknowledged.append(number)
                self.acknowledged += 1
                self._version = max(self._version, version_of(reply.version))
            elif reply.outcome == crm_pb2.WriteReply.OUTCOME_FAILED:
                known.failed.add(number)
            else:
                self.unanswered += 1

    def seen(self, configuration: ElementTree.Element) -> None:
        """A client has read it."""
        with self._lock:
            for name, known in self._known.items():
                known.seen.update(n for n in numbers_in(configuration, name) if n > known.floor)

    def floor(self, name: str) -> int:
        """Numbers up to here have been checked and are not needed any more."""
        return self._known[name].floor

    def frozen(self) -> tuple[dict[str, Known], tuple[int, int]]:
        """All of it at one moment."""
        with self._lock:
            copies = {
                name: Known(list(known.acknowledged), set(known.seen), set(known.failed), known.floor)
                for name, known in self._known.items()
            }
            return copies, self._version

    def checked(self, copies: dict[str, Known]) -> None:
        """What was acknowledged by then was found on all nodes."""
        with self._lock:
            for name, copy in copies.items():
                known = self._known[name]
                known.floor = max(copy.acknowledged, default=copy.floor)
                known.acknowledged = [n for n in known.acknowledged if n > known.floor]
                known.seen = {n for n in known.seen if n > known.floor}


class Writer(threading.Thread):
    """Writes the next number at its node, always: what is there and one more, if nobody was faster."""

    def __init__(self, node: LocalNode, ledger: Ledger) -> None:
        super().__init__(name=f"writer at {node.name}", daemon=True)
        self._node, self._ledger = node, ledger
        self._number = 0
        self.ended = threading.Event()
        self.bug: BaseException | None = None

    def run(self) -> None:
        """Until `ended`."""
        try:
            while not self.ended.is_set():
                with grpc.insecure_channel(f"unix:{self._node.paths.crm_socket}") as channel:
                    try:
                        while not self.ended.is_set():
                            self._write(channel)
                    except grpc.RpcError:
                        self.ended.wait(BETWEEN_S)
        except BaseException as bug:
            self.bug = bug
            raise

    def _write(self, channel: grpc.Channel) -> None:
        configuration, digest, _version = read(channel)
        if configuration.find("crm_config") is None:  # a node that has not met the others yet
            self.ended.wait(BETWEEN_S)
            return
        self._ledger.seen(configuration)
        self._number += 1
        add_number(configuration, self._node.name, self._number, floor=self._ledger.floor(self._node.name))
        request = crm_pb2.WriteCibRequest(
            request_id=f"{self._node.name}-{self._number}",
            configuration_xml=ElementTree.tostring(configuration),
            expected_digest=digest,
            client="power_loss",
            deadline_ms=WRITE_MS,
        )
        write = channel.unary_unary(
            "/hacluster.v1.Crm/WriteCib",
            request_serializer=crm_pb2.WriteCibRequest.SerializeToString,
            response_deserializer=crm_pb2.WriteReply.FromString,
        )
        try:
            reply = write(request, timeout=2 * WRITE_MS / 1_000)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.ABORTED:  # another configuration than was read: not written
                return
            self._ledger.unanswered += 1
            raise
        self._ledger.answered(self._node.name, self._number, reply)


def read(channel: grpc.Channel) -> tuple[ElementTree.Element, str, tuple[int, int]]:
    """The configuration that a node has, its digest and version. Raises grpc.RpcError."""
    query = channel.unary_unary(
        "/hacluster.v1.Crm/QueryCib",
        request_serializer=crm_pb2.QueryCibRequest.SerializeToString,
        response_deserializer=crm_pb2.QueryCibReply.FromString,
    )
    reply = query(crm_pb2.QueryCibRequest(local=True), timeout=2)
    configuration = ElementTree.fromstring(reply.xml).find("configuration")
    assert configuration is not None, reply.xml
    return configuration, reply.digest, version_of(reply.version)


def version_of(version: crm_pb2.CibVersion) -> tuple[int, int]:
    """Of the configuration: to be compared."""
    return version.admin_epoch, version.epoch


def numbers_in(configuration: ElementTree.Element, name: str) -> list[int]:
    """A writer's numbers, in the order of the document."""
    group = configuration.find(f"crm_config/cluster_property_set[@id='writer-{name}']")
    return [] if group is None else [int(pair.get("value") or "") for pair in group]


def add_number(configuration: ElementTree.Element, name: str, number: int, *, floor: int) -> None:
    """One more, without those up to `floor`."""
    config = configuration.find("crm_config")
    assert config is not None
    group = config.find(f"cluster_property_set[@id='writer-{name}']")
    if group is None:
        group = ElementTree.SubElement(config, "cluster_property_set", id=f"writer-{name}")
    for pair in list(group):
        if int(pair.get("value") or "") <= floor:
            group.remove(pair)
    option = f"{name}-{number}"
    ElementTree.SubElement(group, "nvpair", id=option, name=option, value=str(number))


def wrong_in(configuration: ElementTree.Element, known: dict[str, Known]) -> list[str]:
    """What is missing, out of order, or there although it failed."""
    found = []
    for name, one in known.items():
        numbers = numbers_in(configuration, name)
        lost = sorted(set(one.acknowledged) - set(numbers))
        discarded = sorted(one.seen - set(one.acknowledged) - set(numbers))
        if lost:
            found.append(f"acknowledged writes at {name} lost: {lost}")
        if discarded:
            found.append(f"writes at {name} that were read, and discarded: {discarded}")
        if numbers != sorted(set(numbers)):
            found.append(f"writes at {name} out of order: {numbers}")
        if undead := sorted(one.failed & set(numbers)):
            found.append(f"writes at {name} that failed, and are there: {undead}")
    return found


class Site:
    """Three nodes with their disks and writers."""

    def __init__(
        self,
        folder: Path,
        rng: random.Random,
        *,
        lrm: bool = False,
        left_out: str = "",
        lost_after_s: float = LOST_AFTER_S,
    ) -> None:
        self._rng, self._lost_after_s = rng, lost_after_s
        self._services = ("messaging", "crm", *(["lrm"] if lrm else []))
        self._cluster = LocalCluster(folder, 3, keepalive_ms=100, deadtime_ms=1_000, cib=_CIB)
        self.nodes = self._cluster.nodes
        self.ledger = Ledger([node.name for node in self.nodes])
        self.rounds = self.early = self.checks = 0
        self.cuts = dict.fromkeys(Cut, 0)
        self.took_s: list[float] = []
        self._writers = [Writer(node, self.ledger) for node in self.nodes]
        self._disks: list[Disk] = []
        for node in self.nodes:
            if left_out:
                node.modules["crm"] = careless.__name__
                node.environment[careless.VARIABLE] = left_out

    def begin(self) -> None:
        """Disks, daemons, writers."""
        for node in self.nodes:
            self._disks.append(Disk(node.root.with_suffix(".img"), node.root / "var"))
        self._boot()
        for writer in self._writers:
            writer.start()

    def end(self) -> None:
        """Everything ends; the disks are given back."""
        for writer in self._writers:
            writer.ended.set()
        self._cluster.stop()
        for writer in self._writers:
            if writer.is_alive():
                writer.join(30)
        for disk in self._disks:
            disk.close()

    def round(self) -> None:
        """Check, let them write, cut, and power on. Raises Lost."""
        began = time.monotonic()
        if self._rng.random() < EARLY_SHARE:
            self.early += 1
            time.sleep(self._rng.uniform(0, EARLY_S_MAX))
        else:
            self.check()
            time.sleep(self._rng.uniform(0, LATE_S_MAX))
        self._cut()
        self._boot()
        self.rounds += 1
        self.took_s.append(time.monotonic() - began)

    def check(self) -> None:
        """All nodes have everything that was promised until now, and each takes a new write. Raises Lost."""
        known, version = self.ledger.frozen()
        try:
            until(self._agreed, WITHIN_S, "a DC that all follow")
        except AssertionError as error:
            raise AssertionError(f"{error}: {[self._standing(node) for node in self.nodes]}") from None
        for node in self.nodes:
            self._check(node, known, version)
        self.ledger.checked(known)
        self.checks += 1
        until(self._all_write, WITHIN_S, "a write of each writer")

    def _check(self, node: LocalNode, known: dict[str, Known], version: tuple[int, int]) -> None:
        answers_by = time.monotonic() + WITHIN_S
        end = time.monotonic() + self._lost_after_s
        while True:
            try:
                with grpc.insecure_channel(f"unix:{node.paths.crm_socket}") as channel:
                    configuration, _digest, there = read(channel)
            except grpc.RpcError:
                assert time.monotonic() < answers_by, f"{node.name} does not answer"
                time.sleep(BETWEEN_S)
                end = time.monotonic() + self._lost_after_s
                continue
            wrong = wrong_in(configuration, known)
            if there < version:
                wrong.append(f"version {there} is older than {version}, which was acknowledged")
            if not wrong:
                return
            if time.monotonic() > end:
                raise Lost(f"{node.name} after {self.rounds} cuts: {'; '.join(wrong)}")
            time.sleep(0.05)

    def _agreed(self) -> bool:
        names = {status.dc if status is not None else "" for status in map(LocalNode.status, self.nodes)}
        return len(names) == 1 and "" not in names

    def _standing(self, node: LocalNode) -> str:
        status = node.status()
        if status is None:
            return f"{node.name} does not answer"
        states = " ".join(f"{one.name}={one.state}" for one in status.nodes)
        return f"{node.name}: DC {status.dc or 'none'}, view {status.view.counter}, {states}"

    def _all_write(self) -> bool:
        for writer in self._writers:
            assert writer.bug is None, writer.bug
        return all(one.acknowledged for one in self.ledger.frozen()[0].values())

    def _cut(self) -> None:
        how = self._rng.choice(list(Cut))
        self.cuts[how] += 1
        for disk in self._disks:
            disk.cut(how)
        running = [process for node in self.nodes for process in node.processes.values()]
        for process in running:
            process.send_signal(signal.SIGKILL)
        for node in self.nodes:
            node.power_cut()
        for disk in self._disks:
            disk.unmount()
            disk.mount()

    def _boot(self) -> None:
        for node in self.nodes:
            node.start(*self._services)


@contextmanager
def site(
    rng: random.Random,
    folder: Path,
    *,
    lrm: bool = False,
    left_out: str = "",
    lost_after_s: float = LOST_AFTER_S,
) -> Iterator[Site]:
    """A site that has begun."""
    made = Site(folder, rng, lrm=lrm, left_out=left_out, lost_after_s=lost_after_s)
    with ExitStack() as stack:
        stack.callback(made.end)
        made.begin()
        yield made


def main() -> int:
    """0 when nothing was lost; with --left-out, when something was."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.power_loss")
    parser.add_argument("--rounds", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so long, too")
    parser.add_argument("--lrm", action="store_true", help="run ha-lrm, too")
    parser.add_argument("--left-out", choices=careless.LEFT_OUT, default="", help="a sync to leave out")
    given = parser.parse_args()
    return in_own_mounts(lambda: play(given))


def play(given: argparse.Namespace) -> int:
    """The rounds; main's result."""
    lost = ""
    end = time.monotonic() + given.seconds
    folder = Path(tempfile.mkdtemp(prefix="power-loss-"))
    with site(random.Random(given.seed), folder, lrm=given.lrm, left_out=given.left_out) as made:
        try:
            while made.rounds < given.rounds and time.monotonic() < end:
                made.round()
                if made.rounds % 10 == 0:
                    print(said(made), flush=True)
            made.check()
        except Lost as error:
            lost = str(error)
        print(said(made))
    if not lost:
        shutil.rmtree(folder)  # else its logs are wanted
    print(lost or "acknowledged writes lost: 0; silently discarded: 0")
    return int(bool(lost) != bool(given.left_out))


def said(made: Site) -> str:
    """The figures."""
    return (
        f"{made.rounds} power cuts ({made.early} of them early; {made.cuts[Cut.ALL_LOST]} lost all that was "
        f"not synced, {made.cuts[Cut.JOURNAL_KEPT]} kept the journal), {made.checks} checks, "
        f"{made.ledger.acknowledged} writes acknowledged, {made.ledger.unanswered} never answered, "
        f"median round {statistics.median(made.took_s or [0]):.2f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
