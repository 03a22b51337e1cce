"""Changes made apart, made again on what the other side has become."""

from __future__ import annotations

from crm.cib.codec import parse
from crm.cib.merging import merged
from crm.cib.model import Element
from crm.cib.objects import changes


def options(**values: str) -> Element:
    nvpairs = "".join(
        f'<nvpair id="o-{name}" name="{name}" value="{value}"/>' for name, value in values.items()
    )
    property_set = f'<cluster_property_set id="o">{nvpairs}</cluster_property_set>'
    return parse(f"<configuration><crm_config>{property_set}</crm_config></configuration>")


def tagged(*ids: str) -> Element:
    tags = "".join(f'<tag id="{one}"/>' for one in ids)
    return parse(f"<configuration><tags>{tags}</tags></configuration>")


def both(base: Element, mine: Element, theirs: Element) -> tuple[Element, tuple[str, ...]]:
    return merged(changes(base, mine), theirs)


def test_two_options_of_one_set() -> None:
    result, conflicts = both(options(a="1", b="1"), options(a="2", b="1"), options(a="1", b="2", c="3"))
    assert (result, conflicts) == (options(a="2", b="2", c="3"), ())


def test_an_option_added_here_and_another_there() -> None:
    result, conflicts = both(options(), options(a="1"), options(b="2"))
    assert (result, conflicts) == (options(b="2", a="1"), ())


def test_one_option_changed_on_both_sides() -> None:
    theirs = options(a="3", b="1")
    assert both(options(a="1", b="1"), options(a="2", b="2"), theirs) == (theirs, ("o",))
    assert both(options(a="1"), options(a="2"), options(a="2")) == (options(a="2"), ())


def test_deleted_here_and_changed_there() -> None:
    theirs = options(a="3", b="1")
    assert both(options(a="1", b="1"), options(b="1"), theirs) == (theirs, ("o",))
    assert both(options(a="1", b="1"), options(b="1"), options(a="1", b="2"))[0] == options(b="2")


def test_what_fits_is_made_though_another_does_not() -> None:
    base = parse('<configuration><tags><tag id="t"/></tags></configuration>')
    mine = parse('<configuration><tags><tag id="t" x="1"/><tag id="u"/></tags></configuration>')
    theirs = parse('<configuration><tags><tag id="t" x="2"/></tags></configuration>')
    result, conflicts = both(base, mine, theirs)
    assert conflicts == ("t",)
    assert result.by_id("u") is not None
    assert result.by_id("t") == theirs.by_id("t")


def test_made_twice_is_made_once() -> None:
    base, mine = tagged("a"), tagged("a", "b")
    once, _ = both(base, mine, tagged("a", "c"))
    assert merged(changes(base, mine), once) == (once, ())


def test_nothing_wanted_changes_nothing() -> None:
    assert merged((), tagged("a")) == (tagged("a"), ())
