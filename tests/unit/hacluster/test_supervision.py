"""What ends a daemon: here the handler of its loop, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

_DAEMON = """
import asyncio
from hacluster.supervision import end_on_bugs

async def main():
    end_on_bugs(asyncio.get_running_loop())
    asyncio.get_running_loop().call_soon(lambda: {call})
    await asyncio.sleep(0.05)
    print("still here")

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [("1 / 0", 1, ""), ("(_ for _ in ()).throw(BlockingIOError)", 0, "still here\n")],
)
def test_a_callback_that_raises_ends_the_process(call: str, code: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _DAEMON.format(call=call)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, said)
    assert ("ZeroDivisionError" in done.stderr) == bool(code)
