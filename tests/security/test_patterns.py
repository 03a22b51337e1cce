"""Who may write a constraint or a device stops neither the scheduler nor the fencing by a text."""

from __future__ import annotations

import time

import pytest

from crm.cib import schema
from crm.cib.codec import parse
from crm.fencing.devices import host_map, levels
from crm.scheduler.pipeline import schedule
from crm.transition.graph import to_element
from tests.unit.crm.scheduler.cibs import NOW_S, document, primitive

CPU_S = 3.0
NAMES = [f"{'a' * 60}{number}" for number in range(40)]
EVIL = ("(a+)+$", "(a|aa)+$", "^(a|a?)+$", "(.*)*x", "(a*)*b", "(([a-z])+.)+[A-Z]([a-z])+$", "(x+x+)+y")
EVIL_BY_SIZE = (
    "((a{1,30}){1,30}){1,30}",
    "(((a?){30}){30}){30}",
    "((a?b?){30}){30}",
    r"(a*)*\1",
    "a{65535}",
    "(" * 5_000 + ")" * 5_000,
)


def spent(since_s: float) -> float:
    return time.process_time() - since_s


@pytest.mark.parametrize("evil", EVIL + EVIL_BY_SIZE)
def test_a_location_that_would_take_for_ever(evil: str) -> None:
    constraint = f'<rsc_location id="evil" rsc-pattern="{evil}" node="n1" score="INFINITY"/>'
    cib = parse(document([primitive(name) for name in NAMES], constraints=constraint))
    began_s = time.process_time()
    planned = schedule(cib, now_s=NOW_S)
    assert spent(began_s) < CPU_S
    assert len(list(to_element(planned.graph).walk())) > len(NAMES)


@pytest.mark.parametrize("evil", EVIL + EVIL_BY_SIZE)
def test_a_topology_that_would_take_for_ever(evil: str) -> None:
    configuration = parse(f"""<configuration><resources>
    <primitive id="d" class="stonith" type="fence_x"/></resources><fencing-topology>
    <fencing-level id="evil" target-pattern="{evil}" index="1" devices="d"/>
    <fencing-level id="named" target="{NAMES[0]}!" index="1" devices="d"/>
    </fencing-topology></configuration>""")
    began_s = time.process_time()
    assert [[one.id for one in level] for level in levels(configuration, f"{NAMES[0]}!", {})] == [["d"]]
    assert spent(began_s) < CPU_S


@pytest.mark.parametrize("evil", EVIL_BY_SIZE)
def test_what_is_refused_is_named(evil: str) -> None:
    (problem,) = schema.check(
        parse(
            '<configuration><resources/><constraints><rsc_location id="evil" '
            f'rsc-pattern="!{evil}" node="n1" score="1"/></constraints></configuration>'
        )
    )
    assert problem.severity is schema.Severity.WARNING
    assert '<rsc_location id="evil">' in str(problem)
    assert "rsc-pattern" in str(problem)


@pytest.mark.parametrize(
    "text", ["a" * 200_000, "a\\" * 100_000, ":" * 200_000, "a:" * 100_000, "\\" * 200_001]
)
def test_a_host_map_that_would_take_for_ever(text: str) -> None:
    began_s = time.process_time()
    assert len(host_map(text)) <= 1
    assert spent(began_s) < CPU_S
