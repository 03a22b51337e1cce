"""Names of resource agents, the exit codes of the OCF resource agent API, and roles."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

STANDARDS_WITH_PROVIDER = frozenset({"ocf"})


@dataclass(frozen=True, slots=True, order=True)
class AgentName:
    """standard[:provider]:type, for example ocf:hacluster:IPaddr or lsb:nginx.

    `standard` is lower case: ocf, lsb, systemd, service, stonith or heartbeat. `provider` is empty for
    the standards that have none. A systemd type may contain colons.
    """

    standard: str
    provider: str
    type: str

    def __str__(self) -> str:
        if self.provider:
            return f"{self.standard}:{self.provider}:{self.type}"
        return f"{self.standard}:{self.type}"


class OcfExit(IntEnum):
    """Exit codes of the OCF resource agent API 1.1, section "Return codes"."""

    OK = 0
    ERR_GENERIC = 1
    ERR_ARGS = 2
    ERR_UNIMPLEMENTED = 3
    ERR_PERM = 4
    ERR_INSTALLED = 5
    ERR_CONFIGURED = 6
    NOT_RUNNING = 7
    RUNNING_PROMOTED = 8
    FAILED_PROMOTED = 9
    DEGRADED = 190
    DEGRADED_PROMOTED = 191


class Role(StrEnum):
    """The state of a resource instance."""

    UNKNOWN = "Unknown"
    STOPPED = "Stopped"
    STARTED = "Started"
    UNPROMOTED = "Unpromoted"
    PROMOTED = "Promoted"
