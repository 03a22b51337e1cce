"""What is printed adds up: the pieces of a score make the score, also where many are alike."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crm.cib.model import element
from crm.explain.contributions import contributions
from crm.scheduler import scores
from crm.scheduler.model import Entry, Node, Resource, Variant, WorkingSet
from crm.scheduler.pipeline import unpack

PIECES = st.tuples(
    st.sampled_from((-1_000_000, -100, -1, 1, 100, 600_000, 1_000_000)),
    st.sampled_from(("location", "stickiness", "wish", "promotion")),
    st.sampled_from(("a", "b")),
)


def empty() -> WorkingSet:
    return unpack(element("cib", None, element("configuration"), element("status")), 0)


@given(
    st.lists(PIECES, max_size=12).filter(
        lambda parts: (
            sum(abs(one[0]) for one in parts) < 1_000_000 or any(abs(one[0]) == 1_000_000 for one in parts)
        )
    )
)
def test_pieces_add_up(parts: list[tuple[int, str, str]]) -> None:
    entry = Entry(Node(id="1", name="n1"))
    for score, kind, origin in parts:
        entry.add(score, kind, origin)
    resource = Resource(id="web", variant=Variant.PRIMITIVE, element=element("primitive", {"id": "web"}))
    total = 0
    for fact in contributions(empty(), resource, entry):
        assert fact.score is not None
        total = scores.add(total, fact.score)
        assert fact.text.startswith(
            scores.render(fact.score) if fact.score < 0 else f"+{scores.render(fact.score)}"
        )
    assert total == entry.score


def test_alike_pieces_are_one_line() -> None:
    entry = Entry(Node(id="1", name="n1"))
    for _ in range(3):
        entry.add(100, "wish", "#group-members")
    resource = Resource(id="web", variant=Variant.PRIMITIVE, element=element("primitive", {"id": "web"}))
    (fact,) = contributions(empty(), resource, entry)
    assert fact.score == 300
    assert fact.text.startswith("+300 (3 times +100) others of its group")
