"""What `history` looks at: limits, nodes and what is left out narrow what it shows; kept under a name."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from cli.client import Client
from cli.commands.history_view import word_diff
from cli.context import Context
from cli.grammar.lexer import logical_lines
from cli.past import Past, Sessions
from cli.render.graph_dot import graph_dot
from cli.shell import Shell
from crm.cib import codec
from hacluster.errors import InvalidDocument, InvalidRequest, NotFound
from hacluster.v1 import crm_pb2
from tests.unit.cli.runner import hacli

NOON = int(time.mktime((2026, 1, 31, 12, 0, 0, 0, 0, -1)))
CONFIGURATION = """<configuration><crm_config/><nodes/><resources>
<primitive id="a" class="ocf" provider="heartbeat" type="{type}"/>
</resources><constraints/></configuration>"""
STATE = """<node_state id="{node}" uname="{node}"><lrm id="1"><lrm_resources><lrm_resource id="a">
<lrm_rsc_op id="a_last_0" operation="{name}" operation_key="a_{name}_0" rc-code="0" last-rc-change="{at}"/>
</lrm_resource></lrm_resources></lrm></node_state>"""
CIB = f"""<cib>{CONFIGURATION.format(type="IPaddr2")}<status>
{STATE.format(node="n1", name="start", at=NOON + 60)}{STATE.format(node="n2", name="monitor", at=NOON + 60)}
</status></cib>"""
GRAPH = b"""<transition_graph><synapse id="0"><action_set>
<rsc_op id="3" operation="start" operation_key="a_start_0" on_node="n1"/></action_set><inputs/></synapse>
<synapse id="1"><action_set><pseudo_event id="4" operation="running" operation_key="g_running_0"/>
</action_set>
<inputs><trigger><rsc_op id="3" operation_key="a_start_0"/></trigger></inputs></synapse></transition_graph>"""


class Answers(Client):
    """What the cluster would answer; there is no connection."""

    def revisions(self) -> list[crm_pb2.RevisionSummary]:
        return [
            crm_pb2.RevisionSummary(
                admin_epoch=0, epoch=number, changed_s=NOON + number, author="root@n1/hacli"
            )
            for number in (1, 2)
        ]

    def revision(self, admin_epoch: int, epoch: int) -> bytes:
        assert admin_epoch == 0
        return CONFIGURATION.format(type="Dummy" if epoch == 1 else "IPaddr2").encode()

    def transitions(self) -> list[crm_pb2.TransitionSummary]:
        return [crm_pb2.TransitionSummary(number=7, started_s=NOON + 3_600, actions=2, outcome="complete")]

    def transition(self, number: int = 0) -> crm_pb2.GetTransitionReply:
        if number not in (0, 7):
            return crm_pb2.GetTransitionReply()
        return crm_pb2.GetTransitionReply(summary=self.transitions()[0], graph_xml=GRAPH)


class Sitting:
    """A shell in the level history."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.context = Context(out=io.StringIO(), err=io.StringIO())
        self.context._client = Answers(self.context.paths)
        monkeypatch.setattr("cli.commands.events.read", lambda _context: codec.parse(CIB))
        self.shell = Shell(self.context)
        self.run("history")

    def run(self, text: str) -> list[str]:
        """What a line says."""
        self.context.out, self.context.err = io.StringIO(), io.StringIO()
        (line,) = logical_lines(text)
        self.status = self.shell.run_line(line)
        assert isinstance(self.context.out, io.StringIO)
        assert isinstance(self.context.err, io.StringIO)
        return (self.context.out.getvalue() + self.context.err.getvalue()).splitlines()


@pytest.fixture
def sitting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sitting:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return Sitting(monkeypatch)


def kinds(lines: list[str]) -> list[str]:
    return [line.split()[2] for line in lines]


def test_limits_of_time(sitting: Sitting) -> None:
    assert kinds(sitting.run("events")) == ["commit", "commit", "operation", "operation", "transition"]
    assert not sitting.run('limit "2026-01-31 12:00:30" "2026-01-31 12:30"')
    assert kinds(sitting.run("events")) == ["operation", "operation"]
    assert not sitting.run("transition")
    sitting.run('limit "2026-01-31 12:30"')
    assert kinds(sitting.run("events")) == ["transition"]
    assert len(sitting.run("transition")) == 1
    sitting.run("limit")
    assert len(sitting.run("events")) == 5
    sitting.run('limit "2026-01-31 12:30" "2026-01-31 12:00"')
    assert sitting.status == 2


