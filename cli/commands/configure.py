"""`hacli configure`: define, show, change and write the configuration."""

from __future__ import annotations

import dataclasses
import http.client
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cli import user_options
from cli.commands.changes import view_of
from cli.context import EXIT_FAILED, EXIT_OK, Context, Options, UsageError
from cli.grammar import edits
from cli.grammar.definitions import Definition, parse_text, parse_words
from cli.grammar.document import RESOURCE_TAGS, find, object_id, objects, section
from cli.grammar.exact import exact
from cli.grammar.load import Mode, definition_names, erased, load, without_nodes, xml_definitions
from cli.grammar.removing import removal_of, without_options
from cli.grammar.resources import ProviderLookup, usual_provider
from cli.grammar.select import obscured, select
from cli.grammar.show import show as show_objects
from cli.grammar.show import xml_cib
from cli.grammar.wording import without_values
from cli.grammar.words import boolean_of
from cli.options import set_value
from cli.session import finish_session
from cli.workspace import Workspace, write_atomically
from crm.cib import codec
from crm.cib.model import Element
from hacluster.errors import InvalidRequest, NotFound

_SCHEMES = ("http://", "https://", "ftp://", "file://")
FETCH_WITHIN_S = 30
FETCHED_MAX = 64 * 1024 * 1024


def provider_lookup(context: Context) -> ProviderLookup:
    """Which provider an OCF agent has that is named without one."""
    return lambda name: _provider(context, name)


def _provider(context: Context, name: str) -> str:
    """Which provider an OCF agent without one has: what is installed here decides, then custom."""
    usual = usual_provider(name)
    if context.offline:
        return usual
    from agents.catalog import Catalog

    found = [one.provider for one in Catalog.of_this_node().list("ocf") if one.type == name]
    return usual if not found or usual in found else min(found)


def _apply(context: Context, definitions: Sequence[Definition], source: str, mode: Mode) -> None:
    workspace = context.open_workspace()
    loaded = load(workspace.cib, definitions, source=source, mode=mode)
    for warning in loaded.warnings:
        context.warning(warning)
    workspace.cib = loaded.cib
    workspace.named |= {*definition_names(definitions)}


def define(context: Context, words: Sequence[str]) -> int:
    """`primitive …`, all definitions, `property remove …`. Raises InvalidDocuments, InvalidRequest."""
    _refuse_empty_value(words)
    if (removal := removal_of(words)) is not None:
        workspace = context.open_workspace()
        workspace.cib, name = without_options(workspace.cib, removal, missing_ok=context.options.force)
        workspace.named.add(name)
        return EXIT_OK
    if words[0].lower() == "xml":
        definitions = xml_definitions(codec.parse(" ".join(words[1:]), source="xml"))
    else:
        item = parse_words(tuple(words), lambda name: _provider(context, name))
        definitions = (Definition(element=item, line=0),)
    mode = Mode.CREATE
    _apply(context, definitions, words[0], mode)
    return EXIT_OK


def _refuse_empty_value(words: Sequence[str]) -> None:
    if words[0].lower() in ("property", "rsc_defaults", "op_defaults"):
        for word in words[1:]:
            if word.endswith("=") and "=" not in word[:-1]:
                raise InvalidRequest(what=f"{word!r} has no value", remedy=f"{words[0]} {word}VALUE")


def _chosen(workspace: Workspace, words: Sequence[str]) -> tuple[Element, ...] | None:
    return select(workspace.cib, words, before=workspace.base.cib) if words else None


def _text(context: Context, words: Sequence[str], *, hide: bool) -> str:
    workspace = context.open_workspace()
    rest, patterns = obscured(words)
    form = rest[0] if rest and rest[0] in ("xml", "--exact") else ""
    rest = rest[1:] if form else rest
    if context.options.output != "text" and not form:
        form = context.options.output
    if patterns and form == "--exact":
        raise UsageError(
            what="--exact hides nothing: it is there to be loaded", usage="show xml obscure:PATTERN"
        )
    chosen = _chosen(workspace, rest)
    if hide and not patterns:
        patterns = ("passw.*",)
    if form == "xml":
        return codec.render(without_values(xml_cib(workspace.cib, chosen), patterns))
    if form == "json":
        from cli.grammar.json_form import json_text

        return json_text(without_values(one, patterns) for one in _tops(workspace.cib, chosen)) + "\n"
    if form:
        return exact(workspace.cib, chosen)
    return show_objects(workspace.cib, chosen, obscure=patterns, in_order=user_options.is_on("sort-elements"))


