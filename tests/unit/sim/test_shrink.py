"""Cutting a failing run down, and playing what is left from a file."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from tests.sim import ledger, shrink, sometimes
from tests.sim.all_classes import REGISTRY
from tests.sim.engine import SECOND
from tests.sim.mutants import ALL
from tests.sim.plan import Fault
from tests.sim.shrink import Case, Shrinker

ONE_STORE = next(mutant for mutant in ALL if mutant.what == "one store is enough to commit")


def failing(count: int) -> list[Case]:
    """The first seeds that show the mutant."""
    cases = (Case(name=ONE_STORE.scenario, seed=seed) for seed in range(1, 60))
    found = list(islice((case for case in cases if shrink.broken_by(case)[0]), count))
    assert len(found) == count, "the mutant is not caught any more"
    return found


def test_failing_runs_become_small_and_fail_the_same_way(tmp_path: Path) -> None:
    before = after = 0
    small = []
    with ONE_STORE.entered():
        for case in failing(3):
            best = Shrinker(case, runs_max=60, seconds_max=20.0).shrink()
            _, whole = shrink.broken_by(case)
            shrink.write(best, tmp_path / "case.json")
            again = shrink.read(tmp_path / "case.json")
            assert again == best
            assert shrink.broken_by(again)[0] == best.invariant
            assert best.faults is not None
            before += len(getattr(whole, "faults"))  # noqa: B009
            after += len(best.faults)
            small.append(best)
    assert after < before / 2
    assert not any(shrink.broken_by(best)[0] for best in small), "without the mutant they hold"


def test_a_run_that_holds_is_not_cut() -> None:
    with pytest.raises(ValueError, match="does not fail"):
        Shrinker(Case(name="cib3", seed=1))


def test_faults_that_are_given_replace_those_of_the_seed() -> None:
    faults = (Fault(at_ns=SECOND, kind="kill", nodes=("n2",), for_ns=SECOND),)
    for name in ("chaos3", "cib3", "full3"):
        run = shrink.prepared(Case(name=name, seed=3, faults=faults))
        run.play()
        assert {what: n for what, n in run.world.seen.items() if what.startswith("fault ")} == {
            "fault kill": 1,
            "fault all": 1,
        }


def test_an_absent_node_never_boots() -> None:
    run = shrink.prepared(Case(name="chaos3", seed=3, faults=(), absent=("n3",)))
    run.play()
    assert [node.boots for node in shrink.nodes_of(run)] == [1, 1, 0]


def test_a_file_of_no_class_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    shrink.write(replace(Case(name="cib3", seed=1), name="cib33"), path)
    with pytest.raises(ValueError, match="no class 'cib33'"):
        shrink.read(path)


def test_expectations_are_of_classes_that_there_are() -> None:
    assert set(sometimes.EXPECTED) <= set(REGISTRY)
    assert sometimes.never("pause", {"paused": 1, "node_late": 2}) == ["node_back"]


def a_slice(first: int, last: int, violations: tuple[int, ...] = (), commit: str = "") -> ledger.Slice:
    return ledger.Slice(
        name="cib3",
        first=first,
        last=last,
        commit=commit or ledger.commit(),
        hours=1.5,
        speed=400,
        violations=violations,
        never=(),
    )


def test_the_ledger_adds_rows_and_sums_up(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# x\n\n{ledger.TOTAL}0\n\n{ledger.HEAD}\n|-|-|-|-|-|-|-|\n\nafter\n")
    ledger.append(page, a_slice(1, 10))
    ledger.append(page, a_slice(11, 20, violations=(13, 17)))
    text = page.read_text()
    assert "Total: 3 cluster-hours, 20 runs of 1 classes, 2 violations." in text
    assert text.index("| 1–10 |") < text.index("| 11–20 |") < text.index("after")


def test_the_ledger_takes_no_row_of_a_commit_that_is_not_in_the_branch(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{ledger.TOTAL}0\n\n{ledger.HEAD}\n|-|-|-|-|-|-|-|\n\nafter\n")
    before = page.read_text()
    elsewhere = "0123456789abcdef"
    with pytest.raises(ValueError, match=f"not in the history of this branch.*{elsewhere}"):
        ledger.append(page, a_slice(1, 10, commit=elsewhere))
    assert page.read_text() == before
    row = a_slice(1, 10, commit=elsewhere + "+").line()
    page.write_text(before.replace("\n\nafter", f"\n{row}\n\nafter"))
    with pytest.raises(ValueError, match="1–10"):
        ledger.append(page, a_slice(11, 20))
    with pytest.raises(ValueError, match="there is no line"):
        ledger.append(Path(__file__), a_slice(11, 20))


def test_every_row_of_the_page_is_of_this_branch() -> None:
    rows = ledger.rows_of(ledger.PAGE)
    assert rows
    shallow = subprocess.run(
        ["git", "rev-parse", "--is-shallow-repository"],
        cwd=ledger.PAGE.parent,
        capture_output=True,
        check=False,
    )
    if shallow.stdout.strip() != b"false":
        pytest.skip("a shallow clone, or a tree without git: the history is not here")
    assert ledger.foreign(rows) == []


def test_a_slice_is_what_was_played() -> None:
    one = ledger.play("split2", 1, 2, print)
    assert (one.first, one.last, one.violations) == (1, 2, ())
    assert 0.01 < one.hours < 0.2
