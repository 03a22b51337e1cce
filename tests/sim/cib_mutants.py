"""Deliberately broken replicas: each must be caught by a checker within some seeds of its class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from crm.cib import merging
from crm.cib.model import Element
from crm.cib.orphan_files import OrphanFiles
from crm.cib.replication.core import Replication
from crm.cib.replication.counting import Counting
from crm.cib.replication.in_sync import WitnessMemory
from crm.cib.replication.leading import Leading
from crm.cib.replication.log import Log
from crm.cib.replication.model import LogRank, Promise, Stored
from crm.cib.replication.orphans import Merge
from crm.cib.replication.questions import Questions
from crm.cib.replication.solo import SoloRight
from crm.cib.replication.voters import VotersWanted
from crm.cib.replication.waiters import Waiters
from crm.cib.store import CibStore
from crm.cib.versions import NO_VERSION, CibVersion
from crm.election import quorum
from crm.election.core import Election
from crm.election.messages import Claim, VoteRequest
from crm.election.model import Result
from crm.election.quorum import is_voter
from crm.replica.core import Replica
from crm.replica.effects import DecideOrphans, Effect, PersistEntries, Propose, SaveOrphans, TellWitness
from crm.replica.events import DcState, Outcome, WriteOutcome
from hacluster.vocabulary.ids import NO_TERM
from hacluster.vocabulary.membership import Authority, QuorumConfig
from messaging.membership import quorum as counted
from messaging.witness.core import SyncChanged, WitnessCore
from tests.sim.cib import ReplicaProcess

Break = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CibMutant:
    """`what` is broken, and `scenario` is the class that finds it."""

    what: str
    scenario: str
    break_it: Break

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The product with the mutant in it."""
        with pytest.MonkeyPatch.context() as patch:
            self.break_it(patch)
            yield


def _promise_unsaved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CibStore, "promise", lambda self, promise: None)


def _ack_before_disk(patch: pytest.MonkeyPatch) -> None:
    """Entries reach the disk some time later; the ack does not wait."""
    original = ReplicaProcess._to_disk

    def to_disk(self: ReplicaProcess, effect: Effect) -> None:
        if isinstance(effect, PersistEntries):
            self.storage.finish()
            self._write(effect)  # what it puts off waits for the next effect
            last = effect.entries[-1]
            from crm.replica.effects import Persisted

            self.deliver(Persisted(last.index, last.chain))
        else:
            original(self, effect)

    patch.setattr(ReplicaProcess, "_to_disk", to_disk)


def _vote_for_older_log(patch: pytest.MonkeyPatch) -> None:
    original = Election._refusal

    def refusal(self: Election, request: VoteRequest, now: int) -> str:
        return original(self, replace(request, rank=max(request.rank, self._facts.rank)), now)

    def position(self: Election, claims: object) -> int | None:
        ids = sorted(self._current_claims())
        return ids.index(self.settings.me)

    patch.setattr(Election, "_refusal", refusal)
    patch.setattr(Election, "_position", position)


def _one_store_is_enough(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leading, "_is_committed", lambda self, index: self._stored(self.reign.me) >= index)


def _ok_before_commit(patch: pytest.MonkeyPatch) -> None:
    original = Waiters.resolve

    class Eager:
        def __init__(self, log: Log) -> None:
            self._log = log
            self.commit_index = log.last_index
            self.safe_commit_index = log.last_index

        def __getattr__(self, name: str) -> object:
            return getattr(self._log, name)

    def resolve(self: Waiters, log: Log, now: int, **more: int) -> Sequence[Effect]:
        return original(self, Eager(log), now, **more)  # type: ignore[arg-type]

    patch.setattr(Waiters, "resolve", resolve)


def _orphans_dropped(patch: pytest.MonkeyPatch) -> None:
    original = Replication._orphans

    def orphans(self: Replication, *args: object, **more: object) -> Sequence[Effect]:
        effects = original(self, *args, **more)  # type: ignore[arg-type]
        return [effect for effect in effects if not isinstance(effect, SaveOrphans)]

    patch.setattr(Replication, "_orphans", orphans)


def _newest_version_wins(patch: pytest.MonkeyPatch) -> None:
    """As Pacemaker merges: the higher version, whatever its basis."""

    def rank(self: Log) -> LogRank:
        version = self.head.version
        return LogRank(
            admin_epoch=version.admin_epoch,
            safe_term=NO_TERM,
            safe_index=version.epoch,
            last_index=self.last_index,
        )

    patch.setattr(Log, "rank", property(rank))


def _amnesia_votes(patch: pytest.MonkeyPatch) -> None:
    original = CibStore.load

    def load(self: CibStore, *, wall_s: int) -> Stored:
        stored = original(self, wall_s=wall_s)
        return replace(stored, promise=Promise(term=stored.promise.term, voter=True))

    patch.setattr(CibStore, "load", load)


def _damage_is_torn(patch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong in the log is taken for a torn write and cut off."""
    from crm.cib import store

    original = store.frames

    def frames(data: bytes, name: str) -> tuple[list[bytes], int]:
        end = len(data)
        while True:
            try:
                return original(data[:end], name)
            except store.Unusable:
                end -= 1

    patch.setattr(store, "frames", frames)


def _stale_term_obeyed(patch: pytest.MonkeyPatch) -> None:
    """A DC goes on when it hears of a higher term, and followers forget what they promised it."""
    from crm.election.model import Phase

    original = Election._refusal

    def refusal(self: Election, request: VoteRequest, now: int) -> str:
        why = original(self, request, now)
        if why.startswith("promised") and self.phase not in (Phase.LEADING, Phase.FOLLOWING):
            self.promise = Promise(term=NO_TERM, voter=self.promise.voter)
            return original(self, request, now)
        return why

    patch.setattr(Election, "_refusal", refusal)


def _witness_without_the_in_sync(patch: pytest.MonkeyPatch) -> None:
    """The witness's votes count in a commit whoever has stored it."""
    patch.setattr(WitnessMemory, "helps", lambda self, stores: self.supports)


def _witness_for_anybody(patch: pytest.MonkeyPatch) -> None:
    """Whoever has enough votes with the witness's wins."""
    from crm.election import witness

    patch.setattr(witness, "witness_helps", lambda config, in_sync, counted: True)


def _in_sync_before_it_is_told(patch: pytest.MonkeyPatch) -> None:
    """A smaller set counts from the moment at which the witness is told of it."""
    original = WitnessMemory.tell

    def tell(self: WitnessMemory, in_sync: frozenset[int]) -> TellWitness | None:
        told = original(self, in_sync)
        if told is not None:
            self.known, self._perhaps = in_sync, frozenset()
        return told

    patch.setattr(WitnessMemory, "tell", tell)


def _witness_hears_older_terms(patch: pytest.MonkeyPatch) -> None:
    original = WitnessCore._sync

    def sync(self: WitnessCore, change: SyncChanged) -> Sequence[object]:
        self.state = replace(self.state, term=(0, 0), serial=0)
        return original(self, change)

    patch.setattr(WitnessCore, "_sync", sync)


def _witness_hears_older_words(patch: pytest.MonkeyPatch) -> None:
    """What was said earlier in a term is heard when it comes later."""
    original = WitnessCore._sync

    def sync(self: WitnessCore, change: SyncChanged) -> Sequence[object]:
        self.state = replace(self.state, serial=0)
        return original(self, change)

    patch.setattr(WitnessCore, "_sync", sync)


def _in_sync_too_soon(patch: pytest.MonkeyPatch) -> None:
    """Whoever is here is in sync."""

    def wanted(self: Counting) -> frozenset[int]:
        return frozenset((self.reign.me, *self.followers))

    patch.setattr(Counting, "_in_sync_wanted", wanted)
    original = WitnessMemory.helps
    patch.setattr(
        WitnessMemory, "helps", lambda self, stores: original(self, stores | (self.known or frozenset()))
    )


def _version_not_lifted(patch: pytest.MonkeyPatch) -> None:
    def version(self: Replication) -> CibVersion:
        return CibVersion()

    patch.setattr(Replication, "version", property(version))
    patch.setattr(Replication, "_is_behind_shown", lambda self: False)


def _failed_too_soon(patch: pytest.MonkeyPatch) -> None:
    """A deadline is taken for a refusal."""
    from crm.replica.effects import Answer
    from crm.replica.events import Outcome, WriteOutcome

    def expire(self: Waiters, token: int) -> list[Effect]:
        if self._waiting.pop(token, None) is None:
            return []
        return [Answer(token, WriteOutcome(outcome=Outcome.FAILED, reason="late"))]

    patch.setattr(Waiters, "expire", expire)


def _right_by_sight(patch: pytest.MonkeyPatch) -> None:
    """Whoever has seen the other in a view may go on alone when it is fenced."""

    def saw(self: SoloRight, boot_token: str) -> bool:
        self._off = ""
        changed = self.right != boot_token
        self.right = boot_token
        return changed

    patch.setattr(SoloRight, "saw", saw)


def _no_right_needed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SoloRight, "may_go_alone", property(lambda self: bool(self._off)))


