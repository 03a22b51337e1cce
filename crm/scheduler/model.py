"""The working set of one scheduler run: nodes, resources, actions, relations. Mutable, the run's own.

What the status text needs is here too: after `pipeline.unpack` the current state, after
`pipeline.schedule` the actions with their reasons. Names follow Pacemaker's vocabulary. No repr is made:
everything here refers to everything else, and making the methods is a tenth of the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from crm.cib.model import Element
from crm.scheduler import scores
from crm.scheduler.kinds import MultipleActive as MultipleActive
from crm.scheduler.kinds import Needs as Needs
from crm.scheduler.kinds import NodeKind as NodeKind
from crm.scheduler.kinds import OnFail as OnFail
from crm.scheduler.kinds import ProbeMode as ProbeMode
from crm.scheduler.kinds import Rel as Rel
from crm.scheduler.kinds import Role as Role
from crm.scheduler.kinds import Status as Status
from crm.scheduler.kinds import Variant as Variant
from crm.scheduler.readings import Readings
from crm.scheduler.scores import INFINITY, Why
from hacluster.records import field, record

if TYPE_CHECKING:
    from crm.scheduler.options import Options
    from crm.scheduler.rules import Elements


@record()
class Node:
    """A node of the cluster; every resource's table refers to this one object through an `Entry`."""

    id: str
    name: str
    kind: NodeKind = NodeKind.CLUSTER
    score: int = 0  # the node's own score; -INFINITY while offline; copied when a table entry is made
    element: Element | None = None  # its <node>
    online: bool = False
    pending: bool = False
    standby: bool = False
    standby_on_fail: bool = False
    maintenance: bool = False
    unclean: bool = False
    unseen: bool = True
    shutdown: bool = False
    expected_up: bool = False
    is_dc: bool = False
    remote_reset: bool = False  # a guest or remote node that has to be fenced or restarted
    remote_was_fenced: bool = False
    remote_maintenance_known: bool = False  # node_in_maintenance as the LRM there last heard it
    unpacked: bool = False  # its history has been read
    health: int = 0
    probe_mode: ProbeMode = ProbeMode.ALWAYS  # copied when a table entry is made
    discovery_disabled: bool = False
    attributes: dict[str, str] = field(default_factory=dict)  # permanent, overwritten by transient ones
    utilization: dict[str, int] = field(default_factory=dict)  # remaining capacity
    connection: Resource | None = None  # of a remote or guest node
    state: Element | None = None  # its <node_state>
    running: list[Resource] = field(default_factory=list)  # primitives and collectives active here
    assigned: list[Resource] = field(default_factory=list)
    assigned_count: int = 0
    priority: int = 0  # sum over its active resources, for priority-fencing-delay

    @property
    def is_guest_or_remote(self) -> bool:
        """True for nodes reached through a connection resource."""
        return self.kind is not NodeKind.CLUSTER

    @property
    def launcher(self) -> Resource | None:
        """For guests: the resource that starts the machine the node lives in."""
        return self.connection.launcher if self.connection is not None else None


@record()
class Entry:
    """A node as one resource sees it."""

    node: Node
    score: int = 0
    count: int = 0  # instances assigned there, kept in the table of their collective
    probe_mode: ProbeMode = ProbeMode.ALWAYS
    why: Why | None = None

    def add(self, score: int, kind: str, origin: str) -> None:
        """Add to the score and remember the rule and the id it came from."""
        self.score = scores.add(self.score, score)
        if score:
            self.why = (score, kind, origin, self.why)

    def forbid(self, kind: str, origin: str) -> None:
        """`add` of -INFINITY."""
        self.score = -INFINITY
        self.why = (-INFINITY, kind, origin, self.why)

    def replace(self, score: int, kind: str, origin: str) -> None:
        """Set the score; what was there before counts no more."""
        self.score = score
        self.why = (score, kind, origin, None)

    def copy(self) -> Entry:
        """An independent copy."""
        return Entry(self.node, self.score, self.count, self.probe_mode, self.why)


Table = dict[str, Entry]  # by node id


@record()
class Operation:
    """A configured <op>."""

    id: str
    name: str
    interval_ms: int
    element: Element
    enabled: bool
    role: str  # as written, "" when missing


@record()
class Replica:
    """One copy of a bundle: its container and what goes with it."""

    number: int
    container: Resource
    address: str = ""
    ip: Resource | None = None
    connection: Resource | None = None
    child: Resource | None = None  # the inner instance
    node: Node | None = None  # the bundle node


