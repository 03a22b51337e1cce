"""What an agent says of itself: meta-data XML (OCF RA API 1.0 and 1.1, fence agents) as a frozen model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lxml import etree

from hacluster.durations import parse_ms
from hacluster.errors import InvalidDocument

METADATA_BYTES_MAX: Final = 4 * 1024 * 1024

_TRUE: Final = frozenset({"1", "true", "yes", "on", "y"})
_SECRET: Final = re.compile(
    r"passw(or)?d|passphrase|secret|credential|(^|_)pass$|(^|_)token$|(api|access|private)_?key$",
    re.IGNORECASE,
)
_NAMES_A_FILE: Final = re.compile(r"(file|path|script|dir|prompt|cmd)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentParameter:
    """One parameter. `type` is boolean, string, integer, select (with `options`) or what the agent wrote.

    `default` is None when the agent states none. `unique_group` names parameters that are unique together;
    a parameter with only `unique="1"` is alone in a group of its own name. `reloadable` is OCF 1.1's;
    what an OCF 1.0 agent can reload is AgentMetadata.reloadable_parameters' business.
    """

    name: str
    type: str = "string"
    default: str | None = None
    required: bool = False
    unique: bool = False
    unique_group: str = ""
    reloadable: bool = False
    deprecated: bool = False
    replaced_with: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    private: bool = False
    shortdesc: str = ""
    longdesc: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentAction:
    """One advertised action. Times are advice for tools (None: not stated), `depth` is the check level."""

    name: str
    timeout_ms: int | None = None
    interval_ms: int | None = None
    start_delay_ms: int | None = None
    depth: str = ""
    role: str = ""
    on_target: bool = False
    automatic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentMetadata:
    """All an agent says of itself. `ocf_version` is (1, 0) when the agent does not state one."""

    name: str
    version: str = ""
    ocf_version: tuple[int, int] = (1, 0)
    shortdesc: str = ""
    longdesc: str = ""
    parameters: tuple[AgentParameter, ...] = ()
    actions: tuple[AgentAction, ...] = ()

    def parameter(self, name: str) -> AgentParameter | None:
        """The parameter of that name; names are case-sensitive."""
        return next((parameter for parameter in self.parameters if parameter.name == name), None)

    def action(self, name: str, *, depth: str = "", role: str = "") -> AgentAction | None:
        """The first advertised action of that name; `depth` and `role` are preferred, not required."""
        candidates = [action for action in self.actions if action.name == name]
        candidates.sort(key=lambda action: (action.role != role, (action.depth or "0") != (depth or "0")))
        return candidates[0] if candidates else None

    def supports(self, action: str) -> bool:
        """True when the action is advertised (Slave and Master spellings are the agent's own)."""
        return any(one.name == action for one in self.actions)

    @property
    def promotable(self) -> bool:
        """True when the agent knows promote and demote."""
        return self.supports("promote") and self.supports("demote")

    @property
    def reload_action(self) -> str:
        """The action for changed parameters: "reload-agent" (OCF 1.1), "reload" (OCF 1.0), or ""."""
        if self.ocf_version >= (1, 1):
            return "reload-agent" if self.supports("reload-agent") else ""
        return "reload" if self.supports("reload") else ""

    @property
    def reloadable_parameters(self) -> tuple[str, ...]:
        """Parameters that `reload_action` can change without a restart; none when there is no such action.

        For OCF 1.0 agents these are the ones that are not unique (Pacemaker's legacy reading).
        """
        if not self.reload_action:
            return ()
        if self.ocf_version >= (1, 1):
            return tuple(parameter.name for parameter in self.parameters if parameter.reloadable)
        return tuple(parameter.name for parameter in self.parameters if not parameter.unique)

    @property
    def private_parameters(self) -> tuple[str, ...]:
        """Parameters whose values appear in no log, report or secure digest."""
        return tuple(parameter.name for parameter in self.parameters if parameter.private)


def is_secret_name(name: str) -> bool:
    """True for names that look like a password's; a parameter that names a file is not one."""
    return _SECRET.search(name) is not None and _NAMES_A_FILE.search(name) is None


def parse(text: str | bytes, source: str) -> AgentMetadata:
    """The model of an agent's meta-data. `source` (the agent's name) is for the error.

    Output before the document is skipped (some agents log to stdout). Entities and network are off.
    Raises InvalidDocument when it is no XML or not a resource-agent's.
    """
    raw = text.encode() if isinstance(text, str) else text
    if len(raw) > METADATA_BYTES_MAX:
        raise _invalid(source, 0, f"meta-data of {len(raw)} bytes")
    start = max(raw.find(b"<?xml"), 0) or max(raw.find(b"<resource-agent"), 0)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, remove_comments=True
    )
    try:
        root = etree.fromstring(raw[start:], parser)
    except etree.XMLSyntaxError as error:
        line = error.lineno or 0
        raise _invalid(source, line, f"the meta-data is not XML: {error.msg}") from error
    if root.tag != "resource-agent":
        raise _invalid(source, _line(root), f"the meta-data is of <{root.tag}>")
    return AgentMetadata(
        name=root.get("name", ""),
        version=root.get("version", ""),
        ocf_version=_ocf_version(_text(root, "version")),
        shortdesc=_text(root, "shortdesc") or root.get("shortdesc", ""),
        longdesc=_text(root, "longdesc"),
        parameters=tuple(_parameters(root)),
        actions=tuple(_actions(root)),
    )


