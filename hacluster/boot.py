"""Names this boot of this node: what survives a daemon's restart and not a reboot.

The boot token is SHA-256 of the kernel's boot id and a random file in the run directory that the first
service of a boot makes; so a namespace or container whose run directory is new has "booted" too.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from hacluster.owned_files import open_owned, put_owned
from hacluster.paths import Paths
from hacluster.vocabulary.ids import BootToken

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SEED_BYTES = 32


def boot_token(paths: Paths) -> BootToken:
    """The token, making the random file when there is none. Raises OSError when run is not
    writable, Unavailable when the file is not ours."""
    paths.run.mkdir(parents=True, exist_ok=True)
    seed = paths.run / "boot-seed"
    if not seed.exists():
        put_owned(seed, secrets.token_bytes(_SEED_BYTES), keep=True)  # the first of several services wins
    descriptor = open_owned(seed, os.O_RDONLY, owners=(paths.run.stat().st_uid,))
    with os.fdopen(descriptor, "rb") as file:
        digest = hashlib.sha256(_BOOT_ID.read_bytes().strip() + file.read(_SEED_BYTES))
    return BootToken(digest.hexdigest())
