"""What may happen to a settled cluster: lost nodes, failures, interrupted work, a changed configuration.

Works on an lxml tree in place. Each event returns what it did, or "" where it found nothing to do.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from lxml import etree

from crm.scheduler.digests import digest_of
from tests.differential.random_cib import NOW_S

Tree = Any
Event = Callable[[Tree, random.Random], str]
_CLUSTER = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
_WHERE_STARTED = 0.85
"""Share of the results and pending operations that are found where the resource was started."""
_IN_CHARACTER = 0.8
"""How often agents without roles do not say they are promoted, and none but monitors what is degraded."""
_RESULTS = (1, 1, 7, 5, 2, 6, 3, 4, 8, 9, 0, 190, 191)
_STATES: tuple[tuple[str, dict[str, str | None]], ...] = (
    ("down", {"in_ccm": "false", "crmd": "offline", "join": "down", "expected": "down"}),
    ("lost", {"in_ccm": "false", "crmd": "offline", "join": "down", "expected": "member"}),
    ("failed", {"in_ccm": "false", "crmd": "offline", "join": "member", "expected": "member"}),
    ("without controller", {"in_ccm": "true", "crmd": "offline", "join": "down", "expected": "member"}),
    ("pending", {"in_ccm": "true", "crmd": "online", "join": "pending", "expected": "member"}),
    ("joining", {"in_ccm": "true", "crmd": "offline", "join": "down", "expected": "down"}),
    ("banned", {"in_ccm": "true", "crmd": "online", "join": "banned", "expected": "member"}),
    ("not seen", {"in_ccm": None, "crmd": "offline", "join": "down", "expected": "down"}),
)


def _states(tree: Tree) -> list[Tree]:
    return tree.xpath("status/node_state[@in_ccm]")  # type: ignore[no-any-return]


def _attribute(state: Tree, name: str, value: str) -> None:
    """Set a transient attribute."""
    holder = state.find("transient_attributes")
    if holder is None:
        holder = etree.SubElement(state, "transient_attributes", id=state.get("id"))
    sets = holder.find("instance_attributes")
    if sets is None:
        sets = etree.SubElement(holder, "instance_attributes", id=f"status-{state.get('id')}")
    for pair in sets.findall("nvpair"):
        if pair.get("name") == name:
            pair.set("value", value)
            return
    pair_id = f"{sets.get('id')}-{name}".replace("#", "-").replace(":", "-")
    etree.SubElement(sets, "nvpair", id=pair_id, name=name, value=value)


def node_state(tree: Tree, rng: random.Random) -> str:
    """A cluster node is lost, joins, hangs."""
    states = _states(tree)
    if not states:
        return ""
    state = rng.choice(states)
    what, values = rng.choice(_STATES)
    for name, value in values.items():
        if value is None:
            state.attrib.pop(name, None)
        else:
            state.set(name, value)
    return f"{state.get('uname')} {what}"


def node_attribute(tree: Tree, rng: random.Random) -> str:
    """Standby, maintenance, shutdown, termination, health, a promotion score."""
    states = tree.xpath("status/node_state")
    if not states:
        return ""
    state = rng.choice(states)
    name, value = rng.choice(
        (
            ("standby", "on"),
            ("maintenance", "true"),
            ("shutdown", str(NOW_S - 5)),
            ("shutdown", str(NOW_S - 5)),
            ("terminate", "true"),
            ("#health-cpu", "red"),
            ("rank", "4"),
        )
    )
    _attribute(state, name, value)
    return f"{state.get('uname')} {name}"


def promotion_score(tree: Tree, rng: random.Random) -> str:
    """A promotion score changes."""
    scores = tree.xpath("status//nvpair[starts-with(@name, 'master-')]")
    if not scores:
        return ""
    chosen = rng.choice(scores)
    chosen.set("value", rng.choice(("1000", "-INFINITY", "INFINITY", "0", "20")))
    return f"{chosen.get('name')}={chosen.get('value')}"


def quorum(tree: Tree, rng: random.Random) -> str:
    """Quorum is lost."""
    tree.set("have-quorum", "0")
    if rng.random() < 0.2:
        tree.set("no-quorum-panic", "1")
    return "no quorum"


def ticket(tree: Tree, rng: random.Random) -> str:
    """A ticket is granted, revoked, put in standby."""
    names = tree.xpath("configuration/constraints/rsc_ticket/@ticket")
    if not names:
        return ""
    name = rng.choice(names)
    status = tree.find("status")
    tickets = status.find("tickets")
    if tickets is None:
        tickets = etree.SubElement(status, "tickets")
    found = [one for one in tickets if one.get("id") == name]
    state = found[0] if found else etree.SubElement(tickets, "ticket_state", id=name)
    values = rng.choice(
        (
            {"granted": "false"},
            {"granted": "true", "standby": "true"},
            {"granted": "true", "standby": "false"},
        )
    )
    for key, value in values.items():
        state.set(key, value)
    return f"{name} {values}"


def option(tree: Tree, rng: random.Random) -> str:
    """A cluster option changes."""
    name, value = rng.choice(
        (
            ("stop-all-resources", "true"),
            ("symmetric-cluster", "false"),
            ("no-quorum-policy", "freeze"),
            ("maintenance-mode", "true"),
            ("stop-orphan-resources", "false"),
            ("placement-strategy", "balanced"),
            ("shutdown-lock", "true"),
        )
    )
    sets = tree.find("configuration/crm_config/cluster_property_set")
    for pair in sets.findall("nvpair"):
        if pair.get("name") == name:
            sets.remove(pair)
    etree.SubElement(sets, "nvpair", id=f"changed-{name}", name=name, value=value)
    return f"{name}={value}"


def _history(tree: Tree) -> list[Tree]:
    return tree.xpath("status/node_state/lrm/lrm_resources/lrm_resource")  # type: ignore[no-any-return]


def _last_call(tree: Tree) -> int:
    return max((int(one) for one in tree.xpath("status//lrm_rsc_op/@call-id") if int(one) > 0), default=1)


def _record(tree: Tree, resource: Tree, rng: random.Random, **values: Any) -> Tree:
    """Add a history entry, newer than all others."""
    task, interval = values["task"], values.get("interval", "0")
    rc, wanted, status = values["rc"], values.get("wanted", 0), values.get("status")
    name = resource.get("id")
    key = f"{name}_{task}_{interval}"
    pending = status == -1
    if status is None:
        status = 0 if rc in {wanted, 0, 7, 8, 190, 191} else 4
    entry_id = f"{name}_last_failure_0" if values.get("failure") else f"{name}_last_0"
    if interval != "0" and not values.get("failure"):
        entry_id = key
    for old in resource.findall("lrm_rsc_op"):
        if old.get("id") == entry_id:
            resource.remove(old)
    state = resource.getparent().getparent().getparent()
    when = values.get("when", NOW_S - 3)
    old = next((one for one in resource if one.get("operation") == task), None)
    attributes = {
        "id": entry_id,
        "operation": task,
        "operation_key": key,
        "crm-debug-origin": "event",
        "crm_feature_set": "3.16.1",
        "transition-key": f"9:9:{wanted}:{_CLUSTER}",
        "transition-magic": f"{status}:{rc};9:9:{wanted}:{_CLUSTER}",
        "call-id": "-1" if pending else str(_last_call(tree) + 1),
        "rc-code": str(rc),
        "op-status": str(status),
        "interval": interval,
        "last-rc-change": str(when),
        "exec-time": "0",
        "queue-time": "0",
        "op-digest": values.get("digest")
        or (old.get("op-digest") if old is not None else digest_of({}))
        or "",
        "on_node": state.get("uname"),
    }
    attributes |= {name: value for name, value in values.get("more", {}).items() if value}
    return etree.SubElement(resource, "lrm_rsc_op", **attributes)


def _someone(tree: Tree, rng: random.Random) -> Tree | None:
    """A resource's history on a node: mostly of one that was started there."""
    resources = _history(tree)
    started = [one for one in resources if any(op.get("operation") == "start" for op in one)]
    if started and rng.random() < _WHERE_STARTED:
        return rng.choice(started)
    return rng.choice(resources) if resources else None


