"""Tags: names for sets of resources that constraints may use."""

from __future__ import annotations

from crm.scheduler.model import WorkingSet


def unpack_tags(work: WorkingSet) -> None:
    """Read <tags>: the ids each tag stands for, in document order."""
    section = work.cib.path("configuration", "tags")
    for item in section.all("tag") if section is not None else ():
        if item.id:
            work.tags.setdefault(item.id, []).extend(
                reference.id for reference in item.all("obj_ref") if reference.id
            )
