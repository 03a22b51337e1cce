"""Drives the fencing core with the LRMs of the members: a device's agent is an operation like any other.

What confirms that a node is gone is decided in `fencing/core.py`; who may fence, and when, by the scheduler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import structlog

from crm import log_events
from crm.cib.document import cluster_options
from crm.cib.model import Element
from crm.controller.core import Phase
from crm.controller.nodes import MembershipChange, NodeTable
from crm.fencing import core, race
from crm.fencing.devices import TIMEOUT_MS, Device, devices, levels, node_attributes, unfencing_level
from crm.fencing.history import FencingRecord, FencingState
from crm.fencing.watchdog import WATCHDOG, waits_ms
from crm.fencing_agents import AgentEnd, FenceAgents, Use
from crm.fencing_records import FencingRecords
from crm.replica.interface import Replica
from crm.replica.settings_in_cib import fencing_enabled
from hacluster.clock import Clock
from hacluster.durations import parse_ms
from hacluster.errors import HaError
from hacluster.vocabulary.ids import OperationId, Term
from hacluster.vocabulary.operation import OperationResult

if TYPE_CHECKING:
    from crm.dc import DcShell, Local, Spawn
    from crm.dc_orders import Lrm

ASK_S: Final = 10.0
"""How long devices may take to say which nodes they know, before those that have answered are used."""
STATUS_OFF: Final = frozenset({2, 7})
"""What `status` answers for "off"; ha-lrm makes OCF's 7 of it."""

READ_EVERY_S: Final = 10
LEARN_EVERY_S: Final = 5.0
ALERT_ROUNDS: Final = 3
NOT_WANTED: Final = "the node returned, is settled, or is to be fenced"

log = structlog.get_logger()


