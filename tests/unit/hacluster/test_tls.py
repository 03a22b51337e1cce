"""Certificates that change while servers and channels are at work."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cli.certificates import Pair, make_authority, make_node
from hacluster import rpc
from hacluster.errors import ErrorCode, HaError, InvalidDocument
from hacluster.tls import ReloadingChannel, TlsFolder
from hacluster.v1 import lrm_pb2, lrm_pb2_grpc
from tests.ports import free_port


class Service:
    """Says whose certificate the caller has."""

    def __getattr__(self, name: str) -> Any:
        return self.Accept

    async def Accept(self, request: lrm_pb2.AcceptRequest, context: Any) -> lrm_pb2.AcceptReply:
        certificate = context.auth_context()["x509_pem_cert"][0]
        return lrm_pb2.AcceptReply(node=str(serial(certificate)))


def serial(certificate: bytes) -> int:
    return x509.load_pem_x509_certificate(certificate).serial_number


def fill(folder: Path, ca: Pair, name: str) -> bytes:
    """A new certificate for a node; returns it."""
    folder.mkdir(exist_ok=True)
    pair = make_node(ca, name, ["127.0.0.1"])
    for file, content in (("ca.pem", ca.certificate), ("node.pem", pair.certificate), ("node.key", pair.key)):
        fresh = folder / f".{file}"
        fresh.write_bytes(content)
        fresh.chmod(0o600)
        fresh.rename(folder / file)
    return pair.certificate


def revoke(folder: Path, ca: Pair, *serials: int) -> None:
    key = serialization.load_pem_private_key(ca.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=x509.load_pem_x509_certificate(ca.certificate).subject,
        last_update=now - datetime.timedelta(days=2),
        next_update=now - datetime.timedelta(days=1),  # an overdue list counts all the same
    )
    for number in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(now).build()
        builder = builder.add_revoked_certificate(entry)
    crl = builder.sign(key, hashes.SHA256())
    (folder / "crl.pem").write_bytes(crl.public_bytes(serialization.Encoding.PEM))


@pytest.fixture
def ca() -> Pair:
    return make_authority("test")


Call = Callable[[], Any]


@pytest.fixture
async def pair(tmp_path: Path, ca: Pair) -> AsyncIterator[tuple[TlsFolder, TlsFolder, Call]]:
    """The folders of a server and of a client, and a call of the one at the other."""
    fill(tmp_path / "server", ca, "n1")
    fill(tmp_path / "client", ca, "n2")
    port = free_port()
    server_tls, client_tls = TlsFolder(tmp_path / "server"), TlsFolder(tmp_path / "client")
    server = rpc.Server(names=("hacluster.v1.Lrm",))
    server.add(lrm_pb2_grpc.add_LrmServicer_to_server, Service())
    server.listen_tcp("127.0.0.1", port, server_tls)
    await server.start()
    channel = ReloadingChannel(
        client_tls, lambda tls: rpc.tcp_channel("127.0.0.1", port, tls, server_name="n1")
    )
    stub = lrm_pb2_grpc.LrmStub(channel)

    async def call() -> str:
        reply = await rpc.call(stub.Accept, lrm_pb2.AcceptRequest(), timeout_ms=10_000, who="n1")
        return str(reply.node)

    yield server_tls, client_tls, call
    await channel.close()
    await server.stop(0)


async def test_a_handshake_replaces_the_certificate_only_when_it_has_changed(
    tmp_path: Path, ca: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC frees what other handshakes still use when each of them replaces it: ha-lrm died of that."""
    fill(tmp_path / "server", ca, "n1")
    asked: list[Callable[[], Any]] = []
    real = grpc.dynamic_ssl_server_credentials

    def credentials(first: Any, at_handshake: Callable[[], Any], **options: Any) -> Any:
        asked.append(at_handshake)
        return real(first, at_handshake, **options)

    monkeypatch.setattr(grpc, "dynamic_ssl_server_credentials", credentials)
    server = rpc.Server(names=())
    server.listen_tcp("127.0.0.1", 0, TlsFolder(tmp_path / "server"))
    (at_handshake,) = asked
    assert at_handshake() is None
    fill(tmp_path / "server", ca, "n1")
    assert at_handshake() is not None
    assert at_handshake() is None
    await server.stop(0)


async def test_a_renewed_certificate_is_used_without_a_restart(
    tmp_path: Path, ca: Pair, pair: tuple[TlsFolder, TlsFolder, Call]
) -> None:
    _, client_tls, call = pair
    assert await call() == str(serial(client_tls.current.certificate))
    renewed = fill(tmp_path / "client", ca, "n2")
    assert client_tls.look()
    assert not client_tls.look()
    assert await call() == str(serial(renewed)), "the stub of before"


async def test_a_new_authority_takes_over_from_the_old(
    tmp_path: Path, pair: tuple[TlsFolder, TlsFolder, Call]
) -> None:
    """First both CAs are trusted, then certificates of the new one are given out; nothing is restarted."""
    server_tls, client_tls, call = pair
    await call()
    new = make_authority("test")
    fill(tmp_path / "server", new, "n1")
    fill(tmp_path / "client", new, "n2")
    assert client_tls.look()
    assert await call() == str(serial(client_tls.current.certificate)), "the server looks at each handshake"
    assert server_tls.generation == 2


async def test_a_revoked_certificate_may_call_nothing(
    tmp_path: Path, ca: Pair, pair: tuple[TlsFolder, TlsFolder, Call]
) -> None:
    server_tls, client_tls, call = pair
    mine = serial(client_tls.current.certificate)
    assert await call() == str(mine)
    revoke(tmp_path / "server", ca, 4711, mine)
    assert server_tls.look()
    with pytest.raises(HaError, match="revoked") as caught:
        await call()
    assert caught.value.code is ErrorCode.PERMISSION_DENIED
    fill(tmp_path / "client", ca, "n2")
    assert client_tls.look()
    assert await call() != str(mine)


async def test_what_cannot_be_used_is_not_taken(tmp_path: Path, ca: Pair) -> None:
    folder = tmp_path / "tls"
    fill(folder, ca, "n1")
    tls = TlsFolder(folder)
    before = tls.current
    key = (folder / "node.key").read_bytes()
    (folder / "node.key").write_bytes(b"half of a key")
    assert not tls.look()
    assert tls.current == before
    (folder / "node.key").write_bytes(key)
    assert tls.look()
    revoke(folder, make_authority("another"), 1)
    assert not tls.look()
    assert tls.current.revoked == frozenset()
    with pytest.raises(InvalidDocument, match=r"crl\.pem.*revocation list"):
        TlsFolder(folder)
    revoke(folder, ca, 1, 2)
    assert tls.look()
    assert tls.current.revoked == {1, 2}
    (folder / "crl.pem").unlink()
    assert tls.look()
    assert tls.current.revoked == frozenset()


async def test_it_is_looked_at_by_itself(tmp_path: Path, ca: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hacluster.tls.LOOK_EVERY_S", 0.01)
    fill(tmp_path / "tls", ca, "n1")
    tls = TlsFolder(tmp_path / "tls")
    watching = asyncio.create_task(tls.watch())
    fill(tmp_path / "tls", ca, "n1")
    async with asyncio.timeout(10):
        while tls.generation == 1:  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
