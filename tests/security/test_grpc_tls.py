"""Who is refused by a daemon's TCP port, before any handler runs (test-plan 5, gRPC and TLS)."""

from __future__ import annotations

import asyncio
import datetime
import ssl
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from cli.certificates import Pair, make_authority, make_crl, make_node
from crm.peers.lrm import LrmPeer
from hacluster import rpc
from hacluster import tls as tls_module
from hacluster.errors import ErrorCode, HaError
from hacluster.tls import ReloadingChannel, TlsFolder
from hacluster.v1 import lrm_pb2, lrm_pb2_grpc
from lrm import service
from tests.ports import free_port

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS_FRAME = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


class Handlers:
    """Counts the calls that got through."""

    def __init__(self) -> None:
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return self.Accept

    async def Accept(self, request: lrm_pb2.AcceptRequest, context: Any) -> lrm_pb2.AcceptReply:
        self.calls += 1
        return lrm_pb2.AcceptReply(node="n1")


class Target:
    """A server as ha-lrm has it, its CA, and the certificate of a member."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.authority = folder, make_authority("web")
        self.member = make_node(self.authority, "n2", ["127.0.0.1"])
        own = make_node(self.authority, "n1", ["127.0.0.1"])
        files = {"ca.pem": self.authority.certificate, "node.pem": own.certificate, "node.key": own.key}
        for name, data in files.items():
            (folder / name).write_bytes(data)
            (folder / name).chmod(0o600)
        self.port = free_port()
        self.handlers = Handlers()
        self.server = rpc.Server(
            names=(service.NAME,), access=service.access(lambda: frozenset({"n1", "n2"}))
        )
        self.server.add(lrm_pb2_grpc.add_LrmServicer_to_server, self.handlers)
        self.server.listen_tcp("127.0.0.1", self.port, TlsFolder(folder))

    def channel(self, pair: Pair, *, ca: bytes = b"") -> grpc.aio.Channel:
        tls = rpc.Tls(ca=ca or self.authority.certificate, certificate=pair.certificate, key=pair.key)
        return rpc.tcp_channel("127.0.0.1", self.port, tls, server_name="n1")

    async def call(self, channel: grpc.aio.Channel, method: str = "Accept", timeout_ms: int = 3_000) -> Any:
        async with channel:
            stub = lrm_pb2_grpc.LrmStub(channel)
            request = lrm_pb2.RunAlertRequest() if method == "RunAlert" else lrm_pb2.AcceptRequest()
            return await rpc.call(getattr(stub, method), request, timeout_ms=timeout_ms, who="n1")


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[Target]:
    target = Target(tmp_path)
    await target.server.start()
    yield target
    await target.server.stop(0)


def expired(authority: Pair) -> Pair:
    """A member's certificate that ended yesterday."""
    signer = serialization.load_pem_private_key(authority.key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "n2")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.load_pem_x509_certificate(authority.certificate).subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now - datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("n2")]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return Pair(
        certificate=made.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


async def test_a_member_is_served(target: Target) -> None:
    assert (await target.call(target.channel(target.member))).node == "n1"
    assert target.handlers.calls == 1


async def test_plain_text(target: Target) -> None:
    with pytest.raises(HaError) as caught:
        await target.call(grpc.aio.insecure_channel(f"127.0.0.1:{target.port}"))
    assert caught.value.code in (ErrorCode.UNREACHABLE, ErrorCode.TIMEOUT)
    assert target.handlers.calls == 0


async def test_no_client_certificate(target: Target) -> None:
    credentials = grpc.ssl_channel_credentials(target.authority.certificate)
    options = (("grpc.ssl_target_name_override", "n1"),)
    with pytest.raises(HaError) as caught:
        await target.call(grpc.aio.secure_channel(f"127.0.0.1:{target.port}", credentials, options))
    assert caught.value.code in (ErrorCode.UNREACHABLE, ErrorCode.TIMEOUT)
    assert target.handlers.calls == 0


@pytest.mark.parametrize("kind", ["expired", "of another CA"])
async def test_a_certificate_that_is_not_valid(target: Target, kind: str) -> None:
    pair = (
        expired(target.authority)
        if kind == "expired"
        else make_node(make_authority("evil"), "n2", ["127.0.0.1"])
    )
    with pytest.raises(HaError) as caught:
        await target.call(target.channel(pair))
    assert caught.value.code in (ErrorCode.UNREACHABLE, ErrorCode.TIMEOUT)
    assert target.handlers.calls == 0


async def test_a_revoked_one_on_a_connection_that_is_open_too(target: Target) -> None:
    async with target.channel(target.member) as channel:
        stub = lrm_pb2_grpc.LrmStub(channel)
        await rpc.call(stub.Accept, lrm_pb2.AcceptRequest(), timeout_ms=3_000, who="n1")
        serial = x509.load_pem_x509_certificate(target.member.certificate).serial_number
        (target.folder / "crl.pem").write_bytes(make_crl(target.authority, b"", [serial]))
        with pytest.raises(HaError):  # a handshake has the list looked at
            await target.call(target.channel(target.member))
        with pytest.raises(HaError) as caught:
            await rpc.call(stub.Accept, lrm_pb2.AcceptRequest(), timeout_ms=3_000, who="n1")
    assert caught.value.code is ErrorCode.PERMISSION_DENIED
    assert target.handlers.calls == 1


async def test_of_our_ca_but_no_node(target: Target) -> None:
    with capture_logs() as logs, pytest.raises(HaError) as caught:
        await target.call(target.channel(make_node(target.authority, "n9", ["127.0.0.1"])))
    assert caught.value.code is ErrorCode.PERMISSION_DENIED
    assert target.handlers.calls == 0
    (told,) = [one for one in logs if one["event"] == rpc.REFUSED]
    assert told["peer"].startswith("ipv4:127.0.0.1:")
    assert "n9" in told["reason"]


async def test_refusals_of_one_machine_are_logged_once_a_minute(target: Target) -> None:
    stranger = make_node(target.authority, "n9", ["127.0.0.1"])
    with capture_logs() as logs:
        for _ in range(5):
            with pytest.raises(HaError):
                await target.call(target.channel(stranger))
    assert len([one for one in logs if one["event"] == rpc.REFUSED]) == 1


async def test_a_node_may_not_call_what_is_for_this_node(target: Target) -> None:
    with pytest.raises(HaError) as caught:
        await target.call(target.channel(target.member), "RunAlert")
    assert caught.value.code is ErrorCode.PERMISSION_DENIED
    assert target.handlers.calls == 0


async def test_a_server_of_another_name_or_ca_is_not_believed(target: Target) -> None:
    with pytest.raises(HaError):
        await target.call(target.channel(target.member, ca=make_authority("evil").certificate))
    tls = rpc.Tls(
        ca=target.authority.certificate, certificate=target.member.certificate, key=target.member.key
    )
    with pytest.raises(HaError):
        await target.call(rpc.tcp_channel("127.0.0.1", target.port, tls, server_name="n3"))
    assert target.handlers.calls == 0


async def test_a_server_whose_certificate_was_revoked_is_not_believed(target: Target, tmp_path: Path) -> None:
    mine = tmp_path / "client"
    mine.mkdir()
    stolen = (target.folder / "node.pem").read_bytes()
    renewed = make_node(target.authority, "n1", ["127.0.0.1"])
    serial = x509.load_pem_x509_certificate(stolen).serial_number
    for name, data in {
        "ca.pem": target.authority.certificate,
        "node.pem": target.member.certificate,
        "node.key": target.member.key,
        "nodes.pem": stolen + renewed.certificate + target.member.certificate,
    }.items():
        (mine / name).write_bytes(data)
        (mine / name).chmod(0o600)
    client = TlsFolder(mine)

    async def call() -> str:
        channel = rpc.tcp_channel("127.0.0.1", target.port, client.current, server_name="n1")
        return str((await target.call(channel)).node)

    assert await call() == "n1"
    (mine / "crl.pem").write_bytes(make_crl(target.authority, b"", [serial]))
    assert client.look()
    with pytest.raises(HaError):
        await call()
    assert target.handlers.calls == 1
    for name, data in (("node.pem", renewed.certificate), ("node.key", renewed.key)):
        fresh = target.folder / f".{name}"
        fresh.write_bytes(data)
        fresh.chmod(0o600)
        fresh.rename(target.folder / name)
    assert await call() == "n1"


class Told:
    """A history that never ends."""

    def __getattr__(self, name: str) -> Any:
        return self.History

    async def History(
        self, request: lrm_pb2.HistoryRequest, context: Any
    ) -> AsyncIterator[lrm_pb2.HistoryEvent]:
        yield lrm_pb2.HistoryEvent(synced=True)
        await asyncio.sleep(60)


async def test_a_history_goes_on_after_its_channel_was_given_up(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_module, "LINGER_S", 0.1)
    port = free_port()
    server = rpc.Server(names=(service.NAME,))
    server.add(lrm_pb2_grpc.add_LrmServicer_to_server, Told())
    server.listen_tcp("127.0.0.1", port, TlsFolder(target.folder))
    await server.start()
    mine = TlsFolder(target.folder)
    channel = ReloadingChannel(mine, lambda tls: rpc.tcp_channel("127.0.0.1", port, tls, server_name="n1"))
    peer, wanted, heard = LrmPeer("n1", channel), asyncio.Event(), asyncio.Queue[object]()
    wanted.set()
    following = asyncio.create_task(peer.follow(wanted, heard.put_nowait, lambda: None))
    assert await asyncio.wait_for(heard.get(), 5) is not None
    (target.folder / "crl.pem").write_bytes(make_crl(target.authority, b"", [1]))
    assert mine.look()
    with pytest.raises(HaError):
        await peer.status()  # the first call after the change makes the new channel
    assert await asyncio.wait_for(heard.get(), 5) is None
    assert await asyncio.wait_for(heard.get(), 5) is not None
    assert not following.done()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await channel.close()
    await server.stop(0)


def context_of(target: Target) -> ssl.SSLContext:
    """A member's, for raw connections."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    pem, key = target.folder / "member.pem", target.folder / "member.key"
    pem.write_bytes(target.member.certificate)
    key.write_bytes(target.member.key)
    context.load_cert_chain(pem, key)
    context.set_alpn_protocols(["h2"])
    return context


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_only_tls_1_3_is_spoken(target: Target, newest: ssl.TLSVersion) -> None:
    context = context_of(target)
    context.maximum_version = newest
    if newest is ssl.TLSVersion.TLSv1_3:
        _, writer = await asyncio.open_connection("127.0.0.1", target.port, ssl=context)
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.close()
        return
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await asyncio.open_connection("127.0.0.1", target.port, ssl=context)


async def latencies(
    target: Target, channel: grpc.aio.Channel, seconds: float, apart_s: float = 0.02
) -> list[float]:
    stub, found = lrm_pb2_grpc.LrmStub(channel), []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        await rpc.call(stub.Accept, lrm_pb2.AcceptRequest(), timeout_ms=3_000, who="n1")
        found.append(time.monotonic() - begun)
        await asyncio.sleep(apart_s)
    return found


async def silent(target: Target) -> asyncio.StreamWriter:
    return (await asyncio.open_connection("127.0.0.1", target.port))[1]


async def half_a_frame(target: Target) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", target.port, ssl=context_of(target))
    writer.write(HTTP2_PREFACE + SETTINGS_FRAME + b"\x00\x40\x00\x01")
    return writer


async def ping_flood(target: Target) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", target.port, ssl=context_of(target))
    ping = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"12345678"
    writer.write(HTTP2_PREFACE + SETTINGS_FRAME + ping * 10_000)
    return writer


async def resets(target: Target) -> asyncio.StreamWriter:
    """Streams that are begun and cancelled at once ("rapid reset")."""
    _, writer = await asyncio.open_connection("127.0.0.1", target.port, ssl=context_of(target))
    frames = bytearray(HTTP2_PREFACE + SETTINGS_FRAME)
    for number in range(1, 4_001, 2):
        stream = number.to_bytes(4, "big")
        frames += b"\x00\x00\x03\x01\x04" + stream + b"\x83\x87\x84"
        frames += b"\x00\x00\x04\x03\x00" + stream + b"\x00\x00\x00\x08"
    writer.write(bytes(frames))
    return writer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attack", "count"), [(silent, 500), (half_a_frame, 60), (ping_flood, 4), (resets, 4)]
)
async def test_who_is_connected_is_served_meanwhile(target: Target, attack: Any, count: int) -> None:
    writers: list[asyncio.StreamWriter] = []
    async with target.channel(target.member) as channel:
        await latencies(target, channel, 0.1)
        outcomes = await asyncio.gather(*(attack(target) for _ in range(count)), return_exceptions=True)
        writers = [one for one in outcomes if isinstance(one, asyncio.StreamWriter)]
        assert writers
        found = await latencies(target, channel, 3)
    for writer in writers:
        writer.transport.abort()
    assert statistics.quantiles(found, n=100)[98] < 0.5, max(found)


@pytest.mark.slow
async def test_silent_connections_end_and_make_room(target: Target) -> None:
    outcomes = await asyncio.gather(*(silent(target) for _ in range(400)), return_exceptions=True)
    writers = [one for one in outcomes if isinstance(one, asyncio.StreamWriter)]
    begun = time.monotonic()
    while True:
        try:
            await target.call(target.channel(target.member), timeout_ms=2_000)
            break
        except HaError:
            assert time.monotonic() - begun < rpc.HANDSHAKE_MS_MAX / 1_000 + 5
    for writer in writers:
        writer.transport.abort()
