"""Names this boot of this node: what survives a daemon's restart and not a reboot.

The boot token is SHA-256 of the kernel's boot id and a random file in the run directory that the first
service of a boot makes; so a namespace or container whose run directory is new has "booted" too.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from hacluster.paths import Paths
from hacluster.vocabulary.ids import BootToken

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_token(paths: Paths) -> BootToken:
    """The token, making the random file when there is none. Raises OSError when run is not writable."""
    paths.run.mkdir(parents=True, exist_ok=True)
    seed = paths.run / "boot-seed"
    if not seed.exists():
        fresh = paths.run / f".boot-seed.{os.getpid()}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
        try:
            os.link(fresh, seed)  # the first of several services wins, all read the same file
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    digest = hashlib.sha256(_BOOT_ID.read_bytes().strip() + seed.read_bytes())
    return BootToken(digest.hexdigest())
