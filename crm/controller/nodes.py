"""What is known of every node: membership, its LRM's history, its transient attributes. Pure.

Every ha-crm keeps this table up to date, not only the DC's: who becomes DC then knows at once what ran on the
node that was lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from crm.cib.history import Digest, NodeHistory
from crm.cib.model import Element
from crm.cib.status import BOOT, FENCED_BY, FORGIVEN, LIED, Join, NodeFacts
from hacluster.vocabulary.membership import Member, MembershipView, NodeState
from hacluster.vocabulary.operation import ExecutionStatus, OperationResult

NO_RUNS: Final[Mapping[str, int]] = MappingProxyType({})


@dataclass(slots=True)
class NodeRecord:
    """One node. Instants are wall clock, whole seconds; 0: not now.

    `fenced`: this boot is confirmed to be over, by `fenced_by`. `lied`: that is not true, it was heard since.
    `barred`: it still is, though no view takes it any more. `forgiven`: an operator let it in all the same.
    `doubted`: what ha-messaging knows of its leaving is of before we were cut off. `last_run`: the latest
    of ha-messaging there that was in a view, as far as is known here.
    """

    name: str
    default_id: str
    history: NodeHistory
    member_since_s: int = 0
    seen: bool = False
    left_cleanly: bool = False
    boot_token: str = ""
    lrm_instance: int = 0
    crm_instance: int = 0
    held: bool = False
    given_up: bool = False
    fenced: bool = False
    lied: bool = False
    forgiven: bool = False
    barred: bool = False
    doubted: bool = False
    last_run: int = 0
    fenced_by: tuple[str, ...] = ()
    synced: bool = False
    arriving: NodeHistory | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    attributes_version: tuple[int, int] = (0, 0)
    unconfirmed: dict[str, str] = field(default_factory=dict)

    @property
    def effective_attributes(self) -> dict[str, str]:
        """What the keeper said, and on top what it was told to keep and has not confirmed yet."""
        if not self.unconfirmed:
            return self.attributes
        merged = {**self.attributes, **self.unconfirmed}
        return {name: value for name, value in merged.items() if value}

    def takes_run(self, last_run: int, state: NodeState) -> bool:
        """Says whether a later run than the last that we knew of was in a view.

        Who was fenced and is heard again is about to be let in: what is certain of it stands until then.
        """
        if last_run <= self.last_run or (self.fenced_by and state is NodeState.JOINING):
            return False
        before, self.last_run = self.last_run, last_run
        return before > 0

    @property
    def member(self) -> bool:
        """Whether the node is in the view."""
        return self.member_since_s > 0

    def is_another_boot(self, boot: str) -> bool:
        """Whether the node has booted anew since this boot; "": it is not known which one was meant."""
        return bool(boot) and _another_boot(boot, self.boot_token)

    @property
    def heard_though_fenced(self) -> bool:
        """Whether somebody who is off speaks: dead for sure it falls silent soon."""
        return self.fenced and (self.member or self.barred)


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipChange:
    """What a new view means: nodes that came, that are gone, and members that have booted anew.

    `left`: were gone already, and are heard only now to have left cleanly.
    """

    joined: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    rebooted: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class NodeTable:
    """All configured nodes, in the order of their ids."""

    def __init__(self, nodes: Iterable[tuple[int, str]], digest: Digest) -> None:
        self._digest = digest
        self._records = {
            name: NodeRecord(name, str(number), NodeHistory(name, digest)) for number, name in sorted(nodes)
        }

    def __getitem__(self, name: str) -> NodeRecord:
        return self._records[name]

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def use(self, nodes: Iterable[tuple[int, str]]) -> None:
        """Other nodes are configured: who stays keeps all that is known of it."""
        self._records = {
            name: self._records.get(name) or NodeRecord(name, str(number), NodeHistory(name, self._digest))
            for number, name in sorted(nodes)
        }

    def records(self) -> tuple[NodeRecord, ...]:
        """Every node."""
        return tuple(self._records.values())

    def members(self) -> tuple[str, ...]:
        """The names of the view's members."""
        return tuple(record.name for record in self._records.values() if record.member)

    def set_view(
        self,
        view: MembershipView,
        states: Mapping[str, tuple[NodeState, bool]],
        wall_s: int,
        *,
        apart: bool = False,
        runs: Mapping[str, int] = NO_RUNS,
    ) -> MembershipChange:
        """Take a view. `states`: of each node, and whether it left cleanly.

        `apart`: this node's partition had no quorum; another may have. `runs`: each node's latest that was in
        a view: a later one of a node that is not here means that it was with others, and is lost.
        """
        present: dict[str, Member] = {member.name: member for member in view.members}
        joined, gone, rebooted, left = [], [], [], []
        for record in self._records.values():
            member = present.get(record.name)
            state, clean = states.get(record.name, (NodeState.LOST, False))
            was_elsewhere = record.takes_run(runs.get(record.name, 0), state)
            record.barred = member is None and state is NodeState.BARRED
            record.doubted = record.doubted and member is None and state is NodeState.LEFT
            if member is None:
                has_left = clean and state is NodeState.LEFT and not record.doubted
                if record.member:
                    gone.append(record.name)
                    record.left_cleanly = has_left
                elif was_elsewhere and (record.left_cleanly or record.fenced) and not has_left:
                    gone.append(record.name)
                    self._doubt(record)
                elif has_left and not (record.left_cleanly or record.fenced):
                    # Its heartbeat said that it goes, and was faster than LEAVE, of which a copy may be lost;
                    # or it was stopped before it came into any view that we know of.
                    left.append(record.name)
                    record.seen = record.left_cleanly = True
                if record.lied and has_left:
                    record.lied, record.left_cleanly = False, True
                elif record.fenced and has_left:
                    record.fenced_by = ()  # it lived, and has stopped all it ran: it may return as it likes
                record.member_since_s = 0
                record.lrm_instance = record.crm_instance = 0
                continue
            if not record.member:
                joined.append(record.name)
                record.member_since_s = max(wall_s, 1)
                record.fenced = record.fenced and bool(record.fenced_by)
            if _another_boot(record.boot_token, member.boot_token):
                if record.boot_token:
                    rebooted.append(record.name)
                    self._forget_boot(record)
                record.boot_token = member.boot_token
            elif len(member.boot_token) > len(record.boot_token):
                record.boot_token = member.boot_token
            record.seen, record.left_cleanly = True, False
            record.lrm_instance, record.crm_instance = member.lrm_instance, member.crm_instance
        if apart and joined:
            self._doubt_the_absent()
        return MembershipChange(
            joined=tuple(joined), gone=tuple(gone), rebooted=tuple(rebooted), left=tuple(left)
        )

    def _doubt_the_absent(self) -> None:
        """They may have come back to others, and been lost by them: the last DC's status says what is so."""
        for record in self._records.values():
            if record.seen and not record.member:
                self._doubt(record)
                record.doubted = True

    def _doubt(self, record: NodeRecord) -> None:
        self._forget_boot(record)
        record.seen = record.left_cleanly = False

    def _forget_boot(self, record: NodeRecord) -> None:
        """A boot voids the journal and the transient attributes; the node has said so itself."""
        record.history = NodeHistory(record.name, self._digest)
        record.synced = record.fenced = record.lied = record.forgiven = False
        record.fenced_by = ()
        record.arriving = None
        record.attributes = {}
        record.unconfirmed = {}
        record.attributes_version = (0, 0)

    def set_fenced(self, name: str, by: tuple[str, ...] = ()) -> None:
        """It is certain that the node runs nothing, whatever it ran, because these say so.

        That holds for its boot: as long as it is a member in that boot it is no node to use (spec 6.5).
        Without anybody who said so it has left cleanly, and may return as it likes.
        """
        record = self._records[name]
        self._forget_boot(record)
        record.seen = record.left_cleanly = record.fenced = True
        record.fenced_by = by

    def still_there(self, name: str, boot_token: str) -> bool:
        """The node has had the time to fall silent. Says whether it has not: then it is anything but off."""
        record = self._records[name]
        if not record.heard_though_fenced or _another_boot(record.boot_token, boot_token):
            return False
        record.fenced = record.left_cleanly = False
        self.blame(name)
        return True

    def forgive(self, name: str) -> None:
        """An operator lets the node in, though it was said to be off: it is anything but that."""
        record = self._records[name]
        record.forgiven = record.lied or record.fenced
        record.lied = record.fenced = False

    def blame(self, name: str) -> None:
        """Whoever said that it is off has lied; until it is forgiven it is no node to use."""
        record = self._records[name]
        record.lied, record.forgiven = True, False

    def begin_sync(self, name: str) -> None:
        """The LRM's history is about to be told from the beginning; until it is whole the old one counts."""
        record = self._records[name]
        record.arriving = NodeHistory(name, self._digest)

    def synced(self, name: str) -> bool:
        """It is whole now. Says whether something differs from what was known."""
        record = self._records[name]
        assert record.arriving is not None, f"history of {name} ended before it began"
        before, record.history = record.history, record.arriving
        record.arriving = None
        record.synced = True
        return before.elements() != record.history.elements()

    def lost_sync(self, name: str) -> None:
        """The LRM cannot be heard: what is known may be old."""
        record = self._records[name]
        record.synced = False
        record.arriving = None

    def take(self, name: str, result: OperationResult, *, initial: bool) -> None:
        """A result, or the beginning of an operation, from a node's LRM."""
        record = self._records[name]
        history = record.arriving if initial and record.arriving is not None else record.history
        if result.status is ExecutionStatus.PENDING:
            history.begun(result)
        else:
            history.record(result)

    def forget(self, name: str, resource: str, action: str, interval_ms: int, *, failures_only: bool) -> bool:
        """A node's LRM has forgotten a resource, or a part of its history. Says whether that is news."""
        record = self._records[name]
        if record.arriving is not None:
            record.arriving.forget(resource, action, interval_ms, failures_only=failures_only)
        return record.history.forget(resource, action, interval_ms, failures_only=failures_only)

    def set_attributes(self, name: str, version: tuple[int, int], values: Mapping[str, str]) -> bool:
        """The attributes a node keeps, whole. An older version is ignored. Says whether something changed."""
        record = self._records[name]
        if version[0] == record.attributes_version[0] and version[1] < record.attributes_version[1]:
            return False
        record.attributes_version = version
        before = record.effective_attributes
        record.attributes = dict(values)
        return record.effective_attributes != before

    def change_attributes(self, name: str, changes: Mapping[str, str]) -> bool:
        """Change some (an empty value removes) until their keeper confirms. Says whether anything changed."""
        record = self._records[name]
        before = record.effective_attributes
        record.unconfirmed.update(changes)
        return record.effective_attributes != before

    def confirm_attributes(self, name: str, changes: Mapping[str, str]) -> None:
        """The keeper has these changes, and `set_attributes` was called with what it said."""
        record = self._records[name]
        for attribute, value in changes.items():
            if record.unconfirmed.get(attribute) == value:
                del record.unconfirmed[attribute]

    def adopt_status(self, status: Element, *, own: str = "") -> None:
        """Fill gaps from the last DC's status section: nodes we have heard nothing of.

        Transient attributes come from it for every node but our own, until their keepers say what they have:
        only the DC was told of changes.
        """
        for state in status.all("node_state"):
            record = self._records.get(state.get("uname"))
            if record is None or record.fenced or record.lied:
                continue  # what is certain is not taken back by what was said before
            doubted, said = record.boot_token and not record.seen, state.get(BOOT)
            if doubted and len(said) == 16 and _another_boot(record.boot_token, said):
                record.boot_token = said
            if record.name != own and _is_of(state, record):
                if by := state.get(FENCED_BY):
                    self.set_fenced(record.name, tuple(by.split()))
                    continue
                if liars := state.get(LIED):
                    record.lied, record.fenced_by = True, tuple(liars.split())
                if liars := state.get(FORGIVEN):
                    record.forgiven, record.fenced_by = True, tuple(liars.split())
            if record.name != own and (record.member or _is_of(state, record)):
                record.attributes = _attributes_of(state)
            if record.synced:
                continue
            if not record.member and _is_down(state, record):
                self.set_fenced(record.name)
                continue
            resources = state.path("lrm", "lrm_resources")
            if resources is not None:
                record.history.adopt(resources.all("lrm_resource"))
            if not record.seen:
                record.seen = True
                record.left_cleanly = state.get("expected") == "down"

    def facts(self, configuration: Element) -> tuple[NodeFacts, ...]:
        """What the status section says, with the ids that the configuration gives the nodes."""
        ids = node_ids(configuration)
        return tuple(
            self._facts(record, ids.get(record.name, record.default_id))
            for record in self._records.values()
            if record.seen
        )

    @staticmethod
    def _facts(record: NodeRecord, node_id: str) -> NodeFacts:
        usable = record.member and not (record.given_up or record.fenced or record.lied)
        return NodeFacts(
            id=node_id,
            name=record.name,
            boot_token=record.boot_token,
            member_since_s=0 if record.fenced else record.member_since_s,
            online_since_s=record.member_since_s if usable else 0,
            join=Join.MEMBER if usable else Join.DOWN,
            expected_up=not (record.left_cleanly or record.fenced),
            held=record.held and usable,
            fenced_by=record.fenced_by,
            lied=record.lied,
            forgiven=record.forgiven,
            attributes=dict(record.effective_attributes) if record.member else {},
            resources=record.history.elements(),
        )


