"""From an operation to a call of an agent: program, arguments, environment, and who may run it warm."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from agents.catalog import Catalog, ResolvedAgent, our_sbin_dir
from agents.environment import NodeFacts, base_environment, invocation, is_glue, metadata_environment
from hacluster.errors import InvalidRequest, NotFound, PermissionDenied
from hacluster.paths import Paths
from hacluster.vocabulary.agent import AgentName, OcfExit
from hacluster.vocabulary.operation import ExecutionStatus, Operation
from lrm import legacy, secrets

# A fence device is a resource, too: its start is a look whether the device answers (agents.md section 8.1).
_FENCE_ACTIONS: Final = {"start": "monitor"}
_TRACING: Final = frozenset({"trace_ra", "trace_file"})

_REMOTE: Final = AgentName("ocf", "pacemaker", "remote")
"""Its program fails whatever it is asked for: a probe would lead to a stop that fails, and to fencing."""
_NO_REMOTE_NODES: Final = "remote nodes are not supported: there is no connection to them"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCall:
    """What lrm-exec is told. `warm` names the agent for the warm host; empty: execute `argv`."""

    agent: ResolvedAgent
    argv: tuple[str, ...]
    env: Mapping[str, str]
    warm: str = ""
    stdin: str = ""


@dataclass(frozen=True, slots=True)
class UnitCall:
    """No process of ours: systemd is asked to act on this unit."""

    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CannotCall:
    """A result without a process; of status DONE where there is nothing to call for."""

    status: ExecutionStatus
    rc: int
    reason: str


class Calls:
    """All calls of one node."""

    def __init__(self, paths: Paths, node: str, node_id: str, catalog: Catalog | None = None) -> None:
        self.catalog = catalog or Catalog.of_this_node()
        self._var = paths.var
        self._facts = NodeFacts(
            node=node,
            node_id=node_id,
            sbin_dir=str(our_sbin_dir()),
            agent_socket=str(paths.agent_socket),
            agent_tmp=str(paths.agent_tmp),
            ha_agent=str(our_sbin_dir().parent / "bin/ha-agent"),
            time_zone=os.environ.get("TZ", ""),
            extra={"HA_PYTHON": sys.executable},
        )

    def call(self, operation: Operation, *, started: bool = False) -> AgentCall | UnitCall | CannotCall:
        """How to run an operation, or why that is impossible here.

        `started` says whether the history has the resource as started: that is all a probe of a fence
        device can ask.
        """
        if operation.agent == _REMOTE:
            return CannotCall(
                status=ExecutionStatus.NOT_INSTALLED, rc=OcfExit.ERR_INSTALLED, reason=_NO_REMOTE_NODES
            )
        try:
            agent = self.catalog.resolve(operation.agent)
        except NotFound as error:
            return CannotCall(
                status=ExecutionStatus.NOT_INSTALLED, rc=OcfExit.ERR_INSTALLED, reason=str(error)
            )
        except PermissionDenied as error:
            return CannotCall(status=ExecutionStatus.ERROR, rc=OcfExit.ERR_PERM, reason=str(error))
        except InvalidRequest as error:
            return CannotCall(status=ExecutionStatus.INVALID, rc=OcfExit.ERR_CONFIGURED, reason=str(error))
        if agent.standard == "systemd":
            return UnitCall(agent.unit)
        if agent.standard == "stonith":
            settled = _settled_fencing(operation, started)
            if settled is not None:
                return settled
            operation = replace(operation, action=_FENCE_ACTIONS.get(operation.action, operation.action))
        revealed = secrets.reveal(operation, self._var) if secrets.has_secrets(operation) else None
        if revealed is not None:
            if revealed.missing and operation.action != "stop":
                return CannotCall(
                    status=ExecutionStatus.NO_SECRETS,
                    rc=OcfExit.ERR_ARGS,
                    reason="Unable to load CIB secrets: " + ", ".join(revealed.missing),
                )
            operation = replace(operation, parameters=revealed.parameters)
        try:
            called = invocation(operation, agent.path, self._facts_for(agent), standard=agent.standard)
        except InvalidRequest as error:
            return CannotCall(status=ExecutionStatus.INVALID, rc=OcfExit.ERR_ARGS, reason=str(error))
        argv = legacy.argv(called.argv) if agent.standard == "heartbeat" else called.argv
        warm = agent.name.type if agent.ours and not _TRACING & operation.parameters.keys() else ""
        return AgentCall(agent=agent, argv=argv, env=called.environ, warm=warm, stdin=called.stdin)

    def without_secrets(self, operation: Operation, said: str) -> str:
        """What an agent said, as it may be kept and shown."""
        return secrets.hide(operation, self._var, said)

    def metadata_call(self, name: AgentName) -> AgentCall:
        """How to ask an agent for its meta-data. Raises NotFound, PermissionDenied, InvalidRequest."""
        agent = self.catalog.resolve(name)
        if agent.standard == "stonith" and "/" in name.type:
            environ = base_environment(self._facts)
            environ["PATH"] += ":/usr/share/cluster-glue"
            return AgentCall(agent=agent, argv=(agent.path, "getinfo-xml"), env=environ)
        if agent.standard == "stonith" and is_glue(name.type):
            environ = base_environment(self._facts)
            return AgentCall(agent=agent, argv=(agent.path, "-t", name.type, "-m"), env=environ)
        if agent.standard == "stonith":
            environ = base_environment(self._facts)
            return AgentCall(agent=agent, argv=(agent.path,), env=environ, stdin="action=metadata\n")
        if agent.standard != "ocf":
            raise InvalidRequest(
                what=f"{name} has no meta-data of its own", remedy="only ocf and fence agents have"
            )
        environ = metadata_environment(name, self._facts_for(agent))
        warm = name.type if agent.ours else ""
        return AgentCall(agent=agent, argv=(agent.path, "meta-data"), env=environ, warm=warm)

    def standard_of(self, name: AgentName) -> str:
        """The standard exit codes are read by; "service" is resolved, if it still can be."""
        if name.standard != "service":
            return name.standard
        try:
            return self.catalog.resolve(name).standard
        except (NotFound, PermissionDenied, InvalidRequest):
            return "lsb"

    def _facts_for(self, agent: ResolvedAgent) -> NodeFacts:
        return replace(self._facts, ocf_root=agent.ocf_root) if agent.ocf_root else self._facts


def _settled_fencing(operation: Operation, started: bool) -> CannotCall | None:
    """What needs no fence agent: to stop is to unregister, and a probe asks whether it was registered."""
    if operation.action == "stop":
        return CannotCall(status=ExecutionStatus.DONE, rc=OcfExit.OK, reason="")
    if operation.action == "monitor" and operation.interval_ms == 0:
        rc = OcfExit.OK if started else OcfExit.NOT_RUNNING
        return CannotCall(status=ExecutionStatus.DONE, rc=rc, reason="")
    return None