@record()
class BundleData:
    """What a <bundle> says beyond its resources."""

    runtime: str  # "docker" or "podman"
    image: str
    replicas_max: int
    per_host: int
    promoted_max: int
    replicas: list[Replica] = field(default_factory=list)
    child: Resource | None = None  # the inner clone
    network: dict[str, str] = field(default_factory=dict)
    mounts: list[tuple[str, str, str, bool]] = field(
        default_factory=list
    )  # source, target, options, per replica
    ports: list[tuple[str, str]] = field(default_factory=list)
    run_command: str = ""
    options: str | None = None
    add_host: bool = True


@record()
class TicketUse:
    """A role of a resource that needs a ticket."""

    ticket: Ticket
    role: Role


@record()
class Resource:
    """A primitive, group, clone or bundle, or an instance or member of one."""

    id: str
    variant: Variant
    element: Element  # with its template merged in
    parent: Resource | None = None
    children: list[Resource] = field(default_factory=list)
    agent_class: str = ""
    provider: str = ""
    agent_type: str = ""
    meta: dict[str, str] = field(default_factory=dict)
    explicit_meta: dict[str, str] = field(default_factory=dict)  # from its own meta_attributes only
    history_id: str | None = None  # name in the history when it differs from the id
    operations: list[Operation] = field(default_factory=list)
    parameters: dict[str, dict[str, str]] = field(default_factory=dict)  # cache, by node id ("" = no node)
    utilization: dict[str, int] = field(default_factory=dict)
    # configuration
    priority: int = 0
    stickiness: int = 0
    migration_threshold: int = INFINITY
    failure_timeout_ms: int = 0
    reconnect_interval_ms: int = 0
    multiple_active: MultipleActive = MultipleActive.STOP_START
    managed: bool = True
    maintenance: bool = False
    blocked: bool = False
    removed: bool = False  # "orphan": in the history, not in the configuration (or a surplus instance)
    unique: bool = True
    notify: bool = False
    critical: bool = True
    promotable: bool = False
    ordered: bool = True  # group, clone
    colocated: bool = True  # group
    interleave: bool = False
    clone_max: int = 0
    clone_node_max: int = 1
    promoted_max: int = 0
    promoted_node_max: int = 0
    clone_min: int = 0
    instance_number: int = -1  # of an instance of a clone
    child_element: Element | None = None  # what a clone makes instances of
    is_fence_device: bool = False
    is_remote_connection: bool = False
    migratable: bool = False  # allow-migrate, and nothing known against it
    needs_quorum: bool = False
    needs_fencing: bool = False
    needs_unfencing: bool = False
    exclusive_probes: bool = False
    remote_nesting_allowed: bool = False
    bundle: BundleData | None = None
    replica: Replica | None = None  # the replica a container, IP, connection or inner instance belongs to
    launcher: Resource | None = None  # the resource that starts the one this lives in
    launched: list[Resource] = field(default_factory=list)
    container_id: str = ""  # of leftovers: the id of the launcher named in the history
    # state
    orig_role: Role = Role.STOPPED
    next_role: Role = Role.UNKNOWN
    active_nodes: list[Node] = field(default_factory=list)
    probed_nodes: dict[str, Node] = field(default_factory=dict)
    failed: bool = False
    stop_if_failed: bool = False
    failure_ignored: bool = False
    start_pending: bool = False
    reload: bool = False
    restarting: bool = False
    stop_unexpected: bool = False
    pending_task: str = ""  # first pending action that is no probe
    pending_node: Node | None = None
    pending_interval_ms: int = 0
    dangling_sources: list[Node] = field(default_factory=list)
    partial_source: Node | None = None
    partial_target: Node | None = None
    lock_node: Node | None = None
    lock_time: int = 0
    # placement
    allowed: Table = field(default_factory=dict)
    assigned: Entry | None = None
    tie: tuple[str, int, str, int] | None = None  # the two best, equal in score, and what each had assigned
    unassigned: bool = True  # not yet decided; decided for "no node" is unassigned=False, assigned=None
    assigning: bool = False
    updating_nodes: bool = False
    locations: list[Location] = field(default_factory=list)  # newest last
    this_with: list[Colocation] = field(default_factory=list)
    with_this: list[Colocation] = field(default_factory=list)
    tickets: list[TicketUse] = field(default_factory=list)
    promotion_priority: int = 0
    promotion_added: bool = False
    promotion_sorted: bool = False
    setting_roles: bool = False  # a promotable clone that is choosing its promoted instances
    # actions, oldest first; "newest first" is reversed()
    actions: list[Action] = field(default_factory=list)
    actions_by_key: dict[str, list[Action]] = field(default_factory=dict)
    actions_by_task: dict[str, list[Action]] = field(default_factory=dict)
    operation_meta: dict[tuple[str, int], dict[str, str]] = field(default_factory=dict)  # cache

    @property
    def assigned_node(self) -> Node | None:
        """The node it will run on, None where nowhere or not decided."""
        return self.assigned.node if self.assigned is not None else None

    @property
    def is_primitive(self) -> bool:
        """True for what has an agent of its own."""
        return self.variant is Variant.PRIMITIVE

    @property
    def is_clone(self) -> bool:
        """True for clones, not for bundles."""
        return self.variant is Variant.CLONE

    def top(self, *, including_bundle: bool = False) -> Resource:
        """The outermost ancestor, stopping below a bundle unless told otherwise."""
        here = self
        while here.parent is not None and (including_bundle or here.parent.variant is not Variant.BUNDLE):
            here = here.parent
        return here

    def is_in_bundle(self) -> bool:
        """True for every part of a bundle."""
        return self.parent is not None and self.top(including_bundle=True).variant is Variant.BUNDLE

    def primitives(self) -> Iterator[Resource]:
        """Itself or all primitives below it, depth first."""
        if self.variant is Variant.PRIMITIVE:
            yield self
        for child in self.children:
            yield from child.primitives()

    def walk(self) -> Iterator[Resource]:
        """Itself and everything below it, depth first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def is_ancestor_of(self, other: Resource) -> bool:
        """True if `other` lies below this resource."""
        here = other.parent
        while here is not None:
            if here is self:
                return True
            here = here.parent
        return False

    @property
    def class_agent(self) -> str:
        """CLASS:PROVIDER:TYPE or CLASS:TYPE."""
        if self.provider:
            return f"{self.agent_class}:{self.provider}:{self.agent_type}"
        return f"{self.agent_class}:{self.agent_type}"


@record()
class Link:
    """One side of a pair of related actions: the other action and what their relation does."""

    action: Action
    flags: int


@record()
class Action:
    """Something to do, or a mere point in time (pseudo). Found again by key and node, never made twice."""

    id: int
    key: str  # RSC_TASK_INTERVALms, stonith-NODE-ACTION, do_shutdown-NODE, ...
    task: str
    node: Node | None
    resource: Resource | None
    interval_ms: int = 0
    operation: Operation | None = None
    meta: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)  # the op's own instance_attributes
    reason: str = ""
    priority: int = 0
    needs: Needs = Needs.NOTHING
    optional: bool = True
    runnable: bool = True
    pseudo: bool = False
    always_in_graph: bool = False
    migratable: bool = False
    migration_abort: bool = False
    reschedule: bool = False
    on_dc: bool = False
    in_graph: bool = False
    cancel_task: str = ""
    runnable_before: int = 0
    required_runnable_before: int = 0
    before: list[Link] = field(default_factory=list)  # oldest first
    after: list[Link] = field(default_factory=list)  # oldest first
    after_flags: dict[int, int] = field(default_factory=dict)  # by then-action id: union of flags ever added


@record()
class Ordering:
    """A relation between two actions, or keys of actions, not yet resolved into pairs of actions."""

    first_resource: Resource | None
    first_key: str
    first_action: Action | None
    then_resource: Resource | None
    then_key: str
    then_action: Action | None
    flags: int


@record()
class Colocation:
    """Dependent with primary."""

    id: str
    dependent: Resource
    primary: Resource
    score: int
    dependent_role: Role = Role.UNKNOWN  # unknown = any
    primary_role: Role = Role.UNKNOWN
    attribute: str = "#uname"
    influence: bool = True
    explicit: bool = False


@record()
class Location:
    """A resource prefers or avoids nodes; scores by node in the order the rule met them."""

    id: str
    resource: Resource
    role: Role
    probe_mode: ProbeMode
    scores: list[tuple[Node, int]]
    kind: str = "location"  # kind of reason


@record()
class Ticket:
    """A ticket's state."""

    id: str
    granted: bool = False
    standby: bool = False


