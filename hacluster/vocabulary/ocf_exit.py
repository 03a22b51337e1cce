"""Exit codes of the OCF resource agent API; alone in a module that is cheap to import for agents."""

from __future__ import annotations

from enum import IntEnum


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
