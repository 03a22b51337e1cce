"""What an action of a transition graph asks for: the operation for an LRM, and how long to wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from crm.transition.graph import GraphAction
from hacluster.digits import is_count
from hacluster.durations import parse_ms
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import ResourceId
from hacluster.vocabulary.operation import Operation

META: Final = "CRM_meta_"
NETWORK_DELAY_MS: Final = 60_000
TIMEOUT_MS: Final = 20_000
ACTIVATING: Final = frozenset({"start", "promote", "migrate_to", "migrate_from"})
MIGRATING: Final = frozenset({"migrate_to", "migrate_from"})


def meta(action: GraphAction, name: str, default: str = "") -> str:
    """The value of CRM_meta_NAME."""
    return action.attributes.get(META + name, default)


def number(action: GraphAction, name: str, default: int = 0) -> int:
    """CRM_meta_NAME as a number; `default` where it is none."""
    try:
        return int(meta(action, name, str(default)))
    except ValueError:
        return default


def flag(action: GraphAction, name: str) -> bool:
    """CRM_meta_NAME as a boolean."""
    return meta(action, name).lower() in ("true", "1", "yes", "on")


def expected_rc(action: GraphAction) -> int:
    """The exit code that confirms the action."""
    return number(action, "op_target_rc")


def resource_of(action: GraphAction) -> str:
    """The id that agents and histories know (an anonymous clone's without ":N"); empty for node actions."""
    for child in action.children:
        if child.tag == "primitive":
            return child.id
    return ""


def agent_of(action: GraphAction) -> AgentName:
    """The agent named in the <primitive>; raises ValueError where there is none."""
    for child in action.children:
        if child.tag == "primitive":
            return AgentName(child.get("class"), child.get("provider"), child.get("type"))
    raise ValueError(f"action {action.id} ({action.key}) names no agent")


def operation_of(action: GraphAction, transition_key: str) -> Operation:
    """The order for the LRM."""
    parameters = {n: v for n, v in action.attributes.items() if not n.startswith(META)}
    values = {n[len(META) :]: v for n, v in action.attributes.items() if n.startswith(META)}
    return Operation(
        resource=ResourceId(resource_of(action)),
        agent=agent_of(action),
        action=action.operation,
        interval_ms=number(action, "interval"),
        timeout_ms=number(action, "timeout", TIMEOUT_MS),
        start_delay_ms=number(action, "start_delay"),
        parameters=parameters,
        meta=values,
        transition_key=transition_key,
        on_fail_block=meta(action, "on_fail") == "block",
    )


def transition_key(action: GraphAction, transition: int, uuid: str) -> str:
    """Pacemaker's ACTION:TRANSITION:EXPECTED_RC:UUID."""
    return f"{action.id}:{transition}:{expected_rc(action)}:{uuid}"


def network_delay_ms(graph: Mapping[str, str]) -> int:
    """What the graph allows for the way there and back, on top of an operation's own timeout."""
    try:
        return parse_ms(graph.get("cluster-delay", ""))
    except ValueError:
        return NETWORK_DELAY_MS


def wait_ms(action: GraphAction, network_ms: int) -> int:
    """How long an action may take in all."""
    return number(action, "timeout", TIMEOUT_MS) + number(action, "start_delay") + network_ms


def label(action: GraphAction) -> str:
    """How people see a running action: its key and its node."""
    return f"{action.key}@{action.node}" if action.node else action.key


def unfences(action: GraphAction) -> bool:
    """Of a "stonith" action: whether it lets the node in instead of ending it."""
    return fencing_of(action)[0] == "on"


def fencing_label(action: GraphAction) -> str:
    """What a "stonith" action waits for, for people."""
    return f"{action.node} must be {'unfenced' if unfences(action) else 'fenced'}"


def fencing_of(action: GraphAction) -> tuple[str, int, tuple[str, str]]:
    """Of a "stonith" action: reboot, off or on; seconds of delay; the devices' digests (all, secure)."""
    delay = meta(action, "priority-fencing-delay", "0")
    digests = meta(action, "digests_all", ""), meta(action, "digests_secure", "")
    return meta(action, "stonith_action", "reboot"), int(delay) if is_count(delay) else 0, digests
