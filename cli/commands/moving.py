"""`hacli resource move`, `ban`, `clear`: a preference that goes again once it has done its work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cli import goals
from cli.commands.changes import change, node_of, read, resource_of, view_of
from cli.context import EXIT_NOT_REACHED, EXIT_OK, Context, UsageError
from cli.goals import Goal
from cli.grammar import moves
from cli.options import duration_ms
from cli.safely import change_safely, moves_along
from crm.cib.model import Element
from hacluster.errors import InvalidRequest

_CLIENT: Final = "hacli resource"
_MOVE: Final = "move RSC [NODE] [LIFETIME | --until TIME | --keep] [force]"
_BAN: Final = "ban RSC [NODE] [LIFETIME | --until TIME | --keep] [force]"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What was typed. `end`: when the constraint stops to count, empty for never."""

    name: str
    node: str = ""
    end: str = ""
    keep: bool = False


def _wish(context: Context, words: Sequence[str], usage: str) -> _Wish:
    rest, end, keep = list(words), "", False
    plain: list[str] = []
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word in ("force", "-f", "--force"):
            context.options.force = True
        elif word == "--keep":
            keep = True
        elif name == "--until":
            if not equals and not rest:
                raise UsageError(what="--until needs a time", usage=usage)
            end = _until(value if equals else rest.pop(0))
        elif plain and word.startswith("P") and any(character.isdigit() for character in word):
            end = moves.end_of(word, datetime.now(UTC))
        else:
            plain.append(word)
    if not 1 <= len(plain) <= 2:
        raise UsageError(what="name a resource, and at most one node", usage=usage)
    return _Wish(name=plain[0], node=plain[1] if len(plain) == 2 else "", end=end, keep=keep)


def _until(text: str) -> str:
    if text.startswith("P"):
        return moves.end_of(text, datetime.now(UTC))
    until = datetime.now(UTC) + timedelta(milliseconds=duration_ms("--until", text))
    return until.strftime("%Y-%m-%d %H:%M:%SZ")


def _present_node(cib: Element, name: str) -> str:
    nodes = view_of(cib).active_nodes(resource_of(cib, name))
    if len(nodes) != 1:
        raise InvalidRequest(
            what=f"{name} is {'not running' if not nodes else 'running on ' + ', '.join(nodes)}",
            remedy="name the node",
        )
    return nodes[0]


def move(context: Context, words: Sequence[str]) -> int:
    """`move RSC [NODE] …`. Without NODE it is banned from where it runs."""
    wish = _wish(context, words, _MOVE)
    if not wish.node:
        return _banned(context, wish, "move")

    def edit(cib: Element) -> Element:
        resource_of(cib, wish.name)
        node_of(cib, wish.node)
        return moves.prefer(cib, wish.name, wish.node, wish.end)

    goal = goals.on_node(wish.name, wish.node)
    return _carry_out(context, wish, "move", edit, goal, f"cli-prefer-{wish.name}")


def ban(context: Context, words: Sequence[str]) -> int:
    """`ban RSC [NODE] …`."""
    wish = _wish(context, words, _BAN)
    return _banned(context, wish, "ban")


def _banned(context: Context, wish: _Wish, verb: str) -> int:
    cib = read(context)
    resource_of(cib, wish.name)
    if wish.node:
        node_of(cib, wish.node)
    node = wish.node or _present_node(cib, wish.name)
    # A ban is meant to last; only a move away, which is one for the while of the move, goes by itself.
    keep = wish.keep or verb == "ban"
    wish = _Wish(name=wish.name, node=node, end=wish.end, keep=keep)

    def edit(now: Element) -> Element:
        return moves.ban(now, wish.name, node, wish.end)

    goal = goals.not_on_node(wish.name, node)
    return _carry_out(context, wish, verb, edit, goal, f"cli-ban-{wish.name}-on-{node}")


def _carry_out(
    context: Context,
    wish: _Wish,
    verb: str,
    edit: Callable[[Element], Element],
    goal: Goal,
    constraint: str,
) -> int:
    def tidy(cib: Element) -> Element:
        return edit(moves.without_expired(cib, datetime.now(UTC)))

    change_safely(context, f"{_CLIENT} {verb}", tidy, about=(wish.name,), unasked=moves_along)
    context.goals.append(goal)
    if wish.end:
        context.info(
            f"the constraint {constraint} counts until {wish.end}, or `hacli resource clear {wish.name}`"
        )
    elif wish.keep or context.offline:
        context.info(f"the constraint {constraint} stays until `hacli resource clear {wish.name}`")
    else:
        return _clean_up(context, wish.name, goal, constraint)
    return EXIT_OK


def _clean_up(context: Context, name: str, goal: Goal, constraint: str) -> int:
    """Wait for the move, then take the constraint away, if the resource stays where it is without it."""
    from cli.planning import make_plan
    from cli.waiting import wait_until_idle

    stays = f"the constraint {constraint} stays until `hacli resource clear {name}`"
    if wait_until_idle(context, context.options.wait_ms, f"moving {name}") != EXIT_OK:
        context.info(stays)
        return EXIT_NOT_REACHED
    cib = read(context)
    unmet = goal(view_of(cib))
    if unmet:
        context.error(f"not reached: {unmet}")
        context.info(stays)
        return EXIT_NOT_REACHED
    plan = make_plan(cib, moves.clear(cib, name), int(time.time()), frozenset((name,)))
    back = [one for one in plan.steps if one.interrupts]
    if back:
        context.warning(
            f"without the constraint {back[0].subject} would {back[0].word.lower()} ({back[0].details})"
        )
        context.info(f"{stays}; resource-stickiness keeps a resource where it is")
        return EXIT_OK
    change(context, f"{_CLIENT} clear after a move", lambda now: moves.clear(now, name))
    return EXIT_OK


def clear(context: Context, words: Sequence[str]) -> int:
    """`clear RSC`."""
    if len(words) != 1:
        raise UsageError(what="name a resource", usage="clear RSC")
    name = words[0]
    resource_of(read(context), name)

    def edit(cib: Element) -> Element:
        return moves.clear(moves.without_expired(cib, datetime.now(UTC)), name)

    change_safely(context, f"{_CLIENT} clear", edit, about=(name,), unasked=moves_along, acts=False)
    return EXIT_OK