def failed_operation(tree: Tree, rng: random.Random) -> str:
    """An operation fails or gives an odd result, with or without a fail count, now or some time ago."""
    resource = _someone(tree, rng)
    if resource is None:
        return ""
    known = [(one.get("operation"), one.get("interval")) for one in resource.findall("lrm_rsc_op")]
    recurring = [one for one in known if one[1] != "0"]
    plain = [("start", "0"), ("stop", "0"), ("monitor", "0")]
    if resource.get("type") == "Stateful":
        plain += [("promote", "0"), ("demote", "0")]
    if resource.get("type") in {"Dummy", "VirtualDomain", "remote"}:
        plain += [("migrate_to", "0"), ("migrate_from", "0")]
    task, interval = rng.choice(recurring) if recurring and rng.random() < 0.5 else rng.choice(plain)
    rc = rng.choice(_RESULTS)
    odd = (rc in {8, 9} and resource.get("type") != "Stateful") or (rc in {190, 191} and task != "monitor")
    if odd and rng.random() < _IN_CHARACTER:
        rc = 1
    status = rng.choice((None, None, None, 2, 4)) if rc == 1 else None
    when = rng.choice((NOW_S - 3, NOW_S - 90, NOW_S - 4000))
    state = resource.getparent().getparent().getparent()
    others = [one.get("uname") for one in _states(tree) if one is not state] or [state.get("uname")]
    more = {}
    if task == "migrate_to":
        more = {"migrate_source": state.get("uname"), "migrate_target": rng.choice(others)}
    elif task == "migrate_from":
        more = {"migrate_source": rng.choice(others), "migrate_target": state.get("uname")}
    probe = (task, interval) == ("monitor", "0")
    values = {"task": task, "interval": interval, "rc": rc, "wanted": 7 if probe else 0, "status": status}
    failure = rc not in {0, 7} or (rc == 7 and not probe)
    _record(tree, resource, rng, **values, when=when, more=more, failure=failure)
    if failure and not probe and rng.random() < 0.6:
        name = resource.get("id")
        _attribute(state, f"fail-count-{name}#{task}_{interval}", rng.choice(("1", "1", "2", "INFINITY")))
        _attribute(state, f"last-failure-{name}#{task}_{interval}", str(when))
    return f"{resource.get('id')} {task}_{interval}={rc}/{status} on {state.get('uname')}"


