"""`hacli cluster`: make the files of a new cluster, and keys."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cli.cluster_files import copy_hint, new_authkeys, write_cluster
from cli.context import EXIT_OK, Context, UsageError
from hacluster.durations import parse_ms
from hacluster.errors import InvalidRequest
from hacluster.settings import NODE_NAME, Link, Node, Quorum, Settings, Timers
from hacluster.vocabulary.ids import NodeId, NodeName

_USAGE: Final = (
    "cluster init --name NAME --node NODE=ADDR[,ADDR]… … --output DIR [--keepalive T] [--deadtime T]"
)


def take_options(
    words: Sequence[str], known: Sequence[str], usage: str
) -> tuple[dict[str, list[str]], list[str]]:
    """`--name value` and `--name=value` words -> (values by name, the other words). Raises UsageError."""
    values: dict[str, list[str]] = {}
    rest: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if not word.startswith("--"):
            rest.append(word)
            continue
        name, equals, value = word.partition("=")
        if name not in known:
            raise UsageError(what=f"{name} is not known here", usage=usage)
        if not equals:
            if at >= len(words):
                raise UsageError(what=f"{name} needs a value", usage=usage)
            value = words[at]
            at += 1
        values.setdefault(name, []).append(value)
    return values, rest


def node_addresses(values: Sequence[str], usage: str) -> dict[str, tuple[str, ...]]:
    """`NAME=ADDR[,ADDR]…` words -> addresses by node, in order. Raises UsageError."""
    found: dict[str, tuple[str, ...]] = {}
    for value in values:
        name, _, text = value.partition("=")
        addresses = tuple(one for one in text.split(",") if one)
        if not NODE_NAME.fullmatch(name) or not addresses:
            raise UsageError(
                what=f"--node {value}: NAME=ADDRESS is needed, NAME as `uname -n` prints it", usage=usage
            )
        for one in addresses:
            try:
                ipaddress.ip_address(one)
            except ValueError:
                raise UsageError(what=f"--node {value}: {one!r} is not an IP address", usage=usage) from None
        if name in found:
            raise UsageError(what=f"node {name} is given twice", usage=usage)
        found[name] = addresses
    return found


def init(context: Context, words: Sequence[str]) -> int:
    """`init --name NAME --node NODE=ADDR[,ADDR]… --output DIR`. Nothing is overwritten."""
    known = ("--name", "--node", "--output", "--keepalive", "--deadtime")
    values, rest = take_options(words, known, _USAGE)
    if rest or not all(values.get(name) for name in ("--name", "--node", "--output")):
        raise UsageError(
            what=f"{rest[0]!r} is not understood" if rest else "name, nodes and output are needed",
            usage=_USAGE,
        )
    nodes = node_addresses(values["--node"], _USAGE)
    counts = {len(addresses) for addresses in nodes.values()}
    if len(counts) != 1:
        raise UsageError(what="every node needs as many addresses as the others: one a link", usage=_USAGE)
    seen = [address for addresses in nodes.values() for address in addresses]
    if len(set(seen)) != len(seen):
        raise UsageError(what="an address is given twice", usage=_USAGE)
    made = Settings(
        cluster_name=values["--name"][-1],
        cluster_id=secrets.token_bytes(16),
        timers=_timers(values),
        quorum=Quorum(two_node=len(nodes) == 2, wait_for_all=len(nodes) == 2),
        links=(Link(kind="udp"),) * counts.pop(),
        nodes=tuple(
            Node(id=NodeId(number), name=NodeName(name), addresses=addresses)
            for number, (name, addresses) in enumerate(nodes.items(), start=1)
        ),
    )
    heading = "Made by `hacli cluster init`. The same file lies on every node."
    folders = write_cluster(Path(values["--output"][-1]), made, authkeys=new_authkeys(), heading=heading)
    for folder in folders:
        context.print(str(folder))
    context.info(copy_hint(folders))
    return EXIT_OK


def _timers(values: Mapping[str, list[str]]) -> Timers:
    """Times that were given; the others follow from deadtime as settings has them."""
    plain = Timers()
    times = {"--keepalive": plain.keepalive_ms, "--deadtime": plain.deadtime_ms}
    for name in times:
        if name in values:
            try:
                times[name] = parse_ms(values[name][-1])
            except ValueError as error:
                raise UsageError(what=f"{name}: {error}", usage=_USAGE) from None
    deadtime = times["--deadtime"]
    return Timers(
        keepalive_ms=times["--keepalive"],
        deadtime_ms=deadtime,
        warntime_ms=deadtime // 2,
        initdead_ms=max(30_000, 2 * deadtime),
        deadping_ms=deadtime,
    )


def force_quorum(context: Context, words: Sequence[str]) -> int:
    """`force-quorum`: whoever is not here must be off; what they know and these do not is given up."""
    if words:
        raise UsageError(what="force-quorum takes no words", usage="cluster force-quorum")
    if not context.options.force:
        raise InvalidRequest(
            what="the nodes that are here would count as the whole cluster: the others must be off, and what "
            "was configured there and is not known here would be lost (it is reported when they return)",
            remedy="hacli -F cluster force-quorum",
        )
    context.client.force_quorum()
    context.print("the nodes that are here are the cluster now")
    return EXIT_OK
