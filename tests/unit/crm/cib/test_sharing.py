"""What changed between two documents, and schedules from what was read before: nothing may depend on it."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from benchmarks.scheduler.built_in import STATES, cluster
from crm.cib import codec
from crm.cib.model import COMMENT, Element, element
from crm.cib.sharing import applied, changes
from crm.scheduler.pipeline import schedule
from crm.scheduler.readings import Readings
from crm.transition.graph_xml import graph_xml
from tests.fuzz.mutations import mutated
from tests.fuzz.scheduler import bases

NOW_S = 1_790_000_000
STEPS = 12


def edited(item: Element, rng: random.Random) -> Element:
    """A few small edits, most of the tree the same objects as before."""
    if not item.children or (item.tag == "lrm_rsc_op" and rng.random() < 0.5):
        return _touched(item, rng)
    place = rng.randrange(len(item.children))
    child = item.children[place]
    match rng.randrange(8):
        case 0:
            kept = (*item.children[:place], *item.children[place + 1 :])
        case 1:
            other = rng.randrange(len(item.children))
            kept = (*item.children[:place], item.children[other], *item.children[place + 1 :])
        case 2:
            kept = (*item.children, Element(COMMENT, {}, (), " edited "))
        case _:
            kept = (*item.children[:place], edited(child, rng), *item.children[place + 1 :])
    return item.with_children(kept)


def _touched(item: Element, rng: random.Random) -> Element:
    if item.tag == COMMENT or not item.attributes:
        return item
    name = rng.choice(sorted(item.attributes))
    if name == "id":
        return item
    return item.with_attribute_map({name: rng.choice(("0", "7", "1", "9", "true", "stop", "start", 'a<"b'))})


def documents(seed: int) -> list[Element]:
    """A document and its successors: a small cluster, one made, or one of the corpus where there is one."""
    rng = random.Random(seed)
    first = (
        codec.parse(cluster(3, 25, rng.choice(STATES))) if seed % 2 else rng.choice(bases(size_max=20_000))[1]
    )
    found = [first]
    for _ in range(STEPS):
        last = found[-1]
        found.append(mutated(last, rng) if rng.random() < 0.3 else edited(edited(last, rng), rng))
    return [one for one in found if one.tag == first.tag]


@pytest.mark.parametrize("seed", range(12))
def test_a_schedule_does_not_depend_on_what_was_read_before(seed: int) -> None:
    readings = Readings()
    theirs: Element | None = None
    for before, cib in pairwise([element("cib"), *documents(seed)]):
        data = changes(before, cib) if theirs is not None else b""
        theirs = applied(theirs, data) if theirs is not None else codec.parse(codec.canonical(cib))
        whole = codec.parse(codec.canonical(cib))
        assert theirs == whole
        assert codec.canonical(theirs) == codec.canonical(cib)
        again = schedule(theirs, NOW_S, readings=readings)
        fresh = schedule(whole, NOW_S)
        assert graph_xml(again.graph) == graph_xml(fresh.graph)
        assert again.score_lines == fresh.score_lines


def test_what_did_not_change_is_not_sent_and_stays_the_same_object() -> None:
    old = codec.parse(cluster(3, 40, "running"))
    status = old.child("status")
    assert status is not None
    first = status.children[0]
    new = old.with_child(status.with_children((first.with_attributes(crmd="offline"), *status.children[1:])))
    data = changes(old, new)
    assert len(data) < 1_000
    theirs = codec.parse(codec.canonical(old))
    after = applied(theirs, data)
    assert after == new
    assert after.children[0] is theirs.children[0]
    assert after.children[1].children[1:] == theirs.children[1].children[1:]
    assert all(
        mine is yours
        for mine, yours in zip(after.children[1].children[1:], theirs.children[1].children[1:], strict=True)
    )


def test_readings_of_what_is_gone_are_forgotten() -> None:
    readings = Readings()
    item = element("lrm_resource", {"id": "r"})
    readings.begin()
    reading = readings.of(item)
    readings.begin()
    assert readings.of(item) is reading
    readings.begin()
    readings.begin()
    assert readings.of(item) is not reading
