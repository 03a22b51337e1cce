"""Why an instance of a promotable clone is promoted, or is not: its promotion score, piece by piece. Pure."""

from __future__ import annotations

from collections.abc import Callable

from crm.explain.contributions import contributions, whereabouts
from crm.explain.facts import Fact, listed
from crm.scheduler import scores
from crm.scheduler.activity import is_available
from crm.scheduler.colocation import this_with
from crm.scheduler.failures import without_number
from crm.scheduler.model import Node, Resource, Role, WorkingSet
from crm.scheduler.placement.promotion import Whereabouts, promotion_score
from crm.scheduler.scores import INFINITY, render
from crm.scheduler.stages.location import attribute_for

_Add = Callable[[str, int, str, str], None]


def promotable_of(resource: Resource) -> Resource | None:
    """The promotable clone that a resource is, is in, or (a bundle) holds."""
    if resource.bundle is not None:
        child = resource.bundle.child
        return child if child is not None and child.promotable else None
    if resource.replica is not None and resource.replica.child is not None:
        top = resource.replica.child.top()
    else:
        top = resource.top()
    return top if top.promotable else None


def instance_of(resource: Resource) -> Resource | None:
    """The instance of a promotable clone that a primitive is, or is a member of."""
    here: Resource | None = resource
    while here is not None:
        if here.parent is not None and here.parent.promotable:
            return here
        here = here.parent
    return None


def node_of(instance: Resource) -> Node | None:
    """Where an instance is to be."""
    return next((one.assigned_node for one in instance.primitives() if one.assigned_node is not None), None)


def is_promoted(instance: Resource) -> bool:
    """Whether it is to be promoted."""
    return any(one.next_role is Role.PROMOTED for one in instance.primitives())


def promotion_facts(work: WorkingSet, instance: Resource) -> list[Fact]:
    """One fact about one instance, with the pieces of its promotion score; none where it is not to run."""
    clone, node = instance.parent, node_of(instance)
    if clone is None or node is None:
        return []
    score = instance.promotion_priority
    details = _pieces(work, clone, instance, node)
    shown = render(score)
    if is_promoted(instance):
        text = f"{instance.id} is to be promoted on {node.name}: promotion score {shown}"
    elif score < 0:
        text = f"{instance.id} may not be promoted on {node.name}: promotion score {shown}"
    else:
        text = f"{instance.id} is not to be promoted on {node.name}: promotion score {shown}"
        text += _outdone(work, clone, instance, node)
    return [
        Fact(
            kind="promotion",
            text=text + (":" if details else "."),
            node=node.name,
            origin=instance.id,
            score=score,
            details=details,
        )
    ]


def _outdone(work: WorkingSet, clone: Resource, instance: Resource, node: Node) -> str:
    """Why one with a score that would do is not promoted."""
    others = [one for one in clone.children if one is not instance and is_promoted(one)]
    if len(others) >= clone.promoted_max:
        if not others:
            return f"; promoted-max is {clone.promoted_max}"
        best = max(others, key=lambda one: one.promotion_priority)
        place = node_of(best)
        where = f" on {place.name}" if place is not None else ""
        text = f"; {best.id}{where} has {render(best.promotion_priority)}"
        if best.promotion_priority == instance.promotion_priority:
            text += " too" + (
                ", and is promoted there already" if _was_promoted(best) else ", and comes first"
            )
        return f"{text}, and promoted-max is {clone.promoted_max}"
    if not instance.managed:
        return ", but it is not managed"
    if not work.have_quorum:
        return ", but the partition has no quorum"
    if not is_available(node):
        return f", but {node.name} is not available"
    here = sum(1 for one in others if node_of(one) is node)
    if here >= clone.promoted_node_max > 0:
        return f", and promoted-node-max is {clone.promoted_node_max}"
    return ""


def _was_promoted(instance: Resource) -> bool:
    return any(one.orig_role is Role.PROMOTED for one in instance.primitives())


