"""Scripts from before OCF, run by a real ha-lrm: init scripts (LSB) and Heartbeat's resource.d.

Their folders lie over the system's in a mount namespace of the node's own.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hacluster.vocabulary.operation import ExecutionStatus
from tests.live.lrm_node import LrmNode
from tests.live.test_lrm_agents import root

__all__ = ["root"]

pytestmark = [
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root"),
]

# Arguments come first and the action last, as Heartbeat has it; LSB has no arguments.
SCRIPT = """#!/bin/sh
for action; do :; done
echo "$*" >>{folder}/log
test -e {folder}/broken-$action && {{ echo "it is broken" >&2; exit {broken}; }}
case "$action" in
start) touch {folder}/state;;
stop) rm -f {folder}/state;;
status) if test -e {folder}/state; then echo "running"; exit 0; else echo "stopped"; exit {stopped}; fi;;
*) echo "usage: start|stop|status" >&2; exit 2;;
esac
"""


@pytest.fixture
async def node(root: Path) -> AsyncIterator[LrmNode]:
    folder, above = root / "scripts", root / "etc-above"
    folder.mkdir()
    above.mkdir()
    bind = (
        f"mount -t tmpfs above {above} && mkdir {above}/upper {above}/work && "
        f"mount -t overlay etc -o lowerdir=/etc,upperdir={above}/upper,workdir={above}/work /etc && "
        "mkdir -p /etc/init.d /etc/ha.d/resource.d && "
        f"mount --bind {folder} /etc/init.d && mount --bind {folder} /etc/ha.d/resource.d && "
    )
    prefix = ("unshare", "--mount", "--propagation", "private", "sh", "-c", bind + 'exec "$@"', "sh")
    async with LrmNode(root, prefix=prefix) as one:
        await one.accept()
        yield one


def install(root: Path, *, stopped: int, broken: int) -> Path:
    path = root / "scripts/thing"
    path.write_text(SCRIPT.format(folder=root, stopped=stopped, broken=broken))
    path.chmod(0o755)
    return path


async def codes(node: LrmNode, agent: str, *actions: str, **parameters: str) -> list[int]:
    found = []
    for action in actions:
        result = await node.run("r", action, agent, parameters=parameters)
        assert result.status == ExecutionStatus.DONE, result
        found.append(result.rc)
    return found


async def test_an_init_script(node: LrmNode, root: Path) -> None:
    install(root, stopped=3, broken=1)
    life = ("monitor", "start", "start", "monitor", "stop", "stop", "monitor")
    assert await codes(node, "lsb:thing", *life) == [7, 0, 0, 0, 0, 0, 7]
    assert (root / "log").read_text().split() == ["status" if one == "monitor" else one for one in life]
    (root / "broken-start").touch()
    (root / "broken-status").touch()
    assert await codes(node, "lsb:thing", "start", "monitor") == [1, 7], "1: dead, with a pid file"
    install(root, stopped=3, broken=4)
    assert await codes(node, "lsb:thing", "monitor") == [1], "4: unknown"
    (root / "broken-stop").touch()
    assert await codes(node, "lsb:thing", "stop") == [4], "insufficient privilege, as OCF has it"
    refused = await node.run("r", "validate-all", "lsb:thing")
    assert refused.rc != 0, "init scripts have no such action"


async def test_a_heartbeat_script(node: LrmNode, root: Path) -> None:
    """What its status says counts, not the exit code; arguments come before the action."""
    install(root, stopped=0, broken=1)
    arguments = {"1": "10.0.0.1/24", "2": "two words"}
    life = ("monitor", "start", "monitor", "stop", "monitor")
    assert await codes(node, "heartbeat:thing", *life, **arguments) == [7, 0, 0, 0, 7]
    said = (root / "log").read_text().splitlines()
    assert [line for line in said if line.endswith("start")] == ["10.0.0.1/24 two words start"]
    (root / "broken-start").touch()
    assert await codes(node, "heartbeat:thing", "start", "monitor", **arguments) == [1, 7]
    (root / "broken-stop").touch()
    assert await codes(node, "heartbeat:thing", "stop", **arguments) == [0], (
        "stopped all the same, by its status"
    )
    (root / "broken-start").unlink()
    assert await codes(node, "heartbeat:thing", "start", **arguments) == [0]
    stop = await node.run("r", "stop", "heartbeat:thing", timeout_ms=40_000, parameters=arguments)
    assert (stop.status, stop.rc) == (ExecutionStatus.DONE, 1), "it runs on, after ten tries"
    said = (root / "log").read_text().splitlines()
    assert len([line for line in said if line.endswith("stop")]) > 10
    refused = await node.run("r", "validate-all", "heartbeat:thing", parameters=arguments)
    assert refused.rc != 0, "Heartbeat's scripts have no such action"


async def test_a_script_that_hangs_is_ended_at_its_timeout(node: LrmNode, root: Path) -> None:
    path = root / "scripts/thing"
    path.write_text("#!/bin/sh\nsleep 60\n")
    path.chmod(0o755)
    result = await node.run("r", "start", "lsb:thing", timeout_ms=300)
    assert (result.status, result.executed_ms) == (ExecutionStatus.TIMEOUT, 300)
