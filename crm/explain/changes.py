"""Changes of a CIB as `hacli` commands make them: what to try, with the command that does it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from crm.cib.model import Element, element
from crm.scheduler.failures import fail_count
from crm.scheduler.model import Node, NodeKind, Resource, Variant, WorkingSet
from crm.scheduler.pipeline import unpack
from crm.scheduler.scores import Why
from crm.simulation.inject import with_option
from crm.simulation.status_edit import StatusEdit

_STANDBY: Final = ("standby",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A command and what it does to the CIB."""

    command: str
    apply: Callable[[Element], Element]


def edited(root: Element, change: Callable[[Element], Element | None]) -> Element:
    """The tree with `change` applied to every element below the root, leaves first; None removes."""

    def one(item: Element) -> Element | None:
        return change(item.mapped(one))

    return root.mapped(one)


def _without_pairs(cib: Element, holders: tuple[str, ...], owner: str, names: tuple[str, ...]) -> Element:
    """Remove name/value pairs from sets below the element with that id or uname."""

    def change(item: Element) -> Element:
        if item.tag in holders and owner in (item.id, item.get("uname")):
            return edited(
                item, lambda pair: None if pair.tag == "nvpair" and pair.get("name") in names else pair
            )
        return item

    return edited(cib, change)


def _node_pairs_removed(node: Node, names: tuple[str, ...]) -> Callable[[Element], Element]:
    def apply(cib: Element) -> Element:
        cib = _without_pairs(cib, ("node",), node.id, names)
        return _without_pairs(cib, ("node_state",), node.id, names)

    return apply


def _meta(resource_id: str, name: str, value: str) -> Callable[[Element], Element]:
    plain = resource_id.partition(":")[0]

    def change(item: Element) -> Element:
        if item.id != plain or item.tag not in {"primitive", "group", "clone", "master", "bundle"}:
            return item
        kept = [
            part.mapped(lambda pair: None if pair.get("name") == name else pair)
            if part.tag == "meta_attributes"
            else part
            for part in item.children
        ]
        pair = element("nvpair", {"id": f"{plain}-why-{name}", "name": name, "value": value})
        made = element("meta_attributes", {"id": f"{plain}-why", "score": "1000000"}, pair)
        return item.with_children((*kept, made))

    return lambda cib: edited(cib, change)


def without_element(identifier: str) -> Callable[[Element], Element]:
    """Remove what has this id from the constraints."""

    def apply(cib: Element) -> Element:
        configuration = cib.child("configuration")
        constraints = configuration.child("constraints") if configuration is not None else None
        if configuration is None or constraints is None:
            return cib
        kept = constraints.mapped(lambda one: None if one.id == identifier else one)
        return cib.with_child(configuration.with_child(kept))

    return apply


def _cleaned(resource_id: str, node: Node | None) -> Callable[[Element], Element]:
    """Failures of a resource forgotten: fail counts, and the history of what failed."""
    plain = resource_id.partition(":")[0]
    count = re.compile(rf"(fail-count|last-failure)-{re.escape(plain)}(:\d+)?#")

    def forget(item: Element) -> Element | None:
        if item.tag == "nvpair" and count.match(item.get("name")):
            return None
        if item.tag != "lrm_resource" or item.id.partition(":")[0] != plain:
            return item
        kept = item.mapped(lambda one: None if _failed(one) else one)
        return kept if kept.children else None

    def apply(cib: Element) -> Element:
        def state(item: Element) -> Element:
            if item.tag == "node_state" and (
                node is None or node.id == item.id or node.name == item.get("uname")
            ):
                return edited(item, forget)
            return item

        return edited(cib, state)

    return apply


def _failed(entry: Element) -> bool:
    if entry.tag != "lrm_rsc_op":
        return False
    if entry.id.endswith("_last_failure_0"):
        return True
    key = entry.get("transition-key").split(":")
    expected = key[2] if len(key) > 2 else "0"
    return entry.get("op-status", "0") not in ("0", "-1") or entry.get("rc-code", "0") not in (expected, "0")


