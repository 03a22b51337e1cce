"""An agent called by hand on this node, as ha-lrm would call it, but outside the cluster's sight."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Final

from cli.grammar.document import find
from cli.grammar.references import id_index
from crm.cib.model import Element
from hacluster.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from agents.catalog import ResolvedAgent
    from agents.exit_codes import Outcome
    from cli.context import Context

ACTION_WITHIN_S: Final = 120
_OUTPUT_BYTES_MAX: Final = 256 * 1024
_UNIT_VERBS: Final = {"start": "start", "stop": "stop", "monitor": "is-active"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What came of it, and what the agent said."""

    agent: str
    outcome: Outcome
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A primitive as its agent sees it. `timeouts_s`: of the operations that have one, by name."""

    name: str
    agent: str
    parameters: Mapping[str, str]
    timeouts_s: Mapping[str, float]


def subject_of(context: Context, cib: Element, name: str) -> Subject:
    """What an agent would be told. Raises NotFound, and InvalidRequest for what only a scheduler can say."""
    item = find(cib, name, "primitive")
    if item is None:
        raise NotFound(kind="primitive", name=name)
    template = find(cib, item.get("template"), "template") if item.get("template") else None
    typed = item if template is None else template
    agent = ":".join(typed.get(part) for part in ("class", "provider", "type") if typed.get(part))
    index = id_index(cib)
    parameters: dict[str, str] = {}
    timeouts: dict[str, float] = {}
    for holder in dict.fromkeys((typed, item)):
        for part in holder.all("instance_attributes"):
            whole = index.get(part.get("id-ref"), part)
            if whole.all("rule") or any("id-ref" in pair.attributes for pair in whole.all("nvpair")):
                raise InvalidRequest(
                    what=f"the parameters of {name} depend on a rule or stand elsewhere",
                    remedy="`hacli ra validate TYPE NAME=VALUE…` with those in question",
                )
            parameters |= {pair.get("name"): pair.get("value") for pair in whole.all("nvpair")}
        for operations in holder.all("operations"):
            timeouts |= {one.get("name"): _seconds(one.get("timeout")) for one in operations.all("op")}
    if "lrm://" in parameters.values():
        from cli.commands.secret import PLACEHOLDER, read_secret

        hidden = [one for one, value in parameters.items() if value == PLACEHOLDER]
        parameters |= {one: read_secret(context, name, one) for one in hidden}
    timeouts = {one: within_s for one, within_s in timeouts.items() if within_s}
    return Subject(name=name, agent=agent, parameters=parameters, timeouts_s=timeouts)


def _seconds(text: str) -> float:
    from hacluster.durations import parse_ms

    try:
        return parse_ms(text) / 1_000 if text else 0.0
    except ValueError:
        return 0.0


def call(context: Context, subject: Subject, action: str) -> Called:
    """Run one action to its end, or for its timeout (ACTION_WITHIN_S unless the resource says one).

    Raises NotFound (no such agent), InvalidRequest (it cannot be called like that).
    """
    from agents.catalog import Catalog
    from agents.exit_codes import Exited, Killed, NotStarted, TimedOut, outcome
    from cli.agent_information import agent_name

    catalog = Catalog.of_this_node()
    name = agent_name(subject.agent, catalog)
    found = catalog.resolve(name)
    argv, environ, stdin = _program(context, subject, action, found)
    within_s = subject.timeouts_s.get(action, ACTION_WITHIN_S)
    out = err = ""
    end: Exited | Killed | TimedOut | NotStarted
    with (
        TemporaryFile() as out_file,
        TemporaryFile() as err_file,
    ):  # a daemon that keeps a pipe open holds nobody up
        try:
            done = subprocess.run(
                argv,
                env=environ,
                input=stdin.encode(),
                stdout=out_file,
                stderr=err_file,
                timeout=within_s,
                check=False,
                cwd="/",
            )
        except subprocess.TimeoutExpired:
            end = TimedOut(int(within_s * 1_000))
        except OSError as error:
            end = NotStarted(error.errno or 0)
        else:
            end = Exited(done.returncode) if done.returncode >= 0 else Killed(-done.returncode)
            out, err = _text(out_file), _text(err_file)
    standard = "lsb" if found.standard == "systemd" else found.standard
    return Called(
        agent=str(name),
        outcome=outcome(standard, action, end, stdout=out, stderr=err),
        lines=tuple(line.removeprefix("ocf-exit-reason:") for line in (out + err).splitlines()),
    )


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_OUTPUT_BYTES_MAX).decode(errors="replace")


def _program(
    context: Context, subject: Subject, action: str, found: ResolvedAgent
) -> tuple[tuple[str, ...], dict[str, str], str]:
    """Arguments, environment, standard input."""
    from agents.catalog import our_sbin_dir
    from agents.environment import NodeFacts, base_environment, invocation
    from hacluster.vocabulary.ids import ResourceId
    from hacluster.vocabulary.operation import Operation

    facts = NodeFacts(
        node=context.options.node or os.uname().nodename,
        sbin_dir=str(our_sbin_dir()),
        ha_agent=str(our_sbin_dir().parent / "bin" / "ha-agent"),
        ocf_root=found.ocf_root,
    )
    if found.standard == "systemd":
        if action not in _UNIT_VERBS:
            raise InvalidRequest(what=f"a unit of systemd has no action {action!r}")
        return ("systemctl", _UNIT_VERBS[action], found.unit), base_environment(facts), ""
    operation = Operation(
        resource=ResourceId(subject.name),
        agent=found.name,
        action=action,
        parameters=dict(subject.parameters),
    )
    made = invocation(operation, found.path, facts, standard=found.standard)
    return made.argv, dict(made.environ), made.stdin
