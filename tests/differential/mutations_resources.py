"""Changes to resources, their options and operations, and to constraints. Pure but for the generator."""

from __future__ import annotations

import random

from crm.cib.model import Element, element
from tests.differential.mutations import Changed
from tests.differential.tree import Place, at, below, chosen, places, put, tagged, with_pair

KINDS = ("primitive", "group", "clone", "master", "bundle")
CONSTRAINTS = ("rsc_location", "rsc_colocation", "rsc_order", "rsc_ticket")
META: dict[str, tuple[str, ...]] = {
    "target-role": ("Stopped", "Started", "Unpromoted", "Promoted"),
    "is-managed": ("false", "true"),
    "maintenance": ("true", "false"),
    "priority": ("0", "10", "-10"),
    "resource-stickiness": ("0", "1", "500", "INFINITY"),
    "migration-threshold": ("1", "3", "0"),
    "failure-timeout": ("10s", "0", "1000d"),
    "multiple-active": ("block", "stop_only", "stop_start", "stop_unexpected"),
    "requires": ("nothing", "quorum", "fencing"),
    "allow-migrate": ("true", "false"),
    "critical": ("true", "false"),
}
CLONE_META: dict[str, tuple[str, ...]] = {
    "interleave": ("true", "false"),
    "ordered": ("true", "false"),
    "notify": ("true", "false"),
    "globally-unique": ("true", "false"),
    "clone-max": ("0", "1", "2", "3", "6"),
    "clone-node-max": ("1", "2"),
    "clone-min": ("0", "1", "2"),
    "promoted-max": ("0", "1", "2"),
    "promoted-node-max": ("1", "2"),
    "promotable": ("true", "false"),
}
SCORES = ("INFINITY", "-INFINITY", "500", "-500", "1", "0")
ROLES = (None, "Started", "Promoted", "Unpromoted")
ACTIONS = (None, "start", "stop", "promote", "demote")


def _resources(cib: Element, *tags: str) -> list[Place]:
    return below(cib, "resources", *(tags or KINDS))


def _all_ids(cib: Element) -> list[str]:
    return [at(cib, place).id for place in _resources(cib)]


def meta(cib: Element, rng: random.Random) -> Changed:
    """A meta attribute of a resource."""
    place = chosen(rng, _resources(cib))
    if place is None:
        return None
    resource = at(cib, place)
    name = rng.choice(list(META))
    value = rng.choice((*META[name], None))
    changed = put(cib, place, with_pair(resource, "meta_attributes", name, value))
    return (f"{name}={value} {resource.tag} {resource.id}", changed) if changed != cib else None


def clone_meta(cib: Element, rng: random.Random) -> Changed:
    """A meta attribute that only clones have."""
    place = chosen(rng, _resources(cib, "clone", "master"))
    if place is None:
        return None
    resource = at(cib, place)
    names = [*CLONE_META]
    if any(one.get("class") not in {"ocf", ""} for one in resource.walk() if one.tag == "primitive"):
        names.remove("promotable")
    name = rng.choice(names)
    value = rng.choice((*CLONE_META[name], None))
    resource = with_pair(resource, "meta_attributes", name, value)
    if name == "clone-node-max" and value == "2":  # older releases do not take it as a wish for uniqueness
        resource = with_pair(resource, "meta_attributes", "globally-unique", "true")
    changed = put(cib, place, resource)
    return (f"{name}={value} {resource.id}", changed) if changed != cib else None


def removed(cib: Element, rng: random.Random) -> Changed:
    """A resource without configuration, its constraints gone, too."""
    place = chosen(rng, _resources(cib))
    if place is None:
        return None
    resource = at(cib, place)
    parent = at(cib, place[:-1])
    if parent.tag != "resources":
        siblings = [child for child in parent.children if child.tag in KINDS]
        if len(siblings) < 2:
            return None
    names = {item.id for item in resource.walk() if item.tag in KINDS}

    def mentions(item: Element) -> bool:
        return item.tag in CONSTRAINTS and any(
            one.get(name) in names
            for one in item.walk()
            for name in ("rsc", "with-rsc", "first", "then", "id")
        )

    changed = put(cib, place)
    for constraint in reversed(places(changed, mentions)):
        changed = put(changed, constraint)
    for reference in reversed(places(changed, lambda item: item.tag == "obj_ref" and item.id in names)):
        changed = put(changed, reference)
    return f"{resource.tag} {resource.id}", changed


