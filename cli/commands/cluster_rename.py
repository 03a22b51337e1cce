"""`hacli cluster rename NAME`: another name for the whole cluster, in cluster.toml of every node."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cli.commands.changes import change, read
from cli.commands.cluster_join import this_node
from cli.context import EXIT_OK, Context, UsageError
from cli.grammar.definitions import parse_text
from cli.grammar.document import section
from cli.grammar.lexer import quoted
from cli.grammar.load import load
from cli.members import Members, rendered
from crm.cib.model import Element
from hacluster.errors import InvalidRequest
from hacluster.settings import BUILTIN, Settings
from hacluster.shared_files import SharedFiles

USAGE: Final = "cluster rename NAME"
PROPERTY: Final = "cluster-name"
LENGTH_MAX: Final = 64


def rename(context: Context, words: Sequence[str]) -> int:
    """`rename NAME`: nothing restarts; the cluster's id, keys and certificates stay as they are."""
    if len(words) != 1:
        raise UsageError(what="one name is needed", usage=USAGE)
    name = words[0]
    if not name.isprintable() or not name.strip() or len(name) > LENGTH_MAX:
        raise UsageError(
            what=f"{name[:LENGTH_MAX]!r} is no name: 1 to {LENGTH_MAX} printable characters", usage=USAGE
        )
    members = Members(context.paths, this_node(context))
    if members.settings.backend != BUILTIN:
        raise InvalidRequest(
            what="the name is corosync's",
            remedy=f"hacli corosync set totem.cluster_name {name}, then push and reload",
        )
    before = members.settings.cluster_name
    if before != name:

        def changed(settings: Settings, files: SharedFiles) -> SharedFiles:
            return replace(files, cluster_toml=rendered(replace(settings, cluster_name=name)))

        done = asyncio.run(members.change(changed, first=context.client.dc() or members.me))
        if done.away:
            context.warning(f"{' '.join(done.away)}: away, will hear of it on return")
    if _property(read(context)) not in ("", name):
        # What agents and rules know as #cluster-name.
        definition = parse_text(f"property {PROPERTY}={quoted(name)}", "rename")
        change(
            context, f"hacli cluster rename {name}", lambda cib: load(cib, definition, source="rename").cib
        )
    context.print(f"the cluster is called {name}" + (f", and was {before}" if before != name else " already"))
    return EXIT_OK


def _property(cib: Element) -> str:
    """cluster-name as the CIB has it; empty when it does not."""
    for one in section(cib, "crm_config").all("cluster_property_set"):
        for pair in one.all("nvpair"):
            if pair.get("name") == PROPERTY:
                return pair.get("value")
    return ""
