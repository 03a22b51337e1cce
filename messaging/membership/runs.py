"""Which run of each node was the last in a view, and whether it has left with nothing active (6.5, 11.1).

A clean LEAVE is of one run. A node that heard it may be cut off, and not hear that the next run of that node
has come back to the others, ran resources, and was lost: with an old LEAVE it would start them once more. So
the last word on a node is that of the latest run that any member of the view knows, and each member knows the
runs of all views that it has promised, but for those of which it is certain that nobody installed them.

Why that is enough: to run anything, the node that came back was in a view that counted as quorate, and every
member of it had promised that view, run by run, with its disk, before anybody installed it (V4). A later view
that counts as quorate shares a member with it whose vote counted in both, or the witness, which keeps the
runs of the views that it grants. That member says so in its ACCEPT, the witness in its answer; INSTALL
carries the highest of all. Had that member promised the later view first, it would have given up the other
by the earlier one's promise, and `hold` has let all that rested on it run out (6.4).

A member whose disk was lost does not know what it promised. It is `forgetful`: what the others say counts
only if they are quorate without it. It is so until a view in which they were has told it (`AuthorityKeeper`).
An empty disk may be a new node's or a lost one: it is lost if others know of a run of that node in a view.
One of two that `two_node` lets act alone shares no member with the other; it fences it before it starts
anything of which it does not know that it is stopped (11.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from messaging.membership.events import Propose, ViewMember


class Run(NamedTuple):
    """One run of a node's ha-messaging. `left`: it is over, and nothing was active there (LEAVE, clean)."""

    node: int
    incarnation: int
    left: bool = False


def runs_of(members: Iterable[ViewMember]) -> list[Run]:
    """The members' runs."""
    return [Run(int(member.id), member.incarnation) for member in members]


def known_runs(seen: Mapping[int, int], runs: Iterable[Run]) -> dict[int, int]:
    """The highest incarnation of each node: what was seen, and what views said. A lower one is not heard."""
    known = dict(seen)
    for run in runs:
        known[run.node] = max(run.incarnation, known.get(run.node, 0))
    return known


class RunTable:
    """The latest run of each node, as far as this one knows. That a run has left is not kept on disk."""

    def __init__(self, runs: Iterable[Run], *, forgetful: bool = False, fresh: bool = False) -> None:
        self._runs = {run.node: run for run in runs}
        self.forgetful, self.fresh = forgetful, fresh

    @property
    def all(self) -> tuple[Run, ...]:
        """In order of node ids."""
        return tuple(run for _, run in sorted(self._runs.items()))

    def of(self, node: int) -> Run:
        """The latest one; incarnation 0: none is known."""
        return self._runs.get(node, Run(node, 0))

    def learn(self, runs: Iterable[Run]) -> None:
        """What somebody else knows, or what a view says. Of equal runs the one that has left counts."""
        for run in runs:
            self._runs[run.node] = max(run, self.of(run.node))

    def installed(self, members: Iterable[ViewMember], *, forgetful: bool) -> None:
        """A view has come; `forgetful`: the others have known us before, and we them no more."""
        self.learn(runs_of(members))
        self.forgetful, self.fresh = self.forgetful or forgetful, False

    def kept(self, pending: Propose | None) -> tuple[Run, ...]:
        """What the disk has to remember: of the view that is being promised, too, which may be installed."""
        table = RunTable(run._replace(left=False) for run in self._runs.values())
        table.learn(runs_of(pending.members) if pending is not None else ())
        return table.all

    def give_up(self, pending: Propose | None, later: Propose, own: int) -> None:
        """`later` is promised, and INSTALL of `pending` has not come: somebody may have it all the same.

        Not if we (`own`) are its coordinator, who installs it before all others. Nor if the same run of its
        coordinator asks again: that knows, and says so itself.
        """
        if pending is None:
            return
        coordinator, runs = pending.id.coordinator, runs_of(pending.members)
        same_run = any(run.node == coordinator and run in runs_of(later.members) for run in runs)
        if coordinator != own and not (same_run and later.id.coordinator == coordinator):
            self.learn(runs)

    def has_left(self, node: int, incarnation: int) -> bool:
        """Whether its last run has left cleanly, and we have heard of no run after `incarnation`."""
        run = self.of(node)
        return run.left and run.incarnation >= incarnation

    def keep_only(self, nodes: Iterable[int]) -> None:
        """The others are configured no more."""
        kept = set(nodes)
        self._runs = {node: run for node, run in self._runs.items() if node in kept}
