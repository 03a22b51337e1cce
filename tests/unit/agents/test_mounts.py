from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from agents.mounts import Mount, at, below, mounts, users

LINES = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
30 22 0:25 / /mnt rw - tmpfs first rw
31 30 0:26 /sub /mnt/a\040b ro,nosuid shared:7 master:3 - nfs4 server:/export\134x rw,vers=4.2
32 30 0:27 / /mntx rw - tmpfs other rw
33 22 0:28 / /mnt rw - tmpfs second rw
34 33 0:29 / /mnt/deep rw - tmpfs third rw
""".strip().splitlines()


def test_a_line() -> None:
    mount = Mount(LINES[2])
    assert (mount.id, mount.device, mount.root, mount.point) == (31, "0:26", "/sub", "/mnt/a b")
    assert (mount.fstype, mount.source) == ("nfs4", "server:/export\\x")
    assert (mount.options, mount.super_options) == (["ro", "nosuid"], ["rw", "vers=4.2"])


def test_the_latest_counts() -> None:
    known = [Mount(line) for line in LINES]
    found = at("/mnt", known)
    assert found is not None
    assert found.source == "second"
    assert at("/mn", known) is None


def test_what_is_inside_in_the_order_of_unmounting() -> None:
    known = [Mount(line) for line in LINES]
    assert [mount.point for mount in below("/mnt", known)] == ["/mnt/deep", "/mnt/a b"]
    assert below("/mntx", known) == []


def test_our_own_table_can_be_read() -> None:
    assert at("/proc", mounts()) is not None
    assert mounts("999999999") == []


def test_users_of_a_mount(tmp_path: Path) -> None:
    """A child with its working folder on the mount of tmp_path; what we look for is that mount's id."""
    best = max(
        (one for one in mounts() if str(tmp_path).startswith(one.point)), key=lambda one: len(one.point)
    )
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, cwd=tmp_path)
    try:
        found = users(best)
        assert child.pid in found
        assert os.getpid() not in found
        assert 1 not in found
    finally:
        child.communicate(b"\n")
