"""`hacli cib`: the CIB as a document, and copies of it to try changes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cli.commands.changes import change, read
from cli.context import EXIT_OK, Context, UsageError
from cli.grammar.document import configuration_of, empty_cib
from cli.render.changes import change_data, change_lines
from cli.session import finish_session
from cli.shadows import Shadows, is_name
from cli.workspace import FileSource, digest_of, write_atomically
from crm.cib import codec, objects
from crm.cib.model import Element
from hacluster.errors import InvalidRequest

_NEW: Final = "new NAME [withstatus] [force] [empty] | new FILE.xml"


def _file(words: Sequence[str], usage: str) -> str:
    if len(words) != 1:
        raise UsageError(what="name one file", usage=usage)
    return words[0]


def live(context: Context) -> Element:
    """The running cluster's CIB (or --cib-file's), whatever shadow is in use."""
    used, context.options.shadow = context.options.shadow, ""
    try:
        return read(context)
    finally:
        context.options.shadow = used


def new(context: Context, words: Sequence[str]) -> int:
    """`new NAME …`: a shadow, in use from now on. `new FILE`: an empty CIB in a file."""
    if not words or (len(words) == 1 and not is_name(words[0])):
        return _new_file(context, Path(_file(words, _NEW)))
    flags = set(words[1:]) - {words[0]}
    if flags - {"withstatus", "force", "empty"}:
        raise UsageError(what=f"{sorted(flags)[-1]!r} is not understood", usage=_NEW)
    cib = empty_cib() if "empty" in flags else live(context)
    force = "force" in flags or context.options.force
    Shadows.of_this_user().write(words[0], cib, status="withstatus" in flags, force=force)
    return use(context, words[:1])


def _new_file(context: Context, path: Path) -> int:
    if path.exists() and not context.options.force:
        raise InvalidRequest(what=f"{path} exists", remedy="choose another name, or use -F")
    write_atomically(path, codec.render(empty_cib()).encode())
    return EXIT_OK


def sandbox(context: Context, words: Sequence[str]) -> int:
    """`sandbox [NAME]`: a fresh shadow with the status of now, to see on paper what changes would do."""
    if len(words) > 1:
        raise UsageError(what="name one shadow", usage="sandbox [NAME]")
    name = words[0] if words else "sandbox"
    Shadows.of_this_user().write(name, live(context), status=True, force=True)
    return use(context, (name,))


def use(context: Context, words: Sequence[str]) -> int:
    """`use [NAME]`: work on a shadow from now on; without NAME on the cluster again."""
    if len(words) > 1 and words[1:] != ("withstatus",):
        raise UsageError(what="name one shadow", usage="use [NAME]")
    if context.workspace is not None and context.workspace.changed:
        raise InvalidRequest(
            what="there are changes that are not committed", remedy="commit or refresh first"
        )
    name = words[0] if words and words[0] != "live" else ""
    if name:
        Shadows.of_this_user().existing(name)
    context.options.shadow = name
    if context.workspace is not None:
        context.workspace = None
        context.open_workspace()
    if name and not context.interactive and not context.options.script:
        context.info(f"use it with `hacli -c {name} …`")
    return EXIT_OK


def _name(context: Context, words: Sequence[str], usage: str) -> str:
    if len(words) > 1:
        raise UsageError(what="name one shadow", usage=usage)
    name = words[0] if words else context.options.shadow
    if not name:
        raise InvalidRequest(what="no shadow is in use", remedy=f"name one: {usage}")
    return name


def reset(context: Context, words: Sequence[str]) -> int:
    """`reset [NAME]`: copy the cluster's CIB over the shadow."""
    name = _name(context, words, "reset NAME")
    shadows = Shadows.of_this_user()
    status = shadows.base(name).child("status")
    kept = status is not None and bool(status.children)
    shadows.write(name, live(context), status=kept, force=True)
    return EXIT_OK


