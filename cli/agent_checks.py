"""What agents know of the parameters that resources give them: for `verify` and for commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Final

from cli.grammar.document import section
from cli.grammar.references import id_index
from cli.grammar.verify import Problem, Severity
from crm.cib.model import Element
from hacluster.durations import parse_ms
from hacluster.vocabulary.agent import AgentName

if TYPE_CHECKING:
    from agents.metadata import AgentMetadata, AgentParameter

Describe = Callable[[AgentName], "AgentMetadata | str"]
"""An agent's meta-data; or why there is none, in words ("": it has no parameters to check)."""

# What every agent gets from the cluster, or what the cluster itself reads.
_SPECIAL_PARAMETERS: Final = ("pcmk_", "trace_", "stonith-timeout", "provides", "CRM_meta_", "OCF_")
# What the cluster reads of a fence device.
_OF_DEVICES: Final = ("priority",)
# What a fence agent is told with each request, whatever its meta-data requires.
_OF_EACH_FENCING: Final = ("action", "plug", "port", "nodename")


def agent_problems(cib: Element, describe: Describe) -> tuple[Problem, ...]:
    """Unknown parameters and missing ones are errors; unknown agents and short timeouts are warnings."""
    checks = _Checks(cib, cache(describe))
    return tuple(problem for one in checks.primitives.values() for problem in checks.all_of(one))


def new_problems(before: Element, after: Element, describe: Describe) -> tuple[Problem, ...]:
    """What is wrong with the parameters of resources that differ, and was not wrong before."""
    known = cache(describe)
    then, now = _Checks(before, known), _Checks(after, known)
    found: list[Problem] = []
    for name, one in now.primitives.items():
        old = then.primitives.get(name)
        if old is not None and then.given(old) == now.given(one) and then.type_of(old) == now.type_of(one):
            continue
        earlier = set(then.parameters_of(old)) if old is not None else set()
        found += [problem for problem in now.parameters_of(one) if problem not in earlier]
    return tuple(found)


class _Checks:
    """The primitives of one configuration."""

    def __init__(self, cib: Element, describe: Describe) -> None:
        resources = section(cib, "resources")
        self._templates = {one.id: one for one in resources.all("template")}
        self._ids: Mapping[str, Element] = id_index(cib)
        self._describe = describe
        self.primitives = {one.id: one for one in resources.walk() if one.tag == "primitive"}

    def type_of(self, primitive: Element) -> str:
        """As [CLASS:[PROVIDER:]]TYPE, its template's when it has one."""
        typed = self._templates.get(primitive.get("template"), primitive)
        return ":".join(typed.get(name) for name in ("class", "provider", "type") if typed.get(name))

    def given(self, primitive: Element) -> frozenset[str]:
        """The names of its parameters, those of its template and those that are referred to with them."""
        names: set[str] = set()
        for part in self._parts(primitive):
            for one in part.all("instance_attributes"):
                for pair in self._ids.get(one.get("id-ref"), one).all("nvpair"):
                    meant = self._ids.get(pair.get("id-ref"), pair)
                    names.add(pair.get("name") or meant.get("name"))
        return frozenset(names - {""})

    def all_of(self, primitive: Element) -> Iterator[Problem]:
        """All that its agent says against it."""
        yield from self.parameters_of(primitive)
        described = self._described(primitive)
        if not isinstance(described, str):
            yield from _timeout_problems(primitive, self._parts(primitive), described)

    def parameters_of(self, primitive: Element) -> Iterator[Problem]:
        """Whether there is such an agent, and has such parameters."""
        described = self._described(primitive)
        if not isinstance(described, str):
            given, agent = self.given(primitive), self.type_of(primitive)
            yield from _missing(primitive, given, described, agent)
            yield from _unknown(primitive, given, described, agent)
        elif described:
            yield Problem(severity=Severity.WARNING, where=primitive.id, what=described)

    def _parts(self, primitive: Element) -> tuple[Element, ...]:
        template = self._templates.get(primitive.get("template"))
        return (primitive,) if template is None else (primitive, template)

    def _described(self, primitive: Element) -> AgentMetadata | str:
        try:
            name = AgentName.parse(self.type_of(primitive))
        except ValueError as error:
            return str(error)
        return self._describe(name)


def _missing(
    primitive: Element, given: frozenset[str], described: AgentMetadata, agent: str
) -> Iterator[Problem]:
    """Required ones without a default. Who gives an old name for one has given it."""
    meant = {new for one in described.parameters if one.name in given for new in one.replaced_with} | given
    of_the_cluster = _OF_EACH_FENCING if agent.startswith("stonith:") else ()
    for one in described.parameters:
        if not one.required or one.deprecated or one.default is not None:
            continue
        if one.name not in meant and one.name not in of_the_cluster:
            yield Problem(
                severity=Severity.ERROR,
                where=primitive.id,
                what=f"{described.name} needs the parameter {one.name}",
                remedy=f"params {one.name}=…{_meaning(one)}",
            )


def _meaning(one: AgentParameter) -> str:
    return f": {one.shortdesc.rstrip('.')}" if one.shortdesc and one.shortdesc != one.name else ""


def _unknown(
    primitive: Element, given: frozenset[str], described: AgentMetadata, agent: str
) -> Iterator[Problem]:
    names = [one.name for one in described.parameters]
    of_the_cluster = _OF_DEVICES if agent.startswith("stonith:") else ()
    for name in sorted(given.difference(names, of_the_cluster)):
        if name.startswith(_SPECIAL_PARAMETERS):
            continue
        close = get_close_matches(name, names, n=1, cutoff=0.65)
        meant = f"did you mean {close[0]}? " if close else ""
        yield Problem(
            severity=Severity.ERROR,
            where=primitive.id,
            what=f"{described.name} knows no parameter {name!r}",
            remedy=f"{meant}see `hacli ra info {agent}`",
        )


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
            what = f"{op.get('name')} timeout {op.get('timeout')} is less than the "
            what += f"{advice.timeout_ms // 1000} s that {described.name} advises"
            yield Problem(severity=Severity.WARNING, where=primitive.id, what=what)
