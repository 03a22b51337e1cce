"""What a measured process used, and whether it was done."""

from __future__ import annotations

import sys

import pytest

from benchmarks.scheduler.measuring import run


def test_one_that_is_ended_at_its_limit_was_not_done() -> None:
    """The kernel ends it a little before or after the second that was set: only how it ended tells."""
    ended, _ = run([sys.executable, "-c", "while True: pass"], limit_s=1)
    assert ended.cut_off
    done, text = run([sys.executable, "-c", "print('done')"], limit_s=60)
    assert (done.cut_off, text) == (False, "done\n")
    with pytest.raises(RuntimeError, match="exit code 3"):
        run([sys.executable, "-c", "raise SystemExit(3)"], limit_s=1)
