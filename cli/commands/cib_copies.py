"""`hacli cib recover`, `history` and `diff`: the copies of the CIB on disks, also while no daemon runs."""

from __future__ import annotations

import itertools
import os
import socket
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cli.commands.cib import diff as diff_of_shadow
from cli.commands.cib import live
from cli.context import EXIT_FAILED, EXIT_OK, Context, UsageError
from cli.grammar.document import configuration_of
from cli.render.changes import change_data, change_lines
from crm import revisions
from crm.cib import codec, copies, objects
from crm.cib.copies import Copy
from crm.cib.model import Element, element
from crm.cib.replication.model import LogEntry
from crm.cib.storage import FolderStorage
from crm.cib.versions import CibVersion
from hacluster.errors import InvalidRequest, NotFound

_RECOVER: Final = "recover [DIR…] | recover from SOURCE [to DIR]"
_KEPT_ASIDE: Final = ("corrupt-", "aside-")
_ARCHIVES_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A copy, when its file was written last, and whether it is a node's own."""

    copy: Copy
    changed_s: int
    own: bool


def recover(context: Context, words: Sequence[str]) -> int:
    """`recover [DIR…]`: what copies there are. `recover from SOURCE [to DIR]`: begin anew from one."""
    if words and words[0] == "from":
        return _begin_anew(context, words[1:])
    folders = [Path(word) for word in words] or [_own_folder(context)]
    found = [one for folder in folders for one in _copies_in(folder)]
    logs = [one.copy for one in found]
    best = copies.newest(logs)
    lost = copies.losses(best, [one.copy for one in found if one.own]) if best is not None else []
    if context.options.structured:
        context.emit("cib-copies", _copies_data(found, best, lost))
        return EXIT_OK if best is not None else EXIT_FAILED
    for one in found:
        mark = "*" if best is one.copy else " "
        context.print(f"{mark} {one.copy.place}: {_state(one.copy)}{_age(one)}")
    if best is None:
        context.print("no copy can be read: take an export or a backup, `hacli cib recover from FILE.xml`")
        return EXIT_FAILED
    context.print(f"the newest that can be read is {best.place}")
    for loss in lost:
        context.print(f"with it would be lost from {loss.place}: {_loss_text(loss)}")
        for entry in loss.changes:
            context.print(f"    {entry.version} by {entry.author or 'nobody'} ({entry.basis.value})")
    return EXIT_OK


def _own_folder(context: Context) -> Path:
    return context.paths.var / "cib"


def _cib_folder(folder: Path) -> Path:
    """The folder of the logs, when a node's whole state directory (or a root) was named."""
    for inside in ("", "cib", "var/lib/hacluster/cib"):
        place = folder / inside
        if (place / "promise").exists() or any(place.glob("log.*")) or any(place.glob("corrupt-*")):
            return place
    return folder


def _copies_in(folder: Path) -> list[_Found]:
    """All copies in a node's folder, its own log first. Raises NotFound when there is no such folder."""
    if not folder.is_dir():
        raise NotFound(kind="folder", name=str(folder))
    folder = _cib_folder(folder)
    storage = FolderStorage(folder)
    found = []
    aside = [path.name for path in folder.iterdir() if path.is_dir() and path.name.startswith(_KEPT_ASIDE)]
    for inside in ("", *sorted(aside)):
        place = str(folder / inside)
        copy = copies.examine(storage, place=place, folder=inside)
        if copy is not None:
            found.append(_Found(copy=copy, changed_s=_changed_s(Path(place).glob("log.*")), own=True))
    found += _documents_in(folder)
    found += _revisions_in(folder.parent / "revisions")
    return found


def _documents_in(folder: Path) -> Iterator[_Found]:
    """cib.xml, and the newest of its archives."""
    path = folder / "cib.xml"
    if path.is_file():
        signature = folder / "cib.xml.sig"
        sum_ = signature.read_bytes() if signature.is_file() else None
        copy = copies.of_document(path.read_bytes(), place=str(path), signature=sum_)
        yield _Found(copy=copy, changed_s=_changed_s([path]), own=False)
    archives = sorted(folder.glob("cib-*.raw"), key=lambda one: one.stat().st_mtime_ns, reverse=True)
    for path in archives[:_ARCHIVES_SHOWN]:
        copy = copies.of_document(path.read_bytes(), place=str(path))
        yield _Found(copy=copy, changed_s=_changed_s([path]), own=False)


def _revisions_in(folder: Path) -> Iterator[_Found]:
    for head in reversed(revisions.heads(folder)[-_ARCHIVES_SHOWN:]):
        path = folder / f"{head.admin_epoch}.{head.epoch}.gz"
        yield _Found(copy=_document(path), changed_s=head.changed_s, own=False)


def _changed_s(paths: Sequence[Path] | Iterator[Path]) -> int:
    return max((int(path.stat().st_mtime) for path in paths), default=0)


