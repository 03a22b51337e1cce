"""Resources: templates, meta attributes, variants and instances (Pacemaker Explained, "Resources")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from crm.cib.model import Element
from crm.scheduler import operations, scores, values
from crm.scheduler.model import (
    MultipleActive,
    NodeKind,
    Resource,
    Role,
    Variant,
    WorkingSet,
)
from crm.scheduler.options import NoQuorum
from crm.scheduler.roles import parse_role
from crm.scheduler.rules import merge_sets
from crm.scheduler.scores import INFINITY
from crm.scheduler.stages.unpack_nodes import implied_connections
from crm.scheduler.tables import apply_symmetric_default

_TAGS: Final = {
    "primitive": Variant.PRIMITIVE,
    "group": Variant.GROUP,
    "clone": Variant.CLONE,
    "master": Variant.CLONE,
    "bundle": Variant.BUNDLE,
}
_MULTIPLE: Final = {
    "stop_only": MultipleActive.STOP_ONLY,
    "block": MultipleActive.BLOCK,
    "stop_unexpected": MultipleActive.STOP_UNEXPECTED,
}
# More instances than this, or four a node, are not made: a typing error must not stop all scheduling.
INSTANCES_MAX: Final = 200
_UNIQUE_CLASSES: Final = frozenset({"ocf", "stonith"})


def unpack_resources(work: WorkingSet) -> None:
    """Read <resources> in document order, then sort by priority."""
    section = work.cib.path("configuration", "resources")
    items = section.children if section is not None else ()
    defaults = work.cib.path("configuration", "rsc_defaults")
    _look_for_unfencing(work, section, defaults)
    for item in (*items, *implied_connections(work, items)):
        if item.tag not in _TAGS:
            continue
        resource = unpack_resource(work, item, None)
        if resource is not None:
            work.resources.append(resource)
    for resource in list(work.all_resources()):
        _link_launcher(work, resource)
    for resource in work.resources:
        _link_connection(work, resource)
    work.resources.sort(key=lambda one: -one.priority)
    work.have_fencing = work.options.have_watchdog or any(
        one.agent_class == "stonith" for one in work.all_resources()
    )


def _look_for_unfencing(work: WorkingSet, *sections: Element | None) -> None:
    for section in sections:
        for item in section.walk() if section is not None else ():
            if item.tag == "nvpair" and (item.get("name"), item.get("value")) in {
                ("provides", "unfencing"),
                ("requires", "unfencing"),
            }:
                work.unfencing_in_use = True


def unpack_resource(
    work: WorkingSet, item: Element, parent: Resource | None, number: int = -1
) -> Resource | None:
    """One resource with all its children; None where it is rejected. `number`: of a clone's instance."""
    merged = _with_template(work, item)
    if merged is None or not merged.id:
        return None
    if number >= 0:
        merged = merged.with_attributes(id=f"{merged.id}:{number}")
    resource = Resource(
        id=merged.id, variant=_TAGS[item.tag], element=merged, parent=parent, instance_number=number
    )
    if resource.is_primitive:
        _read_agent(work, resource)
    read_meta(work, resource)
    if number >= 0:
        resource.meta["clone"] = str(number)
    _common_options(work, resource)
    if not _unpack_variant(work, resource):
        return None
    _needs(work, resource)
    _target_role(resource)
    read_utilization(work, resource)
    work.resources_by_id.setdefault(resource.id, resource)
    apply_symmetric_default(work, resource)
    return resource


def _read_agent(work: WorkingSet, resource: Resource) -> None:
    resource.agent_class = resource.element.get("class")
    resource.provider = resource.element.get("provider")
    resource.agent_type = resource.element.get("type")
    resource.is_fence_device = resource.agent_class == "stonith"
    resource.is_remote_connection = resource.class_agent == "ocf:pacemaker:remote"
    resource.operations = operations.read_operations(work, resource.element)


def _with_template(work: WorkingSet, item: Element) -> Element | None:
    name = item.attributes.get("template")
    if name is None or item.tag != "primitive":
        return item
    template = work.elements.find("template", name)
    if template is None or name == item.id:
        return None
    derived = work.templates.setdefault(name, [])
    if item.id not in derived:
        derived.append(item.id)
    attributes = {**template.attributes, "id": item.id}
    own_keys = {_operation_key(op) for block in item.all("operations") for op in block.all("op")}
    children: list[Element] = []
    own_operations = item.all("operations")
    extra: list[Element] = []
    for child in template.children:
        if child.tag == "operations" and own_operations:
            extra.extend(op for op in child.all("op") if _operation_key(op) not in own_keys)
        else:
            children.append(child)
    for child in item.children:
        if child.tag == "operations" and extra:
            child = child.with_children((*child.children, *extra))
            extra = []
        children.append(child)
    return Element(item.tag, attributes, tuple(children), item.text)


def _operation_key(item: Element) -> tuple[str, str]:
    role = item.get("role").lower()
    return item.get("name"), "" if role in {"", "started", "unpromoted", "slave"} else role