def lsb_metadata(script: str, name: str) -> AgentMetadata:
    """What the INIT INFO block of an init script says; an LSB script has no parameters.

    The actions are the ones every conforming script knows, with Pacemaker's default times.
    """
    block = re.search(r"^### BEGIN INIT INFO$(.*?)^### END INIT INFO", script, re.MULTILINE | re.DOTALL)
    fields: dict[str, str] = {}
    last = ""
    for line in (block.group(1) if block else "").splitlines():
        header = re.match(r"#\s*([A-Za-z-]+):\s*(.*)", line)
        if header is not None:
            last = header.group(1).lower()
            fields[last] = header.group(2).strip()
        elif last == "description" and re.match(r"#(\t|  )", line):
            fields[last] += " " + line.lstrip("#").strip()
    actions = tuple(
        AgentAction(name=one, timeout_ms=15_000) for one in ("start", "stop", "status", "restart")
    )
    return AgentMetadata(
        name=name,
        version="1.0",
        shortdesc=fields.get("short-description", name),
        longdesc=fields.get("description", ""),
        actions=(*actions, AgentAction(name="monitor", timeout_ms=15_000, interval_ms=15_000)),
    )


def systemd_metadata(unit: str, description: str) -> AgentMetadata:
    """What systemd says of a unit; it has no parameters. The times are Pacemaker's defaults."""
    name = unit.removesuffix(".service")
    actions = tuple(AgentAction(name=one, timeout_ms=100_000) for one in ("start", "stop", "status"))
    monitor = AgentAction(name="monitor", timeout_ms=100_000, interval_ms=60_000)
    return AgentMetadata(
        name=name,
        version="1.0",
        shortdesc=description or name,
        longdesc=description,
        actions=(*actions, monitor),
    )


def glue_metadata(name: str, parameters: str) -> str:
    """The meta-data of a plugin of cluster-glue: the <parameters> that it prints, with what it really can do.
    It cannot tell a node's status, and what "list" is to others it calls gethosts.
    """
    actions = "".join(
        f'<action name="{one}" timeout="60s"/>' for one in ("on", "off", "reboot", "list", "monitor")
    )
    _, found, inner = parameters.partition("<parameters")
    inner, _, _ = inner.partition("</parameters>")
    inner = f"<parameters{inner}</parameters>" if found else "<parameters/>"
    return (
        f'<resource-agent name="{name}"><version>1.0</version><shortdesc lang="en">{name}</shortdesc>'
        f"{inner}<actions>{actions}</actions></resource-agent>"
    )