def _change_in_one_step(patch: pytest.MonkeyPatch) -> None:
    """The new voters count alone at once."""
    original = Counting._changed

    def changed(self: Counting, wanted: VotersWanted) -> tuple[str, QuorumConfig | None]:
        why, joint = original(self, wanted)
        return why, joint.next if joint is not None else None

    patch.setattr(Counting, "_changed", changed)


def _new_half_decides(patch: pytest.MonkeyPatch) -> None:
    """While the voters change, only the new ones are asked."""
    patch.setattr(quorum, "halves", lambda config: (config.next or config,))


def _old_half_decides(patch: pytest.MonkeyPatch) -> None:
    """While the voters change, only the old ones are asked."""
    patch.setattr(quorum, "halves", lambda config: (replace(config, next=None),))


def _next_one_acts_alone(patch: pytest.MonkeyPatch) -> None:
    """One of two acts alone while they are only the next voters, whoever else makes the view quorate."""
    original = Election.authority

    def authority(self: Election, authority: Authority, now: int) -> list[Result]:
        return original(self, replace(authority, by_votes=False), now)

    patch.setattr(counted, "by_votes", lambda config: config)
    patch.setattr(Election, "authority", authority)


def _voters_only(patch: pytest.MonkeyPatch) -> None:
    """Who has no vote is not DC, not even to hand on the end of the change that took it away."""
    original = Election._position

    def position(self: Election, claims: dict[int, Claim]) -> int | None:
        voters = {node: claim for node, claim in claims.items() if is_voter(self._quorum, node)}
        return original(self, voters if voters and self._reaches_quorum(claims) else claims)

    patch.setattr(Election, "_position", position)


def _dc_without_vote_stays(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Replica, "_should_hand_over", lambda self: False)


def _changes_overlap(patch: pytest.MonkeyPatch) -> None:
    """The next change begins before the one before is committed, and replaces it."""

    def changed(self: Counting, wanted: VotersWanted) -> tuple[str, QuorumConfig | None]:
        current = self.quorum.next or self.quorum
        try:
            return "", replace(current, next=wanted.among(current, self._founding))
        except ValueError as error:
            return str(error), None

    patch.setattr(Counting, "_changed", changed)


def _never_written_without_proof(patch: pytest.MonkeyPatch) -> None:
    """Whoever believes to be DC says so at once, as by its own log."""
    original = Replication._outcome

    def outcome(self: Replication, request_id: str) -> WriteOutcome:
        known = original(self, request_id)
        return known or WriteOutcome(outcome=Outcome.FAILED, reason="it was never written")

    patch.setattr(Replication, "_outcome", outcome)


def _reads_of_whoever_is_dc(patch: pytest.MonkeyPatch) -> None:
    """Whoever believes to be DC, and has been, shows what it has."""
    patch.setattr(Leading, "heard_since", lambda self, since_ns: True)
    patch.setattr(
        Replication, "lease_end_ns", property(lambda self: 1 << 62, lambda self, value: None), raising=False
    )


def _reads_by_the_lease_alone(patch: pytest.MonkeyPatch) -> None:
    """A ha-crm that was stopped while others elected another shows what it has."""
    patch.setattr(Leading, "heard_since", lambda self, since_ns: True)


def _reads_before_the_barrier(patch: pytest.MonkeyPatch) -> None:
    """A new DC shows what it has before it knows what was committed."""
    from crm.cib.replication import reads

    patch.setattr(reads, "at_once", lambda *_, **more: WriteOutcome(outcome=Outcome.OK))


def _reads_proven_by_age(patch: pytest.MonkeyPatch) -> None:
    """An entry that was made before the question proves it, too."""
    original = Questions.ask

    def ask(self: Questions, token: int, request_id: str | None, now: int) -> None:
        original(self, token, request_id, now)
        self._open[-1].index = 1

    patch.setattr(Questions, "ask", ask)


def _shown_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What was shown is remembered only as long as the daemon runs."""
    patch.setattr(Replication, "_not_in_log", lambda self: NO_VERSION)


def _overwrites_the_other_side(patch: pytest.MonkeyPatch) -> None:
    """Whatever the other side has made of it."""
    original = Merge._obstacle

    def obstacle(work: Any, orphan: Any, after: Element, log: Log) -> str:
        why = original(work, orphan, after, log)
        return "" if why.startswith("changed on the other side") else why

    patch.setattr(Merge, "_obstacle", staticmethod(obstacle))
    patch.setattr(merging, "_value", lambda base, mine, theirs: theirs if mine == base else mine)


def _proposed(patch: pytest.MonkeyPatch, change: Callable[[Propose], Propose]) -> None:
    original = Merge.step

    def step(self: Merge, dc: DcState, log: Log, now: int) -> list[Effect]:
        effects = original(self, dc, log, now)
        return [change(one) if isinstance(one, Propose) else one for one in effects]

    patch.setattr(Merge, "step", step)


def _merged_on_anything(patch: pytest.MonkeyPatch) -> None:
    """What was written since the proposal was made is undone by it."""
    _proposed(patch, lambda one: replace(one, expected_digest=""))


def _merged_under_another_name(patch: pytest.MonkeyPatch) -> None:
    _proposed(patch, lambda one: replace(one, request_id=f"again-{one.request_id}"))


def _refusal_ends_with_the_reign(patch: pytest.MonkeyPatch) -> None:
    """The answer that it was never written rests on a proof, but not on an entry."""
    original = Replication._outcome

    def outcome(self: Replication, request_id: str) -> WriteOutcome:
        known = original(self, request_id)
        return known or WriteOutcome(outcome=Outcome.FAILED, reason="it was never written")

    def asked(self: Replication, token: int, request_id: str, now: int) -> list[Effect]:
        return [] if self.leading is None else [*self.leading.ask(token, request_id, now), *self.settle(now)]

    patch.setattr(Replication, "_outcome", outcome)
    patch.setattr(Replication, "outcome", asked)
    patch.setattr(Questions, "unsettled_requests", property(lambda self: ()))


def _left_is_dropped(patch: pytest.MonkeyPatch) -> None:
    """Once some of a report is merged, all of it is taken for done."""
    original = OrphanFiles.decide

    def decide(self: OrphanFiles, decision: DecideOrphans) -> object:
        return original(self, replace(decision, left=()) if decision.merged else decision)

    patch.setattr(OrphanFiles, "decide", decide)


MUTANTS: tuple[CibMutant, ...] = (
    CibMutant(
        what="a merge overwrites what the other side made",
        scenario="cib3-disjoint",
        break_it=_overwrites_the_other_side,
    ),
    CibMutant(
        what="a merge is written on whatever is there", scenario="cib3-disjoint", break_it=_merged_on_anything
    ),
    CibMutant(
        what="a merge has request ids of its own",
        scenario="cib3-disjoint",
        break_it=_merged_under_another_name,
    ),
    CibMutant(
        what="a refusal ends with the reign",
        scenario="cib3-disjoint",
        break_it=_refusal_ends_with_the_reign,
    ),
    CibMutant(what="what a merge leaves is dropped", scenario="cib3-disjoint", break_it=_left_is_dropped),
    CibMutant(
        what="what was shown is forgotten with its entries", scenario="cib3-merge", break_it=_shown_forgotten
    ),
    CibMutant(
        what="never written, says a DC that nobody follows",
        scenario="full3-net",
        break_it=_never_written_without_proof,
    ),
    CibMutant(what="a promise is not kept on disk", scenario="cib3-power", break_it=_promise_unsaved),
    CibMutant(
        what="entries are acknowledged before the disk has them",
        scenario="cib3-power",
        break_it=_ack_before_disk,
    ),
    CibMutant(what="a vote for an older log", scenario="cib3-power", break_it=_vote_for_older_log),
    CibMutant(what="one store is enough to commit", scenario="cib3", break_it=_one_store_is_enough),
    CibMutant(what="OK before the commit", scenario="cib3", break_it=_ok_before_commit),
    CibMutant(what="orphans are cut without a report", scenario="cib3-force", break_it=_orphans_dropped),
    CibMutant(what="the newest version wins a merge", scenario="cib3-force", break_it=_newest_version_wins),
    CibMutant(what="a node without a memory votes", scenario="cib3-compact-wipe", break_it=_amnesia_votes),
    CibMutant(what="damage is taken for a torn write", scenario="cib5-damage", break_it=_damage_is_torn),
    CibMutant(what="a promise is forgotten for a candidate", scenario="cib3", break_it=_stale_term_obeyed),
    CibMutant(
        what="the version is not lifted at a merge", scenario="cib3-force", break_it=_version_not_lifted
    ),
    CibMutant(what="a deadline is taken for a refusal", scenario="cib3", break_it=_failed_too_soon),
    CibMutant(
        what="the solo right comes from sight alone", scenario="cib2-fenced-alone", break_it=_right_by_sight
    ),
    CibMutant(what="no solo right is needed", scenario="cib2-fenced-alone", break_it=_no_right_needed),
    CibMutant(what="voters change in one step", scenario="voters5-turn", break_it=_change_in_one_step),
    CibMutant(what="only the new voters are asked", scenario="voters5-turn", break_it=_new_half_decides),
    CibMutant(what="only the old voters are asked", scenario="voters5-turn", break_it=_old_half_decides),
    CibMutant(
        what="one of the next two acts alone", scenario="voters3-turn-two", break_it=_next_one_acts_alone
    ),
    CibMutant(what="who has no vote is never DC", scenario="voters3-turn", break_it=_voters_only),
    CibMutant(what="a DC without a vote stays", scenario="voters3-turn", break_it=_dc_without_vote_stays),
    CibMutant(what="changes of voters overlap", scenario="voters5-turn", break_it=_changes_overlap),
    CibMutant(
        what="the witness helps commits without those in sync",
        scenario="witness2",
        break_it=_witness_without_the_in_sync,
    ),
    CibMutant(what="the witness helps any candidate", scenario="witness2", break_it=_witness_for_anybody),
    CibMutant(
        what="a smaller set counts before the witness has it",
        scenario="witness3",
        break_it=_in_sync_before_it_is_told,
    ),
    CibMutant(what="the witness hears older terms", scenario="witness3", break_it=_witness_hears_older_terms),
    CibMutant(
        what="the witness hears an older word later", scenario="witness3", break_it=_witness_hears_older_words
    ),
    CibMutant(what="a DC reads without quorum or lease", scenario="cib3", break_it=_reads_of_whoever_is_dc),
    CibMutant(what="a DC reads by its lease alone", scenario="full3", break_it=_reads_by_the_lease_alone),
    CibMutant(what="a DC reads before its barrier", scenario="cib3", break_it=_reads_before_the_barrier),
    CibMutant(what="an old entry proves a read", scenario="cib3", break_it=_reads_proven_by_age),
    CibMutant(what="in sync before it has caught up", scenario="witness2", break_it=_in_sync_too_soon),
)
