"""Which entries an operation is kept as, and what they say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pytest

from crm.cib.history import NodeHistory, expected_rc, failed
from crm.cib.model import Element
from hacluster.vocabulary.operation import ExecutionStatus, OperationResult
from tests.builders import a_result, an_operation


def digest(parameters: Mapping[str, str]) -> str:
    inner = "".join(f' {name}="{value}"' for name, value in sorted(parameters.items()))
    return hashlib.md5(f" <parameters{inner}/>\n".encode(), usedforsecurity=False).hexdigest()


def a_history(*results: OperationResult) -> NodeHistory:
    history = NodeHistory("node1", digest)
    for result in results:
        history.record(result)
    return history


def ids(history: NodeHistory) -> list[str]:
    return [entry.id for resource in history.elements() for entry in resource.children]


def entry(history: NodeHistory, name: str) -> Element:
    found = next((e for r in history.elements() for e in r.children if e.id == name), None)
    assert found is not None, f"{name} is not in {ids(history)}"
    return found


def test_a_start_in_full() -> None:
    history = a_history(a_result(an_operation(expected=0, transition=7, number=3), call_id=11))
    (resource,) = history.elements()
    assert (resource.tag, dict(resource.attributes)) == (
        "lrm_resource",
        {"id": "web", "class": "ocf", "provider": "hacluster", "type": "Dummy"},
    )
    (operation,) = resource.children
    assert operation.tag == "lrm_rsc_op"
    assert dict(operation.attributes) == {
        "id": "web_last_0",
        "operation_key": "web_start_0",
        "operation": "start",
        "crm-debug-origin": "lrm_journal",
        "crm_feature_set": "3.19.7",
        "transition-key": "3:7:0:00000000-uuid",
        "transition-magic": "0:0;3:7:0:00000000-uuid",
        "exit-reason": "",
        "on_node": "node1",
        "call-id": "11",
        "rc-code": "0",
        "op-status": "0",
        "interval": "0",
        "last-rc-change": "1000",
        "exec-time": "12",
        "queue-time": "3",
        "op-digest": "f2317cad3d54cec5d7d7aa7d0bf35cf8",
    }


def test_the_digest_of_a_recurring_operation_has_its_timeout() -> None:
    history = a_history(a_result(an_operation(action="monitor", interval_ms=10_000)))
    assert entry(history, "web_monitor_10000").get("op-digest") == "4811cef7f7f94e3a35a70be7916cb2fd"


def test_digests_of_an_agent_that_reloads_and_has_secrets() -> None:
    parameters = {"state": "/run/x", "passwd": "p", "fake": "1", "crm_feature_set": "3.19.7"}
    result = a_result(
        an_operation(parameters=parameters),
        private=("passwd",),
        restart=("state", "other"),
        supports_reload=True,
    )
    start = entry(a_history(result), "web_last_0")
    assert start.get("op-digest") == digest({"state": "/run/x", "passwd": "p", "fake": "1"})
    assert start.get("op-force-restart") == " state other "
    assert start.get("op-restart-digest") == digest({"state": "/run/x"})
    assert start.get("op-secure-params") == " passwd "
    assert start.get("op-secure-digest") == digest({"state": "/run/x", "fake": "1"})


@pytest.mark.parametrize(
    ("action", "interval_ms", "expected", "rc", "wanted"),
    [
        ("monitor", 0, 7, 7, ["web_last_0"]),
        ("monitor", 0, 7, 0, ["web_last_failure_0", "web_last_0"]),
        ("start", 0, 0, 1, ["web_last_failure_0", "web_last_0"]),
        ("monitor", 10_000, 0, 0, ["web_monitor_10000"]),
        ("monitor", 10_000, 0, 7, ["web_last_failure_0"]),
        ("monitor", 10_000, 8, 8, ["web_monitor_10000"]),
        ("migrate_to", 0, 0, 0, ["web_migrate_to_0"]),
        ("migrate_from", 0, 0, 1, ["web_migrate_from_0"]),
    ],
)
def test_the_names_of_entries(
    action: str, interval_ms: int, expected: int, rc: int, wanted: list[str]
) -> None:
    operation = an_operation(action=action, interval_ms=interval_ms, expected=expected)
    assert ids(a_history(a_result(operation, rc=rc))) == wanted


@pytest.mark.parametrize(
    ("status", "rc", "is_failure"),
    [
        (ExecutionStatus.DONE, 0, False),
        (ExecutionStatus.DONE, 7, True),
        (ExecutionStatus.TIMEOUT, 0, True),
        (ExecutionStatus.NOT_INSTALLED, 5, True),
        (ExecutionStatus.CANCELLED, 1, False),
        (ExecutionStatus.NOT_RUN, 1, False),
        (ExecutionStatus.UNKNOWN, 1, False),
    ],
)
def test_what_a_failure_is(status: ExecutionStatus, rc: int, is_failure: bool) -> None:
    assert failed(a_result(status=status, rc=rc)) is is_failure


def test_a_notify_never_fails() -> None:
    meta = {"notify_type": "pre", "notify_operation": "promote"}
    result = a_result(an_operation(action="notify", meta=meta), rc=1, status=ExecutionStatus.ERROR)
    assert not failed(result)
    notify = entry(a_history(result), "web_pre_notify_promote_0")
    assert (notify.get("rc-code"), notify.get("op-status")) == ("0", "0")


def test_expected_rc_of_odd_keys() -> None:
    assert expected_rc(a_result(an_operation(expected=-1))) == -1
    operation = an_operation()
    object.__setattr__(operation, "transition_key", "nonsense")
    assert expected_rc(a_result(operation)) == 0


def test_a_reload_that_worked_is_kept_as_a_start_and_another_as_a_monitor() -> None:
    good = entry(a_history(a_result(an_operation(action="reload-agent"))), "web_last_0")
    assert (good.get("operation"), good.get("operation_key")) == ("start", "web_start_0")
    bad = entry(a_history(a_result(an_operation(action="reload-agent"), rc=1)), "web_last_failure_0")
    assert (bad.get("operation"), bad.get("operation_key")) == ("monitor", "web_monitor_0")


def test_a_stop_ends_the_recurring_operations_and_keeps_the_failure() -> None:
    monitor = an_operation(action="monitor", interval_ms=10_000)
    history = a_history(
        a_result(call_id=1),
        a_result(monitor, call_id=2),
        a_result(monitor, call_id=2, rc=7, at_s=1_005, exit_reason="gone"),
    )
    assert ids(history) == ["web_last_failure_0", "web_last_0", "web_monitor_10000"]
    assert entry(history, "web_last_failure_0").get("exit-reason") == "gone"
    history.record(a_result(an_operation(action="stop"), call_id=3))
    assert ids(history) == ["web_last_failure_0", "web_last_0"]
    assert entry(history, "web_last_0").get("operation") == "stop"


def test_a_pending_operation_hides_the_last_one_until_it_ends() -> None:
    history = a_history(a_result(an_operation(action="monitor", expected=7), rc=7))
    start = an_operation(number=2)
    history.begun(a_result(start, status=ExecutionStatus.PENDING, rc=193, number=2))
    pending = entry(history, "web_last_0")
    assert (pending.get("call-id"), pending.get("rc-code"), pending.get("op-status")) == ("-1", "193", "-1")
    assert pending.get("transition-magic") == "-1:193;2:1:0:00000000-uuid"
    assert [item.operation.action for item in history.running()] == ["start"]
    history.record(a_result(start, number=2, status=ExecutionStatus.NOT_RUN, rc=1))
    assert entry(history, "web_last_0").get("operation") == "monitor"
    assert history.running() == ()


def test_each_run_of_a_recurring_operation_is_no_news() -> None:
    monitor = an_operation(action="monitor", interval_ms=10_000)
    history = NodeHistory("node1", digest)
    history.begun(a_result(monitor, status=ExecutionStatus.PENDING))
    assert entry(history, "web_monitor_10000").get("op-status") == "-1"
    history.record(a_result(monitor))
    history.begun(a_result(monitor, status=ExecutionStatus.PENDING))
    assert entry(history, "web_monitor_10000").get("op-status") == "0"
    assert history.running() == ()


def test_a_cancelled_recurring_operation_disappears() -> None:
    monitor = an_operation(action="monitor", interval_ms=10_000)
    history = a_history(a_result(), a_result(monitor))
    history.record(a_result(monitor, status=ExecutionStatus.CANCELLED, rc=1))
    assert ids(history) == ["web_last_0"]


def test_a_lost_result_leaves_nothing_to_rely_on() -> None:
    history = a_history(a_result())
    history.record(a_result(an_operation(action="stop"), status=ExecutionStatus.UNKNOWN, rc=1))
    assert history.elements() == ()
    assert history.active() == ("web",), "it may be, until somebody has looked"
    history.record(a_result(an_operation(action="stop"), status=ExecutionStatus.NOT_RUN, rc=1))
    assert history.active() == ("web",)
    history.record(a_result(an_operation(action="monitor"), rc=7))
    assert history.active() == ()
    history.record(a_result(an_operation(), status=ExecutionStatus.UNKNOWN, rc=1))
    history.forget("web")
    assert history.active() == ()


def test_forgetting_one_operation_and_all() -> None:
    monitor = an_operation(action="monitor", interval_ms=10_000)
    history = a_history(a_result(), a_result(monitor), a_result(monitor, rc=7), a_result(an_operation("db")))
    history.forget("web", "monitor", 10_000)
    assert ids(history) == ["db_last_0", "web_last_0"]
    history.forget("web")
    assert history.resources() == ("db",)


def test_forgetting_failures_keeps_a_success_of_the_same_operation() -> None:
    failed_start = a_result(an_operation(number=1), rc=1, call_id=1)
    history = a_history(failed_start)
    history.forget("web", "start", 0, failures_only=True)
    assert ids(history) == []
    history = a_history(failed_start, a_result(an_operation(number=2), call_id=2))
    history.forget("web", "start", 0, failures_only=True)
    assert ids(history) == ["web_last_0"]
    assert entry(history, "web_last_0").get("rc-code") == "0"


def test_the_history_of_a_node_that_cannot_be_asked_is_adopted() -> None:
    before = a_history(a_result())
    after = NodeHistory("node1", digest)
    after.adopt(before.elements())
    assert after.elements() == before.elements()
    after.adopt(a_history(a_result(call_id=99)).elements())
    assert after.elements() == before.elements(), "what is known already is kept"


@pytest.mark.parametrize(
    ("results", "active"),
    [
        ([a_result()], ("web",)),
        ([a_result(an_operation(action="stop"))], ()),
        ([a_result(an_operation(action="stop"), rc=1)], ("web",)),
        ([a_result(an_operation(action="monitor", expected=7), rc=7)], ()),
        ([a_result(an_operation(action="monitor", expected=7), rc=0)], ("web",)),
        (
            [
                a_result(
                    an_operation(action="monitor", expected=7), rc=5, status=ExecutionStatus.NOT_INSTALLED
                )
            ],
            (),
        ),
        ([a_result(rc=1)], ("web",)),
    ],
)
def test_what_may_be_active(results: list[OperationResult], active: tuple[str, ...]) -> None:
    assert a_history(*results).active() == active