def _preferred(resource_id: str, node: str) -> Callable[[Element], Element]:
    plain = resource_id.partition(":")[0]
    gone = {f"cli-ban-{plain}-on-{node}", f"cli-prefer-{plain}"}

    def apply(cib: Element) -> Element:
        configuration = cib.child("configuration") or element("configuration")
        constraints = configuration.child("constraints") or element("constraints")
        made = {
            "id": f"cli-prefer-{plain}",
            "rsc": plain,
            "role": "Started",
            "node": node,
            "score": "INFINITY",
        }
        kept = constraints.mapped(lambda one: None if one.id in gone else one)
        return cib.with_child(configuration.with_child(kept.with_child(element("rsc_location", made))))

    return apply


def _banned(resource_id: str, node: str) -> Callable[[Element], Element]:
    plain = resource_id.partition(":")[0]

    def apply(cib: Element) -> Element:
        configuration = cib.child("configuration") or element("configuration")
        constraints = configuration.child("constraints") or element("constraints")
        made = {
            "id": f"cli-ban-{plain}-on-{node}",
            "rsc": plain,
            "role": "Started",
            "node": node,
            "score": "-INFINITY",
        }
        return cib.with_child(configuration.with_child(constraints.with_child(element("rsc_location", made))))

    return apply


def node_changes(work: WorkingSet, node: Node) -> Iterator[Change]:
    """What may make a node available."""
    if node.standby_on_fail:
        for failed in work.failed_operations:
            if failed.node is node:
                name = failed.resource.id.partition(":")[0]
                yield Change(command=f"hacli resource cleanup {name} {node.name}", apply=_cleaned(name, node))
    elif node.standby and not node.pending and _is_configured(work, node):
        yield Change(command=f"hacli node online {node.name}", apply=_node_pairs_removed(node, _STANDBY))
    if node.maintenance and _is_configured(work, node):
        yield Change(
            command=f"hacli node ready {node.name}", apply=_node_pairs_removed(node, ("maintenance",))
        )
    if (not node.online or node.unclean) and node.connection is None:
        yield Change(
            command=f"hacli cluster start   (on {node.name})", apply=lambda cib: _up(cib, node, work.now_s)
        )


def _is_configured(work: WorkingSet, node: Node) -> bool:
    """Not so a guest, whose maintenance is that of its connection."""
    nodes = work.cib.path("configuration", "nodes")
    return nodes is not None and any(one.get("uname") == node.name for one in nodes.all("node"))


def _up(cib: Element, node: Node, now_s: int) -> Element:
    """The node is back; with more than half of the nodes there is quorum, too."""
    edit = StatusEdit(cib, now_s)
    edit.node_is_off(node.name)
    edit.node_is_up(node.name)
    members = [one for one in unpack(edit.cib(), now_s).nodes if one.kind is NodeKind.CLUSTER]
    if 2 * sum(one.online for one in members) > len(members):
        edit.set_quorum(quorate=True)
    return edit.cib()


def option_changes(work: WorkingSet) -> Iterator[Change]:
    """Cluster options that hold everything back."""
    options = work.options
    if options.maintenance_mode:
        yield Change(
            command="hacli maintenance off", apply=lambda cib: with_option(cib, "maintenance-mode", "false")
        )
    if options.stop_all:
        yield Change(
            command="hacli configure property stop-all-resources=false",
            apply=lambda cib: with_option(cib, "stop-all-resources", "false"),
        )
    if options.shutdown_lock and any(
        one.lock_node is not None for top in work.resources for one in top.walk()
    ):
        yield Change(
            command="hacli configure property shutdown-lock=false",
            apply=lambda cib: with_option(cib, "shutdown-lock", "false"),
        )
    if options.fencing_enabled and not work.have_fencing:
        yield Change(
            command="hacli configure property stonith-enabled=false",
            apply=lambda cib: with_option(
                with_option(cib, "fencing-enabled", "false"), "stonith-enabled", "false"
            ),
        )


