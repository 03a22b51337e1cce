"""gRPC servers and channels: TLS or unix socket, deadlines, HaError to status and back."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import stat
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from hacluster.certificates import named_certificates, revoked_serials, serial_of
from hacluster.errors import (
    ErrorCode,
    HaError,
    InvalidDocument,
    PermissionDenied,
    StaleTerm,
    Timeout,
    Unavailable,
    Unreachable,
)
from hacluster.v1 import common_pb2
from hacluster.vocabulary.ids import Term

ERROR_METADATA: Final = "hacluster-error-bin"
SOCKET_PATH_MAX: Final = 107
MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
STREAMS_MAX: Final = 64
"""Calls at one time on one connection; more of them wait at their client."""

CONNECTIONS_MAX: Final = 256
HANDSHAKE_MS_MAX: Final = 10_000
UNARY_S_MAX: Final = 120.0
"""For a caller that has set no deadline; the longest of ours is 85 s, for a node that leaves."""

REFUSED: Final = "rpc.refused"
LOG_AGAIN_NS: Final = 60_000_000_000

STATUS_OF: Final[dict[ErrorCode, grpc.StatusCode]] = {
    ErrorCode.INVALID_DOCUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.INVALID_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorCode.STALE_TERM: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.NO_AUTHORITY: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.NO_QUORUM: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.NO_DC: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.CONFLICT: grpc.StatusCode.ABORTED,
    ErrorCode.UNREACHABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorCode.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorCode.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorCode.RESOURCE_EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}

_RECONNECT: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
)

Reply = TypeVar("Reply")
log = structlog.get_logger()


class RemoteFailure(HaError):
    """The other side answered with an expected failure; `code` and `text` are the other side's."""

    remote_code: ErrorCode
    text: str

    def __init__(self, *, remote_code: ErrorCode, text: str) -> None:
        super().__init__(remote_code=remote_code, text=text)
        self.code = remote_code

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The cluster's CA and this node's certificate and key, PEM; serial numbers the CA has revoked.

    `known`: nodes' certificates that are not among those, with the node's name.
    """

    ca: bytes
    certificate: bytes
    key: bytes
    revoked: frozenset[int] = frozenset()
    known: tuple[tuple[str, bytes], ...] = ()

    def roots(self, name: str) -> bytes:
        """What a channel to a node trusts: the CA, or those of its certificates that were not revoked.

        gRPC (BoringSSL) takes a certificate itself for an anchor. Where nothing is revoked, or none of the
        node's certificates is known (`nodes.pem`), it is the CA.
        """
        if not self.revoked:
            return self.ca
        return b"".join(one for node, one in self.known if node == name) or self.ca


class TlsSource(Protocol):
    """Where these may change while a server runs (`hacluster.tls`)."""

    @property
    def current(self) -> Tls:
        """As they are."""
        ...

    def look(self) -> bool:
        """Look whether they have changed. Called from other threads."""
        ...


_REMEDY: Final = {
    "node": "copy the node's folder that `hacli cluster init` made",
    "user": "copy the folder that `hacli cluster cert user` made",
}


def read_tls(folder: Path, own: str = "node") -> Tls:
    """ca.pem, node.pem, node.key (0600; or user.pem, user.key), crl.pem if there. Raises InvalidDocument."""
    parts: dict[str, bytes] = {}
    for name in ("ca.pem", f"{own}.pem", f"{own}.key"):
        path = folder / name
        try:
            if name.endswith(".key") and stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise InvalidDocument(
                    source=str(path), line=0, what="others can read the key", remedy=f"chmod 600 {path}"
                )
            parts[name] = path.read_bytes()
        except OSError as error:
            raise InvalidDocument(
                source=str(path),
                line=0,
                what=error.strerror or str(error),
                remedy=_REMEDY[own],
            ) from None
    _check_pem(folder, own)
    revoked = _revoked(folder / "crl.pem", parts["ca.pem"])
    return Tls(
        ca=parts["ca.pem"],
        certificate=parts[f"{own}.pem"],
        key=parts[f"{own}.key"],
        revoked=revoked,
        known=_known(folder / "nodes.pem", revoked) if revoked else (),
    )


def _known(path: Path, revoked: frozenset[int]) -> tuple[tuple[str, bytes], ...]:
    try:
        return named_certificates(path.read_bytes(), revoked) if path.exists() else ()
    except (ValueError, OSError) as error:
        raise InvalidDocument(
            source=str(path), line=0, what=f"no list of nodes' certificates ({error})", remedy="remove it"
        ) from None


def _revoked(path: Path, ca: bytes) -> frozenset[int]:
    if not path.exists():
        return frozenset()
    try:
        return revoked_serials(path.read_bytes(), ca, source=str(path))
    except OSError as error:
        raise InvalidDocument(
            source=str(path), line=0, what=str(error), remedy=f"make {path} readable"
        ) from None


def _check_pem(folder: Path, own: str) -> None:
    """gRPC would only say that it cannot bind; OpenSSL knows which file is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    what = "it holds no certificate"
    path = folder / "ca.pem"
    try:
        context.load_verify_locations(path)
        path = folder / f"{own}.pem"
        context.load_verify_locations(path)
        path = folder / f"{own}.key"
        what = f"it is not the key of {own}.pem"
        context.load_cert_chain(folder / f"{own}.pem", path, password=b"")
    except (ssl.SSLError, OSError) as error:
        raise InvalidDocument(
            source=str(path),
            line=0,
            what=f"{what} ({error})",
            remedy=_REMEDY[own],
        ) from None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `names` are the names in the certificate; empty on a unix socket.

    `uid`: the user on this node, where the connection was relayed by who had asked the kernel; else None.
    `user`: whom a user's certificate names; it is no node's then, whatever else it says.
    """

    local: bool
    names: tuple[str, ...] = ()
    uid: int | None = None
    user: str = ""


USER_URI: Final = "urn:hacluster:user:"  # a certificate with such a name is that user's; nodes' have no colon
_OF_USER: Final = re.compile(r"uid(\d+)\.\d+")


def path_of_user(folder: Path, uid: int, number: int) -> Path:
    """What a relay binds its end to, so that `caller_of` knows for whom it speaks.

    Only for a server in a folder that nobody else may enter: elsewhere anybody could bind such a path.
    """
    return folder / f"uid{uid}.{number}"


def caller_of(context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
    """The caller as the transport authenticated it."""
    peer = context.peer()
    if peer.startswith("unix:"):
        of_user = _OF_USER.fullmatch(peer.rpartition("/")[2])
        return Caller(local=True, uid=int(of_user[1]) if of_user else None)
    said = context.auth_context().get("x509_subject_alternative_name", ())
    names = tuple(bytes(name).decode(errors="replace") for name in said)
    users = [name.removeprefix(USER_URI) for name in names if name.startswith(USER_URI)]
    return Caller(local=False, user=users[0]) if users else Caller(local=False, names=names)


Access = Callable[[str, Caller], None]
"""Given the full method name and the caller; raises PermissionDenied."""


class Server:
    """One gRPC server on a unix socket, TCP addresses with mTLS, or both.

    `services` are pairs of an `add_XServicer_to_server` function and the servicer; `names` their full names
    ("hacluster.v1.Lrm") for reflection and health.
    """

    def __init__(
        self, *, names: Sequence[str], access: Access | None = None, keepalive_ms: int = 1_250
    ) -> None:
        """`keepalive_ms`: clients are pinged so often, and given up when they do not answer as long."""
        self._errors = _ErrorInterceptor(access)
        self._server = grpc.aio.server(
            interceptors=(self._errors,),
            options=(
                *_OPTIONS,
                ("grpc.so_reuseport", 0),
                ("grpc.max_concurrent_streams", STREAMS_MAX),
                ("grpc.max_allowed_incoming_connections", CONNECTIONS_MAX),
                ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS_MAX),
                ("grpc.keepalive_time_ms", keepalive_ms),
                ("grpc.keepalive_timeout_ms", keepalive_ms),
                ("grpc.http2.min_ping_interval_without_data_ms", 50),  # ours come every 100 ms or slower
                ("grpc.http2.max_ping_strikes", 0),
                ("grpc.keepalive_permit_without_calls", 1),
            ),
        )
        self._names = tuple(names)
        self.health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        reflection.enable_server_reflection(
            (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )

    def add(self, register: Callable[[Any, grpc.aio.Server], None], servicer: object) -> None:
        """Register a servicer with its generated `add_…_to_server`."""
        register(servicer, self._server)

    def listen_unix(self, path: Path, *, mode: int = 0o600) -> None:
        """Bind the socket with that mode; an old socket file is replaced. Raises OSError."""
        if len(os.fsencode(path)) > SOCKET_PATH_MAX:
            raise InvalidDocument(
                source=str(path),
                line=0,
                what=f"a socket's path may have {SOCKET_PATH_MAX} bytes",
                remedy="choose a shorter --root",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        before = os.umask(0o777 & ~mode)
        try:
            self._server.add_insecure_port(f"unix:{path}")
        finally:
            os.umask(before)

    def listen_tcp(self, address: str, port: int, tls: Tls | TlsSource) -> None:
        """Listen with mTLS: no handler runs without a certificate of the CA. Raises Unavailable."""
        host = f"[{address}]" if ":" in address else address
        credentials = self._credentials(tls)
        try:
            self._server.add_secure_port(f"{host}:{port}", credentials)
        except RuntimeError:
            raise Unavailable(
                why=f"cannot listen on {host}:{port} "
                "(is the address on this machine? `ss -lntp` names who has the port)"
            ) from None

    def _credentials(self, tls: Tls | TlsSource) -> grpc.ServerCredentials:
        if isinstance(tls, Tls):
            self._errors.revoked = lambda: tls.revoked
            return grpc.ssl_server_credentials(
                [(tls.key, tls.certificate)], root_certificates=tls.ca, require_client_auth=True
            )
        self._errors.revoked = lambda: tls.current.revoked

        given, lock = tls.current, threading.Lock()

        def at_handshake() -> grpc.ServerCertificateConfiguration | None:
            """None while nothing has changed: gRPC 1.85 crashes if two handshakes replace it."""
            nonlocal given
            tls.look()
            with lock:
                if tls.current is given:
                    return None
                given = tls.current
                return _configuration(given)

        return grpc.dynamic_ssl_server_credentials(
            _configuration(given),
            at_handshake,  # type: ignore[arg-type]  # None is allowed by its documentation, not by its stubs
            require_client_authentication=True,
        )

    async def start(self) -> None:
        """Serve; health says SERVING for each service."""
        await self._server.start()
        for name in ("", *self._names):
            await self.health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_s: float = 0.5) -> None:
        """Refuse new calls and end the running ones after the grace."""
        await self._server.stop(grace_s)


def _configuration(tls: Tls) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(tls.key, tls.certificate)], root_certificates=tls.ca)


class _ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Checks access and turns HaError into a status with details in the trailing metadata."""

    def __init__(self, access: Access | None) -> None:
        self._access = access
        self.revoked: Callable[[], frozenset[int]] = frozenset
        self._logged_ns: dict[str, int] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = str(handler_call_details.method)
        if handler.request_streaming and handler.response_streaming:
            if method.startswith("/grpc."):
                return handler
            make, run = grpc.stream_stream_rpc_method_handler, self._both(method, handler.stream_stream)
        elif handler.request_streaming:
            make, run = grpc.stream_unary_rpc_method_handler, self._unary(method, handler.stream_unary)
        elif handler.response_streaming:
            make, run = grpc.unary_stream_rpc_method_handler, self._stream(method, handler.unary_stream)
        else:
            make, run = grpc.unary_unary_rpc_method_handler, self._unary(method, handler.unary_unary)
        return make(run, handler.request_deserializer, handler.response_serializer)

    def _check(self, method: str, context: Any, caller: Caller | None = None) -> None:
        try:
            self._judge(method, context, caller)
        except PermissionDenied as error:
            self._log_refusal(method, context.peer(), str(error))
            raise

    def _log_refusal(self, method: str, peer: str, reason: str) -> None:
        """Once a minute for each machine: a node that was removed goes on asking."""
        source, now_ns = peer.rpartition(":")[0] or peer, time.monotonic_ns()
        if peer.startswith("unix:") or now_ns - self._logged_ns.get(source, -LOG_AGAIN_NS) < LOG_AGAIN_NS:
            return
        if len(self._logged_ns) >= CONNECTIONS_MAX:
            self._logged_ns.clear()
        self._logged_ns[source] = now_ns
        log.warning(REFUSED, peer=peer, method=method, reason=reason)

    def _judge(self, method: str, context: Any, caller: Caller | None) -> None:
        if revoked := self.revoked():
            for certificate in context.auth_context().get("x509_pem_cert", ()):
                if serial_of(certificate) in revoked:
                    raise PermissionDenied(what="the caller's certificate has been revoked")
        if self._access is not None and not method.startswith("/grpc."):
            self._access(method, caller or caller_of(context))

    def _unary(self, method: str, behaviour: Any) -> Any:
        async def run(request: Any, context: Any) -> Any:
            try:
                self._check(method, context)
                async with asyncio.timeout(None if context.time_remaining() is not None else UNARY_S_MAX):
                    return await behaviour(request, context)
            except HaError as error:
                await _abort(context, error)
            except TimeoutError:
                await _abort(context, Timeout(what=method, after_ms=int(UNARY_S_MAX * 1_000)))

        return run

    def _stream(self, method: str, behaviour: Any) -> Any:
        async def run(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                self._check(method, context)
                async for reply in behaviour(request, context):
                    self._check(method, context)  # what was revoked meanwhile hears no more
                    yield reply
            except HaError as error:
                await _abort(context, error)

        return run

    def _both(self, method: str, behaviour: Any) -> Any:
        """A coroutine that reads an iterator and writes to the context."""

        async def checked(requests: Any, context: Any) -> AsyncIterator[Any]:
            caller = caller_of(context)
            async for request in requests:
                self._check(method, context, caller)  # what was revoked meanwhile is heard no more
                yield request

        async def run(requests: Any, context: Any) -> None:
            try:
                self._check(method, context)
                await behaviour(checked(requests, context), context)
            except HaError as error:
                await _abort(context, error)

        return run


async def _abort(context: Any, error: HaError) -> None:
    await context.abort(
        STATUS_OF[error.code], str(error), trailing_metadata=((ERROR_METADATA, detail(error)),)
    )


def detail(error: HaError) -> bytes:
    """The failure as a serialised ErrorDetail."""
    message = common_pb2.ErrorDetail(code=error.code.value, text=str(error))
    if isinstance(error, StaleTerm):
        message.current_term.counter = error.current.counter
        message.current_term.node_id = error.current.node_id
    return message.SerializeToString()


def error_from_detail(raw: bytes) -> HaError:
    """The failure that `detail` described."""
    message = common_pb2.ErrorDetail.FromString(raw)
    try:
        code = ErrorCode(message.code)
    except ValueError:
        code = ErrorCode.UNAVAILABLE
    if code is ErrorCode.STALE_TERM:
        current = Term(message.current_term.counter, message.current_term.node_id)
        return StaleTerm(term=Term(0, 0), current=current)
    return RemoteFailure(remote_code=code, text=message.text)


def unix_channel(path: Path) -> grpc.aio.Channel:
    """A channel to a daemon on this node; connects when first used, and again 100 ms to 1 s after a loss.

    A new channel connects at once, however soon before another one of this process found nobody: by default
    gRPC lets channels to one address share what waits after a failure.
    """
    options = (*_OPTIONS, *_RECONNECT, ("grpc.use_local_subchannel_pool", 1))
    return grpc.aio.insecure_channel(f"unix:{path}", options=options)


def tcp_channel(
    address: str,
    port: int,
    tls: Tls,
    *,
    server_name: str,
    keepalive_ms: int = 1_250,
    others: Sequence[str] = (),
) -> grpc.aio.Channel:
    """A channel to the node called `server_name` (its certificate must say so).

    `others`: more addresses of the node, tried in their order when the first does not answer; those of
    another IP version are left out.

    Reconnects after 100 ms to 1 s; HTTP/2 pings every `keepalive_ms` find a dead peer in as long again.
    """
    alike = [one for one in (address, *others) if (":" in one) == (":" in address)]
    if ":" in address:
        target = "ipv6:" + ",".join(f"[{one}]:{port}" for one in dict.fromkeys(alike))
    else:
        target = "ipv4:" + ",".join(f"{one}:{port}" for one in dict.fromkeys(alike))
    credentials = grpc.ssl_channel_credentials(tls.roots(server_name), tls.key, tls.certificate)
    return grpc.aio.secure_channel(
        target,
        credentials,
        options=(
            *_OPTIONS,
            ("grpc.ssl_target_name_override", server_name),
            *_RECONNECT,
            ("grpc.keepalive_time_ms", keepalive_ms),
            ("grpc.keepalive_timeout_ms", keepalive_ms),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
        ),
    )


async def call(method: Any, request: object, *, timeout_ms: int, who: str) -> Any:
    """One unary call. Raises the HaError the server raised, Unreachable or Timeout."""
    try:
        return await method(request, timeout=timeout_ms / 1_000)
    except grpc.aio.AioRpcError as error:
        raise error_of(error, who=who, timeout_ms=timeout_ms) from None
    except asyncio.CancelledError:
        if is_cancelled():
            raise
        raise Unreachable(who=who, remedy="the connection was given up for a new certificate") from None


def is_cancelled() -> bool:
    """Whether this task was cancelled, and not a call whose channel was closed: gRPC raises alike."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def error_of(error: grpc.aio.AioRpcError, *, who: str, timeout_ms: int = 0) -> HaError:
    """The HaError that a failed call means."""
    for key, value in error.trailing_metadata() or ():
        if key == ERROR_METADATA:
            return error_from_detail(value if isinstance(value, bytes) else value.encode())
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Timeout(what=who, after_ms=timeout_ms)
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return Unreachable(who=who, remedy=error.details() or "")
    code = next((c for c, status in STATUS_OF.items() if status is error.code()), ErrorCode.UNAVAILABLE)
    return RemoteFailure(remote_code=code, text=error.details() or str(error.code()))


async def check_health(channel: grpc.aio.Channel, service: str = "", *, timeout_ms: int = 5_000) -> bool:
    """Whether the daemon answers SERVING in time."""
    stub = health_pb2_grpc.HealthStub(channel)
    try:
        reply = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_ms / 1_000)
    except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError):
            raise
        return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
