"""Every method of ha-crm by every kind of caller, from the .proto files: a new one needs its place here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Protocol, cast

import pytest
from google.protobuf.descriptor import FileDescriptor

from crm.api import access
from crm.api.access import FROM_AFAR, NODES_ONLY, AccessControl
from crm.api.cluster import Cluster
from crm.cib.codec import parse
from crm.cib.model import Element, element
from crm.cib.versions import CibVersion
from crm.peers import service as node_service
from crm.replica import service as replica_service
from crm.service import NAME
from hacluster.errors import PermissionDenied
from hacluster.rpc import Caller
from hacluster.v1 import cib_pb2, crm_pb2, node_pb2

# By what a caller needs. ALL: anybody who may connect (what is shown is judged part by part).
ALL = {
    "QueryCib", "WriteCib", "WriteOutcome", "Watch", "Status", "Links", "AgentMetadata", "AgentList",
}  # fmt: skip
READ = {
    "ListTransitions", "GetTransition", "ListRevisions", "GetRevision", "FencingHistory", "FencingDevices",
    "Voters",
}  # fmt: skip
WRITE = {
    "SetAttribute", "SetTicket", "Cleanup", "StopNode", "ConfirmFenced", "ForgiveNode", "Fence",
    "ForceQuorum", "MoveDc", "ChangeVoters",
}  # fmt: skip
FROM_NODES = {"StopNode"}

READER, WRITER, NOBODY = 54_321, 54_322, 54_323
CONFIGURATION = parse(
    """<configuration><crm_config><cluster_property_set id="o"><nvpair id="o-a" name="enable-acl"
    value="true"/></cluster_property_set></crm_config><nodes/><resources/><constraints/><acls>
    <acl_target id="54321"><role id="reader"/></acl_target>
    <acl_target id="54322"><role id="writer"/></acl_target>
    <acl_role id="reader"><acl_permission id="r" kind="read" xpath="/cib"/></acl_role>
    <acl_role id="writer"><acl_permission id="w" kind="write" xpath="/cib"/></acl_role>
    </acls></configuration>"""
)


class Generated(Protocol):
    """A module that protoc has made."""

    DESCRIPTOR: FileDescriptor


def methods(name: str, file: Generated) -> set[str]:
    services = file.DESCRIPTOR.services_by_name
    return {method.name for method in services[name.rpartition(".")[2]].methods}


@pytest.fixture
def acls() -> AccessControl:
    return an_access_control(CONFIGURATION)


def an_access_control(configuration: Element) -> AccessControl:
    cib = element("cib", {}, configuration, Element("status"))
    replica = SimpleNamespace(configuration=configuration, version=CibVersion(0, 1, 0), digest="d")
    cluster = SimpleNamespace(replica=replica, cib=lambda: cib)
    return AccessControl(cast(Cluster, cluster), lambda _uid: frozenset())


def may(acls: AccessControl, method: str, caller: Caller, *, is_node: bool = False) -> bool:
    try:
        acls.judge(method, caller, is_node=is_node)
    except PermissionDenied:
        return False
    return True


def allowed(acls: AccessControl, uid: int) -> set[str]:
    caller = Caller(local=True, uid=uid)
    return {one for one in methods(NAME, crm_pb2) if may(acls, f"/{NAME}/{one}", caller)}


def test_every_method_has_its_place() -> None:
    assert sorted(methods(NAME, crm_pb2)) == sorted([*ALL, *READ, *WRITE])
    assert set(NODES_ONLY) == {f"/{replica_service.SERVICE_NAME}/", f"/{node_service.NAME}/"}
    assert set(FROM_AFAR) == {*NODES_ONLY, *(f"/{NAME}/{one}" for one in FROM_NODES)}
    assert {*access._LOOKED_AT_CLOSER, *access._HARMLESS, *access._READING} == ALL | READ


def test_users_by_their_roles(acls: AccessControl) -> None:
    assert allowed(acls, 0) == ALL | READ | WRITE
    assert allowed(acls, WRITER) == ALL | READ | WRITE
    assert allowed(acls, READER) == ALL | READ
    assert allowed(acls, NOBODY) == ALL


def test_a_node_and_no_user_calls_what_is_for_nodes(acls: AccessControl) -> None:
    node = Caller(local=False, names=("n2",))
    for name, file in ((replica_service.SERVICE_NAME, cib_pb2), (node_service.NAME, node_pb2)):
        for method in methods(name, file):
            assert may(acls, f"/{name}/{method}", node, is_node=True)
            for uid in (0, WRITER):
                assert not may(acls, f"/{name}/{method}", Caller(local=True, uid=uid))


def test_a_nodes_certificate_is_no_users(acls: AccessControl) -> None:
    node = Caller(local=False, names=("n2",))
    from_nodes = {one for one in methods(NAME, crm_pb2) if may(acls, f"/{NAME}/{one}", node, is_node=True)}
    assert from_nodes == FROM_NODES


def test_who_is_no_node_calls_nothing_from_afar(acls: AccessControl) -> None:
    for names in ((), ("n9",)):
        stranger = Caller(local=False, names=names)
        for name, file in (
            (NAME, crm_pb2),
            (replica_service.SERVICE_NAME, cib_pb2),
            (node_service.NAME, node_pb2),
        ):
            assert not any(may(acls, f"/{name}/{one}", stranger) for one in methods(name, file))
