"""What `verify` finds by asking the agents installed here: unknown ones, parameters, timeouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agents.catalog import Catalog
from agents.metadata import AgentMetadata
from cli.agent_information import read_metadata
from cli.grammar.document import section
from cli.grammar.verify import Problem, Severity
from crm.cib.model import Element
from hacluster.durations import parse_ms
from hacluster.errors import HaError, NotFound
from hacluster.vocabulary.agent import AgentName

_SPECIAL_PARAMETERS = ("pcmk_", "trace_", "stonith-timeout", "provides", "CRM_meta_")


def agent_problems(cib: Element, catalog: Catalog) -> tuple[Problem, ...]:
    """All findings are warnings: another node may have what this one has not."""
    templates = {one.id: one for one in section(cib, "resources").all("template")}
    known: dict[AgentName, AgentMetadata | str] = {}
    found: list[Problem] = []
    for one in section(cib, "resources").walk():
        if one.tag == "primitive":
            found += _problems(one, templates, catalog, known)
    return tuple(found)


def _problems(
    primitive: Element,
    templates: Mapping[str, Element],
    catalog: Catalog,
    known: dict[AgentName, AgentMetadata | str],
) -> Iterator[Problem]:
    typed = templates.get(primitive.get("template"), primitive)
    text = ":".join(typed.get(name) for name in ("class", "provider", "type") if typed.get(name))
    try:
        name = AgentName.parse(text)
    except ValueError as error:
        yield _warning(primitive, str(error))
        return
    if name not in known:
        known[name] = _described(name, catalog)
    described = known[name]
    if isinstance(described, str):
        if described:
            yield _warning(primitive, described)
        return
    parts = (primitive, typed) if typed is not primitive else (primitive,)
    yield from _parameter_problems(primitive, parts, described)
    yield from _timeout_problems(primitive, parts, described)


def _described(name: AgentName, catalog: Catalog) -> AgentMetadata | str:
    """Meta-data, or what is wrong in words ("" when there is nothing to check)."""
    if name.standard in ("systemd", "service", "lsb", "heartbeat"):
        try:
            catalog.resolve(name)
        except HaError as error:
            return f"{name}: {error}" if name.standard in ("lsb", "heartbeat") else ""
        return ""
    try:
        return read_metadata(name, catalog)
    except NotFound:
        return f"the agent {name} is not installed here"
    except HaError as error:
        return str(error)


def _warning(primitive: Element, what: str, remedy: str = "") -> Problem:
    return Problem(severity=Severity.WARNING, where=primitive.id, what=what, remedy=remedy)


def _parameter_problems(
    primitive: Element, parts: tuple[Element, ...], described: AgentMetadata
) -> Iterator[Problem]:
    sets = [one for part in parts for one in part.all("instance_attributes")]
    if any("id-ref" in one.attributes for one in sets):
        return  # what another object holds is checked there
    given = {pair.get("name") for one in sets for pair in one.all("nvpair")}
    for parameter in described.parameters:
        if parameter.required and parameter.default is None and parameter.name not in given:
            yield _warning(primitive, f"{described.name} needs the parameter {parameter.name}")
    names = {parameter.name for parameter in described.parameters}
    for name in sorted(given - names):
        if name and not name.startswith(_SPECIAL_PARAMETERS):
            yield _warning(primitive, f"{described.name} knows no parameter {name!r}", "see `hacli ra info`")


def _timeout_problems(
    primitive: Element, parts: tuple[Element, ...], described: AgentMetadata
) -> Iterator[Problem]:
    for op in (op for part in parts for one in part.all("operations") for op in one.all("op")):
        advice = described.action(op.get("name"), role=op.get("role"))
        if advice is None or advice.timeout_ms is None or not op.get("timeout"):
            continue
        try:
            given = parse_ms(op.get("timeout"))
        except ValueError:
            continue  # an ISO 8601 duration
        if given < advice.timeout_ms:
            yield _warning(
                primitive,
                f"{op.get('name')} timeout {op.get('timeout')} is less than the "
                f"{advice.timeout_ms // 1000} s that {described.name} advises",
            )
