"""Changes of a configuration as text and as data: what stood there, what stands there now. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence

from cli.grammar.document import RESOURCE_TAGS, object_id, objects
from cli.grammar.show import object_text
from cli.grammar.wording import Style
from crm.cib.model import Element, element
from crm.cib.objects import ObjectChange

_Texts = dict[tuple[str, str], list[str]]


def _texts(change: ObjectChange, item: Element | None, style: Style) -> _Texts:
    """The lines of an object, and of its members before it, as `show` has them; by kind and id."""
    if item is None:
        return {}
    if change.key[0] in ("rsc_defaults", "op_defaults"):
        item = element(change.key[0], None, item)
    inner = list(objects(element("cib", None, element("configuration", None, _home(item)))))
    if item.tag in RESOURCE_TAGS:
        inner.reverse()
    return {
        (one.tag, object_id(one)): [
            line.removesuffix(" \\").expandtabs(4) for line in object_text(one, style).splitlines()
        ]
        for one in inner
    }


def _home(item: Element) -> Element:
    if item.tag in ("rsc_defaults", "op_defaults", "fencing-topology"):
        return item
    return element(_SECTIONS.get(item.tag, "resources"), None, item)


_SECTIONS = {
    "node": "nodes",
    "cluster_property_set": "crm_config",
    "tag": "tags",
    "alert": "alerts",
    "meta_attributes": "rsc_defaults",
    **dict.fromkeys(("acl_role", "acl_target", "acl_group", "acl_user"), "acls"),
    **dict.fromkeys(("rsc_location", "rsc_colocation", "rsc_order", "rsc_ticket"), "constraints"),
}


def change_lines(changed: Sequence[ObjectChange], before: Element, after: Element) -> list[str]:
    """`- ` what goes, `+ ` what comes, `  ` what stays of an object that changes.

    A resource that only moves into a container or out of one is as before, and not shown.
    """
    old, new = Style.of(before, obscure=SECRETS), Style.of(after, obscure=SECRETS)
    was_there, is_there = _Texts(), _Texts()
    for one in changed:
        was_there |= _texts(one, one.before, old)
        is_there |= _texts(one, one.after, new)
    lines: list[str] = []
    done: set[tuple[str, str]] = set()
    for one in changed:
        wanted = [
            key for item, style in ((one.before, old), (one.after, new)) for key in _texts(one, item, style)
        ]
        fresh = [key for key in dict.fromkeys(wanted) if key not in done]
        done.update(fresh)
        made = [line for key in fresh for line in _merged(was_there.get(key, []), is_there.get(key, []))]
        if not made and all(was_there.get(key) == is_there.get(key) for key in wanted):
            # An id, or a value that is hidden.
            made = [] if _is_moved(one, changed) else [f"~ {one.name}: something that is not shown changed"]
        lines += made
    return lines


def _is_moved(change: ObjectChange, changed: Sequence[ObjectChange]) -> bool:
    """It is in a container now, or was in one before."""
    side = "after" if change.after is None else "before"
    items = (getattr(other, side) for other in changed if other is not change)
    return any(part.id == change.key[2] for item in items if item is not None for part in item.walk())


SECRETS = ("passw.*", ".*secret.*")


def _merged(was: Sequence[str], is_now: Sequence[str]) -> Iterator[str]:
    if was != is_now:
        yield from (line.rstrip() for line in difflib.ndiff(was, is_now) if not line.startswith("?"))


def _whole(change: ObjectChange, item: Element | None, style: Style) -> str:
    return "\n".join(line for lines in _texts(change, item, style).values() for line in lines)


def change_data(changed: Iterable[ObjectChange], before: Element, after: Element) -> list[dict[str, object]]:
    """The same for programs: kind, id, what happens, and both texts."""
    old, new = Style.of(before, obscure=SECRETS), Style.of(after, obscure=SECRETS)
    return [
        {
            "section": one.key[0],
            "kind": one.key[1],
            "id": one.key[2],
            "change": "added" if one.before is None else "removed" if one.after is None else "changed",
            "before": _whole(one, one.before, old),
            "after": _whole(one, one.after, new),
        }
        for one in changed
    ]
