"""What every node of a new cluster needs, as one folder a node: settings, key, certificates, first CIB."""

from __future__ import annotations

import base64
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cli.authority import ISSUED, issued_name
from cli.certificates import make_authority, make_node
from hacluster import cluster_toml, settings
from hacluster.errors import InvalidRequest
from hacluster.settings import Settings

KEY_BYTES: Final = 32
INITIAL_CIB: Final = "initial-cib.xml"
_SECRET_MODE: Final = 0o600


def new_secret() -> str:
    """32 random bytes in base64: what stands behind the method in authkeys."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def new_authkeys() -> str:
    """A whole authkeys file with one new key."""
    return f"auth 1\n1 sha256 {new_secret()}\n"


def write_cluster(
    output: Path, made: Settings, *, authkeys: str, heading: str, initial_cib: str = ""
) -> tuple[Path, ...]:
    """Write OUTPUT/NODE/etc/hacluster/… for each node and OUTPUT/ca; all or nothing. The nodes' folders.

    Raises InvalidRequest when OUTPUT exists and is not an empty folder, OSError when it cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InvalidRequest(
            what=f"{output} exists", remedy="choose another --output; nothing is overwritten"
        )
    text = cluster_toml.render(made, heading=heading)
    settings.parse(text)  # what we write must load
    authority = make_authority(made.cluster_name)
    output.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    try:
        ca = {"ca.pem": authority.certificate, "ca.key": authority.key}
        _write(scratch / "ca", ca)
        pairs = {node.name: make_node(authority, node.name, node.addresses) for node in made.nodes}
        known = b"".join(pair.certificate for pair in pairs.values())
        for node in made.nodes:
            pair = pairs[node.name]
            etc = scratch / node.name / "etc" / "hacluster"
            _write(etc, {"cluster.toml": text.encode(), "authkeys": authkeys.encode()})
            if initial_cib:
                _write(etc, {INITIAL_CIB: initial_cib.encode()})
            _write(scratch / "ca" / ISSUED, {issued_name(node.name, pair.certificate): pair.certificate})
            tls = {
                "ca.pem": authority.certificate,
                "node.pem": pair.certificate,
                "node.key": pair.key,
                "nodes.pem": known,
            }
            _write(etc / "tls", tls)
        # Folders are copied with their modes: those of a strict umask would shut daemons, and others, out.
        for folder in scratch.glob("*/**/"):
            folder.chmod(0o700 if folder.name in ("ca", ISSUED) else 0o755)
        scratch.chmod(0o700)
        if output.exists():
            output.rmdir()
        scratch.rename(output)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return tuple(output / node.name for node in made.nodes)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        # The first configuration may hold passwords, of fence devices for one.
        secret = name.endswith(".key") or name in ("authkeys", INITIAL_CIB)
        path = folder / name
        path.touch(mode=_SECRET_MODE)  # never readable by others, not for a moment
        path.write_bytes(data)
        path.chmod(_SECRET_MODE if secret else 0o644)


def copy_hint(folders: tuple[Path, ...]) -> str:
    """What to do with the folders."""
    first = folders[0]
    return (
        f"Copy each folder to its node: scp -rp {first}/etc/hacluster root@{first.name}:/etc/ (and so on).\n"
        "Then, on each: systemd-tmpfiles --create hacluster.conf (the services run as user hacluster).\n"
        f"Keep {first.parent / 'ca'} in a safe place: its key signs the certificates of further nodes."
    )
