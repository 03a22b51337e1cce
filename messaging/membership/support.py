"""Who may still count on our support, and until when (cluster-protocol.md, 6.4 `lease_rest`, 7.5).

A node believes in a peer's support for L after it sent what that peer echoed. Whoever leaves it out of a view
has to let that time run out before the new view acts.
"""

from __future__ import annotations

from messaging.membership.deadtime import lease_bound_ns
from messaging.membership.detector import Detector
from messaging.membership.events import Config, InstalledView


class SupportGiven:
    """An upper bound of what others may believe, by our clock, whatever theirs does within EPS."""

    def __init__(self, config: Config, detector: Detector, last_view: InstalledView, now_ns: int) -> None:
        self._detector = detector
        # The members of the last view may count on what our former run said, for one lease from now at most.
        former_ns = lease_bound_ns(detector.deadtime.former_ns)
        self._former: dict[int, int] = {
            member.id: now_ns + former_ns for member in last_view.members if member.id != config.node_id
        }

    def _until_ns(self, view: InstalledView, now_ns: int) -> dict[int, int]:
        """For each other member whose run still is the view's and did not say LEAVE."""
        peers, bound_ns = self._detector.peers, self._detector.deadtime.bound_ns(now_ns)
        return {
            member.id: max(peers[member.id].last_rx_ns, peers[member.id].last_echoed_ns) + bound_ns
            for member in view.members
            if member.id in peers
            and peers[member.id].incarnation == member.incarnation
            and peers[member.id].leave is None
        }

    def bequeath(self, view: InstalledView, without: tuple[int, ...], now_ns: int) -> None:
        """We leave `view`: remember what its members, but those in `without`, may think."""
        for node, until_ns in self._until_ns(view, now_ns).items():
            if node not in without:
                self._former[node] = max(until_ns, self._former.get(node, 0))

    def forget(self, stay: tuple[int, ...], now_ns: int) -> None:
        """Those who stay with us are no danger; what is over, neither."""
        self._former = {
            node: until for node, until in self._former.items() if node not in stay and until > now_ns
        }

    def rest_ns(self, view: InstalledView | None, proposed: tuple[int, ...], now_ns: int) -> int:
        """How long somebody who is not proposed may yet believe to have our support."""
        ends = dict(self._former)
        for node, until_ns in (self._until_ns(view, now_ns) if view is not None else {}).items():
            ends[node] = max(until_ns, ends.get(node, 0))
        return max(
            0, max((until for node, until in ends.items() if node not in proposed), default=0) - now_ns
        )
