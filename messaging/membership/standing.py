"""last_man_standing: which voters there should be once another view is stable (cluster-protocol.md, 7.2).

Only a suggestion: the DC commits it, as a joint change, and it counts when ha-crm says so.
"""

from __future__ import annotations

from hacluster.vocabulary.ids import NO_VIEW, ViewId
from hacluster.vocabulary.membership import QuorumConfig
from messaging.membership.events import CommittedQuorum, Config, InstalledView

MS = 1_000_000


class LastManStanding:
    """Watches the view for `lms_window`."""

    def __init__(self, config: Config) -> None:
        self._configured = {node.id: node.votes for node in config.nodes if node.votes and not node.diskless}
        self._view: ViewId = NO_VIEW
        self._since_ns = 0
        self.suggested: QuorumConfig | None = None
        self.wake_ns: int | None = None

    def look(
        self, view: InstalledView | None, quorum: CommittedQuorum, now_ns: int, *, quorate: bool
    ) -> None:
        """Bring `suggested` up to date, and `wake_ns`, when it changes by itself.

        Two nodes that may act alone (`two_node`) do not shrink this way: there, only fencing decides. One
        change at a time: none while another is under way.
        """
        self.suggested = self.wake_ns = None
        config = quorum.config
        if (
            view is None
            or not quorate
            or not config.lms_window_ms
            or config.two_node
            or config.next is not None
        ):
            self._view = NO_VIEW
            return
        if view.id != self._view:
            self._view, self._since_ns = view.id, now_ns
        present = tuple(
            (member.id, self._configured[member.id])
            for member in view.members
            if member.id in self._configured
        )
        if not present or set(present) == set(config.voters):
            return
        at_ns = self._since_ns + config.lms_window_ms * MS
        if now_ns < at_ns:
            self.wake_ns = at_ns
        else:
            self.suggested = config.among(present)
