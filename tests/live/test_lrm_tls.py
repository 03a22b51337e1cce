"""ha-lrm over TCP: the cluster's nodes may call, nobody else gets a word in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.certificates import Pair, make_authority, make_node
from hacluster import rpc
from hacluster.errors import ErrorCode, HaError
from hacluster.v1 import lrm_pb2, lrm_pb2_grpc
from tests.live.lrm_node import LrmNode
from tests.ports import free_port

pytestmark = pytest.mark.netns


def issue(ca: Pair, name: str) -> rpc.Tls:
    pair = make_node(ca, name, ["127.0.0.1"])
    return rpc.Tls(ca=ca.certificate, certificate=pair.certificate, key=pair.key)


def write(folder: Path, tls: rpc.Tls) -> None:
    folder.mkdir(parents=True)
    for name, content in (("ca.pem", tls.ca), ("node.pem", tls.certificate), ("node.key", tls.key)):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)


@pytest.fixture
def ca() -> Pair:
    return make_authority("lrm")


@pytest.fixture
async def node(tmp_path: Path, ca: Pair) -> AsyncIterator[LrmNode]:
    port = free_port()
    write(tmp_path / "n/etc/hacluster/tls", issue(ca, "node1"))
    async with LrmNode(tmp_path / "n", port=port) as node:
        yield node


async def status_as(node: LrmNode, tls: rpc.Tls) -> lrm_pb2.LrmStatusReply:
    async with rpc.tcp_channel("127.0.0.1", node.port, tls, server_name="node1") as channel:
        stub = lrm_pb2_grpc.LrmStub(channel)
        reply = await rpc.call(stub.Status, lrm_pb2.LrmStatusRequest(), timeout_ms=3_000, who="ha-lrm")
        assert isinstance(reply, lrm_pb2.LrmStatusReply)
        return reply


async def test_a_node_may_call(node: LrmNode, ca: Pair) -> None:
    assert (await status_as(node, issue(ca, "node1"))).node == "node1"


async def test_a_certificate_of_no_node_may_not(node: LrmNode, ca: Pair) -> None:
    with pytest.raises(HaError) as caught:
        await status_as(node, issue(ca, "operator"))
    assert caught.value.code is ErrorCode.PERMISSION_DENIED


async def test_a_stranger_gets_no_connection(node: LrmNode, ca: Pair) -> None:
    stranger = issue(make_authority("lrm"), "node1")
    with pytest.raises(HaError) as caught:
        await status_as(node, replace(stranger, ca=ca.certificate))
    assert caught.value.code in (ErrorCode.UNREACHABLE, ErrorCode.TIMEOUT)


async def test_it_comes_back_on_the_same_port_after_a_kill(node: LrmNode, ca: Pair) -> None:
    await node.kill()
    await node.start()
    assert (await status_as(node, issue(ca, "node1"))).node == "node1"
