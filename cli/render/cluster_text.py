"""The state of the cluster as crm_mon prints it, and as JSON. Pure: the daemon's answer in, text out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cli.grammar.document import section
from cli.render.cluster_view import ClusterView
from cli.render.reminders import reminders
from crm.cib.model import Element
from crm.scheduler.values import is_true


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What is known beside the CIB. Empty and 0 mean: not known (a CIB file)."""

    cluster_name: str = ""
    node: str = ""
    dc: str = ""
    term: str = ""
    view: str = ""
    quorate: bool = False
    waiting_for_all: bool = False
    basis: str = ""
    live: bool = False
    stopped: bool = False  # this node has left the cluster, or was told to
    age_ms: int = 0
    now_s: int = 0
    last_change_s: int = 0
    last_change_by: str = ""
    transition_state: str = ""
    transition_number: int = 0
    transition_done: int = 0
    transition_actions: int = 0
    running: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    daemons: Mapping[str, str] = field(default_factory=dict)


def _when(instant_s: int) -> str:
    return time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(instant_s))


def text(view: ClusterView, summary: Summary, words: Sequence[str] = ()) -> str:
    """Summary, nodes, resources, failed actions, notices; `words` of crm_mon ask for more, or for less."""
    if words:
        from cli.render import status_sections  # costs start-up time

        choice = status_sections.Choice.of(words)
        headers, reminded = choice.headers, choice.reminders
        nodes, resources = status_sections.lists(view.work, choice)
        more = status_sections.sections(view.work, choice)
    else:
        headers = reminded = True
        nodes = ["Node List:", *(view.node_lines() or ["  * No nodes"])]
        resources = ["Full List of Resources:", *(view.resource_lines() or ["  * No resources"])]
        more = []
    lines = ["Cluster Summary:", *_summary_lines(view, summary), ""] if headers else []
    lines += [*nodes, *(f"  * {name}: {what}" for name, what in summary.daemons.items())]
    if resources:
        lines += ["", *resources]
    lines += more
    tickets = _ticket_lines(view.cib)
    if tickets:
        lines += ["", "Tickets:", *tickets]
    failed = view.failed_actions()
    if failed:
        lines += ["", "Failed Resource Actions:"]
        for one in failed:
            at = f" at {_when(one.at_s)}" if one.at_s else ""
            lines.append(f"  * {one}{at}")
    if summary.running or summary.waits:
        lines += ["", "In Progress:"]
        lines += [f"  * {one}" for one in summary.running]
        lines += [f"  * waiting for {one}" for one in summary.waits]
    if summary.notices:
        lines += ["", "Notices:", *(f"  * {one}" for one in summary.notices)]
    forgotten = reminders(view, summary.now_s or view.now_s) if reminded else ()
    if forgotten:
        lines += ["", "Do not forget:", *(f"  * {one}" for one in forgotten)]
    return "\n".join(lines)


def _summary_lines(view: ClusterView, summary: Summary) -> Iterable[str]:
    cib = view.cib
    if summary.cluster_name:
        yield f"  * Cluster name: {summary.cluster_name}"
    if summary.live:
        quorum = "partition with quorum" if summary.quorate else "partition WITHOUT quorum"
        basis = f", authority: {summary.basis}" if summary.basis not in ("", "majority") else ""
        dc = f"{summary.dc} (term {summary.term})" if summary.dc else f"NONE{_since(summary)}"
        yield f"  * Current DC: {dc} - {quorum}{basis}"
        if summary.waiting_for_all:
            yield "  * Waiting for all nodes to be seen once before anything starts"
        yield f"  * Last updated: {_when(summary.now_s)} on {summary.node}"
        if summary.stopped:
            old = _old(cib, summary)
            yield f"  * {summary.node} is STOPPED: it has left the cluster, and this is an OLD view{old}"
            yield "    (`hacli cluster start` lets it come back; ask another node for the state of now)"
        elif not summary.dc:
            yield f"  * Without a DC this is what {summary.node} knows by itself{_old(cib, summary)}"
        elif summary.age_ms:
            yield f"  * The DC was last heard {summary.age_ms / 1000:.1f} s ago: this may be old"
    if summary.last_change_s:
        by = f" by {summary.last_change_by}" if summary.last_change_by else ""
        yield f"  * Last change:  {_when(summary.last_change_s)}{by}"
    elif cib.get("cib-last-written"):
        yield f"  * Last change:  {cib.get('cib-last-written')}"
    if summary.transition_state not in ("", "idle"):
        yield (
            f"  * Transition {summary.transition_number}: {summary.transition_state}, "
            f"{summary.transition_done} of {summary.transition_actions} actions"
        )
    nodes = len(section(cib, "nodes").all("node"))
    count = view.instance_count()
    yield f"  * {nodes} node{'s' * (nodes != 1)} configured"
    yield f"  * {count} resource instance{'s' * (count != 1)} configured"
    if view.disabled_and_blocked():
        yield f"  * {view.disabled_and_blocked()}"
    if _option(cib, "maintenance-mode"):
        yield ""
        yield "  *** Resource management is DISABLED ***"
        yield "  The cluster will not attempt to start, stop or recover services"