def _tops(cib: Element, chosen: tuple[Element, ...] | None) -> tuple[Element, ...]:
    """The objects, without those that stand in another of them."""
    items = tuple(objects(cib)) if chosen is None else chosen
    inside = {id(part) for one in items for part in one.walk() if part is not one}
    return tuple(one for one in items if id(one) not in inside)


def show(context: Context, words: Sequence[str]) -> int:
    """`show [xml|--exact] [OBJECT…]`. Passwords are hidden on a terminal only, and that is said."""
    hide = context.out.isatty() and not context.options.structured
    text = _text(context, words, hide=hide)
    if hide and "******" in text and not any(word.startswith("obscure:") for word in words):
        context.info("values of passw* are hidden on a terminal; redirect the output to see them")
    if (hide or context.options.display) and not (words and words[0] in ("xml", "--exact")):
        from cli import colour

        text = colour.definitions(text) if colour.wanted(context, context.out) else text
    context.print(text, end="")
    return EXIT_OK


def save(context: Context, words: Sequence[str]) -> int:
    """`save [xml|--exact] [OBJECT…] FILE|-`."""
    if not words or words in (("xml",), ("--exact",)):
        raise UsageError(what="save needs a file", usage="save [xml|--exact] [OBJECT…] FILE|-")
    text = _text(context, words[:-1], hide=False)
    if words[-1] == "-":
        context.print(text, end="")
    else:
        write_atomically(Path(words[-1]), text.encode())
    return EXIT_OK


def load_file(context: Context, words: Sequence[str]) -> int:
    """`load [xml] update|replace|push FILE|-`: all or nothing."""
    usage = "load [xml] update|replace|push FILE|-"
    as_xml = bool(words) and words[0] == "xml"
    words = words[1:] if as_xml else words
    if len(words) != 2:
        raise UsageError(what="load needs a method and a file", usage=usage)
    method, name = words
    if method not in ("update", "replace", "push"):
        raise UsageError(what=f"{method!r} is not a way to load", usage=usage)
    text = _read(name)
    source = "standard input" if name == "-" else name
    if as_xml or text.lstrip().startswith("<"):
        definitions = xml_definitions(codec.parse(text.encode(), source=source))
    else:
        definitions = parse_text(text, source, lambda agent: _provider(context, agent))
    _apply(context, definitions, source, Mode(method))
    return EXIT_OK


def _read(name: str) -> str:
    if name == "-":
        return sys.stdin.read().removeprefix("\ufeff")
    if "://" in name:
        return _fetched(name)
    try:
        return Path(name).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(what=f"{name} is not UTF-8: {error}") from None