def resource_changes(work: WorkingSet, resource: Resource, node: Node | None) -> Iterator[Change]:
    """What may let a resource run; with a node, there."""
    here: Resource | None = resource
    while here is not None:
        name = here.id.partition(":")[0]
        if here.meta.get("target-role", "").lower() in {"stopped", "slave", "unpromoted"}:
            yield Change(command=f"hacli resource start {name}", apply=_meta(name, "target-role", "Started"))
        if here.explicit_meta.get("is-managed", "true").lower() in {"false", "no", "off", "0"}:
            yield Change(command=f"hacli resource manage {name}", apply=_meta(name, "is-managed", "true"))
        if here.explicit_meta.get("maintenance", "false").lower() in {"true", "yes", "on", "1"}:
            yield Change(
                command=f"hacli resource maintenance {name} off", apply=_meta(name, "maintenance", "false")
            )
        here = here.parent
    yield from _cleanups(work, resource, node)
    if any(_barred_by(entry.why, "health") and entry.score < 0 for entry in resource.allowed.values()):
        name = movable(resource)
        yield Change(
            command=f"hacli resource meta {name} set allow-unhealthy-nodes true",
            apply=_meta(name, "allow-unhealthy-nodes", "true"),
        )
    yield from _constraint_changes(resource, node)
    yield from _ticket_changes(work, resource)
    yield from _capacity_changes(resource, node)


def _cleanups(work: WorkingSet, resource: Resource, node: Node | None) -> Iterator[Change]:
    top = resource.top(including_bundle=True)
    for one in top.primitives() if top.variant != 1 else (resource,):
        name = one.id.partition(":")[0]
        for place in work.nodes:
            if node is not None and place is not node and place not in one.active_nodes:
                continue
            failed = any(item.node is place and item.resource is one for item in work.failed_operations)
            if failed or fail_count(work, one, place, effective=False)[0]:
                yield Change(
                    command=f"hacli resource cleanup {name} {place.name}", apply=_cleaned(name, place)
                )


def _constraint_changes(resource: Resource, node: Node | None) -> Iterator[Change]:
    """Without what speaks against the node, for the resource or another of its group, which goes with it."""
    origins: dict[tuple[str, str], None] = {}
    group = resource.parent
    others = group.primitives() if group is not None and group.variant is Variant.GROUP else ()
    for entry in (entry for one in (resource, *others) for entry in one.allowed.values()):
        why = entry.why
        while why is not None:
            if node is None or (entry.node is node) is (why[0] < 0):
                origins[why[1], why[2]] = None
            why = why[3]
    for kind, origin in origins:
        if kind not in {"location", "colocation", "wish"} or origin.startswith("#"):
            continue
        moved = re.match(r"cli-(?:ban-(.+)-on-|prefer-(.+)$)", origin)
        if moved is not None:
            name = moved[1] or moved[2]
            yield Change(command=f"hacli resource clear {name}", apply=_cleared(name))
        else:
            yield Change(command=f"hacli configure delete {origin}", apply=without_element(origin))


def _ticket_changes(work: WorkingSet, resource: Resource) -> Iterator[Change]:
    """Constraints that ask for a ticket which this site does not hold."""
    names: list[str] = []
    lacking: set[str] = set()
    here: Resource | None = resource
    while here is not None:
        names += [here.id, here.id.partition(":")[0]]
        lacking |= {use.ticket.id for use in here.tickets if not use.ticket.granted or use.ticket.standby}
        here = here.parent
    constraints = work.cib.path("configuration", "constraints")
    for one in constraints.all("rsc_ticket") if constraints is not None else ():
        named = {one.get("rsc"), *(item.id for item in one.walk() if item.tag == "resource_ref")}
        if one.get("ticket") in lacking and named & set(names):
            yield Change(command=f"hacli configure delete {one.id}", apply=without_element(one.id))


