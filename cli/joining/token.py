"""The join token: where to go, whom to trust there, and a secret that is proven but never sent."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import asdict, dataclass
from typing import Final

from hacluster.errors import InvalidRequest
from hacluster.settings import NODE_NAME

PREFIX: Final = "ha1."
SECRET_BYTES: Final = 24
_BYTES_MAX: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """`ca`: SHA-256 of the CA's certificate. `secret`: hexadecimal. `until_s`: since 1970."""

    cluster: str
    node: str
    addresses: tuple[str, ...]
    port: int
    ca: str
    secret: str
    until_s: int

    def __repr__(self) -> str:
        return f"Token(cluster={self.cluster}, node={self.node}, until_s={self.until_s})"  # never the secret

    @property
    def text(self) -> str:
        """One word."""
        raw = json.dumps(asdict(self), separators=(",", ":")).encode()
        return PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def parse_token(text: str) -> Token:
    """The inverse of `text`. Raises InvalidRequest, and never repeats what it was given."""
    wrong = InvalidRequest(
        what="this is no join token", remedy="copy the whole word that `hacli cluster token` printed"
    )
    if not text.startswith(PREFIX) or len(text) > _BYTES_MAX:
        raise wrong
    word = text.removeprefix(PREFIX)
    try:
        data = json.loads(base64.b64decode(word + "=" * (-len(word) % 4), altchars=b"-_", validate=True))
        token = Token(
            cluster=str(data["cluster"]),
            node=str(data["node"]),
            addresses=tuple(str(one) for one in data["addresses"]),
            port=int(data["port"]),
            ca=str(data["ca"]),
            secret=str(data["secret"]),
            until_s=int(data["until_s"]),
        )
        sound = len(bytes.fromhex(token.secret)) == SECRET_BYTES and len(bytes.fromhex(token.ca)) == 32
    except (binascii.Error, UnicodeDecodeError, ValueError, KeyError, TypeError, RecursionError):
        raise wrong from None
    if not sound or not token.addresses or not 0 < token.port < 65_536 or not NODE_NAME.fullmatch(token.node):
        raise wrong
    return token
