from __future__ import annotations

from typing import Any

import pytest

from cli.commands.status import without_clocks
from cli.output import document
from cli.quick_status import has_left
from cli.render.cluster_text import Summary, as_data, html, one_line, text
from cli.render.cluster_view import ClusterView
from crm.cib import codec

NOW_S = 1_790_000_000
CIB = codec.parse(
    b"""<cib><configuration><crm_config/><nodes><node id="1" uname="n1"/><node id="2" uname="n2"/></nodes>
<resources><primitive id="a" class="ocf" provider="hacluster" type="Dummy"/></resources>
<constraints><rsc_ticket id="t" rsc="a" ticket="T&lt;1&gt;"/></constraints></configuration>
<status><node_state id="1" uname="n1" in_ccm="true" crmd="online" join="member" expected="member"/>
<tickets><ticket_state id="U" granted="true" standby="true"/></tickets></status></cib>"""
)


def summary(**given: Any) -> Summary:
    known: dict[str, Any] = {"live": True, "node": "n2", "now_s": NOW_S, "age_ms": 14_400}
    return Summary(**(known | given))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"stopped": True}, "n2 is STOPPED: it has left the cluster, and this is an OLD view, from 14 s ago"),
        ({}, "Without a DC this is what n2 knows by itself, from 14 s ago"),
        ({"age_ms": 0}, "Without a DC this is what n2 knows by itself\n"),
        ({"dc": "n1"}, "The DC was last heard 14.4 s ago: this may be old"),
    ],
)
def test_how_old_the_view_is(given: dict[str, object], wanted: str) -> None:
    assert wanted in text(ClusterView(CIB, NOW_S), summary(**given))


@pytest.mark.parametrize("given", [{"stopped": True}, {}, {"dc": "n1"}])
@pytest.mark.parametrize("form", ["text", "json", "xml"])
def test_time_alone_is_no_change(given: dict[str, object], form: str) -> None:
    """For who watches through a pipe; a second later, and when something else differs."""
    view = ClusterView(CIB, NOW_S)

    def at(passed_s: int, **more: object) -> str:
        passing = {"now_s": NOW_S + passed_s, "age_ms": 14_400 + 1_000 * passed_s}
        known = summary(**(given | passing | more))
        return text(view, known) if form == "text" else document("status", as_data(view, known), form)

    assert at(1) != at(0)
    assert without_clocks(at(1)) == without_clocks(at(0))
    assert without_clocks(at(1, quorate=True)) != without_clocks(at(0))


def test_who_has_left() -> None:
    nodes = [{"name": "n1", "state": "member"}, {"name": "n2", "state": "left"}]
    assert has_left("n2", nodes)
    assert not has_left("n1", nodes)


def test_tickets_are_shown() -> None:
    shown = text(ClusterView(CIB, NOW_S), summary())
    assert "Tickets:\n  * T<1>: revoked\n  * U: granted (standby)" in shown
    assert "T&lt;1&gt;" in html(ClusterView(CIB, NOW_S), summary())


def test_one_line() -> None:
    view = ClusterView(CIB, NOW_S)
    assert one_line(view, summary()) == "CLUSTER WARN: no quorum, no DC, n2 is UNCLEAN (offline)"
    assert one_line(view, summary(dc="n1", quorate=True)) == "CLUSTER WARN: n2 is UNCLEAN (offline)"
