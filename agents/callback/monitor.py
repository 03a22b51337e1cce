"""crm_mon: the cluster's state once as text, XML or HTML, or again and again into a file (ClusterMon)."""

from __future__ import annotations

import os
import time

from agents.callback import client, document
from agents.callback.arguments import FLAG, VALUE, parse
from agents.callback.client import EXIT_ERROR, EXIT_OK, EXIT_USAGE, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from xml.etree.ElementTree import Element

    from agents.callback.document import Document, Instance, Node

_OPTIONS = {
    "-1": ("once", FLAG),
    "--one-shot": ("once", FLAG),
    "-X": ("xml", FLAG),
    "--as-xml": ("xml", FLAG),
    "--output-as": ("as", VALUE),
    "--output-to": ("to", VALUE),
    "-h": ("html", VALUE),
    "--as-html": ("html", VALUE),
    "-d": ("daemonize", FLAG),
    "--daemonize": ("daemonize", FLAG),
    "-p": ("pid", VALUE),
    "--pid-file": ("pid", VALUE),
    "-i": ("interval", VALUE),
    "--interval": ("interval", VALUE),
    "-r": ("inactive", FLAG),
    "--inactive": ("inactive", FLAG),
    "-$": ("version", FLAG),
    "--version": ("version", FLAG),
    **dict.fromkeys(
        (
            *("-A", "--show-node-attributes", "-n", "--group-by-node", "-f", "--failcounts"),
            *("-o", "--operations", "-t", "--timing-details", "-c", "--tickets", "-V", "--verbose"),
            *("-N", "--no-header", "-b", "--brief", "-j", "--pending", "-Q", "--quiet"),
            *("-R", "--show-detail", "-L", "--neg-locations"),
        ),
        ("ignored", FLAG),
    ),
}

_FORMATS = frozenset({"xml", "text", "html"})


