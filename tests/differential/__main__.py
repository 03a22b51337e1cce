"""Our scheduler beside an installed crm_simulate on random CIBs: `python -m tests.differential`.

Each seed gives a CIB that is looked at three times: freshly started, settled, and after something happened to
the settled one (a node lost or in standby, a failed operation, a changed option). Two transitions agree when
their multisets of (element, operation, key, node) are equal.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from crm.cib import codec
from crm.cib.model import Element, element
from crm.scheduler import pipeline
from crm.simulation.inject import Modifications, OperationSpec, apply, with_option
from crm.simulation.status_edit import StatusEdit
from crm.transition.graph import from_element
from tests.differential.random_cib import RandomCib

NOW_S = 1_700_000_000
ORACLE_SECONDS_MAX = 60
Actions = collections.Counter[tuple[str, str, str, str]]


class OracleFailed(Exception):
    """crm_simulate itself gave up on this input."""


def oracle(cib: Element, folder: Path) -> tuple[Actions, Element]:
    """The reference's actions and the CIB after its simulation."""
    source, graph, after = folder / "in.xml", folder / "graph.xml", folder / "out.xml"
    source.write_text(codec.render(cib))
    graph.unlink(missing_ok=True)
    done = subprocess.run(
        ["crm_simulate", "-x", str(source), "-S", "-Q", "-G", str(graph), "-O", str(after)],
        capture_output=True,
        text=True,
        timeout=ORACLE_SECONDS_MAX,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "UTC", "LC_ALL": "C"},
        check=False,
    )
    if done.returncode not in (0, 1) or not graph.exists():
        raise OracleFailed(done.stderr.strip().splitlines()[0] if done.stderr else str(done.returncode))
    return _actions(codec.parse(graph.read_bytes())), codec.parse(after.read_bytes())


def ours(cib: Element) -> Actions:
    """Our actions."""
    transition = pipeline.schedule(cib, NOW_S)
    return collections.Counter(
        (action.kind.value, action.operation, action.key, action.node)
        for action in transition.graph.actions()
    )


def _actions(root: Element) -> Actions:
    return collections.Counter(
        (action.kind.value, action.operation, action.key, action.node)
        for action in from_element(root).actions()
    )


def perturbed(cib: Element, builder: RandomCib, rng: random.Random) -> tuple[str, Element]:
    """The settled CIB after something happened, and what it was."""
    node = rng.choice(builder.nodes)
    kind = rng.choice(("down", "fail", "standby", "operation", "quorum", "option", "ticket", "unmanage"))
    match kind:
        case "down":
            return f"{node} down", apply(cib, Modifications(nodes_down=(node,)), NOW_S)[0]
        case "fail":
            return f"{node} failed", apply(cib, Modifications(nodes_fail=(node,)), NOW_S)[0]
        case "standby":
            edit = StatusEdit(cib, NOW_S)
            edit.set_attribute(node, "standby", "on")
            return f"{node} standby", edit.cib()
        case "operation":
            return _failed_operation(cib, rng)
        case "quorum":
            return "no quorum", cib.with_attribute_map({"have-quorum": "0"})
        case "ticket" if builder.tickets:
            ticket = rng.choice(builder.tickets)
            return f"{ticket} revoked", apply(cib, Modifications(tickets_revoke=(ticket,)), NOW_S)[0]
        case "unmanage":
            return "maintenance-mode", with_option(cib, "maintenance-mode", "true")
        case _:
            name, value = rng.choice(
                (
                    ("stop-all-resources", "true"),
                    ("symmetric-cluster", "false"),
                    ("no-quorum-policy", "freeze"),
                )
            )
            return f"{name}={value}", with_option(cib, name, value)


def _failed_operation(cib: Element, rng: random.Random) -> tuple[str, Element]:
    status = cib.child("status") or element("status")
    running = [
        (state.get("uname"), resource.id, entry)
        for state in status.all("node_state")
        for resource in state.walk()
        if resource.tag == "lrm_resource"
        for entry in resource.all("lrm_rsc_op")
        if entry.get("operation") == "monitor" and entry.get("interval") != "0"
    ]
    if not running:
        return "nothing", cib
    node, resource, entry = rng.choice(running)
    rc = rng.choice((1, 7, 5, 2))
    spec = OperationSpec(
        text=f"{resource}_monitor_{entry.get('interval')}@{node}={rc}",
        resource=resource,
        task="monitor",
        interval_ms=int(entry.get("interval")),
        node=node,
        rc=rc,
    )
    return spec.text, apply(cib, Modifications(operations=(spec,)), NOW_S)[0]


def states(seed: int, folder: Path) -> Iterator[tuple[str, Element, Actions]]:
    """What is looked at for one seed: name, CIB, the reference's actions."""
    builder = RandomCib(seed)
    rng = random.Random(seed * 7 + 1)
    fresh = builder.build()
    actions, settled = oracle(fresh, folder)
    yield "fresh", fresh, actions
    actions, again = oracle(settled, folder)
    yield "settled", settled, actions
    what, changed = perturbed(again, builder, rng)
    actions, _ = oracle(changed, folder)
    yield what, changed, actions


def run(first: int, count: int, keep: Path | None, out: dict[str, int]) -> None:
    """Compare; disagreements are printed and, with `keep`, stored."""
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            try:
                for what, cib, wanted in states(seed, Path(folder)):
                    _compare(seed, what, cib, wanted, keep, out)
            except (OracleFailed, subprocess.TimeoutExpired) as error:
                out["oracle gave up"] += 1
                print(f"seed {seed}: the reference gave up: {str(error)[:120]}", flush=True)


def _compare(
    seed: int, what: str, cib: Element, wanted: Actions, keep: Path | None, out: dict[str, int]
) -> None:
    try:
        got = ours(cib)
    except Exception as error:
        out["our failure"] += 1
        print(f"seed {seed} {what}: {type(error).__name__}: {error}", flush=True)
        return
    out["compared"] += 1
    if got == wanted:
        out["agree"] += 1
        return
    missing, surplus = wanted - got, got - wanted
    print(f"seed {seed} {what}: missing {_short(missing)} surplus {_short(surplus)}", flush=True)
    if keep is not None:
        name = f"{seed}-{what.replace(' ', '_').replace('/', '_')}"
        (keep / f"{name}.xml").write_text(codec.render(cib))


def _short(actions: Actions) -> str:
    texts = [f"{key}@{node}" if node else key for _, _, key, node in sorted(actions)]
    return f"{len(texts)} [{', '.join(texts[:4])}{', …' if len(texts) > 4 else ''}]"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--keep", type=Path, help="store disagreeing CIBs in this folder")
    parser.add_argument("--percent", type=float, default=98.0, help="exit 1 when fewer agree")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = collections.defaultdict(int)
    started = time.monotonic()
    run(options.seed, options.seeds, options.keep, counts)
    compared = max(1, counts["compared"])
    rate = 100.0 * counts["agree"] / compared
    print(json.dumps({**counts, "percent": round(rate, 2), "seconds": round(time.monotonic() - started, 1)}))
    return 0 if rate >= options.percent and not counts["our failure"] else 1


if __name__ == "__main__":
    sys.exit(main())
