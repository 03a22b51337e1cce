"""`hacli verify --survive`: in several processes the same as in one; interrupted, what is known so far."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.commands import survive
from cli.formats import misfits
from crm.simulation.survive import Loss, Survival
from tests.unit.cli.runner import hacli

BASE = str(Path(__file__).parents[2] / "fuzz" / "bases" / "groups-running.xml")


def test_processes_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = hacli(["verify", "-x", BASE, "--survive", "2", "--jobs", "1"])
    monkeypatch.setattr(survive, "WORTH_PROCESSES_S", 0)
    assert hacli(["verify", "-x", BASE, "--survive", "2", "--jobs", "2"]) == alone
    assert alone[1].count("Without ") == 3


def test_interrupted_it_says_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    lose = Survival.lose

    def interrupted(self: Survival, names: tuple[str, ...]) -> Loss:
        if names == ("n3",):
            raise KeyboardInterrupt
        return lose(self, names)

    monkeypatch.setattr(Survival, "lose", interrupted)
    status, text = hacli(["verify", "-x", BASE, "--survive", "1"])
    assert status == survive.EXIT_INTERRUPTED
    assert "Without n2: everything is served." in text
    assert "WARNING: interrupted after 2 of 3: the rest is not known" in text
    _status, text = hacli(["verify", "-x", BASE, "--survive", "1", "--output", "json"])
    data = json.loads(text[text.index("{") :])
    assert (data["format"], data["complete"], len(data["losses"])) == ("hacluster.survive/1", False, 3)
    assert misfits("survive", data) == []


def test_a_long_run_says_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survive, "SAID_FROM_S", 0)
    _status, text = hacli(["verify", "-x", BASE, "--survive", "1", "--jobs", "1"])
    assert "INFO: 2 more losses take about 0s; Ctrl-C shows what is known" in text


def test_what_is_lost_for_the_same_reasons_stands_together() -> None:
    _status, text = hacli(["verify", "-x", BASE, "--survive", "2"])
    reason = "the nodes that are left have no quorum (no-quorum-policy=stop)"
    wanted = ["Without n1 and n2: not served: db, st, g", "  * db, st, g:", f"    * {reason}"]
    lines = text.splitlines()
    at = lines.index(wanted[0])
    assert lines[at : at + 3] == wanted
