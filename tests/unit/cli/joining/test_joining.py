"""Both ends of joining over a real TLS connection on loopback: who is believed, what a token is good for."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from cli.certificates import (
    Pair,
    fingerprint,
    is_of_node,
    make_authority,
    make_node,
    make_request,
    sign_request,
)
from cli.joining.guest import Received, Told, join
from cli.joining.host import Admission, Host, Newcomer
from cli.joining.token import Token, parse_token
from hacluster.errors import HaError, InvalidRequest, PermissionDenied, Unavailable, Unreachable
from hacluster.paths import Paths
from tests.cluster_toml import cluster_toml
from tests.ports import free_port

TOML = cluster_toml(["127.0.0.1"])
SECRET = "5a" * 24
CANARY = "the key of all heartbeats"


class Member:
    """A member's folder, its CA, and what it was asked."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root)
        self.authority = make_authority("web")
        self.paths.tls.mkdir(parents=True)
        self.fill(self.authority, "n1")
        port = free_port()
        self.token = Token(
            cluster="web",
            node="n1",
            addresses=("127.0.0.1",),
            port=port,
            ca=fingerprint(self.authority.certificate),
            secret=SECRET,
            until_s=int(time.time()) + 60,
        )
        self.asked: list[Newcomer] = []
        self.said: list[str] = []
        self.refusal = ""

    def fill(self, authority: Pair, name: str) -> None:
        pair = make_node(authority, name, ["127.0.0.1"])
        for file, data in (
            ("ca.pem", authority.certificate),
            ("node.pem", pair.certificate),
            ("node.key", pair.key),
        ):
            (self.paths.tls / file).write_bytes(data)

    async def admit(self, newcomer: Newcomer) -> Admission:
        self.asked.append(newcomer)
        if self.refusal:
            raise InvalidRequest(what=self.refusal)
        return Admission(
            cluster_toml=TOML.encode(),
            authkeys=CANARY.encode(),
            crl=b"",
            nodes_pem=b"",
            certificate=sign_request(self.authority, newcomer.request, newcomer.name, newcomer.addresses),
        )

    def host(self) -> Host:
        return Host(
            self.token,
            self.paths,
            look=lambda: {"cluster_toml": TOML, "version": "1"},
            admit=self.admit,
            tell=self.said.append,
        )


@pytest.fixture
def member(tmp_path: Path) -> Member:
    return Member(tmp_path)


async def no_objection(_told: Told) -> None:
    pass


async def ask(
    token: Token, name: str = "n4", asked: Pair | None = None, check: Callable[[Told], object] | None = None
) -> Received:
    async def checked(told: Told) -> None:
        if check is not None:
            check(told)

    asked = asked or make_request(name)
    return await join(token, name, ["127.0.0.4"], asked, "1", checked)


async def both(member: Member, *guests: Token, name: str = "n4") -> list[Received | BaseException]:
    """The outcomes of guests, one after the other, and last the host's."""
    serving = asyncio.create_task(member.host().serve())
    await listening(member)
    results: list[Received | BaseException] = []
    for token in guests:
        try:
            results.append(await ask(token, name))
        except HaError as error:
            results.append(error)
    if not serving.done() and not any(isinstance(one, Received) for one in results):
        await asyncio.sleep(0)
    done, _ = await asyncio.wait([serving], timeout=1)
    if not done:
        serving.cancel()
        results.append(TimeoutError())
    elif serving.exception() is not None:
        results.append(serving.exception() or RuntimeError())
    return results


async def listening(member: Member) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", member.token.port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return
    raise AssertionError("nobody listens")


async def test_a_newcomer_gets_what_a_node_needs(member: Member) -> None:
    serving = asyncio.create_task(member.host().serve())
    await listening(member)
    asked = make_request("n4")
    told: list[Told] = []
    received = await ask(member.token, asked=asked, check=told.append)
    assert (await serving).addresses == ("127.0.0.4",)
    assert received.authkeys.decode() == CANARY
    assert received.ca == member.authority.certificate
    certificate = x509.load_pem_x509_certificate(received.certificate)
    assert is_of_node(certificate, member.authority.certificate, "n4")
    assert abs(told[0].clock_ahead_ms) < 5_000
    assert told[0].settings.cluster_name == "web"
    assert b"PRIVATE" not in member.asked[0].request
    request_key = x509.load_pem_x509_csr(asked.certificate).public_key()
    assert certificate.public_key() == request_key


