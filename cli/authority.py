"""The folder of the cluster's CA: its key, and a copy of each certificate that it has issued."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from cryptography import x509

from cli.certificates import Pair
from hacluster import shared_files
from hacluster.errors import InvalidRequest
from hacluster.paths import Paths

ISSUED: Final = "issued"


def issued_name(node: str, certificate: bytes) -> str:
    """The file of a certificate in `issued`."""
    return f"{node}.{x509.load_pem_x509_certificate(certificate).serial_number:x}.pem"


class AuthorityFolder:
    """`--ca DIR`, or /etc/hacluster/ca."""

    def __init__(self, paths: Paths, given: str = "") -> None:
        self.folder = Path(given) if given else paths.etc / "ca"
        self._paths = paths

    def load(self) -> Pair:
        """The CA's certificate and key. Raises InvalidRequest with a remedy."""
        key, certificate = self.folder / "ca.key", self.folder / "ca.pem"
        try:
            mode = stat.S_IMODE(key.lstat().st_mode)
            if mode & 0o077:
                raise InvalidRequest(what=f"{key} has mode {mode:04o}", remedy=f"chmod 600 {key}")
            pair = Pair(certificate=certificate.read_bytes(), key=key.read_bytes())
        except OSError as error:
            raise InvalidRequest(
                what=f"the key of the cluster's CA is needed: {error.filename}: {error.strerror}",
                remedy="--ca DIR: the folder `ca` that `hacli cluster init` made",
            ) from None
        ours = self._paths.tls / "ca.pem"
        if ours.read_bytes() != pair.certificate:
            raise InvalidRequest(what=f"{certificate} is not the CA of this cluster ({ours})")
        return pair

    def keep(self, node: str, certificate: bytes) -> None:
        """Remember what was issued: to be revoked one day. Raises OSError."""
        folder = self.folder / ISSUED
        folder.mkdir(mode=0o700, exist_ok=True)
        shared_files.replace(folder / issued_name(node, certificate), certificate, 0o600)

    def serials(self, node: str) -> tuple[int, ...]:
        """Of all certificates that were issued to a node of that name, as far as this folder knows."""
        found = []
        for path in sorted((self.folder / ISSUED).glob(f"{node}.*.pem")):
            name, _, serial = path.stem.rpartition(".")
            if name == node:
                found.append(int(serial, 16))
        return tuple(found)
