"""The rules of views, leases, health and the witness hold, and each of them is needed."""

from __future__ import annotations

import pytest

from tests.sim import log_explorer, witness_explorer
from tests.sim.explorer import RULES, Violation, explore

NODES = {"hold": 3, "echo": 3, "no-stretch": 4, "witness-view": 2}


@pytest.mark.parametrize("nodes", [2, 3, 4])
def test_the_rules_are_enough(nodes: int) -> None:
    explore(nodes, 2.0)


@pytest.mark.slow
@pytest.mark.parametrize("rule", sorted(RULES))
def test_each_rule_is_needed(rule: str) -> None:
    with pytest.raises(Violation):
        explore(NODES.get(rule, 2), 60.0, rule)


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_the_rules_of_the_log_are_enough(nodes: int) -> None:
    log_explorer.explore(nodes, 2.0)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("rule", log_explorer.SHOWN)
def test_rules_of_the_log_are_needed(rule: str) -> None:
    with pytest.raises(Violation):
        log_explorer.explore(3, 60.0, rule)


@pytest.mark.parametrize("nodes", [2, 3, 4])
def test_the_rules_of_the_witness_are_enough(nodes: int) -> None:
    witness_explorer.explore(nodes, 2.0)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("rule", sorted(witness_explorer.SHOWN))
def test_rules_of_the_witness_are_needed(rule: str) -> None:
    with pytest.raises(Violation):
        witness_explorer.explore(witness_explorer.SHOWN[rule], 60.0, rule)
