"""What clients may ask of the cluster, in the program's own terms; services translate to and from it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from crm import log_events, tickets
from crm.api.changes import Changes
from crm.cib.codec import is_text
from crm.cib.document import primitives_of, whole
from crm.cib.model import Element
from crm.cib.status import SHUTDOWN, failure_of
from crm.controller.core import Changed, Phase, Standing
from crm.controller.leaving import LEAVE_POLL_MS, Leaving
from crm.controller.nodes import NodeTable, node_ids
from crm.election.quorum import could_be_quorate
from crm.replica.interface import Replica
from crm.succession import Succession
from hacluster.clock import Clock
from hacluster.errors import Conflict, HaError, InvalidRequest, NoDc, NotFound, Unreachable
from hacluster.vocabulary.ids import NO_VIEW
from hacluster.vocabulary.membership import NodeState

if TYPE_CHECKING:
    from crm.attributes import AttributeKeeper
    from crm.dc import DcShell, Local
    from crm.dc_orders import Orders
    from crm.fencing.history import FencingRecord
    from crm.fencing_shell import FencingShell
    from crm.peers.messaging import MembershipPeer
    from crm.replica.events import WriteOutcome

FENCING_ACTIONS: Final = frozenset({"reboot", "off", "on"})
PRIORITY_LEAVING: Final = -1_000_000
"""dc-priority of a node that is about to leave: others are better DCs."""

_UNHEARD: Final = (NodeState.UNKNOWN, False)
_AWAY: Final = {
    NodeState.UNKNOWN: "not heard since the start here",
    NodeState.LEFT: "has left",
    NodeState.LOST: "lost",
    NodeState.ESTRANGED: "heard, with another cluster.toml",
    NodeState.BARRED: "heard, and barred",
}
_ALIVE: Final = frozenset(
    {NodeState.JOINING, NodeState.MEMBER, NodeState.LATE, NodeState.ESTRANGED, NodeState.BARRED}
)

log = structlog.get_logger()


@dataclass(slots=True)
class Notes:
    """What has been heard of the cluster besides nodes and CIB, for people."""

    states: dict[str, tuple[NodeState, bool]] = field(default_factory=dict)
    orphans: dict[str, str] = field(default_factory=dict)
    corrupt: str = ""
    last_change_by: str = ""
    last_change_s: int = 0


class Cluster:
    """The cluster as this node sees it."""

    def __init__(
        self,
        *,
        local: Local,
        nodes: NodeTable,
        replica: Replica,
        dc: DcShell,
        orders: Orders,
        fencing: FencingShell,
        keeper: AttributeKeeper,
        messaging: MembershipPeer,
        clock: Clock,
        changes: Changes,
        running: Callable[[], Awaitable[tuple[str, ...]]],
        is_kept: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`running`: asks this node's ha-lrm what may be active here; raises HaError.

        `is_kept`: whether a report of orphans is still there, or somebody has put it away.
        """
        self.is_kept, self._running = is_kept, running
        self.local, self.nodes, self.replica = local, nodes, replica
        self.dc, self.orders, self.fencing, self.keeper = dc, orders, fencing, keeper
        self.messaging, self.clock, self.changes = messaging, clock, changes
        self.notes = Notes()
        self.left = asyncio.Event()
        self._leaving = asyncio.Lock()
        self.succession = Succession(replica, local)

    @property
    def is_dc(self) -> bool:
        """Whether this node acts as DC now."""
        return self.dc.phase is not Phase.NOT_DC

    def cib(self) -> Element:
        """The whole CIB: at the DC as it is, elsewhere with the last status that the DC sent."""
        configuration = self.replica.configuration
        status = self.dc.status() if self.is_dc else self.replica.status
        dc = self.dc_name()
        return whole(
            configuration,
            status,
            self.replica.version,
            quorate=self.local.quorate,
            dc_uuid=node_ids(configuration).get(dc, ""),
        )

    def dc_name(self) -> str:
        """The DC's name; empty without one."""
        number = self.replica.dc.dc_node_id
        if number is None:
            return ""
        return next((r.name for r in self.nodes.records() if r.default_id == str(number)), "")

    def standing(self, node: str) -> Standing | None:
        """How far the DC (if we are it) is with a member."""
        return self.dc.standings.get(node)

    def own_notices(self) -> list[str]:
        """What an administrator should know of this node's disk; the DC does not hear of it."""
        found = [text for file, text in self.notes.orphans.items() if self.is_kept(file)]
        return [*found, self.notes.corrupt] if self.notes.corrupt else found

    def notices(self) -> list[str]:
        """What an administrator should know."""
        found: list[str] = []
        missing, remedy = self._missing()
        if self.local.waiting:
            found.append(
                f"waiting for {missing or 'all nodes'} after a boot: nothing is started until all nodes were "
                f"together once{remedy}"
            )
        elif not self.local.quorate:
            why = f", for want of {missing}{remedy}" if missing else ""
            found.append(f"no quorum: no-quorum-policy decides what happens to resources{why}")
        elif self.replica.dc.caretaker:
            found.append(
                "too many of the nodes that are here have lost their copy of the configuration, or never had "
                "one: nothing is decided before enough others come (or `hacli -F cluster force-quorum`)"
            )
        found += [
            f"{name} is alive, but its cluster.toml is not the one here: nothing is taken over from it (put "
            f"the same file on all nodes, and restart ha-messaging where it was wrong)"
            for name, (state, _) in self.notes.states.items()
            if state is NodeState.ESTRANGED
        ]
        found += self.own_notices()
        if self.is_dc:
            found += [
                f"{name}: {standing.value}"
                for name, standing in self.dc.standings.items()
                if standing in (Standing.HELD, Standing.GIVEN_UP)
            ]
            found += self.fencing.notices()
            if self.dc.notice:
                found.append(self.dc.notice)
        return found

    def _missing(self) -> tuple[str, str]:
        """The nodes that are not here and how they are seen, and the remedy; empty when none is missing."""
        states = self.notes.states
        every = {one.name: states.get(one.name, _UNHEARD)[0] for one in self.nodes.records()}
        away = [name for name, state in every.items() if name != self.local.node and state in _AWAY]
        if not away:
            return "", ""
        then = ""
        if not (self.local.waiting and self._has_votes()):
            then = f", then `hacli -F cluster remove {away[0] if len(away) == 1 else 'NODE'}`"
        return ", ".join(f"{name} ({_AWAY[every[name]]})" for name in away), (
            " (start what is off, or mend the network between: `hacli cluster links`; what is off for "
            f"certain, and stays so: `hacli -F cluster force-quorum`{then})"
        )

    def _has_votes(self) -> bool:
        """Whether those who are here would be quorate if nothing had to be waited for."""
        records = (one for one in self.nodes.records() if one.default_id)
        here = {int(one.default_id) for one in records if one.member or one.name == self.local.node}
        return could_be_quorate(self.replica.voters()[1], here)

    def set_attribute(self, node: str, changes: Mapping[str, str], user: str) -> None:
        """At the DC: set transient attributes. Raises NotFound, NoDc."""
        if node not in self.nodes:
            raise NotFound(kind="node", name=node)
        if not self.is_dc:
            raise NoDc
        log.info(log_events.ATTRIBUTE, peer=node, names=",".join(changes), user=user)
        for name, value in changes.items():
            failure = failure_of(name)
            if failure is not None and not value:  # else the next DC would find the failure and count it
                self.orders.clear_failures(node, failure[0], self.dc.term, *failure[1:])
        if self.dc.change_attributes(node, changes):
            self.dc.attributes_changed(node)

    async def set_ticket(
        self, name: str, deed: str, user: str, *, client: str, request_id: str, deadline_ms: int
    ) -> WriteOutcome:
        """At the DC: grant a ticket, revoke it, and so on. Raises InvalidRequest, NotFound, NoDc."""
        if deed not in list(tickets.Deed):
            raise InvalidRequest(what=f"{deed!r} is nothing that is done to a ticket")
        if not self.is_dc:
            raise NoDc
        grant = secrets.token_hex(8)
        now_s = self.clock.wall_s()

        def change(configuration: Element) -> Element:
            return tickets.done(configuration, name, tickets.Deed(deed), now_s=now_s, grant=grant)

        change(self.replica.configuration)  # what cannot be is said before anything is written
        log.info(log_events.TICKET, ticket=name, action=deed, user=user)
        self.dc.witness.grants.add(grant)  # before the plan that the commit leads to
        outcome = await self.replica.write(
            change, author=user, client=client, request_id=request_id, deadline_ms=deadline_ms
        )
        self.dc.publish_soon()
        return outcome

    def fence(self, node: str, action: str, user: str) -> FencingRecord:
        """At the DC: begin to fence or unfence. Raises NotFound, InvalidRequest, NoDc."""
        if node not in self.nodes:
            raise NotFound(kind="node", name=node)
        if action not in FENCING_ACTIONS:
            raise InvalidRequest(what=f"{action!r} is no fencing", remedy="reboot, off or on")
        if not self.is_dc:
            raise NoDc
        return self.fencing.fence(node, action, client=user)

    def confirm_fenced(self, node: str, user: str, *, force: bool = False) -> None:
        """At the DC: the operator says that a node is off. Raises InvalidRequest while it is heard."""
        if node not in self.nodes:
            raise NotFound(kind="node", name=node)
        if not self.is_dc:
            raise NoDc
        state = self.notes.states.get(node, (NodeState.UNKNOWN, False))[0]
        if not force and (self.nodes[node].member or state in _ALIVE):
            raise InvalidRequest(
                what=f"{node} is alive ({state.value}): it is not off, and does not count as fenced",
                remedy=f"`hacli node fence {node}` has it fenced",
            )
        log.warning(log_events.FENCED, peer=node, action="confirmed", user=user)
        self.dc.node_fenced(node, ("operator",))
        self.dc.tell(Changed(f"{user} confirms that {node} is off"))

    async def forgive(self, node: str, user: str, *, force: bool = False) -> None:
        """At the DC: the operator lets a node in about which a device has lied.

        Raises NotFound, NoDc, InvalidRequest (nobody lied about it, or it is not heard), HaError.
        """
        if node not in self.nodes:
            raise NotFound(kind="node", name=node)
        if not self.is_dc:
            raise NoDc
        record = self.nodes[node]
        if not record.lied and not record.barred:
            raise InvalidRequest(what=f"{node} is not barred", remedy="`hacli status` names nodes that are")
        state = self.notes.states.get(node, (NodeState.UNKNOWN, False))[0]
        if not force and not record.member and state not in _ALIVE:
            raise InvalidRequest(
                what=f"{node} is not heard ({state.value}): there is nobody to let in",
                remedy=f"`hacli fence confirm {node}` if it is off; --force if it may come back in this boot",
            )
        await self.fencing.let_in(node, user)
        log.warning(log_events.FORGIVEN, peer=node, device=",".join(record.fenced_by), user=user)
        self.dc.tell(Changed(f"{user} lets {node} in"))
        self.dc.publish_soon()

    async def move_dc(self, node: str, user: str) -> None:
        """At the DC: another node is to be DC. Raises NotFound, InvalidRequest, HaError."""
        if not self.is_dc:
            raise NoDc
        if node and node not in self.nodes:
            raise NotFound(kind="node", name=node)
        if node == self.local.node:
            raise InvalidRequest(what=f"{node} is the DC already")
        fit = [one for one in self.nodes.members() if self.standing(one) is Standing.INTEGRATED]
        others = [one for one in fit if one != self.local.node]
        if not others or (node and node not in others):
            raise InvalidRequest(
                what=f"{node} is not here and integrated" if node else "no other node is here and integrated",
                remedy="`hacli status` says which are",
            )
        peer = self.orders.peer(node) if node else None
        if peer is not None:
            await peer.succeed_dc(self.replica.dc.term)
        log.info(log_events.DC_MOVES, peer=node or "any", user=user)
        self.succession.give_up()

    async def clean_up(self, resource: str, node: str, operation: str, interval_ms: int) -> list[str]:
        """At the DC: forget failures, and what is known; "resource@node" of each. Raises NotFound, HaError.

        Without a resource only those with failures are looked at. With an operation only its failures go.
        """
        if not self.is_dc:
            raise NoDc
        if node and node not in self.nodes:
            raise NotFound(kind="node", name=node)
        wanted = primitives_of(self.replica.configuration, resource) if resource else ()
        cleaned: list[str] = []
        for name in (node,) if node else self.nodes.members():
            history = self.nodes[name].history
            failed = {entry.id.removesuffix("_last_failure_0") for entry in history.failures()}
            known = set(history.resources())
            if resource and not wanted and resource not in known:
                raise NotFound(kind="resource", name=resource)
            targets = (set(wanted) | {resource}) & known if resource else failed
            for target in sorted(targets):
                if self.orders.clear_failures(name, target, self.dc.term, operation, interval_ms):
                    cleaned.append(f"{target}@{name}")
                if not operation:
                    await self.orders.delete_history(name, self.dc.term, target)
                    cleaned.append(f"{target}@{name}")
        if cleaned:
            self.dc.attributes_changed(node or self.local.node)
        return sorted(set(cleaned))

    async def stop_node(self, *, without_dc_ms: int = 0) -> None:
        """Ask the DC to empty this node, then leave. Returns when it is safe to stop the services.

        Without a view and with nothing to move it leaves at once. `without_dc_ms`: leave anyway when there
        has been no DC for so long; 0: wait for one. Raises HaError when ha-messaging does not take it.
        """
        if self.left.is_set():
            return
        # The last of the cluster has to be able to reign, or nothing would stop what runs there.
        self.replica.set_eligibility(eligible=self.local.may_be_dc, priority=PRIORITY_LEAVING)
        self.keeper.change({SHUTDOWN: str(self.clock.wall_s())})
        log.info(log_events.NODE_LEAVES, peer=self.local.node)
        leaving, asked_ns = Leaving(without_dc_ms), self.clock.now_ns()
        while not self.left.is_set():
            try:
                async with asyncio.timeout(LEAVE_POLL_MS / 1_000):
                    await self.left.wait()
            except TimeoutError:
                own, before_ns, asked_ns = self.nodes[self.local.node], asked_ns, self.clock.now_ns()
                if leaving.may_leave(
                    (asked_ns - before_ns) // 1_000_000,
                    has_view=self.local.view != NO_VIEW,
                    has_dc=self.replica.dc.dc_node_id is not None,
                    active=own.history.active() if own.synced else None,
                ):
                    await self._leave_by_own_word(leaving)

    async def _leave_by_own_word(self, leaving: Leaving) -> None:
        """Ha-lrm is asked once more: what it began before it hung was not told yet, perhaps."""
        active: tuple[str, ...] | None = None
        try:
            active = await self._running()
        except HaError as error:
            log.warning(log_events.NODE_LEAVES, peer=self.local.node, reason=str(error))
        if active != () and not leaving.out_of_patience:
            return
        try:
            await self.leave(active or (), known=active is not None)
        except Unreachable:
            if leaving.out_of_patience:
                raise
            # ha-messaging is being restarted, perhaps; there is time to wait for it.

    async def leave_by_order(self) -> None:
        """The DC says that nothing is left to run here. What ha-lrm alone knows is named: what was forgotten
        (a cleanup) and not looked at since is in nobody's history. Raises as `leave`.
        """
        active: tuple[str, ...] = ()
        try:
            active = await self._running()
        except HaError as error:
            log.warning(log_events.NODE_LEAVES, peer=self.local.node, reason=str(error))
        await self.leave(active)

    async def leave(self, active: Collection[str] = (), *, known: bool = True) -> None:
        """Nothing is left to run here, or what is left is named. Raises Conflict when nobody asked for it.

        `active`: what is left besides what the history has. `known`: the DC says so, or ha-lrm has told us
        all; else the node does not leave cleanly. Who has left stays so: the DC and the node itself may both
        have come to it.
        """
        async with self._leaving:
            if self.left.is_set():
                return
            if SHUTDOWN not in self.keeper.current:
                raise Conflict(what=f"{self.local.node} does not want to leave")
            left = sorted({*active, *self.nodes[self.local.node].history.active()})
            await self.messaging.leave(tuple(left), known=known)
            self.keeper.change({SHUTDOWN: ""})
            self.left.set()

    def check_attribute(self, name: str, value: str) -> None:
        """Raises InvalidRequest for a name or a value that cannot be an attribute's."""
        if not name or not name.isprintable() or len(name) > 255:
            raise InvalidRequest(what=f"{name[:80]!r} cannot name an attribute")
        if not is_text(value):
            raise InvalidRequest(what=f"{value[:80]!r} cannot be an attribute's value")
