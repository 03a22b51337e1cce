"""ocf:hacluster:Filesystem in a private mount namespace: images, folders, memory; busy ones too."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.agents_ground import DOORS, Ground, Resource, needs_root

pytestmark = [pytest.mark.netns, pytest.mark.skipif(bool(needs_root()), reason=needs_root() or "root")]

# Keeps something of a mount in use in the way asked for, and says when it does.
USER = """
import os, signal, sys, time
how, path, stubborn = sys.argv[1:4]
if stubborn == "1":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if how == "cwd":
    os.chdir(path)
elif how == "file":
    kept = open(path + "/kept", "w")
elif how == "map":
    import mmap
    with open(path + "/mapped", "wb+") as file:
        file.truncate(4096)
        kept = mmap.mmap(file.fileno(), 4096)
elif how == "root":
    os.chdir("/")
    os.chroot(path)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with Ground() as one:
        one.sh(f"mkdir {tmp_path}/disk && mount -t tmpfs -o size=64m disk {tmp_path}/disk")
        yield one
        # What a failed test left mounted goes with the namespace; loop devices go with their mounts.


def a_filesystem(ground: Ground, folder: Path, *, door: str = "executable", **parameters: str) -> Resource:
    given = {"directory": str(folder / "disk/mnt"), **parameters}
    return Resource(ground=ground, kind="Filesystem", folder=folder, parameters=given, door=door)


def an_image(ground: Ground, folder: Path, name: str = "image") -> str:
    path = f"{folder}/disk/{name}"
    ground.sh(f"truncate -s 8M {path} && mkfs.ext4 -q {path}")
    return path


def mounted(ground: Ground, folder: Path) -> list[dict[str, str]]:
    """What findmnt shows on the directory, the oldest first."""
    done = subprocess.run(
        ground.inside("findmnt", "--json", "--mountpoint", str(folder / "disk/mnt")),
        capture_output=True,
        text=True,
        check=False,
    )
    return list(json.loads(done.stdout)["filesystems"]) if done.stdout else []


def a_user(ground: Ground, how: str, path: Path, *, stubborn: bool) -> subprocess.Popen[str]:
    user = ground.spawn(sys.executable, "-c", USER, how, str(path), str(int(stubborn)))
    assert user.stdout is not None
    assert user.stdout.readline() == "ready\n"
    return user


@pytest.mark.parametrize("door", DOORS)
def test_image_file(ground: Ground, tmp_path: Path, door: str) -> None:
    image = an_image(ground, tmp_path)
    resource = a_filesystem(ground, tmp_path, door=door, device=image, fstype="ext4")
    assert resource.rc("monitor") == 7
    assert resource.rc("start") == 0
    (seen,) = mounted(ground, tmp_path)
    assert seen["fstype"] == "ext4"
    assert seen["source"].startswith("/dev/loop")
    assert [resource.rc("monitor", OCF_CHECK_LEVEL=level) for level in ("0", "10", "20")] == [0, 0, 0]
    assert ground.sh(f"cat {tmp_path}/disk/mnt/.Filesystem_status/test-Filesystem.node1").startswith("test-")
    assert resource.rc("stop") == 0
    assert mounted(ground, tmp_path) == []
    assert image not in ground.sh("losetup --list --noheadings --output BACK-FILE"), "the loop device is free"


def test_block_device(ground: Ground, tmp_path: Path) -> None:
    device = ground.sh(f"losetup --find --show {an_image(ground, tmp_path)}").strip()
    try:
        resource = a_filesystem(ground, tmp_path, device=device)
        assert [resource.rc(action) for action in ("start", "monitor", "stop", "monitor")] == [0, 0, 0, 7]
        assert resource.rc("start") == 0
        assert resource.rc("monitor", OCF_CHECK_LEVEL="20") == 0
        assert resource.rc("stop") == 0
    finally:
        ground.sh(f"losetup --detach {device}")


def test_bind(ground: Ground, tmp_path: Path) -> None:
    ground.sh(f"mkdir {tmp_path}/disk/source; echo here >{tmp_path}/disk/source/file")
    resource = a_filesystem(ground, tmp_path, device=f"{tmp_path}/disk/source", options="bind,ro")
    assert resource.rc("start") == 0
    assert ground.sh(f"cat {tmp_path}/disk/mnt/file") == "here\n"
    assert [resource.rc("monitor", OCF_CHECK_LEVEL=level) for level in ("0", "10")] == [0, 0]
    read_only = resource("monitor", OCF_CHECK_LEVEL="20")
    assert read_only.rc == 1
    assert "Read-only" in read_only.stderr
    assert [resource.rc(action) for action in ("stop", "monitor")] == [0, 7]


@pytest.mark.parametrize("stubborn", [False, True], ids=["goes when asked", "has to be killed"])
@pytest.mark.parametrize("how", ["cwd", "file", "map", "root"])
def test_users_are_ended(ground: Ground, tmp_path: Path, how: str, stubborn: bool) -> None:
    resource = a_filesystem(ground, tmp_path, device=an_image(ground, tmp_path), signal_delay="300ms")
    assert resource.rc("start") == 0
    user = a_user(ground, how, tmp_path / "disk/mnt", stubborn=stubborn)
    bystander = a_user(ground, "cwd", tmp_path / "disk", stubborn=False)
    try:
        began = time.monotonic()
        stopped = resource("stop")
        took_s = time.monotonic() - began
        assert stopped.rc == 0, stopped.stderr
        assert user.wait(5) == (-9 if stubborn else -15)
        assert bystander.poll() is None, "who uses something else stays"
        assert mounted(ground, tmp_path) == []
        assert took_s < 3
    finally:
        for process in (user, bystander):
            process.kill()
            process.communicate()