# --- meta attributes


def read_meta(work: WorkingSet, resource: Resource) -> None:
    """XML attributes, own sets, ancestors' explicit sets, rsc_defaults, ancestors' tables; first wins."""
    context = operations.rule_context(work, resource=resource)
    explicit: dict[str, str] = {}
    merge_sets(explicit, resource.element, "meta_attributes", context, work.elements)
    here = resource.parent
    meta = dict(resource.element.attributes)
    for name, value in explicit.items():
        meta.setdefault(name, value)
    while here is not None:
        for name, value in here.explicit_meta.items():
            meta.setdefault(name, value)
        here = here.parent
    merge_sets(meta, work.rsc_defaults, "meta_attributes", context, work.elements)
    here = resource.parent
    while here is not None:
        for name, value in here.meta.items():
            meta.setdefault(name, value)
        here = here.parent
    resource.explicit_meta = explicit
    resource.meta = meta


def _unless_false(meta: Mapping[str, str], name: str) -> bool:
    """True when not set, but false with a value that is no truth: as Pacemaker reads these two."""
    return name not in meta or values.is_true(meta[name])


def _common_options(work: WorkingSet, resource: Resource) -> None:
    meta = resource.meta
    resource.priority = scores.parse(meta.get("priority"))
    resource.critical = _unless_false(meta, "critical")
    resource.notify = values.is_true(meta.get("notify"))
    if resource.variant >= Variant.CLONE:
        resource.interleave = values.is_true(meta.get("interleave"))
    resource.managed = _unless_false(meta, "is-managed")
    if values.is_true(meta.get("maintenance")):
        resource.managed, resource.maintenance = False, True
    if work.options.maintenance_mode:
        resource.managed, resource.maintenance = False, True
    resource.multiple_active = _MULTIPLE.get(meta.get("multiple-active", ""), MultipleActive.STOP_START)
    stickiness = meta.get("resource-stickiness")
    if resource.is_clone and stickiness is None:
        resource.meta["resource-stickiness"] = "1"
        stickiness = "1"
    resource.stickiness = scores.parse(stickiness)
    threshold = scores.parse_or_none(meta.get("migration-threshold", ""))
    resource.migration_threshold = INFINITY if threshold is None or threshold < 0 else threshold
    resource.migratable = values.is_true(
        meta.get("allow-migrate"),
        default=resource.is_remote_connection and "container" not in meta and "allow-migrate" not in meta,
    )
    resource.failure_timeout_ms = values.interval_ms(meta.get("failure-timeout"))
    if resource.is_remote_connection and "container" not in meta:
        interval = operations.parameters_for(work, resource, None).get("reconnect_interval")
        if interval is not None:
            resource.reconnect_interval_ms = values.interval_ms(interval)
            resource.failure_timeout_ms = resource.reconnect_interval_ms
        resource.parameters.clear()


def _needs(work: WorkingSet, resource: Resource) -> None:
    options = work.options
    text = resource.meta.get("requires", "").lower()
    wanted = text if text in {"nothing", "quorum", "fencing", "unfencing"} else ""
    if not wanted:
        if resource.is_fence_device or resource.is_remote_connection:
            wanted = "quorum"
        elif work.unfencing_in_use:
            wanted = "unfencing"
        elif options.fencing_enabled:
            wanted = "fencing"
        else:
            wanted = "nothing" if options.no_quorum is NoQuorum.IGNORE else "quorum"
    if wanted == "unfencing" and (resource.is_fence_device or not options.fencing_enabled):
        wanted = "quorum"
    resource.needs_quorum = wanted == "quorum"
    resource.needs_fencing = wanted in {"fencing", "unfencing"}
    resource.needs_unfencing = wanted == "unfencing"


def target_role(resource: Resource) -> Role:
    """The limit target-role sets; UNKNOWN where it sets none."""
    role = parse_role(resource.meta.get("target-role"))
    if role in {Role.UNKNOWN, Role.STARTED}:
        return Role.UNKNOWN
    if role > Role.STARTED:
        promotable = values.is_true(resource.top().meta.get("promotable")) or resource.top().promotable
        if not promotable or role is Role.PROMOTED:
            return Role.UNKNOWN
    return role


def _target_role(resource: Resource) -> None:
    role = target_role(resource)
    if role is not Role.UNKNOWN:
        resource.next_role = role


def read_utilization(work: WorkingSet, resource: Resource) -> None:
    """The resource's needs; they matter where placement-strategy is not the default."""
    if not resource.is_primitive:
        return
    amounts: dict[str, str] = {}
    context = operations.rule_context(work, resource=resource)
    merge_sets(amounts, resource.element, "utilization", context, work.elements)
    resource.utilization = {name: values.integer(value) for name, value in amounts.items()}


# --- variants


