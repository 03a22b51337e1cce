"""Every class there is: importing this module registers them."""

from __future__ import annotations

from tests.sim import cib_classes, cib_trouble, full, keys, nodes, standing, talk, trouble, whole, witness  # noqa: F401 - register their classes
from tests.sim.classes import REGISTRY

__all__ = ["REGISTRY"]
