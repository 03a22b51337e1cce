"""cluster.toml to the parts of one run of ha-messaging: configuration of the core, links, shell."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from hacluster.clock import Clock
from hacluster.errors import InvalidDocument, InvalidRequest
from hacluster.paths import Paths
from hacluster.sentinel_word import WordFile
from hacluster.settings import Link, Node, Settings, Witness
from hacluster.vocabulary.ids import BootToken
from messaging.membership.core import MembershipCore
from messaging.membership.events import Config, ConfiguredNode, Durable, Start, WitnessAnswered, node_list
from messaging.membership.runs import known_runs
from messaging.membership.shell import MembershipShell
from messaging.packet import Gate, Keyring, Sealer
from messaging.store import Store
from messaging.transport.link import Carrier
from messaging.transport.serial import SerialLink
from messaging.transport.udp import UdpLink
from messaging.witness.ballot import DiskWitness
from messaging.witness.client import QnetClient, WitnessClient
from messaging.witness.core import GATHER_NS
from messaging.witness.disk import QdiskClient
from messaging.witness.sync import SyncCalls

IP_KINDS: Final = ("udp", "mcast", "bcast")
MS: Final = 1_000_000
_IPV4_BYTES: Final = 28
_IPV6_BYTES: Final = 48


def carriers(settings: Settings) -> list[tuple[int, Link]]:
    """The links that carry heartbeats, with their numbers in cluster.toml."""
    return [(n, link) for n, link in enumerate(settings.links) if link.kind in (*IP_KINDS, "serial")]


def check(settings: Settings, paths: Paths) -> None:
    """Raises InvalidDocument when no view could ever be agreed on."""
    if not any(link.kind in IP_KINDS for _, link in carriers(settings)):
        raise InvalidDocument(
            source=str(paths.cluster_toml),
            line=0,
            what="no link that carries more than heartbeats",
            remedy="add a [[link]] of kind udp, mcast or bcast",
        )


def configured_nodes(settings: Settings) -> tuple[ConfiguredNode, ...]:
    """In order of id."""
    return tuple(
        ConfiguredNode(id=node.id, name=node.name, votes=node.votes, diskless=node.diskless)
        for node in sorted(settings.nodes, key=lambda node: node.id)
    )


def config_of(settings: Settings, me: Node, keyring: Keyring) -> Config:
    """What the core has to know."""
    timers = settings.timers
    return Config(
        node_id=me.id,
        nodes=configured_nodes(settings),
        links=len(carriers(settings)),
        keepalive_ns=timers.keepalive_ms * MS,
        warntime_ns=timers.warntime_ms * MS,
        deadtime_ns=timers.deadtime_ms * MS,
        deadtime_auto=timers.deadtime_auto,
        initdead_ns=timers.initdead_ms * MS,
        quorum=settings.quorum_config(),
        key_ids=keyring.id_bits,
        payload_bytes=_payload_bytes(settings),
    )


def _payload_bytes(settings: Settings) -> int:
    """On the link that carries least: a fragment is the same on all of them."""
    is_ipv6 = any(":" in address for node in settings.nodes for address in node.addresses)
    mtu = min(link.mtu for _, link in carriers(settings) if link.kind in IP_KINDS)
    return mtu - (_IPV6_BYTES if is_ipv6 else _IPV4_BYTES)


def links_of(settings: Settings, me: Node, shell: MembershipShell) -> list[Carrier]:
    """Addresses of nodes count the IP links only."""
    links: list[Carrier] = []
    for number, (toml_number, link) in enumerate(carriers(settings)):
        if link.kind == "serial":
            links.append(SerialLink(number, link, shell.taken, toml_number=toml_number))
            continue
        ip_link = sum(one.link.kind in IP_KINDS for one in links)
        own, peers = me.addresses[ip_link], peers_on(settings, me, ip_link)
        links.append(UdpLink(number, link, own, peers, shell.taken, toml_number=toml_number))
    return links


def peers_on(settings: Settings, me: Node, ip_link: int) -> dict[int, str]:
    """The other nodes' addresses on the link with this number among those that carry IP."""
    return {node.id: node.addresses[ip_link] for node in settings.nodes if node.id != me.id}


