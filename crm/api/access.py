"""Applies the access control lists to what users ask of ha-crm; other nodes are trusted.

A user is one of this node, whom the kernel names, or one from afar, whom a certificate names. A certificate
makes nobody root or hacluster, and a member of no group: with lists its user may what roles say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from crm import acl, confirmation
from crm.acl import Kind, Permission
from crm.api.cluster import Cluster
from crm.api.public_socket import name_of, user_name
from crm.api.spelling import Spelling
from crm.cib import codec
from crm.cib.model import Element
from crm.cib.versions import NO_VERSION
from hacluster.errors import Conflict, PermissionDenied, Unavailable
from hacluster.rpc import Caller

_LOOKED_AT_CLOSER: Final = frozenset({"QueryCib", "Status", "Watch", "WriteCib", "WriteOutcome"})
_HARMLESS: Final = frozenset({"Links", "AgentMetadata", "AgentList"})
_READING: Final = frozenset(
    {
        "ListTransitions",
        "GetTransition",
        "ListRevisions",
        "GetRevision",
        "FencingHistory",
        "FencingDevices",
        "Voters",
    }
)


API: Final = "/hacluster.v1.Crm/"
NODES_ONLY: Final = ("/hacluster.v1.CrmPeer/", "/hacluster.v1.CrmNode/")
FROM_AFAR: Final = (*NODES_ONLY, "/hacluster.v1.Crm/StopNode")
"""What one node may call of another; the rest of the client API is for clients on the node itself."""


class AccessControl:
    """`groups` says in which groups a connected user is."""

    def __init__(self, cluster: Cluster, groups: Callable[[int], frozenset[str]]) -> None:
        self._cluster, self._groups = cluster, groups
        self._spelling = Spelling(lambda cib, rules: acl.readable(_without_way_back(cib), rules))

    def rules(self, caller: Caller) -> tuple[Permission, ...] | None:
        """What the caller may; None: everything. Raises Unavailable while the configuration is not known."""
        if _is_trusted(caller):
            return None
        if self._cluster.replica.version == NO_VERSION:
            raise Unavailable(why="this node does not know the configuration yet, nor who may see it")
        groups = self._groups(caller.uid) if caller.uid is not None else frozenset()
        return acl.permissions(self._cluster.replica.configuration, name_of(caller), groups)

    def judge(self, method: str, caller: Caller, *, is_node: bool) -> None:
        """By the full name of the method. `is_node`: one who is not local has a node's certificate.

        Raises PermissionDenied, before any handler runs.
        """
        if caller.local:
            if method.startswith(NODES_ONLY):
                raise PermissionDenied(what=f"{method} is for the cluster's nodes")
            self.check(method.rpartition("/")[2], caller)
        elif not is_node:
            raise PermissionDenied(
                what=f"{', '.join(caller.names) or 'the caller'} is no node of this cluster"
            )
        elif not method.startswith(FROM_AFAR):
            raise PermissionDenied(what=f"{method} is for clients on this node, not for {caller.names[0]}")

    def judge_user(self, method: str, caller: Caller) -> None:
        """As `judge`, on the port for users from afar: nodes' certificates are refused there."""
        if not caller.user:
            raise PermissionDenied(what=f"this port is for users, {name_of(caller)} is none")
        if caller.user in acl.PRIVILEGED:
            raise PermissionDenied(what=f"a certificate makes nobody {caller.user}")
        if not method.startswith(API):
            raise PermissionDenied(what=f"{method} is for the cluster's nodes")
        self.check(method.rpartition("/")[2], caller)

    def check(self, method: str, caller: Caller) -> None:
        """Before any call: what reads more than the CIB, or acts, asks for a right to the whole CIB."""
        if method in _LOOKED_AT_CLOSER or method in _HARMLESS:
            return
        kind = Kind.READ if method in _READING else Kind.WRITE
        if not acl.may_everything(self._cluster.cib(), self.rules(caller), kind):
            raise PermissionDenied(what=f"{method} needs a role that may {kind.value} the whole CIB")

    def shown(self, xml: bytes, caller: Caller) -> bytes:
        """A whole CIB as far as the caller may read it. Raises PermissionDenied when that is nothing."""
        rules = self.rules(caller)
        if rules is None:
            return xml
        return codec.render(acl.readable(_without_way_back(codec.parse(xml)), rules)).encode()

    def spelled(self, caller: Caller | None = None) -> bytes:
        """This node's CIB as far as the caller may read it, None all of it. Raises PermissionDenied."""
        return self._spelling.text(self._cluster.cib(), self.rules(caller) if caller is not None else None)

    def meant(self, configuration: Element, caller: Caller) -> Element:
        """The whole configuration a caller means who may not see all of it. Raises PermissionDenied."""
        rules = self.rules(caller)
        if rules is None:
            return configuration
        whole = self._cluster.cib()
        old = _without_way_back(whole)
        new = old.with_child(confirmation.secret_free(configuration))
        new = acl.restored(old, new, rules)
        if why := acl.refusal(old, new, rules):
            raise PermissionDenied(what=f"{why} by {name_of(caller)}")
        before, after = whole.child("configuration"), new.child("configuration")
        assert before is not None
        assert after is not None
        return confirmation.by_a_limited_user(before, after)

    def condition(self, digest: str, caller: Caller) -> str:
        """The digest a write is made from: what was checked here must be what is changed at the DC.

        Raises Conflict when this node has another configuration than the caller had.
        """
        if _is_trusted(caller):
            return digest
        here = self._cluster.replica.digest
        if digest not in ("", here):
            raise Conflict(what="the configuration on this node is not the one that was read")
        return here


def _is_trusted(caller: Caller) -> bool:
    """A node, root or ourselves."""
    if caller.uid is None:
        return not caller.user
    return user_name(caller.uid) in acl.PRIVILEGED


def _without_way_back(cib: Element) -> Element:
    return cib.mapped(lambda part: confirmation.secret_free(part) if part.tag == "configuration" else part)