@record()
class FailedOperation:
    """A history entry shown among the failed actions."""

    resource: Resource
    node: Node
    key: str
    element: Element
    task: str
    rc: int
    masked_probe: bool = False  # a probe's "not installed" and the like that counts as not running


@record()
class FailCounts:
    """The failures a node's attributes tell of: (count, time of the last) by resource name."""

    exact: dict[str, tuple[int, int]] = field(default_factory=dict)
    without_number: dict[str, tuple[int, int]] = field(default_factory=dict)


@record()
class ParameterCheck:
    """A history entry whose parameters can be compared only once containers are assigned."""

    resource: Resource
    node: Node
    element: Element
    failed: (
        bool  # a failure whose fail count is cleared if the parameters changed; else a change of definition
    )


@record()
class NotificationPoints:
    """The four points in time of one kind of notification."""

    task: str
    pre: Action | None = None
    pre_done: Action | None = None
    post: Action | None = None
    post_done: Action | None = None


@record(frozen=True, kw_only=True)
class Digests:
    """Digests of an operation's parameters as they are now; of those that force a restart if asked for."""

    all: str
    restart: str | None
    secure: str
    has_own: bool  # the operation adds parameters of its own


@record()
class RecordedScores:
    """Scores as they were at a moment; they are many, and become lines of text only where one asks."""

    head: str
    nodes: tuple[str, ...]  # names, shared by all that have the same
    scores: list[int]


