"""A fixed slice of the random CIBs of tests/differential beside an installed crm_simulate."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from crm.cib.codec import parse
from crm.scheduler.stages.location import apply_stickiness
from tests.differential.compare import AGREE, FAILED, GAVE_UP, OPEN, results
from tests.differential.known import known_change
from tests.differential.old_rules import CHANGES, Change, old_rules
from tests.differential.oracle import Actions, Oracle, available, decide

SEEDS = range(1, 31)
AGREE_PERCENT_MIN = 95.0
SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios" / "scheduler"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not available(), reason="there is no crm_simulate to compare with")
def test_random_cibs_agree_but_for_known_changes() -> None:
    oracle = Oracle()
    verdicts: Counter[str] = Counter()
    seen: list[str] = []
    try:
        for seed in SEEDS:
            for result in results(seed, oracle):
                verdicts[result.verdict] += 1
                if result.verdict in {OPEN, FAILED}:
                    seen.append(f"seed {seed} {result.what}: {result.error or result.verdict}")
    finally:
        oracle.close()
    compared = sum(verdicts.values()) - verdicts[GAVE_UP]
    assert compared > len(SEEDS) * 4
    assert not seen
    assert 100.0 * verdicts[AGREE] / compared >= AGREE_PERCENT_MIN, verdicts


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_an_old_rule_is_put_back_and_taken_away_again(change: Change) -> None:
    cibs = [parse((folder / "cib.xml").read_bytes()) for folder in sorted(SCENARIOS.iterdir())]
    before = [decide(cib) for cib in cibs]
    with old_rules((change,)):
        for cib in cibs:
            decide(cib)
    assert [decide(cib) for cib in cibs] == before


def test_an_old_rule_changes_what_it_is_about() -> None:
    changed = next(change for change in CHANGES if change.name == "a group that cannot start")
    blocked = parse(_BLOCKED.encode())
    today = decide(blocked).actions
    with old_rules((changed,)):
        old = decide(blocked).actions
    assert {key for _, _, key, _ in old - today} == {"beside_start_0"}
    assert not today - old


def test_a_function_that_would_stay_in_force_somewhere_is_not_replaced() -> None:
    instead = Change(name="no stickiness", swaps=((apply_stickiness, lambda work: None),))
    with pytest.raises(LookupError, match="PLACEMENT_STAGES"), old_rules((instead,)):
        pass
    with pytest.raises(LookupError, match="is not"), old_rules((CHANGES[0], CHANGES[0])):
        pass


def test_what_an_old_rule_explains_is_known_and_anything_else_is_open() -> None:
    blocked = parse(_BLOCKED.encode())
    with old_rules(change for change in CHANGES if change.name == "a group that cannot start"):
        old = decide(blocked)
    known = known_change(blocked, old.actions, old.scores)
    assert known is not None
    assert (str(known), known.scores) == ("a group that cannot start", True)
    assert known_change(blocked, Actions(list(old.actions)[:1]), old.scores) is None


_BLOCKED = """
<cib validate-with="pacemaker-3.9" crm_feature_set="3.16.1" have-quorum="1" admin_epoch="0" epoch="1"
     num_updates="0"><configuration>
  <crm_config><cluster_property_set id="o"><nvpair id="o0" name="stonith-enabled" value="false"/>
  </cluster_property_set></crm_config><nodes><node id="1" uname="n1"/></nodes>
  <resources>
    <primitive id="beside" class="ocf" provider="pacemaker" type="Dummy"/>
    <group id="group"><primitive id="member" class="ocf" provider="pacemaker" type="Dummy"/></group>
    <primitive id="first" class="ocf" provider="pacemaker" type="Dummy"><meta_attributes id="m">
      <nvpair id="m0" name="target-role" value="Stopped"/></meta_attributes></primitive>
  </resources>
  <constraints><rsc_colocation id="c" rsc="beside" with-rsc="group" score="INFINITY"/>
    <rsc_order id="f" first="first" then="group"/></constraints></configuration>
  <status><node_state id="1" uname="n1" in_ccm="true" crmd="online" join="member" expected="member"/></status>
</cib>
"""
