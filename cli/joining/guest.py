"""The newcomer's end: whom it talks to is pinned by the token; its key is made here and stays here."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509

from cli.certificates import Pair, fingerprint, is_of_node
from cli.joining.talk import PROTOCOL, Talk
from cli.joining.token import Token
from hacluster import settings as ha_settings
from hacluster.errors import InvalidRequest, PermissionDenied, Unreachable
from hacluster.settings import Settings

CONNECT_S_MAX: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a member says before anything is asked. `clock_ahead_ms`: its clock against ours."""

    settings: Settings
    version: str
    clock_ahead_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """The files of a node; its key is not among them."""

    ca: bytes
    certificate: bytes
    cluster_toml: bytes
    authkeys: bytes
    crl: bytes
    nodes_pem: bytes


async def join(
    token: Token,
    node: str,
    addresses: Sequence[str],
    asked: Pair,
    version: str,
    check: Callable[[Told], Awaitable[None]],
) -> Received:
    """Ask to become a node; `check` raises HaError when it should not be asked after all.

    Raises Unreachable, PermissionDenied (the other side is not whom the token means), InvalidRequest
    (refused).
    """
    reader, writer = await _connect(token)
    try:
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        talk = Talk(
            reader,
            writer,
            role="newcomer",
            secret=bytes.fromhex(token.secret),
            binding=certificate,
        )
        ca = _pinned(await talk.hear(proven=False), certificate, token)
        begun_ns = time.monotonic_ns()
        await talk.say({"nonce": secrets.token_hex(16)})
        told = await talk.hear()
        ahead_ms = int(told["wall_ms"]) - time.time_ns() // 1_000_000
        ahead_ms += (time.monotonic_ns() - begun_ns) // 2_000_000
        settings = ha_settings.parse(str(told["cluster_toml"]), source=f"cluster.toml of {token.node}")
        await check(Told(settings=settings, version=str(told["version"]), clock_ahead_ms=ahead_ms))
        await talk.say(
            {
                "node": node,
                "addresses": list(addresses),
                "request": asked.certificate.decode(),
                "version": version,
            }
        )
        given = await talk.hear()
    finally:
        writer.close()
    if "error" in given:
        raise InvalidRequest(what=f"{token.node} refuses: {given['error']}")
    received = Received(
        ca=ca,
        certificate=str(given["certificate"]).encode(),
        cluster_toml=str(given["cluster_toml"]).encode(),
        authkeys=str(given["authkeys"]).encode(),
        crl=str(given["crl"]).encode(),
        nodes_pem=str(given["nodes_pem"]).encode(),
    )
    if not is_of_node(x509.load_pem_x509_certificate(received.certificate), ca, node):
        raise InvalidRequest(what=f"the certificate that came is not one for {node}")
    return received


async def _connect(token: Token) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Nobody is believed yet: `_pinned` decides."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    why = ""
    for address in token.addresses:
        try:
            connecting = asyncio.open_connection(address, token.port, ssl=context, limit=1024 * 1024)
            return await asyncio.wait_for(connecting, CONNECT_S_MAX)
        except (OSError, TimeoutError) as error:
            why = f"{address} port {token.port}: {str(error) or 'no answer'}"
    raise Unreachable(
        who=f"{token.node} ({why})", remedy="does `hacli cluster token` still run there? is the port open?"
    )


def _pinned(hello: dict[str, Any], certificate: bytes, token: Token) -> bytes:
    """The CA. Raises PermissionDenied when it, or the server, is not whom the token means."""
    if hello.get("protocol") != PROTOCOL:
        raise InvalidRequest(what=f"{token.node} speaks another version of joining: install the same release")
    ca = str(hello.get("ca", "")).encode()
    try:
        known = secrets.compare_digest(fingerprint(ca), token.ca)
    except ValueError:
        known = False
    if not known or not is_of_node(x509.load_der_x509_certificate(certificate), ca, token.node):
        raise PermissionDenied(
            what=f"who answers at {token.addresses[0]} is not {token.node} of the token's cluster "
            "(or the clocks are days apart)"
        )
    return ca
