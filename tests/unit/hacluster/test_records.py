from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from copy import copy

import pytest

from hacluster.records import MANY, field, record

NOTHING: Mapping[str, str] = {}


@record()
class Work:
    """Changed as one goes."""

    name: str
    count: int = 0
    found: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        return self.name.title()


@record(frozen=True)
class Fact:
    """Never changed."""

    name: str
    values: Mapping[str, str] = NOTHING


@record(frozen=True)
class Single:
    only: int


@record(frozen=True, kw_only=True)
class Named:
    first: int = 1
    second: int


# Both ways of making an object: field by field, and by code that is compiled once there are many.
both_ways = pytest.mark.parametrize("made_before", [0, MANY], ids=("early", "late"))


@both_ways
def test_fields_by_place_by_name_and_by_default(made_before: int) -> None:
    for _ in range(made_before):
        Work("c")
    one = Work("a", found=["x"])
    other = Work(name="b", count=2)
    assert (one.name, one.count, one.found, one.title) == ("a", 0, ["x"], "A")
    assert (other.name, other.count, other.found) == ("b", 2, [])
    assert one != Work("a", 0, ["x"]), "it is itself alone"
    other.found.append("y")
    assert Work("c").found == [], "each has a list of its own"


@both_ways
def test_what_is_missing_unknown_or_too_much_is_refused(made_before: int) -> None:
    for _ in range(made_before):
        Work("a")
        Named(second=2)
    for wrong in (  # a type checker refuses them, too
        lambda: Work(),  # type: ignore[call-arg]
        lambda: Work("a", 1, [], 2),  # type: ignore[call-arg]
        lambda: Work("a", 1, count=2),  # type: ignore[misc]
        lambda: Work("a", other=2),  # type: ignore[call-arg]
        lambda: Named(),  # type: ignore[call-arg]
        lambda: Named(1, 2),  # type: ignore[call-arg]
    ):
        with pytest.raises(TypeError):
            wrong()
    assert (Named(second=2).first, Named(second=2).second) == (1, 2)


@both_ways
def test_a_frozen_one_is_its_fields_and_stays_so(made_before: int) -> None:
    for _ in range(made_before):
        Fact("a"), Single(3)
    fact = Fact("a")
    single = Single(3)
    assert fact == Fact("a", NOTHING) != Fact("b")
    assert fact.__eq__("a") is NotImplemented
    assert repr(fact) == "Fact(name='a', values={})"
    assert (repr(single), hash(single)) == ("Single(only=3)", hash(Single(3)))
    assert repr(Named(second=2)) == "Named(first=1, second=2)"
    with pytest.raises(AttributeError, match="frozen"):
        fact.name = "b"  # type: ignore[misc]  # refused by a type checker, too
    with pytest.raises(AttributeError, match="frozen"):
        del fact.name
    assert fact.name == "a"


def test_fields_have_slots_and_are_matched_by_place() -> None:
    work = Work("a", 1)
    with pytest.raises(AttributeError):
        work.other = 1  # type: ignore[attr-defined]  # as above
    match work:
        case Work(name, count):
            assert (name, count) == ("a", 1)
    twin = copy(work)
    twin.count = 2
    assert (work.count, twin.count, twin.found is work.found) == (1, 2, True)


def test_the_scheduler_loads_without_what_makes_dataclasses() -> None:
    unwanted = "dataclasses inspect ast hashlib json pathlib datetime"
    program = (
        "import sys, crm.scheduler.pipeline, crm.transition.graph_xml\n"
        f"print(*set('{unwanted}'.split()) & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []
