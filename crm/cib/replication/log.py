"""One node's log in memory: a snapshot, the entries after it, the committed and the newest configuration."""

from __future__ import annotations

from collections import deque
from typing import Final

from crm.cib import diff
from crm.cib.digest import Digester
from crm.cib.model import Element
from crm.cib.replication.basis import Basis
from crm.cib.replication.model import Kind, LogEntry, LogRank, Snapshot, is_sealed, sealed
from crm.cib.replication.voters import decode_voters, encode_voters
from crm.cib.versions import CibVersion
from hacluster.errors import HaError, InvalidRequest
from hacluster.vocabulary.ids import Term
from hacluster.vocabulary.membership import QuorumConfig

REQUESTS_MAX: Final = 10_000
"""So many request ids are remembered to answer "what became of my write"."""
KEEP_ENTRIES: Final = 1_000
"""So many committed entries stay for members that were away; older ones give way to a snapshot."""
BATCH_BYTES_MAX: Final = 1024 * 1024
PAYLOAD_BYTES_MAX: Final = 12 * 1024 * 1024
"""An entry must fit into one gRPC message of 16 MiB."""


_REFUSAL: Final = "refused:"


def refusal_of(request_id: str) -> str:
    """The request id of the entry by which that request is never written."""
    return _REFUSAL + request_id


def is_refusal(request_id: str) -> bool:
    """Whether it is one that `refusal_of` makes: no writer may use it."""
    return request_id.startswith(_REFUSAL)


class Damaged(Exception):
    """An entry does not lead to the configuration it promises; `str` says which and why."""


class State:
    """A configuration at a position of the log."""

    __slots__ = ("author", "content", "digest", "index", "version")

    def __init__(self, snapshot: Snapshot) -> None:
        self.index = snapshot.index
        self.content = snapshot.content
        self.digest = snapshot.digest
        self.version = snapshot.version
        self.author = ""

    def copy_from(self, other: State) -> None:
        """Become equal to `other`."""
        self.index, self.content, self.digest = other.index, other.content, other.digest
        self.version, self.author = other.version, other.author

    def copy(self) -> State:
        """Another one, equal to this."""
        other = State.__new__(State)
        other.copy_from(self)
        return other

    def advance(self, entry: LogEntry, digester: Digester | None) -> None:
        """Apply the next entry. Raises Damaged when its digests do not fit.

        Without a digester the result's digest is not computed: the chain of a later entry vouches for it.
        """
        assert entry.index == self.index + 1, (entry.index, self.index)
        if entry.kind is Kind.PATCH:
            if entry.digest_before != self.digest:
                raise Damaged(f"entry {entry.index} was made from another configuration")
            try:
                patch = diff.decode(entry.payload, base=entry.digest_before, result=entry.digest_after)
                content = diff.apply(self.content, patch, base_known=True)
            except HaError as error:
                raise Damaged(f"entry {entry.index}: {error}") from None
            if digester is not None and digester.digest(content) != entry.digest_after:
                raise Damaged(f"entry {entry.index} gives another digest than it says")
            self.content, self.digest = content, entry.digest_after
            self.author = entry.author
        self.version = entry.version
        self.index = entry.index

    def known(self, entry: LogEntry, content: Element) -> None:
        """As `advance`, for an entry this node made itself from `content`."""
        assert entry.index == self.index + 1, (entry.index, self.index)
        if entry.kind is Kind.PATCH:
            self.content, self.digest, self.author = content, entry.digest_after, entry.author
        self.version, self.index = entry.version, entry.index