async def test_names_in_the_request_do_not_count(member: Member) -> None:
    serving = asyncio.create_task(member.host().serve())
    await listening(member)
    received = await ask(member.token, "n4", asked=make_request("n1"))
    await serving
    certificate = x509.load_pem_x509_certificate(received.certificate)
    assert not is_of_node(certificate, member.authority.certificate, "n1")


async def test_a_token_works_once(member: Member) -> None:
    first, second = await both(member, member.token, member.token)
    assert isinstance(first, Received)
    assert isinstance(second, (Unreachable, Unavailable, InvalidRequest))
    assert len(member.asked) == 1


async def test_a_refusal_does_not_use_it_up(member: Member) -> None:
    member.refusal = "no room"
    outcome = (await both(member, member.token))[0]
    assert isinstance(outcome, InvalidRequest)
    assert "n1 refuses: no room" in str(outcome)
    member.refusal = ""
    assert isinstance((await both(member, member.token))[0], Received)


async def test_five_who_do_not_know_the_secret_end_it(member: Member) -> None:
    wrong = replace(member.token, secret="00" * 24)
    outcomes = await both(member, *[wrong] * 5, member.token)
    assert not any(isinstance(one, Received) for one in outcomes)
    assert not member.asked
    assert isinstance(outcomes[-1], InvalidRequest)
    assert "token is void" in str(outcomes[-1])


async def test_another_cluster_is_not_believed(member: Member) -> None:
    member.fill(make_authority("evil"), "n1")
    assert isinstance((await both(member, member.token))[0], PermissionDenied)
    assert not member.asked


async def test_nor_another_node_of_the_cluster(member: Member) -> None:
    member.fill(member.authority, "n2")
    assert isinstance((await both(member, member.token))[0], PermissionDenied)


async def test_nor_one_who_only_shows_the_right_ca(member: Member) -> None:
    member.fill(make_authority("evil"), "n1")
    (member.paths.tls / "ca.pem").write_bytes(member.authority.certificate)
    assert isinstance((await both(member, member.token))[0], PermissionDenied)


async def test_what_the_newcomer_finds_bad_ends_it_before_anything_is_asked(member: Member) -> None:
    serving = asyncio.create_task(member.host().serve())
    await listening(member)

    def check(_told: Told) -> None:
        raise InvalidRequest(what="the port is taken")

    with pytest.raises(InvalidRequest, match="the port is taken"):
        await ask(member.token, check=check)
    assert not member.asked
    assert isinstance(await ask(member.token), Received)
    await serving


async def test_time_runs_out(member: Member) -> None:
    member.token = replace(member.token, until_s=int(time.time()) - 1)
    with pytest.raises(InvalidRequest, match="nobody came in time"):
        await member.host().serve()


@pytest.mark.parametrize(
    "line",
    [b"\n", b"{}\n", b"[" * 100_000 + b"\n", b'{"body": "{}", "proof": ""}\n', b"\xff\xfe\n", b"x" * 2**21],
)
async def test_nonsense_gets_nothing(member: Member, line: bytes) -> None:
    serving = asyncio.create_task(member.host().serve())
    await listening(member)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", member.token.port, ssl=context, limit=2**20)
    hello = json.loads(json.loads(await reader.readline())["body"])
    assert set(hello) == {"protocol", "ca", "nonce"}
    writer.write(line)
    assert CANARY.encode() not in await reader.read()
    writer.close()
    assert isinstance(await ask(member.token), Received)
    await serving


async def test_an_older_tls_is_not_spoken(member: Member) -> None:
    serving = asyncio.create_task(member.host().serve())
    await listening(member)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionResetError)):  # refused by what came, or by its end
        await asyncio.open_connection("127.0.0.1", member.token.port, ssl=context)
    serving.cancel()


def test_a_token_is_one_word(member: Member) -> None:
    text = member.token.text
    assert parse_token(text) == member.token
    assert text == text.strip()
    assert SECRET not in repr(member.token)


@pytest.mark.parametrize("cut", [0, 3, 10, 60, -1, -20])
def test_half_a_token_is_none(member: Member, cut: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_token(member.token.text[:cut])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [{"port": 0}, {"port": 70_000}, {"secret": "00"}, {"ca": ""}, {"addresses": ()}, {"node": "a b"}],
)
def test_a_token_that_says_nonsense_is_none(member: Member, change: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        parse_token(replace(member.token, **change).text)  # type: ignore[arg-type]  # wrong on purpose
