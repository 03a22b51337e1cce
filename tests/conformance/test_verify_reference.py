"""Whatever crm_verify -V finds, `hacli verify` finds: over the corpus, and over mistakes put into it."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from crm.cib import codec
from crm.cib.model import Element, element
from crm.explain.changes import edited
from crm.scheduler.pipeline import effective_now_s
from tests.conformance.scheduler_batch import NOW_S
from tests.conformance.verify_reference import missing, ours, reference

FOLDER = os.environ.get("HACLUSTER_SCHEDULER_CORPUS", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not FOLDER, reason="HACLUSTER_SCHEDULER_CORPUS names no corpus"),
    pytest.mark.skipif(shutil.which("crm_verify") is None, reason="crm_verify is not installed"),
]

Mutation = Callable[[Element, random.Random], Element]


def _one(cib: Element, dice: random.Random, *tags: str) -> Element | None:
    """A random element of the configuration with one of these tags."""
    configuration = cib.child("configuration") or element("configuration")
    found = [item for item in configuration.walk() if item.tag in tags and item.id]
    return dice.choice(found) if found else None


def _with(cib: Element, chosen: Element | None, change: Callable[[Element], Element | None]) -> Element:
    if chosen is None:
        return cib
    return edited(cib, lambda item: change(item) if item.tag == chosen.tag and item.id == chosen.id else item)


def _with_ops(primitive: Element, *ops: Element) -> Element:
    held = primitive.child("operations") or element("operations")
    return primitive.with_child(held.with_children((*held.children, *ops)))


def two_lists_of_operations(cib: Element, dice: random.Random) -> Element:
    more = element("operations", None, element("op", {"id": "more", "name": "monitor", "interval": "17s"}))
    return _with(
        cib,
        _one(cib, dice, "op", "primitive"),
        lambda item: item.with_children((*item.children, more, more)) if item.tag == "primitive" else item,
    )


def lost_resource(cib: Element, dice: random.Random) -> Element:
    return _with(cib, _one(cib, dice, "primitive", "group", "clone"), lambda _item: None)


def unknown_reference(cib: Element, dice: random.Random) -> Element:
    chosen = _one(cib, dice, "rsc_order", "rsc_colocation", "rsc_location")
    names = ("rsc", "with-rsc", "first", "then")
    return _with(
        cib,
        chosen,
        lambda item: item.with_attributes(**{name: "nobody" for name in names[:1] if item.get(name)}),
    )


def operation_twice(cib: Element, dice: random.Random) -> Element:
    ops = [
        element("op", {"id": f"twice-{number}", "name": "monitor", "interval": "17s"}) for number in (1, 2)
    ]
    return _with(cib, _one(cib, dice, "primitive"), lambda item: _with_ops(item, *ops))


def stop_answered_by_stop(cib: Element, dice: random.Random) -> Element:
    op = element("op", {"id": "stop-stop", "name": "stop", "interval": "0", "on-fail": "stop"})
    return _with(cib, _one(cib, dice, "primitive"), lambda item: _with_ops(item, op))


def promoted_without_clone(cib: Element, dice: random.Random) -> Element:
    pair = element("nvpair", {"id": "lonely-1", "name": "target-role", "value": "Promoted"})
    return _with(
        cib,
        _one(cib, dice, "primitive"),
        lambda item: item.with_children((element("meta_attributes", {"id": "lonely"}, pair), *item.children)),
    )


def no_devices(cib: Element, _dice: random.Random) -> Element:
    return edited(cib, lambda item: None if item.get("class") == "stonith" or item.id == "stonith" else item)


def same_id(cib: Element, dice: random.Random) -> Element:
    chosen, other = _one(cib, dice, "nvpair"), _one(cib, dice, "primitive", "node")
    if other is None:
        return cib
    return _with(cib, chosen, lambda item: item.with_attributes(id=other.id))


def strange_element(cib: Element, dice: random.Random) -> Element:
    return _with(
        cib,
        _one(cib, dice, "primitive", "group", "clone"),
        lambda item: item.with_children((*item.children, element("nonsense", {"id": "nonsense"}))),
    )


def lost_attribute(cib: Element, dice: random.Random) -> Element:
    chosen = _one(cib, dice, "primitive", "op", "rsc_order", "rsc_colocation")
    names = {"primitive": "type", "op": "name", "rsc_order": "then", "rsc_colocation": "with-rsc"}
    return _with(cib, chosen, lambda item: item.with_attribute_map({names[item.tag]: None}))


MUTATIONS: tuple[Mutation, ...] = (
    lost_resource, unknown_reference, operation_twice, stop_answered_by_stop, promoted_without_clone,
    two_lists_of_operations, no_devices, same_id, strange_element, lost_attribute,
)  # fmt: skip


def cases() -> list[str]:
    return (Path(FOLDER) / "names.txt").read_text().split() if FOLDER else []


def judged(cib: Element) -> list[str]:
    """What the reference says of a CIB and ours does not."""
    document = codec.render(cib).encode()
    ids = frozenset(item.id for item in cib.walk() if item.id)
    return list(missing(reference(document), ours(cib, effective_now_s(cib, NOW_S)), ids))


def test_the_corpus() -> None:
    wrong = []
    for name in cases():
        cib = codec.parse((Path(FOLDER) / "xml" / f"{name}.xml").read_bytes(), source=name)
        wrong += [f"{name}: {message}" for message in judged(cib)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_mistakes_put_in(mutate: Mutation) -> None:
    wrong = []
    for number, name in enumerate(cases()[::12]):
        cib = codec.parse((Path(FOLDER) / "xml" / f"{name}.xml").read_bytes(), source=name)
        changed = mutate(cib, random.Random(number))
        wrong += [f"{name}: {message}" for message in judged(changed)]
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:30])