def fail_count(tree: Tree, rng: random.Random) -> str:
    """A fail count without an entry of the history."""
    resource = _someone(tree, rng)
    if resource is None:
        return ""
    state = resource.getparent().getparent().getparent()
    name = resource.get("id")
    _attribute(state, f"fail-count-{name}#monitor_10000", rng.choice(("1", "3", "INFINITY")))
    _attribute(state, f"last-failure-{name}#monitor_10000", str(rng.choice((NOW_S - 3, NOW_S - 400))))
    return f"{name} fail count on {state.get('uname')}"


def pending_operation(tree: Tree, rng: random.Random) -> str:
    """An operation was begun and has no result."""
    resource = _someone(tree, rng)
    if resource is None:
        return ""
    task = rng.choice(("start", "stop", "monitor", "promote", "demote", "migrate_to", "migrate_from"))
    if task in {"promote", "demote"} and resource.get("type") != "Stateful":
        task = "start"
    state = resource.getparent().getparent().getparent()
    others = [one.get("uname") for one in _states(tree) if one is not state] or [state.get("uname")]
    more = {}
    if task.startswith("migrate"):
        names = (state.get("uname"), rng.choice(others))
        source, target = names if task == "migrate_to" else reversed(names)
        more = {"migrate_source": source, "migrate_target": target}
    _record(tree, resource, rng, task=task, rc=193, status=-1, more=more)
    return f"{resource.get('id')} {task} pending on {state.get('uname')}"


def multiply_active(tree: Tree, rng: random.Random) -> str:
    """A resource is found running on another node, too."""
    sources = [one for one in _history(tree) if any(op.get("operation") == "start" for op in one)]
    if not sources:
        return ""
    source = rng.choice(sources)
    name = source.get("id")
    targets = [one for one in _history(tree) if one.get("id") == name and one is not source]
    if not targets:
        return ""
    target = rng.choice(targets)
    _record(tree, target, rng, task="monitor", rc=0, wanted=7)
    return f"{name} is also on {target.getparent().getparent().getparent().get('uname')}"