class FencingShell:
    """The fencer of one node; it acts while the node is DC."""

    def __init__(
        self,
        *,
        local: Local,
        nodes: NodeTable,
        replica: Replica,
        lrms: Mapping[str, Lrm],
        clock: Clock,
        spawn: Spawn,
        rng: core.Rng,
        two_node: Callable[[], bool],
        keepalive_ms: int,
        deadtime_ms: int,
        silent_after_ms: int,
        records: FencingRecords,
    ) -> None:
        """`two_node`: whether one of two may act alone, as the voters are now.

        `silent_after_ms`: within this time after its end a node has left the view, whatever happens.
        """
        self._local, self._nodes, self._replica = local, nodes, replica
        self._clock, self._spawn, self._two_node = clock, spawn, two_node
        self._keepalive_ms, self._deadtime_ms = keepalive_ms, deadtime_ms
        self._fencer = core.Fencer(rng)
        self.agents = FenceAgents(local=local, nodes=nodes, lrms=lrms, clock=clock, spawn=spawn)
        self.records = records
        self._current: dict[str, FencingRecord] = {}
        self._once: set[str] = set()  # targets that only an operator wants fenced
        self._digests: dict[str, tuple[str, str]] = {}  # of an unfencing that the scheduler wants
        self._gone_ns: dict[str, int] = {}
        self._read: tuple[Element | None, dict[str, dict[str, str]], int] = (None, {}, 0)
        self._found: tuple[Device, ...] = ()
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._silent_after_ms = silent_after_ms
        self._looks: dict[str, asyncio.TimerHandle] = {}
        self.bar: Callable[[int, str], Awaitable[None]] | None = None

    def notices(self) -> list[str]:
        """What people should know: nodes that are being fenced, why that has failed so far, and who waits."""
        return [
            f"{target} is being {self._participle(target)}" + (f"; so far: {why}" if why else "")
            for target, why in ({**dict.fromkeys(self._current, ""), **self._fencer.targets}).items()
        ] + [*self._lied(), *self._unfenced()]

    def _participle(self, target: str) -> str:
        record = self._current.get(target)
        return "unfenced" if record is not None and record.action == "on" else "fenced"

    def _lied(self) -> list[str]:
        return [
            f"{record.name} was confirmed to be off by {' and '.join(record.fenced_by)}, but lives on in the "
            f"same boot: it is in no view, and whoever said so is not believed again, until it has rebooted, "
            f"or was stopped with nothing active (`hacli fence forgive {record.name}` lets it in as it is)"
            for record in self._nodes.records()
            if record.lied
        ] + [
            f"{record.name} was let in by hand: that {' and '.join(record.fenced_by)} can fence it is not "
            f"believed until it has rebooted"
            for record in self._nodes.records()
            if record.forgiven
        ]

    def _unfenced(self) -> list[str]:
        """Lost nodes that nobody is fencing: without a device the scheduler asks for nothing."""
        configuration = self._replica.configuration
        if not fencing_enabled(configuration):
            return []
        return [
            f"{record.name} is lost and no device can fence it: what it may run waits, and with two nodes "
            f"changes are refused (is it off for sure? `hacli node clearstate {record.name}`)"
            for record in self._nodes.records()
            if not (record.member or record.left_cleanly or record.fenced)
            and record.name not in self._fencer.targets
            and not levels(
                configuration,
                record.name,
                node_attributes(configuration, record.name),
                self.agents.known(self._devices()),
            )
        ]

    @property
    def dc(self) -> DcShell:
        """Whom to tell what is certain."""
        return self.agents.dc

    @dc.setter
    def dc(self, dc: DcShell) -> None:
        self.agents.dc = dc

    def fence(
        self,
        target: str,
        how: str,
        *,
        delay_ms: int = 0,
        digests: tuple[str, str] | None = None,
        client: str = "",
    ) -> FencingRecord:
        """Somebody wants it (`client`; "": the transition engine); asking twice is harmless.

        What an operator wants is given up when all devices have failed; what the cluster needs is not. A node
        that is to be fenced is let in ("on") no more; one that is being fenced, not before it is back.
        """
        log.warning(log_events.FENCING_WANTED, peer=target, action=how, user=client)
        record = self._current.get(target)
        if record is not None and (record.action == "on") != (how == "on"):
            if how == "on":
                return record  # it is let in again when it comes back
            self.returned(target)
            record = None
        if digests is not None:
            self._digests[target] = digests
        elif record is None:
            self._digests.pop(target, None)  # of one that was given up
        if record is None:  # off and reboot: one is enough
            record = self._current[target] = self.records.begin(
                target, how, client, self._nodes[target].boot_token
            )
            self._once.discard(target)
            if client:
                self._once.add(target)
        if not client:
            self._once.discard(target)
        asking = self._asking.get(target)
        if asking is None or asking.done():
            work = self._want(target, how, delay_ms, record)
            self._asking[target] = self._spawn(work, f"devices for {target}")
        return record

    async def usable(self, target: str) -> core.Wanted:
        """What would be done to fence this node now; devices are asked."""
        found = self._devices()
        try:
            async with asyncio.timeout(ASK_S):
                await self._find_out(found, target, self._executors(target, "off"))
        except TimeoutError:
            log.warning(log_events.FENCE_DEVICE_SILENT, peer=target, reason=f"not within {ASK_S:g} s")
        return self._order(target, "off", 0, None)

    async def _want(self, target: str, how: str, delay_ms: int, record: FencingRecord) -> None:
        """Find out which devices can do it, and have the core do it with those that are known in time."""
        devices_now = self._devices()
        executors = self._executors(target, how)
        asked = self._spawn(self._find_out(devices_now, target, executors), f"ask devices about {target}")
        await asyncio.wait([asked], timeout=ASK_S)
        self.tell(self._order(target, how, delay_ms, record))
        if not asked.done():
            await asyncio.wait([asked])
            if target in self._fencer.targets:
                self.tell(self._order(target, how, 0, record))

    async def _find_out(self, found: Sequence[Device], target: str, executors: Sequence[str]) -> None:
        await self.agents.learn(found)
        await self.agents.ask(self.agents.known(found), target, executors)

    def _devices(self) -> tuple[Device, ...]:
        """As configured; read again when the configuration is another, or a rule may say something else."""
        configuration, now_s = self._replica.configuration, self._clock.wall_s()
        transient = {record.name: record.effective_attributes for record in self._nodes.records()}
        before, attributes, at_s = self._read
        same = before is configuration and attributes == transient
        if not same or not 0 <= now_s - at_s < READ_EVERY_S:
            self._found = devices(configuration, now_s=now_s, transient=transient)
            # A copy: what a record has may be changed in place.
            self._read = (configuration, {name: dict(one) for name, one in transient.items()}, now_s)
        return self._found

    def _executors(self, target: str, how: str) -> tuple[str, ...]:
        """This node, then the others. Never the target; but where nobody else is it may let itself in."""
        answering = [name for name in self._nodes.members() if self._lrm_answers(name)]
        members = [name for name in answering if name != target]
        if how == "on":
            members = members or answering
        return tuple(sorted(members, key=lambda name: name != self._local.node))

    def _order(self, target: str, how: str, delay_ms: int, record: FencingRecord | None) -> core.Wanted:
        configuration = self._replica.configuration
        options = cluster_options(configuration)
        known = self.agents.known(self._devices())
        if how == "on":
            found = unfencing_level(known, target)
        else:
            found = levels(configuration, target, node_attributes(configuration, target), known)
        members = self._executors(target, how)
        if how != "on" and self._watchdog_ms(target) and not self._nodes[target].member:
            found = (*found, (WATCHDOG,))
        by_device = {device.id: self._best_first(device, members) for level in found for device in level}
        if how == "on":
            by_device |= {
                device.id: (target,)
                for level in found
                for device in level
                if device.facts is not None and device.facts.on_target
            }
        race_ms = self._race_delay_ms(target, options, found, delay_ms)
        return core.Wanted(
            target=target,
            how=how,
            levels=found,
            executors=members,
            by_device=by_device,
            timeout_ms=_timeout_ms(options),
            verify=options.get("fence-verify", "").lower() in ("true", "yes", "on", "1", "y"),
            extra_delay_ms=delay_ms + race_ms if how != "on" else 0,
            once=target in self._once,
            under_way=self._under_way(record, members),
        )

    def _watchdog_ms(self, target: str) -> int:
        """How long after it left the node's own watchdog has ended it; 0: it cannot be counted on."""
        return waits_ms(self._replica.configuration, self._nodes[target].attributes)

    def guarded(self) -> bool:
        """Whether a node's watchdog could confirm its death."""
        return any(self._watchdog_ms(record.name) for record in self._nodes.records())

    def gone(self, change: MembershipChange, *, apart: bool) -> None:
        """Some have left the view now, or (this node's partition had no quorum) that of those who came."""
        absent = [record.name for record in self._nodes.records() if not record.member]
        for name in absent if apart and change.joined else change.gone:
            self._gone_ns[name] = self._clock.now_ns()
        for name in change.gone:
            self.agents.gone(name)
        for name in change.rebooted:
            self.agents.gone(name, rebooted=True)

    async def _wait_for_watchdog(self, target: str) -> AgentEnd:
        """It has had the time to end a node that lost its lease, and that node was not heard again."""
        since_ns = self._gone_ns.get(target, self._clock.now_ns())
        until_ns = since_ns + self._watchdog_ms(target) * 1_000_000
        await asyncio.sleep(max(until_ns - self._clock.now_ns(), 0) / 1_000_000_000)
        node = self._nodes[target]
        if node.member or node.barred or not self._watchdog_ms(target):
            return AgentEnd(good=False, why=f"the watchdog of {target} has not ended it", final=True)
        return AgentEnd(good=True)

    def _best_first(self, device: Device, members: tuple[str, ...]) -> tuple[str, ...]:
        """Who monitors it, then who used it last with success, then this node; none it is banned from."""
        last = self.records.history.last_executor(device.id)

        def rank(name: str) -> tuple[bool, bool, bool]:
            monitors = device.id in self._nodes[name].history.active()
            return (not monitors, name != last, name != self._local.node)

        return tuple(sorted((name for name in members if name not in device.banned), key=rank))

    def _under_way(self, record: FencingRecord | None, members: tuple[str, ...]) -> core.UnderWay | None:
        """The agent that a former DC has had started, if its executor can still tell how it ended."""
        if record is None:
            return None
        of_another = record.operation[:2] != (self.dc.term.counter, self.dc.term.node_id)
        if record.operation[0] == 0 or not of_another or record.executor not in members:
            return None
        return core.UnderWay(device=record.device, action=record.step, executor=record.executor)

    def adopt(self) -> None:
        """This node is DC now: go on with what the former one had begun, but not with what is settled."""
        self._bar_liars()
        for record in self.records.history.under_way():
            known = record.target in self._nodes
            node = self._nodes[record.target if known else self._local.node]
            ended = node.fenced or node.is_another_boot(record.boot)
            if not known or ended or (node.member and not record.client):
                self._let_end(record)
                self.records.change(
                    record, state=FencingState.CANCELLED, why="another DC: not wanted any more"
                )
            elif record.target not in self._current:
                log.warning(log_events.FENCING_ADOPTED, peer=record.target, action=record.action)
                self.fence(record.target, record.action, client=record.client)

    def _let_end(self, record: FencingRecord) -> None:
        """Its agent may run still, and let the node in after another had cut it off: the device is busy."""
        executors = (*self._nodes.members(), record.target)
        running = self._under_way(record, tuple(name for name in executors if name in self._nodes))
        if running is not None:
            timeout_ms = _timeout_ms(cluster_options(self._replica.configuration))
            by_id = {device.id: device for device in self._devices()}
            if record.device in by_id:
                timeout_ms = by_id[record.device].timeout_ms(record.step, timeout_ms)
            self._occupy(running, record.target, _operation_of(record), timeout_ms, late=False)

    def _occupy(
        self, agent: core.UnderWay, target: str, identity: OperationId, timeout_ms: int, *, late: bool
    ) -> None:
        """Its device is busy until it has ended: an "on" must not end after the "off"."""

        async def wait() -> None:
            lets_in = agent.action == "on"
            await self.agents.adopt(identity, agent.executor, timeout_ms, to_the_end=lets_in)
            self.tell(core.Ran(target, attempt, False))

        attempt = self._fencer.occupy(agent.device, target, late=late)
        self._spawn(wait(), f"end of {agent.action} for {target}")

    async def keep_learning(self) -> None:
        """Know the agents of the configured devices before they are needed; on every node."""
        while True:
            await self.agents.learn(self._devices())
            await asyncio.sleep(LEARN_EVERY_S)

    def returned(self, target: str) -> None:
        """It is a member again (or the operator said that it is off): no shot any more."""
        self._stop_asking(target)
        self.tell(core.Returned(target))

    def _stop_asking(self, target: str) -> None:
        asking = self._asking.pop(target, None)
        if asking is not None and not asking.done():
            asking.cancel()
            if target not in self._fencer.targets:
                self._record(target, state=FencingState.CANCELLED, why=NOT_WANTED)
                self._current.pop(target, None)

    def look_for_liars(self) -> None:
        """Nodes that are confirmed off and heard all the same, after a while in which that may be."""
        for record in self._nodes.records():
            if record.heard_though_fenced and record.name not in self._looks:
                self._looks[record.name] = asyncio.get_running_loop().call_later(
                    self._silent_after_ms / 1_000, self._look, record.name, record.boot_token
                )

    def _look(self, target: str, boot_token: str) -> None:
        del self._looks[target]
        if self._nodes.still_there(target, boot_token):
            names = ",".join(self._nodes[target].fenced_by)
            log.critical(log_events.FENCING_LIED, peer=target, device=names)
            self.dc.node_lives_on(target)
            self._bar_liars()

    def _bar_liars(self) -> None:
        """Who is said to be off is to be in no view. Only the DC says so: two might bar each other."""
        if self.dc.phase is Phase.NOT_DC:
            return
        for record in self._nodes.records():
            if record.lied:
                self._spawn(self._bar(int(record.default_id), record.boot_token), f"bar {record.name}")

    async def let_in(self, target: str, user: str) -> None:
        """An operator says that it may be in views as it is. Raises HaError: nothing has changed."""
        record = self._nodes[target]
        was_lied = record.lied or record.fenced
        self._nodes.forgive(target)  # first: a reign that begins meanwhile would bar it anew
        try:
            if self.bar is not None:
                await self.bar(int(record.default_id), "")
        except HaError:
            if was_lied:
                self._nodes.blame(target)
            raise
        self.returned(target)
        for done in self.records.history.records(target):
            # Told that it was fenced in this boot, the node would end itself, or stay out.
            if done.state is FencingState.DONE and done.boot and record.boot_token.startswith(done.boot):
                self.records.change(done, state=FencingState.CANCELLED, why=f"a lie: let in by {user}")

    async def _bar(self, node_id: int, boot_token: str) -> None:
        """Should ha-messaging not answer, then its next view brings another reign, which says it again."""
        try:
            if self.bar is not None:
                await self.bar(node_id, boot_token)
        except HaError as error:
            log.error(log_events.NOT_BARRED, node_id=node_id, reason=str(error))

    def stand_down(self) -> None:
        """Another node is DC, and goes on with what is under way."""
        self._current.clear()
        for target in list(self._asking):
            self._stop_asking(target)
        for target in list(self._fencer.targets):
            self.tell(core.Returned(target))

    def take(self, result: OperationResult) -> bool:
        """A result from an LRM; says whether it was that of a fence agent."""
        return self.agents.take(result)

    def tell(self, event: core.Event) -> None:
        """Tell the core, and do what it says."""
        for effect in self._fencer.handle(event, self._clock.now_ns()):
            match effect:
                case core.Run():
                    self._spawn(self._run(effect), f"fence {effect.target}")
                case core.Fenced(target=target, how=how, devices=names):
                    fenced = log_events.UNFENCED if how == "on" else log_events.FENCED
                    log.warning(fenced, peer=target, action=how, device=",".join(names))
                    self._record(target, state=FencingState.DONE, device=",".join(names), why="")
                    self._current.pop(target, None)
                    digests = self._digests.pop(target, None)
                    if how != "on":
                        self.agents.gone(target, rebooted=True)
                        self.dc.node_fenced(target, names)
                    elif digests is not None:  # else an operator's, which the scheduler does not rely on
                        self.dc.node_unfenced(target, digests)
                case core.Cancelled(target=target):
                    self._record(target, state=FencingState.CANCELLED, why=NOT_WANTED)
                    self._current.pop(target, None)
                case core.Failed():
                    self._record(effect.target, state=FencingState.FAILED, why=effect.why)
                    if not effect.pause_ms:
                        self._current.pop(effect.target, None)
                        self.dc.fencing_given_up(effect.target)
                    level = log.error if effect.rounds >= ALERT_ROUNDS else log.warning
                    level(
                        log_events.FENCING_FAILED,
                        peer=effect.target,
                        rounds=effect.rounds,
                        reason=effect.why,
                        pause_ms=effect.pause_ms,
                    )
                case core.SetTimer(target, at_ns):
                    self._set_timer(target, at_ns)
                case core.ClearTimer(target):
                    self._clear_timer(target)
        self.dc.changed()

    def _may_not(self, target: str, attempt: int) -> str:
        """Last look before a shot: why it would not be ours to fire; empty: it is.

        The node may have returned since. Fencing outlives reigns and views: without quorum others may have
        it among them. Who is in our own view is ours to fence all the same (no-quorum-policy fence).
        """
        if not self._fencer.is_wanted(target, attempt):
            return NOT_WANTED
        policy = cluster_options(self._replica.configuration).get("no-quorum-policy", "stop").lower()
        if self._local.quorate or policy == "ignore" or self._nodes[target].member:
            return ""
        return "this node's partition has no quorum"

    def _record(self, target: str, **changes: Any) -> None:
        record = self._current.get(target)
        if record is not None:
            self._current[target] = self.records.change(record, **changes)

    async def _run(self, order: core.Run) -> None:
        if why := self._may_not(order.target, order.attempt):
            self.tell(core.Ran(order.target, order.attempt, False, why, final=True))
            return
        device, action = order.device, order.action
        log.warning(
            log_events.FENCING_TRIED,
            peer=order.target,
            device=device.id,
            action=action,
            executor=order.executor,
            adopted=order.adopted,
        )
        record = self._current.get(order.target)
        identity: OperationId | None = None
        if device is WATCHDOG or device.agent == WATCHDOG.agent:
            self._record(order.target, state=FencingState.PENDING, device=device.id, step=action, executor="")
            end = await self._wait_for_watchdog(order.target)
        elif order.adopted and record is not None:
            identity = _operation_of(record)
            end = await self.agents.adopt(
                identity,
                order.executor,
                order.timeout_ms,
                to_the_end=action == "on" and order.executor == order.target,
            )
        else:
            fencing = record.id if record is not None else ""
            use = Use(fencing, device.id, action, order.target, order.executor)
            identity = self.agents.reserve(use)
            self._record(
                order.target,
                state=FencingState.PENDING,
                device=device.id,
                step=action,
                executor=order.executor,
                operation=(
                    identity.term.counter,
                    identity.term.node_id,
                    identity.transition,
                    identity.action,
                ),
            )
            end = await self.agents.run(identity, device, use, order.timeout_ms)
        good, why = end.good, end.why
        lets_in = action == "on" and record is not None and record.action == "on"
        if end.lost and lets_in and identity is not None:
            agent = core.UnderWay(device=device.id, action=action, executor=order.executor)
            self._occupy(agent, order.target, identity, order.timeout_ms, late=True)
        if action == "status":  # fence-verify: wanted is the answer "off"
            good = end.rc in STATUS_OFF
            why = "" if good else why or "it says that the node is on"
        node = self._nodes[order.target]
        if good and (node.lied or node.forgiven) and device.id in node.fenced_by:
            good, why = False, f"it says so, as before, when {order.target} lived on"
        if good:
            now = self._current.get(order.target)
            took_ms = max(end.took_ms, now.took_ms if now is not None else 0)
            self._record(order.target, took_ms=took_ms)
        self.tell(core.Ran(order.target, order.attempt, good, why, final=end.final))

    def _race_delay_ms(
        self, target: str, options: Mapping[str, str], found: Sequence[Sequence[Device]], delay_ms: int
    ) -> int:
        """Two nodes that lost each other must not shoot at one moment."""
        if not self._two_node() or self._nodes[target].member:
            return 0
        first = found[0] if found else ()
        own = self._local.connectivity.get(self._local.node, 0)
        peer = self._local.connectivity.get(target, 0)
        isolated = options.get("isolated-delay", "")
        return race.before_shot_ms(
            options.get("two-node-delay", "auto"),
            isolated_ms=race.isolated_ms(isolated, own=own, peer=peer, deadtime_ms=self._deadtime_ms),
            worse=own < peer,
            was_dc=self._local.was_dc,
            decided=delay_ms > 0 or any(device.has_delay for device in first),
            longest_ms=self.records.history.longest_ms(device.id for device in first),
            keepalive_ms=self._keepalive_ms,
        )

    def _lrm_answers(self, name: str) -> bool:
        record = self._nodes[name]
        return record.synced and not (record.held or record.given_up or record.fenced or record.lied)

    def _set_timer(self, target: str, at_ns: int) -> None:
        self._clear_timer(target)
        after_s = max(at_ns - self._clock.now_ns(), 0) / 1_000_000_000

        def fired() -> None:
            self._timers.pop(target, None)
            self.tell(core.TimerFired(target))

        self._timers[target] = asyncio.get_running_loop().call_later(after_s, fired)

    def _clear_timer(self, target: str) -> None:
        handle = self._timers.pop(target, None)
        if handle is not None:
            handle.cancel()


def _operation_of(record: FencingRecord) -> OperationId:
    """What its agent is to the executor."""
    counter, node_id, number, action = record.operation
    return OperationId(Term(counter, node_id), number, action)


def _timeout_ms(options: Mapping[str, str]) -> int:
    text = options.get("fencing-timeout") or options.get("stonith-timeout") or ""
    try:
        return parse_ms(text)
    except ValueError:
        return TIMEOUT_MS
