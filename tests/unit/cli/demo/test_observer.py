"""Outages and rules from made-up sights."""

from __future__ import annotations

from cli.demo.observer import Attempt, Onlooker, Picture, Violation, outages

MS = 1_000_000


def attempts(text: str, *, every_ms: int = 20) -> list[Attempt]:
    """One letter an attempt: a or b answers, a dot is a failure."""
    return [
        Attempt(n * every_ms * MS, (n * every_ms + 5) * MS, "timeout" if letter == "." else "ok", letter)
        for n, letter in enumerate(text)
    ]


def test_no_failure_is_no_outage() -> None:
    assert outages(attempts("aaaa")) == []


def test_outage_runs_from_the_last_good_answer_to_the_next() -> None:
    (outage,) = outages(attempts("aa...bb"))
    assert (outage.ms(0), outage.failed) == (80, 3)


def test_outage_that_lasts_has_no_end() -> None:
    (outage,) = outages(attempts("aa.."))
    assert outage.end_ns == 0
    assert outage.ms(1_025 * MS) == 1_000


def test_only_those_that_end_later() -> None:
    assert [each.failed for each in outages(attempts("a.aa..a"), since_ns=50 * MS)] == [2]


def test_silence_without_attempts_counts_from_a_second() -> None:
    (outage,) = outages([Attempt(0, 0, "ok", "a"), Attempt(1_500 * MS, 1_500 * MS, "ok", "a")])
    assert outage.ms(0) == 1_500


def test_parse_names_the_node_by_its_mac() -> None:
    assert Attempt.parse("1 2 ok aa:bb", {"aa:bb": "n1"}) == Attempt(1, 2, "ok", "n1")
    failed = Attempt.parse("5 9 No_route_to_host -", {"aa:bb": "n1"})
    assert (failed.ok, failed.node) == (False, "-")


def picture(at: int, node: str, active: str) -> Picture:
    return Picture(at, node, True, {name: name in active for name in "ifw"})


def test_order_of_start_and_stop() -> None:
    onlooker = Onlooker("ifw")
    for at, active in enumerate(("", "i", "if", "ifw", "if", "i", "")):
        onlooker.see([picture(at, "n1", active)])
    assert onlooker.violations == []
    onlooker.see([picture(9, "n1", "if"), picture(9, "n2", "")])
    onlooker.see([picture(10, "n1", "f")])
    assert onlooker.violations == [Violation(10, "n1: f is active without i")]


def test_never_on_two_nodes() -> None:
    onlooker = Onlooker("ifw")
    onlooker.see([picture(1, "n1", "ifw"), picture(1, "n2", "")])
    assert onlooker.all_on("n1")
    onlooker.see([picture(2, "n1", ""), picture(2, "n2", "i")])  # one moment
    assert onlooker.violations == []
    onlooker.see([picture(3, "n1", "i")])
    assert onlooker.violations == [Violation(3, "i is active on n1 and n2")]
    assert not onlooker.all_on("n1")


def test_moments_of_changes() -> None:
    onlooker = Onlooker("ifw")
    for at, active in ((1, "i"), (2, ""), (5, "i")):
        onlooker.see([picture(at, "n1", active)])
    assert onlooker.when("n1", "i", active=True, since_ns=2) == 5
    assert onlooker.when("n1", "i", active=False, since_ns=0) == 2
    assert onlooker.when("n2", "i", active=True, since_ns=0) is None
