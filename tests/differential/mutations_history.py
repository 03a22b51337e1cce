"""Changes to what was recorded: results, fail counts, promotion scores. Pure but for the generator."""

from __future__ import annotations

import random

from crm.cib.model import Element, element
from tests.differential.mutations import Changed, _with_transient
from tests.differential.tree import Place, at, below, chosen, put

RESULTS = ("0", "1", "2", "5", "6", "7", "8", "9", "193")
DEGRADED = ("190", "191")


def _entry(
    resource: Element, node: str, task: str, interval: str, code: str, status: str, at_s: str
) -> Element:
    """A new last entry of a resource on a node, in the manner of the entries that are there."""
    others = resource.all("lrm_rsc_op")
    calls = [int(one.get("call-id")) for one in others if one.get("call-id").lstrip("-").isdigit()]
    expected = "7" if (task, interval) == ("monitor", "0") else "0"
    key = f"9:9:{expected}:12345678-0000-0000-0000-123456789abc"
    values = {
        "id": f"{resource.id}_last_0",
        "operation_key": f"{resource.id}_{task}_{interval}",
        "operation": task,
        "transition-key": key,
        "transition-magic": f"{status}:{code};{key}",
        "call-id": "-1" if status == "-1" else str(max(calls, default=0) + 1),
        "rc-code": code,
        "op-status": status,
        "interval": interval,
        "last-rc-change": at_s,
    }
    if any(one.get("on_node") for one in others):
        values["on_node"] = node
    return element("lrm_rsc_op", values)


def _home(cib: Element, place: Place) -> str:
    """The name of the node whose history stands at that place."""
    states = (one for one in below(cib, "status", "node_state") if place[: len(one)] == one)
    return next((at(cib, one).get("uname") for one in states), "")


def result(cib: Element, rng: random.Random) -> Changed:
    """An operation had another result."""
    place = chosen(rng, below(cib, "status", "lrm_rsc_op"))
    if place is None:
        return None
    entry = at(cib, place)
    code = rng.choice(RESULTS + DEGRADED if entry.get("operation") == "monitor" else RESULTS)
    status = "0" if code in {"0", "7", "8"} else rng.choice(("0", "4"))
    if rng.random() < 0.15:
        code, status = "1", rng.choice(("2", "3", "5", "7", "8"))
    magic = entry.get("transition-magic")
    changes: dict[str, str | None] = {"rc-code": code, "op-status": status}
    if ";" in magic:
        changes["transition-magic"] = f"{status}:{code};{magic.partition(';')[2]}"
    changed = put(cib, place, entry.with_attribute_map(changes))
    return (f"{entry.id} rc={code} status={status}", changed) if changed != cib else None


def pending(cib: Element, rng: random.Random) -> Changed:
    """The result of an operation has not come yet."""
    place = chosen(rng, below(cib, "status", "lrm_rsc_op"))
    if place is None:
        return None
    entry = at(cib, place)
    magic = entry.get("transition-magic")
    changes: dict[str, str | None] = {"rc-code": "193", "op-status": "-1", "call-id": "-1"}
    if ";" in magic:
        changes["transition-magic"] = f"-1:193;{magic.partition(';')[2]}"
    return f"{entry.id} {entry.get('operation')}", put(cib, place, entry.with_attribute_map(changes))


def forgotten(cib: Element, rng: random.Random) -> Changed:
    """An entry, or all of a resource on a node, is gone."""
    place = chosen(rng, below(cib, "status", rng.choice(("lrm_rsc_op", "lrm_resource"))))
    if place is None:
        return None
    item = at(cib, place)
    return f"{item.tag} {item.id}", put(cib, place)


def entry_attribute(cib: Element, rng: random.Random) -> Changed:
    """A digest that differs, no digest, another order of calls, another kind of operation, another node."""
    place = chosen(rng, below(cib, "status", "lrm_rsc_op"))
    if place is None:
        return None
    entry = at(cib, place)
    now_s = cib.get("execution-date") or "1700000000"
    changes = rng.choice(
        (
            {"op-digest": "00000000000000000000000000000000"},
            {"op-digest": None},
            {"op-restart-digest": "00000000000000000000000000000000"},
            {"call-id": "1"},
            {"call-id": "9999"},
            {"last-rc-change": now_s},
            {"last-rc-change": "1000000"},
            {"interval": "17000"},
            {"transition-key": None},
        )
    )
    changed = put(cib, place, entry.with_attribute_map(changes))
    return (f"{entry.id} {next(iter(changes.items()))}", changed) if changed != cib else None


