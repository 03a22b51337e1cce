"""ocf-tester of resource-agents has nothing to say against any of our agents.

It checks meta-data by the DTD of OCF 1.0, which forbids what 1.1 brought (reloadable, select, reload-agent):
the xmllint it finds first is one that checks by the grammar of 1.1.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agents.catalog import our_ocf_root, our_sbin_dir
from agents.resources import MODULES
from tests.live.agents_ground import PATH, Ground, needs_root
from tests.live.test_agents_ocf import Answering, ground, parameters_of

__all__ = ["ground"]

TESTER = shutil.which("ocf-tester", path=PATH)

pytestmark = [
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.skipif(bool(needs_root()), reason=needs_root() or "root"),
    pytest.mark.skipif(TESTER is None, reason="ocf-tester (package resource-agents) is not installed"),
]

LINT = f"""#!{sys.executable}
import sys
from lxml import etree
schema = etree.RelaxNG(etree.parse({str(Path(__file__).parents[1] / "unit/agents/ocf-ra-api-1.1.rng")!r}))
sys.exit(0 if schema.validate(etree.fromstring(sys.stdin.buffer.read())) else 1)
"""


@pytest.mark.parametrize("kind", sorted(MODULES))
def test_ocf_tester(kind: str, ground: Ground, tmp_path: Path) -> None:
    options = [f"{name}={value}" for name, value in parameters_of(kind, tmp_path).items()]
    words = [word for option in options for word in ("-o", option)]
    assert TESTER is not None
    lint = tmp_path / "xmllint"
    lint.write_text(LINT)
    lint.chmod(0o755)
    system_python = "/usr/bin/python3"  # meta-data is asked for by nobody, who may not reach ours
    with Answering(tmp_path / "agent.sock"):
        done = subprocess.run(
            ground.inside(
                TESTER,
                "-v",
                "-n",
                f"tester-{kind}",
                *words,
                str(our_ocf_root() / "resource.d/hacluster" / kind),
            ),
            env={
                "PATH": f"{tmp_path}:{PATH}",
                "OCF_ROOT": "/usr/lib/ocf",
                "HA_RSCTMP": str(tmp_path / "rsctmp"),
                "HA_AGENT": str(our_sbin_dir().parent / "bin/ha-agent"),
                "HA_PYTHON": system_python,
                "HA_SBIN_DIR": str(our_sbin_dir()),
                "HACLUSTER_AGENT_SOCKET": str(tmp_path / "agent.sock"),
            },
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
    assert "passed all tests" in done.stdout
