"""Live migration (Pacemaker Explained, "Migrating Resources")."""

from __future__ import annotations

from crm.scheduler.actions import make_for_task
from crm.scheduler.model import Node, Rel, Resource, WorkingSet
from crm.scheduler.relations import order_tasks


def can_migrate(resource: Resource, current: Node) -> bool:
    """Whether the resource could be moved without being stopped."""
    target = resource.assigned_node
    return (
        resource.migratable
        and resource.managed
        and not resource.failed
        and not resource.start_pending
        and not current.unclean
        and target is not None
        and not target.unclean
    )


def create_migration_actions(work: WorkingSet, resource: Resource, current: Node) -> None:
    """migrate_to on the source, migrate_from on the target, and a start that is a mere point in time."""
    target = resource.assigned_node
    assert target is not None
    start = make_for_task(work, resource, "start", target, optional=True)
    stop = make_for_task(work, resource, "stop", current, optional=True)
    start.migratable = stop.migratable = True
    start.pseudo = True
    places = {"migrate_source": current.name, "migrate_target": target.name}
    if resource.partial_target is None:
        away = make_for_task(work, resource, "migrate_to", current, optional=True)
        arrive = make_for_task(work, resource, "migrate_from", target, optional=True)
        away.migratable = True
        away.needs = start.needs
        away.meta.update(places)
        if not resource.is_remote_connection:
            away.meta["record-pending"] = "true"
        order_tasks(work, resource, "monitor", resource, "migrate_to", Rel.ORDERED)
        order_tasks(
            work,
            resource,
            "migrate_to",
            resource,
            "migrate_from",
            Rel.ORDERED | Rel.UNMIGRATABLE_THEN_BLOCKS,
        )
    else:
        arrive = make_for_task(work, resource, "migrate_from", target, optional=True)
        arrive.needs = start.needs
        order_tasks(work, resource, "monitor", resource, "migrate_from", Rel.ORDERED)
    arrive.migratable = True
    arrive.meta.update(places)
    flags = Rel.ORDERED | Rel.UNMIGRATABLE_THEN_BLOCKS
    order_tasks(work, resource, "migrate_from", resource, "stop", flags)
    order_tasks(work, resource, "migrate_from", resource, "start", flags | Rel.FIRST_ELSE_THEN)