def _fetched(url: str) -> str:
    """What a URL gives. Raises InvalidRequest."""
    import urllib.error
    import urllib.request

    if not url.startswith(_SCHEMES):
        raise InvalidRequest(what=f"{url}: only {', '.join(_SCHEMES)} are read")
    try:
        with urllib.request.urlopen(url, timeout=FETCH_WITHIN_S) as answer:  # noqa: S310 (checked above)
            data: bytes = answer.read(FETCHED_MAX + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise InvalidRequest(what=f"{url}: {error}", remedy="fetch the file, and load that") from None
    if len(data) > FETCHED_MAX:
        raise InvalidRequest(what=f"{url}: more than {FETCHED_MAX} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(what=f"{url} is not UTF-8: {error}") from None


def delete(context: Context, words: Sequence[str]) -> int:
    """`delete [--force] ID…`."""
    force = context.options.force
    names = [word for word in words if word not in ("-f", "--force")]
    if not names:
        raise UsageError(what="delete needs an id", usage="delete [--force] ID…")
    workspace = context.open_workspace()
    if force:
        names = [name for name in names if find(workspace.cib, name) is not None]
    if len(names) == len(words) and not force:
        _refuse_running(context, workspace, names, ", or `delete --force {name}`")
    workspace.cib = edits.delete(workspace.cib, names)
    workspace.named |= {*names}
    workspace.deletes = workspace.deletes or len(names) == len(words)
    return EXIT_OK


def _refuse_running(
    context: Context, workspace: Workspace, names: Sequence[str], otherwise: str = ""
) -> None:
    """Resources that run are not deleted or renamed under the cluster's feet. `otherwise`: another way."""
    if context.offline:
        return
    shown = None
    for name in names:
        item = find(workspace.cib, name)
        if item is None or item.tag not in ("primitive", "group", "clone", "master", "bundle"):
            continue
        shown = shown or view_of(workspace.base.cib)
        nodes = shown.active_nodes(item)
        if nodes:
            raise InvalidRequest(
                what=f"{name} is running on {', '.join(nodes)}",
                remedy=f"stop it first: `hacli resource stop {name}`{otherwise.format(name=name)}",
            )


def rename(context: Context, words: Sequence[str]) -> int:
    """`rename OLD NEW`."""
    if len(words) != 2:
        raise UsageError(what="rename needs two ids", usage="rename OLD NEW")
    workspace = context.open_workspace()
    _refuse_running(context, workspace, words[:1])
    workspace.cib = edits.rename(workspace.cib, words[0], words[1])
    workspace.named |= {*words}
    return EXIT_OK


def modgroup(context: Context, words: Sequence[str]) -> int:
    """`modgroup G add ID [after|before ID]`, `modgroup G remove ID`."""
    workspace = context.open_workspace()
    workspace.named |= {*words}
    match tuple(words):
        case (group, "add", member):
            workspace.cib = edits.modgroup_add(workspace.cib, group, member)
        case (group, "add", member, "before", other):
            workspace.cib = edits.modgroup_add(workspace.cib, group, member, before=other)
        case (group, "add", member, "after", other):
            workspace.cib = edits.modgroup_add(workspace.cib, group, member, after=other)
        case (group, "remove", member):
            workspace.cib = edits.modgroup_remove(workspace.cib, group, member)
        case _:
            raise UsageError(
                what="modgroup is not understood", usage="modgroup G add ID [after|before ID] | remove ID"
            )
    return EXIT_OK


def set(context: Context, words: Sequence[str]) -> int:  # noqa: A001 (the command's name)
    """`set PATH VALUE`."""
    if len(words) != 2:
        raise UsageError(what="set needs a path and a value", usage="set ID.NAME VALUE")
    workspace = context.open_workspace()
    workspace.cib = edits.set_path(workspace.cib, words[0], words[1])
    workspace.named.add(words[0].partition(".")[0])
    return EXIT_OK


def get_property(context: Context, words: Sequence[str]) -> int:
    """`get_property [-t|--true] NAME…`: the value, else the default."""
    from cli.grammar.cluster_options import DEFAULTS

    as_boolean = bool(words) and words[0] in ("-t", "--true")
    names = words[1:] if as_boolean else words
    if not names:
        raise UsageError(what="get_property needs a name", usage="get_property [-t|--true] NAME…")
    cib = context.open_workspace().cib
    status = EXIT_OK
    rows: list[dict[str, str]] = []
    for name in names:
        value = property_value(cib, name)
        if value is None:
            value = DEFAULTS.get(name)
        if value is None:
            context.error(str(NotFound(kind="cluster option", name=name)))
            status = EXIT_FAILED
        elif context.options.structured:
            shown = ("true" if boolean_of(value) else "false") if as_boolean else value
            rows.append({"name": name, "value": shown})
        elif as_boolean:
            context.print("true" if boolean_of(value) else "false")
        else:
            context.print(value)
    if context.options.structured:
        context.emit("properties", {"properties": rows})
    return status


def property_value(cib: Element, name: str) -> str | None:
    """The value of a cluster option in the first set that has it."""
    for one in section(cib, "crm_config").all("cluster_property_set"):
        for pair in one.all("nvpair"):
            if pair.get("name") == name:
                return pair.get("value")
    return None


def verify(context: Context, words: Sequence[str]) -> int:
    """`verify`: errors give status 1, warnings 0. On a CIB file the agents are not asked."""
    from cli.grammar.verify import Severity
    from cli.grammar.verify import verify as check

    if words:
        raise UsageError(what="verify takes no arguments", usage="verify")
    cib = context.open_workspace().cib
    problems = check(cib)
    if not context.offline:
        from cli.agent_checks import agent_problems
        from cli.agent_sources import AgentsOfTheCluster

        problems += agent_problems(cib, AgentsOfTheCluster(context, cib))
    if context.options.structured:
        from cli.commands.verify import emit_findings

        emit_findings(context, problems)
    else:
        for problem in problems:
            (context.error if problem.severity is Severity.ERROR else context.warning)(str(problem))
    return EXIT_FAILED if any(problem.severity is Severity.ERROR for problem in problems) else EXIT_OK


def commit(context: Context, words: Sequence[str]) -> int:
    """`commit [force] [--reason TEXT] [--confirm TIME [--guard RSC,…]]`."""
    workspace = context.open_workspace()
    if not workspace.changed and not workspace.failed:
        context.info("there is nothing to commit")
        return EXIT_OK
    before = context.options
    context.options = commit_options(before, words)
    try:
        return finish_session(context)
    finally:
        context.options = before


def commit_options(options: Options, words: Sequence[str]) -> Options:
    """The options with those of a commit. Raises UsageError."""
    usage = "commit [force] [--reason TEXT] [--confirm TIME [--guard RSC,…]]"
    rest = list(words)
    changed = dataclasses.replace(options)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word in ("force", "replace"):
            changed.force = changed.force or word == "force"
            continue
        if name not in ("--reason", "--confirm", "--guard"):
            raise UsageError(what=f"{word!r} is not understood", usage=usage)
        if not equals:
            if not rest:
                raise UsageError(what=f"{name} needs a value", usage=usage)
            value = rest.pop(0)
        set_value(changed, name, value)
    return changed


def plan(context: Context, words: Sequence[str]) -> int:
    """`plan`: what the pending changes are and what the cluster would do."""
    if words:
        raise UsageError(what="plan takes no arguments", usage="plan")
    from cli.commands.apply import print_plan

    workspace = context.open_workspace()
    print_plan(context, workspace)
    return EXIT_OK


def refresh(context: Context, _words: Sequence[str]) -> int:
    """`refresh`: drop the changes, read again."""
    context.open_workspace().refresh()
    return EXIT_OK


def erase(context: Context, words: Sequence[str]) -> int:
    """`erase [nodes]`."""
    if words not in ((), ("nodes",)):
        raise UsageError(what="erase is not understood", usage="erase [nodes]")
    workspace = context.open_workspace()
    only_nodes = words == ("nodes",)
    workspace.cib = without_nodes(workspace.cib) if only_nodes else erased(workspace.cib)
    return EXIT_OK


def default_timeouts(context: Context, words: Sequence[str]) -> int:
    """`default-timeouts ID…`: the times that the agents advise; start, stop and monitor are added."""
    from agents.catalog import Catalog
    from cli.agent_information import agent_name, read_metadata
    from cli.grammar.advised import with_advised_times

    if not words:
        raise UsageError(what="name a primitive", usage="default-timeouts ID…")
    workspace, catalog = context.open_workspace(), Catalog.of_this_node()
    for name in words:
        item = find(workspace.cib, name, "primitive", "template")
        if item is None:
            raise NotFound(kind="primitive", name=name)
        if not item.get("type"):
            raise InvalidRequest(what=f"{name} has the type of its template", remedy="name the template")
        agent = ":".join(item.get(part) for part in ("class", "provider", "type") if item.get(part))
        advised = read_metadata(agent_name(agent, catalog), catalog).actions
        times = [(one.name, one.role or "", one.timeout_ms, one.interval_ms) for one in advised]
        workspace.cib = with_advised_times(workspace.cib, item, times)
        workspace.named.add(name)
    return EXIT_OK


def filter(context: Context, words: Sequence[str]) -> int:  # noqa: A001 (the command's name)
    """`filter PROGRAM [xml] [OBJECT…]`: what the program prints becomes the objects, deletions included."""
    if not words:
        raise UsageError(what="filter needs a program", usage="filter PROGRAM [OBJECT…]")
    workspace = context.open_workspace()
    as_xml = words[1:2] == ("xml",)
    chosen = _chosen(workspace, words[2:] if as_xml else words[1:])
    if as_xml:
        chosen = _with_containers(workspace.cib, chosen)
    # One object a line, as stream editors like it.
    text = show_objects(workspace.cib, chosen).replace(" \\\n\t", " ")
    if as_xml:
        text = codec.render(xml_cib(workspace.cib, chosen))
    done = subprocess.run(  # noqa: S602 (the user's own shell command, as typed)
        words[0], shell=True, input=text.encode(), stdout=subprocess.PIPE, timeout=300, check=False
    )
    if done.returncode != 0:
        raise InvalidRequest(what=f"{words[0]}: exit status {done.returncode}", remedy="nothing was changed")
    _replace_with(context, chosen, done.stdout.decode(), words[0])
    return EXIT_OK


def _with_containers(cib: Element, chosen: tuple[Element, ...] | None) -> tuple[Element, ...] | None:
    """As XML a resource stands in its container, whose other members have to be there, too."""
    if chosen is None:
        return None
    names = {one.id for one in chosen if one.tag in RESOURCE_TAGS}
    tops = section(cib, "resources").all(*RESOURCE_TAGS)
    wanted = {id(part) for top in tops if names & {one.id for one in top.walk()} for part in top.walk()}
    return tuple(one for one in objects(cib) if id(one) in wanted or any(one is own for own in chosen))


def _replace_with(context: Context, chosen: tuple[Element, ...] | None, text: str, source: str) -> None:
    """The chosen objects become what the text says."""
    workspace = context.open_workspace()
    if text.lstrip().startswith("<"):
        definitions = xml_definitions(codec.parse(text.encode(), source=source))
    else:
        definitions = parse_text(text, source, lambda name: _provider(context, name))
    present = {definition.key for definition in definitions}
    present |= {
        Definition(element=one, line=0).key
        for definition in definitions
        for one in definition.element.walk()
        if definition.from_xml and one.tag in RESOURCE_TAGS
    }
    before = tuple(objects(workspace.cib)) if chosen is None else chosen
    gone = [object_id(one) for one in before if Definition(element=one, line=0).key not in present]
    changed = workspace.cib
    loaded = load(changed, definitions, source=source, mode=Mode.UPDATE)
    for warning in loaded.warnings:
        context.warning(warning)
    left = [name for name in gone if find(loaded.cib, name) is not None]
    workspace.cib = edits.delete(loaded.cib, left)
    workspace.named |= {*left, *definition_names(definitions)}


def edit(context: Context, words: Sequence[str]) -> int:
    """`edit [xml] [OBJECT…]`: in $EDITOR; what is gone from the text is deleted."""
    if not sys.stdin.isatty():
        raise InvalidRequest(what="edit needs a terminal", remedy="use `load update FILE`")
    workspace = context.open_workspace()
    as_xml = words[:1] == ("xml",)
    chosen = _chosen(workspace, words[1:] if as_xml else words)
    if as_xml:
        chosen = _with_containers(workspace.cib, chosen)
    text = codec.render(xml_cib(workspace.cib, chosen)) if as_xml else show_objects(workspace.cib, chosen)
    editor = user_options.value("editor") or os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.NamedTemporaryFile("w+", suffix=".crm", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        subprocess.run([*editor.split(), file.name], check=False, timeout=24 * 3600)
        changed = Path(file.name).read_text(encoding="utf-8")
    if changed != text:
        _replace_with(context, chosen, changed, "the edited text")
    return EXIT_OK
