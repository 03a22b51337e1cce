"""Nodes: who there is, and what each one's state is (online, clean, pending, in standby, ...).

Remote nodes come from connection resources; guest nodes from resources with meta attribute remote-node.
"""

from __future__ import annotations

import re

from crm.cib.model import Element, element
from crm.scheduler import scores, values
from crm.scheduler.actions import request_fencing
from crm.scheduler.model import Node, NodeKind, WorkingSet
from crm.scheduler.operations import rule_context
from crm.scheduler.options import NoQuorum
from crm.scheduler.rules import merge_sets
from crm.scheduler.scores import INFINITY

_NUMBER = re.compile(r"\s*[+-]?\d+\s*$")


def add_node(work: WorkingSet, node: Node) -> Node:
    """Put a node in the list, which stays sorted by name."""
    work.nodes.append(node)
    work.nodes.sort(key=lambda one: values.natural_sort_key(one.name))
    work.nodes_by_id[node.id] = node
    work.nodes_by_name[node.name] = node
    if node.kind is not NodeKind.CLUSTER:
        work.have_remote_nodes = True
    return node


def unpack_nodes(work: WorkingSet) -> None:
    """Read <nodes>; then add the remote and guest nodes that resources imply."""
    section = work.cib.path("configuration", "nodes")
    dc_id = work.cib.attributes.get("dc-uuid")
    for item in section.all("node") if section is not None else ():
        kind = item.get("type", "member")
        name = item.get("uname")
        if kind not in {"member", "remote"}:
            break
        if not item.id or not name or item.id in work.nodes_by_id or name in work.nodes_by_name:
            continue
        node = Node(
            id=item.id,
            name=name,
            kind=NodeKind.REMOTE if kind == "remote" else NodeKind.CLUSTER,
            score=scores.parse(item.attributes.get("score")),
            element=item,
        )
        if node.kind is NodeKind.CLUSTER:
            node.unclean = work.options.startup_fencing
            if item.id == dc_id:
                node.is_dc = True
                work.dc = node
        _permanent_attributes(work, node)
        add_node(work, node)


def _permanent_attributes(work: WorkingSet, node: Node) -> None:
    built_in_attributes(work, node)
    if node.element is None:
        return
    context = rule_context(work, node=node)
    permanent: dict[str, str] = {}
    merge_sets(permanent, node.element, "instance_attributes", context, work.elements)
    node.attributes.update(permanent)
    site = permanent.get("site-name") or work.options.cluster_name
    if site:
        node.attributes["#site-name"] = site
    amounts: dict[str, str] = {}
    merge_sets(amounts, node.element, "utilization", context, work.elements)
    node.utilization = {name: values.integer(value) for name, value in amounts.items()}


_KIND_NAMES = {NodeKind.CLUSTER: "cluster", NodeKind.REMOTE: "remote", NodeKind.GUEST: "container"}


def built_in_attributes(work: WorkingSet, node: Node) -> None:
    """What rules can ask about a node without any attribute having been set."""
    node.attributes["#uname"] = node.name
    node.attributes["#id"] = node.id
    node.attributes["#kind"] = _KIND_NAMES[node.kind]
    node.attributes["#is_dc"] = "true" if node.is_dc else "false"
    if work.options.cluster_name:
        node.attributes["#cluster-name"] = work.options.cluster_name
        node.attributes.setdefault("#site-name", work.options.cluster_name)


def create_remote_node(work: WorkingSet, name: str, kind: NodeKind) -> Node:
    """The node of a connection; it may be in <nodes> already.

    One that is not has no attribute but #kind until its state has been read: rules about #uname, #id,
    #site-name, #cluster-name and #is_dc do not hold for it (as in the reference).
    """
    node = work.nodes_by_name.get(name) or work.nodes_by_id.get(name)
    if node is None:
        node = Node(id=name, name=name, kind=kind, attributes={"#kind": _KIND_NAMES[kind]})
        add_node(work, node)
    elif node.kind is NodeKind.REMOTE and kind is NodeKind.GUEST:
        node.kind = kind
        node.attributes["#kind"] = "container"
    return node