def commit(context: Context, words: Sequence[str]) -> int:
    """`commit [NAME]`: what was changed in the shadow becomes a change of the cluster, checked and shown."""
    name = _name(context, words, "commit NAME")
    shadows = Shadows.of_this_user()
    base, shadow = shadows.base(name), FileSource(str(shadows.existing(name))).read().cib
    wanted = objects.changes(configuration_of(base), configuration_of(shadow))
    if not wanted:
        context.info(f"nothing was changed in {name}")
        return EXIT_OK
    before, context.options.shadow, context.workspace = context.options.shadow, "", None
    try:
        workspace = context.open_workspace()
        merged = objects.on_top(wanted, configuration_of(workspace.cib))
        workspace.cib = _with_configuration(workspace.cib, merged)
        status = finish_session(context, f"hacli cib commit {name}")
        if status == EXIT_OK:
            kept = base.child("status")
            shadows.write(name, workspace.cib, status=kept is not None and bool(kept.children), force=True)
        return status
    finally:
        context.workspace, context.options.shadow = None, before


def diff(context: Context, words: Sequence[str]) -> int:
    """`diff [NAME]`: what was changed in the shadow."""
    name = _name(context, words, "diff NAME")
    shadows = Shadows.of_this_user()
    base, shadow = shadows.base(name), FileSource(str(shadows.existing(name))).read().cib
    changed = objects.changes(configuration_of(base), configuration_of(shadow))
    if context.options.structured:
        context.emit("diff", {"changes": change_data(changed, base, shadow)})
        return EXIT_OK
    for line in change_lines(changed, base, shadow):
        context.print(line)
    return EXIT_OK


def list_all(context: Context, words: Sequence[str]) -> int:
    """`list`: the shadows there are; a star marks the one in use."""
    if words:
        raise UsageError(what="list takes no arguments", usage="list")
    names = Shadows.of_this_user().names()
    if context.options.structured:
        used = context.options.shadow
        context.emit("shadows", {"shadows": [{"name": one, "in_use": one == used} for one in names]})
        return EXIT_OK
    for name in names:
        context.print(f"{'*' if name == context.options.shadow else ' '} {name}")
    return EXIT_OK


def delete(context: Context, words: Sequence[str]) -> int:
    """`delete NAME…`."""
    if not words:
        raise UsageError(what="name a shadow", usage="delete NAME…")
    for name in words:
        if name == context.options.shadow:
            raise InvalidRequest(what=f"{name} is in use", remedy="`cib use` leaves it")
        Shadows.of_this_user().delete(name)
    return EXIT_OK


def run(context: Context, words: Sequence[str]) -> int:
    """`run`: in a shadow with status, carry out on paper what the cluster would do, until it rests."""
    from cli.commands.cibstatus import changeable, until_rest

    if words:
        raise UsageError(what="run takes no arguments", usage="run")
    source = changeable(context)
    cib, lines = until_rest(source.read().cib, int(time.time()))
    for line in lines:
        context.print(line)
    source.replace(cib)
    return EXIT_OK


def export(context: Context, words: Sequence[str]) -> int:
    """`export FILE|-`: configuration and status."""
    name = _file(words, "export FILE|-")
    text = codec.render(read(context))
    if name == "-":
        context.print(text, end="")
    else:
        write_atomically(Path(name), text.encode())
    return EXIT_OK


def import_file(context: Context, words: Sequence[str]) -> int:
    """`import FILE`: the configuration becomes that of the file. `import FILE NAME`: a shadow."""
    if len(words) == 2:
        cib = FileSource(words[0]).read().cib
        Shadows.of_this_user().write(words[1], cib, status=True, force=context.options.force)
        return use(context, words[1:])
    taken = FileSource(_file(words, "import FILE [NAME]")).read().cib
    configuration = taken.child("configuration")
    if configuration is None:
        raise InvalidRequest(what=f"{words[0]} has no <configuration>")
    change(context, "hacli cib import", lambda cib: _with_configuration(cib, configuration))
    return EXIT_OK


def _with_configuration(cib: Element, configuration: Element) -> Element:
    rest = tuple(part for part in cib.children if part.tag != "configuration")
    return cib.with_children((configuration, *rest))


def version(context: Context, _words: Sequence[str]) -> int:
    """`version`."""
    cib = read(context)
    triple = ".".join(cib.get(name, "0") for name in ("admin_epoch", "epoch", "num_updates"))
    if context.options.structured:
        context.emit("version", {"version": triple, "digest": digest_of(cib)})
    else:
        context.print(f"{triple} {digest_of(cib)}")
    return EXIT_OK
