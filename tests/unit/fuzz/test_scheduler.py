"""A short run of the fuzzer; the long one is `python -m tests.fuzz.scheduler`."""

from __future__ import annotations

import random

from tests.fuzz.mutations import mutated
from tests.fuzz.scheduler import own_bases, run


def test_damaged_documents_are_answered() -> None:
    assert not run(400, 1, None, own_bases())


def test_a_seed_gives_the_same_damage() -> None:
    for _name, cib in own_bases():
        first, second = (mutated(cib, random.Random(7)) for _ in range(2))
        assert first == second
        assert first != cib