def implied_connections(work: WorkingSet, resources: tuple[Element, ...]) -> list[Element]:
    """Create remote and guest nodes; the connection resources that guests imply are returned."""
    implied: list[Element] = []
    taken = {item.id for item in resources}
    for item in resources:
        if item.tag == "primitive":
            if _is_remote_agent(item):
                create_remote_node(work, item.id, NodeKind.REMOTE)
                continue
            _imply_guest(work, item, taken, implied)
        elif item.tag == "group":
            for member in item.all("primitive"):
                _imply_guest(work, member, taken, implied)
    return implied


def _is_remote_agent(item: Element) -> bool:
    return item.get("class") == "ocf" and item.get("provider") == "pacemaker" and item.get("type") == "remote"


def _imply_guest(work: WorkingSet, item: Element, taken: set[str], implied: list[Element]) -> None:
    given: dict[str, str] = {}
    for one in item.all("meta_attributes"):
        for pair in one.all("nvpair"):
            given.setdefault(pair.get("name"), pair.get("value"))
    name = given.get("remote-node")
    if not name or name in taken:
        return
    taken.add(name)
    implied.append(
        remote_connection(
            name,
            item.id,
            managed=given.get("is-managed"),
            migratable=given.get("remote-allow-migrate"),
            address=given.get("remote-addr"),
            port=given.get("remote-port"),
            connect_timeout=given.get("remote-connect-timeout") or "60s",
        )
    )
    create_remote_node(work, name, NodeKind.GUEST)


def remote_connection(
    name: str,
    container: str,
    *,
    managed: str | None = None,
    migratable: str | None = None,
    address: str | None = None,
    port: str | None = None,
    connect_timeout: str | None = "60s",
) -> Element:
    """The implicit connection resource of a guest or (without a start timeout) of a bundle node."""
    meta = {"internal_rsc": "true", "container": container}
    if migratable is not None:
        meta["allow-migrate"] = migratable
    if managed is not None:
        meta["is-managed"] = managed
    parameters = {key: value for key, value in (("addr", address), ("port", port)) if value is not None}
    starts: tuple[Element, ...] = ()
    if connect_timeout is not None:
        start = {"name": "start", "interval": "0", "timeout": connect_timeout}
        starts = (element("op", {"id": f"{name}-start-interval-0", **start}),)
    children = [
        nvpairs("meta_attributes", f"{name}-meta_attributes", meta),
        element(
            "operations",
            {},
            element(
                "op",
                {
                    "id": f"{name}-monitor-interval-30s",
                    "name": "monitor",
                    "interval": "30s",
                    "timeout": "30s",
                },
            ),
            *starts,
        ),
    ]
    if parameters:
        children.append(nvpairs("instance_attributes", f"{name}-instance_attributes", parameters))
    return element(
        "primitive",
        {"id": name, "class": "ocf", "provider": "pacemaker", "type": "remote"},
        *children,
    )


def nvpairs(tag: str, identifier: str, pairs: dict[str, str]) -> Element:
    """A set of nvpairs as an element."""
    return element(
        tag,
        {"id": identifier},
        *(
            element("nvpair", {"id": f"{identifier}-{name}", "name": name, "value": value})
            for name, value in pairs.items()
        ),
    )


# --- node_state


def find_state_node(work: WorkingSet, item: Element) -> Node | None:
    """The node a <node_state> is about: by id, then by name."""
    node = work.nodes_by_id.get(item.id)
    if node is None:
        node = work.nodes_by_name.get(item.get("uname"))
    return node


def read_transient_attributes(work: WorkingSet, node: Node, item: Element) -> None:
    """Transient attributes overwrite permanent ones."""
    transient: dict[str, str] = {}
    merge_sets(
        transient,
        item.child("transient_attributes"),
        "instance_attributes",
        rule_context(work, node=node),
        work.elements,
    )
    node.attributes.update(transient)
    amounts: dict[str, str] = {}
    merge_sets(
        amounts,
        item.child("transient_attributes"),
        "utilization",
        rule_context(work, node=node),
        work.elements,
    )
    node.utilization.update({name: values.integer(value) for name, value in amounts.items()})