def bundle(cib: Element, rng: random.Random) -> Changed:
    """Replicas of a bundle."""
    place = chosen(rng, [*_resources(cib, "docker"), *_resources(cib, "podman")])
    if place is None:
        return None
    name = rng.choice(("replicas", "replicas-per-host", "promoted-max", "image", "options"))
    value = rng.choice(("1", "2", "4")) if name not in {"image", "options"} else "other"
    return f"{name}={value}", put(cib, place, at(cib, place).with_attribute_map({name: value}))


def shape(cib: Element, rng: random.Random) -> Changed:
    """A primitive becomes a group or a clone, a group a clone, a clone its child; a member leaves a group."""
    place = chosen(rng, _resources(cib))
    if place is None:
        return None
    item, parent = at(cib, place), at(cib, place[:-1])
    if item.tag in {"clone", "master"}:
        inner = next((child for child in item.children if child.tag in {"primitive", "group"}), None)
        return None if inner is None else (f"no clone {item.id}", put(cib, place, inner))
    if parent.tag == "group" and item.tag == "primitive":
        if len([child for child in parent.children if child.tag == "primitive"]) < 2:
            return None
        top = _top(cib, place)
        changed = put(cib, place)
        return f"out of group {item.id}", put(changed, top, at(changed, top), item)
    if parent.tag != "resources" or item.tag == "bundle":
        return None
    kinds = ["clone", "group"] if item.tag == "primitive" else ["clone"]
    if all(one.get("class") in {"ocf", ""} for one in item.walk() if one.tag == "primitive"):
        kinds.append("promotable")  # what is made of other agents is refused, by older releases in part
    kind = rng.choice(kinds)
    name = f"{item.id}-{kind}"
    made = element("group" if kind == "group" else "clone", {"id": name}, item)
    if kind == "promotable":
        made = with_pair(made, "meta_attributes", "promotable", "true")
    return f"{kind} of {item.tag} {item.id}", put(cib, place, made)


def _top(cib: Element, place: Place) -> Place:
    while at(cib, place[:-1]).tag != "resources":
        place = place[:-1]
    return place


def into_group(cib: Element, rng: random.Random) -> Changed:
    """A top-level primitive becomes the member of a group; members change places."""
    groups = _resources(cib, "group")
    place = chosen(rng, groups)
    if place is None:
        return None
    group = at(cib, place)
    members = [child for child in group.children if child.tag == "primitive"]
    if rng.random() < 0.5 and len(members) > 1:
        others = [child for child in group.children if child.tag != "primitive"]
        rng.shuffle(members)
        return f"order of {group.id}", put(cib, place, group.with_children((*others, *members)))
    free = [one for one in _resources(cib, "primitive") if at(cib, one[:-1]).tag == "resources"]
    moved = chosen(rng, free)
    if moved is None:
        return None
    primitive = at(cib, moved)
    changed = put(cib, place, group.with_children((*group.children, primitive)))
    return f"{primitive.id} into {group.id}", put(changed, moved)


def operation(cib: Element, rng: random.Random) -> Changed:
    """An operation's interval, timeout, on-fail, role; added, taken away or disabled."""
    found = _resources(cib, "op")
    place = chosen(rng, found)
    if place is None or rng.random() < 0.2:
        return _added_operation(cib, rng)
    op = at(cib, place)
    choices: dict[str, tuple[str | None, ...]] = {
        "interval": ("17s",),
        "timeout": ("77s", None),
        "on-fail": ("ignore", "block", "stop", "restart", "fence", "standby", "demote", None),
        "role": ("Promoted", "Unpromoted", "Stopped", "Started", None),
        "enabled": ("false", None),
        "start-delay": ("5s",),
        "record-pending": ("true", "false"),
        "gone": ("",),
    }
    name = rng.choice(list(choices))
    if name == "gone":
        return f"gone {op.id}", put(cib, place)
    value = rng.choice(choices[name])
    changed = put(cib, place, op.with_attribute_map({name: value}))
    return (f"{name}={value} {op.id}", changed) if changed != cib else None


