"""A cluster that serves the tutorial's page, watched from outside, and the audits at the end of a test."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

from cli.demo.ground import LabError, until
from cli.demo.lab import Lab
from cli.demo.node import SERVICES, Node
from cli.demo.seats import Client, Watch
from cli.demo.timeline import Cause, Record, record_from, spans
from tests.live.cluster import Cluster, Times
from tests.live.documents import RESOURCES, VIP, Primitive, cib, tutorial

START_WITHIN_S = 20.0
SLOW = Times(keepalive=250, warntime=1_250, deadtime=2_500)
"""For tests in which ha-messaging must be back before its node is lost."""

_TOUCHES = ("start", "stop", "promote", "demote", "migrate_to", "migrate_from", "reload-agent")


class Running:
    """The nodes, their cluster, the client and the onlooker."""

    def __init__(self, lab: Lab, cluster: Cluster, watch: Watch, client: Client) -> None:
        self.lab, self.cluster, self.watch, self.client = lab, cluster, watch, client
        self.nodes = lab.nodes
        self.one, self.other = lab.nodes[:2]
        self.forgiven: tuple[str, ...] = ()

    def boot(self, *nodes: Node) -> int:
        """Power on, all without arguments; the moment in ns."""
        at_ns = time.monotonic_ns()
        for node in nodes or self.nodes:
            node.boot()
            self.watch.tell(node)
        return at_ns

    def power_cut(self, node: Node) -> int:
        """The moment in ns."""
        at_ns = node.power_cut()
        self.watch.tell(node)
        return at_ns

    def wait_served(self, node: Node, within_s: float = START_WITHIN_S) -> None:
        """Everything is active there and nowhere else, and the page comes."""
        self.watch.wait_all_on(node, within_s)
        self.client.wait_served(5)

    def wait_quiet(self, within_s: float = START_WITHIN_S) -> str:
        """One view of all that are on, one DC, nothing in transition for half a second; the DC."""
        names = [node.name for node in self.nodes if node.is_on]
        self.cluster.wait_members(names, within_s)
        dc = self.cluster.wait_dc(within_s)
        node = self.lab[dc]
        quiet_since = time.monotonic()
        end = time.monotonic() + within_s
        while time.monotonic() - quiet_since < 0.5:
            state = self.cluster.status(node).transition.state
            if state != "idle":
                quiet_since = time.monotonic()
            if time.monotonic() > end:
                raise LabError(what=f"not quiet within {within_s:g} s: transition {state}")
            time.sleep(0.05)
        return dc

    def touched_since(self, at_ns: int) -> list[str]:
        """What happened to resources since then: changes seen from outside, operations, failed fetches."""
        found = [
            f"{change.resource} {'appeared' if change.active else 'vanished'} on {change.node}"
            for change in self.watch.seen.changes
            if change.at_ns > at_ns
        ]
        for record in self.records():
            operation = record.fields.get("operation")
            if record.event == "lrm.operation_begun" and record.at_ns > at_ns and operation in _TOUCHES:
                found.append(f"{operation} {record.fields.get('resource')} on {record.node}")
        failed = [attempt for attempt in self.client.attempts(at_ns) if not attempt.ok]
        if failed:
            found.append(f"{len(failed)} fetches failed, first: {failed[0].outcome}")
        return found

    def records(self) -> list[Record]:
        """All daemons' logs on our clock."""
        offset_ns = time.time_ns() - time.monotonic_ns()
        found = []
        for node in self.nodes:
            for service in SERVICES:
                for line in node.log_records(service):
                    record = record_from(node.name, line, wall_minus_clock_ns=offset_ns)
                    if record is not None:
                        found.append(record)
        return found

    def check_outage(self, since_ns: int, bound_ms: float) -> None:
        """The longest outage since a node's loss kept to its bound; says where the time went if not."""
        outage_ms = self.client.longest_outage_ms(since_ns)
        ends = [outage.end_ns for outage in self.client.outages(since_ns) if outage.end_ns]
        parts = spans(self.records(), since_ns, ends[-1] if ends else time.monotonic_ns(), Cause.LOSS)
        went = " | ".join(f"{span.label} {span.ms:.0f}" for span in parts)
        load = Path("/proc/loadavg").read_text().split()[0]
        assert outage_ms <= bound_ms, f"{outage_ms:.0f} ms > {bound_ms:.0f} ms (load {load}): {went}"

    def cib(self, node: Node | None = None) -> ElementTree.Element:
        """The whole CIB as a node has it."""
        return ElementTree.fromstring(self.cluster.status(node or self.one).cib_xml)

    def fail_count(self, resource: str, node: Node) -> str:
        """Of a resource on a node, as the status section has it; "0" when there is none."""
        document = self.cib(node)
        for state in document.iter("node_state"):
            if state.get("uname") == node.name:
                for pair in state.iter("nvpair"):
                    if (pair.get("name") or "").startswith(f"fail-count-{resource}"):
                        return pair.get("value") or ""
        return "0"

    def audit(self) -> None:
        """At the end of each test: no rule broken, no traceback, nothing logged as an error unannounced."""
        assert self.watch.violations() == []
        errors = [line for line in self.cluster.errors() if not any(word in line for word in self.forgiven)]
        assert errors == []


@contextmanager
def running(
    names: Sequence[str] = ("n1", "n2"),
    *,
    times: Times | None = None,
    links: int = 1,
    group: Sequence[Primitive] | None = None,
    alone: Sequence[Primitive] = (),
    prefer: str = "n1",
    properties: Mapping[str, str] | None = None,
    exclusive: bool = True,
    boot: bool = True,
) -> Iterator[Running]:
    """A cluster that serves from `prefer`; with boot=False it is configured and off."""
    with Lab(list(names), name="live", links=links) as lab:
        shared = lab.shared / "htdoc"
        shared.mkdir()
        (shared / "index.html").write_text("hello")
        cluster = Cluster(lab, times)
        document = cib(
            tutorial() if group is None else group, prefer=prefer, properties=properties, alone=alone
        )
        for node in lab.nodes:
            node.write("/etc/hacluster/initial-cib.xml", document)
        watch = Watch(lab, RESOURCES, exclusive=exclusive)
        client = Client(lab, VIP)
        live = Running(lab, cluster, watch, client)
        try:
            if boot:
                live.boot()
                live.wait_served(lab[prefer])
                live.wait_quiet()
            yield live
        except BaseException:
            print(last_words(lab))
            raise


def last_words(lab: Lab, lines: int = 60) -> str:
    """The ends of all logs, for the report of a test that failed."""
    parts = []
    for node in lab.nodes:
        for service in ("supervisor", "messaging", "crm", "lrm"):
            tail = node.log(service).splitlines()[-lines:]
            parts.append("\n".join([f"--- {node.name} {service}", *tail]))
    return "\n".join(parts)


def wait_process_replaced(node: Node, service: str, old_pid: int, within_s: float) -> None:
    """A new process of that service runs."""

    def replaced() -> bool:
        pids = node.pids(service)
        return bool(pids) and old_pid not in pids

    until(replaced, within_s, what=f"a new {service} on {node.name}")