def node_ids(configuration: Element) -> dict[str, str]:
    """uname -> id of the nodes in a configuration."""
    nodes = configuration.child("nodes")
    return {node.get("uname"): node.id for node in nodes.all("node")} if nodes is not None else {}


def with_nodes(configuration: Element, nodes: Iterable[tuple[str, str]]) -> Element:
    """The configuration with a `<node>` for each (id, name) it lacks; the same object when it lacks none.

    An id that another node of the configuration has already is not given twice.
    """
    known = node_ids(configuration)
    taken = set(known.values())
    missing = [(number, name) for number, name in nodes if name not in known and number not in taken]
    if not missing:
        return configuration
    section = configuration.child("nodes") or Element("nodes")
    added = tuple(Element("node", {"id": number, "uname": name}) for number, name in missing)
    section = section.with_children((*section.children, *added))
    if configuration.child("nodes") is not None:
        return configuration.with_child(section)
    return configuration.with_children(_inserted(configuration.children, section))


def _inserted(children: tuple[Element, ...], section: Element) -> tuple[Element, ...]:
    """<nodes> stands after <crm_config>."""
    at = next((n + 1 for n, child in enumerate(children) if child.tag == "crm_config"), 0)
    return (*children[:at], section, *children[at:])


def _is_down(state: Element, record: NodeRecord) -> bool:
    """Whether the last DC was certain that the boot of the node that we know runs nothing."""
    return state.get("expected") == "down" and _is_of(state, record)


def _is_of(state: Element, record: NodeRecord) -> bool:
    """Whether what is said is about the boot of the node that we know, if we know any."""
    known, said = record.boot_token if record.seen else "", state.get(BOOT)
    return len(said) == 16 and (not known or known[:16] == said)


def _attributes_of(state: Element) -> dict[str, str]:
    outer = state.child("transient_attributes")
    if outer is None:
        return {}
    return {
        pair.get("name"): pair.get("value")
        for group in outer.all("instance_attributes")
        for pair in group.all("nvpair")
    }


def _another_boot(known: str, heard: str) -> bool:
    """Whether these name different boots; of a token perhaps only the first 16 digits are known."""
    length = min(len(known), len(heard))
    return not known or (length >= 16 and known[:length] != heard[:length])