def _added_operation(cib: Element, rng: random.Random) -> Changed:
    place = chosen(rng, _resources(cib, "primitive"))
    if place is None:
        return None
    primitive = at(cib, place)
    name, interval, role = rng.choice(
        (
            ("monitor", "19s", ""),
            ("monitor", "23s", "Stopped"),
            ("monitor", "29s", "Promoted"),
            ("monitor", "31s", "Unpromoted"),
            ("start", "0", ""),
            ("stop", "0", ""),
        )
    )
    values = {"id": f"{primitive.id}-added-{name}", "name": name, "interval": interval}
    if role:
        values["role"] = role
    if rng.random() < 0.5:
        values["on-fail"] = rng.choice(("ignore", "block", "stop", "restart", "fence", "standby"))
    whole = primitive.child("operations") or element("operations", {"id": f"{primitive.id}-ops"})
    changed = primitive.with_child(whole.with_children((*whole.children, element("op", values))))
    return f"added {name} {interval} {role}", put(cib, place, changed)


def parameter(cib: Element, rng: random.Random) -> Changed:
    """A parameter of a resource has another value, or is new."""
    place = chosen(rng, _resources(cib, "primitive"))
    if place is None:
        return None
    primitive = at(cib, place)
    pairs = [
        pair.get("name")
        for whole in primitive.all("instance_attributes")
        for pair in whole.walk()
        if pair.tag == "nvpair"
    ]
    name = rng.choice([*pairs, "added"])
    value = rng.choice(("changed", None)) if name != "added" else "changed"
    changed = with_pair(primitive, "instance_attributes", name, value)
    return (f"{primitive.id} {name}={value}", put(cib, place, changed)) if changed != primitive else None


def constraint_gone(cib: Element, rng: random.Random) -> Changed:
    """A constraint, or one rule, expression or reference of it, is gone."""
    tags = rng.choice((CONSTRAINTS, ("resource_set", "resource_ref", "rule", "expression")))
    place = chosen(rng, below(cib, "constraints", *tags))
    if place is None:
        return None
    item, parent = at(cib, place), at(cib, place[:-1])
    if item.tag not in CONSTRAINTS and len(parent.children) < 2:
        return None
    return f"{item.tag} {item.id}", put(cib, place)


def constraint(cib: Element, rng: random.Random) -> Changed:
    """An attribute of a constraint."""
    place = chosen(rng, below(cib, "constraints", *CONSTRAINTS))
    if place is None:
        return None
    item = at(cib, place)
    nodes = [at(cib, node).get("uname") for node in below(cib, "nodes", "node")]
    choices: dict[str, tuple[str | None, ...]]
    match item.tag:
        case "rsc_colocation":
            choices = {
                "score": SCORES,
                "rsc-role": ROLES,
                "with-rsc-role": ROLES,
                "influence": ("true", "false", None),
                "node-attribute": ("site", "#uname", None),
            }
        case "rsc_order":
            choices = {
                "kind": ("Mandatory", "Optional", "Serialize"),
                "symmetrical": ("true", "false", None),
                "first-action": ACTIONS,
                "then-action": ACTIONS,
                "require-all": ("true", "false"),
            }
        case "rsc_ticket":
            choices = {"loss-policy": ("stop", "demote", "fence", "freeze"), "rsc-role": ROLES}
        case _:
            choices = {
                "score": SCORES,
                "node": tuple(nodes),
                "role": ROLES,
                "resource-discovery": ("always", "never", "exclusive"),
            }
            if item.child("rule") is not None:
                return _rule(cib, place, rng)
    if item.child("resource_set") is not None and rng.random() < 0.7:
        return _resource_set(cib, place, rng)
    name = rng.choice(list(choices))
    if item.tag == "rsc_order" and name == "kind":
        item = item.with_attribute_map({"score": None})
    value = rng.choice(choices[name])
    changed = put(cib, place, item.with_attribute_map({name: value}))
    return (f"{item.tag} {name}={value} {item.id}", changed) if changed != cib else None


