"""`hacli cib orphans`: changes that one side made while apart, and that did not become part of the history.

A node that has to give up entries of its log writes them down first (cluster-protocol.md 9.7). The report
stays on that node until somebody has looked at it: it is shown, applied to the configuration of now, or
discarded. None is deleted: what is done with goes to the folder `done`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cli.commands.changes import change
from cli.context import EXIT_OK, Context, UsageError
from cli.grammar.document import configuration_of
from cli.render.changes import change_data, change_lines
from crm.cib import codec, merging, objects
from crm.cib.model import Element, element
from crm.cib.objects import ObjectChange
from crm.cib.orphan_files import LEFT
from crm.cib.replication.model import Kind
from hacluster.digits import is_count
from hacluster.errors import InvalidDocument, InvalidRequest, NotFound

_USAGE: Final = "orphans [show REPORT | apply REPORT | discard REPORT…]"
_PLACE: Final = "cib/orphans"
_DONE: Final = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report. `base` None: it was written by a version that did not keep it."""

    path: Path
    node: str
    saved_s: int
    answered: int
    entries: tuple[Element, ...]
    base: Element | None
    content: Element

    @property
    def changes(self) -> tuple[Element, ...]:
        """The entries that changed the configuration."""
        return tuple(one for one in self.entries if one.get("kind") == Kind.PATCH.value)

    @property
    def wanted(self) -> tuple[ObjectChange, ...]:
        """What they changed, all together."""
        return () if self.base is None else objects.changes(self.base, self.content)


def orphans(context: Context, words: Sequence[str]) -> int:
    """`orphans`: the reports on this node. `show`, `apply`, `discard`: see the words."""
    if not words:
        return _list(context)
    match words[0], len(words):
        case "show", 2:
            return _show(context, _report(context, words[1]))
        case "apply", 2:
            return _apply(context, _report(context, words[1]))
        case "discard", count if count > 1:
            return _discard(context, words[1:])
        case _:
            raise UsageError(what=f"{words[0]!r} is not understood, or something is missing", usage=_USAGE)


def _folder(context: Context) -> Path:
    return context.paths.var / _PLACE


def _paths(context: Context) -> list[Path]:
    folder = _folder(context)
    try:
        return sorted(folder.glob("*.xml")) if folder.is_dir() else []
    except PermissionError:
        raise _forbidden(folder) from None


def _forbidden(path: Path) -> InvalidRequest:
    return InvalidRequest(what=f"{path} cannot be read", remedy="run this as root, on the node that wrote it")


def read(path: Path) -> Report:
    """Raises InvalidRequest and InvalidDocument."""
    try:
        data = path.read_bytes()
    except PermissionError:
        raise _forbidden(path) from None
    root = codec.parse(data, source=str(path))
    base, content = root.child("base"), root.child("configuration")
    if root.tag != "orphans" or content is None:
        raise InvalidDocument(source=str(path), line=1, what="it is no report of orphans", remedy="leave it")
    answered, saved = root.get("committed"), root.get("saved")
    return Report(
        path=path,
        node=root.get("node"),
        saved_s=int(saved) if is_count(saved) else 0,
        answered=int(answered) if is_count(answered) else 0,
        entries=tuple(root.all("entry")),
        base=base.child("configuration") if base is not None else None,
        content=content,
    )


def _report(context: Context, name: str) -> Report:
    """By file name, with or without its ending, or the only one that begins so."""
    found = [path for path in _paths(context) if path.name == name or path.stem.startswith(name)]
    if len(found) != 1:
        what = "report of orphans" if not found else f"single report (there are {len(found)} that begin so)"
        raise NotFound(kind=what, name=name)
    return read(found[0])


def _list(context: Context) -> int:
    reports, damaged = [], []
    for path in _paths(context):
        try:
            reports.append(read(path))
        except InvalidDocument as error:
            damaged.append((path, str(error)))
    if context.options.structured:
        rows = [_data(one) for one in reports]
        lost = [{"path": str(path), "damage": why} for path, why in damaged]
        context.emit("cib-orphans", {"reports": rows, "damaged": lost})
        return EXIT_OK
    for one in reports:
        context.print(_headline(one))
    for path, why in damaged:
        context.warning(f"{path} cannot be read: {why}")
    if not reports and not damaged:
        context.print(f"no changes of {context.paths.var} are left out")
    return EXIT_OK


def _headline(one: Report) -> str:
    when = time.strftime("%F %T", time.localtime(one.saved_s))
    return (
        f"{one.path.stem}: {len(one.changes)} changes on {one.node}, given up {when}; "
        f"{one.answered} of them had been answered OK"
    )


def _data(one: Report) -> dict[str, Any]:
    return {
        "report": one.path.stem,
        "path": str(one.path),
        "node": one.node,
        "saved_s": one.saved_s,
        "answered": one.answered,
        "entries": [
            {
                "index": int(entry.get("index")) if is_count(entry.get("index")) else 0,
                **{name: entry.get(name) for name in ("term", "basis", "kind", "author", "version", LEFT)},
            }
            for entry in one.changes
        ],
    }


def _show(context: Context, one: Report) -> int:
    whole = element("cib", {}, one.base if one.base is not None else Element("configuration"))
    after = element("cib", {}, one.content)
    if context.options.structured:
        data = {**_data(one), "base_known": one.base is not None}
        context.emit("cib-orphan", {**data, "changes": change_data(one.wanted, whole, after)})
        return EXIT_OK
    context.print(_headline(one))
    for entry in one.changes:
        why = f"; not merged: {entry.get(LEFT)}" if entry.get(LEFT) else ""
        context.print(f"  {entry.get('version')} by {entry.get('author')} ({entry.get('basis')}){why}")
    if one.base is None:
        context.info("what they were made on is not in the report: compare the whole, with `hacli cib diff`")
    for line in change_lines(one.wanted, whole, after):
        context.print(line)
    return EXIT_OK


def _apply(context: Context, one: Report) -> int:
    """On top of the configuration of now. What was changed there too, otherwise, is left as it is there."""
    if one.base is None:
        raise InvalidRequest(
            what=f"{one.path.stem} does not say what its changes were made on",
            remedy="make them again by hand: `hacli cib orphans show` lists the authors",
        )
    left: list[str] = []

    def merged(cib: Element) -> Element:
        configuration, left[:] = merging.merged(one.wanted, configuration_of(cib))
        if left and not context.options.force:
            raise InvalidRequest(
                what=f"changed on the other side too: {', '.join(left)}; nothing was written",
                remedy="-F applies all the others, and leaves these as they are",
            )
        return cib.with_child(configuration)

    change(context, f"hacli cib orphans apply {one.path.stem}", merged)
    _put_away(one.path)
    if context.options.structured:
        context.emit("cib-orphan-applied", {"report": one.path.stem, "left": list(left)})
        return EXIT_OK
    context.info(f"{one.path.stem} is part of the configuration now")
    if left:
        context.warning(f"left as they are: {', '.join(left)}")
    return EXIT_OK


def _discard(context: Context, names: Sequence[str]) -> int:
    reports = [_report(context, name) for name in names]
    for one in reports:
        _put_away(one.path)
        context.info(f"{one.path.stem} is put away in {one.path.parent / _DONE}")
    return EXIT_OK


def _put_away(path: Path) -> None:
    """Never deleted; ha-crm says no more about it."""
    done = path.parent / _DONE
    try:
        done.mkdir(mode=0o750, exist_ok=True)
        path.rename(done / path.name)
    except PermissionError:
        raise _forbidden(path) from None
