"""Our agents that need nothing but files, through the SDK's door."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from agents import sdk
from hacluster.vocabulary.ocf_exit import OcfExit


class Resource:
    """One resource of one of our agents, in a folder of its own."""

    def __init__(self, kind: str, folder: Path, **parameters: str) -> None:
        self.kind = kind
        self.environ = {
            "OCF_RESOURCE_INSTANCE": "rsc",
            "HA_RSCTMP": str(folder),
            "HACLUSTER_AGENT_SOCKET": str(folder / "missing.sock"),
            "OCF_RESKEY_CRM_meta_on_node": "node1",
            **{f"OCF_RESKEY_{name}": value for name, value in parameters.items()},
        }

    def __call__(self, action: str) -> int:
        return sdk.run(self.kind, action, self.environ)


@pytest.mark.parametrize("kind", ["Dummy", "Delay"])
def test_life_of_a_pseudo_resource(kind: str, tmp_path: Path) -> None:
    resource = Resource(kind, tmp_path / "not-there-yet", startdelay="0")
    actions = ["stop", "monitor", "start", "start", "monitor", "stop", "stop", "monitor"]
    assert [resource(action) for action in actions] == [0, 7, 0, 0, 0, 0, 0, 7]


def test_dummy_fails_where_it_is_told_to(tmp_path: Path) -> None:
    resource = Resource("Dummy", tmp_path, fail="start=5@node2 stop monitor=8@node1")
    assert resource("start") == OcfExit.OK
    assert resource("monitor") == OcfExit.RUNNING_PROMOTED
    assert resource("stop") == OcfExit.ERR_GENERIC
    assert Resource("Dummy", tmp_path, fail="stop=seven")("validate-all") == OcfExit.ERR_CONFIGURED
    assert Resource("Dummy", tmp_path, fail="stop=77")("start") == OcfExit.ERR_CONFIGURED


def test_dummy_migrates(tmp_path: Path) -> None:
    source, target = Resource("Dummy", tmp_path / "1"), Resource("Dummy", tmp_path / "2")
    assert source("migrate_to") == OcfExit.ERR_GENERIC
    assert source("start") == OcfExit.OK
    assert [source("migrate_to"), target("migrate_from"), source("stop"), target("monitor")] == [0, 0, 0, 0]
    assert source("monitor") == OcfExit.NOT_RUNNING


def test_dummy_reloads_only_what_runs(tmp_path: Path) -> None:
    resource = Resource("Dummy", tmp_path, envfile=str(tmp_path / "env"))
    assert resource("reload-agent") == OcfExit.NOT_RUNNING
    resource("start")
    assert resource("reload-agent") == OcfExit.OK
    assert "OCF_RESOURCE_INSTANCE=rsc\n" in (tmp_path / "env").read_text()


@pytest.mark.parametrize("kind", ["Stateful", "Witness"])
def test_roles(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores: list[int | None] = []

    def remember(_environ: object, _resource: str, score: int | None) -> str:
        scores.append(score)
        return ""

    monkeypatch.setattr("agents.callback.client.set_promotion_score", remember)
    resource = Resource(kind, tmp_path, socket=str(tmp_path / "nobody.sock"))
    assert resource("promote") == OcfExit.NOT_RUNNING
    actions = ["start", "monitor", "promote", "monitor", "demote", "monitor", "stop", "monitor", "stop"]
    assert [resource(action) for action in actions] == [0, 0, 0, 8, 0, 0, 0, 7, 0]
    assert scores == [5, 10, 5, None]


def test_a_score_that_cannot_be_set_is_loud_but_no_failure(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.callback.client.set_promotion_score", lambda *_: "nobody answers")
    assert Resource("Stateful", tmp_path)("start") == OcfExit.OK
    assert "ERROR: the promotion score of rsc could not be set: nobody answers" in capfd.readouterr().err


def test_witness_reports_begin_and_end(tmp_path: Path) -> None:
    path = tmp_path / "observer.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as observer:
        observer.bind(str(path))
        observer.settimeout(5)
        resource = Resource("Witness", tmp_path, socket=str(path), fail="monitor=9")
        assert resource("monitor") == OcfExit.FAILED_PROMOTED
        begin, end = (json.loads(observer.recv(4096)) for _ in range(2))
    assert (begin["event"], begin["action"], begin["resource"], begin["node"]) == (
        "begin",
        "monitor",
        "rsc",
        "node1",
    )
    assert (end["event"], end["rc"]) == ("end", 9)
    assert begin["boottime_ns"] <= end["boottime_ns"]


def test_mailto_parameters(tmp_path: Path) -> None:
    assert Resource("MailTo", tmp_path, email="root ops@example.org")("validate-all") == OcfExit.OK
    assert Resource("MailTo", tmp_path, email="not/an address")("validate-all") == OcfExit.ERR_CONFIGURED
    assert Resource("MailTo", tmp_path, email="root", smtp="host:x")("validate-all") == OcfExit.ERR_CONFIGURED
    assert Resource("MailTo", tmp_path)("validate-all") == OcfExit.ERR_CONFIGURED