def _pieces(work: WorkingSet, clone: Resource, instance: Resource, node: Node) -> tuple[Fact, ...]:
    """What the score is the sum of; from the clone's own table where that decided, else by itself."""
    entry = clone.allowed.get(node.id)
    decided = entry is not None and entry.score == instance.promotion_priority
    if entry is None or not decided or not _in_table(entry.why, instance.id):
        return tuple(_own_pieces(clone, instance, node, instance.promotion_priority))
    found: list[Fact] = []
    for fact in contributions(work, clone, entry):
        if fact.kind == "promotion" and fact.origin == instance.id and fact.score is not None:
            found += _own_pieces(clone, instance, node, fact.score)
        else:
            found.append(fact)
    return tuple(found)


def _in_table(why: scores.Why | None, origin: str) -> bool:
    while why is not None:
        if why[1] == "unwelcome" or (why[1] == "promotion" and why[2] == origin):
            return True
        why = why[3]
    return False


def _own_pieces(clone: Resource, instance: Resource, node: Node, wanted: int) -> list[Fact]:
    """The node attribute, locations and colocations for the role Promoted; together they make `wanted`."""
    found: list[Fact] = []

    def add(kind: str, score: int, text: str, origin: str) -> None:
        sign = "" if score < 0 else "+"
        found.append(
            Fact(kind=kind, text=f"{sign}{render(score)} {text}", node=node.name, origin=origin, score=score)
        )

    target = next(
        (
            one.id
            for one in (instance, clone)
            if one.meta.get("target-role", "").lower() in ("unpromoted", "slave", "stopped")
        ),
        "",
    )
    if wanted <= -INFINITY and target:
        add("target_role", -INFINITY, f"target-role of {target} keeps it from being promoted", target)
        return found
    score, default = promotion_score(instance, node, Whereabouts(clone))
    name = _attribute_name(instance, node)
    if default:
        add("promotion_attribute", -1, f"{node.name} has no node attribute {name}", name)
    else:
        add("promotion_attribute", score, f"node attribute {name} of {node.name}", name)
    for owner in (instance, clone):
        for location in reversed(owner.locations):
            if location.role is not Role.PROMOTED:
                continue
            for where, amount in location.scores:
                if where is node and amount:
                    add(
                        "location",
                        amount,
                        f"location constraint {location.id} for role Promoted",
                        location.id,
                    )
    _add_rest(instance, node, found, wanted, add_colocation=add)
    return found


def _add_rest(
    instance: Resource, node: Node, found: list[Fact], wanted: int, *, add_colocation: _Add
) -> None:
    """What is left is of colocations whose dependent is the promoted instance."""
    total = 0
    for fact in found:
        total = scores.add(total, fact.score or 0)
    if total == wanted:
        return
    constraints = [one for one in this_with(instance) if one.dependent_role > Role.STARTED]
    for one in constraints:
        for change in (one.score, -one.score):
            if scores.add(total, change) == wanted and total != wanted:
                where = whereabouts(one.primary, one.primary_role)
                text = f"colocation {one.id} with {one.primary.id}, which {where}"
                add_colocation("colocation", change, text, one.id)
                return
    names = listed([one.id for one in constraints]) if constraints else ""
    if not names:
        found.clear()  # e.g. promoted and not managed: no sum decided
        now = "promoted" if _was_promoted(instance) else "not promoted"
        why = f"it is {now} and not managed: it stays as it is"
        if instance.managed:
            name = _attribute_name(instance, node)
            if _attribute(instance, node, name) == wanted:
                text = f"node attribute {name} of {node.name}"
                add_colocation("promotion_attribute", wanted, text, name)
                return
            why = f"its role is given ({next(instance.primitives()).next_role.label.lower()})"
        add_colocation("given", wanted, why, instance.id)
        return
    rest = wanted if abs(wanted) >= INFINITY else wanted - total
    add_colocation("colocation", rest, f"colocations {names} together", constraints[0].id)


def _attribute_name(instance: Resource, node: Node) -> str:
    primitive = next(instance.primitives())
    name = primitive.history_id or primitive.id
    exact = attribute_for(primitive, node, f"master-{name}", assigned=True)
    if exact is None and not primitive.unique:
        name = without_number(name)
    return f"master-{name}"


def _attribute(instance: Resource, node: Node, name: str) -> int | None:
    """The value of the node attribute, whether or not it counts any more."""
    primitive = next(instance.primitives())
    text = attribute_for(primitive, node, name, assigned=not primitive.unassigned)
    return scores.parse(text) if text is not None else None