def migrating(tree: Tree, rng: random.Random) -> str:
    """A live migration is under way or was interrupted."""
    sources = [one for one in _history(tree) if any(op.get("operation") == "start" for op in one)]
    sources = [one for one in sources if one.get("type") in {"Dummy", "VirtualDomain", "remote"}]
    if not sources:
        return ""
    source = rng.choice(sources)
    name, here = source.get("id"), source.getparent().getparent().getparent().get("uname")
    targets = [one for one in _history(tree) if one.get("id") == name and one is not source]
    if not targets:
        return ""
    target = rng.choice(targets)
    there = target.getparent().getparent().getparent().get("uname")
    more = {"migrate_source": here, "migrate_target": there}
    rc = rng.choice((0, 0, 0, 1))
    _record(tree, source, rng, task="migrate_to", rc=rc, more=more)
    kind = rng.choice(("", "", "pending", "done", "failed"))
    if kind and rc == 0:
        result = {"pending": (193, -1), "done": (0, 0), "failed": (1, 4)}[kind]
        _record(tree, target, rng, task="migrate_from", rc=result[0], status=result[1], more=more)
    if rng.random() < 0.2:
        _record(tree, source, rng, task="stop", rc=0)
    return f"{name} migrates {here}->{there} ({rc} {kind})"


def parameter(tree: Tree, rng: random.Random) -> str:
    """A parameter changes; the agent may be able to reload."""
    pairs = tree.xpath("configuration/resources//instance_attributes/nvpair")
    if not pairs:
        return ""
    pair = rng.choice(pairs)
    owner = pair.getparent().getparent()
    if rng.random() < 0.6:  # the history says that this parameter can be reloaded
        values = {one.get("name"): one.get("value") for one in pair.getparent().findall("nvpair")}
        forcing = {name: value for name, value in values.items() if name != pair.get("name")}
        for resource in _history(tree):
            if resource.get("id").split(":")[0] == owner.get("id"):
                for entry in resource.xpath("lrm_rsc_op[@interval='0']"):
                    entry.set("op-force-restart", f" {' '.join(sorted(forcing))} ")
                    entry.set("op-restart-digest", digest_of(forcing))
    if rng.random() < 0.2:
        for entry in tree.xpath("status//lrm_rsc_op"):
            if entry.get("op-digest"):
                entry.set("op-secure-params", f" {pair.get('name')} ")
                entry.set("op-secure-digest", digest_of({}))
    pair.set("value", "changed")
    return f"{owner.get('id')} {pair.get('name')} changed"


def operation_changed(tree: Tree, rng: random.Random) -> str:
    """An operation's definition changes or goes."""
    operations = tree.xpath("configuration/resources//op")
    if not operations:
        return ""
    chosen = rng.choice(operations)
    kind = rng.choice(("removed", "interval", "timeout", "disabled"))
    match kind:
        case "removed":
            chosen.getparent().remove(chosen)
        case "interval":
            chosen.set("interval", "17s" if chosen.get("interval") != "0" else "0")
        case "timeout":
            chosen.set("timeout", "77s")
        case _:
            chosen.set("enabled", "false")
    return f"{chosen.get('id')} {kind}"


def resource_removed(tree: Tree, rng: random.Random) -> str:
    """A resource goes from the configuration, with what refers to it."""
    resources = tree.xpath(
        "configuration/resources/*[not(self::template)] | configuration/resources/group/primitive"
    )
    if len(resources) < 2:
        return ""
    chosen = rng.choice(resources)
    gone = {one.get("id") for one in chosen.iter() if one.get("id")}
    parent = chosen.getparent()
    if parent.tag == "group" and len(parent.findall("primitive")) == 1:
        return ""
    parent.remove(chosen)
    for reference in tree.xpath("configuration/tags/tag/obj_ref | configuration/constraints//resource_ref"):
        if reference.get("id") in gone:
            reference.getparent().remove(reference)
    for empty in tree.xpath("configuration//tag[not(*)] | configuration//resource_set[not(*)]"):
        empty.getparent().remove(empty)
    for constraint in tree.xpath("configuration/constraints/*"):
        named = {constraint.get(key) for key in ("rsc", "with-rsc", "first", "then")}
        without_sets = not named - {None} and "rsc-pattern" not in constraint.attrib
        if named & gone or (without_sets and constraint.find("resource_set") is None):
            constraint.getparent().remove(constraint)
    for level in tree.xpath("configuration/fencing-topology/fencing-level"):
        if level.get("devices") in gone:
            level.getparent().remove(level)
    return f"{chosen.get('id')} removed"


