"""`hacli cluster links`, `cluster quorum`: what ha-messaging and the election say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from cli.commands.status import show as status
from cli.context import EXIT_FAILED, EXIT_OK, Context, UsageError
from hacluster.errors import HaError, InvalidRequest

MOVE_WITHIN_S: Final = 20.0
MOVE_PAUSE_S: Final = 0.2


def links(context: Context, words: Sequence[str]) -> int:
    """`links`: as `status --links`."""
    return status(context, ("--links", *words))


def move_dc(context: Context, words: Sequence[str]) -> int:
    """`move-dc [NODE]`: another node decides from now on; no resource is touched."""
    if len(words) > 1:
        raise UsageError(what="name one node at most", usage="cluster move-dc [NODE]")
    wanted, before = words[0] if words else "", context.client.status().dc
    context.client.move_dc(wanted)
    end = time.monotonic() + min(context.options.wait_ms / 1_000, MOVE_WITHIN_S)
    while time.monotonic() < end:
        now = context.client.status()
        if now.dc and now.dc != before and now.dc == (wanted or now.dc):
            context.print(f"the DC is {now.dc}")
            return EXIT_OK
        time.sleep(MOVE_PAUSE_S)
    context.error(f"the DC is {context.client.status().dc or 'not known'}: no other was elected in time")
    return EXIT_FAILED


def quorum(context: Context, words: Sequence[str]) -> int:
    """`quorum`: exit status 1 without it."""
    if words:
        raise UsageError(what="quorum takes no arguments", usage="cluster quorum")
    if context.offline:
        raise InvalidRequest(what="only a running cluster has a quorum")
    now = context.client.status()
    votes = {}
    try:
        from hacluster.settings import load

        settings = load(context.paths.cluster_toml)
        votes = {str(node.name): node.votes for node in settings.nodes}
    except HaError as error:
        context.warning(f"votes are not known here: {error}")
    members = [one.name for one in now.nodes if one.state == "member"]
    data = {
        "quorate": now.quorate,
        "waiting_for_all": now.waiting_for_all,
        "basis": now.basis,
        "dc": now.dc,
        "view": f"{now.view.counter}.{now.view.coordinator}",
        "votes_total": sum(votes.values()),
        "votes_present": sum(votes.get(name, 0) for name in members),
        "nodes": [{"name": one.name, "state": one.state, "votes": votes.get(one.name)} for one in now.nodes],
    }
    if context.options.structured:
        context.emit("quorum", data)
        return EXIT_OK if now.quorate else EXIT_FAILED
    context.print("partition with quorum" if now.quorate else "partition WITHOUT quorum")
    if now.waiting_for_all:
        context.print("waiting for all nodes after a boot")
    if votes:
        context.print(f"votes: {data['votes_present']} of {data['votes_total']}")
    if any(
        one.name == now.node and one.state == "left" for one in now.nodes
    ):  # what it heard last is no news
        context.print(f"{now.node} is STOPPED: it has left the cluster (`hacli cluster start`)")
        context.print("ask another node who is there")
        return EXIT_OK if now.quorate else EXIT_FAILED
    context.print(
        f"DC: {now.dc}" + (f", because of {now.basis}" if now.basis else "") if now.dc else "DC: none"
    )
    for one in now.nodes:
        context.print(f"  * {one.name}: {one.state}, {votes.get(one.name, '?')} votes")
    return EXIT_OK if now.quorate else EXIT_FAILED
