"""Location constraints, node health, stickiness, bans for failures (Pacemaker Explained, "Constraints")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crm import patterns
from crm.cib.model import Element
from crm.scheduler import references, scores
from crm.scheduler.failures import node_has_failures, threshold_reached
from crm.scheduler.model import Entry, Location, Node, ProbeMode, Resource, Role, Variant, WorkingSet
from crm.scheduler.operations import rule_context
from crm.scheduler.roles import parse_role
from crm.scheduler.rules import Context, holds
from crm.scheduler.scores import INFINITY
from crm.scheduler.tables import ban
from crm.scheduler.values import is_true

_PROBE_MODES: Final = {"always": ProbeMode.ALWAYS, "never": ProbeMode.NEVER, "exclusive": ProbeMode.EXCLUSIVE}


# --- node health


def health_score(work: WorkingSet, text: str) -> int:
    """The score of one #health attribute under the strategy in force."""
    options = work.options
    red, yellow, green = options.health_red, options.health_yellow, options.health_green
    if options.health_strategy in {"migrate-on-red", "only-green"}:
        red, green = -INFINITY, 0
        yellow = -INFINITY if options.health_strategy == "only-green" else 0
    match text.lower():
        case "red":
            return red
        case "yellow":
            return yellow
        case "green":
            return green
        case _:
            return scores.parse(text)


def apply_node_health(work: WorkingSet) -> None:
    """Resources prefer or avoid nodes by their health (Pacemaker Explained, "Tracking Node Health")."""
    if work.options.health_strategy == "none":
        return
    base = work.options.health_base if work.options.health_strategy == "progressive" else 0
    for node in work.nodes:
        total = base
        for name, value in node.attributes.items():
            if name.startswith("#health"):
                total = scores.add(total, health_score(work, value))
        node.health = total
        if total == 0:
            continue
        for resource in work.resources:
            if total < 0 and is_true(resource.meta.get("allow-unhealthy-nodes")):
                continue
            _remember(
                work,
                Location(
                    work.options.health_strategy,
                    resource,
                    Role.UNKNOWN,
                    ProbeMode.ALWAYS,
                    [(node, total)],
                    kind="health",
                ),
            )


# --- reading


def _remember(work: WorkingSet, location: Location) -> None:
    work.locations.append(location)
    location.resource.locations.append(location)
    if location.probe_mode is ProbeMode.EXCLUSIVE:
        location.resource.exclusive_probes = True


def unpack_location(work: WorkingSet, item: Element) -> None:
    """One <rsc_location>: for a resource, a pattern, a tag or template, or sets."""
    pattern = item.attributes.get("rsc-pattern")
    name = item.attributes.get("rsc")
    if pattern is not None and name is None:
        for resource, groups in _matching(work, pattern):
            _for_resource(work, item, resource, item.get("role"), groups)
        return
    if name is not None:
        for named in references.named(work, name):
            _for_resource(work, item, named, item.get("role"), ())
    sets = references.sets_of_constraint(work, item) or []
    for one, members in zip(sets, references.set_members(work, sets), strict=True):
        score = one.attributes.get("score")
        with_score = item.with_attributes(score=score) if score is not None else item
        found = references.until_unknown(members)
        for member in found:
            _for_resource(work, with_score, member, one.get("role") or item.get("role"), ())
        if len(found) < len(members):
            return


def _matching(work: WorkingSet, pattern: str) -> Iterator[tuple[Resource, tuple[str, ...]]]:
    inverted = pattern.startswith("!")
    compiled = patterns.compiled(pattern[1:] if inverted else pattern)
    if compiled is None:
        return
    for resource in work.resources:
        match = compiled.search(resource.id)
        if (match is None) is inverted:
            groups = (match[0], *(group or "" for group in match.groups())) if match is not None else ()
            yield resource, groups


def _for_resource(
    work: WorkingSet, item: Element, resource: Resource, role_text: str, groups: tuple[str, ...]
) -> None:
    probe_mode = _PROBE_MODES.get(item.get("resource-discovery", "always"), ProbeMode.ALWAYS)
    rules = [rule for one in item.all("rule") if (rule := work.elements.resolve(one)) is not None]
    node_name = item.attributes.get("node")
    role = _effective_role(role_text)
    if node_name is not None and not rules:
        node = work.nodes_by_name.get(node_name)
        if node is not None:
            score = scores.parse(item.attributes.get("score"))
            _remember(work, Location(item.id, resource, role, probe_mode, [(node, score)]))
        return
    for rule in rules:
        rule_role = _effective_role(rule.get("role")) if rule.get("role") else role
        found = _nodes_of_rule(work, rule, resource, groups)
        _remember(work, Location(item.id, resource, rule_role, probe_mode, found))


def _effective_role(text: str) -> Role:
    role = parse_role(text)
    return Role.UNKNOWN if role in {Role.STARTED, Role.UNPROMOTED} else role


