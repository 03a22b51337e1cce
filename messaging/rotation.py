"""Whether a new authkeys file may be taken now: no packet of a member may be lost by it (3.2).

Rotation is three reloads on every node: add key 2; sign with it; remove key 1. Each is refused where a member
is not yet as far as the step before.
"""

from __future__ import annotations

from collections.abc import Iterable

from messaging.membership.detector import Peer
from messaging.packet import Keyring


def objections(keyring: Keyring, peers: Iterable[Peer]) -> list[str]:
    """What stands against it, in words that name the nodes; only nodes that we hear count."""
    found = []
    for peer in peers:
        if not peer.heard or peer.heartbeat is None:
            continue
        if not peer.heartbeat.key_ids >> keyring.signing & 1:
            found.append(
                f"{peer.name} does not list key {keyring.signing} yet: add it there and reload first"
            )
        if peer.signs_with and peer.signs_with not in keyring.keys:
            found.append(
                f"{peer.name} still signs with key {peer.signs_with}: keep it until that has changed"
            )
    return found
