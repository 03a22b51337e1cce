"""The files that all nodes share (cluster.toml, authkeys, tls/crl.pem, tls/nodes.pem): read, replaced whole.

`[cluster] revision` of cluster.toml counts for all of them. Who judges and distributes them: `lrm/files` on
every node, `cli/members.py` for the administrator.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hacluster import settings as ha_settings
from hacluster.errors import InvalidDocument
from hacluster.paths import Paths
from hacluster.settings import Settings

ENDS_SOON_DAYS: Final = 30
_SECRET: Final = 0o600
_PUBLIC: Final = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFiles:
    """Their contents. `nodes_pem`: certificates of nodes. It and `crl` may be empty: there is none."""

    cluster_toml: bytes
    authkeys: bytes
    crl: bytes = b""
    nodes_pem: bytes = b""

    @property
    def digest(self) -> str:
        """SHA-256 over all, hexadecimal."""
        whole = hashlib.sha256()
        for part in (self.cluster_toml, self.authkeys, self.crl, self.nodes_pem):
            whole.update(len(part).to_bytes(8, "big") + part)
        return whole.hexdigest()

    def settings(self, source: str = "cluster.toml") -> Settings:
        """What cluster.toml says. Raises InvalidDocument or InvalidDocuments."""
        try:
            text = self.cluster_toml.decode()
        except UnicodeDecodeError as error:
            raise InvalidDocument(source=source, line=0, what=str(error), remedy="UTF-8 is needed") from None
        return ha_settings.parse(text, source=source)


def places(paths: Paths) -> dict[str, tuple[Path, int]]:
    """Field of SharedFiles -> file and mode."""
    return {
        "nodes_pem": (paths.tls / "nodes.pem", _PUBLIC),
        "crl": (paths.tls / "crl.pem", _PUBLIC),
        "authkeys": (paths.authkeys, _SECRET),
        "cluster_toml": (paths.cluster_toml, _PUBLIC),
    }


def read(paths: Paths) -> SharedFiles:
    """Those of this node. Raises InvalidDocument when cluster.toml or authkeys is not there."""
    found: dict[str, bytes] = {}
    for name, (path, _) in places(paths).items():
        try:
            found[name] = path.read_bytes()
        except OSError as error:
            if isinstance(error, FileNotFoundError) and name in ("crl", "nodes_pem"):
                found[name] = b""
                continue
            what, remedy = error.strerror or str(error), "run it as root"
            if isinstance(error, FileNotFoundError):
                remedy = "this node is in no cluster: `hacli cluster init`, or `cluster join` with a token"
            raise InvalidDocument(source=str(path), line=0, what=what, remedy=remedy) from None
    return SharedFiles(**found)


def write(paths: Paths, files: SharedFiles) -> tuple[str, ...]:
    """Replace those that differ; the names of these. Raises OSError."""
    changed = []
    for name, (path, mode) in places(paths).items():
        data: bytes = getattr(files, name)
        if (path.read_bytes() if path.exists() else b"") == data:
            continue
        if data:
            replace(path, data, mode, daemons_owner(paths))
        else:
            path.unlink()
        changed.append(path.name)
    return tuple(changed)


def replace(path: Path, data: bytes, mode: int, new_owner: tuple[int, int] | None = None) -> None:
    """Write a file whole, on the disk before it has its name. It keeps its owner. Raises OSError."""
    owner, group = _owner_of(path, new_owner)
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(scratch, flags, _SECRET)  # never readable by others, not for a moment
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            with suppress(PermissionError):
                os.fchown(file.fileno(), owner, group)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        scratch.rename(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def daemons_owner(paths: Paths) -> tuple[int, int]:
    """User and group of ha-messaging and ha-crm on this node: those of the run folder (deploy/tmpfiles.d)."""
    try:
        status = paths.run.stat()
    except OSError:
        return os.geteuid(), os.getegid()
    return status.st_uid, status.st_gid


def _owner_of(path: Path, new: tuple[int, int] | None) -> tuple[int, int]:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return new or (os.geteuid(), os.getegid())
    return status.st_uid, status.st_gid


def problems(paths: Paths) -> Iterator[str]:
    """What is wrong with files that hold keys, or soon will be with the certificate; with the remedy."""
    user = daemons_owner(paths)[0]
    allowed = {0, os.geteuid(), user}
    for path in (paths.authkeys, paths.tls / "node.key"):
        try:
            status = path.lstat()
        except OSError as error:
            yield f"{path}: {error.strerror}"
            continue
        if not stat.S_ISREG(status.st_mode):
            yield f"{path} is no regular file: replace it by one, mode 0600"
        elif status.st_mode & 0o077:
            yield f"{path} has mode {stat.S_IMODE(status.st_mode):04o}: chmod 600 {path}"
        elif status.st_uid not in allowed:
            yield f"{path} belongs to uid {status.st_uid}: chown {user} {path}"
    for folder in (paths.etc, paths.tls):
        with suppress(OSError):
            if folder.stat().st_mode & 0o022:
                yield f"{folder} can be written to by others: chmod go-w {folder}"
    yield from _certificate_problems(paths.tls / "node.pem")


def _certificate_problems(path: Path) -> Iterator[str]:
    from cryptography import x509  # takes long

    try:
        ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        yield f"{path}: {error}"
        return
    left = (ends - datetime.datetime.now(datetime.UTC)).days
    if left < ENDS_SOON_DAYS:
        yield f"{path} ends on {ends:%Y-%m-%d}: hacli cluster cert renew"
