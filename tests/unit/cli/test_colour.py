"""When there are colours, and that there is no trace of them otherwise."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cli import colour
from cli.context import Context, Options
from tests.unit.cli.runner import hacli

CIB = """<cib><configuration><crm_config><cluster_property_set id="o">
<nvpair id="s" name="stonith-enabled" value="false"/></cluster_property_set></crm_config><nodes>
<node id="1" uname="n1"/></nodes><resources>
<primitive id="a" class="ocf" provider="hacluster" type="Dummy"/>
</resources><constraints/></configuration></cib>"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def is_wanted(display: str = "", stream: io.StringIO | None = None) -> bool:
    return colour.wanted(Context(options=Options(display=display)), stream or Terminal())


def test_a_terminal_has_them() -> None:
    assert is_wanted()
    assert is_wanted("color")
    assert is_wanted("color-always", io.StringIO())
    assert not is_wanted(stream=io.StringIO())
    assert not is_wanted("color", io.StringIO())
    assert not is_wanted("plain")
    assert not is_wanted("uppercase")


def test_what_switches_them_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert not is_wanted()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "")  # empty is as if it were not there
    assert is_wanted()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not is_wanted()
    assert is_wanted("color-always")
    monkeypatch.delenv("NO_COLOR")
    assert hacli(["options", "set", "output", "plain"])[0] == 0
    assert not is_wanted()
    assert is_wanted("color")


def test_a_status_in_colours(tmp_path: Path) -> None:
    path = tmp_path / "cib.xml"
    path.write_text(CIB)
    plain = hacli(["--cib-file", str(path), "status"])[1]
    painted = hacli(["-D", "color-always", "--cib-file", str(path), "status"])[1]
    assert "\x1b" not in plain
    assert f"{colour.RED}  * OFFLINE: [ n1 ]{colour.PLAIN}" in painted
    for code in (colour.RED, colour.YELLOW, colour.BOLD, colour.PLAIN):
        painted = painted.replace(code, "")
    assert painted == plain
    for form in ("--output=json", "--output=xml"):
        assert "\x1b" not in hacli(["-D", "color-always", form, "--cib-file", str(path), "status"])[1]
    assert hacli(["-D", "sepia", "status"])[0] == 2


def test_help_is_found_from_anywhere() -> None:
    status, text = hacli(["help", "primitive"])
    assert (status, text.split()[0]) == (0, "primitive")
    assert hacli(["help", "Rules"]) == hacli(["help", "rules"])
    status, text = hacli(["help", "standby"])
    assert (status, text.split()[0]) == (0, "standby")
    status, text = hacli(["help", "log"])
    assert status == 2
    assert "`help history log`; `help corosync log`" in text
