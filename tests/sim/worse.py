"""Agents that are worse than most: every exit code, stops that fail once, starts that only say that they did.

What shows here besides what `whole` shows (I1, I19, I28): whatever agents report, ha-crm's history of a node
names all that is active there (I21), which is what a node that leaves says of itself.
"""

from __future__ import annotations

from crm.cib.history import NodeHistory
from tests.sim.agents import Agents, Dials
from tests.sim.classes import register
from tests.sim.engine import InvariantBroken
from tests.sim.full import FullProfile
from tests.sim.lrm import LrmProcess
from tests.sim.whole import WholeRun


class NamesAll:
    """I21 for one node: after each of its ha-lrm's steps, as ha-crm would have been told by then."""

    def __init__(self, lrm: LrmProcess, agents: Agents) -> None:
        self.lrm, self.agents = lrm, agents

    def look(self) -> None:
        """Raises InvariantBroken."""
        if not self.lrm.alive or self.lrm.queue is None:
            return
        history = NodeHistory(self.agents.node.name, lambda *_: "")
        seen = self.lrm.seen()
        for result in sorted(seen.results, key=lambda one: one.call_id):
            history.record(result)
        for result in seen.running:
            history.begun(result)
        unnamed = self.agents.active - set(history.active())
        if unnamed:
            what = (
                f"{sorted(unnamed)} active on {self.agents.node.name}, whose history names {history.active()}"
            )
            raise InvariantBroken("I21", what)


class WorseRun(WholeRun):
    """As `whole`, with such agents."""

    dials = Dials(fail=0.15, hang=0.05, dies=0.05, twice=0.2, nothing=0.08, flaps=0.05, slow=0.1, any_rc=True)

    def __init__(self, seed: int, profile: FullProfile) -> None:
        super().__init__(seed, profile)
        pairs = zip(self.lrms.values(), self.truth.machines, strict=True)
        for lrm, agents in pairs:
            lrm.watchers.append(NamesAll(lrm, agents).look)


def _class(name: str, nodes: int) -> None:
    register(name)(lambda seed: WorseRun(seed, FullProfile(nodes=nodes)))


_class("agents3", 3)
_class("agents5", 5)
