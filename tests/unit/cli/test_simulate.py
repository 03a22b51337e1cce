"""`hacli simulate`: exit codes, names of instances in -F, sections that have nothing to show."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import crm_simulate
from tests.unit.cli.runner import hacli
from tests.unit.crm.scheduler.cibs import clone, document, entry, history, primitive, state


@pytest.fixture
def fresh(tmp_path: Path) -> str:
    path = tmp_path / "cib.xml"
    path.write_text(document([primitive("web"), clone("c", primitive("lock"))]))
    return str(path)


@pytest.fixture
def stuck(tmp_path: Path) -> str:
    """Without quorum: app's stop waits for a stop on a node that is lost and cannot be fenced."""
    lost = state("n2", history("app", entry("app"))).replace('crmd="online"', 'crmd="offline"')
    path = tmp_path / "cib.xml"
    path.write_text(
        document(
            [primitive("fence", agent="stonith:fence_x"), primitive("db"), primitive("app")],
            nodes=("n1", "n2", "n3"),
            constraints='<rsc_order id="o" first="db" then="app"/>',
            options={"stonith-enabled": "true"},
            states=[
                state("n1", history("db", entry("db"))),
                lost.replace('in_ccm="true"', 'in_ccm="false"'),
                state("n3"),
            ],
            quorum=False,
        )
    )
    return str(path)


def test_a_transition_that_gets_stuck_has_exit_code_1(stuck: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = hacli(["simulate", "-S", "-x", stuck])
    assert (code, "An invalid transition was produced" in text) == (1, True), text
    assert crm_simulate.main(["-S", "-x", stuck]) == 1
    assert "An invalid transition was produced" in capsys.readouterr().out
    assert hacli(["simulate", "-R", "-x", stuck])[0] == 0


@pytest.mark.parametrize("name", ["lock_start_0", "lock:0_start_0"])
def test_an_instance_fails_by_either_name(fresh: str, name: str) -> None:
    fails = [word for node in ("n1", "n2") for word in ("-F", f"{name}@{node}=1")]
    code, text = hacli(["simulate", "-S", "-x", fresh, *fails])
    assert code == 0
    assert "failed with rc=1" in text
    assert "fail-count-lock#start_0=value++" in text


@pytest.mark.parametrize(("rc", "counted"), [(7, False), (1, True), (5, True)])
def test_a_probe_that_fails_counts(fresh: str, rc: int, *, counted: bool) -> None:
    _code, text = hacli(["simulate", "-S", "-x", fresh, "-i", f"web_monitor_0@n1={rc}"])
    assert ("fail-count-web#monitor_0" in text) is counted


def test_no_heading_without_node_attributes(fresh: str) -> None:
    assert "Node Attributes" not in hacli(["simulate", "-A", "-x", fresh])[1]
