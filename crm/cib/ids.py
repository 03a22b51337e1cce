"""Ids of the elements of a configuration: which are in use, and one that is free. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator
from itertools import count
from typing import Final

from crm.cib.model import Element

IDS_ELSEWHERE: Final = ("resource_ref", "obj_ref", "role", "node", "acl_target", "acl_group")
"""Their `id` refers to something, or lives in a space of names of its own."""

# The name of an attribute may have what no XML id can, as in #health-disk.
_UNFIT: Final = re.compile(r"[^\w.-]")


def used_ids(item: Element) -> set[str]:
    """The ids that elements of this tree have themselves (references do not count)."""
    return set(own_ids(item))


def ids_twice(item: Element) -> Counter[str]:
    """The ids that more than one element of this tree has, with how many."""
    return Counter({name: times for name, times in Counter(own_ids(item)).items() if times > 1})


def own_ids(item: Element) -> Iterator[str]:
    """Those of all its elements, with repeats. Placeholders and comments (#…) have none."""
    named = (one for one in item.walk() if one.id)
    return (one.id for one in named if one.tag not in IDS_ELSEWHERE and not one.tag.startswith("#"))


def fitting(wanted: str) -> str:
    """`wanted` with a dot for each character that no id can hold."""
    return _UNFIT.sub(".", wanted)


def free_id(used: Container[str], wanted: str) -> str:
    """`wanted` made to fit, with -0, -1, … after it when it is used."""
    wanted = fitting(wanted)
    return numbered_id(used, wanted) if wanted in used else wanted


def numbered_id(used: Container[str], prefix: str, first: int = 0) -> str:
    """The first of PREFIX-0, PREFIX-1, … that is not used."""
    prefix = fitting(prefix)
    return next(made for made in (f"{prefix}-{number}" for number in count(first)) if made not in used)
