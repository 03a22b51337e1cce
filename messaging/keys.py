"""The authkeys file: heartbeat's syntax, strict about who may read it (cluster-protocol.md, 3.2)."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hacluster.digits import is_count
from hacluster.errors import InvalidDocument, InvalidDocuments
from messaging.packet import Keyring, WorkingKey, hkdf_sha256

FILE_BYTES_MAX: Final = 64 * 1024
SECRET_BYTES_SHORT: Final = 16
KEY_ID_MAX: Final = 15
METHODS: Final = {"sha256": "sha256", "sha1": "sha256", "md5": "sha256", "aes256gcm": "aes256gcm"}
"""Old methods are key material for ours: no wire compatibility with heartbeat is sought."""

_CRC_SECRET: Final = b"hacluster: no key at all"


def load(path: Path, *, cluster_id: bytes, insecure: bool = False) -> tuple[Keyring, tuple[str, ...]]:
    """The keyring and warnings about it. Raises InvalidDocuments naming file, line and remedy.

    Refused unless it is a regular file of root or of ourselves that nobody else can read.
    """
    return parse(_read(path), source=str(path), cluster_id=cluster_id, insecure=insecure)


def parse(
    text: str, *, source: str, cluster_id: bytes, insecure: bool = False
) -> tuple[Keyring, tuple[str, ...]]:
    """The same from a text."""
    reader = _Reader(source, cluster_id, insecure)
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if words and not words[0].startswith("#"):
            reader.line(number, words)
    return reader.finish()


def _refuse(path: Path, what: str, remedy: str) -> InvalidDocuments:
    return InvalidDocuments(errors=(InvalidDocument(source=str(path), line=0, what=what, remedy=remedy),))


def _read(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        remedy = "make one with `hacli cluster key generate` and copy it to every node"
        raise _refuse(path, "there is no key: the cluster does not start without", remedy) from None
    except OSError as error:
        raise _refuse(path, error.strerror or str(error), "a regular file, not a symbolic link") from None
    try:
        _judge(path, os.fstat(descriptor))
        _judge_folder(path)
        raw = os.read(descriptor, FILE_BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _refuse(path, "not a text", "lines `auth N` and `N sha256 SECRET`") from None


def _judge(path: Path, status: os.stat_result) -> None:
    """Raises InvalidDocuments when others could have read the file, or put it there."""
    if not stat.S_ISREG(status.st_mode):
        raise _refuse(path, "not a regular file", "replace it by a regular file, mode 0600")
    if status.st_uid not in (0, os.geteuid()):
        remedy = f"chown {os.geteuid()} {path}"
        raise _refuse(path, f"belongs to uid {status.st_uid}, neither root nor us", remedy)
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise _refuse(path, f"mode {mode:04o} lets others read or write it", f"chmod 600 {path}")
    if status.st_size > FILE_BYTES_MAX:
        raise _refuse(path, f"{status.st_size} bytes are too many", f"at most {FILE_BYTES_MAX}")


def _judge_folder(path: Path) -> None:
    """Raises InvalidDocuments when others could put another file in its place."""
    status = path.parent.stat()
    if status.st_mode & 0o022:
        mode = stat.S_IMODE(status.st_mode)
        what = f"the folder's mode {mode:04o} lets others replace it"
        raise _refuse(path, what, f"chmod go-w {path.parent}")
    if status.st_uid not in (0, os.geteuid()):
        what = f"the folder belongs to uid {status.st_uid}, neither root nor us"
        raise _refuse(path, what, f"chown root {path.parent}")


class _Reader:
    """Collects lines, then judges the whole."""

    def __init__(self, source: str, cluster_id: bytes, insecure: bool) -> None:
        self._source, self._cluster_id, self._insecure = source, cluster_id, insecure
        self._auth: int | None = None
        self._auth_line = 0
        self._keys: dict[int, WorkingKey] = {}
        self._errors: list[InvalidDocument] = []
        self._warnings: list[str] = []

    def line(self, number: int, words: Sequence[str]) -> None:
        if words[0] == "auth":
            self._auth_line = number
            if len(words) != 2 or not is_count(words[1]):
                self._fail(number, "`auth` names one key", "write `auth 1`")
            elif self._auth is not None:
                self._fail(number, "a second `auth` line", "keep one")
            else:
                self._auth = int(words[1])
            return
        if not is_count(words[0]) or not 1 <= int(words[0]) <= KEY_ID_MAX:
            self._fail(
                number, "the line does not begin with a key number", f"1 to {KEY_ID_MAX}: `1 sha256 SECRET`"
            )
        elif len(words) < 2:
            self._fail(number, "a key needs a method", f"`{words[0]} sha256 SECRET`")
        elif int(words[0]) in self._keys:
            self._fail(number, f"key {words[0]} is there twice", "number them differently")
        else:
            self._key(number, int(words[0]), words[1].lower(), words[2:])

    def _key(self, number: int, key_id: int, method: str, rest: Sequence[str]) -> None:
        if method == "crc":
            if not self._insecure:
                remedy = "use `sha256 SECRET`, or say `insecure = true` in cluster.toml"
                self._fail(number, "crc has no key: anybody could join", remedy)
                return
            self._warnings.append(f"{self._source}:{number}: crc has no key, packets are not protected")
            method, secret = "md5", _CRC_SECRET
        elif method not in METHODS:
            # Not named: who forgets the method has written the secret in its place.
            self._fail(number, f"the method of key {key_id} is not known", "one of " + ", ".join(METHODS))
            return
        elif len(rest) != 1:
            self._fail(number, "a key has one secret, without blanks", f"`{key_id} {method} SECRET`")
            return
        else:
            secret = rest[0].encode()
            if len(secret) < SECRET_BYTES_SHORT:
                what = f"the secret of key {key_id} has {len(secret)} bytes: {SECRET_BYTES_SHORT} are safe"
                self._warnings.append(f"{self._source}:{number}: {what}")
        ours = METHODS[method]
        info = f"hacluster/1/{ours}/{key_id}".encode()
        self._keys[key_id] = WorkingKey(
            id=key_id, method=ours, key=hkdf_sha256(secret, self._cluster_id, info)
        )

    def finish(self) -> tuple[Keyring, tuple[str, ...]]:
        if self._auth is None and not self._auth_line:
            self._fail(0, "no `auth N` line says which key signs", "add `auth 1`")
        elif self._auth is not None and self._auth not in self._keys and not self._errors:
            self._fail(self._auth_line, f"`auth {self._auth}` names no key of this file", "add that key")
        if self._errors or self._auth is None:
            raise InvalidDocuments(errors=tuple(self._errors))
        return Keyring(keys=dict(sorted(self._keys.items())), signing=self._auth), tuple(self._warnings)

    def _fail(self, line: int, what: str, remedy: str) -> None:
        self._errors.append(InvalidDocument(source=self._source, line=line, what=what, remedy=remedy))
