"""When lrm-exec counts as hung."""

from __future__ import annotations

from lrm.exec_watch import OVERDUE_BEATS_MAX, SILENT_BEATS_MAX, ExecWatch

S = 1_000_000_000


def beats(watch: ExecWatch, count: int, *, heard: bool = True, due: tuple[tuple[str, int], ...] = ()) -> str:
    """Beats of a second, from 0; the first verdict."""
    for second in range(count):
        why = watch.beat(second * S, due)
        if why:
            return f"{second} s: {why}"
        if heard:
            watch.heard()
    return ""


def test_one_that_answers_is_left_alone() -> None:
    assert beats(ExecWatch(), 1_000) == ""


def test_silence_of_ten_seconds() -> None:
    assert beats(ExecWatch(), SILENT_BEATS_MAX, heard=False) == ""
    assert beats(ExecWatch(), 60, heard=False) == "10 s: it has not answered for 10 s"


def test_a_pause_of_everything_is_one_beat() -> None:
    """After an hour's suspend nobody had time to answer or to end anything yet."""
    watch = ExecWatch()
    assert watch.beat(0, [("a", 5 * S)]) == ""
    assert watch.beat(3_600 * S, [("a", 5 * S)]) == ""
    watch.heard()
    assert watch.beat(3_601 * S, []) == ""


def test_a_run_that_is_never_ended() -> None:
    due = (("a", 3 * S), ("b", 1_000 * S))
    assert beats(ExecWatch(), 4 + OVERDUE_BEATS_MAX, due=due) == ""
    assert beats(ExecWatch(), 60, due=due) == "24 s: run a should have been ended 20 s ago"


def test_runs_that_end_late_do_not_add_up() -> None:
    watch = ExecWatch()
    for second in range(200):
        token = f"run {second // 15}"  # each of them 15 s too late
        assert watch.beat(second * S, [(token, 0)]) == ""
        watch.heard()


def test_a_new_connection_has_all_its_time() -> None:
    watch = ExecWatch()
    assert beats(watch, SILENT_BEATS_MAX, heard=False, due=(("a", -1),)) == ""
    watch.opened()
    assert beats(watch, SILENT_BEATS_MAX, heard=False, due=(("a", -1),)) == ""
