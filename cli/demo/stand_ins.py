"""What stands in, in the demo, for what a machine may lack: the tutorial's NFS export.

An NFS server for the export would have to run in the kernel of the machine that plays all the nodes, and a
user namespace may not mount NFS at all. So the export is a 16 MiB ext4 image that each node mounts through a
loop device, as root; otherwise a shared directory, mounted with bind. The configuration that `hacli import`
made is rewritten for it in the one place where it names the export; the demo says so.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.demo.ground import LabError, host_env, needs_user_namespace
from cli.demo.lab import Lab

PAGE: Final = "<html><body><h1>It works</h1>Served by a cluster from its shared file system.</body></html>\n"
_IMAGE_MIB: Final = 16


@dataclass(frozen=True, slots=True)
class StandIn:
    """Parameters of the Filesystem resource instead of the export's, and the words to say so."""

    parameters: Mapping[str, str]
    words: str


def shared_file_system(lab: Lab) -> StandIn:
    """Make what all nodes can mount, with the page in it."""
    content = lab.shared / "htdoc"
    content.mkdir()
    content.chmod(0o755)
    (content / "index.html").write_text(PAGE)
    if (
        not needs_user_namespace()
        and Path("/dev/loop-control").exists()
        and _make_image(content, lab.shared / "htdoc.img")
    ):
        return StandIn(
            {"device": "/shared/htdoc.img", "fstype": "ext4", "options": "loop"},
            "the NFS export 172.16.20.32:/www/htdoc is played by a shared ext4 image (loop device)",
        )
    return StandIn(
        {"device": "/shared/htdoc", "fstype": "none", "options": "bind"},
        "the NFS export 172.16.20.32:/www/htdoc is played by a shared directory (bind mount)",
    )


def _make_image(content: Path, image: Path) -> bool:
    mkfs = shutil.which("mkfs.ext4", path=host_env()["PATH"])
    if mkfs is None:
        return False
    with open(image, "wb") as file:
        file.truncate(_IMAGE_MIB * 1024 * 1024)
    command = [mkfs, "-q", "-F", "-d", str(content), str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise LabError(what=f"mkfs.ext4: {done.stderr.strip()}")
    return True


def fast_timers(ha_cf: str, timers: Mapping[str, str]) -> str:
    """The same ha.cf with other times."""
    for name, value in timers.items():
        ha_cf = re.sub(rf"(?m)^{name}\s+\S+", f"{name} {value}", ha_cf)
    return ha_cf