def to_xml(metadata: AgentMetadata) -> str:
    """Meta-data of an agent without parameters, which cannot print its own (LSB, systemd)."""
    root = etree.Element("resource-agent", name=metadata.name, version=metadata.version or "1.0")
    etree.SubElement(root, "version").text = "1.1"
    for tag, text in (("longdesc", metadata.longdesc), ("shortdesc", metadata.shortdesc)):
        etree.SubElement(root, tag, lang="en").text = text
    etree.SubElement(root, "parameters")
    actions = etree.SubElement(root, "actions")
    for action in metadata.actions:
        element = etree.SubElement(actions, "action", name=action.name)
        for name, value_ms in (("timeout", action.timeout_ms), ("interval", action.interval_ms)):
            if value_ms is not None:
                element.set(name, f"{value_ms // 1_000}s")
    return etree.tostring(root, pretty_print=True, xml_declaration=True, encoding="utf-8").decode()


def _invalid(source: str, line: int, what: str) -> InvalidDocument:
    return InvalidDocument(
        source=source, line=line, what=what, remedy="run the agent with meta-data and look"
    )


def _line(element: etree._Element) -> int:
    line: object = element.sourceline  # the stubs disagree with themselves about its type
    return line if isinstance(line, int) else 0


def _ocf_version(text: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match.group(1)), int(match.group(2))) if match else (1, 0)


def _text(element: etree._Element, child: str) -> str:
    """Text of the child, preferring one in English or without a language."""
    found = element.findall(child)
    found.sort(key=lambda one: not one.get("lang", "en").startswith("en"))
    return " ".join((found[0].text or "").split()) if found else ""


def _is_true(element: etree._Element, attribute: str) -> bool:
    return element.get(attribute, "").lower() in _TRUE


def _parameters(root: etree._Element) -> Iterator[AgentParameter]:
    heirs = {
        old: one.get("name", "")  # of fence agents: the new one names the old one
        for one in root.iterfind("parameters/parameter")
        if (old := one.get("obsoletes", "")) and not _is_true(one, "deprecated")
    }
    for element in root.iterfind("parameters/parameter"):
        name = element.get("name", "")
        if not name:
            continue
        content = element.find("content")
        deprecated = element.find("deprecated")
        group = element.get("unique-group", "")
        unique = _is_true(element, "unique")
        yield AgentParameter(
            name=name,
            type="string" if content is None else content.get("type", "string"),
            default=None if content is None else content.get("default"),
            required=_is_true(element, "required"),
            unique=unique or bool(group),
            unique_group=group or (name if unique else ""),
            reloadable=_is_true(element, "reloadable"),
            deprecated=deprecated is not None or _is_true(element, "deprecated"),
            replaced_with=_replacements(element, deprecated) or ((heirs[name],) if name in heirs else ()),
            options=()
            if content is None
            else tuple(one.get("value", "") for one in content.iterfind("option")),
            private=_is_true(element, "private") or is_secret_name(name),
            shortdesc=_text(element, "shortdesc"),
            longdesc=_text(element, "longdesc"),
        )


def _replacements(element: etree._Element, deprecated: etree._Element | None) -> tuple[str, ...]:
    old = element.get("obsoletes", "")
    if deprecated is None:
        return (old,) if old and _is_true(element, "deprecated") else ()
    return tuple(one.get("name", "") for one in deprecated.iterfind("replaced-with"))


def _actions(root: etree._Element) -> Iterator[AgentAction]:
    for element in root.iterfind("actions/action"):
        yield AgentAction(
            name=element.get("name", ""),
            timeout_ms=_milliseconds(element.get("timeout")),
            interval_ms=_milliseconds(element.get("interval")),
            start_delay_ms=_milliseconds(element.get("start-delay")),
            depth=element.get("depth", ""),
            role=element.get("role", ""),
            on_target=_is_true(element, "on_target"),
            automatic=_is_true(element, "automatic"),
        )


def _milliseconds(text: str | None) -> int | None:
    """Agents write "20", "20s", "1min"; what cannot be read is advice we do without."""
    if text is None:
        return None
    try:
        return parse_ms(text)
    except ValueError:
        return None
