"""The member's end: one listener, for one token, alive until it is used or its time is over."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cli.joining.talk import PROTOCOL, Talk
from cli.joining.token import Token
from hacluster.errors import HaError, InvalidRequest, PermissionDenied
from hacluster.paths import Paths

HANDSHAKE_S_MAX: Final = 5.0
CONNECTIONS_MAX: Final = 8
WRONG_PROOFS_MAX: Final = 5
CHECKS_S_MAX: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """Who asks to join. `request`: for its certificate, PEM."""

    name: str
    addresses: tuple[str, ...]
    request: bytes
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What it is given."""

    cluster_toml: bytes
    authkeys: bytes
    crl: bytes
    nodes_pem: bytes
    certificate: bytes


Admit = Callable[[Newcomer], Awaitable[Admission]]


class Host:
    """`admit` makes the newcomer a node, or raises HaError: then the token is not used up."""

    def __init__(
        self,
        token: Token,
        paths: Paths,
        *,
        look: Callable[[], dict[str, str]],
        admit: Admit,
        tell: Callable[[str], None],
    ) -> None:
        self._token, self._paths = token, paths
        self._look, self._admit, self._tell = look, admit, tell
        self._open = 0
        self._wrong = 0
        self._busy = asyncio.Lock()
        self._ended = asyncio.Event()
        self.admitted: Newcomer | None = None

    async def serve(self) -> Newcomer:
        """Wait for the newcomer. Raises InvalidRequest: out of time, or too many wrong proofs; OSError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self._paths.tls / "node.pem", self._paths.tls / "node.key")
        server = await asyncio.start_server(
            self._connected,
            list(self._token.addresses),
            self._token.port,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_S_MAX,
            limit=1024 * 1024,
            backlog=CONNECTIONS_MAX,
        )
        async with server:
            left_s = max(self._token.until_s - time.time(), 0)
            try:
                await asyncio.wait_for(self._ended.wait(), left_s)
            except TimeoutError:
                if not self._busy.locked():
                    raise InvalidRequest(
                        what="nobody came in time: the token is void", remedy="hacli cluster token"
                    ) from None
                await asyncio.wait_for(self._ended.wait(), CHECKS_S_MAX)
        if self.admitted is None:
            raise InvalidRequest(
                what=f"{self._wrong} connections did not know the secret: the token is void",
                remedy="find out who they were, then make another token",
            )
        return self.admitted

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = str((writer.get_extra_info("peername") or ("?",))[0])
        self._open += 1
        try:
            if self._open <= CONNECTIONS_MAX and not self._ended.is_set():
                await self._talk(reader, writer, peer)
        except HaError as error:
            self._tell(f"{peer}: {error}")
            if isinstance(error, PermissionDenied):
                self._wrong += 1
                if self._wrong >= WRONG_PROOFS_MAX:
                    self._ended.set()
        finally:
            self._open -= 1
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        own = x509.load_pem_x509_certificate((self._paths.tls / "node.pem").read_bytes())
        talk = Talk(
            reader,
            writer,
            role="member",
            secret=bytes.fromhex(self._token.secret),
            binding=own.public_bytes(Encoding.DER),
        )
        hello = {
            "protocol": PROTOCOL,
            "ca": (self._paths.tls / "ca.pem").read_text(),
            "nonce": secrets.token_hex(16),
        }
        await talk.say(hello, proven=False)
        await talk.hear(within_s=HANDSHAKE_S_MAX)  # its nonce, proven
        async with self._busy:
            await talk.say({**self._look(), "wall_ms": time.time_ns() // 1_000_000})
            asked = await talk.hear(within_s=CHECKS_S_MAX)
            if self._ended.is_set():
                await talk.say({"error": "the token has been used"})
                return
            try:
                newcomer = _newcomer(asked)
                admission = await self._admit(newcomer)
            except HaError as error:
                await talk.say({"error": str(error)})
                raise
            self.admitted = newcomer
            self._ended.set()
            self._tell(f"{newcomer.name} ({peer}) is a node of the cluster now")
            await talk.say(
                {
                    "cluster_toml": admission.cluster_toml.decode(),
                    "authkeys": admission.authkeys.decode(),
                    "crl": admission.crl.decode(),
                    "nodes_pem": admission.nodes_pem.decode(),
                    "certificate": admission.certificate.decode(),
                }
            )


def _newcomer(asked: dict[str, Any]) -> Newcomer:
    addresses = asked.get("addresses")
    if not isinstance(addresses, list) or not all(isinstance(one, str) for one in addresses):
        raise InvalidRequest(what="a newcomer says its addresses")
    return Newcomer(
        name=str(asked.get("node", "")),
        addresses=tuple(addresses),
        request=str(asked.get("request", "")).encode(),
        version=str(asked.get("version", "")),
    )
