"""`hacli cluster remove NODE`: drained, without a vote, stopped, out of every cluster.toml, revoked.

Each step looks whether it is done already: the same command again goes on where it was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from cli.authority import AuthorityFolder
from cli.certificates import make_crl
from cli.commands.changes import change, read, view
from cli.commands.cluster import take_options
from cli.commands.cluster_join import this_node, unmake_voter
from cli.commands.node import standby_until_reboot
from cli.context import EXIT_OK, Context, UsageError
from cli.grammar.document import section
from cli.grammar.edits import delete as delete_objects
from cli.members import Members, rendered
from crm.cib.model import Element
from hacluster.errors import InvalidRequest, Timeout
from hacluster.settings import Node, Settings
from hacluster.shared_files import SharedFiles
from hacluster.v1 import crm_pb2

PAUSE_S: Final = 0.5
USAGE: Final = "cluster remove NODE [--ca DIR | --keep-certificate]"


def remove(context: Context, words: Sequence[str]) -> int:
    """`remove NODE`: on another member. Refused when the rest would have no quorum, unless forced."""
    plain = [word for word in words if word != "--keep-certificate"]
    values, rest = take_options(plain, ("--ca",), USAGE)
    if len(rest) != 1:
        raise UsageError(what="name one node", usage=USAGE)
    members = Members(context.paths, this_node(context))
    node = members.settings.node(rest[0])
    if node is None:
        raise InvalidRequest(what=f"there is no node {rest[0]} in {context.paths.cluster_toml}")
    if node.name == members.me:
        raise InvalidRequest(what="a node does not remove itself", remedy="run it on another member")
    folder = None
    if "--keep-certificate" not in words:
        folder = AuthorityFolder(context.paths, values.get("--ca", [""])[-1])
        folder.load()
    _check_quorum(context, node)
    if _is_member(context, node.name):
        _drain(context, node.name)
    else:
        _check_is_off(context, node.name)
    now = context.client.voters()
    if any(one.node_id == node.id for one in (*now.voters, *now.next)):
        context.info(f"{node.name} loses its vote")
        unmake_voter(context, members, node)
    if _is_member(context, node.name):
        context.info(f"{node.name} leaves")
        asyncio.run(members.stop_node(node.name))
        _until(context, lambda: not _is_member(context, node.name), f"{node.name} to leave")
    _take_out(context, members, node, folder)
    _forget(context, node.name)
    context.print(f"{node.name} is removed")
    context.info(
        f"on {node.name}: systemctl disable --now hacluster.target ha-lrm ha-messaging ha-crm; "
        "rm -r /etc/hacluster /var/lib/hacluster"
    )
    return EXIT_OK


def _state(context: Context, name: str) -> crm_pb2.ClusterNode | None:
    return next((one for one in context.client.status().nodes if one.name == name), None)


def _is_member(context: Context, name: str) -> bool:
    found = _state(context, name)
    return found is not None and found.state == "member"


def _check_quorum(context: Context, node: Node) -> None:
    """Whether those that are here would be enough without it. Raises InvalidRequest."""
    now, status = context.client.voters(), context.client.status()
    votes = {int(one.node_id): int(one.votes) for one in now.voters if one.node_id != node.id}
    here = {int(one.id) for one in status.nodes if one.state == "member"}
    total, present = sum(votes.values()), sum(n for one, n in votes.items() if one in here)
    enough = 2 * present > total and status.quorate
    if not enough and not context.options.force:
        raise InvalidRequest(
            what=f"without {node.name} {present} of {total} votes would be here: no quorum",
            remedy="bring the others back first; or hacli -F cluster remove",
        )
    if len(votes) == 1:
        context.warning("one voter is left: nobody takes over from it")


def _drain(context: Context, name: str) -> None:
    """Standby, until nothing runs there."""
    context.info(f"{name} goes to standby")
    standby_until_reboot(context, name, acts=False)  # an empty one is as welcome
    _until(context, lambda: not _runs_something(context, name), f"the resources to leave {name}")


def _runs_something(context: Context, name: str) -> bool:
    shown = view(context)
    return any(place.node == name for places in shown.placements().values() for place in places)


def _check_is_off(context: Context, name: str) -> None:
    """A node that is not here must be known to run nothing. Raises InvalidRequest."""
    state = next((line.state for line in view(context).nodes() if line.name == name), "OFFLINE")
    if state.upper().startswith("UNCLEAN") and not context.options.force:
        raise InvalidRequest(
            what=f"{name} is {state}: nobody knows what it runs",
            remedy=f"hacli fence confirm {name}, when it is off",
        )


def _until(context: Context, holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + context.options.wait_ms / 1_000
    while not holds():
        if time.monotonic() > end:
            raise Timeout(what=f"{what} (the same command again goes on)", after_ms=context.options.wait_ms)
        time.sleep(PAUSE_S)


def _take_out(context: Context, members: Members, node: Node, folder: AuthorityFolder | None) -> None:
    serials = folder.serials(node.name) if folder is not None else ()
    if folder is not None and not serials:
        context.warning(
            f"{folder.folder / 'issued'} has no certificate of {node.name}: none is revoked "
            "(it is of no use to a node that is in no cluster.toml)"
        )

    def changed(settings: Settings, files: SharedFiles) -> SharedFiles:
        nodes = tuple(one for one in settings.nodes if one.name != node.name)
        highest = max(settings.highest_id, *(int(one.id) for one in settings.nodes))
        after = replace(settings, nodes=nodes, highest_id=highest)
        crl = make_crl(folder.load(), files.crl, serials) if folder is not None and serials else files.crl
        return replace(files, cluster_toml=rendered(after), crl=crl)

    dc = context.client.dc() or members.me
    done = asyncio.run(members.change(changed, first=dc))
    if done.away:
        context.warning(f"{' '.join(done.away)}: away, will hear of it on return")


def _forget(context: Context, name: str) -> None:
    """Out of the CIB, once the DC does not see it any more."""
    _until(context, lambda: _state(context, name) is None, f"the DC to forget {name}")
    cib = read(context)
    if without_node(cib, name) == cib:
        return
    if gone := locations_of(cib, name):
        context.info(f"constraints about {name} go with it: {' '.join(gone)}")
    change(context, f"hacli cluster remove {name}", lambda now: without_node(now, name))


def locations_of(cib: Element, name: str) -> list[str]:
    """The ids of location constraints that are about this node alone: what its rules say stays."""
    return [one.id for one in section(cib, "constraints").all("rsc_location") if one.get("node") == name]


def without_node(cib: Element, name: str) -> Element:
    """The CIB without the node and the location constraints that name it."""
    configured = any(node.get("uname") == name for node in section(cib, "nodes").all("node"))
    return delete_objects(cib, [*locations_of(cib, name), *([name] if configured else [])])