def _document(path: Path) -> Copy:
    """A <cib> or <configuration> in a file: cib.xml, an archive, an export, a revision as ha-crm keeps it."""
    try:
        data = path.read_bytes()
        if path.suffix != ".gz":
            return copies.of_document(data, place=str(path))
        head, data = revisions.parse(data)
    except (OSError, ValueError, TypeError, EOFError, zlib.error) as error:
        return Copy(place=str(path), damage=str(error))
    copy = copies.of_document(data, place=str(path))
    version = CibVersion(head.admin_epoch, head.epoch, 0)
    return copy if copy.stored is None else copies.with_version(copy, version)


def source_of(word: str) -> Copy:
    """A copy by name: a folder with a log, or a file. Raises NotFound, InvalidRequest."""
    path = Path(word)
    if path.is_dir():
        folder = _cib_folder(path)
        copy = copies.examine(FolderStorage(folder), place=str(folder))
        if copy is None:
            raise NotFound(kind="copy of the CIB", name=word)
    elif path.is_file():
        copy = _document(path)
    else:
        raise NotFound(kind="file or folder", name=word)
    if copy.stored is None or copy.is_blank:
        why = copy.damage or "it is the copy of a node that has no configuration"
        raise InvalidRequest(what=f"{word} cannot be read: {why}", remedy="`hacli cib recover` shows others")
    return copy


def _begin_anew(context: Context, words: Sequence[str]) -> int:
    if len(words) not in (1, 3) or (len(words) == 3 and words[1] != "to"):
        raise UsageError(what="name the copy to begin from", usage=_RECOVER)
    own = _own_folder(context)
    target = Path(words[2]) if len(words) == 3 else own
    source = source_of(words[0])
    if target.resolve() == own.resolve() and _is_served(context.paths.crm_socket):
        raise InvalidRequest(
            what="ha-crm runs on this node, and would not notice", remedy="stop it first, on all nodes"
        )
    if not context.options.force:
        raise InvalidRequest(
            what=f"{target} would begin anew from {source.place}, whatever other nodes have",
            remedy="if one node with a good copy is left, start ha-crm there and here instead: it brings "
            "this copy up to date. Else say -F, and do it on most of the nodes, from the same source",
        )
    if not target.is_dir():
        raise NotFound(kind="folder", name=str(target))
    storage = FolderStorage(target)
    known = [copy for copy in (copies.examine(storage, place=str(target)),) if copy is not None]
    snapshot, promise = copies.beginning(source, known)
    aside = _unused(target, f"aside-{int(time.time())}")
    moved = copies.begin_anew(storage, snapshot, promise, folder=aside)
    _give_to_owner(target, aside)
    lost = copies.losses(source, known)
    if context.options.structured:
        data = {
            "source": source.place,
            "folder": str(target),
            "version": str(snapshot.version),
            "aside": str(target / aside) if moved else "",
            "lost": [_loss_data(loss) for loss in lost],
        }
        context.emit("cib-recovered", data)
        return EXIT_OK
    context.print(f"{target} begins anew with version {snapshot.version}, from {source.place}")
    if moved:
        context.print(f"what was there is kept in {target / aside}: {', '.join(moved)}")
    for loss in lost:
        context.print(f"not in it, of {loss.place}: {_loss_text(loss)}")
    context.print("do the same on most of the nodes, from the same source, before ha-crm is started anywhere")
    return EXIT_OK


def _unused(folder: Path, name: str) -> str:
    """Nothing that was put aside before is written over."""
    names = itertools.chain((name,), (f"{name}.{number}" for number in itertools.count(1)))
    return next(one for one in names if not (folder / one).exists())


def _give_to_owner(folder: Path, aside: str) -> None:
    """Root works for the daemon's user: what was written belongs to whom the folder belongs to."""
    if os.geteuid() != 0:
        return
    owner = folder.stat()
    for path in (folder / "promise", *folder.glob("log.*"), folder / aside):
        if path.exists():
            os.chown(path, owner.st_uid, owner.st_gid)


