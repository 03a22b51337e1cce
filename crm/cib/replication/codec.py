"""Snapshots as bytes, for the disk and for followers that lag too far behind."""

from __future__ import annotations

import json
from typing import Any

from crm.cib import diff
from crm.cib.replication.model import Snapshot
from crm.cib.replication.voters import decode_voters, encode_voters
from crm.cib.versions import CibVersion
from hacluster.vocabulary.ids import Term


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Compact JSON."""
    version = snapshot.version
    data = {
        "index": snapshot.index,
        "term": [snapshot.term.counter, snapshot.term.node_id],
        "chain": snapshot.chain.hex(),
        "safe": [snapshot.safe_term.counter, snapshot.safe_term.node_id, snapshot.safe_index],
        "version": [version.admin_epoch, version.epoch, version.num_updates],
        "digest": snapshot.digest,
        "content": diff.element_out(snapshot.content),
        "requests": snapshot.requests,
        "voters": encode_voters(snapshot.voters).decode() if snapshot.voters is not None else None,
        "voters_index": snapshot.voters_index,
    }
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def decode_snapshot(raw: bytes) -> Snapshot:
    """Inverse of `encode_snapshot`. Raises ValueError."""
    try:
        data: dict[str, Any] = json.loads(raw)
        safe_counter, safe_node, safe_index = data["safe"]
        voters = data.get("voters")  # a snapshot of before there were any in the log has none
        return Snapshot(
            index=int(data["index"]),
            term=Term(*map(int, data["term"])),
            chain=bytes.fromhex(data["chain"]),
            safe_term=Term(int(safe_counter), int(safe_node)),
            safe_index=int(safe_index),
            version=CibVersion(*map(int, data["version"])),
            digest=str(data["digest"]),
            content=diff.element_in(data["content"]),
            requests=tuple((str(name), int(index)) for name, index in data["requests"]),
            voters=decode_voters(voters) if voters is not None else None,
            voters_index=int(data.get("voters_index", 0)),
        )
    except (TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"not a snapshot: {error}") from None