def crm_mon(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """`crm_mon` as agents use it; the exit code. Options that only change how much is shown are ignored."""
    from agents.callback.cluster import PACEMAKER_VERSION

    try:
        given = parse(argv, _OPTIONS)
        if "version" in given:
            print(f"Pacemaker {PACEMAKER_VERSION}")
            return EXIT_OK
        kind = "xml" if "xml" in given else "html" if "html" in given else given.get("as", "text")
        if kind not in _FORMATS:
            raise Refused(EXIT_USAGE, f"output as {kind!r} is not known: {', '.join(sorted(_FORMATS))}")
        target = given.get("html") or given.get("to", "")
        if "daemonize" in given:
            return _daemon(given, kind, target, environ)
        text = _render(kind, document.read(environ), "inactive" in given)
        if target:
            _write(target, text)
        else:
            print(text, end="")
    except Refused as refused:
        return client.fail("crm_mon", refused)
    return EXIT_OK


def _daemon(given: Mapping[str, str], kind: str, target: str, environ: Mapping[str, str]) -> int:
    """In the background: write the file at every interval until ended. The parent returns at once."""
    if not target:
        raise Refused(EXIT_USAGE, "in the background a file is needed (--output-to)")
    interval_s = int(given.get("interval", "5").rstrip("s") or 5)
    if os.fork():
        return EXIT_OK
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    if given.get("pid"):
        _write(given["pid"], f"{os.getpid()}\n")
    while True:
        try:
            text = _render(kind, document.read(environ), "inactive" in given)
        except Refused as refused:
            text = _nothing(kind, refused.text)
        try:
            _write(target, text)
        except Refused:
            return EXIT_ERROR
        time.sleep(max(interval_s, 1))


def _nothing(kind: str, why: str) -> str:
    if kind == "html":
        return f"<html><body><p>{escape(why)}</p></body></html>\n"
    return f"<crm_mon error={quoteattr(why)}/>\n" if kind == "xml" else f"{why}\n"


def _write(path: str, text: str) -> None:
    try:
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(f"{path}.new", path)
    except OSError as error:
        raise Refused(EXIT_ERROR, f"{path} cannot be written: {error.strerror}") from error


def _render(kind: str, cib: Document, inactive: bool) -> str:
    if kind == "xml":
        return as_xml(cib)
    text = as_text(cib, inactive)
    if kind == "text":
        return text
    return (
        "<!DOCTYPE html><html><head><title>Cluster status</title></head>"
        f"<body><pre>{escape(text)}</pre></body></html>\n"
    )


def as_xml(cib: Document) -> str:
    """The document of `crm_mon --output-as=xml` as far as agents look at it (they grep lines)."""
    from agents.callback.cluster import PACEMAKER_VERSION

    dc = next((node for node in cib.nodes if node.is_dc), None)
    quorum = _truth(cib.root.get("have-quorum") == "1")
    lines = ['<?xml version="1.0"?>', f'<crm_mon version="{PACEMAKER_VERSION}">', "  <summary>"]
    lines.append('    <stack type="hacluster"/>')
    if dc is None:
        lines.append('    <current_dc present="false"/>')
    else:
        version = f'version="{PACEMAKER_VERSION}" name={quoteattr(dc.name)} id={quoteattr(dc.id)}'
        lines.append(f'    <current_dc present="true" {version} with_quorum="{quorum}"/>')
    lines.append(f'    <last_update time="{time.ctime()}"/>')
    lines.append(f'    <nodes_configured number="{len(cib.nodes)}"/>')
    options = (
        ("stonith-enabled", "true"),
        ("symmetric-cluster", "true"),
        ("no-quorum-policy", "stop"),
        ("maintenance-mode", "false"),
    )
    shown = " ".join(f"{name}={quoteattr(cib.option(name, default))}" for name, default in options)
    lines += [f"    <cluster_options {shown}/>", "  </summary>", "  <nodes>"]
    lines += [f"    {_node_xml(cib, node)}" for node in cib.nodes]
    lines += ["  </nodes>", "  <resources>"]
    for item in cib.resources():
        lines += _resource_xml(cib, item, "    ", managed=_is_managed(cib, item, None))
    lines += [line for one in cib.orphans() for line in _instance_xml(one, "    ", orphan=True, managed=True)]
    lines += ["  </resources>", "  <node_attributes>"]
    for node in cib.nodes:
        if node.transient or node.attributes:
            lines.append(f"    <node name={quoteattr(node.name)}>")
            for name, value in sorted({**node.attributes, **node.transient}.items()):
                if not name.startswith(("#", "fail-count-", "last-failure-")):
                    lines.append(f"      <attribute name={quoteattr(name)} value={quoteattr(value)}/>")
            lines.append("    </node>")
    lines += ["  </node_attributes>", "</crm_mon>"]
    return "\n".join(lines) + "\n"


def _node_xml(cib: Document, node: Node) -> str:
    running = sum(one.active for one in cib.instances if one.node is node)
    values = {
        "name": node.name,
        "id": node.id,
        "online": _truth(node.online),
        "standby": _truth(node.says("standby")),
        "standby_onfail": "false",
        "maintenance": _truth(node.says("maintenance")),
        "pending": _truth(node.pending),
        "unclean": _truth(node.unclean),
        "shutdown": _truth(node.shutdown),
        "expected_up": _truth(node.expected_up),
        "is_dc": _truth(node.is_dc),
        "resources_running": str(running),
        "type": node.kind,
    }
    return "<node " + " ".join(f"{name}={quoteattr(value)}" for name, value in values.items()) + "/>"


def _is_managed(cib: Document, item: Element, parent: bool | None) -> bool:
    if document.meta(item, "maintenance").lower() in document.TRUE:
        return False
    own = document.meta(item, "is-managed").lower()
    if own:
        return own in document.TRUE
    if parent is not None:
        return parent
    return cib.option("maintenance-mode", "false").lower() not in document.TRUE


def _resource_xml(cib: Document, item: Element, indent: str, *, managed: bool) -> list[str]:
    name = quoteattr(item.get("id", ""))
    if item.tag == "primitive":
        return _primitive_xml(cib, item, indent, managed=managed)
    inner = [child for child in item if child.tag in document.RESOURCES]
    if item.tag == "group":
        head = (
            f'<group id={name} number_resources="{len(inner)}" managed="{_truth(managed)}" disabled="false">'
        )
    elif item.tag in ("clone", "master"):
        promotable = item.tag == "master" or document.meta(item, "promotable").lower() in document.TRUE
        unique = document.meta(item, "globally-unique").lower() in document.TRUE
        head = (
            f'<clone id={name} multi_state="{_truth(promotable)}" unique="{_truth(unique)}" '
            f'managed="{_truth(managed)}" disabled="false" failed="false" failure_ignored="false">'
        )
    else:
        head = f'<bundle id={name} managed="{_truth(managed)}">'
    lines = [indent + head]
    for child in inner:
        lines += _resource_xml(cib, child, indent + "  ", managed=_is_managed(cib, child, managed))
    return [*lines, f"{indent}</{'clone' if item.tag == 'master' else item.tag}>"]


def _primitive_xml(cib: Document, item: Element, indent: str, *, managed: bool) -> list[str]:
    active = [one for one in cib.of(item.get("id", "")) if one.active]
    if active:
        return [line for one in active for line in _instance_xml(one, indent, orphan=False, managed=managed)]
    kind = ":".join(part for name in ("class", "provider", "type") if (part := item.get(name, "")))
    return [
        f"{indent}<resource id={quoteattr(item.get('id', ''))} resource_agent={quoteattr(kind)} "
        f'role="Stopped" active="false" orphaned="false" blocked="false" managed="{_truth(managed)}" '
        'failed="false" failure_ignored="false" nodes_running_on="0"/>'
    ]


def _instance_xml(one: Instance, indent: str, *, orphan: bool, managed: bool) -> list[str]:
    return [
        f"{indent}<resource id={quoteattr(one.id)} resource_agent={quoteattr(one.agent)} "
        f'role="{one.role}" active="{_truth(one.active)}" orphaned="{_truth(orphan)}" '
        f'blocked="{_truth(one.blocked)}" managed="{_truth(managed)}" failed="{_truth(one.failed)}" '
        'failure_ignored="false" nodes_running_on="1">',
        f'{indent}  <node name={quoteattr(one.node.name)} id={quoteattr(one.node.id)} cached="true"/>',
        f"{indent}</resource>",
    ]


def as_text(cib: Document, inactive: bool) -> str:
    """For people: summary, nodes, resources."""
    dc = next((node.name for node in cib.nodes if node.is_dc), "NONE")
    partition = "with quorum" if cib.root.get("have-quorum") == "1" else "WITHOUT quorum"
    lines = ["Cluster Summary:", f"  * Current DC: {dc} - partition {partition}"]
    lines += [f"  * {len(cib.nodes)} nodes configured", "", "Node List:"]
    plain = [n for n in cib.nodes if n.online and not n.says("standby") and not n.says("maintenance")]
    for node in cib.nodes:
        if node.online and node not in plain:
            lines.append(f"  * Node {node.name}: {'standby' if node.says('standby') else 'maintenance'}")
        elif node.unclean:
            lines.append(f"  * Node {node.name}: UNCLEAN (offline)")
        elif node.pending:
            lines.append(f"  * Node {node.name}: pending")
    if plain:
        lines.append(f"  * Online: [ {' '.join(node.name for node in plain)} ]")
    offline = [node.name for node in cib.nodes if not (node.online or node.unclean or node.pending)]
    if offline:
        lines.append(f"  * OFFLINE: [ {' '.join(offline)} ]")
    lines += ["", "Full List of Resources:" if inactive else "Active Resources:"]
    for item in cib.resources():
        lines += _resource_text(cib, item, "  ", inactive)
    for one in cib.orphans():
        lines.append(f"  * {_instance_text(one)} (orphaned)")
    return "\n".join(lines) + "\n"


def _resource_text(cib: Document, item: Element, indent: str, inactive: bool) -> list[str]:
    if item.tag == "primitive":
        active = [one for one in cib.of(item.get("id", "")) if one.active]
        lines = [f"{indent}* {_instance_text(one)}" for one in active]
        if not active and inactive:
            lines.append(f"{indent}* {item.get('id')}\t Stopped")
        return lines
    titles = {
        "group": "Resource Group",
        "clone": "Clone Set",
        "master": "Clone Set",
        "bundle": "Container bundle",
    }
    inner: list[str] = []
    for child in item:
        if child.tag in document.RESOURCES:
            inner += _resource_text(cib, child, indent + "  ", inactive)
    return [f"{indent}* {titles[item.tag]}: {item.get('id')}:", *inner] if inner else []


def _instance_text(one: Instance) -> str:
    role = "FAILED" if one.failed else one.role
    return f"{one.id}\t({one.agent}):\t {role} {one.node.name}"


def _truth(value: bool) -> str:
    return "true" if value else "false"


def escape(text: str) -> str:
    """For a text node. (xml.sax.saxutils would import urllib: as much again as all the rest.)"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def quoteattr(text: str) -> str:
    """With its quotes, for an attribute; line breaks are kept."""
    escaped = escape(text).replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;")
    return f'"{escaped}"'
