"""`hacli configure graph|schema|upgrade|validate-all`, and `hacli ra validate`."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cli.agent_runs import Subject, call, subject_of
from cli.context import EXIT_FAILED, EXIT_OK, Context, UsageError
from cli.grammar.document import section
from cli.render.configuration_graph import dot_text, svg_text
from cli.workspace import write_atomically
from crm.cib.document import SCHEMA
from crm.cib.model import Element
from hacluster.errors import InvalidRequest

_FORMATS: Final = ("dot", "svg", "png")
CONVERT_WITHIN_S: Final = 60
_NEW_ROLES: Final = ("Promoted", "Unpromoted")
_ROLE_NAMES: Final = ("role", "rsc-role", "with-rsc-role")


def graph(context: Context, words: Sequence[str]) -> int:
    """`graph [dot|svg|png] [FILE [dot|svg|png]]`: resources and constraints. Without a file: printed."""
    usage = "graph [dot|svg|png] [FILE [dot|svg|png]]"
    rest = list(words)
    form = rest.pop(0) if rest and rest[0] in _FORMATS else ""
    name = rest.pop(0) if rest else ""
    form = rest.pop(0) if rest and rest[0] in _FORMATS else form
    if rest:
        raise UsageError(what=f"{rest[0]!r} is not understood", usage=usage)
    form = form or (Path(name).suffix.lstrip(".") if Path(name).suffix.lstrip(".") in _FORMATS else "dot")
    cib = context.open_workspace().cib
    text = dot_text(cib) if form == "dot" else svg_text(cib)
    if form == "png":
        if not name:
            raise UsageError(what="a png needs a file", usage=usage)
        data = _png(text)
    else:
        data = text.encode()
    if name and name != "-":
        write_atomically(Path(name), data)
    else:
        context.print(text, end="")
    return EXIT_OK


def _png(svg: str) -> bytes:
    """By librsvg's or ImageMagick's program. Raises InvalidRequest when there is none."""
    for command in (["rsvg-convert"], ["convert", "svg:-", "png:-"]):
        if shutil.which(command[0]) is None:
            continue
        try:
            done = subprocess.run(
                command, input=svg.encode(), capture_output=True, timeout=CONVERT_WITHIN_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise InvalidRequest(what=f"{command[0]} does not end", remedy="`graph svg FILE`") from None
        if done.returncode == 0:
            return done.stdout
        raise InvalidRequest(what=f"{command[0]}: {done.stderr.decode(errors='replace').strip()[:200]}")
    raise InvalidRequest(
        what="no program here makes a png",
        remedy="install librsvg2-bin (rsvg-convert), or `graph svg FILE`",
    )


def schema(context: Context, words: Sequence[str]) -> int:
    """`schema [NAME]`: the schema that the configuration says it follows."""
    workspace = context.open_workspace()
    if not words:
        context.print(workspace.cib.get("validate-with", "none"))
        return EXIT_OK
    if len(words) != 1:
        raise UsageError(what="name one schema", usage="schema [NAME]")
    wanted = words[0]
    number = _number(wanted)
    if number is None or not (3, 0) <= number <= (_number(SCHEMA) or (3, 0)):
        raise InvalidRequest(what=f"{wanted} is no schema known here", remedy=f"pacemaker-3.0 … {SCHEMA}")
    if number < (3, 7) and _has_new_roles(workspace.cib):
        raise InvalidRequest(
            what=f"{wanted} does not know the roles {' and '.join(_NEW_ROLES)}, which are in use",
            remedy="use Master and Slave first, or pacemaker-3.7 and later",
        )
    return _follow(context, wanted)


def upgrade(context: Context, words: Sequence[str]) -> int:
    """`upgrade [force]`: to the newest schema. Those before pacemaker-3.0 need Pacemaker's own cibadmin."""
    if words not in ((), ("force",)):
        raise UsageError(what="upgrade is not understood", usage="upgrade [force]")
    now = context.open_workspace().cib.get("validate-with", "none")
    number = _number(now)
    if number is not None and number < (3, 0) and words != ("force",):
        raise InvalidRequest(
            what=f"{now} is of another make: names have changed since",
            remedy="`cibadmin --upgrade` of Pacemaker converts it; `upgrade force` only says that it is new",
        )
    if number is not None and number >= (_number(SCHEMA) or number):
        context.info(f"{now} is the newest already")
        return EXIT_OK
    return _follow(context, SCHEMA)


def _follow(context: Context, wanted: str) -> int:
    workspace = context.open_workspace()
    if not context.offline:
        if wanted != workspace.cib.get("validate-with"):
            raise InvalidRequest(what=f"a running cluster always follows {SCHEMA}")
        return EXIT_OK
    workspace.cib = workspace.cib.with_attribute_map({"validate-with": wanted})
    return EXIT_OK


def _number(name: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"pacemaker-(\d{1,3})\.(\d{1,3})", name)
    return None if match is None else (int(match[1]), int(match[2]))


def _has_new_roles(cib: Element) -> bool:
    for one in (*section(cib, "resources").walk(), *section(cib, "constraints").walk()):
        if any(one.get(name) in _NEW_ROLES for name in _ROLE_NAMES):
            return True
        if one.get("name") == "target-role" and one.get("value") in _NEW_ROLES:
            return True
    return False


def validate_all(context: Context, words: Sequence[str]) -> int:
    """`validate-all RSC`: the agent's own check of the resource's parameters, on this node."""
    if len(words) != 1:
        raise UsageError(what="name one primitive", usage="validate-all RSC")
    return _validated(context, subject_of(context, context.open_workspace().cib, words[0]))


def ra_validate(context: Context, words: Sequence[str]) -> int:
    """`validate [CLASS:[PROVIDER:]]TYPE NAME=VALUE…`: the agent's own check of parameters, on this node."""
    usage = "ra validate [CLASS:[PROVIDER:]]TYPE NAME=VALUE…"
    if not words or any("=" not in word for word in words[1:]):
        raise UsageError(what="an agent and pairs are needed", usage=usage)
    parameters = {name: value for name, _equals, value in (word.partition("=") for word in words[1:])}
    return _validated(context, Subject(name="validate", agent=words[0], parameters=parameters, timeouts_s={}))


def _validated(context: Context, subject: Subject) -> int:
    """Run validate-all; what the agent says is printed, and its status decides."""
    from agents.catalog import Catalog
    from cli.agent_information import agent_name

    catalog = Catalog.of_this_node()
    name = agent_name(subject.agent, catalog)
    if catalog.resolve(name).standard != "ocf":
        raise InvalidRequest(what=f"{name} cannot check parameters", remedy="only OCF agents can")
    called = call(context, subject, "validate-all")
    for line in called.lines:
        context.info(line)
    if called.outcome.succeeded:
        context.print(f"{name}: the parameters are valid")
        return EXIT_OK
    context.error(f"{name}: validate-all says {called.outcome.raw_status or called.outcome.reason}")
    return EXIT_FAILED
