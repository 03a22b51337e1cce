"""What is made again of the changes that had to give way, one proposal after the other, and what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from crm.cib import codec
from crm.cib.model import Element, element
from crm.cib.replication.basis import Basis
from crm.cib.replication.log import Log, refusal_of
from crm.cib.replication.model import Kind, Orphan, Report, Snapshot
from crm.cib.replication.orphans import NO_ANSWER, TELL_MS, TELL_TIMER, TIMER, TRIES_MAX, Merge
from crm.cib.versions import CibVersion
from crm.replica.effects import DecideOrphans, Effect, Propose, SetTimer, TellOrphans
from crm.replica.events import DcState, Outcome, WriteOutcome
from hacluster.vocabulary.ids import Term

THEN, NOW = Term(1, 1), Term(5, 2)
DC = DcState(term=NOW, dc_node_id=2, established=True, basis=Basis.MAJORITY)
OK = WriteOutcome(outcome=Outcome.OK)
MS = 1_000_000


def config(merge: str = "disjoint", **values: str) -> Element:
    pairs = [element("nvpair", {"id": name, "name": name, "value": value}) for name, value in values.items()]
    mode = element("nvpair", {"id": "m", "name": "cib-merge", "value": merge})
    return element(
        "configuration",
        {},
        element("crm_config", {}, element("cluster_property_set", {"id": "o"}, mode, *pairs)),
    )


def a_log(base: Element, contents: Sequence[Element], *, term: Term = NOW, name: str = "theirs") -> Log:
    log = Log(Snapshot(content=base, digest=codec.digest(base)), (), 0)
    log.append_new(term=term, basis=Basis.MAJORITY, kind=Kind.BARRIER, version=CibVersion(0, 1, 0))
    for number, content in enumerate(contents):
        write(log, content, f"{name}{number}", term=term)
    log.commit(log.last_index, safe=True)
    return log


def write(log: Log, content: Element, request_id: str, *, term: Term = NOW) -> None:
    version = log.head.version.configuration_changed()
    log.append_new(
        term=term,
        basis=Basis.MAJORITY,
        kind=Kind.PATCH,
        version=version,
        request_id=request_id,
        content=content,
    )
    log.commit(log.last_index, safe=True)


def a_report(base: Element, *contents: Element) -> Report:
    log = a_log(base, contents, term=THEN, name="r")
    entries = [log.entry(index) for index in range(2, log.last_index + 1)]
    orphans = tuple(
        Orphan(index=e.index, request_id=e.request_id, author="root@n1", payload=e.payload) for e in entries
    )
    return Report(file="orphans/f.xml", base=base, orphans=orphans)


@dataclass
class Bench:
    """A merge, the log of the node, and a DC that takes what is proposed unless it is told not to."""

    log: Log
    dc: DcState = DC
    answers: list[WriteOutcome] = field(default_factory=list)
    proposals: list[Propose] = field(default_factory=list)
    validate: str = ""

    def __post_init__(self) -> None:
        self.merge = Merge(lambda content: self.validate)
        self.now = 0

    def play(self, report: Report, *, steps: int = 200) -> DecideOrphans | None:
        """Until it is decided, or so many timers have fired."""
        effects: list[Effect] = self.merge.add(report, self.now)
        for _ in range(steps):
            effects = self.merge.step(self.dc, self.log, self.now)
            for effect in effects:
                match effect:
                    case DecideOrphans():
                        return effect
                    case Propose():
                        self._answer(effect)
                    case SetTimer(key, at_ns) if key == TIMER:
                        self.now = max(self.now, at_ns)
        return None

    def _answer(self, proposal: Propose) -> None:
        self.proposals.append(proposal)
        answer = self.answers.pop(0) if self.answers else OK
        if answer.outcome is Outcome.OK and proposal.expected_digest == self.log.head.digest:
            write(self.log, proposal.configuration, proposal.request_id)
        self.merge.proposed(proposal.request_id, answer, self.now)


def test_in_their_order_and_each_on_what_is_there() -> None:
    base = config()
    bench = Bench(a_log(base, [config(x="9")]))
    decided = bench.play(a_report(base, config(a="1"), config(a="1", b="1"), config(a="2", b="1")))
    assert decided is not None
    assert (decided.merged, decided.left) == ((2, 3, 4), ())
    assert [one.request_id for one in bench.proposals] == ["r0", "r1", "r2"]
    assert {one.author for one in bench.proposals} == {"root@n1"}
    assert bench.log.committed.content == config(x="9", a="2", b="1")


def test_what_builds_on_a_change_that_is_left_is_left_with_it() -> None:
    base = config()
    bench = Bench(a_log(base, [config(a="9")]))
    contents = config(a="1"), config(a="1", b="1"), config(a="2", b="1"), config(a="2", b="2")
    decided = bench.play(a_report(base, *contents))
    assert decided is not None
    assert decided.merged == (3, 5)
    assert [index for index, _why in decided.left] == [2, 4]
    assert all("changed on the other side" in why and "a" in why for _index, why in decided.left)
    assert bench.log.committed.content == config(a="9", b="2")
    assert decided.base == config(b="2")


def test_what_is_refused_takes_what_builds_on_it_along() -> None:
    base = config()
    log = a_log(base, [config(x="9")])
    version = log.head.version
    log.append_new(
        term=NOW, basis=Basis.MAJORITY, kind=Kind.BARRIER, version=version, request_id=refusal_of("r0")
    )
    log.commit(log.last_index, safe=True)
    bench = Bench(log)
    decided = bench.play(a_report(base, config(a="1"), config(a="2"), config(a="2", b="1")))
    assert decided is not None
    assert decided.merged == (4,)
    assert "told that it was not written" in decided.left[0][1]
    assert "by a change that was left: a" in decided.left[1][1]


def test_nothing_is_proposed_unless_it_is_asked_for() -> None:
    base = config("report")
    bench = Bench(a_log(base, [config("report", x="9")]))
    decided = bench.play(a_report(base, config("report", a="1")))
    assert decided is not None
    assert (decided.merged, decided.left) == ((), ((2, "cib-merge is not disjoint"),))
    assert not bench.proposals


def test_the_winners_option_counts() -> None:
    base = config("report")
    bench = Bench(a_log(base, [config("report", x="9")]))
    decided = bench.play(a_report(base, config("disjoint"), config("disjoint", a="1")))
    assert decided is not None
    assert not bench.proposals


def test_what_another_node_has_proposed_is_not_proposed_again() -> None:
    base = config()
    log = a_log(base, [config(x="9")])
    write(log, config(x="9", a="1"), "r0")
    write(log, config(x="9", a="3"), "later")
    bench = Bench(log)
    decided = bench.play(a_report(base, config(a="1"), config(a="1", b="1"), config(a="2", b="1")))
    assert decided is not None
    assert decided.merged == (2, 3)
    assert [one.request_id for one in bench.proposals] == ["r1"]
    assert [index for index, _why in decided.left] == [4]


def test_the_same_change_on_the_other_side_needs_no_entry() -> None:
    base = config()
    bench = Bench(a_log(base, [config(a="1")]))
    decided = bench.play(a_report(base, config(a="1"), config(a="2")))
    assert decided is not None
    assert decided.merged == (2, 3)
    assert [one.request_id for one in bench.proposals] == ["r1"]


def test_an_answer_that_got_lost_is_asked_for_again() -> None:
    """Under the same request id: it is written once, however often."""
    base = config()
    unknown, failed = (
        WriteOutcome(outcome=Outcome.UNKNOWN),
        WriteOutcome(outcome=Outcome.FAILED, reason="busy"),
    )
    bench = Bench(a_log(base, []), answers=[unknown, failed, unknown])
    decided = bench.play(a_report(base, config(a="1")))
    assert decided is not None
    assert decided.merged == (2,)
    assert [one.request_id for one in bench.proposals] == ["r0"] * 4


def test_it_is_given_up_and_people_are_told_why() -> None:
    base = config()
    failed = WriteOutcome(outcome=Outcome.FAILED, reason="it cannot be")
    bench = Bench(a_log(base, []), answers=[failed] * 1_000)
    decided = bench.play(a_report(base, config(a="1")))
    assert decided is not None
    assert decided.left == ((2, "it cannot be"),)
    assert len(bench.proposals) == TRIES_MAX


def test_nor_is_a_dc_that_never_says_anything_asked_for_ever() -> None:
    """Still less is it asked for what is in the way of others by then."""
    base = config()
    bench = Bench(a_log(base, []), answers=[WriteOutcome(outcome=Outcome.UNKNOWN)] * 1_000)
    decided = bench.play(a_report(base, config(a="1")))
    assert decided is not None
    assert decided.left == ((2, NO_ANSWER),)
    assert len(bench.proposals) == TRIES_MAX


def test_what_is_not_valid_is_left() -> None:
    base = config()
    bench = Bench(a_log(base, [config(x="9")]), validate="no such agent")
    decided = bench.play(a_report(base, config(a="1")))
    assert decided is not None
    assert decided.left == ((2, "no such agent"),)


def test_a_change_that_cannot_be_read_leaves_all_after_it() -> None:
    base = config()
    report = a_report(base, config(a="1"), config(a="1", b="1"))
    broken = Orphan(index=2, request_id="r0", author="", payload=b"[")
    bench = Bench(a_log(base, []))
    decided = bench.play(Report(file=report.file, base=base, orphans=(broken, report.orphans[1])))
    assert decided is not None
    assert [index for index, _why in decided.left] == [2, 3]


def test_only_an_established_dc_of_a_safe_basis_is_asked() -> None:
    base = config()
    for dc in (
        DcState(),
        DcState(term=NOW, dc_node_id=2, established=False, basis=Basis.MAJORITY),
        DcState(term=NOW, dc_node_id=2, established=True, basis=Basis.ASSUMED),
        DcState(term=Term(6, 2), dc_node_id=2, established=True, basis=Basis.MAJORITY),  # nothing of it yet
    ):
        bench = Bench(a_log(base, []), dc=dc)
        assert bench.play(a_report(base, config(a="1"))) is None
        assert not bench.proposals
        assert not bench.merge.is_idle


def test_people_are_told_of_what_is_not_decided_in_time() -> None:
    merge = Merge(lambda _: "")
    report = a_report(config(), config(a="1"))
    assert SetTimer(f"{TELL_TIMER}:{report.file}", TELL_MS * MS) in merge.add(report, 0)
    assert merge.tell(report.file) == [TellOrphans(report.file)]
    assert merge.tell("orphans/other.xml") == []
