"""`hacli history`, `diff`, `rollback`, `undo`, `confirm`: configurations of the past, and back to them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cli.cluster_source import ClusterSource
from cli.commands.changes import client_text, read
from cli.context import EXIT_OK, Context, Unsafe, UsageError
from cli.grammar.document import configuration_of
from cli.render.changes import change_data, change_lines
from cli.session import finish_session
from crm import tickets
from crm.cib import codec, objects
from crm.cib.model import Element, element
from crm.confirmation import without
from hacluster.digits import is_count
from hacluster.errors import InvalidRequest, NotFound
from hacluster.v1 import crm_pb2

_AUTHOR = re.compile(
    r"(?P<user>[^@/]*)@(?P<node>[^/]*)/?(?:(?P<who>[\w.-]+): )?(?P<program>[^:]*)(?:: (?P<reason>.*))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One commit, for people."""

    revision: str
    at: str
    by: str
    program: str
    reason: str


def entry_of(one: crm_pb2.RevisionSummary) -> Entry:
    """The daemon's record, its author taken apart (USER@NODE/[WHO: ]PROGRAM[: REASON])."""
    match = _AUTHOR.fullmatch(one.author)
    parts = match.groupdict() if match else {"user": one.author}
    who = parts.get("who") or parts.get("user") or ""
    node = parts.get("node")
    return Entry(
        revision=f"{one.admin_epoch}.{one.epoch}",
        at=time.strftime("%F %T", time.localtime(one.changed_s)),
        by=f"{who}@{node}" if node else who or "(found at a start)",
        program=parts.get("program") or "",
        reason=parts.get("reason") or "",
    )


def config(context: Context, words: Sequence[str]) -> int:
    """`config [COUNT]`: the commits that are kept, the newest last."""
    if len(words) > 1 or (words and not is_count(words[0])):
        raise UsageError(what="a number is needed", usage="history config [COUNT]")
    found = _revisions(context)
    entries = [entry_of(one) for one in (found[-int(words[0]) :] if words else found)]
    if context.options.structured:
        import dataclasses

        context.emit("revisions", {"revisions": [dataclasses.asdict(one) for one in entries]})
        return EXIT_OK
    for one in entries:
        what = f"{one.program}: {one.reason}" if one.reason else one.program
        context.print(f"{one.revision:>8}  {one.at}  {one.by:20}  {what}".rstrip())
    return EXIT_OK


def show(context: Context, words: Sequence[str]) -> int:
    """`show REV`: what a commit changed."""
    if len(words) != 1:
        raise UsageError(what="name a revision", usage="history show REV")
    wanted = _revision(context, words[0])
    return _print_diff(context, _before(context, wanted), _configuration(context, wanted))


def diff(context: Context, words: Sequence[str]) -> int:
    """`diff A [B]`: from one revision to another, or to what is there now."""
    if not 1 <= len(words) <= 2:
        raise UsageError(what="name one or two revisions", usage="diff A [B]")
    return _print_diff(context, *_two(context, words))


def two_texts(context: Context, words: Sequence[str]) -> tuple[str, str]:
    """What `configure show` would print of one revision, and of another or of what is there now."""
    from cli.grammar.show import show as show_objects

    first, second = _two(context, words)
    return show_objects(first), show_objects(second)


def _two(context: Context, words: Sequence[str]) -> tuple[Element, Element]:
    first = _configuration(context, _revision(context, words[0]))
    second = _configuration(context, _revision(context, words[1])) if len(words) == 2 else read(context)
    return first, second


def rollback(context: Context, words: Sequence[str]) -> int:
    """`rollback [REV]`: back to a revision, as a new commit; without one the commit that waits is undone."""
    if len(words) > 1:
        raise UsageError(what="name one revision", usage="rollback [REV]")
    if not words:
        return _settle(context, keep=False)
    target = configuration_of(_configuration(context, _revision(context, words[0])))
    workspace = context.open_workspace()
    workspace.cib = _with_configuration(workspace.cib, target)
    return _finish(context, f"hacli rollback {words[0]}")


def undo(context: Context, words: Sequence[str]) -> int:
    """`undo [REV]`: take back what the last commit (or that one) changed; later commits stay."""
    if len(words) > 1:
        raise UsageError(what="name one revision", usage="undo [REV]")
    if not words and _source(context).pending() is not None:
        return _settle(context, keep=False)
    wanted = _revision(context, words[0]) if words else _newest_change(context)
    _say_what_is_undone(context, wanted, chosen=bool(words))
    before, after = _before(context, wanted), _configuration(context, wanted)
    back = objects.undo_of(configuration_of(before), configuration_of(after))
    workspace = context.open_workspace()
    changed = objects.on_top(back, configuration_of(workspace.cib))
    workspace.cib = _with_configuration(workspace.cib, changed)
    return _finish(context, f"hacli undo {wanted[0]}.{wanted[1]}")