def _unpack_variant(work: WorkingSet, resource: Resource) -> bool:
    match resource.variant:
        case Variant.PRIMITIVE:
            resource.unique = _is_unique(resource)
            return resource.agent_class == "ocf" or not resource.top().promotable
        case Variant.GROUP:
            return _unpack_group(work, resource)
        case Variant.CLONE:
            return _unpack_clone(work, resource)
        case _:
            from crm.scheduler.stages.unpack_bundles import unpack_bundle

            return unpack_bundle(work, resource, unpack_resource)


def _unpack_group(work: WorkingSet, resource: Resource) -> bool:
    resource.ordered = values.is_true(resource.meta.get("ordered"), default=True)
    resource.colocated = values.is_true(resource.meta.get("collocated"), default=True)
    resource.unique = _is_unique(resource)
    for item in resource.element.all("primitive"):
        member = unpack_resource(work, item, resource, resource.instance_number)
        if member is not None:  # the others are left out: of a promotable group those that are no OCF agents
            resource.children.append(member)
    return True


def _is_unique(resource: Resource) -> bool:
    """Members of clones are, if the clone asks for it and their kind of agent can be."""
    if not resource.top().is_clone:
        return True
    if resource.is_primitive and resource.agent_class not in _UNIQUE_CLASSES:
        return False
    clone = resource.top()
    if not clone.unique and resource.instance_number <= 0:
        return False  # made anonymous by a member's class: later instances keep the flag, as Pacemaker's do
    return values.is_true(resource.meta.get("globally-unique"))


def _agent_classes(work: WorkingSet, item: Element) -> set[str]:
    primitives = [item] if item.tag == "primitive" else list(item.all("primitive"))
    merged = (_with_template(work, one) for one in primitives)
    return {one.get("class") for one in merged if one is not None}


def _unpack_clone(work: WorkingSet, resource: Resource) -> bool:
    meta = resource.meta
    item = next((child for child in resource.element.children if child.tag in {"primitive", "group"}), None)
    if item is None:
        return False
    classes = _agent_classes(work, item)
    resource.promotable = values.is_true(meta.get("promotable")) or resource.element.tag == "master"
    if resource.element.tag == "master":
        meta["promotable"] = "true"
    if resource.promotable:
        resource.promoted_max = _count(meta, 1, "promoted-max", "master-max")
        resource.promoted_node_max = _count(meta, 1, "promoted-node-max", "master-node-max")
    resource.clone_node_max = _count(meta, 1, "clone-node-max")
    resource.clone_max = _count(meta, max(1, len(work.nodes)), "clone-max")
    resource.clone_min = max(0, values.integer(meta.get("clone-min")))
    resource.unique = values.is_true(meta.get("globally-unique"), default=resource.clone_node_max > 1)
    meta["globally-unique"] = "true" if resource.unique else "false"
    if resource.unique and classes - _UNIQUE_CLASSES:
        resource.unique = False
        resource.clone_max = min(resource.clone_max, max(1, len(work.nodes)))
    if not resource.unique:
        resource.clone_node_max = min(1, resource.clone_node_max)
    meta.setdefault("clone-max", str(resource.clone_max))
    resource.ordered = values.is_true(meta.get("ordered"))
    resource.child_element = item
    for _ in range(min(resource.clone_max, max(INSTANCES_MAX, 4 * len(work.nodes)))):
        if make_instance(work, resource) is None:
            return False
    if resource.clone_max == 0:
        make_instance(work, resource)
    return True


def _count(meta: dict[str, str], default: int, *names: str) -> int:
    for name in names:
        text = meta.get(name)
        if text is not None:
            return max(0, values.integer(text, 0))
    return default


def make_instance(work: WorkingSet, clone: Resource) -> Resource | None:
    """Add the next instance; one beyond clone-max is flagged removed, with all its members."""
    assert clone.child_element is not None
    number = len(clone.children)
    item = clone.child_element
    child = unpack_resource(work, item, clone, number)
    if child is None:
        return None
    if number >= clone.clone_max:
        for one in child.walk():
            one.removed = True
    clone.children.append(child)
    return child


# --- links


def _link_launcher(work: WorkingSet, resource: Resource) -> None:
    name = resource.meta.get("container")
    if name is None or not resource.is_primitive:
        return
    launcher = work.resources_by_id.get(name)
    if launcher is not None and launcher is not resource and resource.launcher is None:
        resource.launcher = launcher
        launcher.launched.append(resource)


def _link_connection(work: WorkingSet, resource: Resource) -> None:
    """Tell remote and guest nodes their connection (bundle nodes know theirs already)."""
    for one in resource.primitives():
        if one.is_remote_connection and one.removed is False:
            link_connection(work, one)


def link_connection(work: WorkingSet, connection: Resource) -> None:
    """Connect a connection resource with the node of its name."""
    node = work.nodes_by_name.get(connection.id)
    if node is None or node.connection is not None:
        return
    node.connection = connection
    if connection.launcher is None:
        if node.kind is NodeKind.CLUSTER:
            node.kind = NodeKind.REMOTE
        node.unclean = work.options.startup_fencing
    else:
        node.kind = NodeKind.GUEST
        node.attributes["#kind"] = "container"