@record()
class WorkingSet:
    """Everything one run knows."""

    cib: Element
    now_s: int
    options: Options
    elements: Elements  # finds what id-ref names
    nodes: list[Node] = field(default_factory=list)  # by name
    nodes_by_id: dict[str, Node] = field(default_factory=dict)
    nodes_by_name: dict[str, Node] = field(default_factory=dict)
    resources: list[Resource] = field(default_factory=list)  # top level, by priority
    resources_by_id: dict[str, Resource] = field(default_factory=dict)
    tags: dict[str, list[str]] = field(default_factory=dict)
    templates: dict[str, list[str]] = field(default_factory=dict)  # template id -> ids of its resources
    tickets: dict[str, Ticket] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)  # oldest first
    actions_by_key: dict[str, list[Action]] = field(default_factory=dict)
    orderings: list[Ordering] = field(default_factory=list)
    colocations: list[Colocation] = field(default_factory=list)
    locations: list[Location] = field(default_factory=list)  # oldest first
    failed_operations: list[FailedOperation] = field(default_factory=list)
    stop_needed: list[Resource] = field(default_factory=list)  # containers of failed connections
    scores: list[RecordedScores] = field(default_factory=list)  # as they were when it was decided
    recorded_names: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)  # each once
    utilization_lines: list[str] = field(default_factory=list)
    recheck_by_s: int = 0  # 0 = nothing to recheck
    next_action_id: int = 1
    have_quorum: bool = False
    have_fencing: bool = False
    unfencing_in_use: bool = False
    have_remote_nodes: bool = False
    dc: Node | None = None
    sanitized: bool = False  # private parameters are blanked: a change of them alone does not count
    history_ids: dict[str, Resource] = field(default_factory=dict)  # first resource with that history_id
    histories: dict[tuple[str, str], Element] = field(default_factory=dict)  # (node name, id): lrm_resource
    digests: dict[tuple[str, str, str, int], Digests] = field(default_factory=dict)  # node, resource, op
    readings: Readings = field(default_factory=Readings)
    pretended_changed: set[int] = field(default_factory=set)  # id() of entries to be run again
    fail_counts: dict[str, FailCounts] = field(default_factory=dict)  # by node id
    parameter_checks: list[ParameterCheck] = field(default_factory=list)  # after assignment
    notifications: dict[str, dict[str, NotificationPoints]] = field(default_factory=dict)  # by clone, task
    maintenance_changed: list[Node] = field(default_factory=list)
    rsc_defaults: Element | None = None
    op_defaults: Element | None = None

    def score_lines(self) -> tuple[str, ...]:
        """The scores that were written down, as simulations show them."""
        return tuple(
            f"{one.head}{name}: {scores.render(score)}"
            for one in self.scores
            for name, score in zip(one.nodes, one.scores, strict=True)
        )

    def recheck(self, at_s: int) -> None:
        """Something changes by itself at this time (seconds since 1970)."""
        if at_s > self.now_s and (self.recheck_by_s == 0 or at_s < self.recheck_by_s):
            self.recheck_by_s = at_s

    def all_resources(self) -> Iterator[Resource]:
        """Every resource, depth first in list order."""
        for resource in self.resources:
            yield from resource.walk()
