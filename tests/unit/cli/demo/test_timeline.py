"""Logs cut into spans, the table and the picture made of them."""

from __future__ import annotations

from datetime import datetime

from cli.demo import table, timeline
from cli.demo.observer import Attempt
from cli.demo.picture import Scene, draw, strip
from cli.demo.stand_ins import fast_timers
from cli.demo.timeline import Cause, Record, Span

MS = 1_000_000


def record(at_ms: float, event: str, node: str = "n2", **fields: object) -> Record:
    return Record(int(at_ms * MS), node, event, fields)


def begun(at_ms: float, operation: str, resource: str, node: str = "n2") -> Record:
    return record(at_ms, "lrm.operation_begun", node, operation=operation, resource=resource)


def ended(at_ms: float, operation: str, resource: str, node: str = "n2") -> Record:
    return record(at_ms, "lrm.operation_ended", node, operation=operation, resource=resource)


TAKE_OVER = [
    begun(90, "monitor", "ip"),
    record(600, "messaging.node_silent"),
    record(610, "messaging.view_installed"),
    record(640, "crm.transition_begun"),
    begun(641, "start", "ip"),
    ended(661, "start", "ip"),
    begun(670, "start", "web"),
    begun(672, "monitor", "ip"),
    ended(674, "monitor", "ip"),
    ended(720, "start", "web"),
]


def test_power_cut() -> None:
    found = timeline.spans(TAKE_OVER, 100 * MS, 735 * MS, Cause.LOSS)
    assert [(span.label, span.ms) for span in found] == [
        ("detection", 500),
        ("membership", 10),
        ("decision", 30),
        ("start ip (n2)", 20),
        ("between", 9),
        ("start web (n2)", 50),
        ("first page", 15),
    ]


def test_spans_cover_the_whole_time() -> None:
    found = timeline.spans(TAKE_OVER, 100 * MS, 735 * MS, Cause.LOSS)
    assert abs(sum(span.ms for span in found) - 635) <= 1  # the gaps under a millisecond are not named


def test_an_order_is_decided_without_detection() -> None:
    found = timeline.spans(TAKE_OVER[3:], 620 * MS, 735 * MS, Cause.ORDER)
    assert [span.label for span in found][:2] == ["decision", "start ip (n2)"]


def test_boot_ends_with_the_view_that_is_decided_in() -> None:
    logs = [
        record(300, "messaging.view_installed", "n1"),
        record(400, "messaging.view_installed"),
        record(450, "crm.transition_begun"),
        begun(452, "monitor", "ip"),
        ended(470, "monitor", "ip"),
        begun(480, "start", "ip"),
        ended(500, "start", "ip"),
    ]
    found = timeline.spans(logs, 100 * MS, 500 * MS, Cause.BOOT)
    assert [(span.label, span.ms) for span in found] == [
        ("boot", 300),
        ("decision", 50),
        ("probes", 30),
        ("start ip (n2)", 20),
    ]


def test_no_logs_are_no_error() -> None:
    assert [span.label for span in timeline.spans([], 0, MS, Cause.LOSS)] == ["first page"]


def test_record_from_a_line_of_json() -> None:
    when = datetime.fromisoformat("2026-01-02T03:04:05.500000")  # local time, as the logs have it
    line = {"timestamp": when.isoformat(), "event": "x", "resource": "ip"}
    made = timeline.record_from("n1", line, wall_minus_clock_ns=int(when.timestamp()) * 10**9)
    assert made is not None
    assert abs(made.at_ns - 500 * MS) < 1_000
    assert timeline.record_from("n1", {"event": "text"}, wall_minus_clock_ns=0) is None


GOOD = table.Result(
    name="power cut", ok=True, outage_ms=700, total_ms=720, bound_ms=900, spans=(Span("x", 0, 7),)
)
LATE = table.Result(name="power cut", ok=True, outage_ms=901, total_ms=950, bound_ms=900)
FAILED = table.Result(name="return", ok=False, outage_ms=0, total_ms=0, remark="it did not")


def test_table_marks_what_went_wrong() -> None:
    lines = table.text([GOOD, LATE, FAILED]).splitlines()
    assert [line.endswith("WRONG") for line in lines if line.startswith(("power", "return"))] == [
        False,
        True,
        True,
    ]
    assert "    x 7" in lines
    assert "    it did not" in lines


def test_summary_of_repeated_events() -> None:
    assert table.summary([GOOD, FAILED]) == ""
    assert "2 times without service for min 700 ms, median 800 ms, max 901 ms" in table.summary([GOOD, LATE])


def test_data_says_whether_all_is_well() -> None:
    assert table.as_data([GOOD], violations=[], stand_ins=[])["ok"] is True
    assert table.as_data([GOOD], violations=["two"], stand_ins=[])["ok"] is False
    assert table.as_data([GOOD, LATE], violations=[], stand_ins=[])["ok"] is False
    assert table.as_data([GOOD, FAILED], violations=[], stand_ins=[])["ok"] is False


def test_picture() -> None:
    attempts = [Attempt(0, 1, outcome, "-") for outcome in ("ok", "timeout", "ok")]
    assert strip(attempts, 2) == ".|"
    scene = Scene({"n1.x.org": True, "n2": False}, {"ip": ["n1.x.org"]}, attempts, 1)
    lines = draw(scene, "power cut", 1.25, width=60, colour=False)
    assert "1.2 s  power cut" in lines[0]
    assert [line.split() for line in lines if line.startswith(("ip", "client"))] == [
        ["ip", "active", "-"],
        ["client", "|.|"],
    ]
    assert lines[-1] == "1 rules broken"


def test_fast_timers_replace_only_their_lines() -> None:
    text = "# keepalive 9\nkeepalive 1500ms\ndeadtime 6\nnode a\n"
    assert fast_timers(text, {"keepalive": "100ms", "deadtime": "500ms"}) == (
        "# keepalive 9\nkeepalive 100ms\ndeadtime 500ms\nnode a\n"
    )