_RULE_CHANGES = (
    ("score", "500"),
    ("score", "-INFINITY"),
    ("score", "INFINITY"),
    ("boolean-op", "or"),
    ("role", "Promoted"),
    ("role", "Unpromoted"),
)


def _rule(cib: Element, place: Place, rng: random.Random) -> Changed:
    inner = chosen(rng, tagged(at(cib, place), "rule", "expression"))
    if inner is None:
        return None
    item = at(cib, (*place, *inner))
    name, value = rng.choice(
        (("operation", "ne"), ("operation", "eq"), ("operation", "defined"), ("operation", "not_defined"))
        if item.tag == "expression"
        else _RULE_CHANGES
    )
    if item.tag == "rule" and name == "score":
        item = item.with_attribute_map({"score-attribute": None})
    if item.tag == "rule" and name == "role" and len(inner) > 1:
        return None
    if item.tag == "rule" and name == "score" and len(inner) > 1:
        return None
    changed = put(cib, (*place, *inner), item.with_attribute_map({name: value}))
    return (f"{item.tag} {name}={value}", changed) if changed != cib else None


def _resource_set(cib: Element, place: Place, rng: random.Random) -> Changed:
    inner = chosen(rng, tagged(at(cib, place), "resource_set"))
    if inner is None:
        return None
    item = at(cib, (*place, *inner))
    colocation = at(cib, place).tag == "rsc_colocation"
    name, value = rng.choice(
        (("sequential", "true"), ("sequential", "false"))
        + (
            (("role", "Promoted"), ("role", "Started"), ("score", "500"), ("score", "-INFINITY"))
            if colocation
            else (("require-all", "false"), ("action", "promote"), ("action", "stop"), ("kind", "Optional"))
        )
    )
    changed = put(cib, (*place, *inner), item.with_attribute_map({name: value}))
    return (f"set {name}={value}", changed) if changed != cib else None


def constraint_added(cib: Element, rng: random.Random) -> Changed:
    """A new constraint between resources that are there."""
    sections = tagged(cib, "constraints")
    tops = [at(cib, place).id for place in _resources(cib) if at(cib, place[:-1]).tag == "resources"]
    nodes = [at(cib, node).get("uname") for node in below(cib, "nodes", "node")]
    if not sections or not tops or not nodes:
        return None
    pool = tops if rng.random() < 0.8 else _all_ids(cib)
    one, other = rng.choice(pool), rng.choice(pool)
    kind = rng.choice(("location", "colocation", "order", "ticket"))
    values: dict[str, str | None]
    if kind == "location":
        values = {"rsc": one, "node": rng.choice(nodes), "score": rng.choice(SCORES)}
    elif kind == "ticket":
        policy = rng.choice(("stop", "demote", "fence", "freeze"))
        values = {"rsc": one, "ticket": "added", "loss-policy": policy}
    elif one == other:
        return None
    elif kind == "colocation":
        values = {"rsc": one, "with-rsc": other, "score": rng.choice(SCORES)}
        values |= {"rsc-role": rng.choice(ROLES), "with-rsc-role": rng.choice(ROLES)}
    else:
        values = {"first": one, "then": other, "kind": rng.choice(("Mandatory", "Optional", "Serialize"))}
        values |= {"first-action": rng.choice(ACTIONS), "then-action": rng.choice(ACTIONS)}
    given = {"id": f"added-{kind}", **{name: value for name, value in values.items() if value}}
    section = at(cib, sections[0])
    text = " ".join(f"{name}={value}" for name, value in given.items())
    return text, put(
        cib, sections[0], section.with_children((*section.children, element(f"rsc_{kind}", given)))
    )
