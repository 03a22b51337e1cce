"""`hacli corosync add-node|del-node|link …`: the nodelist and links of corosync.conf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cli.commands.corosync import conf_path, conf_text
from cli.context import EXIT_OK, Context, UsageError
from cli.grammar import corosync_nodes
from cli.workspace import write_atomically
from hacluster.digits import is_count

LINK_USAGE: Final = (
    "corosync link show | add NODE=ADDR… [options NAME=VALUE…] | remove NUMBER"
    " | update NUMBER [NODE=ADDR…] [options NAME=[VALUE]…]"
)


def add_node(context: Context, words: Sequence[str]) -> int:
    """`add-node ADDR[,ADDR]… [NAME]`: in this node's file; corosync on the new node is to get the same."""
    if not 1 <= len(words) <= 2:
        raise UsageError(
            what="an address for each link is needed", usage="corosync add-node ADDR[,ADDR]… [NAME]"
        )
    addresses = tuple(one for one in words[0].split(",") if one)
    name = words[1] if len(words) == 2 else ""
    path = conf_path(context)
    return _write(context, corosync_nodes.add_node(conf_text(context), addresses, name, source=str(path)))


def del_node(context: Context, words: Sequence[str]) -> int:
    """`del-node NAME|ADDR|ID`."""
    if len(words) != 1:
        raise UsageError(what="name one node", usage="corosync del-node NAME|ADDR|ID")
    path = conf_path(context)
    return _write(context, corosync_nodes.remove_node(conf_text(context), words[0], source=str(path)))


def link(context: Context, words: Sequence[str]) -> int:
    """`link show|add|update|remove`."""
    text, source = conf_text(context), str(conf_path(context))
    match tuple(words):
        case ("show",) | ():
            return _show(context, text, source)
        case ("add", *rest) if rest:
            addresses, options = _pairs(rest)
            changed, number = corosync_nodes.add_link(text, addresses, options, source=source)
            context.print(f"link {number}")
            return _write(context, changed)
        case ("update", number, *rest) if rest and is_count(number):
            addresses, options = _pairs(rest)
            return _write(
                context,
                corosync_nodes.update_link(text, int(number), addresses, options, source=source),
            )
        case ("remove", number) if is_count(number):
            return _write(context, corosync_nodes.remove_link(text, int(number), source=source))
        case _:
            raise UsageError(what="not understood", usage=LINK_USAGE)


def _pairs(words: Sequence[str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """NODE=ADDR words, and the NAME=VALUE words that follow `options`. Raises UsageError."""
    found: tuple[dict[str, str], dict[str, str]] = ({}, {})
    which = 0
    for word in words:
        if word == "options" and not which:
            which = 1
            continue
        name, equals, value = word.partition("=")
        if not name or not equals or (not value and not which):
            raise UsageError(
                what=f"{word!r}: {('NODE=ADDR', 'NAME=VALUE')[which]} is needed", usage=LINK_USAGE
            )
        if name in found[which]:
            raise UsageError(what=f"{name} is given twice", usage=LINK_USAGE)
        found[which][name] = value
    return found


def _show(context: Context, text: str, source: str) -> int:
    peers = corosync_nodes.peers(text, source=source)
    for number in sorted({number for peer in peers for number in peer.links}):
        context.print(f"link {number}:")
        for peer in peers:
            if number in peer.links:
                context.print(f"  node {peer.label}: {peer.links[number]}")
        options = corosync_nodes.link_options(text, number, source=source)
        for name, value in options.items():
            context.print(f"  {name}: {value}")
    return EXIT_OK


def _write(context: Context, text: str) -> int:
    path = conf_path(context)
    if text == conf_text(context):
        context.info("nothing was changed")
        return EXIT_OK
    write_atomically(path, text.encode())
    context.info("put the same on the other nodes (`hacli corosync push`), then `hacli corosync reload`")
    return EXIT_OK
