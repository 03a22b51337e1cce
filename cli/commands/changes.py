"""One small change of the CIB, written at once; tried again when somebody else wrote meanwhile."""

from __future__ import annotations

import os
import pwd
import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cli.context import EXIT_OK, Context, UsageError
from cli.grammar.document import find_resource, not_found, parent_of, resource_not_found, section
from cli.grammar.edits import set_attribute
from cli.grammar.references import id_index, referenced_ids
from cli.workspace import ATTEMPTS_MAX, PAUSE_S, Workspace
from crm.cib.model import Element
from crm.cib.objects import ConflictingChanges
from hacluster.errors import InvalidRequest

if TYPE_CHECKING:
    from cli.render.cluster_view import ClusterView


def change(context: Context, client: str, function: Callable[[Element], Element]) -> Element:
    """Read, change, write; the new CIB. `function` may run several times. Raises Conflict in the end."""
    for attempt in range(1, ATTEMPTS_MAX + 1):
        workspace = Workspace.begin(context.source())
        workspace.cib = function(workspace.cib)
        try:
            if workspace.commit(client_text(context, client), confirm=context.confirm_wanted()):
                context.changed_cluster = True
            return workspace.cib
        except ConflictingChanges:  # about the same object: what is wanted has to be worked out again
            if attempt == ATTEMPTS_MAX:
                raise
            time.sleep(random.uniform(0, PAUSE_S * attempt))  # noqa: S311 (no secret)
    raise AssertionError("unreachable")


def client_text(context: Context, client: str) -> str:
    """Who changes what with which program, and why: for the record of the cluster."""
    if context.offline:
        return client
    reason = f": {context.options.reason}" if context.options.reason else ""
    return f"{user_name()}: {client}{reason}"


def user_name() -> str:
    """The name of whoever runs this; its number when it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def read(context: Context) -> Element:
    """The CIB as it is now."""
    return context.source().read().cib


def view(context: Context) -> ClusterView:
    """The CIB as it is now, read as the scheduler reads it."""
    return view_of(read(context))


def view_of(cib: Element) -> ClusterView:
    """That CIB, read as the scheduler would now."""
    from cli.render.cluster_view import ClusterView  # half of the scheduler comes with it

    return ClusterView(cib, int(time.time()))


def resource_of(cib: Element, name: str) -> Element:
    """The resource. Raises NotFound."""
    found = find_resource(cib, name)
    if found is None:
        raise resource_not_found(cib, name)
    return found


def node_of(cib: Element, name: str) -> Element:
    """The <node>. Raises NotFound."""
    for one in section(cib, "nodes").all("node"):
        if one.get("uname") == name:
            return one
    raise not_found("node", name, (one.get("uname") for one in section(cib, "nodes").all("node")))


def this_node(context: Context) -> str:
    """--node, HACLUSTER_NODE, else `uname -n`. On a CIB file there is no "this node"."""
    if context.options.node:
        return context.options.node
    if context.offline:
        raise UsageError(what="name the node: a CIB file has no node of its own")
    return os.uname().nodename


def edit_set(
    context: Context, words: Sequence[str], tag: str, client: str, target: Callable[[Element, str], str]
) -> int:
    """`NAME set|delete|show ATTRIBUTE [VALUE]` on a resource's or node's set; `target` checks the name."""
    match tuple(words):
        case (name, "show"):
            return _print(context, target(read(context), name), tag, "")
        case (name, "show", attribute):
            return _print(context, target(read(context), name), tag, attribute)
        case (name, "set", attribute, value):
            change(context, client, lambda cib: set_pair(cib, target(cib, name), tag, attribute, value))
        case (name, "delete" | "del", attribute):
            change(context, client, lambda cib: set_pair(cib, target(cib, name), tag, attribute, None))
        case _:
            raise UsageError(
                what="not understood", usage="NAME set ATTRIBUTE VALUE | delete ATTRIBUTE | show [ATTRIBUTE]"
            )
    return EXIT_OK


def set_pair(cib: Element, name: str, tag: str, attribute: str, value: str | None) -> Element:
    """Set or remove one pair; a set that a removal leaves empty stays, as it does with crmsh."""
    node = next((one for one in section(cib, "nodes").all("node") if one.get("uname") == name), None)
    if node is None or find_resource(cib, name) is not None:
        return set_attribute(cib, name, tag, attribute, value)
    set_id = f"nodes-{node.id}" + ("" if tag == "instance_attributes" else f"-{tag}")
    return set_attribute(cib, name, tag, attribute, value, set_id=set_id, pair_id=f"{set_id}-{attribute}")


def without_empty_sets(cib: Element, name: str, tag: str) -> Element:
    """Remove empty sets of that kind, which nobody refers to, from a resource."""
    kept = referenced_ids(cib)

    def visit(item: Element) -> Element:
        if item.id == name:
            item = item.mapped(
                lambda one: (
                    None if one.tag == tag and not one.children and one.id not in kept and one.id else one
                )
            )
        return item.with_children(tuple(map(visit, item.children))) if item.children else item

    return cib.mapped(lambda part: visit(part) if part.tag == "configuration" else part)


def _print(context: Context, name: str, tag: str, attribute: str) -> int:
    cib = read(context)
    resource = find_resource(cib, name)
    item = resource or node_of(cib, name)
    pairs = _pairs(cib, item, tag)
    if context.options.structured and (not attribute or attribute in pairs):
        rows = [{"name": key, "value": value} for key, value in pairs.items() if attribute in ("", key)]
        context.emit("attributes", {"of": name, "attributes": rows})
        return EXIT_OK
    if not attribute:
        for key, value in pairs.items():
            context.print(f"{key}={value}")
        return EXIT_OK
    if attribute not in pairs and tag == "meta_attributes":
        pairs = _inherited(cib, item)
    if attribute not in pairs:
        raise InvalidRequest(what=f"{name} has no {attribute!r}")
    value = pairs[attribute]
    context.print(value if resource is not None else scoped("nodes", attribute, value))
    return EXIT_OK


def scoped(scope: str, name: str, value: str) -> str:
    """An attribute of a node as crm_attribute and crmsh print it: scripts cut the value out of that."""
    return f"scope={scope}  name={name} value={value}"


def _inherited(cib: Element, item: Element) -> dict[str, str]:
    """What its containers say, and where they are silent rsc_defaults; sets with rules aside."""
    pairs: dict[str, str] = {}
    for one in section(cib, "rsc_defaults").all("meta_attributes"):
        if not one.all("rule"):
            pairs |= {pair.get("name"): pair.get("value") for pair in one.all("nvpair")}
    holders: list[Element] = []
    while (holder := parent_of(cib, (holders or [item])[-1].id)) is not None:
        holders.append(holder)
    for holder in reversed(holders):
        pairs |= _pairs(cib, holder, "meta_attributes")
    return pairs


def _pairs(cib: Element, item: Element, tag: str) -> dict[str, str]:
    """What an object's sets of a kind say, those of its template before its own; references are followed."""
    ids = id_index(cib)
    pairs: dict[str, str] = {}
    for holder in (ids.get(item.get("template")), item):
        for one in holder.all(tag) if holder is not None else ():
            one = ids.get(one.get("id-ref"), one)
            for pair in one.all("nvpair"):
                meant = ids.get(pair.get("id-ref"), pair)
                pairs[pair.get("name") or meant.get("name")] = meant.get("value")
    return pairs
