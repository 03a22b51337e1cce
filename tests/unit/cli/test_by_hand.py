"""Agents called by hand: in order, with what the resource says, and never against the cluster."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cli.commands import by_hand
from cli.context import Context, Options, UsageError
from cli.grammar.definitions import parse_text
from cli.grammar.document import empty_cib
from cli.grammar.load import load
from cli.workspace import CibSource, Confirm, Snapshot, digest_of
from crm.cib import codec
from crm.cib.model import Element
from hacluster.errors import HaError, InvalidRequest, NotFound
from tests.unit.cli.runner import hacli
from tests.unit.cli.test_elsewhere import prepared

AGENT = """#!/bin/sh
echo "$OCF_RESOURCE_INSTANCE $1" >> "$OCF_RESKEY_log"
case $OCF_RESKEY_fail in *$1*) echo "ocf-exit-reason:will not $1" >&2; exit 1 ;; esac
case $1 in
  start) echo unpromoted > "$OCF_RESKEY_state" ;;
  promote) echo promoted > "$OCF_RESKEY_state" ;;
  demote) echo unpromoted > "$OCF_RESKEY_state" ;;
  stop) rm -f "$OCF_RESKEY_state" ;;
  reload) [ -e "$OCF_RESKEY_state" ] || exit 7 ;;
  monitor)
    [ -e "$OCF_RESKEY_state" ] || exit 7
    read word < "$OCF_RESKEY_state"
    [ $word != promoted ] || exit 8 ;;
  meta-data) echo "<resource-agent/>" ;;
  *) exit 3 ;;
