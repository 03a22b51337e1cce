"""Roles, variants, kinds and flags: the closed sets of values that the working set is described with."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Role(IntEnum):
    """What a resource does; compared with < and >."""

    UNKNOWN = 0
    STOPPED = 1
    STARTED = 2
    UNPROMOTED = 3
    PROMOTED = 4

    @property
    def label(self) -> str:
        """The role as people read it."""
        return self.name.capitalize()


class Variant(IntEnum):
    """Kinds of resources; compared with < and >. All but primitives are "collectives"."""

    PRIMITIVE = 1
    GROUP = 2
    CLONE = 3
    BUNDLE = 4


class NodeKind(IntEnum):
    """A member of the cluster, a remote node, or a guest (whose connection has a launcher)."""

    CLUSTER = 0
    REMOTE = 1
    GUEST = 2


class ProbeMode(IntEnum):
    """resource-discovery of a node for one resource; the higher one wins."""

    ALWAYS = 0
    NEVER = 1
    EXCLUSIVE = 2


class OnFail(IntEnum):
    """What a failure leads to, by growing severity."""

    IGNORE = 0
    DEMOTE = 1
    RESTART = 2
    RESET_REMOTE = 3
    RESTART_CONTAINER = 4
    BAN = 5
    BLOCK = 6
    STOP = 7
    STANDBY = 8
    FENCE = 9


class MultipleActive(IntEnum):
    """multiple-active: what to do with a resource that runs in too many places."""

    STOP_START = 0
    STOP_ONLY = 1
    BLOCK = 2
    STOP_UNEXPECTED = 3


class Needs(IntEnum):
    """What an action waits for."""

    NOTHING = 0
    QUORUM = 1
    FENCING = 2


class Status(IntEnum):
    """op-status of a history entry."""

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


class Rel:
    """What a relation "first before then" does; a bit each, any combination is possible, 0 is disabled."""

    ORDERED: Final = 1 << 0
    IF_FIRST_UNMIGRATABLE: Final = 1 << 1
    THEN_IMPLIES_FIRST: Final = 1 << 2
    FIRST_IMPLIES_THEN: Final = 1 << 3
    PROMOTED_THEN_IMPLIES_FIRST: Final = 1 << 4
    UNMIGRATABLE_THEN_BLOCKS: Final = 1 << 5
    UNRUNNABLE_FIRST_BLOCKS: Final = 1 << 6
    FIRST_ELSE_THEN: Final = 1 << 7
    FIRST_IMPLIES_SAME_NODE_THEN: Final = 1 << 8
    NESTED_REMOTE_PROBE: Final = 1 << 9
    INTERMEDIATE_STOP: Final = 1 << 10
    SERIALIZE: Final = 1 << 11
    IF_ON_SAME_NODE: Final = 1 << 12
    THEN_IMPLIES_FIRST_GRAPHED: Final = 1 << 13
    FIRST_IMPLIES_THEN_GRAPHED: Final = 1 << 14
    ASYMMETRIC: Final = 1 << 15
    IF_ON_SAME_NODE_OR_TARGET: Final = 1 << 16
    MIN_RUNNABLE: Final = 1 << 17
    IF_REQUIRED_ON_SAME_NODE: Final = 1 << 18
    GUEST_ALLOWED: Final = 1 << 19
    THEN_CANCELS_FIRST: Final = 1 << 20
