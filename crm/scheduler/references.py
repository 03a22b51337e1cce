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
    """True for names of resources, templates and tags."""
    return find_resource(work, name) is not None or find_many(work, name) is not None


def set_members(work: WorkingSet, item: Element) -> list[Resource] | None:
    """The resources of a <resource_set>; tags and templates stand for their members, in place.

    None where a reference leads nowhere: the constraint is void then.
    """
    found: list[Resource] = []
    for reference in item.all("resource_ref"):
        resource = find_resource(work, reference.id)
        if resource is not None:
            found.append(resource)
            continue
        names = find_many(work, reference.id)
        if names is None:
            return None
        for name in names:
            member = find_resource(work, name)
            if member is not None:
                found.append(member)
    return found


def sets_of_constraint(work: WorkingSet, item: Element) -> list[Element] | None:
    """The <resource_set>s of a constraint, references resolved; None where one leads nowhere."""
    found: list[Element] = []
    for one in item.all("resource_set"):
        resolved = work.elements.resolve(one)
        if resolved is None:
            return None
        found.append(resolved)
    return found
