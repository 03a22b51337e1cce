"""Keys, sealers and gates with defaults, for tests of packets."""

from __future__ import annotations

from typing import Any

from messaging.packet import Gate, Heartbeat, Keyring, Sealer, State, WorkingKey, encode_heartbeat

CLUSTER = bytes(range(16))
SESSION = b"s" * 16


def a_keyring(method: str = "sha256", *ids: int, secret: bytes = b"k" * 32) -> Keyring:
    numbers = ids or (1,)
    keys = {number: WorkingKey(id=number, method=method, key=secret) for number in numbers}
    return Keyring(keys=keys, signing=numbers[0])


def a_sealer(
    node_id: int = 1,
    *,
    keyring: Keyring | None = None,
    incarnation: int = 5,
    session: bytes = SESSION,
    cluster: bytes = CLUSTER,
) -> Sealer:
    return Sealer(
        cluster_id=cluster,
        node_id=node_id,
        session=session,
        incarnation=incarnation,
        keyring=keyring or a_keyring(),
    )


def a_gate(node_id: int = 2, *, keyring: Keyring | None = None, seen: dict[int, int] | None = None) -> Gate:
    return Gate(
        cluster_id=CLUSTER, node_id=node_id, nodes=[1, 2, 3], keyring=keyring or a_keyring(), seen=seen
    )


def a_heartbeat(slots: int = 3, **changes: Any) -> Heartbeat:
    heartbeat = Heartbeat(
        view_counter=7,
        view_coordinator=1,
        promised=8,
        state=State.MEMBER,
        load=0,
        boot_token=b"bootboot",
        crm_instance=11,
        lrm_instance=12,
        key_ids=2,
        config_hash=b"hash",
        hear=0b101,
        echo=tuple(range(100, 100 + slots)),
    )
    return heartbeat._replace(**changes)


def a_datagram(sequence: int = 100, **changes: Any) -> bytes:
    """A sealed heartbeat of node 1."""
    return a_sealer().seal(1, encode_heartbeat(a_heartbeat(**changes)), link=0, sequence=sequence)
