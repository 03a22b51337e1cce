"""Builds a node's ReplicaShell from its settings and paths; for ha-crm's `__main__` and tests."""

from __future__ import annotations

from collections.abc import Callable

from crm.cib import schema
from crm.cib.initial import initial_configuration
from crm.cib.model import Element
from crm.cib.storage import FolderStorage
from crm.cib.store import CibStore
from crm.election.model import ElectionSettings
from crm.replica.peers import CrmPeers, Witness
from crm.replica.shell import ReplicaShell
from crm.replica.solo_file import SoloRightFile
from hacluster.clock import Clock
from hacluster.errors import InvalidDocument
from hacluster.paths import Paths
from hacluster.settings import Settings
from hacluster.vocabulary.ids import BootToken


def replica_shell(
    settings: Settings,
    paths: Paths,
    node_name: str,
    *,
    boot_token: BootToken,
    instance: int,
    peers: CrmPeers,
    clock: Clock,
    witness: Witness,
    validate: Callable[[Element], str] = schema.refusal,
) -> ReplicaShell:
    """Raises InvalidDocument when this node is not in cluster.toml or initial-cib.xml cannot be used."""
    node = settings.node(node_name)
    if node is None:
        raise InvalidDocument(
            source=str(paths.cluster_toml),
            line=0,
            what=f"there is no node {node_name!r}",
            remedy="add a [[node]] for it, or say which one this is with --node",
        )
    file = paths.etc / "initial-cib.xml"
    document = file.read_bytes() if file.exists() else None
    election = ElectionSettings(
        me=node.id,
        boot_token=boot_token,
        instance=instance,
        quorum=settings.quorum_config(),
        dc_timeout_ms=max(2_500, settings.timers.deadtime_ms),
    )
    return ReplicaShell(
        election,
        node_name=node_name,
        store=CibStore(FolderStorage(paths.var / "cib")),
        peers=peers,
        clock=clock,
        initial=initial_configuration(settings, document, source=str(file)),
        validate=validate,
        witness=witness,
        solo_right=SoloRightFile(paths.run / "solo-right", boot_token),
        others=tuple(int(other.id) for other in settings.nodes if other.id != node.id),
    )
