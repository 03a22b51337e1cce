"""What a user prefers: our own file, over crmsh's of the user, over crmsh's of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import user_options
from tests.unit.cli.runner import hacli


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HACLUSTER_ROOT", str(tmp_path))
    (tmp_path / "etc/crm").mkdir(parents=True)
    (tmp_path / "config/crm").mkdir(parents=True)
    return tmp_path


def machine(places: Path, text: str) -> None:
    (places / "etc/crm/crm.conf").write_text(text)


def user(places: Path, text: str) -> None:
    (places / "config/crm/crm.conf").write_text(text)


def test_nothing_is_set() -> None:
    assert user_options.read() == {}


def test_who_wins(places: Path) -> None:
    machine(places, "[core]\neditor = ed\nwait = yes\n[color]\nstyle = uppercase\n")
    user(places, "[core]\neditor: nano -w\nsort_elements = no\n")
    assert user_options.read() == {
        "editor": "nano -w",
        "wait": "yes",
        "output": "plain",
        "sort-elements": "no",
    }
    assert hacli(["options", "set", "editor", "vim"]) == (0, "")
    assert user_options.value("editor") == "vim"
    assert user_options.own() == {"editor": "vim"}  # what crmsh's files say is not copied
    assert hacli(["options", "reset"]) == (0, "")
    assert user_options.value("editor") == "nano -w"


@pytest.mark.parametrize(
    "text",
    [
        "editor = ed\n",
        "[core]\n;editor = ed\n# wait = yes\n",
        "[core]\neditor = $EDITOR\n",
        "[core]\nwait = perhaps\nsort_elements =\n",
        "[core]\nforce = yes\n",
        "[path]\neditor = ed\n",
        "[color]\nstyle = pink\n",
        "[core\nwait = yes\n",
        "[core]\nwait\n=yes\n",
    ],
)
def test_what_says_nothing(places: Path, text: str) -> None:
    user(places, text)
    assert user_options.read() == {}


def test_a_file_that_cannot_be_read(places: Path) -> None:
    (places / "etc/crm/crm.conf").write_bytes(b"[core]\nwait = \xff\n")
    (places / "config/crm/crm.conf").mkdir()
    assert user_options.read() == {}


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["sbd", "status"], "hacli fence list"),
        (["configure", "template", "list"], "hacli script list"),
        (["-H", "report.tar.gz", "history", "events"], "hacli history session load"),
        (["--history=report.tar.gz", "history"], "hacli history session load"),
    ],
)
def test_what_only_crmsh_has(words: list[str], remedy: str) -> None:
    status, text = hacli(words)
    assert status == 2
    assert remedy in text
