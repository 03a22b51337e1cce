"""Protobuf and back, together with ha-crm's side of the same messages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm import wire as crm_wire
from hacluster.errors import InvalidRequest
from hacluster.v1 import lrm_pb2
from hacluster.vocabulary.operation import ExecutionStatus, OperationResult
from lrm import wire
from tests.unit.lrm.queue.world import an_execute, an_operation

texts = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.integers(0, 2**40), texts, st.dictionaries(texts, texts, max_size=3))
def test_an_operation_comes_back(interval_ms: int, key: str, parameters: dict[str, str]) -> None:
    operation = replace(
        an_operation(interval_ms=interval_ms, meta={"on-fail": "block"}),
        parameters=parameters,
        transition_key=key,
        on_fail_block=True,
    )
    assert wire.operation_from(crm_wire.operation_to(operation)) == operation


@given(st.sampled_from(ExecutionStatus), st.integers(-64, 255), texts)
def test_ha_crm_reads_what_we_write(status: ExecutionStatus, raw_status: int, reason: str) -> None:
    result = OperationResult(
        id=an_execute(an_operation()).id,
        call_id=7,
        operation=an_operation(),
        status=status,
        rc=1,
        raw_status=raw_status,
        queued_ms=1,
        executed_ms=2,
        last_run_s=3,
        last_change_s=4,
        exit_reason=reason,
        output="out",
        private_parameters=("a",),
        reloadable_parameters=("b", "c"),
        restart_parameters=("d",),
        supports_reload=True,
    )
    assert crm_wire.result_from(wire.result_to(result)) == result


@pytest.mark.parametrize("resource", ["", "a/b", "a\0"])
def test_names_that_could_leave_a_folder_are_refused(resource: str) -> None:
    message = lrm_pb2.Operation(resource=resource, agent="ocf:hacluster:Dummy", action="start")
    with pytest.raises(InvalidRequest):
        wire.operation_from(message)


@pytest.mark.parametrize(
    "agent", ["", "Dummy", "ocf:Dummy", "ocf:../x:Dummy", "ocf:a:../../bin/sh", "nagios:x"]
)
def test_agents_that_cannot_be_are_refused(agent: str) -> None:
    with pytest.raises(InvalidRequest):
        wire.operation_from(lrm_pb2.Operation(resource="web", agent=agent, action="start"))
