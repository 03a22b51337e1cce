"""Where an agent's meta-data comes from: this machine, and where that has not the agent, other nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from agents import metadata
from agents.catalog import Catalog
from agents.metadata import AgentMetadata
from cli.agent_information import read_metadata
from hacluster.errors import ErrorCode, HaError, NotFound
from hacluster.vocabulary.agent import AgentName

if TYPE_CHECKING:
    from cli.context import Context
    from cli.members import Members
    from crm.cib.model import Element

ASK_WITHIN_S: Final = 3.0
_NO_ANSWER: Final = (ErrorCode.UNREACHABLE, ErrorCode.TIMEOUT)
_WITHOUT_PARAMETERS: Final = ("systemd", "service", "lsb", "heartbeat")
_OF_THE_CLUSTER: Final = AgentName("ocf", "pacemaker", "remote")  # no program: the cluster itself


class AgentsHere:
    """The agents of this machine."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __call__(self, name: AgentName) -> AgentMetadata | str:
        """Meta-data, or what is wrong in words ("" when there is nothing to check)."""
        if name == _OF_THE_CLUSTER:
            return ""
        try:
            return self._look(name)
        except NotFound:
            if name.standard in ("lsb", "heartbeat"):
                return f"{name}: there is no agent {str(name)!r}"
            return self.elsewhere(name)
        except HaError as error:
            return str(error)

    def elsewhere(self, name: AgentName) -> AgentMetadata | str:
        """What is known of one that is not installed here."""
        return f"the agent {name} is not installed here"

    def _look(self, name: AgentName) -> AgentMetadata | str:
        if name.standard not in _WITHOUT_PARAMETERS:
            return read_metadata(name, self._catalog)
        self._catalog.resolve(name)
        return ""

    def _meant(self, name: AgentName) -> str:
        known = [str(one) for one in self._catalog.list(name.standard)]
        close = get_close_matches(str(name), known, n=1, cutoff=0.75)
        return f" (did you mean {close[0]}?)" if close else ""


class AgentsOfTheCluster(AgentsHere):
    """Those of this machine and of the members; far from the cluster those of the node that is asked."""

    def __init__(self, context: Context, cib: Element) -> None:
        super().__init__(Catalog.of_this_node())
        self._context, self._cib = context, cib
        self._silent: set[str] = set()  # who has not answered once is not waited for again

    def __call__(self, name: AgentName) -> AgentMetadata | str:
        """As of AgentsHere."""
        if (
            not self._context.options.server
            or name.standard in _WITHOUT_PARAMETERS
            or name == _OF_THE_CLUSTER
        ):
            return super().__call__(name)
        try:
            return metadata.parse(self._context.client.agent_metadata(str(name)), str(name))
        except HaError as error:
            return str(error)

    def elsewhere(self, name: AgentName) -> AgentMetadata | str:
        """Ask every member at once, this one too: its ha-lrm may look in other places."""
        if name.standard in _WITHOUT_PARAMETERS:
            return super().elsewhere(name)
        from cli.commands.changes import this_node
        from cli.members import Members

        try:
            members = Members(self._context.paths, this_node(self._context))
        except (HaError, OSError) as error:
            return f"the agent {name} is not installed here, and nobody else could be asked: {error}"
        there = [one for one in _members(self._cib) if members.settings.node(one) is not None]
        nodes = [one for one in there if one not in self._silent]
        answers = asyncio.run(_asked(members, nodes, name))
        wrong = {node: one for node, one in zip(nodes, answers, strict=True) if isinstance(one, HaError)}
        self._silent |= {node for node, answer in wrong.items() if answer.code in _NO_ANSWER}
        for answer in answers:
            if isinstance(answer, AgentMetadata):
                return answer
        if unknown := [node for node in there if node in self._silent or node in wrong]:
            return f"the agent {name} is not installed here, and nothing is known of {', '.join(unknown)}"
        return f"the agent {name} is installed on no node{self._meant(name)}"


def _members(cib: Element) -> list[str]:
    """The nodes whose agents can be asked."""
    status = cib.child("status")
    states = status.all("node_state") if status is not None else ()
    return [one.get("uname") for one in states if one.get("crmd", "0") not in ("0", "offline", "false")]


async def _asked(
    members: Members, nodes: Sequence[str], name: AgentName
) -> Sequence[AgentMetadata | HaError | None]:
    return await asyncio.gather(*(_ask(members, node, name) for node in nodes))


async def _ask(members: Members, node: str, name: AgentName) -> AgentMetadata | HaError | None:
    """None: the node has no such agent."""
    try:
        return metadata.parse(await members.agent_metadata(node, str(name), ASK_WITHIN_S), str(name))
    except HaError as error:
        return None if error.code is ErrorCode.NOT_FOUND else error