def _since(summary: Summary) -> str:
    """How long this node has heard no DC, or ha-crm has run without one."""
    return f" for {summary.age_ms / 1000:.0f} s" if summary.age_ms else ""


def _old(cib: Element, summary: Summary) -> str:
    """How long ago a DC said it; empty when none has in this life of ha-crm."""
    status = cib.child("status")
    if status is None or not status.all("node_state") or not summary.age_ms:
        return ""
    return f", from {summary.age_ms / 1000:.0f} s ago"


def _option(cib: Element, name: str) -> bool:
    for one in section(cib, "crm_config").all("cluster_property_set"):
        for pair in one.all("nvpair"):
            if pair.get("name") == name:
                return pair.get("value").lower() in ("true", "yes", "on", "1")
    return False


def html(view: ClusterView, summary: Summary, words: Sequence[str] = ()) -> str:
    """The text as a page."""
    from html import escape  # costs start-up time

    title = escape(summary.cluster_name or "cluster")
    return (
        f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body><pre>{escape(text(view, summary, words))}</pre></body></html>"
    )


def one_line(view: ClusterView, summary: Summary) -> str:
    """What a monitoring system wants: OK or WARN, and why."""
    wrong = [f"{one.name} is {one.state}" for one in view.nodes() if one.state != "online"]
    if summary.live and not summary.dc:
        wrong.insert(0, "no DC")
    if summary.live and not summary.quorate:
        wrong.insert(0, "no quorum")
    failed = len(view.failed_actions())
    if failed:
        wrong.append(f"{failed} failed action{'s' * (failed != 1)}")
    if wrong:
        return f"CLUSTER WARN: {', '.join(wrong)}"
    nodes, count = len(view.nodes()), view.instance_count()
    return (
        f"CLUSTER OK: {nodes} node{'s' * (nodes != 1)} online, "
        f"{count} resource instance{'s' * (count != 1)} configured"
    )


def _ticket_lines(cib: Element) -> list[str]:
    tickets = cib.path("status", "tickets")
    known = {one.id: one for one in tickets.all("ticket_state")} if tickets is not None else {}
    names = {one.get("ticket"): None for one in section(cib, "constraints").all("rsc_ticket")} | known
    lines = []
    for name, state in sorted(names.items()):
        granted = state is not None and is_true(state.get("granted"))
        standby = granted and state is not None and is_true(state.get("standby"))
        lines.append(f"  * {name}: {'granted' if granted else 'revoked'}{' (standby)' * standby}")
    return lines


def as_data(view: ClusterView, summary: Summary) -> dict[str, object]:
    """The same for programs; keys are stable."""
    cib = view.cib
    return {
        "cluster": summary.cluster_name,
        "node": summary.node,
        "dc": summary.dc or None,
        "term": summary.term or None,
        "view": summary.view or None,
        "quorate": summary.quorate,
        "stopped": summary.stopped,
        "age_ms": summary.age_ms,
        "basis": summary.basis,
        "cib": ".".join(cib.get(name, "0") for name in ("admin_epoch", "epoch", "num_updates")),
        "transition": {
            "number": summary.transition_number,
            "state": summary.transition_state or "unknown",
            "done": summary.transition_done,
            "actions": summary.transition_actions,
            "running": list(summary.running),
            "waits": list(summary.waits),
        },
        "nodes": [{"name": one.name, "state": one.state, "online": one.online} for one in view.nodes()],
        "resources": [
            {
                "id": name,
                "places": [
                    {"node": place.node, "role": place.role, "failed": place.failed} for place in places
                ],
            }
            for name, places in view.placements().items()
        ],
        "failed_actions": [
            {
                "resource": one.resource,
                "operation": one.operation,
                "interval_ms": one.interval_ms,
                "node": one.node,
                "rc": one.rc,
                "reason": one.reason,
            }
            for one in view.failed_actions()
        ],
        "notices": list(summary.notices),
        "reminders": list(reminders(view, summary.now_s or view.now_s)),
    }
