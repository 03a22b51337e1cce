"""Every class there is: importing this module registers them."""

from __future__ import annotations

from tests.sim import (  # noqa: F401 - register their classes
    cib_classes,
    cib_trouble,
    cib_turns,
    fences,
    full,
    keys,
    left,
    nodes,
    qdisk,
    standing,
    stop,
    talk,
    trouble,
    waits,
    whole,
    witness,
    worse,
)
from tests.sim.classes import REGISTRY

__all__ = ["REGISTRY"]
