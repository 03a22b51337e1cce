"""`hacli ra`: the resource agents of this node."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from agents.catalog import Catalog
from agents.metadata import AgentMetadata, AgentParameter
from cli.agent_information import agent_name, read_metadata
from cli.context import EXIT_FAILED, EXIT_OK, Context, UsageError
from hacluster.durations import render_ms

_CLASSES: Final = ("lsb", "ocf", "service", "stonith", "systemd", "heartbeat")


def classes(context: Context, _words: Sequence[str]) -> int:
    """`classes`: the classes, and the providers of ocf."""
    if context.options.structured:
        context.emit("agents", {"agents": sorted(_CLASSES)})
        return EXIT_OK
    for name in sorted(_CLASSES):
        context.print(f"{name} / {' '.join(Catalog.of_this_node().providers())}" if name == "ocf" else name)
    return EXIT_OK


def list_agents(context: Context, words: Sequence[str]) -> int:
    """`list CLASS [PROVIDER]`."""
    if not 1 <= len(words) <= 2 or words[0] not in _CLASSES:
        raise UsageError(what=f"name a class: {' '.join(sorted(_CLASSES))}", usage="ra list CLASS [PROVIDER]")
    provider = words[1] if len(words) == 2 else ""
    found = Catalog.of_this_node().list(words[0], provider)
    if context.options.structured:
        context.emit("agents", {"agents": [str(one) for one in found]})
        return EXIT_OK
    for one in found:
        context.print(f"{one.type}" if provider or not one.provider else f"{one.provider}:{one.type}")
    return EXIT_OK


def providers(context: Context, words: Sequence[str]) -> int:
    """`providers TYPE [CLASS]`: only agents of class ocf have providers."""
    if not 1 <= len(words) <= 2 or (len(words) == 2 and words[1] not in _CLASSES):
        raise UsageError(what="name a type", usage="ra providers TYPE [CLASS]")
    agents = Catalog.of_this_node().list("ocf") if words[1:] in ((), ("ocf",)) else ()
    found = [one.provider for one in agents if one.type == words[0]]
    if context.options.structured:
        context.emit("agents", {"agents": [f"ocf:{one}:{words[0]}" for one in found]})
    else:
        context.print(" ".join(found))
    return EXIT_OK if found else EXIT_FAILED


def info(context: Context, words: Sequence[str]) -> int:
    """`info [CLASS:[PROVIDER:]]TYPE`: what it does, its parameters, its operations."""
    if len(words) != 1:
        raise UsageError(what="name an agent", usage="ra info [CLASS:[PROVIDER:]]TYPE")
    catalog = Catalog.of_this_node()
    name = agent_name(words[0], catalog)
    described = read_metadata(name, catalog)
    if context.options.structured:
        import dataclasses

        context.emit("agent", {"agent": str(name)} | dataclasses.asdict(described))
        return EXIT_OK
    for line in _described(str(name), described):
        context.print(line)
    return EXIT_OK


def _described(name: str, described: AgentMetadata) -> Iterator[str]:
    yield f"{described.shortdesc} ({name})"
    yield ""
    yield from _paragraph(described.longdesc, "")
    if described.parameters:
        yield ""
        yield "Parameters (*: required, []: default):"
    for one in described.parameters:
        yield ""
        yield _heading(one)
        if one.longdesc.rstrip(".") != one.shortdesc.rstrip("."):
            yield from _paragraph(one.longdesc, "    ")
    if described.actions:
        yield ""
        yield "Operations' defaults (advisory minimum):"
        yield ""
    for action in described.actions:
        times = {"timeout": action.timeout_ms, "interval": action.interval_ms}
        text = " ".join(f"{key}={render_ms(value)}" for key, value in times.items() if value is not None)
        role = f" role={action.role}" if action.role else ""
        yield f"    {action.name:13} {text}{role}".rstrip()


def _heading(one: AgentParameter) -> str:
    kind = ", ".join(one.options) if one.options else one.type
    default = f", [{one.default}]" if one.default is not None else ""
    return f"{one.name}{'*' if one.required else ''} ({kind}{default}): {one.shortdesc}".rstrip(": ")


def _paragraph(text: str, indent: str) -> Iterator[str]:
    yield from textwrap.wrap(" ".join(text.split()), 100, initial_indent=indent, subsequent_indent=indent)
