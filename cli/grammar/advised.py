"""Times that an agent advises, written into a resource's operations. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cli.grammar.document import change_resource, configuration_of
from cli.grammar.ids import Ids, with_ids
from crm.cib.ids import used_ids
from crm.cib.model import Element, element
from hacluster.durations import parse_ms, render_ms

_ADDED: Final = ("start", "stop", "monitor")
_ALSO: Final = ("promote", "demote", "migrate_to", "migrate_from")

Advice = tuple[str, str, int | None, int | None]
"""Operation, role, timeout and interval in ms."""


def with_advised_times(cib: Element, item: Element, advised: Sequence[Advice]) -> Element:
    """Timeouts that are missing or shorter than advised become the advised ones; longer ones stay."""
    operations = item.child("operations") or element("operations")
    children = list(operations.children)
    for name, role, timeout_ms, interval_ms in advised:
        if timeout_ms is None or name not in (*_ADDED, *_ALSO):
            continue
        found = [index for index, one in enumerate(children) if _is(one, name, role)]
        for index in found:
            if _timeout_ms(children[index]) < timeout_ms:
                children[index] = children[index].with_attributes(timeout=render_ms(timeout_ms))
        if not found and name in _ADDED:
            made = {"name": name, "interval": render_ms(interval_ms) if interval_ms else "0"}
            made |= {"role": role} if role else {}
            children.append(element("op", made | {"timeout": render_ms(timeout_ms)}))
    changed = item.with_child(operations.with_children(tuple(children)))
    ids = Ids(used_ids(configuration_of(cib)))
    ids.free(item)
    filled = with_ids(changed, ids)
    return change_resource(cib, item.id, lambda _old: filled)


def _is(item: Element, name: str, role: str) -> bool:
    return item.tag == "op" and item.get("name") == name and (not role or item.get("role") in ("", role))


def _timeout_ms(item: Element) -> int:
    try:
        return parse_ms(item.get("timeout", "0"))
    except ValueError:
        return 0
