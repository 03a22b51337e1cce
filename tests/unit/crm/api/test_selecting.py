"""XPaths of clients."""

from __future__ import annotations

import asyncio
import time

import pytest

from crm.api.selecting import AT_ONCE_MAX, Selections
from crm.cib.model import Element, element
from hacluster.errors import InvalidRequest, NotFound, ResourceExhausted

CUBIC = "//*[count(//*[count(//*)>0])>0]"


def a_cib(count: int) -> Element:
    return Element("cib", {}, tuple(element("primitive", {"id": f"p{number}"}) for number in range(count)))


async def test_as_without_a_thread() -> None:
    selections = Selections()
    assert await selections.select(a_cib(2), "//primitive[@id='p1']") == b'<primitive id="p1"/>'
    assert b"<primitive" in await selections.select(a_cib(1), "")
    with pytest.raises(NotFound):
        await selections.select(a_cib(1), "//nobody")
    with pytest.raises(InvalidRequest, match="is no XPath"):
        await selections.select(a_cib(1), "//[")


async def test_many_at_once_are_answered_one_after_the_other() -> None:
    selections = Selections()
    cib = a_cib(3)
    found = await asyncio.gather(
        *(selections.select(cib, "//primitive[@id='p2']") for _ in range(10 * AT_ONCE_MAX))
    )
    assert set(found) == {b'<primitive id="p2"/>'}


async def test_one_that_takes_long_holds_up_neither_the_loop_nor_another_kind() -> None:
    limited, others = Selections(within_s=0.05), Selections()
    cib = a_cib(500)  # some seconds
    longest_s, before_s = 0.0, time.thread_time()
    for _ in range(AT_ONCE_MAX):
        with pytest.raises(InvalidRequest, match=r"takes more than 0\.05 s"):
            await limited.select(cib, CUBIC)
        longest_s, before_s = max(longest_s, time.thread_time() - before_s), time.thread_time()
    assert longest_s < 0.5, "processor time of the loop itself"
    with pytest.raises(ResourceExhausted, match="still being evaluated"):
        await limited.select(cib, "//primitive[@id='p1']")
    assert await others.select(a_cib(2), "//primitive[@id='p1']") == b'<primitive id="p1"/>'
