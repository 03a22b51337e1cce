"""The completion scripts in the shells they are for: what is typed, and what the shell makes of a Tab."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

from cli.generate import ROOT_FOLDER

SCRIPTS = ROOT_FOLDER / "deploy/completion"
WITHIN_S = 30
CIB = """<cib><configuration><crm_config/><nodes><node id="1" uname="n1"/></nodes><resources>
<primitive id="alpha" class="ocf" provider="hacluster" type="Dummy"/>
<primitive id="beta" class="ocf" provider="hacluster" type="Dummy"/></resources><constraints/>
</configuration></cib>"""
# What is typed, and what it becomes with one Tab.
BECOMES = [
    ("hacli configu", "hacli configure "),
    ("hacli resource lo", "hacli resource locate "),
    ("hacli resource stop al", "hacli resource stop alpha "),
    ("hacli --cib", "hacli --cib-file "),
    ("hacli --cib-file sit", "hacli --cib-file site.xml "),
    ("hacli verify --sur", "hacli verify --survive "),
    (
        "hacli configure primitive x ocf:hacluster:WebS",
        "hacli configure primitive x ocf:hacluster:WebServer ",
    ),
    ("hacli configure property maintenance-m", "hacli configure property maintenance-mode="),
    ("hacli simulate --save-o", "hacli simulate --save-output "),
]


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    """A folder with a CIB, where `hacli` is a command; its environment."""
    program = tmp_path / "bin" / "hacli"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cli "$@"\n')
    program.chmod(0o755)
    (tmp_path / "site.xml").write_text(CIB)
    return {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT_FOLDER),
        "HOME": str(tmp_path),
        "ZDOTDIR": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "CIB_file": "site.xml",
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
    }


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash(place: dict[str, str]) -> None:
    # `complete -F` is asked for hacli only, so the line is completed as one of hacli's.
    script = f"""
source {SCRIPTS}/hacli.bash
ask() {{ COMP_LINE="$1"; COMP_POINT=${{#1}}; COMP_WORDS=(); local IFS=$' \\t\\n'
  local rest=${{1//[:=]/ & }}; read -ra COMP_WORDS <<< "$rest"; [[ $1 == *[[:space:]] ]] && COMP_WORDS+=("")
  COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=(); _hacli
  local current=${{COMP_WORDS[COMP_CWORD]}}; echo "${{1%"$current"}}${{COMPREPLY[*]}}"; }}
"""
    script += "".join(f'ask "{text}"\n' for text, _ in BECOMES)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=place["HOME"],
        env=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.splitlines() == [wanted.rstrip() for _, wanted in BECOMES], done.stderr


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_fish(place: dict[str, str]) -> None:
    script = f"source {SCRIPTS}/hacli.fish\n"
    script += "".join(f"complete -C '{text}'; echo ==\n" for text, _ in BECOMES)
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        cwd=place["HOME"],
        env=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    answers = [part.split("\n") for part in done.stdout.removesuffix("==\n").split("==\n")]
    assert len(answers) == len(BECOMES), done.stderr
    for (text, wanted), answer in zip(BECOMES, answers, strict=True):
        offered = [line.partition("\t")[0] for line in answer if line]
        assert offered == [wanted.split()[-1]], (text, done.stderr)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_zsh(place: dict[str, str]) -> None:
    child: Any = pexpect.spawn(
        "zsh",
        ["-f", "-i"],
        cwd=place["HOME"],
        env=place,
        encoding="utf-8",
        timeout=WITHIN_S,
        dimensions=(50, 200),
    )
    try:
        for line in (
            "PROMPT='' PROMPT2='' RPROMPT=''; unsetopt zle_bracketed_paste prompt_cr prompt_sp",
            f"fpath=({SCRIPTS} $fpath); autoload -Uz compinit; compinit -u -D",
            # Shows the line as it is after the Tab, and begins the next one.
            "tell() { print -r -- \"<<$BUFFER>>\"; BUFFER=''; zle reset-prompt }; zle -N tell",
            "bindkey '^X' tell",
            "print ready:$((40+2))",
        ):
            child.sendline(line)
        child.expect("ready:42")
        for text, wanted in BECOMES:
            child.send(f"{text}\t\x18")
            child.expect(r"<<([^>\r\n]*)>>")
            assert child.match[1] == wanted, text
    finally:
        child.close(force=True)
