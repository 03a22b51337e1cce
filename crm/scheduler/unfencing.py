"""Unfencing: digests of the devices that unfence a node, and when a node has to be unfenced."""

from __future__ import annotations

from crm.scheduler.checks import Difference, fencing_digests
from crm.scheduler.model import Action, Node, WorkingSet


def add_device_digests(work: WorkingSet, action: Action, node: Node) -> bool:
    """Record the unfencing devices' digests in a fence action; True if a device has changed for the node."""
    changed = False
    everything: list[str] = []
    secure: list[str] = []
    for device in work.all_resources():
        if not device.is_fence_device or device.meta.get("provides") != "unfencing":
            continue
        result = fencing_digests(work, device, node)
        if result.difference is Difference.CHANGED:
            changed = True
        everything.append(f"{device.id}:{device.agent_type}:{result.all_digest},")
        secure.append(f"{device.id}:{device.agent_type}:{result.secure_digest},")
    action.meta["digests_all"] = "".join(everything)
    action.meta["digests_secure"] = "".join(secure)
    return changed