esac
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CIB file, and an agent whose log tells what it was called with."""
    agent = tmp_path / "ocf/resource.d/test/Log"
    agent.parent.mkdir(parents=True)
    agent.write_text(AGENT)
    agent.chmod(0o755)
    monkeypatch.setenv("HACLUSTER_OCF_ROOTS", str(tmp_path / "ocf"))
    monkeypatch.setenv("CIB_file", str(tmp_path / "cib.xml"))
    monkeypatch.setenv("HACLUSTER_NODE", "n1")
    log = tmp_path / "log"
    text = "property stonith-enabled=false\n"
    for name, more in (("a", ""), ("b", ""), ("bad", "fail=start"), ("stuck", "fail=stop"), ("p", "")):
        text += f"primitive {name} ocf:test:Log log={log} state={tmp_path}/{name} {more}"
        text += " meta target-role=Stopped\n"
    text += "clone pc p meta promotable=true\nrsc_template t ocf:test:Log log=" + str(log)
    text += (
        f"\nprimitive q @t state={tmp_path}/q\nprimitive r ocf:test:Log params $id-ref=a\nprimitive s lsb:x\n"
    )
    text += "primitive u ocf:test:Log params rule #uname eq n1 x=1\n"
    cib = load(empty_cib(), parse_text(text, "text"), source="text").cib
    (tmp_path / "cib.xml").write_text(codec.render(cib))
    return tmp_path


def calls(site: Path) -> list[str]:
    return (site / "log").read_text().splitlines()


def test_started_in_order_and_stopped_in_reverse(site: Path) -> None:
    status, text = hacli(["configure", "rsctest", "a", "b"])
    assert status == 0
    assert text.splitlines()[:3] == ["a probe: ok", "b probe: ok", "a start: ok"]
    steps = ["a monitor", "b monitor", "a start", "a monitor", "b start", "b monitor"]
    assert calls(site) == [*steps, "b stop", "b monitor", "a stop", "a monitor"]


def test_a_promotable_one_is_promoted(site: Path) -> None:
    status, text = hacli(["configure", "rsctest", "p"])
    assert status == 0, text
    assert [line.split()[1] for line in calls(site)] == [
        *("monitor", "start", "monitor", "promote", "monitor", "demote", "stop", "monitor")
    ]


def test_what_fails_is_stopped_all_the_same(site: Path) -> None:
    status, text = hacli(["configure", "rsctest", "a", "bad", "b"])
    assert status == 1
    assert "bad start: FAILED, err generic (1): will not start" in text
    assert calls(site)[-4:] == ["bad stop", "bad monitor", "a stop", "a monitor"]
    status, text = hacli(["configure", "rsctest", "stuck"])
    assert status == 1
    assert "stuck: not stopped: it may still run on this node" in text
    status, text = hacli(["configure", "rsctest", "stuck"])
    assert "stuck probe: FAILED, ok (0)" in text


def test_parameters_of_templates_and_references(site: Path) -> None:
    assert hacli(["configure", "rsctest", "q"])[0] == 0
    assert hacli(["maintenance", "action", "r", "start"]) == (0, "INFO: r start: ok\n")
    assert hacli(["maintenance", "action", "a", "monitor"]) == (0, "a: running\n")
    assert hacli(["maintenance", "action", "a", "promote"])[0] == 0
    assert hacli(["maintenance", "action", "a", "monitor"]) == (0, "a: promoted\n")
    assert hacli(["maintenance", "action", "a", "reload"]) == (0, "INFO: a reload: ok\n")
    assert calls(site)[-1] == "a reload"
    assert hacli(["maintenance", "action", "a", "stop"])[0] == 0
    assert hacli(["maintenance", "action", "a", "monitor"]) == (0, "a: not running\n")
    assert hacli(["maintenance", "action", "a", "meta-data"])[1].startswith("<resource-agent/>\n")
    status, text = hacli(["maintenance", "action", "bad", "start"])
    assert status == 1
    assert "ERROR: bad start: FAILED, err generic (1): will not start" in text
    assert "depend on a rule" in hacli(["maintenance", "action", "u", "start"])[1]
    assert hacli(["maintenance", "action", "s", "start"])[0] == 1  # no such program here


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["configure", "rsctest"], 2),
        (["configure", "rsctest", "nosuch"], 1),
        (["configure", "rsctest", "pc"], 1),
        (["maintenance", "action", "a"], 2),
        (["maintenance", "action", "a", "dance"], 2),
        (["maintenance", "action", "a", "stop", "there"], 2),
        (["maintenance", "action", "nosuch", "stop"], 1),
    ],
)
def test_what_is_refused(site: Path, words: list[str], status: int) -> None:
    assert hacli(words)[0] == status


def test_on_other_nodes(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(site, monkeypatch)
    status, text = hacli(["configure", "rsctest", "a", "n1", "n2", "n3"])
    assert status == 1
    assert text.splitlines().count("a start: ok") == 1
    assert text.splitlines().count("n2: a start: ok") == 1
    assert "ERROR: n3: ssh" in text
    status, text = hacli(["configure", "rsctest", "a", "n2"])
    assert status == 0
    (site / "script").write_text("configure\nprimitive z ocf:test:Log\nrsctest z n2\n")
    assert "not committed" in hacli(["-f", str(site / "script")])[1]


class Running(Context):
    """A cluster, as far as it is asked here: a CIB with a state."""

    cib: Element

    @property
    def offline(self) -> bool:
        return False

    def source(self) -> CibSource:
        return Memory(self.cib)


class Memory:
    """A CIB that is only read."""

    name = "memory"

    def __init__(self, cib: Element) -> None:
        self._cib = cib

    def read(self) -> Snapshot:
        return Snapshot(cib=self._cib, digest=digest_of(self._cib))

    def write(
        self, cib: Element, expected_digest: str, client: str, *, confirm: Confirm | None = None
    ) -> Snapshot:
        raise AssertionError("nothing is written")


OP = '<lrm_rsc_op id="{0}_last_0" operation_key="{0}_start_0" operation="start" rc-code="0" op-status="0" '
STATE = (
    '<status><node_state id="1" uname="n2" in_ccm="true" crmd="online" join="member" expected="member">'
    '<lrm id="1">'
    '<lrm_resources><lrm_resource id="b" class="ocf" provider="test" type="Log">'
    + OP.format("b")
    + 'call-id="1" '
    'interval="0" transition-key="1:1:0:x"/></lrm_resource></lrm_resources></lrm></node_state></status>'
)


def running(site: Path, change: str = "") -> Running:
    cib = codec.parse((site / "cib.xml").read_bytes())
    cib = load(cib, parse_text(f"node 1: n2\n{change}", "text"), source="text").cib
    state = codec.parse(STATE)
    context = Running(Options(node="n1"), out=io.StringIO(), err=io.StringIO())
    context.cib = cib.mapped(lambda part: state if part.tag == "status" else part)
    return context


def test_what_runs_is_left_alone(site: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"b is running on n2.*resource stop b"):
        by_hand.rsctest(running(site), ["b"])
    with pytest.raises(InvalidRequest, match="may start q at any time"):
        by_hand.rsctest(running(site), ["q"])
    assert by_hand.rsctest(running(site), ["a", "p"]) == 0
    assert by_hand.rsctest(running(site, "property maintenance-mode=true"), ["q"]) == 0


def test_the_cluster_has_to_look_away(site: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"a is managed.*resource maintenance a"):
        by_hand.action(running(site), ("a", "start"))
    assert by_hand.action(running(site), ("a", "monitor")) == 0
    away = "property maintenance-mode=true"
    assert by_hand.action(running(site, away), ("a", "start")) == 0
    with pytest.raises(InvalidRequest, match=r"b runs on n2, not here.*\[ssh\]"):
        by_hand.action(running(site, away), ("b", "stop"))
    with pytest.raises(InvalidRequest, match="a runs nowhere"):
        by_hand.action(running(site, away), ("a", "stop", "ssh"))
    with pytest.raises(NotFound):
        by_hand.action(running(site), ("none", "start"))
    with pytest.raises((UsageError, HaError)):
        by_hand.action(running(site), ("a", "start", "ssh", "n2"))
