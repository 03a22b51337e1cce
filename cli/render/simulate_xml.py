"""A simulation as crm_simulate's XML (`--output-as=xml`): <pacemaker-result>. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from cli.render.node_sections import failures, histories, visible_attributes
from cli.render.status_primitive import PENDING_WORDS, base_name, is_disabled
from cli.render.transition_summary import changes, fencing_texts
from crm.cib.model import Element, element
from crm.scheduler.activity import is_active
from crm.scheduler.model import Node, Resource, Role, Variant, WorkingSet
from crm.scheduler.scores import render
from crm.simulation.notes import Note

API_VERSION: Final = "2.25"
"""The version of Pacemaker's schema api-result.rng that the elements follow."""

_SCORE: Final = re.compile(r"(?:(?P<by>\S+): )?(?P<id>\S+) allocation score on (?P<node>\S+): (?P<score>\S+)")
_PROMOTION: Final = re.compile(r"(?P<id>\S+) promotion score (?:on (?P<node>\S+)|\S+): (?P<score>\S+)")
_CAPACITY: Final = re.compile(r"(?P<comment>\S+): (?P<node>\S+) capacity:(?P<rest>.*)")
_USE: Final = re.compile(r"(?:(?P<by>\S+): )?(?P<id>\S+) utilization on (?P<node>\S+):(?P<rest>.*)")


def _flag(value: bool) -> str:
    return "true" if value else "false"


def status_element(tag: str, work: WorkingSet, *, attributes: bool, fail_counts: bool) -> Element:
    """<cluster_status> or <revised_cluster_status>."""
    parts = [
        element("nodes", None, *(_node(one) for one in work.nodes)),
        element(
            "resources",
            None,
            *(_resource(one) for one in work.resources if not one.removed or is_active(one, every=True)),
        ),
    ]
    if attributes:
        found = list(_attributes(work))
        parts += [element("node_attributes", None, *found)] if found else []
    if fail_counts:
        parts.append(element("node_history", None, *_histories(work)))
        found = list(_failures(work))
        parts += [element("failures", None, *found)] if found else []
    return element(tag, None, *parts)


def _node(node: Node) -> Element:
    kind = "remote" if node.is_guest_or_remote else "member"
    return element(
        "node",
        {
            "name": node.name,
            "id": node.id,
            "online": _flag(node.online),
            "standby": _flag(node.standby),
            "standby_onfail": _flag(node.standby_on_fail),
            "maintenance": _flag(node.maintenance),
            "pending": _flag(node.pending),
            "unclean": _flag(node.unclean),
            "health": _health(node),
            "shutdown": _flag(node.shutdown),
            "expected_up": _flag(node.expected_up),
            "is_dc": _flag(node.is_dc),
            "resources_running": str(sum(1 for one in node.running if one.variant is Variant.PRIMITIVE)),
            "type": kind,
            **({"id_as_resource": node.launcher.id} if node.launcher is not None else {}),
        },
    )


def _health(node: Node) -> str:
    values = [value.lower() for name, value in node.attributes.items() if name.startswith("#health")]
    return "red" if "red" in values else "yellow" if "yellow" in values else "green"


def _resource(resource: Resource) -> Element:
    match resource.variant:
        case Variant.PRIMITIVE:
            return _primitive(resource)
        case Variant.GROUP:
            head = {
                "id": resource.id,
                "number_resources": str(len(resource.children)),
                "managed": _flag(resource.managed),
                "disabled": _flag(is_disabled(resource)),
            }
            return element("group", head, *(_resource(one) for one in resource.children))
        case Variant.CLONE:
            head = {
                "id": resource.id,
                "multi_state": _flag(resource.promotable),
                "unique": _flag(resource.unique),
                "managed": _flag(resource.managed),
                "disabled": _flag(is_disabled(resource)),
                "failed": _flag(resource.failed),
                "failure_ignored": _flag(resource.failure_ignored),
                **_target(resource),
            }
            return element("clone", head, *(_resource(one) for one in resource.children))
        case _:
            return _bundle(resource)


def _bundle(bundle: Resource) -> Element:
    data = bundle.bundle
    assert data is not None, bundle.id
    replicas: list[Element] = []
    for replica in data.replicas:
        parts = (replica.ip, replica.child, replica.container, replica.connection)
        inner = (_resource(one) for one in parts if one is not None)
        replicas.append(element("replica", {"id": str(replica.number)}, *inner))
    head = {
        "id": bundle.id,
        "type": data.runtime,
        "image": data.image,
        "unique": _flag(bundle.unique),
        "managed": _flag(bundle.managed),
        "failed": _flag(bundle.failed),
    }
    return element("bundle", head, *replicas)


def _target(resource: Resource) -> dict[str, str]:
    target = resource.meta.get("target-role", "")
    return {"target_role": target} if target else {}


