"""On a configured node without ha-messaging: sends what must be dropped, and says how many of each.

`python -m tests.live.forger_script CLUSTER_TOML AUTHKEYS NODE TARGET_ADDRESS`: each kind of bad packet ten
times, and one good packet, whose copies are the replays.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from hacluster import settings as ha_settings
from messaging import keys
from messaging.packet import (
    TO_ALL,
    Heartbeat,
    Keyring,
    Kind,
    Sealer,
    State,
    WorkingKey,
    config_hash,
    encode_heartbeat,
)

TIMES = 10


def main() -> int:
    toml, authkeys, name, target = sys.argv[1:]
    settings = ha_settings.load(Path(toml))
    keyring, _ = keys.load(Path(authkeys), cluster_id=settings.cluster_id)
    me = settings.node(name)
    assert me is not None
    wrong = Keyring(keys={1: WorkingKey(id=1, method="sha256", key=os.urandom(32))}, signing=1)

    def sealer(node: int, keys_: Keyring, cluster: bytes = settings.cluster_id) -> Sealer:
        return Sealer(cluster_id=cluster, node_id=node, session=b"f" * 16, incarnation=1, keyring=keys_)

    heartbeat = Heartbeat(
        view_counter=99,
        view_coordinator=me.id,
        promised=99,
        state=State.MEMBER,
        load=0,
        boot_token=b"forgery!",
        crm_instance=1,
        lrm_instance=1,
        key_ids=2,
        config_hash=config_hash((node.id, node.name) for node in settings.nodes),
        hear=(1 << len(settings.nodes)) - 1,
        echo=(1,) * len(settings.nodes),
    )
    body = encode_heartbeat(heartbeat)
    good = sealer(me.id, keyring).seal(Kind.HEARTBEAT, body, link=0, sequence=1_000)
    flipped = bytearray(good)
    flipped[60] ^= 1
    other = sealer(me.id, keyring, b"another cluster.").seal(Kind.HEARTBEAT, body, link=0, sequence=5)
    newer = Sealer(
        cluster_id=settings.cluster_id, node_id=me.id, session=b"g" * 16, incarnation=9, keyring=keyring
    )
    batches = {
        "bad_tag": [sealer(me.id, wrong).seal(Kind.HEARTBEAT, body, link=0, sequence=7), bytes(flipped)],
        "bad_length": [good[:-1], good[:40], good + b"x"],
        "bad_magic": [b"XX" + good[2:]],
        "wrong_version": [good[:2] + b"\x07" + good[3:]],
        "wrong_cluster": [other],
        "unknown_sender": [sealer(4_711, keyring).seal(Kind.HEARTBEAT, body, link=0, sequence=8)],
        "unknown_key": [good[:4] + b"\x0e" + good[5:]],
        "replayed": [good],
        "bad_body": [],
        "old_incarnation": [],
    }
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        address = (target, settings.links[0].port)
        sender.sendto(good, address)
        for packets in batches.values():
            for packet in packets:
                for _ in range(TIMES):
                    sender.sendto(packet, address)
        for number in range(TIMES):
            sender.sendto(newer.seal(Kind.PROPOSE, b"\xff\xff", link=0, sequence=number), address)
        for _ in range(TIMES):
            sender.sendto(good, address)  # by now of an older run
    counts = {reason: TIMES * len(packets) for reason, packets in batches.items()}
    counts |= {"bad_body": TIMES, "old_incarnation": TIMES}
    print(json.dumps({"destination": TO_ALL, "expected": counts}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
