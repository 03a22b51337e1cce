"""What counts in a reign: who has stored what, whose stores are counted, by which voters. Pure.

The DC's part of the rules of commits (cluster-protocol.md 9.3, 9.5, 9.6); `leading.py` does what follows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from crm.cib.replication.basis import Basis
from crm.cib.replication.in_sync import WitnessMemory
from crm.cib.replication.log import Log
from crm.cib.replication.voters import VotersWanted
from crm.cib.versions import CibVersion
from crm.election.quorum import agree, is_quorum, is_voter, voters_of
from hacluster.vocabulary.ids import Term, ViewId
from hacluster.vocabulary.membership import QuorumConfig


@dataclass(slots=True)
class Follower:
    """What the DC knows of one other ha-crm of the view."""

    boot_token: str
    instance: int  # of its ha-crm: what another run stored, this one may have lost
    next: int
    since: int  # so long was our log when this run was first seen
    match: int = 0
    matched: bool = False  # the logs are known to agree up to `match`
    in_flight: bool = False
    asked_ns: int = 0  # when the last call was sent
    heard_ns: int = 0  # when that was sent which it stored last
    sent_commit: int = 0
    voter: bool = False
    failures: int = 0
    mismatches: int = 0
    needs_snapshot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reign:
    """What the election found. `peers`: boot token and instance of each other ha-crm in the view, by id.

    `witness`: it supports the view.
    """

    me: int
    term: Term
    view: ViewId
    basis: Basis
    waits: bool
    granters: frozenset[int]
    version: CibVersion
    peers: tuple[tuple[int, str, int], ...]
    witness: bool = False


def new_follower(boot_token: str, instance: int, log: Log) -> Follower:
    """Of a run that is seen for the first time."""
    return Follower(boot_token=boot_token, instance=instance, next=log.last_index + 1, since=log.last_index)


class Counting:
    """The numbers of one reign."""

    def __init__(self, reign: Reign, log: Log, founding: QuorumConfig) -> None:
        self.reign = reign
        self.basis = reign.basis
        self.waits = reign.waits
        self.witness = WitnessMemory(reign.term, supports=reign.witness)
        self.established = False
        self.followers = {node: new_follower(token, instance, log) for node, token, instance in reign.peers}
        self._log = log
        self._founding = founding
        self._barrier = 0  # what must be committed before the reign is established; 0: none yet
        self._durable = log.last_index
        self._gone: int | None = None  # the other of two voters, confirmed off, while we have the solo right

    @property
    def quorum(self) -> QuorumConfig:
        """Who votes by the newest entry of our log; what a change needs while it is under way."""
        return self._log.voters[1] or self._founding

    def _changed(self, wanted: VotersWanted) -> tuple[str, QuorumConfig | None]:
        """The joint configuration that is to begin, or why it is not."""
        index, _ = self._log.voters
        current = self.quorum
        if not self.established or not self.basis.safe or self.waits:
            return "no quorum: the voters were not changed", None
        if current.next is not None or index > self._log.commit_index:
            return "another change of the voters is under way: try again when it is over", None
        try:
            after = wanted.among(current, self._founding)
        except ValueError as error:
            return f"{error}; nothing was changed", None
        if after == current:
            return "those are the voters already", None
        committed = self._log.commit_index
        here = {node for node, follower in self.followers.items() if self._is_in_sync(follower, committed)}
        here.add(self.reign.me)
        new = {node for node, _ in after.voters} - {node for node, _ in current.voters}
        ready = {node for node in here if node == self.reign.me or self.followers[node].voter}
        if not new <= ready:
            missing = ", ".join(str(node) for node in sorted(new - ready))
            return f"node {missing} is not here, or has not got all of the CIB yet: try again", None
        if not is_quorum(after, here, witness=self.witness.supports):
            if self.basis is not Basis.FORCED:
                return "too few of the new voters are here: they would have no quorum", None
            # Two that do not store this together have not met: one of them does not act alone by a decree.
            after = replace(wanted, two_node=False).among(current, self._founding)
        return "", replace(current, next=after)

    @staticmethod
    def _is_in_sync(follower: Follower, index: int) -> bool:
        return follower.matched and not follower.failures and follower.match >= index

    def in_sync(self) -> tuple[int, ...]:
        """This node and those that have everything that is committed, in the order of ids."""
        committed = self._log.commit_index
        there = (node for node, follower in self.followers.items() if self._is_in_sync(follower, committed))
        return tuple(sorted((self.reign.me, *there)))

    def heard_since(self, since_ns: int) -> bool:
        """Whether a quorum has obeyed something that was sent after that instant."""
        counted = {node for node, f in self.followers.items() if f.voter and f.heard_ns > since_ns}
        return agree(self.quorum, self.reign.me, counted | {self.reign.me}, gone=self._gone)

    def heirs(self) -> tuple[int, ...]:
        """The voters that have everything, committed or not; nobody unless they are a quorum."""
        last = self._log.last_index
        if not self._agreed(self.quorum, last):
            return ()
        able = (node for node, follower in self.followers.items() if follower.voter)
        return tuple(
            n for n in able if is_voter(self.quorum, n) and self._is_in_sync(self.followers[n], last)
        )

    # -- who has it

    def _stored(self, node: int) -> int:
        if node == self.reign.me:
            return self._durable
        follower = self.followers.get(node)
        return follower.match if follower else 0

    def _agreed(self, config: QuorumConfig, index: int) -> bool:
        """Whether a quorum of these voters has stored the entry, as their memories are."""
        stored = {node for node in (self.reign.me, *self.followers) if self._stored(node) >= index}
        counted = {node for node in stored if node == self.reign.me or self.followers[node].voter}
        helps = self.witness.helps(counted)
        return agree(config, self.reign.me, counted, blank=stored - counted, gone=self._gone, witness=helps)

    def _in_sync_wanted(self) -> frozenset[int] | None:
        """Who has all that may be committed, and is to count so at the witness; None: not known yet.

        Those that answer and are known there stay: commits with the witness's help wait for them. Who was
        not known must have all that was committed before, and a memory.
        """
        floor = max(self._barrier, self._log.commit_index)
        if not self._barrier or self._durable < floor or self.basis not in (Basis.MAJORITY, Basis.FORCED):
            return None
        voters, known = voters_of(self.quorum), self.witness.known
        wanted = {self.reign.me}
        for node, follower in self.followers.items():
            if node not in voters or follower.failures or (follower.matched and not follower.voter):
                continue
            if follower.matched and (follower.match >= floor or (known is not None and node in known)):
                wanted.add(node)
            elif known is None or node in known:
                return None  # it has yet to answer, or to get the rest
        return frozenset(wanted)

    def _is_committed(self, index: int) -> bool:
        if self.basis is Basis.MAJORITY or (self.basis is Basis.FENCED and not self.waits):
            return self._agreed(self._log.voters_at(index)[1] or self._founding, index)
        if self.basis is Basis.ASSUMED or self.waits:
            return self._stored(self.reign.me) >= index
        return all(self._stored(node) >= index for node in self.reign.granters)

    def _restores(self, peer: int) -> bool:
        """Whether this follower, which does not count, may count from now on.

        A voter whose memory was lost: when every other voter has stored an entry that was made after its
        present run was seen, so that nobody holds a vote that it has forgotten. One that has no vote, and so
        may get one: when such an entry is committed without it. After the operator's decree those who are
        here decide.
        """
        follower = self.followers[peer]
        after = max(self._barrier, follower.since + 1)
        if follower.voter or not self._barrier or self.basis is Basis.CARETAKER or follower.match < after:
            return False
        if not is_voter(self.quorum, peer):
            plain = self.established and self.basis.safe and self.quorum.next is None
            return plain and self._log.commit_index >= after
        voters = [voter for voter in voters_of(self.quorum) if voter != peer]
        if self.basis is Basis.FORCED:
            voters = [voter for voter in voters if voter in self.reign.granters]
        return all(self._stored(voter) >= after for voter in voters)