def use_nodes(before: Settings, after: Settings, me: Node, shell: MembershipShell) -> None:
    """Go on with the nodes of `after`; the name is no matter here. Raises InvalidRequest: more differs, or a
    node stands in the way.
    """
    same = replace(
        after,
        cluster_name=before.cluster_name,
        nodes=before.nodes,
        quorum=before.quorum,
        revision=before.revision,
        highest_id=before.highest_id,
    )
    if same != before:
        parts = ("cluster_id", "timers", "links", "ports", "witness")
        names = [name for name in parts if getattr(same, name) != getattr(before, name)]
        what = f"more than the nodes has changed ({', '.join(names) or 'see [cluster]'})"
        raise InvalidRequest(what=what, remedy="restart ha-messaging for that, one node after the other")
    mine = after.node(me.name)
    if mine is None or replace(mine, votes=me.votes) != me:  # votes are changed by the DC
        raise InvalidRequest(what="this node itself has changed", remedy="restart ha-messaging here")
    shell.use_nodes(configured_nodes(after))
    ip_links = [link for link in shell.links if link.link.kind in IP_KINDS]
    for ip_link, link in enumerate(ip_links):
        link.use_peers(peers_on(after, me, ip_link))


def shell_of(
    settings: Settings,
    me: Node,
    keyring: Keyring,
    store: Store,
    durable: Durable,
    *,
    incarnation: int,
    boot_token: BootToken,
    clock: Clock,
    restart: Callable[[str], None],
    end_run: Callable[[str], None],
    lease_word: WordFile | None = None,
) -> MembershipShell:
    """Everything put together; links are not open yet."""
    config = config_of(settings, me, keyring)
    start = Start(
        incarnation=incarnation,
        boot_token=boot_token,
        durable=durable,
        all_seen=store.all_seen,
        met=store.met,
        first_sequence=secrets.randbits(31),
        former_nodes=store.node_lists(node_list(config.nodes)),
    )
    session = secrets.token_bytes(16)
    shell = MembershipShell(
        core=MembershipCore(config, start, random.SystemRandom(), clock.now_ns()),
        gate=Gate(
            cluster_id=settings.cluster_id,
            node_id=me.id,
            nodes=[node.id for node in settings.nodes],
            keyring=keyring,
            seen=known_runs(store.seen(), durable.runs),
            session=session,
        ),
        sealer=Sealer(
            cluster_id=settings.cluster_id,
            node_id=me.id,
            session=session,
            incarnation=incarnation,
            keyring=keyring,
        ),
        store=store,
        clock=clock,
        restart=restart,
        end_run=end_run,
        lease_word=lease_word,
    )
    shell.links = links_of(settings, me, shell)
    if settings.witness is not None:
        sync = SyncCalls(me.id, shell.ask_witness, shell.dispatch)
        client = _witness(
            settings, settings.witness, me, keyring, sync.answered, incarnation, boot_token, clock
        )
        shell.witness, shell.sync = client, sync
    return shell


def _witness(
    settings: Settings,
    witness: Witness,
    me: Node,
    keyring: Keyring,
    answered: Callable[[WitnessAnswered], None],
    incarnation: int,
    boot_token: BootToken,
    clock: Clock,
) -> WitnessClient:
    if witness.device:
        core = DiskWitness(
            me.id,
            cluster=settings.cluster_id,
            boot=bytes.fromhex(boot_token),
            gather_ns=max(GATHER_NS, 2 * settings.timers.keepalive_ms * MS),
        )
        names = {int(node.id): node.name for node in settings.nodes}
        return QdiskClient(
            witness.device, core, node=me.id, names=names, answered=answered, now_ns=clock.now_ns
        )
    return QnetClient(
        witness.address,
        witness.port,
        cluster_id=settings.cluster_id,
        node_id=me.id,
        incarnation=incarnation,
        keyring=keyring,
        answered=answered,
    )
