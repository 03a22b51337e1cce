"""The voters as the log holds them (cluster-protocol.md 9.5), and what a request makes of them. Pure.

A change is two entries: one with the old voters and the `next`, during which both must agree, and one with
the new voters alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from hacluster.vocabulary.ids import NodeId
from hacluster.vocabulary.membership import QuorumConfig

Voters = tuple[tuple[NodeId, int], ...]


def encode_voters(config: QuorumConfig) -> bytes:
    """Compact JSON, always the same for the same value."""
    return json.dumps(_out(config), separators=(",", ":")).encode()


def decode_voters(raw: bytes) -> QuorumConfig:
    """Inverse of `encode_voters`. Raises ValueError."""
    try:
        return _in(json.loads(raw))
    except (TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"not a configuration of voters: {error}") from None


def _out(config: QuorumConfig) -> dict[str, Any]:
    return {
        "voters": [list(voter) for voter in config.voters],
        "two_node": config.two_node,
        "wait_for_all": config.wait_for_all,
        "tiebreak": config.tiebreak,
        "tiebreak_order": list(config.tiebreak_order),
        "lms_window_ms": config.lms_window_ms,
        "witness_votes": config.witness_votes,
        **({"wait_for_all_kept": True} if config.wait_for_all_kept else {}),
        "next": _out(config.next) if config.next is not None else None,
    }


def _in(data: dict[str, Any]) -> QuorumConfig:
    tiebreak = data["tiebreak"]
    return QuorumConfig(
        voters=tuple((NodeId(int(node)), int(votes)) for node, votes in data["voters"]),
        two_node=bool(data["two_node"]),
        wait_for_all=bool(data["wait_for_all"]),
        tiebreak=NodeId(int(tiebreak)) if tiebreak is not None else None,
        tiebreak_order=tuple(NodeId(int(node)) for node in data["tiebreak_order"]),
        lms_window_ms=int(data["lms_window_ms"]),
        witness_votes=int(data["witness_votes"]),
        wait_for_all_kept=bool(data.get("wait_for_all_kept", False)),
        next=_in(data["next"]) if data["next"] is not None else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VotersWanted:
    """A change: these nodes get these votes, those have none any more. `expected`: made from these voters.

    `rules`: the other rules become those of the DC's cluster.toml, too. `two_node`: two voters that are left
    of more may act alone from then on, and after a boot wait for each other (an operator's wish, as against
    last_man_standing's).
    """

    add: Voters = ()
    remove: tuple[int, ...] = ()
    expected: Voters = ()
    rules: bool = False
    two_node: bool = False

    def among(self, config: QuorumConfig, founding: QuorumConfig) -> QuorumConfig:
        """What `config` becomes; `founding` is cluster.toml's. Raises ValueError for what cannot be."""
        if self.expected and dict(self.expected) != dict(config.voters):
            raise ValueError("the voters were changed meanwhile: look at them again")
        if any(votes <= 0 for _, votes in self.add):
            raise ValueError("a voter has one vote or more")
        voters = dict(config.voters) | dict(self.add)
        for node in self.remove:
            if node not in voters:
                raise ValueError(f"node {node} has no vote that could be taken away")
            del voters[NodeId(node)]
        if not voters:
            raise ValueError("the last voter cannot be taken away")
        rules = founding if self.rules else config
        order = rules.tiebreak_order or ((rules.tiebreak,) if rules.tiebreak is not None else ())
        changed = replace(rules.among(tuple(sorted(voters.items()))), tiebreak_order=order)
        if not self.rules:
            return _with_two_node(config, changed) if self.two_node else changed
        same = (rules.two_node, rules.wait_for_all) == (config.two_node, config.wait_for_all)
        return replace(changed, wait_for_all_kept=config.wait_for_all_kept) if same else changed


def _with_two_node(before: QuorumConfig, after: QuorumConfig) -> QuorumConfig:
    """`two_node` comes with two voters of equal votes, and goes with a third one; wait_for_all with it.

    Unless an operator has chosen otherwise: three that wait for all do so still when they were two meanwhile.
    Not where something else decides between two: a tie-break, a witness, or votes of different number.
    """
    equal = len(after.voters) == 2 and len({votes for _, votes in after.voters}) == 1
    alone = after.tiebreak is None and not after.witness_votes and len(before.voters) > 2
    two_node = after.two_node or (equal and alone)
    if two_node == before.two_node:
        return after
    kept = before.wait_for_all_kept or before.wait_for_all != before.two_node
    waits = before.wait_for_all if kept else two_node
    return replace(after, two_node=two_node, wait_for_all=waits, wait_for_all_kept=kept)


def voters_text(config: QuorumConfig) -> str:
    """For people: `1 2 3`, `1 2:2` with votes that are not one, `1 2 -> 1 2 3` while they change."""
    names = " ".join(str(node) if votes == 1 else f"{node}:{votes}" for node, votes in config.voters)
    return names if config.next is None else f"{names} -> {voters_text(config.next)}"