def agent_changed(tree: Tree, rng: random.Random) -> str:
    """A resource gets another agent of the same class."""
    chosen = tree.xpath("configuration/resources//primitive[@provider='pacemaker' and @type='Dummy']")
    if not chosen:
        return ""
    one = rng.choice(chosen)
    one.set("provider", "heartbeat")
    return f"{one.get('id')} has another agent"


def meta_changed(tree: Tree, rng: random.Random) -> str:
    """A meta attribute of a resource changes."""
    resources = tree.xpath("configuration/resources//*[self::primitive or self::group or self::clone]")
    if not resources:
        return ""
    chosen = rng.choice(resources)
    name, value = rng.choice(
        (
            ("target-role", "Stopped"),
            ("target-role", "Started"),
            ("is-managed", "false"),
            ("maintenance", "true"),
            ("resource-stickiness", "-100"),
            ("priority", "50"),
            ("clone-max", "1") if chosen.tag == "clone" else ("migration-threshold", "1"),
            ("promoted-max", "2") if chosen.tag == "clone" else ("allow-migrate", "true"),
        )
    )
    set_id = f"{chosen.get('id')}-changed-{len(chosen)}"
    sets = etree.Element("meta_attributes", id=set_id)
    etree.SubElement(sets, "nvpair", id=f"{set_id}-0", name=name, value=value)
    place = len(chosen.xpath("instance_attributes | meta_attributes"))
    chosen.insert(place, sets)
    return f"{chosen.get('id')} {name}={value}"


def constraint_gone(tree: Tree, rng: random.Random) -> str:
    """A constraint is removed."""
    constraints = tree.xpath("configuration/constraints/*")
    if not constraints:
        return ""
    chosen = rng.choice(constraints)
    chosen.getparent().remove(chosen)
    return f"{chosen.get('id')} removed"


def location_added(tree: Tree, rng: random.Random) -> str:
    """Somebody moves or bans a resource."""
    resources = tree.xpath("configuration/resources/*[not(self::template)]/@id")
    nodes = tree.xpath("configuration/nodes/node/@uname")
    if not resources or not nodes:
        return ""
    values = {"rsc": rng.choice(resources), "node": rng.choice(nodes)}
    values["score"] = rng.choice(("INFINITY", "-INFINITY", "500"))
    etree.SubElement(
        tree.find("configuration/constraints"), "rsc_location", id=f"cli-moved-{rng.random()}", **values
    )
    return f"{values}"


def history_lost(tree: Tree, rng: random.Random) -> str:
    """The history of a resource on one node, or of a whole node, is cleaned."""
    resources = _history(tree)
    if not resources:
        return ""
    chosen = rng.choice(resources)
    if rng.random() < 0.2:
        chosen = chosen.getparent().getparent()
    chosen.getparent().remove(chosen)
    return f"history {chosen.get('id')} cleaned"


def shutdown_locked(tree: Tree, rng: random.Random) -> str:
    """A stopped resource is locked to the node it ran on."""
    resources = _history(tree)
    if not resources:
        return ""
    chosen = rng.choice(resources)
    chosen.set("shutdown-lock", str(rng.choice((NOW_S - 5, NOW_S - 200, NOW_S - 4000))))
    return f"{chosen.get('id')} locked"


EVENTS: tuple[tuple[Event, int], ...] = (
    (node_state, 5),
    (node_attribute, 5),
    (promotion_score, 2),
    (quorum, 2),
    (ticket, 2),
    (option, 2),
    (failed_operation, 7),
    (fail_count, 1),
    (pending_operation, 3),
    (multiply_active, 1),
    (migrating, 3),
    (parameter, 3),
    (operation_changed, 2),
    (resource_removed, 3),
    (agent_changed, 1),
    (meta_changed, 4),
    (constraint_gone, 1),
    (location_added, 3),
    (history_lost, 2),
    (shutdown_locked, 1),
)


def happen(tree: Tree, rng: random.Random) -> str:
    """One to three events, one after the other."""
    done: list[str] = []
    wanted = rng.choices((1, 2, 3), (6, 3, 1))[0]
    for _ in range(12):
        event = rng.choices([one for one, _ in EVENTS], [weight for _, weight in EVENTS])[0]
        text = event(tree, rng)
        if text:
            done.append(text)
        if len(done) == wanted:
            break
    return "; ".join(done)
