"""When there are colours, and that there is no trace of them otherwise."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cli import colour
from cli.context import Context, Options
from cli.options import take_options
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


def test_definitions_in_colours(tmp_path: Path) -> None:
    text = (
        '# note\nprimitive a b \\\n\tparams x=1\nxml <tag id="t"> \\\n  primitive c \\\n</tag>\ngroup g a\n'
    )
    painted = colour.definitions(text)
    assert painted.endswith(f"</tag>\n{colour.BOLD}group g a{colour.PLAIN}\n")
    assert painted.startswith(f"# note\n{colour.BOLD}primitive a b \\{colour.PLAIN}\n\tparams")
    for code in (colour.BOLD, colour.PLAIN):
        painted = painted.replace(code, "")
    assert painted == text
    path = tmp_path / "cib.xml"
    path.write_text(CIB)
    before = ["-D", "color-always", "--cib-file", str(path), "configure"]
    assert hacli([*before, "show", "a"])[1].startswith(f"{colour.BOLD}primitive a ocf:")
    for words in (["show", "xml"], ["show", "--exact"], ["save", "-"]):
        assert "\x1b" not in hacli([*before, *words])[1]


def test_crmsh_spells_options_otherwise() -> None:
    words = [
        "-o",
        "core.wait=yes",
        "--opt=core.force=on",
        "-o",
        "color.style=plain",
        "-o",
        "core.pager=x",
        "status",
    ]
    options = take_options(words)
    assert (options.wait, options.force, options.debug, options.display) == (True, True, False, "plain")
    assert words == ["status"]
    for wrong in ("core", "core.wait", ".wait=1", "core.wait=perhaps", "color.style=sepia"):
        assert hacli(["-o", wrong, "status"])[0] == 2


@pytest.mark.parametrize(
    ("line", "short"),
    [
        ("configu show", "'configu'"),
        ("configure sh", "'sh'"),
        ("resour status", "'resour'"),
        ("configure\nprim x ocf:hacluster:Dummy", "'prim'"),
        ("configure show", ""),
        ("cfg show", ""),
        ("configure\nPRIMITIVE x ocf:hacluster:Dummy", ""),
    ],
)
def test_strict_scripts(line: str, short: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cib.xml").write_text(CIB)
    Path("script").write_text(line + "\n")
    status, text = hacli(["--strict", "--cib-file", "cib.xml", "-f", "script"])
    if short:
        assert status == 2
        assert f"{short} is short for" in text
    else:
        assert status == 0
    Path("cib.xml").write_text(CIB)
    assert hacli(["--cib-file", "cib.xml", "-f", "script"])[0] == 0