def _nodes_of_rule(
    work: WorkingSet, rule: Element, resource: Resource, groups: tuple[str, ...]
) -> list[tuple[Node, int]]:
    attribute = rule.attributes.get("score-attribute")
    constant = scores.parse(rule.attributes.get("score"))
    found: list[tuple[Node, int]] = []
    for node in work.nodes:
        if not holds(rule, _context(work, node, resource, groups), work.elements):
            continue
        if attribute is None:
            found.append((node, constant))
            continue
        text = attribute_for(resource, node, _substitute(attribute, groups), assigned=False)
        value = scores.parse_or_none(text) if text is not None else None
        if value is not None:
            found.append((node, value))
    return found


def _substitute(text: str, groups: tuple[str, ...]) -> str:
    for index, group in enumerate(groups[:10]):
        text = text.replace(f"%{index}", group)
    return text


def _context(work: WorkingSet, node: Node, resource: Resource, groups: tuple[str, ...]) -> Context:
    from crm.scheduler.operations import parameters_for

    plain = rule_context(work, node=node, resource=resource)
    return Context(
        now_s=plain.now_s,
        recheck=plain.recheck,
        attributes=plain.attributes,
        agent=plain.agent,
        parameters=parameters_for(work, resource, node),
        meta=resource.meta,
        submatches=groups,
    )


def attribute_for(resource: Resource | None, node: Node, name: str, *, assigned: bool) -> str | None:
    """A node attribute, of the container's host where the resource wants that for guests."""
    launcher = node.launcher
    if (
        launcher is not None
        and resource is not None
        and resource.meta.get("container-attribute-target") == "host"
    ):
        host = launcher.assigned_node if assigned else next(iter(launcher.active_nodes), None)
        return host.attributes.get(name) if host is not None else None
    return node.attributes.get(name)


# --- applying


def apply_locations(work: WorkingSet) -> None:
    """All location constraints, newest first."""
    for location in reversed(work.locations):
        apply_location(location.resource, location, location.scores)


def apply_location(resource: Resource, location: Location, found: list[tuple[Node, int]]) -> None:
    """One constraint to a resource and, by its variant's rule, to what is inside."""
    match resource.variant:
        case Variant.PRIMITIVE:
            _add_scores(resource, location, found)
        case Variant.GROUP:
            _add_scores(resource, location, found)
            passed = found
            for member in resource.children:
                apply_location(member, location, passed)
                if resource.colocated:
                    passed = [(node, 0) for node, _ in found]
        case Variant.CLONE:
            _add_scores(resource, location, found)
            for instance in resource.children:
                apply_location(instance, location, found)
        case Variant.BUNDLE:
            _apply_to_bundle(resource, location, found)


def _apply_to_bundle(resource: Resource, location: Location, found: list[tuple[Node, int]]) -> None:
    _add_scores(resource, location, found)
    assert resource.bundle is not None
    for replica in resource.bundle.replicas:
        apply_location(replica.container, location, found)
        if replica.ip is not None:
            apply_location(replica.ip, location, found)
    inner = resource.bundle.child
    if inner is not None and location.role is Role.PROMOTED and location not in inner.locations:
        inner.locations.append(location)


def _add_scores(resource: Resource, location: Location, found: list[tuple[Node, int]]) -> None:
    if location.role is not Role.UNKNOWN and location.role is not resource.next_role:
        return
    for node, score in found:
        entry = resource.allowed.get(node.id)
        if entry is None:
            entry = resource.allowed[node.id] = Entry(node, probe_mode=node.probe_mode)
        entry.add(score, location.kind, location.id)
        if entry.probe_mode < location.probe_mode:
            entry.probe_mode = location.probe_mode
            if location.probe_mode is ProbeMode.EXCLUSIVE:
                resource.exclusive_probes = True


def apply_stickiness(work: WorkingSet) -> None:
    """A managed resource likes to stay where it is (meta attribute resource-stickiness)."""
    for top in work.resources:
        for resource in top.primitives():
            if not resource.managed or resource.stickiness < 1 or len(resource.active_nodes) != 1:
                continue
            node = resource.active_nodes[0]
            if work.options.symmetric or node.id in resource.allowed:
                ban(work, resource, node, resource.stickiness, "stickiness", resource.id)


def apply_failures_and_discovery(work: WorkingSet) -> None:
    """Bans where a resource failed too often, and where it must not even be looked for."""
    exclusive = [top for top in work.resources if any(one.exclusive_probes for one in top.walk())]
    for node in work.nodes:
        if node_has_failures(work, node):
            for top in work.resources:
                for resource in list(top.primitives()):
                    banned = threshold_reached(work, resource, node)
                    if banned is not None:
                        ban(work, banned, node, -INFINITY, "migration_threshold", resource.id)
        for top in exclusive:
            _bar_undiscovered(top, node)


def _bar_undiscovered(resource: Resource, node: Node) -> None:
    if not (resource.exclusive_probes or resource.top().exclusive_probes):
        return
    for child in resource.children:
        _bar_undiscovered(child, node)
    entry = resource.allowed.get(node.id)
    if entry is not None and entry.probe_mode is not ProbeMode.EXCLUSIVE:
        entry.add(-INFINITY, "resource_discovery", resource.id)
