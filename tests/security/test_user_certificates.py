"""Users from afar: a certificate names them, roles say what they may; nodes' ports are not for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from cli.afar import Server, server_from
from cli.certificates import Pair, make_authority, make_crl, make_node, make_user
from crm.acl import PRIVILEGED
from crm.api.access import AccessControl
from crm.cib.codec import parse
from crm.cib.model import Element, element
from crm.peers import service as node_service
from crm.replica import service as replica_service
from crm.service import NAME
from hacluster import rpc
from hacluster.certificates import serial_of
from hacluster.errors import ErrorCode, HaError, InvalidDocument, InvalidRequest, PermissionDenied
from hacluster.rpc import USER_URI, Caller
from hacluster.tls import TlsFolder
from hacluster.v1 import cib_pb2, crm_pb2, crm_pb2_grpc, lrm_pb2, lrm_pb2_grpc, node_pb2
from lrm import service as lrm_service
from tests.ports import free_port
from tests.security.test_method_roles import ALL, READ, WRITE, an_access_control, methods

CONFIGURATION = parse(
    """<configuration><crm_config><cluster_property_set id="o"><nvpair id="o-a" name="enable-acl"
    value="true"/></cluster_property_set></crm_config><nodes/><resources/><constraints/><acls>
    <acl_target id="reader"><role id="reads"/></acl_target>
    <acl_target id="writer"><role id="writes"/></acl_target>
    <acl_group id="operators"><role id="writes"/></acl_group>
    <acl_role id="reads"><acl_permission id="r" kind="read" xpath="/cib"/></acl_role>
    <acl_role id="writes"><acl_permission id="w" kind="write" xpath="/cib"/></acl_role>
    </acls></configuration>"""
)


def may(acls: AccessControl, method: str, caller: Caller) -> bool:
    try:
        acls.judge_user(method, caller)
    except PermissionDenied:
        return False
    return True


def allowed(acls: AccessControl, user: str) -> set[str]:
    caller = Caller(local=False, user=user)
    return {one for one in methods(NAME, crm_pb2) if may(acls, f"/{NAME}/{one}", caller)}


def test_roles_say_what_a_certificates_user_may() -> None:
    acls = an_access_control(CONFIGURATION)
    assert allowed(acls, "reader") == ALL | READ
    assert allowed(acls, "writer") == ALL | READ | WRITE
    assert allowed(acls, "nobody") == ALL
    assert allowed(acls, "operators") == ALL, "a group's name is no user's"


def test_without_lists_a_user_is_as_one_of_haclient() -> None:
    acls = an_access_control(element("configuration", {}, element("crm_config")))
    assert allowed(acls, "reader") == ALL | READ | WRITE


def test_what_a_user_may_not_see_is_not_shown() -> None:
    acls = an_access_control(CONFIGURATION)
    whole = b"<cib><configuration/><status/></cib>"
    with pytest.raises(PermissionDenied):
        acls.shown(whole, Caller(local=False, user="nobody"))
    assert b"configuration" in acls.shown(whole, Caller(local=False, user="reader"))
    with pytest.raises(PermissionDenied, match="by reader"):
        acls.meant(CONFIGURATION.with_child(Element("tags")), Caller(local=False, user="reader"))


def test_a_write_is_made_from_what_was_checked() -> None:
    """As for users of the node: else it would be judged by one configuration and applied to another."""
    acls = an_access_control(CONFIGURATION)
    assert acls.condition("", Caller(local=False, user="writer")) == "d"


@pytest.mark.parametrize("user", sorted(PRIVILEGED))
def test_no_certificate_makes_a_root(user: str) -> None:
    assert allowed(an_access_control(CONFIGURATION), user) == set()


def test_each_port_is_for_its_own() -> None:
    acls = an_access_control(CONFIGURATION)
    node, user = Caller(local=False, names=("n1",)), Caller(local=False, user="writer")
    services = (
        (NAME, crm_pb2),
        (replica_service.SERVICE_NAME, cib_pb2),
        (node_service.NAME, node_pb2),
    )
    for name, file in services:
        for method in methods(name, file):
            assert not may(acls, f"/{name}/{method}", node)
            with pytest.raises(PermissionDenied):
                acls.judge(f"/{name}/{method}", user, is_node=False)
            if name != NAME:
                assert not may(acls, f"/{name}/{method}", user)


class Api:
    """Counts who got through."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []

    async def Watch(self, request: object, context: Any) -> AsyncIterator[crm_pb2.ClusterStatus]:
        while True:
            yield crm_pb2.ClusterStatus()
            await asyncio.sleep(0.01)

    def __getattr__(self, name: str) -> Any:
        async def call(request: object, context: Any) -> object:
            self.callers.append(rpc.caller_of(context))
            return crm_pb2.SetAttributeReply() if name == "SetAttribute" else crm_pb2.QueryCibReply()

        return call


class Site:
    """The users' port of n1, its CA, and a folder for a user."""

    def __init__(self, folder: Path) -> None:
        self.authority, self.api = make_authority("web"), Api()
        self.folder, self.tls = folder, folder / "tls"
        own = make_node(self.authority, "n1", ["127.0.0.1"])
        self.tls.mkdir()
        put(
            self.tls, {"ca.pem": self.authority.certificate, "node.pem": own.certificate, "node.key": own.key}
        )
        self.port = free_port()

    def server(self, pair: Pair) -> Server:
        """As `hacli --server n1=127.0.0.1:PORT` has it."""
        mine = self.folder / "mine"
        mine.mkdir(exist_ok=True)
        put(mine, {"ca.pem": self.authority.certificate, "user.pem": pair.certificate, "user.key": pair.key})
        return server_from(f"n1=127.0.0.1:{self.port}", str(mine))


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o600)


