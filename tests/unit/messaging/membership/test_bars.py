"""Who is barred: words of several nodes come to one, in any order; only the boot that was named counts."""

from __future__ import annotations

import itertools

from messaging.membership import durable as slots
from messaging.membership.bars import BarTable
from messaging.membership.events import Bar, Bars, Durable

ONE, TWO = b"1" * 8, b"2" * 8


def test_only_the_boot_that_was_named_is_barred() -> None:
    table = BarTable(Bars())
    assert table.say(3, ONE)
    assert not table.say(3, ONE), "a repetition is no news"
    assert (table.holds(3, ONE), table.holds(3, TWO), table.holds(2, ONE)) == (True, False, False)
    assert table.say(3, b"")
    assert not table.holds(3, ONE)
    assert not table.holds(3, b""), "a node of which no boot is known is not barred by an empty word"
    assert table.words == Bars(((3, Bar(2, b"")),))


def test_words_come_to_one_in_any_order() -> None:
    said = [Bars(((3, Bar(1, ONE)),)), Bars(((3, Bar(2, b"")),)), Bars(((3, Bar(2, TWO)), (4, Bar(1, b""))))]
    for order in itertools.permutations(said):
        table = BarTable(Bars())
        for words in order:
            table.take(words, (1, 2, 3, 4))
        assert table.words == said[2], "of two words of one number the bar counts"


def test_who_knows_less_is_noticed_and_who_is_not_configured_is_not_kept() -> None:
    table = BarTable(Bars())
    assert table.take(Bars(((3, Bar(1, ONE)), (9, Bar(7, TWO)))), (1, 2, 3)) == ([3], False)
    assert table.take(Bars(), (1, 2, 3)) == ([], True)
    assert table.take(Bars(((3, Bar(1, ONE)),)), (1, 2, 3)) == ([], False)
    table.forget([3])
    assert table.words == Bars()


def test_the_disk_keeps_them() -> None:
    bars = Bars(((3, Bar(2, ONE)), (4, Bar(5, b""))))
    raw = slots.encode_slot(1, slots.durable_content(Durable(bars=bars)))
    assert slots.durable_from([raw, None]).bars == bars
    former = slots.durable_content(Durable())
    del former["bars"]
    assert slots.durable_from([slots.encode_slot(1, former), None]).bars == Bars()