def unpack_node_state(work: WorkingSet, item: Element) -> None:
    """The first look at a <node_state>: decides whether a cluster node is online and clean."""
    node = find_state_node(work, item)
    if node is None:
        return
    node.state = node.state or item
    if node.is_guest_or_remote:
        node.remote_was_fenced = values.is_true(item.attributes.get("node_fenced"))
        return
    read_transient_attributes(work, node, item)
    node.unclean = False
    node.unseen = False
    node.standby = node.standby or values.is_true(node.attributes.get("standby"))
    node.maintenance = node.maintenance or values.is_true(node.attributes.get("maintenance"))
    _online_status(work, node, item)
    if work.options.no_quorum is NoQuorum.FENCE and node.online and not work.have_quorum:
        request_fencing(work, node, "cluster does not have quorum")


def _online_status(work: WorkingSet, node: Node, item: Element) -> None:
    shutdown = node.attributes.get("shutdown")
    requested = shutdown is not None and shutdown != "0"
    if requested:
        node.shutdown = True
    else:
        node.expected_up = item.get("expected") == "member"
    if work.options.fencing_enabled:
        node.online = _online_with_fencing(work, node, item, shutdown_requested=requested)
    else:
        node.online = _online_without_fencing(work, node, item)
    if not node.online or node.shutdown:
        node.score = -INFINITY


def _since(text: str | None, now_s: int, missing: int) -> int:
    """A time in node_state: a boolean (true = now, false = 0) or a number; malformed or missing as given."""
    if text is None:
        return missing
    truth = values.boolean(text)
    if truth is not None:
        return now_s if truth else 0
    return values.integer(text) if _NUMBER.match(text) else missing


def _process_since(text: str | None) -> int:
    if text == "online":
        return 1
    if text in {None, "offline"}:
        return 0
    assert text is not None
    return values.integer(text) if _NUMBER.match(text) else 0


def _online_without_fencing(work: WorkingSet, node: Node, item: Element) -> bool:
    member = _since(item.attributes.get("in_ccm"), work.now_s, -1)
    process = _process_since(item.attributes.get("crmd"))
    if member > 0:
        if process > 0:
            return item.get("join") == "member"
        if node.expected_up:
            request_fencing(work, node, "peer is unexpectedly down")
    return False


def _online_with_fencing(work: WorkingSet, node: Node, item: Element, *, shutdown_requested: bool) -> bool:
    since = _since(item.attributes.get("in_ccm"), work.now_s, -1)
    process = _process_since(item.attributes.get("crmd"))
    join = item.get("join", "down")
    expected = item.get("expected", "down")
    member = since > 0
    terminate = node.attributes.get("terminate")
    wanted = values.is_true(terminate) or (terminate is not None and values.integer(terminate) > 0)
    if shutdown_requested:
        return process > 0
    if since < 0:
        request_fencing(work, node, "peer has not been seen by the cluster")
    elif join == "nack":
        request_fencing(work, node, "peer failed Pacemaker membership criteria")
    elif wanted:
        if not (not member and process <= 0 and join == "down"):
            request_fencing(work, node, "fencing was requested")
    elif expected == "down":
        _expected_down(work, node, since=since, process=process)
    elif not member:
        request_fencing(work, node, "peer is no longer part of the cluster", priority_delay=True)
    elif process <= 0:
        request_fencing(work, node, "peer process is no longer available")
    elif join == "member":
        pass
    elif join in {"pending", "down"}:
        node.pending = node.standby = True
    else:
        request_fencing(work, node, "peer was in an unknown state")
    return member


def _expected_down(work: WorkingSet, node: Node, *, since: int, process: int) -> None:
    limit = work.options.node_pending_timeout_s
    waiting = limit > 0 and since > 1 and process <= 0
    if waiting and work.now_s >= since + limit:
        request_fencing(work, node, "peer pending timed out on joining the process group")
        return
    if waiting:
        work.recheck(since + limit)
    if since > 0 or process > 0:
        node.pending = node.standby = True