def test_nodes_and_what_is_left_out(sitting: Sitting) -> None:
    sitting.run("setnodes n2")
    assert kinds(sitting.run("events")) == ["commit", "commit", "operation", "transition"]
    sitting.run("exclude ^commit")
    sitting.run("exclude complete")
    assert sitting.run("exclude") == ["^commit", "complete"]
    assert kinds(sitting.run("events")) == ["operation"]
    assert sitting.run("exclude ("), "not a regular expression"
    assert sitting.status == 1
    sitting.run("exclude clear")
    sitting.run("setnodes")
    assert len(sitting.run("events")) == 5


def test_it_is_kept_under_a_name(sitting: Sitting, tmp_path: Path) -> None:
    sitting.run("setnodes n1,n2")
    sitting.run('limit "2026-01-31 12:30"')
    sitting.run("session save one")
    sitting.run("limit")
    assert "from: what is kept" in sitting.run("info")
    assert sitting.run("session") == ["one"]
    assert "from: 2026-01-31 12:30:00" in sitting.run("session load one")
    assert sitting.context.past == Past(from_s=NOON + 1_800, nodes=("n1", "n2"))
    sitting.run("session delete one")
    assert not sitting.run("session list")
    for line, status in (("load one", 1), ("save ../x", 1), ("pack", 1), ("frob", 2), ("save", 2)):
        sitting.run(f"session {line}")
        assert sitting.status == status, line
    sessions = Sessions(tmp_path)
    for text in ("", "[]", '{"from_s": "x"}', '{"from_s": 1, "to_s": 1, "nodes": [], "exclude": ["("]}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises((InvalidDocument, InvalidRequest)):
            sessions.load("bad")
    with pytest.raises(NotFound):
        sessions.delete("none")


def test_what_there_is(sitting: Sitting) -> None:
    lines = sitting.run("info")
    assert lines[0].startswith("source: the cluster")
    assert lines[-2:] == [
        "commits: 2, 2026-01-31 12:00:01 to 2026-01-31 12:00:02",
        "transitions: 1, 2026-01-31 13:00:00 to 2026-01-31 13:00:00",
    ]
    assert sitting.run("source") == [lines[0]]
    assert "report -n all" in sitting.run("source /var/log")[0]
    for line in ("refresh", "detail 1"):
        assert sitting.run(line)[0].startswith("INFO: ")
        assert sitting.status == 0


def test_a_picture_of_a_transition(sitting: Sitting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = sitting.run("graph")
    assert '  "3" -> "4"' in lines
    assert '  "3" [label="a_start_0\\nn1" fontcolor="black"]' in lines
    assert "\n".join(lines) + "\n" == graph_dot(codec.parse(GRAPH))
    sitting.run(f"graph 7 {tmp_path}/x.dot")
    assert (tmp_path / "x.dot").read_text().splitlines() == lines
    assert sitting.run("graph 8") == ["ERROR: there is no transition '8'"]
    sitting.run("graph 7 - svg")
    assert sitting.status == 2
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "graphviz" in sitting.run(f"graph {tmp_path}/x.svg")[0]


def test_word_by_word(sitting: Sitting, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sitting.run("wdiff 1 2") == ["primitive a [-Dummy-]{+IPaddr2+}"]
    assert not sitting.run("wdiff 2 2")
    sitting.run("wdiff")
    assert sitting.status == 2
    before, after = "a b=1 c\nsame\nold\n", "a b=2 c\nsame\nnew one\n"
    assert list(word_diff(before, after)) == ["a b=[-1-]{+2+} c", "[-old-]{+new one+}"]


def test_the_logs_of_other_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.cli.test_elsewhere import prepared

    prepared(tmp_path, monkeypatch)
    now = int(time.time())
    stamps = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - age)) for age in (30, 20, 10)]
    (tmp_path / "crm.log").write_text(f"{stamps[0]} first\n{stamps[2]} third\n")
    (tmp_path / "n2/crm.log").write_text(f"{stamps[1]} second\n")
    status, text = hacli(["history", "log", "-n", "n1,n2,n3"])
    assert status == 0
    assert "WARNING: n3: ssh" in text
    shown = [(line.split()[0], line.split()[-1]) for line in text.splitlines() if "crm" in line]
    assert shown == [("n1", "first"), ("n2", "second"), ("n1", "third")]
    status, text = hacli(["history", "log", "-n", "n2", "third"])
    assert "first" not in text
    assert "INFO: no line" in text
    status, text = hacli(["history", "log"])
    assert [line.split()[0] for line in text.splitlines()] == ["crm", "crm"]