def _is_served(path: Path) -> bool:
    """Whether somebody answers on the socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _state(copy: Copy) -> str:
    log = copy.log
    if log is None or copy.is_blank:
        return f"cannot be read: {copy.damage}" if copy.damage else "without a configuration yet"
    parts = [f"version {log.head.version}", f"entry {log.last_index} of term {log.rank.last_term.counter}"]
    if copy.damage:
        parts.append(f"damaged ({copy.damage}): this precedes it, {copy.missing_bytes} bytes are missing")
    elif copy.torn:
        parts.append("the last write was cut by a power loss and had not been acknowledged")
    if copy.promise is not None and not copy.promise.voter:
        parts.append("without a vote")
    return ", ".join(parts)


def _age(one: _Found) -> str:
    return time.strftime(", written %F %T", time.localtime(one.changed_s)) if one.changed_s else ""


def _loss_text(loss: copies.Loss) -> str:
    parts = []
    if loss.entries:
        parts.append(f"{len(loss.changes)} changes in {len(loss.entries)} entries")
    if loss.missing_bytes:
        parts.append(f"{loss.missing_bytes} bytes that cannot be read")
    if loss.unknown:
        parts.append("another history without a common position (`hacli cib diff` shows the difference)")
    return "; ".join(parts)


def _copies_data(found: Sequence[_Found], best: Copy | None, lost: Sequence[copies.Loss]) -> dict[str, Any]:
    rows = []
    for one in found:
        log = one.copy.log
        row: dict[str, Any] = {
            "place": one.copy.place,
            "readable": log is not None and not one.copy.is_blank,
            "damage": one.copy.damage,
            "torn": one.copy.torn,
            "missing_bytes": one.copy.missing_bytes,
            "newest": best is one.copy,
            "changed_s": one.changed_s,
        }
        row |= {
            "version": str(log.head.version) if log is not None else "",
            "index": log.last_index if log is not None else 0,
            "term": str(log.rank.last_term) if log is not None else "",
            "committed": log.commit_index if log is not None else 0,
            "digest": log.head.digest if log is not None else "",
            "votes": one.copy.promise is not None and one.copy.promise.voter,
        }
        rows.append(row)
    newest = best.place if best is not None else ""
    return {"newest": newest, "copies": rows, "lost": [_loss_data(loss) for loss in lost]}


def _loss_data(loss: copies.Loss) -> dict[str, Any]:
    return {
        "place": loss.place,
        "unknown": loss.unknown,
        "missing_bytes": loss.missing_bytes,
        "changes": [_entry_data(entry) for entry in loss.changes],
    }


def _entry_data(entry: LogEntry) -> dict[str, Any]:
    return {
        "index": entry.index,
        "term": str(entry.term),
        "basis": entry.basis.value,
        "kind": entry.kind.value,
        "author": entry.author,
        "version": str(entry.version),
    }


def history(context: Context, words: Sequence[str]) -> int:
    """`history [DIR]`: the entries of a copy's log, the oldest first; of this node's without DIR."""
    if len(words) > 1:
        raise UsageError(what="name one folder", usage="history [DIR]")
    folder = _cib_folder(Path(words[0]) if words else _own_folder(context))
    if not folder.is_dir():
        raise NotFound(kind="folder", name=str(folder))
    copy = copies.examine(FolderStorage(folder), place=str(folder))
    log = copy.log if copy is not None else None
    if copy is None or log is None:
        why = copy.damage if copy is not None else "there is no log"
        raise InvalidRequest(what=f"{folder} cannot be read: {why}", remedy="see `hacli cib recover`")
    entries = log.after(log.base.index, count_max=1_000_000, bytes_max=1 << 40)
    if context.options.structured:
        rows = [{**_entry_data(one), "committed": one.index <= log.commit_index} for one in entries]
        data = {"place": copy.place, "damage": copy.damage, "snapshot_index": log.base.index}
        context.emit("cib-history", {**data, "snapshot_version": str(log.base.version), "entries": rows})
        return EXIT_OK
    if log.base.index:
        context.print(f"{log.base.index:>7}  {log.base.version!s:12}  what came before, as a whole")
    for one in entries:
        known = "" if one.index <= log.commit_index else "  not known to be committed"
        what = f"{one.kind.value} by {one.author}" if one.author else one.kind.value
        where = f"term {one.term.counter}.{one.term.node_id} ({one.basis.value})"
        context.print(f"{one.index:>7}  {one.version!s:12}  {where:26}  {what}{known}")
    if copy.damage:
        context.warning(f"{copy.damage}; {copy.missing_bytes} bytes after that are missing here")
    return EXIT_OK


def diff(context: Context, words: Sequence[str]) -> int:
    """`diff [NAME]`: what was changed in the shadow. `diff A B`: from one copy (or `live`) to another."""
    if len(words) < 2:
        return diff_of_shadow(context, words)
    if len(words) != 2:
        raise UsageError(what="name two copies", usage="diff [NAME] | diff A B")
    before, after = (_whole(context, word) for word in words)
    changed = objects.changes(configuration_of(before), configuration_of(after))
    if context.options.structured:
        context.emit("diff", {"changes": change_data(changed, before, after)})
        return EXIT_OK
    for line in change_lines(changed, before, after):
        context.print(line)
    if not changed:
        same = codec.digest(configuration_of(before)) == codec.digest(configuration_of(after))
        context.info("they are the same" if same else "they differ in the order of things only")
    return EXIT_OK


def _whole(context: Context, word: str) -> Element:
    if word == "live":
        return live(context)
    return element("cib", {}, copies.configuration_of(source_of(word)), element("status"))
