"""What a node takes of the files that all share, and what it refuses: then everything is as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from cli.certificates import make_authority, make_crl, make_node
from hacluster import cluster_toml, rpc, settings, shared_files
from hacluster.errors import Conflict, HaError, InvalidDocument, InvalidDocuments, InvalidRequest
from hacluster.paths import Paths
from hacluster.settings import Node, Settings
from hacluster.shared_files import SharedFiles
from hacluster.v1 import membership_pb2, membership_pb2_grpc
from hacluster.vocabulary.ids import NodeId, NodeName
from lrm.files.keeper import FilesKeeper, GrpcMessaging

AUTHORITY = make_authority("web")


class Messaging:
    """Remembers calls; refuses what it is told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.refuses = ""

    async def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.refuses:
            self.refuses = ""
            raise InvalidRequest(what=f"{name}: no")

    async def reload_keys(self) -> None:
        await self._call("keys")

    async def reload_nodes(self) -> None:
        await self._call("nodes")


def some_settings(**changes: object) -> Settings:
    nodes = tuple(Node(id=NodeId(n), name=NodeName(f"n{n}"), addresses=(f"127.0.0.{n}",)) for n in (1, 2, 3))
    made = Settings(
        cluster_name="web", cluster_id=bytes(16), links=(settings.Link(kind="udp"),), nodes=nodes, revision=4
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # names of fields


def files(made: Settings, authkeys: bytes = b"auth 1\n", crl: bytes = b"") -> SharedFiles:
    return SharedFiles(cluster_toml=cluster_toml.render(made).encode(), authkeys=authkeys, crl=crl)


class Bench:
    def __init__(self, root: Path) -> None:
        self.paths = Paths(root)
        self.paths.tls.mkdir(parents=True)
        (self.paths.tls / "ca.pem").write_bytes(AUTHORITY.certificate)
        self.before = files(some_settings())
        shared_files.write(self.paths, self.before)
        self.messaging = Messaging()
        self.keeper = FilesKeeper(self.paths, "n1", some_settings(), self.messaging)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_higher_revision_is_taken(bench: Bench) -> None:
    crl = make_crl(AUTHORITY, b"", [7])
    nodes = some_settings().nodes[:2]
    after = files(some_settings(revision=5, nodes=nodes), b"auth 2\n", crl)
    changed = await bench.keeper.take(after, expected_digest=bench.before.digest)
    assert changed == ("crl.pem", "authkeys", "cluster.toml")
    assert bench.messaging.calls == ["keys", "nodes"]
    assert shared_files.read(bench.paths) == after
    assert bench.keeper.names == {"n1", "n2"}
    assert bench.paths.authkeys.stat().st_mode & 0o777 == 0o600
    assert (bench.paths.tls / "crl.pem").stat().st_mode & 0o777 == 0o644
    assert await bench.keeper.take(after) == ()  # again: harmless


@pytest.mark.parametrize("refuses", ["keys", "nodes"])
async def test_what_ha_messaging_refuses_is_undone(bench: Bench, refuses: str) -> None:
    bench.messaging.refuses = refuses
    with pytest.raises(InvalidRequest, match=f"{refuses}: no"):
        await bench.keeper.take(files(some_settings(revision=5), b"auth 2\n"))
    assert shared_files.read(bench.paths) == bench.before
    assert bench.messaging.calls[-1] == "keys"  # the former ones again
    assert bench.keeper.settings.revision == 4


def strangers() -> list[tuple[SharedFiles, type[HaError], str]]:
    three = some_settings().nodes
    moved = (replace(three[0], addresses=("127.0.0.9",)), *three[1:])
    evil = make_node(make_authority("evil"), "n1", ["127.0.0.1"]).certificate
    other_crl = make_crl(make_authority("evil"), b"", [1])
    return [
        (files(some_settings(revision=4), b"auth 2\n"), Conflict, "has revision 4"),
        (files(some_settings(revision=3)), Conflict, "has revision 4"),
        (files(some_settings(revision=5, cluster_id=b"x" * 16)), InvalidRequest, "another cluster"),
        (files(some_settings(revision=5, nodes=three[1:])), InvalidRequest, "n1 is not in it"),
        (files(some_settings(revision=5, nodes=moved)), InvalidRequest, "n1 is not in it"),
        (files(some_settings(revision=5), b" \n"), InvalidRequest, "authkeys is empty"),
        (files(some_settings(revision=5), crl=other_crl), InvalidDocument, "not signed by the CA"),
        (files(some_settings(revision=5), b"x" * 2_000_000), InvalidRequest, "more than"),
        (replace(files(some_settings(revision=5)), nodes_pem=b"x"), InvalidRequest, "nodes.pem"),
        (replace(files(some_settings(revision=5)), nodes_pem=evil), InvalidRequest, "not of this cluster"),
        (SharedFiles(cluster_toml=b"\xff", authkeys=b"a"), InvalidDocument, "utf-8"),
        (SharedFiles(cluster_toml=b"[cluster]\n", authkeys=b"a"), InvalidDocuments, "no valid id"),
    ]


@pytest.mark.parametrize(("given", "error", "what"), strangers())
async def test_refused(bench: Bench, given: SharedFiles, error: type[HaError], what: str) -> None:
    with pytest.raises(error, match=what):
        await bench.keeper.take(given)
    assert shared_files.read(bench.paths) == bench.before
    assert bench.messaging.calls == []


async def test_of_two_changes_of_the_same_files_one_is_refused(bench: Bench) -> None:
    one, other = (files(some_settings(revision=5), key) for key in (b"auth 2\n", b"auth 3\n"))
    await bench.keeper.take(one, expected_digest=bench.before.digest)
    with pytest.raises(Conflict, match="begin again"):
        await bench.keeper.take(other, expected_digest=bench.before.digest)
    assert shared_files.read(bench.paths) == one


def test_a_file_keeps_its_owner_and_is_never_half_there(tmp_path: Path) -> None:
    path = tmp_path / "authkeys"
    shared_files.replace(path, b"one", 0o600)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        shared_files.replace(tmp_path / "folder", b"two", 0o600)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["authkeys", "folder"]


@pytest.mark.parametrize(("mode", "words"), [(0o644, "mode 0644"), (0o640, "mode 0640"), (0o600, "")])
def test_problems_of_key_files_are_named(bench: Bench, mode: int, words: str) -> None:
    bench.paths.authkeys.chmod(mode)
    found = [one for one in shared_files.problems(bench.paths) if "authkeys" in one]
    assert bool(found) == bool(words)
    assert all(words in one and "chmod 600" in one for one in found)


class Reloads(membership_pb2_grpc.MembershipServicer):
    """Counts how often it is told of new keys."""

    count = 0

    async def ReloadKeys(self, request: Any, context: Any) -> membership_pb2.ReloadKeysReply:
        self.count += 1
        return membership_pb2.ReloadKeysReply()


async def test_who_has_begun_to_serve_just_now_is_told(tmp_path: Path) -> None:
    """Another channel has found nobody a moment ago, and waits before it tries again; this one does not."""
    paths = Paths(tmp_path)
    paths.messaging_socket.parent.mkdir(parents=True)
    async with rpc.unix_channel(paths.messaging_socket) as watching:
        with pytest.raises(grpc.aio.AioRpcError):
            await membership_pb2_grpc.MembershipStub(watching).ReloadKeys(membership_pb2.ReloadKeysRequest())
        reloads = Reloads()  # type: ignore[abstract]  # the others are not called
        server = grpc.aio.server()
        membership_pb2_grpc.add_MembershipServicer_to_server(reloads, server)
        server.add_insecure_port(f"unix:{paths.messaging_socket}")
        await server.start()
        await GrpcMessaging(paths).reload_keys()
        await server.stop(0)
    assert reloads.count == 1
