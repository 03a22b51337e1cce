"""What constraints name: resources, templates and tags."""

from __future__ import annotations

from crm.cib.model import Element
from crm.scheduler.model import Resource, WorkingSet


def find_resource(work: WorkingSet, name: str) -> Resource | None:
    """The resource a constraint names; an anonymous instance stands for its clone."""
    found = work.resources_by_id.get(name)
    if found is not None:
        return found
    by_history = work.history_ids.get(name)
    return by_history.top() if by_history is not None else None


def find_many(work: WorkingSet, name: str) -> list[str] | None:
    """The ids a template or tag stands for, None where the name is neither."""
    if name in work.templates:
        return work.templates[name]
    if work.elements.find("template", name) is not None:
        return []
    return work.tags.get(name)


def is_known(work: WorkingSet, name: str) -> bool:
    """True for names of resources, and of templates and tags that stand for something."""
    return find_resource(work, name) is not None or bool(find_many(work, name))


def set_members(work: WorkingSet, sets: list[Element]) -> list[list[Resource | None]]:
    """The members of each <resource_set>, None where a reference leads nowhere.

    Tags and templates stand for their members, in place; but when any reference or any of those members leads
    nowhere none is replaced, and then they lead nowhere themselves.
    """
    names = [[reference.id for reference in one.all("resource_ref")] for one in sets]
    expanded = [_expanded(work, one, frozenset()) for one in names]
    known = [one for one in expanded if one is not None]
    chosen = known if len(known) == len(names) else names
    return [[find_resource(work, name) for name in one] for one in chosen]


def _expanded(work: WorkingSet, names: list[str], above: frozenset[str]) -> list[str] | None:
    found: list[str] = []
    for name in names:
        if find_resource(work, name) is not None:
            found.append(name)
            continue
        members = find_many(work, name)
        inner = _expanded(work, members, above | {name}) if members and name not in above else None
        if inner is None:
            return None
        found.extend(inner)
    return found


def until_unknown(members: list[Resource | None]) -> list[Resource]:
    """The members before the first that leads nowhere."""
    found: list[Resource] = []
    for member in members:
        if member is None:
            break
        found.append(member)
    return found


def named(work: WorkingSet, name: str) -> list[Resource]:
    """The resource of that name, or what a tag or template of that name stands for."""
    resource = find_resource(work, name)
    if resource is not None:
        return [resource]
    return until_unknown([find_resource(work, one) for one in find_many(work, name) or ()])


def sets_of_constraint(work: WorkingSet, item: Element) -> list[Element] | None:
    """The <resource_set>s of a constraint, references resolved; None where one leads nowhere."""
    found: list[Element] = []
    for one in item.all("resource_set"):
        resolved = work.elements.resolve(one)
        if resolved is None:
            return None
        found.append(resolved)
    return found