def failure(cib: Element, rng: random.Random) -> Changed:
    """A recorded failure of an operation, with or without its fail count."""
    place = chosen(rng, below(cib, "status", "lrm_resource"))
    if place is None:
        return None
    resource = at(cib, place)
    task, interval = rng.choice(
        (
            ("monitor", "10000"),
            ("start", "0"),
            ("stop", "0"),
            ("promote", "0"),
            ("demote", "0"),
            ("monitor", "0"),
        )
    )
    code = rng.choice(("1", "2", "5", "7", "6"))
    at_s = str(int(cib.get("execution-date") or "1700000000") - rng.choice((5, 3600)))
    entry = _entry(resource, _home(cib, place), task, interval, code, "4", at_s).with_attributes(
        id=f"{resource.id}_last_failure_0"
    )
    kept = [item for item in resource.children if item.id != entry.id]
    changed = put(cib, place, resource.with_children((*kept, entry)))
    return f"{task} {interval} rc={code} {resource.id}", changed


def fail_count(cib: Element, rng: random.Random) -> Changed:
    """A fail count of a resource on a node."""
    states = [place for place in below(cib, "status", "node_state") if at(cib, place).get("uname")]
    place = chosen(rng, states)
    names = [at(cib, one).id for one in below(cib, "status", "lrm_resource")]
    if place is None or not names:
        return None
    name, count = rng.choice(names), rng.choice(("1", "3", "INFINITY"))
    task = rng.choice(("monitor_10000", "start_0", "stop_0"))
    now_s = cib.get("execution-date") or "1700000000"
    state = _with_transient(at(cib, place), f"fail-count-{name}#{task}", count)
    if rng.random() < 0.7:
        at_s = str(int(now_s) - rng.choice((5, 3600)))
        state = _with_transient(state, f"last-failure-{name}#{task}", at_s)
    return f"{name} {task} {count}", put(cib, place, state)


def promotion_score(cib: Element, rng: random.Random) -> Changed:
    """A promotion score."""
    place = chosen(rng, below(cib, "status", "node_state"))
    primitives = [
        at(cib, one).id
        for one in below(cib, "resources", "primitive")
        if at(cib, one[:-1]).tag in {"clone", "master", "group", "bundle"}
    ]
    if place is None or not primitives:
        return None
    name, score = rng.choice(primitives), rng.choice(("5", "100", "-1", "0", "INFINITY", "-INFINITY", None))
    changed = put(cib, place, _with_transient(at(cib, place), f"master-{name}", score))
    return (f"{name}={score}", changed) if changed != cib else None


def migration(cib: Element, rng: random.Random) -> Changed:
    """A migration that was on its way: only the part on the source, or that on the target failed."""
    states = [place for place in below(cib, "status", "node_state") if at(cib, place).get("uname")]
    place = chosen(rng, below(cib, "status", "lrm_resource"))
    if place is None or len(states) < 2:
        return None
    resource = at(cib, place)
    home = _home(cib, place)
    others = [name for one in states if (name := at(cib, one).get("uname")) != home]
    if not others:
        return None
    target, source = rng.choice(others), home
    code, status = rng.choice((("0", "0"), ("1", "4"), ("193", "-1")))
    task = rng.choice(("migrate_to", "migrate_from"))
    if task == "migrate_from":
        source, target = target, source
    entry = _entry(
        resource, home, task, "0", code, status, cib.get("execution-date") or "1700000000"
    ).with_attributes(migrate_source=source, migrate_target=target)
    kept = [item for item in resource.children if item.id != entry.id]
    changed = put(cib, place, resource.with_children((*kept, entry)))
    return f"{task} {resource.id} {source} -> {target} rc={code}", changed
