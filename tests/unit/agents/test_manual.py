"""docs/manual/agents.md: its example runs, and it knows every parameter."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from agents import sdk
from agents.metadata import parse
from agents.resources import MODULES

ROOT = Path(__file__).resolve().parents[3]
MANUAL = (ROOT / "docs/manual/agents.md").read_text()


@pytest.mark.parametrize("kind", sorted(MODULES))
def test_every_parameter_is_described_as_in_the_meta_data(kind: str) -> None:
    section = MANUAL.partition(f"### {kind}\n")[2].partition("\n### ")[0]
    agent = sdk.load(kind)
    assert " ".join(agent.longdesc.split()) in section
    rows = dict(re.findall(r"^\| `([^`]+)` \| .*? \| (.*) \|$", section, re.MULTILINE))
    rows |= dict(re.findall(r"^\| `([^`]+)` \|  \| (.*) \|$", section, re.MULTILINE))
    assert rows == {one.name: " ".join(one.longdesc.split()) for one in agent.parameters()}


def test_the_example_is_an_agent(tmp_path: Path) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL)
    program = tmp_path / "Flag"
    program.write_text(source)

    def run(action: str, path: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, str(program), action],
            env={"PYTHONPATH": str(ROOT), "OCF_RESKEY_path": path},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    metadata = parse(run("meta-data", "")[1], "Flag")
    assert [parameter.name for parameter in metadata.parameters] == ["path", "text"]
    flag = tmp_path / "flag"
    actions = ("monitor", "start", "start", "monitor", "stop", "stop", "monitor")
    assert [run(action, str(flag))[0] for action in actions] == [7, 0, 0, 0, 0, 0, 7]
    code, _, error = run("start", "/no/such/folder/flag")
    assert (code, error) == (5, "ocf-exit-reason:the folder of /no/such/folder/flag is missing\n")
    assert run("start", "")[0] == 6