def _capacity_changes(resource: Resource, node: Node | None) -> Iterator[Change]:
    """More capacity on a node that was barred for want of it."""
    for entry in resource.allowed.values():
        place = entry.node
        if (node is not None and place is not node) or not _barred_by(entry.why, "utilization"):
            continue
        for name, amount in resource.utilization.items():
            missing = amount - place.utilization.get(name, 0)
            if missing > 0:
                given = sum(one.utilization.get(name, 0) for one in place.assigned)
                value = str(place.utilization.get(name, 0) + given + missing)
                yield Change(
                    command=f"hacli node utilization {place.name} set {name} {value}",
                    apply=_capacity(place, name, value),
                )


def _barred_by(why: Why | None, kind: str) -> bool:
    while why is not None:
        if why[1] == kind:
            return True
        why = why[3]
    return False


def _capacity(node: Node, name: str, value: str) -> Callable[[Element], Element]:
    def change(item: Element) -> Element:
        if item.tag != "node" or node.id != item.id:
            return item
        holder = item.child("utilization") or element("utilization", {"id": f"{item.id}-utilization"})
        kept = holder.mapped(lambda pair: None if pair.get("name") == name else pair)
        pair = element("nvpair", {"id": f"{item.id}-utilization-{name}", "name": name, "value": value})
        return item.with_child(kept.with_child(pair))

    return lambda cib: edited(cib, change)


def promote_change(resource: Resource, node: Node) -> Change:
    """Prefer a node for the role Promoted."""
    name = movable(resource)
    made = f"promoted-{name}-on-{node.name}"

    def apply(cib: Element) -> Element:
        configuration = cib.child("configuration") or element("configuration")
        constraints = configuration.child("constraints") or element("constraints")
        where = element(
            "expression",
            {"id": f"{made}-e", "attribute": "#uname", "operation": "eq", "value": node.name},
        )
        rule = element("rule", {"id": f"{made}-r", "role": "Promoted", "score": "INFINITY"}, where)
        location = element("rsc_location", {"id": made, "rsc": name}, rule)
        return cib.with_child(configuration.with_child(constraints.with_child(location)))

    return Change(
        command=f"hacli configure location {made} {name} rule role=Promoted inf: '#uname' eq {node.name}",
        apply=apply,
    )


def _cleared(name: str) -> Callable[[Element], Element]:
    def change(one: Element) -> Element | None:
        left = one.id == f"cli-prefer-{name}" or one.id.startswith(f"cli-ban-{name}-on-")
        return None if one.tag == "rsc_location" and left else one

    return lambda cib: edited(cib, change)


def move_change(resource: Resource, node: Node) -> Change:
    """Prefer a node."""
    name = movable(resource)
    return Change(command=f"hacli resource move {name} {node.name}", apply=_preferred(name, node.name))


def ban_change(resource: Resource, node: Node) -> Change:
    """Keep off a node."""
    name = movable(resource)
    return Change(command=f"hacli resource ban {name} {node.name}", apply=_banned(name, node.name))


def movable(resource: Resource) -> str:
    """The name by which what it belongs to is moved as a whole."""
    return resource.top(including_bundle=True).id.partition(":")[0]


def failure_changes(work: WorkingSet, node: Node) -> Iterator[Change]:
    """Forget each failure of a node, and start its services again."""
    for name in dict.fromkeys(
        one.resource.id.partition(":")[0] for one in work.failed_operations if one.node is node
    ):
        yield Change(command=f"hacli resource cleanup {name} {node.name}", apply=_cleaned(name, node))
    yield from node_changes(work, node)
    if node.unclean and not node.online and node.connection is None:
        yield Change(
            command=f"hacli node clearstate {node.name}   (only when you know that it is off)",
            apply=lambda cib: _off(cib, node, work.now_s),
        )


def _off(cib: Element, node: Node, now_s: int) -> Element:
    edit = StatusEdit(cib, now_s)
    edit.node_is_off(node.name)
    return edit.cib()
