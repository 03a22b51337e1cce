"""`hacli cib`: the CIB as a document."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cli.commands.changes import change, read
from cli.context import EXIT_OK, Context, UsageError
from cli.grammar.document import empty_cib
from cli.workspace import FileSource, digest_of, write_atomically
from crm.cib import codec
from crm.cib.model import Element
from hacluster.errors import InvalidRequest


def _file(words: Sequence[str], usage: str) -> str:
    if len(words) != 1:
        raise UsageError(what="name one file", usage=usage)
    return words[0]


def new(context: Context, words: Sequence[str]) -> int:
    """`new FILE`: an empty CIB; an existing file is not overwritten unless -F."""
    path = Path(_file(words, "new FILE"))
    if path.exists() and not context.options.force:
        raise InvalidRequest(what=f"{path} exists", remedy="choose another name, or use -F")
    write_atomically(path, codec.render(empty_cib()).encode())
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
    """`import FILE`: the cluster's configuration becomes that of the file, whole."""
    taken = FileSource(_file(words, "import FILE")).read().cib
    configuration = taken.child("configuration")
    if configuration is None:
        raise InvalidRequest(what=f"{words[0]} has no <configuration>")

    def replace(cib: Element) -> Element:
        rest = tuple(part for part in cib.children if part.tag != "configuration")
        return cib.with_children((configuration, *rest))

    change(context, "hacli cib import", replace)
    return EXIT_OK


def version(context: Context, _words: Sequence[str]) -> int:
    """`version`."""
    cib = read(context)
    triple = ".".join(cib.get(name, "0") for name in ("admin_epoch", "epoch", "num_updates"))
    context.print(f"{triple} {digest_of(cib)}")
    return EXIT_OK
