"""What agents that watch a node tell the cluster: transient attributes of the node they run on."""

from __future__ import annotations

from agents import sdk
from agents.callback import client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def publish(agent: sdk.Agent, values: Mapping[str, str | None], dampen_ms: int) -> None:
    """Set attributes, or remove those with None. What the cluster does not take is only a warning."""
    for name, value in values.items():
        reason = client.set_attribute(agent.environ, agent.instance, name, value, dampen_ms)
        if reason:
            agent.log("WARNING", f"attribute {name} was not kept: {reason}")
