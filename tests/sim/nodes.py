"""Nodes that come and go at run time: each daemon learns of it at its own moment; nobody is lost by it."""

from __future__ import annotations

from dataclasses import replace

from messaging.membership.events import ConfiguredNode, Leave, LeaveRequested, NodesChanged, node_list
from tests.sim.checkers import NobodyLeaves
from tests.sim.classes import Profile, ViewsRun, register
from tests.sim.engine import MS, SECOND, START_NS
from tests.sim.membership import MessagingProcess


class NodesRun(ViewsRun):
    """Four of five, the fifth (any of them by id) joins, then leaves for good; some loss all the time.

    Daemons are killed and come back (within deadtime) meanwhile, with the list they had last.
    """

    def play(self) -> None:
        cluster, rng, world = self.cluster, self.rng, self.world
        late = rng.choice(list(cluster.nodes))
        everybody = cluster.processes[late].config.nodes
        first = tuple(node for node in everybody if node.name != late)
        stay = [process for name, process in cluster.processes.items() if name != late]
        cluster.network.noise(drop=rng.uniform(0, 0.1), delay_ns=(MS // 10, rng.randint(1, 30) * MS))
        for process in stay:
            process.config = replace(process.config, nodes=first)
            process.node.boot()
        world.run_until(START_NS + 4 * SECOND)
        nobody = self.nobody = NobodyLeaves(cluster)
        world.checkers.append(nobody)
        nobody.armed = True
        world.after(rng.randint(0, 20_000) * MS, "boot late", cluster.nodes[late].boot)
        self._tell_each(stay, everybody)
        world.run_until(world.now_ns + 40 * SECOND)
        assert cluster.one_view(), f"{late} is not in the view of all"
        nobody.armed = False
        cluster.processes[late].deliver(LeaveRequested(Leave(clean=True)))
        world.run_until(world.now_ns + 5 * SECOND)
        cluster.nodes[late].power_cut(rng)
        assert cluster.one_view(), f"{late} has left, but not the view"
        nobody.armed = True
        self._tell_each(stay, first)
        world.run_until(world.now_ns + 40 * SECOND)
        assert cluster.one_view(), "not one view without it"
        for process in stay:
            assert process.core is not None
            assert len(process.core.detector.peers) == len(stay) - 1
            assert process.core.detector.layouts_in_use(process.node.clock.now_ns()) == [
                process.core.detector.layouts.current
            ], f"{process.node.name} still speaks in a former list"
        self.settle()

    def _tell_each(self, processes: list[MessagingProcess], nodes: tuple[ConfiguredNode, ...]) -> None:
        for process in processes:

            def tell(process: MessagingProcess = process) -> None:
                process.former_nodes += (node_list(process.config.nodes),)
                process.config = replace(process.config, nodes=nodes)
                process.gate.use_nodes(node.id for node in nodes)
                if process.core is not None and process.alive:
                    assert not process.core.nodes_objection(nodes)
                    process.deliver(NodesChanged(nodes))

            self.world.after(self.rng.randint(0, 20_000) * MS, f"nodes {process.name}", tell)


class NodesRestartRun(NodesRun):
    """The same while a daemon is killed now and then, and is back at once."""

    def _tell_each(self, processes: list[MessagingProcess], nodes: tuple[ConfiguredNode, ...]) -> None:
        super()._tell_each(processes, nodes)
        victim = self.rng.choice(processes)
        for at_ms in (self.rng.randint(0, 9_000), self.rng.randint(12_000, 21_000)):

            def kill(victim: MessagingProcess = victim) -> None:
                victim.crash()
                self.nobody.sizes.pop(victim.node.name, None)
                self.world.after(300 * MS, f"restart {victim.name}", victim.start)

            self.world.after(at_ms * MS, f"kill {victim.name}", kill)


register("nodes")(lambda seed: (NodesRestartRun if seed % 3 == 0 else NodesRun)(seed, Profile(nodes=5)))
