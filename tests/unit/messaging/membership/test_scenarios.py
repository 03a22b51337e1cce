"""Stories of views as data: the real cores in the simulator, told by what they log and publish."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hacluster.durations import parse_ms
from hacluster.vocabulary.ids import NO_VIEW, NodeId, NodeName
from messaging.membership.durable import decode_slot
from messaging.membership.events import (
    Accept,
    BarRequested,
    ConfiguredNode,
    DaemonsChanged,
    Install,
    Leave,
    LeaveRequested,
    Send,
)
from tests.datadriven import Command, run_file
from tests.sim.checkers import OneQuorum, Views
from tests.sim.engine import MS, START_NS, World
from tests.sim.membership import MembershipCluster, Timing

SCENARIOS = sorted((Path(__file__).parents[3] / "scenarios/membership").glob("*.txt"))
QUIET = ("link_state", "quorum ", "start ", "node_seen")


class Story:
    """A world and its cluster; each command answers with what was noted since the last."""

    def __init__(self) -> None:
        self.world = World(1)
        self.cluster = MembershipCluster(self.world, 1)
        self.views = Views(self.cluster)
        self.crm = 0

    def handle(self, command: Command) -> str:
        method = getattr(self, f"do_{command.name}", None)
        assert method is not None, f"{command.place}: no command {command.name!r}"
        answer = method(command)
        if isinstance(answer, str):
            return answer
        lines = [
            f"{(line.at_ns - START_NS) // MS:6} {line.who:3} {line.what}"
            for line in self.world.trace
            if not line.what.startswith(QUIET) and "/" not in line.who
        ]
        self.world.trace.clear()
        return "\n".join(lines)

    def do_cluster(self, command: Command) -> None:
        """nodes=N [seed=S] [two_node=yes] [wait_for_all=yes]: K 100 ms, W 250 ms, D 500 ms, I 5 s."""
        self.world = World(int(command.options.get("seed", "1")))
        timing = Timing(
            keepalive_ns=100 * MS, warntime_ns=250 * MS, deadtime_ns=500 * MS, initdead_ns=5_000 * MS
        )
        self.cluster = MembershipCluster(
            self.world,
            int(command.options["nodes"]),
            timing=timing,
            two_node="two_node" in command.options,
            wait_for_all="wait_for_all" in command.options,
        )
        self.views = Views(self.cluster)
        self.world.checkers.append(self.views)
        if "two_node" not in command.options:
            self.world.checkers.append(OneQuorum(self.cluster))

    def do_boot(self, command: Command) -> None:
        for name in command.words or tuple(self.cluster.nodes):
            self.cluster.nodes[name].boot()

    def do_run(self, command: Command) -> None:
        self.world.run_until(self.world.now_ns + parse_ms(command.words[0]) * MS)

    def do_cut(self, command: Command) -> str:
        link = command.options.get("link")
        one, other = command.words
        self.cluster.network.cut_edge(one, other, None if link is None else int(link))
        return ""

    def do_oneway(self, command: Command) -> str:
        source, target = command.words
        self.cluster.network.cut_one_way(source, target)
        return ""

    def do_partition(self, command: Command) -> str:
        self.cluster.network.partition(*(group.split(",") for group in command.words))
        return ""

    def do_mend(self, command: Command) -> str:
        self.cluster.network.uncut()
        return ""

    def do_kill(self, command: Command) -> None:
        for name in command.words:
            self.cluster.processes[name].crash()

    def do_restart(self, command: Command) -> None:
        for name in command.words:
            self.cluster.processes[name].start()

    def do_power(self, command: Command) -> None:
        for name in command.words:
            self.cluster.nodes[name].power_cut(self.world.stream("power"))

    def do_edit(self, command: Command) -> str:
        """NODE OTHER [id=N] [name=NAME]: what NODE's cluster.toml says of OTHER from its next start on."""
        process = self.cluster.processes[command.words[0]]
        nodes = tuple(
            ConfiguredNode(
                id=NodeId(int(command.options.get("id", node.id))),
                name=NodeName(command.options.get("name", node.name)),
            )
            if node.name == command.words[1]
            else node
            for node in process.config.nodes
        )
        nodes = tuple(sorted(nodes, key=lambda node: node.id))
        voters = tuple((node.id, 1) for node in nodes)
        quorum = replace(process.config.quorum, voters=voters)
        process.config = replace(process.config, nodes=nodes, quorum=quorum)
        return ""

    def do_damage(self, command: Command) -> str:
        """One bit of the newer slot of the node's promises."""
        disk = self.cluster.nodes[command.words[0]].disk
        serials = {name: decode_slot(disk.read(name)) for name in ("view.0", "view.1")}
        newer = max((n for n in serials if serials[n]), key=lambda n: (serials[n] or {})["serial"])
        disk.damage(newer, self.world.stream("damage"))
        return ""

    def do_wipe(self, command: Command) -> str:
        self.cluster.nodes[command.words[0]].disk.wipe()
        self.views.wiped.add(command.words[0])
        return ""

    def do_break(self, command: Command) -> str:
        self.cluster.nodes[command.words[0]].disk.broken = True
        return ""

    def do_pause(self, command: Command) -> None:
        self.cluster.nodes[command.words[0]].pause(parse_ms(command.options["for"]) * MS)

    def do_leave(self, command: Command) -> None:
        event = LeaveRequested(Leave(clean="dirty" not in command.words))
        self.cluster.processes[command.words[0]].deliver(event)

    def do_join(self, command: Command) -> None:
        """Another ha-crm begins on a node that has left."""
        self.crm += 1
        event = DaemonsChanged(crm_instance=self.crm, lrm_instance=self.crm)
        self.cluster.processes[command.words[0]].deliver(event)

    def do_older(self, command: Command) -> str:
        """The node is of a release that says nothing of runs."""
        process = self.cluster.processes[command.words[0]]
        transmit = process._transmit

        def older(send: Send) -> None:
            if isinstance(send.message, Accept):
                send = send._replace(message=replace(send.message, runs=(), forgetful=False))
            elif isinstance(send.message, Install):
                send = send._replace(message=replace(send.message, runs=(), forgetful=()))
            transmit(send)

        process._transmit = older  # type: ignore[method-assign]  # of this one process
        return ""

    def do_bar(self, command: Command) -> None:
        """NODE OTHER [not]: NODE's ha-crm says that OTHER was confirmed to be off; or that it may come in."""
        by, other = command.words[:2]
        nodes = self.cluster.nodes
        boot = b"" if "not" in command.words else bytes.fromhex(nodes[other].boot_token[:16])
        number = next(n.id for n in self.cluster.processes[by].config.nodes if n.name == other)
        self.cluster.processes[by].deliver(BarRequested(1, number, boot))

    def do_status(self, command: Command) -> str:
        """What each node publishes: view, quorum, waiting, how it sees the nodes."""
        lines = []
        for name, process in self.cluster.processes.items():
            if not process.alive or process.core is None:
                lines.append(f"{name}: down")
                continue
            status = process.core.status(process.node.clock.now_ns())
            authority = status.authority
            members = " ".join(member.name for member in authority.view.members)
            view = f"view {authority.view.id} [{members}]" if authority.view.id != NO_VIEW else "no view"
            quorum = "quorate" if authority.quorate else "waiting" if authority.waiting else "no quorum"
            nodes = " ".join(
                f"{node.name}={node.state.value}{'(clean)' if node.clean_leave else ''}"
                for node in status.nodes
            )
            lines.append(f"{name}: {view}, {quorum}; {nodes}")
        return "\n".join(lines)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_membership(path: Path, rewrite: bool) -> None:
    run_file(path, Story().handle, rewrite=rewrite)