def test_users_are_spared_where_asked_for(ground: Ground, tmp_path: Path) -> None:
    resource = a_filesystem(ground, tmp_path, device=an_image(ground, tmp_path), force_unmount="false")
    assert resource.rc("start") == 0
    user = a_user(ground, "cwd", tmp_path / "disk/mnt", stubborn=False)
    try:
        stopped = resource("stop")
        assert stopped.rc == 1
        assert "busy" in stopped.stderr
        assert user.poll() is None
        assert resource.rc("monitor") == 0
    finally:
        user.kill()
        user.communicate()
    assert resource.rc("stop") == 0


def test_what_is_mounted_inside_goes_first(ground: Ground, tmp_path: Path) -> None:
    resource = a_filesystem(ground, tmp_path, device="tmpfs", fstype="tmpfs", options="size=1m")
    assert resource.rc("start") == 0
    mnt = tmp_path / "disk/mnt"
    ground.sh(f"mkdir {mnt}/a; mount -t tmpfs x {mnt}/a; mkdir '{mnt}/a/b c'; mount -t tmpfs y '{mnt}/a/b c'")
    assert resource.rc("stop") == 0
    assert str(mnt) not in ground.sh("cat /proc/self/mountinfo")


def test_something_else_is_left_alone(ground: Ground, tmp_path: Path) -> None:
    first = a_filesystem(ground, tmp_path, device=an_image(ground, tmp_path, "one"))
    second = a_filesystem(ground, tmp_path, device=an_image(ground, tmp_path, "two"))
    assert first.rc("start") == 0
    assert second.rc("monitor") == 7
    started = second("start")
    assert started.rc == 1
    assert "is mounted on" in started.stderr
    assert second.rc("stop") == 0
    assert first.rc("monitor") == 0
    assert first.rc("stop") == 0


def test_a_missing_device(ground: Ground, tmp_path: Path) -> None:
    resource = a_filesystem(ground, tmp_path, device="/dev/no-such-disk")
    assert [resource.rc(action) for action in ("monitor", "start", "stop")] == [7, 5, 0]
    assert "there is no /dev/no-such-disk" in resource("start").stderr
    assert resource.rc("validate-all") == 0, "another node may have it"
    tagged = a_filesystem(ground, tmp_path, device="UUID=00000000-0000-0000-0000-000000000000")
    assert tagged.rc("start") == 5


def test_what_cannot_be_mounted_says_why(ground: Ground, tmp_path: Path) -> None:
    ground.sh(f"truncate -s 1M {tmp_path}/disk/empty")
    started = a_filesystem(ground, tmp_path, device=f"{tmp_path}/disk/empty")("start")
    assert started.rc == 1
    assert "cannot be mounted: mount: " in started.stderr
    assert mounted(ground, tmp_path) == []


def test_an_error_made_it_read_only(ground: Ground, tmp_path: Path) -> None:
    resource = a_filesystem(ground, tmp_path, device=an_image(ground, tmp_path))
    assert resource.rc("start") == 0
    ground.sh(f"mount -o remount,ro {tmp_path}/disk/mnt")
    assert resource.rc("monitor") == 0
    level_10 = resource("monitor", OCF_CHECK_LEVEL="10")
    assert level_10.rc == 1
    assert "has become read-only" in level_10.stderr
    assert resource.rc("stop") == 0


def test_a_file_system_that_does_not_answer(ground: Ground, tmp_path: Path) -> None:
    """A frozen file system makes every write hang, as a dead disk does: the monitor says so in time."""
    resource = Resource(
        ground=ground,
        kind="Filesystem",
        folder=tmp_path,
        parameters={"directory": str(tmp_path / "disk/mnt"), "device": an_image(ground, tmp_path)},
        timeout_ms=1_500,
    )
    assert resource.rc("start") == 0
    ground.sh(f"fsfreeze --freeze {tmp_path}/disk/mnt")
    try:
        began = time.monotonic()
        hung = resource("monitor", OCF_CHECK_LEVEL="20")
        took_s = time.monotonic() - began
    finally:
        ground.sh(f"fsfreeze --unfreeze {tmp_path}/disk/mnt")
    assert hung.rc == 1
    assert "no answer within" in hung.stderr
    assert took_s < 1.5
    assert resource.rc("stop") == 0


@pytest.mark.parametrize(
    "wrong",
    [{"directory": "relative"}, {"directory": "/"}, {"device": "-o"}, {"statusfile_prefix": "../x"},
     {"statusfile_prefix": "/x"}, {"force_unmount": "perhaps"}],
)  # fmt: skip
def test_parameters(ground: Ground, tmp_path: Path, wrong: dict[str, str]) -> None:
    resource = a_filesystem(ground, tmp_path, **{"device": "/dev/sda1", **wrong})
    assert resource.rc("validate-all") == 6


def test_a_link_in_the_path(ground: Ground, tmp_path: Path) -> None:
    ground.sh(f"mkdir {tmp_path}/disk/real; ln -s real {tmp_path}/disk/link")
    resource = a_filesystem(
        ground, tmp_path, device="tmpfs", fstype="tmpfs", directory=f"{tmp_path}/disk/link/mnt"
    )
    assert [resource.rc(action) for action in ("start", "start", "monitor")] == [0, 0, 0]
    ground.sh(f"mkdir {tmp_path}/disk/real/mnt/in; mount -t tmpfs x {tmp_path}/disk/real/mnt/in")
    assert [resource.rc(action) for action in ("stop", "monitor")] == [0, 7]
    assert "disk/real/mnt" not in ground.sh("cat /proc/self/mountinfo")