class Log:
    """Entries base.index+1 … last_index; `committed` never goes beyond `head`."""

    def __init__(
        self,
        base: Snapshot,
        entries: tuple[LogEntry, ...],
        commit_index: int,
        *,
        keep_entries: int = KEEP_ENTRIES,
    ) -> None:
        """Raises Damaged when the entries do not follow each other or the snapshot."""
        self.base = base
        self.keep_entries = keep_entries
        self._entries: list[LogEntry] = []
        self._safe: list[tuple[Term, int]] = []  # of the last safe entry, at each entry
        self._voters: list[tuple[int, QuorumConfig]] = []  # by entries above the base, with their index
        self._requests: dict[str, int] = dict(base.requests)
        self._digester = Digester()
        self.committed = State(base)
        self.head = State(base)
        self._ahead: deque[State] = deque()  # after each entry that is not known to be committed
        self._midway: State | None = None  # where the next snapshot will be
        self.safe_commit_index = base.index  # committed by a DC of a safe basis: final
        last_patch = max((entry.index for entry in entries if entry.kind is Kind.PATCH), default=0)
        for entry in entries:
            if entry.index != self.last_index + 1 or not is_sealed(self.last_chain, entry):
                raise Damaged(f"entry {entry.index} does not follow entry {self.last_index}")
            self._push(entry)
            self.head.advance(entry, self._digester if entry.index == last_patch else None)
            if entry.index <= commit_index:
                self.committed.copy_from(self.head)
                self._look_midway()
            else:
                self._ahead.append(self.head.copy())

    @property
    def last_index(self) -> int:
        """Of the last entry; 0 for a blank log."""
        return self.base.index + len(self._entries)

    @property
    def last_chain(self) -> bytes:
        """Of the last entry."""
        return self._entries[-1].chain if self._entries else self.base.chain

    @property
    def commit_index(self) -> int:
        """Of the last entry known to be committed."""
        return self.committed.index

    @property
    def blank(self) -> bool:
        """Whether nothing was ever stored."""
        return self.last_index == 0

    @property
    def voters(self) -> tuple[int, QuorumConfig | None]:
        """Who votes by the newest entry that says so, and its index; None before there is any."""
        return self._voters[-1] if self._voters else (self.base.voters_index, self.base.voters)

    def voters_at(self, index: int) -> tuple[int, QuorumConfig | None]:
        """As `voters`, after entry `index`, which is not below the base."""
        for at, config in reversed(self._voters):
            if at <= index:
                return at, config
        return self.base.voters_index, self.base.voters

    @property
    def rank(self) -> LogRank:
        """Compared to decide whose history stands."""
        last = self._entries[-1] if self._entries else None
        safe_term, safe_index = self._safe[-1] if self._safe else (self.base.safe_term, self.base.safe_index)
        return LogRank(
            admin_epoch=self.head.version.admin_epoch,
            safe_term=safe_term,
            safe_index=safe_index,
            last_term=last.term if last else self.base.term,
            last_index=self.last_index,
        )

    def entry(self, index: int) -> LogEntry:
        """The entry, which must be above the base and not above the last."""
        return self._entries[index - self.base.index - 1]

    def chain_at(self, index: int) -> bytes | None:
        """The chain after entry `index`; None when it is not (or no longer) known."""
        if index == self.base.index:
            return self.base.chain
        if self.base.index < index <= self.last_index:
            return self.entry(index).chain
        return None

    def term_at(self, index: int) -> Term:
        """The term of a known entry."""
        return self.base.term if index == self.base.index else self.entry(index).term

    def after(self, index: int, *, bytes_max: int = BATCH_BYTES_MAX, count_max: int = 256) -> list[LogEntry]:
        """Entries after `index`, at least one if there is any, within the limits."""
        batch: list[LogEntry] = []
        size = 0
        for entry in self._entries[index - self.base.index : index - self.base.index + count_max]:
            size += len(entry.payload) + 400
            if batch and size > bytes_max:
                break
            batch.append(entry)
        return batch

    def find_request(self, request_id: str) -> int | None:
        """The index of the entry with that request id."""
        return self._requests.get(request_id)

    def append_new(
        self,
        *,
        term: Term,
        basis: Basis,
        kind: Kind,
        version: CibVersion,
        author: str = "",
        request_id: str = "",
        content: Element | None = None,
        voters: QuorumConfig | None = None,
    ) -> LogEntry:
        """Make the next entry; with `content`, the patch from the newest configuration to it.

        Raises InvalidRequest when the patch is too large to be sent.
        """
        assert (voters is not None) == (kind is Kind.CONFIG)
        payload = b"" if voters is None else encode_voters(voters)
        before = result = self.head.digest
        if content is not None:
            change = diff.diff(self.head.content, content, base=before, result=before)
            content = diff.apply(self.head.content, change, base_known=True)  # shares what did not change
            payload, result = diff.encode(change), self._digester.digest(content)
            if len(payload) > PAYLOAD_BYTES_MAX:
                raise InvalidRequest(
                    what=f"the change is {len(payload)} bytes, {PAYLOAD_BYTES_MAX} are possible",
                    remedy="make it in several steps",
                )
        entry = sealed(
            self.last_chain,
            LogEntry(
                index=self.last_index + 1,
                term=term,
                basis=basis,
                kind=kind,
                author=author,
                request_id=request_id,
                digest_before=before,
                digest_after=result,
                version=version,
                payload=payload,
            ),
        )
        self._push(entry)
        self.head.known(entry, self.head.content if content is None else content)
        self._ahead.append(self.head.copy())
        return entry

    def append(self, entry: LogEntry, *, verify: bool = True) -> None:
        """Take over the next entry from the DC. Raises Damaged."""
        if entry.index != self.last_index + 1 or not is_sealed(self.last_chain, entry):
            raise Damaged(f"entry {entry.index} does not follow entry {self.last_index}")
        if entry.kind is Kind.CONFIG:
            _voters_in(entry)
        self.head.advance(entry, self._digester if verify else None)
        self._ahead.append(self.head.copy())
        self._push(entry)

    def cut(self, after: int) -> tuple[LogEntry, ...]:
        """Drop the entries after index `after` (not below the base) and return them."""
        assert self.base.index <= after <= self.last_index
        self.safe_commit_index = min(self.safe_commit_index, after)
        keep = after - self.base.index
        dropped = tuple(self._entries[keep:])
        if not dropped:
            return ()
        del self._entries[keep:]
        del self._safe[keep:]
        self._voters = [(at, config) for at, config in self._voters if at <= after]
        for entry in dropped:
            if self._requests.get(entry.request_id) == entry.index:
                del self._requests[entry.request_id]
        if self.committed.index > after:
            self._replay(self.committed, after)
        if self._midway is not None and self._midway.index > after:
            self._midway = None
        while self._ahead and self._ahead[-1].index > after:
            self._ahead.pop()
        self.head.copy_from(self._ahead[-1] if self._ahead else self.committed)
        return dropped

    def commit(self, index: int, *, safe: bool) -> list[LogEntry]:
        """Mark entries up to `index` committed; returns those that were not before.

        `safe` is the DC's basis: entries of a safe basis that were committed only under a provisional one
        are provisional as well.
        """
        if safe:
            self.safe_commit_index = max(self.safe_commit_index, min(index, self.last_index))
        fresh = [self.entry(i) for i in range(self.committed.index + 1, min(index, self.last_index) + 1)]
        for _ in fresh:
            self.committed.copy_from(self._ahead.popleft())
            self._look_midway()
        return fresh

    def snapshot(self, index: int) -> Snapshot:
        """The snapshot at a known position."""
        midway = self._midway
        state = State(self.base) if midway is None or midway.index > index else midway.copy()
        if index == self.committed.index:
            state.copy_from(self.committed)
        elif index == self.head.index:
            state.copy_from(self.head)
        else:
            self._advance(state, index)
        at = index - self.base.index
        safe_term, safe_index = self._safe[at - 1] if at else (self.base.safe_term, self.base.safe_index)
        voters_index, voters = self.voters_at(index)
        requests = [(name, where) for name, where in self._requests.items() if where <= index]
        return Snapshot(
            index=index,
            term=self.term_at(index),
            chain=self.chain_at(index) or b"",
            safe_term=safe_term,
            safe_index=safe_index,
            version=state.version,
            digest=state.digest,
            content=state.content,
            requests=tuple(requests[-REQUESTS_MAX:]),
            voters=voters,
            voters_index=voters_index,
        )

    def compactable(self) -> int | None:
        """The index up to which entries may give way to a snapshot, or None.

        Only what is committed on a safe basis: what is provisional may still become orphans.
        """
        bound = self.safe_commit_index - self.keep_entries
        return bound if bound - self.base.index >= self.keep_entries else None

    def compact(self, index: int) -> tuple[Snapshot, tuple[LogEntry, ...]]:
        """Replace the entries up to `index` by a snapshot; returns it and the entries that are left."""
        base = self.snapshot(index)
        del self._entries[: index - self.base.index]
        del self._safe[: index - self.base.index]
        self.base = base
        self._voters = [(at, config) for at, config in self._voters if at > index]
        if len(self._requests) > 2 * REQUESTS_MAX:
            self._requests = dict(list(self._requests.items())[-REQUESTS_MAX:])
        self._midway = None
        self._look_midway()
        return base, tuple(self._entries)

    def _look_midway(self) -> None:
        """So that a snapshot of there need not be computed from the one before, entry by entry."""
        if self._midway is None and self.committed.index >= self.base.index + self.keep_entries:
            self._midway = self.committed.copy()

    def _push(self, entry: LogEntry) -> None:
        safe = self._safe[-1] if self._safe else (self.base.safe_term, self.base.safe_index)
        self._entries.append(entry)
        self._safe.append((entry.term, entry.index) if entry.basis.safe else safe)
        if entry.kind is Kind.CONFIG:
            self._voters.append((entry.index, _voters_in(entry)))
        if entry.request_id:
            self._requests.pop(entry.request_id, None)
            self._requests[entry.request_id] = entry.index

    def _replay(self, state: State, index: int) -> None:
        state.copy_from(State(self.base))
        self._advance(state, index)

    def _advance(self, state: State, index: int) -> None:
        for i in range(state.index + 1, index + 1):
            state.advance(self.entry(i), None)


def _voters_in(entry: LogEntry) -> QuorumConfig:
    """Raises Damaged."""
    try:
        return decode_voters(entry.payload)
    except ValueError as error:
        raise Damaged(f"entry {entry.index}: {error}") from None