@asynccontextmanager
async def a_site(folder: Path) -> AsyncIterator[Site]:
    site = Site(folder)
    server = rpc.Server(names=[NAME], access=an_access_control(CONFIGURATION).judge_user)
    server.add(crm_pb2_grpc.add_CrmServicer_to_server, site.api)
    server.listen_tcp("127.0.0.1", site.port, TlsFolder(site.tls))
    await server.start()
    yield site
    await server.stop(0)


async def called(server: Server, method: str = "QueryCib") -> ErrorCode | None:
    """The code of the failure; None when it was answered."""
    async with server.channel() as channel:
        stub = crm_pb2_grpc.CrmStub(channel)
        request = crm_pb2.SetAttributeRequest() if method == "SetAttribute" else crm_pb2.QueryCibRequest()
        try:
            await rpc.call(getattr(stub, method), request, timeout_ms=5_000, who="n1")
        except HaError as error:
            return error.code
    return None


async def test_over_the_wire(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        reader = site.server(make_user(site.authority, "reader"))
        assert await called(reader) is None
        assert site.api.callers == [Caller(local=False, user="reader")]
        assert await called(reader, "SetAttribute") is ErrorCode.PERMISSION_DENIED
        assert await called(site.server(make_user(site.authority, "writer")), "SetAttribute") is None
        node = make_node(site.authority, "n2", ["127.0.0.1"])
        assert await called(site.server(node)) is ErrorCode.PERMISSION_DENIED
        other = make_user(make_authority("web"), "writer")
        tls = replace(reader.tls, certificate=other.certificate, key=other.key)
        assert await called(replace(reader, tls=tls)) in (ErrorCode.UNREACHABLE, ErrorCode.TIMEOUT)
        assert len(site.api.callers) == 2


async def test_a_revoked_user_is_out(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        pair = make_user(site.authority, "writer")
        server = site.server(pair)
        async with server.channel() as channel:
            stub = crm_pb2_grpc.CrmStub(channel)
            await rpc.call(stub.QueryCib, crm_pb2.QueryCibRequest(), timeout_ms=5_000, who="n1")
            put(
                site.tls,
                {"crl.pem": make_crl(site.authority, b"", [serial_of(pair.certificate)])},
            )
            assert (
                await called(site.server(make_user(site.authority, "reader"))) is None
            )  # looks at the files
            with pytest.raises(HaError, match="revoked"):
                await rpc.call(stub.QueryCib, crm_pb2.QueryCibRequest(), timeout_ms=5_000, who="n1")


async def test_a_revoked_user_watches_no_longer(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        pair = make_user(site.authority, "reader")
        async with site.server(pair).channel() as channel:
            stream = crm_pb2_grpc.CrmStub(channel).Watch(crm_pb2.WatchClusterRequest(), timeout=20)
            replies = aiter(stream)
            await anext(replies)
            put(
                site.tls,
                {"crl.pem": make_crl(site.authority, b"", [serial_of(pair.certificate)])},
            )
            assert await called(site.server(make_user(site.authority, "writer"))) is None
            with pytest.raises(grpc.aio.AioRpcError, match="revoked"):
                async for _ in replies:
                    pass


async def test_a_users_certificate_orders_nothing_of_ha_lrm(tmp_path: Path) -> None:
    site = Site(tmp_path)
    server = rpc.Server(
        names=(lrm_service.NAME,), access=lrm_service.access(lambda: frozenset({"n1", "writer"}))
    )
    server.add(lrm_pb2_grpc.add_LrmServicer_to_server, site.api)
    server.listen_tcp("127.0.0.1", site.port, TlsFolder(site.tls))
    await server.start()
    async with site.server(make_user(site.authority, "writer")).channel() as channel:
        stub = lrm_pb2_grpc.LrmStub(channel)
        with pytest.raises(HaError) as caught:
            await rpc.call(stub.Execute, lrm_pb2.ExecuteRequest(), timeout_ms=5_000, who="n1")
    await server.stop(0)
    assert caught.value.code is ErrorCode.PERMISSION_DENIED
    assert site.api.callers == []


def test_whoever_is_a_user_is_no_node() -> None:
    """A certificate with the names of both, as only whoever has the CA's key could make."""

    class Context:
        def peer(self) -> str:
            return "ipv4:127.0.0.1:1"

        def auth_context(self) -> dict[str, list[bytes]]:
            return {"x509_subject_alternative_name": [b"n1", f"{USER_URI}alice".encode()]}

    context: Any = Context()
    assert rpc.caller_of(context) == Caller(local=False, user="alice")


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.server(make_user(site.authority, "reader"))
    (tmp_path / "mine/user.key").chmod(0o644)
    with pytest.raises(InvalidDocument, match="others can read the key"):
        server_from("n1=127.0.0.1", str(tmp_path / "mine"))


@pytest.mark.parametrize("text", ["", "n1=", "n1:0", "n1:70000", "n1=::1", "n1=[::1", "a b"])
def test_servers_that_are_none(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--server"):
        server_from(text)


def test_places_of_servers(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.server(make_user(site.authority, "reader"))
    mine = str(tmp_path / "mine")
    found = [server_from(text, mine) for text in ("n1=10.0.0.1", "n1=[fd00::1]:99", "127.0.0.1:98")]
    places = [(one.name, one.address, one.port) for one in found]
    assert places == [("n1", "10.0.0.1", 5564), ("n1", "fd00::1", 99), ("127.0.0.1", "127.0.0.1", 98)]
