"""`hacli node` and `hacli maintenance`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cli import goals
from cli.commands.changes import change, edit_set, node_of, read, scoped, set_pair, this_node, view_of
from cli.context import EXIT_OK, Context, UsageError
from cli.grammar.definitions import Definition, parse_words
from cli.grammar.document import section
from cli.grammar.edits import delete as delete_objects
from cli.grammar.load import Mode, load
from cli.grammar.pairs import transient, without_transient
from cli.grammar.pairs import value as pair_value
from cli.safely import change_safely, check_safety, not_served_any_more
from crm.cib.model import Element
from hacluster import settings
from hacluster.errors import InvalidRequest, NotFound

_CLIENT: Final = "hacli node"


def _one(context: Context, words: Sequence[str], usage: str) -> str:
    if len(words) > 1:
        raise UsageError(what="name one node", usage=usage)
    return words[0] if words else this_node(context)


def _node_name(cib: Element, name: str) -> str:
    node_of(cib, name)
    return name


def show(context: Context, words: Sequence[str]) -> int:
    """`show [NODE]`: nodes with their permanent attributes."""
    cib = read(context)
    states = {} if context.offline else {line.name: line.state for line in view_of(cib).nodes()}
    nodes = [node_of(cib, name) for name in words] if words else section(cib, "nodes").all("node")
    if context.options.structured:
        rows = [_data(one, one.get("uname"), states.get(one.get("uname"), "")) for one in nodes]
        context.emit("nodes", {"nodes": rows})
        return EXIT_OK
    for node in nodes:
        name = node.get("uname")
        state = "" if context.offline else f" {states.get(name, '')}"
        number = f"({node.id})" if node.id != name else ""
        context.print(f"{name}{number}: {node.get('type', 'member')}{state}")
        for one in node.all("instance_attributes", "utilization"):
            pairs = [f"{pair.get('name')}={pair.get('value')}" for pair in one.all("nvpair")]
            if pairs:
                words = pairs if one.tag == "instance_attributes" else ["utilization", *pairs]
                context.print("\t" + " ".join(words))
    return EXIT_OK


def _data(node: Element | None, name: str, state: str) -> dict[str, object]:
    pairs = [
        {"kind": one.tag, "name": pair.get("name"), "value": pair.get("value")}
        for one in (node.all("instance_attributes", "utilization") if node is not None else ())
        for pair in one.all("nvpair")
    ]
    identifier, kind = (node.id, node.get("type", "member")) if node is not None else ("", "remote")
    return {"name": name, "id": identifier, "type": kind, "state": state, "attributes": pairs}


def status(context: Context, words: Sequence[str]) -> int:
    """`status [NODE]`."""
    cib = read(context)
    for name in words:
        node_of(cib, name)
    lines = [line for line in view_of(cib).nodes() if not words or line.name in words]
    if context.options.structured:
        nodes = {one.get("uname"): one for one in section(cib, "nodes").all("node")}
        context.emit("nodes", {"nodes": [_data(nodes.get(one.name), one.name, one.state) for one in lines]})
        return EXIT_OK
    for line in lines:
        context.print(f"{line.name}: {line.state}")
    return EXIT_OK


def _set(context: Context, verb: str, name: str, attribute: str, value: str | None) -> int:
    change(
        context,
        f"{_CLIENT} {verb}",
        lambda cib: set_pair(cib, _node_name(cib, name), "instance_attributes", attribute, value),
    )
    return EXIT_OK


def standby(context: Context, words: Sequence[str]) -> int:
    """`standby [NODE] [reboot|forever]`."""
    lifetime = words[-1] if words and words[-1] in ("reboot", "forever") else ""
    name = _one(context, words[:-1] if lifetime else words, "standby [NODE] [reboot|forever]")
    node_of(read(context), name)
    if lifetime == "reboot":
        if context.offline:
            raise InvalidRequest(what="standby until reboot needs a running cluster")
        standby_until_reboot(context, name)
        context.goals.append(goals.empty(name))
        return EXIT_OK
    change_safely(
        context,
        f"{_CLIENT} standby",
        lambda cib: set_pair(cib, _node_name(cib, name), "instance_attributes", "standby", "on"),
        about=(),
        matters=not_served_any_more,
    )
    context.goals.append(goals.empty(name))
    return EXIT_OK


def standby_until_reboot(context: Context, name: str, *, acts: bool = True) -> None:
    """Empty a node until it leaves. `acts`: that nothing happens is said."""
    check_safety(
        context,
        lambda cib: set_pair(cib, _node_name(cib, name), "instance_attributes", "standby", "on"),
        about=(),
        matters=not_served_any_more,
        acts=acts,
    )
    context.client.set_attribute(name, "standby", "on")
    context.changed_cluster = True


def online(context: Context, words: Sequence[str]) -> int:
    """`online [NODE]`: both kinds of standby end."""
    return _end(context, "online", _one(context, words, "online [NODE]"), "standby")


def maintenance(context: Context, words: Sequence[str]) -> int:
    """`maintenance [NODE]`."""
    return _set(context, "maintenance", _one(context, words, "maintenance [NODE]"), "maintenance", "true")


def ready(context: Context, words: Sequence[str]) -> int:
    """`ready [NODE]`: both kinds of maintenance end."""
    return _end(context, "ready", _one(context, words, "ready [NODE]"), "maintenance")


def _end(context: Context, verb: str, name: str, attribute: str) -> int:
    """A state of a node ends: the permanent one, and the one until it leaves, which would prevail."""
    cib = read(context)
    node = node_of(cib, name)
    if context.offline:
        change(
            context,
            f"{_CLIENT} {verb}",
            lambda now: without_transient(
                set_pair(now, _node_name(now, name), "instance_attributes", attribute, "off"), name, attribute
            ),
        )
        return EXIT_OK
    if attribute == "standby" or transient(cib, name, attribute):
        context.client.set_attribute(name, attribute, "")
        context.changed_cluster = True
    if attribute == "maintenance" or pair_value(node, "instance_attributes", attribute):
        return _set(context, verb, name, attribute, "off")
    return EXIT_OK


def attribute(context: Context, words: Sequence[str]) -> int:
    """`attribute NODE set|delete|show NAME [VALUE]`."""
    return edit_set(context, words, "instance_attributes", f"{_CLIENT} attribute", _node_name)


def utilization(context: Context, words: Sequence[str]) -> int:
    """`utilization NODE set|delete|show NAME [VALUE]`."""
    return edit_set(context, words, "utilization", f"{_CLIENT} utilization", _node_name)


def status_attr(context: Context, words: Sequence[str]) -> int:
    """`status-attr NODE set|delete|show NAME [VALUE]`: transient attributes."""
    match tuple(words):
        case (name, "set", attribute, value) if not context.offline:
            node_of(read(context), name)
            context.client.set_attribute(name, attribute, value)
        case (name, "delete" | "del", attribute) if not context.offline:
            node_of(read(context), name)
            context.client.set_attribute(name, attribute, "")
        case (name, "show", attribute):
            value = transient(read(context), name, attribute)
            if not value:
                raise InvalidRequest(what=f"{name} has no transient attribute {attribute!r}")
            context.print(scoped("status", attribute, value))
        case _:
            raise UsageError(
                what="status-attr is not understood (setting needs a running cluster)",
                usage="status-attr NODE set NAME VALUE | delete NAME | show NAME",
            )
    return EXIT_OK


def server(context: Context, words: Sequence[str]) -> int:
    """`server [NODE]`: the addresses that cluster.toml has for it, or for all; of a CIB file the names."""
    if len(words) > 1:
        raise UsageError(what="name one node", usage="server [NODE]")
    if context.offline:
        cib = read(context)
        for node in [node_of(cib, name) for name in words] or section(cib, "nodes").all("node"):
            context.print(node.get("uname"))
        return EXIT_OK
    known = settings.load(context.paths.cluster_toml).nodes
    chosen = [one for one in known if not words or one.name == words[0]]
    if not chosen:
        raise NotFound(kind="node", name=words[0] if words else "")
    for one in chosen:
        context.print(f"{one.name}: {' '.join(one.addresses)}")
    return EXIT_OK


def clearstate(context: Context, words: Sequence[str]) -> int:
    """`clearstate NODE`: the node is off, as sure as if it had been fenced; refused while it is heard."""
    if len(words) != 1:
        raise UsageError(what="name the node that is off", usage="clearstate NODE")
    name = words[0]
    if context.offline:
        raise InvalidRequest(what="only a running cluster can be told that a node is off")
    node_of(read(context), name)
    context.client.confirm_fenced(name)
    context.print(f"{name} counts as fenced: what waited for that goes on")
    return EXIT_OK


def delete(context: Context, words: Sequence[str]) -> int:
    """`delete NODE`: from the configuration; refused while it is a member."""
    if len(words) != 1:
        raise UsageError(what="name one node", usage="delete NODE")
    name = words[0]
    cib = read(context)
    node_of(cib, name)
    state = next((line.state for line in view_of(cib).nodes() if line.name == name), "OFFLINE")
    if not context.offline and state != "OFFLINE" and not context.options.force:
        raise InvalidRequest(what=f"{name} is {state}", remedy="stop its services first, or use -F")
    change(context, f"{_CLIENT} delete", lambda now: delete_objects(now, [name]))
    return EXIT_OK


def _mode(context: Context, value: str) -> int:
    item = parse_words(("property", f"maintenance-mode={value}"))
    definitions = (Definition(element=item, line=0),)
    change(
        context,
        f"hacli maintenance {value}",
        lambda cib: load(cib, definitions, source="maintenance", mode=Mode.UPDATE).cib,
    )
    return EXIT_OK


def maintenance_on(context: Context, _words: Sequence[str]) -> int:
    """`maintenance on`."""
    return _mode(context, "true")


def maintenance_off(context: Context, _words: Sequence[str]) -> int:
    """`maintenance off`."""
    return _mode(context, "false")
