"""What deleting history leaves: everything, one operation, or only failures."""

from __future__ import annotations

from hacluster.vocabulary.ids import ResourceId
from lrm.journal import codec
from lrm.journal.model import Ledger
from lrm.journal.records import Concluded, Forgotten
from tests.builders import a_result, an_operation

WEB = ResourceId("web")


def a_ledger(*results: object) -> Ledger:
    ledger = Ledger()
    for result in results:
        ledger.apply(Concluded(result=result))  # type: ignore[arg-type]
    return ledger


def forgotten(action: str, *, failures_only: bool) -> Forgotten:
    return Forgotten(resource=WEB, action=action, interval_ms=0, failures_only=failures_only)


def test_a_later_success_stays_when_failures_go() -> None:
    ledger = a_ledger(a_result(rc=1, call_id=1), a_result(rc=0, call_id=2))
    assert [result.rc for result in ledger.results()] == [1, 0]
    ledger.apply(forgotten("start", failures_only=True))
    assert [result.rc for result in ledger.results()] == [0]


def test_a_newest_result_that_is_a_failure_goes() -> None:
    stop = an_operation(action="stop")
    ledger = a_ledger(a_result(rc=1, call_id=1), a_result(stop, rc=1, call_id=2))
    ledger.apply(forgotten("stop", failures_only=True))
    assert [result.operation.action for result in ledger.results()] == ["start"]
    ledger.apply(forgotten("", failures_only=True))
    assert ledger.results() == []


def test_the_record_survives_the_journal() -> None:
    record = forgotten("start", failures_only=True)
    assert codec.decode(codec.encode(record)) == record
    old = codec.encode(record).replace(b',"failures_only":true', b"")
    assert codec.decode(old) == forgotten("start", failures_only=False)