def _primitive(resource: Resource) -> Element:
    role = resource.orig_role
    if role is Role.STARTED and resource.top().promotable:
        role = Role.UNPROMOTED
    head = {
        "id": base_name(resource),
        "resource_agent": resource.class_agent,
        "role": role.label,
        **_target(resource),
        "active": _flag(is_active(resource, every=True)),
        "orphaned": _flag(resource.removed),
        "blocked": _flag(resource.blocked),
        "managed": _flag(resource.managed),
        "failed": _flag(resource.failed),
        "failure_ignored": _flag(resource.failure_ignored),
        "nodes_running_on": str(len(resource.active_nodes)),
    }
    pending = PENDING_WORDS.get(resource.pending_task, "")
    if resource.pending_task == "monitor" and resource.pending_interval_ms > 0:
        pending = "Monitoring"
    if pending:
        head["pending"] = pending
    nodes = (
        element("node", {"name": one.name, "id": one.id, "cached": _flag(one.online)})
        for one in resource.active_nodes
    )
    return element("resource", head, *nodes)


def _attributes(work: WorkingSet) -> Iterator[Element]:
    for node in work.nodes:
        pairs = visible_attributes(node)
        if node.online and pairs:
            inner = (element("attribute", {"name": name, "value": value}) for name, value in pairs)
            yield element("node", {"name": node.name}, *inner)


def _histories(work: WorkingSet) -> Iterator[Element]:
    for node, found in histories(work):
        inner = (
            element(
                "resource_history",
                {
                    "id": one.resource,
                    "orphan": _flag(one.removed),
                    "migration-threshold": render(one.threshold) if one.threshold < 1_000_000 else "1000000",
                    "fail-count": render(one.count),
                    **({"last-failure": one.last} if one.last else {}),
                },
            )
            for one in found
        )
        yield element("node", {"name": node.name}, *inner)


def _failures(work: WorkingSet) -> Iterator[Element]:
    for one in failures(work):
        head = {
            "op_key": one.key,
            "node": one.node,
            "exitstatus": one.rc_text,
            "exitreason": one.exit_reason or "none",
            "exitcode": str(one.rc),
            "call": one.call,
            "status": one.status_text,
        }
        if one.changed_s is not None:
            head["last-rc-change"] = datetime.fromtimestamp(one.changed_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
            head |= {"queued": one.queue_ms, "exec": one.exec_ms}
            head |= {"interval": str(one.interval_ms), "task": one.task}
        yield element("failure", head)


# --- what was pretended, decided and done


def modifications_element(notes: Sequence[Note]) -> Element:
    """Quorum and watchdog are attributes of the whole."""
    head: dict[str, str] = {}
    parts: list[Element] = []
    for one in notes:
        if one.element.tag in ("modify_quorum", "modify_watchdog"):
            head.update(one.element.attributes)
        else:
            parts.append(one.element)
    return element("modifications", head, *parts)


def placement_element(tag: str, lines: Sequence[str]) -> Element:
    """<allocations>, <utilizations> or both, from the lines for people."""
    found: list[Element] = []
    for line in lines:
        if match := _SCORE.fullmatch(line):
            head = {"function": match["by"] or "", "node": match["node"], "score": match["score"]}
            found.append(element("node_weight", {**head, "id": match["id"]}))
        elif match := _PROMOTION.fullmatch(line):
            place = {"node": match["node"]} if match["node"] else {}
            found.append(element("promotion_score", {"id": match["id"], "score": match["score"], **place}))
        elif match := _CAPACITY.fullmatch(line):
            head = {"node": match["node"], "comment": match["comment"]}
            found.append(element("capacity", {**head, **_amounts(match["rest"])}))
        elif match := _USE.fullmatch(line):
            head = {"resource": match["id"], "node": match["node"], "function": match["by"] or ""}
            found.append(element("utilization", {**head, **_amounts(match["rest"])}))
    return element(tag, None, *found)


def _amounts(text: str) -> dict[str, str]:
    pairs = (word.partition("=") for word in text.split())
    return {name: value for name, _, value in pairs if re.fullmatch(r"[A-Za-z_][\w.-]*", name)}


def actions_element(work: WorkingSet) -> Element:
    """What would be done to nodes and resources."""
    found: list[Element] = []
    for text in fencing_texts(work):
        match = re.fullmatch(r"(Fence \(\S+\)) (.*) '(.*)'", text)
        assert match is not None, text
        found.append(element("node_action", {"task": match[1], "node": match[2], "reason": match[3]}))
    for one in changes(work):
        head = {"action": one.word.lower(), "resource": one.resource}
        if one.before > Role.STARTED:
            head["role"] = one.before.label
        if one.after is not one.before and one.after > Role.STARTED:
            head.setdefault("role", one.before.label)
            head["next-role"] = one.after.label
        moves = one.origin and one.target and one.origin != one.target
        if moves:
            head |= {"source": one.origin, "dest": one.target}
        elif one.origin and ("next-role" in head or one.word in ("Restart", "Recover", "Reload")):
            head["source"] = one.origin
        else:
            head["node"] = one.target or one.origin
        if one.reason:
            head["reason"] = one.reason
        if one.blocked:
            head["blocked"] = "true"
        found.append(element("rsc_action", head))
    return element("actions", None, *found)


def transition_element(notes: Sequence[Note]) -> Element:
    """What was done, in order."""
    return element("transition", None, *(one.element for one in notes))


def result_element(request: str, parts: Sequence[Element]) -> Element:
    """The whole document."""
    status = element("status", {"code": "0", "message": "OK"})
    return element("pacemaker-result", {"api-version": API_VERSION, "request": request}, *parts, status)
