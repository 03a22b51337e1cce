"""Man pages, completions and schemas are what the command tree says; answers are of their formats."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lxml import etree

from cli import context as codes
from cli.formats import SHAPES, misfits, schema
from cli.generate import EXIT_CODES, ROOT_FOLDER, files, stale
from cli.output import document
from tests.unit.cli.runner import hacli
from tests.unit.cli.test_cib_copies import a_report, cib_folder
from tests.unit.crm.cib.test_store import a_log, filled

CIB = """<cib><configuration><crm_config><cluster_property_set id="o"><nvpair id="o-s" name="stonith-enabled"
 value="false"/></cluster_property_set></crm_config><nodes><node id="1" uname="n1">
<instance_attributes id="n"><nvpair id="n-x" name="x" value="1"/></instance_attributes></node>
</nodes><resources><group id="g">
<primitive id="a" class="ocf" provider="hacluster" type="Dummy"><meta_attributes id="a-m">
<nvpair id="a-m-p" name="priority" value="1"/></meta_attributes></primitive></group></resources><constraints>
<rsc_location id="l" rsc="g" node="n1" score="1"/><rsc_ticket id="t" rsc="g" ticket="T"/></constraints>
</configuration><status><node_state id="1" uname="n1" in_ccm="true" crmd="online"
 join="member" expected="member">
<lrm id="1"><lrm_resources><lrm_resource id="a" class="ocf" provider="hacluster" type="Dummy">
<lrm_rsc_op id="a_last_0" operation="start" operation_key="a_start_0" rc-code="0" op-status="0" call-id="2"
 interval="0" last-rc-change="1700000000" transition-key="1:1:0:x" transition-magic="0:0;1:1:0:x"/>
</lrm_resource></lrm_resources></lrm></node_state></status></cib>"""
COMMANDS = {
    "agents": ["ra classes", "ra list ocf hacluster", "ra providers Dummy"],
    "agent": ["ra info ocf:hacluster:Dummy"],
    "attributes": ["resource meta a show", "resource meta a show priority", "node attribute n1 show"],
    "cib-copies": ["cib recover"],
    "cib-history": ["cib history"],
    "cib-orphan": ["cib orphans show 99"],
    "cib-orphans": ["cib orphans"],
    "cib-recovered": ["-F cib recover from cib.xml"],
    "constraints": ["resource constraints g"],
    "drift": ["apply new.crm --check"],
    "diff": ["cib diff trial"],
    "events": ["history events"],
    "failcount": ["resource failcount a show n1"],
    "findings": ["verify"],
    "why": ["why a"],
    "locate": ["resource locate g"],
    "nodes": ["node show", "node status"],
    "operations": ["resource operations"],
    "options": ["options show", "options show editor"],
    "plan": ["plan new.crm", "configure plan"],
    "properties": ["configure get_property stonith-enabled no-quorum-policy"],
    "resources": ["resource status", "resource status g"],
    "service": ["script show web"],
    "services": ["script list"],
    "shadows": ["cib list"],
    "status": ["status"],
    "tickets": ["site ticket show"],
    "version": ["cib version"],
}
# test_cib_copies.py: it can be done once only; test_survive.py: an exit code of its own;
# test_transition_forms.py: its XML is crm_simulate's.
ELSEWHERE = {"cib-orphan-applied", "survive", "transition"}
LIVE = {"fence-devices", "fence-history", "health", "quorum", "revisions", "transitions"}


@pytest.fixture(autouse=True)
def a_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "HACLUSTER_ROOT"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("CIB_file", "cib.xml")
    Path("cib.xml").write_text(CIB)
    a_report(tmp_path / "HACLUSTER_ROOT")
    filled(cib_folder(tmp_path / "HACLUSTER_ROOT"), a_log(2))
    Path("new.crm").write_text("primitive b ocf:hacluster:Dummy\n")
    assert hacli(["cib", "new", "trial"])[0] == 0
    assert hacli(["-c", "trial", "configure", "primitive", "c", "ocf:hacluster:Dummy"])[0] == 0


def test_everything_generated_is_current() -> None:
    assert stale(ROOT_FOLDER) == [], "run `python -m cli.generate`"
    assert len(files()) > 30


def test_every_format_is_shown_here_or_live() -> None:
    assert set(COMMANDS) | LIVE | ELSEWHERE == set(SHAPES)


@pytest.mark.parametrize(
    ("name", "line"), [(name, line) for name, lines in COMMANDS.items() for line in lines]
)
def test_answers_are_of_their_format(name: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    from cli.__main__ import main

    capsys.readouterr()
    status = main(["--output", "json", *line.split()])
    out = capsys.readouterr().out
    assert status in (0, codes.EXIT_DRIFT)
    data = json.loads(out)
    assert data["format"] == f"hacluster.{name}/1"
    assert misfits(name, data) == []
    assert main(["--output", "xml", *line.split()]) == status
    root = etree.fromstring(capsys.readouterr().out.encode())
    assert root.tag == "hacluster"
    assert root.get("format") == f"hacluster.{name}/1"


def test_misfits_are_found() -> None:
    found = misfits("version", {"format": "x", "version": 1, "more": True})
    assert found == [
        "version.digest is missing",
        "version.more is not promised",
        "version.version: 1 is no string",
    ]
    assert schema("version")["properties"]["version"] == {"type": "string"}


def test_any_text_can_be_said_as_xml() -> None:
    assert (
        etree.fromstring(document("x", {"a": "\x01<&\n", "b": [1, {"c": None}]}, "xml").encode()) is not None
    )


def test_exit_codes_are_documented() -> None:
    known = {str(value) for name, value in vars(codes).items() if name.startswith("EXIT_")}
    assert known | {"130"} == {code for code, _summary in EXIT_CODES}
    manual = (ROOT_FOLDER / "docs/manual/configure.md").read_text()
    for code, summary in EXIT_CODES[:-1]:
        assert (
            f"| {code} | {summary.replace('apply --check', '`apply --check`').replace('-w:', '`-w`:')} |"
            in manual
        )


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_completion_in_bash(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "hacli"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cli "$@"\n')
    program.chmod(0o755)
    script = f"""
set -e
PATH={program.parent}:$PATH PYTHONPATH={ROOT_FOLDER}
source {ROOT_FOLDER}/deploy/completion/hacli.bash
ask() {{ COMP_LINE="$1"; COMP_POINT=${{#1}}; read -ra COMP_WORDS <<< "$1"
  [[ $1 == *" " ]] && COMP_WORDS+=("")
  COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=(); _hacli; echo "${{COMPREPLY[*]}}"; }}
export PYTHONPATH
ask "hacli resource lo"
ask "hacli configu"
ask "hacli cib cibstatus no"
ask "hacli resource stop "
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines() == ["locate", "configure", "node", "a g"], done.stderr


@pytest.mark.skipif(shutil.which("man") is None, reason="there is no man")
def test_man_pages_have_no_mistakes() -> None:
    for path in sorted((ROOT_FOLDER / "docs/man").glob("*.1")):
        done = subprocess.run(
            ["man", "--warnings", "-l", "-E", "UTF-8", str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, ""), path.name
