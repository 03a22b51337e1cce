"""Settings -> the text of cluster.toml. The inverse of `hacluster.settings.parse`; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hacluster.durations import render_ms
from hacluster.settings import BUILTIN, Link, Node, Settings, Timers


def render(settings: Settings, *, heading: str = "") -> str:
    """The whole file; `heading` becomes comment lines at its top."""
    lines = [f"# {line}".rstrip() for line in heading.splitlines()]
    lines += [
        "[cluster]",
        f"name = {_text(settings.cluster_name)}",
        f"id = {_text(settings.cluster_id.hex())}",
        *(f"{name} = true" for name in ("insecure", "allow_diskless") if getattr(settings, name)),
        *(
            f"{name} = {getattr(settings, name)}"
            for name in ("revision", "highest_id")
            if getattr(settings, name)
        ),
        *([f"backend = {_text(settings.backend)}"] if settings.backend != BUILTIN else []),
        *_timers(settings.timers),
        "",
        "[quorum]",
        f"two_node = {_flag(settings.quorum.two_node)}",
        f"wait_for_all = {_flag(settings.quorum.wait_for_all)}",
    ]
    if settings.quorum.tiebreak:
        lines.append(f"tiebreak = {_text(settings.quorum.tiebreak)}")
    if settings.quorum.tie_breakers:
        named = settings.quorum.tie_breakers
        value = _text(named) if isinstance(named, str) else f"[{', '.join(map(_text, named))}]"
        lines.append(f"auto_tie_breaker = {value}")
    if settings.quorum.last_man_standing:
        lines += [
            "last_man_standing = true",
            f"lms_window = {_text(render_ms(settings.quorum.lms_window_ms))}",
        ]
    if settings.witness is not None:
        witness = settings.witness
        where = [f"address = {_text(witness.address)}", f"port = {witness.port}"]
        where = [f"device = {_text(witness.device)}"] if witness.device else where
        lines += ["", "[witness]", *where, f"votes = {witness.votes}"]
    lines += ["", "[ports]", f"crm = {settings.ports.crm}", f"lrm = {settings.ports.lrm}"]
    if settings.ports.api:
        lines.append(f"api = {settings.ports.api}")
    for link in settings.links:
        lines += ["", "[[link]]", *_link(link)]
    for node in settings.nodes:
        lines += ["", "[[node]]", *_node(node)]
    return "\n".join(lines) + "\n"


def _timers(timers: Timers) -> Iterator[str]:
    yield ""
    yield "[timers]"
    for name in ("keepalive", "warntime", "deadtime", "initdead", "deadping"):
        if name in ("deadtime", "warntime") and timers.deadtime_auto:
            if name == "deadtime":
                yield 'deadtime = "auto"'
            continue
        yield f"{name} = {_text(render_ms(getattr(timers, name + '_ms')))}"


def _link(link: Link) -> Iterator[str]:
    plain = Link(kind=link.kind)
    yield f"kind = {_text(link.kind)}"
    if link.kind in ("udp", "mcast", "bcast"):
        yield f"port = {link.port}"
    for name in ("interface", "group", "device"):
        if getattr(link, name):
            yield f"{name} = {_text(getattr(link, name))}"
    for name in ("ttl", "baud", "mtu"):
        if getattr(link, name) != getattr(plain, name):
            yield f"{name} = {getattr(link, name)}"
    if link.targets:
        yield f"targets = [{', '.join(map(_text, link.targets))}]"


def _node(node: Node) -> Iterator[str]:
    yield f"id = {node.id}"
    yield f"name = {_text(node.name)}"
    yield f"addresses = [{', '.join(map(_text, node.addresses))}]"
    if node.diskless:
        yield "diskless = true"
    elif node.votes != 1:
        yield f"votes = {node.votes}"


def _text(value: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's."""
    return json.dumps(value, ensure_ascii=False)


def _flag(value: bool) -> str:
    return "true" if value else "false"
