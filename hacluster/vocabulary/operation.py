"""One operation of a resource agent and what came of it, as DC and LRM speak of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import OperationId, ResourceId

FENCING_KEY: Final = "fencing"
"""Ends the transition key of what the fencer has devices do; other keys end with the cluster's UUID."""
FENCE_DEVICE: Final = "fence_device"
"""The meta value that names the device then: the operation's resource has a name of the fencer's making."""


class ExecutionStatus(IntEnum):
    """What became of the attempt to run an agent, apart from the agent's own exit code.

    The numbers are those of the CIB's `op-status` attribute (Pacemaker, "operation history"), but NOT_RUN:
    the LRM accepted the operation and then did not begin it (it came too late, the activation gate was shut,
    or a newer DC took over). It changed nothing and is no part of the history. UNKNOWN: the result is lost,
    the DC probes.
    """

    NOT_RUN = -3
    UNKNOWN = -2
    PENDING = -1
    DONE = 0
    CANCELLED = 1
    TIMEOUT = 2
    NOT_SUPPORTED = 3
    ERROR = 4
    ERROR_HARD = 5
    ERROR_FATAL = 6
    NOT_INSTALLED = 7
    NOT_CONNECTED = 8
    INVALID = 9
    NO_FENCE_DEVICE = 10
    NO_SECRETS = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What an LRM is told to do.

    `resource` is the id agents see (anonymous clone instances without ":N"); `parameters` are instance
    attributes, `meta` the CRM_meta_* values without that prefix, as the transition graph lists them.
    `interval_ms` is 0 for one-shot operations. `timeout_ms` counts from the start of the agent's process.
    `start_delay_ms` holds the operation and is not part of the timeout.
    `transition_key` is Pacemaker's "ACTION:TRANSITION:EXPECTED_RC:UUID", kept with the result.
    """

    resource: ResourceId
    agent: AgentName
    action: str
    interval_ms: int = 0
    timeout_ms: int = 20_000
    start_delay_ms: int = 0
    start_within_ms: int = 5_000
    parameters: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, str] = field(default_factory=dict)
    transition_key: str = ""
    on_fail_block: bool = False

    @property
    def key(self) -> str:
        """RSC_ACTION_INTERVALms, Pacemaker's operation key."""
        return f"{self.resource}_{self.action}_{self.interval_ms}"

    @property
    def owner(self) -> str:
        """The resource of the configuration that this is about: what the fencer orders is its device's.

        Only of the fencer's is the meta value believed: others' meta values are what a configuration says.
        """
        if self.transition_key.rpartition(":")[2] == FENCING_KEY:
            return self.meta.get(FENCE_DEVICE, self.resource)
        return self.resource


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationResult:
    """What an LRM's journal says of one operation.

    `call_id` grows by one with each operation an LRM accepts in one boot. `rc` is the OCF code after
    mapping, `raw_status` what the process really returned (a negative number is a signal).
    Wall-clock instants are whole seconds since 1970 and for people and the CIB only.
    `restart_parameters`, where the agent supports reload, are all that its meta-data lists and does not call
    reloadable.
    """

    id: OperationId
    call_id: int
    operation: Operation
    status: ExecutionStatus
    rc: int
    raw_status: int = 0
    queued_ms: int = 0
    executed_ms: int = 0
    last_run_s: int = 0
    last_change_s: int = 0
    exit_reason: str = ""
    output: str = ""
    private_parameters: tuple[str, ...] = ()
    reloadable_parameters: tuple[str, ...] = ()
    supports_reload: bool = False
    restart_parameters: tuple[str, ...] = ()
