"""A thread that the loop waits for is scheduled as the loop is."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from messaging.priority import Scheduling

ROUND_ROBIN = os.SCHED_RR | os.SCHED_RESET_ON_FORK


def scheduling_of_a_thread(made_by: int) -> int:
    """Of one that adopts the scheduling of a thread with this policy."""

    def in_a_thread() -> int:
        if made_by != os.SCHED_OTHER:
            os.sched_setscheduler(0, made_by, os.sched_param(1))
        with ThreadPoolExecutor(1, initializer=Scheduling().adopt) as another:
            return another.submit(os.sched_getscheduler, 0).result(10)

    with ThreadPoolExecutor(1) as one:
        return one.submit(in_a_thread).result(10)


def test_ordinary_stays_ordinary() -> None:
    assert scheduling_of_a_thread(os.SCHED_OTHER) == os.SCHED_OTHER


def test_real_time_is_adopted() -> None:
    try:
        found = scheduling_of_a_thread(ROUND_ROBIN)
    except PermissionError:
        pytest.skip("real-time scheduling is not permitted here")
    assert found == ROUND_ROBIN