def _say_what_is_undone(context: Context, wanted: tuple[int, int], *, chosen: bool) -> None:
    """Which commit it is. That it is an undo itself is asked about, unless it was named. Raises Unsafe."""
    found = [one for one in _revisions(context) if (one.admin_epoch, one.epoch) == wanted]
    if not found:
        return  # of which the DC says it when it is asked for
    entry = entry_of(found[-1])
    what = f"{entry.revision} ({entry.at}, by {entry.by}: {entry.program or 'not said'})"
    if chosen or not _is_way_back(entry):
        context.info(f"this takes back {what}")
        return
    again = f"the last change, {what}, took back another, which would be made again"
    remedy = "`hacli history config` lists the changes, `hacli undo REV` takes one of them back"
    if context.options.force:
        context.warning(again)
    elif not context.can_ask or context.options.safe or context.options.refuse:
        raise Unsafe(what=f"{again}; nothing was changed", remedy=f"{remedy}; -F makes it again")
    elif not context.confirm(f"{again[0].upper()}{again[1:]} ({remedy}). Make it again?"):
        raise Unsafe(what=f"{again}; nothing was changed", remedy=remedy)


def _is_way_back(entry: Entry) -> bool:
    """The commit took back another: by `undo`, or because that was not confirmed."""
    return entry.program in ("rollback", "hacli rollback") or entry.program.startswith("hacli undo ")


def confirm(context: Context, words: Sequence[str]) -> int:
    """`confirm`: the commit that waits stays."""
    if words:
        raise UsageError(what="confirm takes no arguments", usage="confirm")
    return _settle(context, keep=True)


def _settle(context: Context, *, keep: bool) -> int:
    name = "hacli confirm" if keep else "hacli rollback"
    waited = _source(context).settle(keep=keep, client=client_text(context, name))
    context.info(f"the commit of {waited.by} " + ("is confirmed" if keep else "is undone"))
    context.changed_cluster = True
    return EXIT_OK


def _finish(context: Context, client: str) -> int:
    if not context.open_workspace().changed:
        context.info("the configuration is like that already: there is nothing to do")
        return EXIT_OK
    return finish_session(context, client)


def _print_diff(context: Context, before: Element, after: Element) -> int:
    changed = objects.changes(configuration_of(before), configuration_of(after))
    if context.options.structured:
        context.emit("diff", {"changes": change_data(changed, before, after)})
    else:
        for line in change_lines(changed, before, after):
            context.print(line)
    return EXIT_OK


def _with_configuration(cib: Element, configuration: Element) -> Element:
    return cib.mapped(lambda part: configuration if part.tag == "configuration" else part)


def _revisions(context: Context) -> list[crm_pb2.RevisionSummary]:
    """What the DC keeps, the oldest first."""
    if context.offline:
        raise InvalidRequest(what="a CIB file has no history", remedy="history is kept by a running cluster")
    return context.client.revisions()


def _source(context: Context) -> ClusterSource:
    source = context.source()
    if not isinstance(source, ClusterSource):
        raise InvalidRequest(what="a CIB file has no history", remedy="history is kept by a running cluster")
    return source


def _newest_change(context: Context) -> tuple[int, int]:
    """The last commit that changed what people see: a confirmation (or a grant of a ticket) is none."""
    found = [((one.admin_epoch, one.epoch), one.author) for one in _revisions(context)]
    authored = [index for index, (_, author) in enumerate(found) if author]
    if not authored:
        raise NotFound(kind="revision", name="newest")
    for index in reversed(authored):
        if not index or _configuration(context, found[index - 1][0]) != _configuration(
            context, found[index][0]
        ):
            return found[index][0]
    return found[authored[-1]][0]


def _revision(context: Context, word: str) -> tuple[int, int]:
    """EPOCH or ADMIN_EPOCH.EPOCH, as `history config` prints it; `-N`: N commits before the newest."""
    found = _revisions(context)
    if re.fullmatch(r"-\d+", word):
        if int(word[1:]) >= len(found):
            raise NotFound(kind="revision", name=word)
        one = found[-1 - int(word[1:])]
        return one.admin_epoch, one.epoch
    match = re.fullmatch(r"(?:(\d+)\.)?(\d+)", word)
    if match is None:
        raise UsageError(what=f"{word!r} is no revision", usage="EPOCH, ADMIN_EPOCH.EPOCH or -N")
    newest = found[-1].admin_epoch if found else 0
    return int(match[1]) if match[1] else newest, int(match[2])


def _configuration(context: Context, revision: tuple[int, int]) -> Element:
    xml = context.client.revision(*revision)
    kept = codec.parse(xml, source=f"revision {revision[0]}.{revision[1]}")
    return element("cib", None, tickets.without(without(kept)))


def _before(context: Context, revision: tuple[int, int]) -> Element:
    """The one that was kept before that."""
    found = [(one.admin_epoch, one.epoch) for one in _revisions(context)]
    earlier = [one for one in found if one < revision]
    if not earlier:
        raise NotFound(kind="revision before", name=f"{revision[0]}.{revision[1]}")
    return _configuration(context, earlier[-1])
