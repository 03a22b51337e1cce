"""`hacli resource secret`: values of parameters that are not in the CIB, but in a file on every node.

The CIB then has `lrm://`; ha-lrm looks the value up when it calls the agent (docs/manual/agents.md). The file
is written on this node; `push` brings it to the others, by ssh.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cli import elsewhere
from cli.commands.changes import change, read, resource_of, set_pair
from cli.context import EXIT_FAILED, EXIT_OK, Context, UsageError
from cli.grammar.pairs import value as pair_value
from cli.workspace import write_atomically
from crm.cib.model import Element
from hacluster.errors import InvalidRequest

PLACEHOLDER: Final = "lrm://"
_USAGE: Final = "secret RSC set PARAM VALUE | stash|unstash|delete|show|check PARAM | push PARAM [NODE…]"
_CLIENT: Final = "hacli resource secret"


def secret(context: Context, words: Sequence[str]) -> int:
    """`secret RSC …`."""
    match tuple(words):
        case (name, "set", parameter, value):
            _checked(context, name, parameter)
            _store(context, name, parameter, _typed(parameter) if value == "-" else value)
            return _point(context, name, parameter)
        case (name, "stash", parameter):
            value = pair_value(_checked(context, name, parameter), "instance_attributes", parameter)
            if not value or value == PLACEHOLDER:
                raise InvalidRequest(what=f"{name} has no value of {parameter} in the CIB")
            _store(context, name, parameter, value)
            return _point(context, name, parameter)
        case (name, "unstash", parameter):
            _checked(context, name, parameter)
            value = read_secret(context, name, parameter)
            _change(context, name, parameter, value)
            _delete(context, name, parameter)
            return EXIT_OK
        case (name, "delete", parameter):
            _checked(context, name, parameter)
            _change(context, name, parameter, None)
            _delete(context, name, parameter)
            return EXIT_OK
        case (name, "show", parameter):
            _checked(context, name, parameter)
            context.print(read_secret(context, name, parameter))
            return EXIT_OK
        case (name, "push", parameter, *nodes):
            return _push(context, name, parameter, nodes)
        case (name, "check", parameter):
            return _check(context, name, parameter)
        case _:
            raise UsageError(what="not understood", usage=_USAGE)


def _typed(parameter: str) -> str:
    """The value as it is typed, unseen, or from standard input: arguments are in the list of processes."""
    if sys.stdin.isatty():
        return getpass.getpass(f"{parameter}: ")
    return sys.stdin.readline()


def _checked(context: Context, name: str, parameter: str) -> Element:
    resource = resource_of(read(context), name)
    if resource.tag != "primitive":
        raise InvalidRequest(what=f"{name} is a {resource.tag}: only agents of primitives have parameters")
    if "/" in parameter or parameter.startswith("."):
        raise InvalidRequest(what=f"{parameter!r} cannot name a parameter")
    return resource


def _file(context: Context, name: str, parameter: str) -> Path:
    return context.paths.var / "lrm/secrets" / name / parameter


def _store(context: Context, name: str, parameter: str, value: str) -> None:
    path = _file(context, name, parameter)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = value.rstrip()  # trailing white space is no part of a secret
    # The sum is for damage, as Pacemaker's tools write it, and is as secret as the value.
    digest = hashlib.md5(kept.encode(), usedforsecurity=False).hexdigest()
    write_atomically(path, f"{kept}\n".encode(), 0o600)
    write_atomically(path.with_name(f"{parameter}.sign"), f"{digest}\n".encode(), 0o600)


def read_secret(context: Context, name: str, parameter: str) -> str:
    """The value that this node has. Raises InvalidRequest."""
    path = _file(context, name, parameter)
    try:
        value = path.read_text().rstrip()
        signature = path.with_name(f"{parameter}.sign").read_text().strip()
    except FileNotFoundError:
        raise InvalidRequest(what=f"this node has no secret {parameter} of {name}") from None
    if hashlib.md5(value.encode(), usedforsecurity=False).hexdigest() != signature:
        raise InvalidRequest(what=f"{path} is damaged", remedy=f"`resource secret {name} set {parameter} …`")
    return value


def _delete(context: Context, name: str, parameter: str) -> None:
    path = _file(context, name, parameter)
    path.unlink(missing_ok=True)
    path.with_name(f"{parameter}.sign").unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # others of its secrets are there
        path.parent.rmdir()


def _change(context: Context, name: str, parameter: str, value: str | None) -> None:
    change(
        context,
        _CLIENT,
        lambda cib: set_pair(cib, name, "instance_attributes", parameter, value),
    )


def _point(context: Context, name: str, parameter: str) -> int:
    _change(context, name, parameter, PLACEHOLDER)
    context.info(f"now `hacli resource secret {name} push {parameter}`: the value is on this node only")
    return EXIT_OK


def _push(context: Context, name: str, parameter: str, nodes: Sequence[str]) -> int:
    """This node's value becomes that of other nodes, and its sum."""
    _checked(context, name, parameter)
    read_secret(context, name, parameter)
    path = _file(context, name, parameter)
    status = EXIT_OK
    for node in elsewhere.others(context, nodes):
        try:
            for one in (path, path.with_name(f"{parameter}.sign")):
                elsewhere.store(context, node, str(one), one.read_bytes(), mode=0o600, private=True)
        except elsewhere.NotReached as error:
            context.error(str(error))
            status = EXIT_FAILED
            continue
        context.print(f"{node}: written")
    return status


def _check(context: Context, name: str, parameter: str) -> int:
    value = pair_value(_checked(context, name, parameter), "instance_attributes", parameter)
    if value != PLACEHOLDER:
        context.error(f"{parameter} of {name} is no secret: the CIB has its value")
        return EXIT_FAILED
    read_secret(context, name, parameter)
    context.info(f"this node has the secret {parameter} of {name}")
    return EXIT_OK
