"""What is easily forgotten: leftovers of moves, things switched off, missing fencing, old failures. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from cli.grammar import moves
from cli.grammar.document import configuration_of, section
from cli.grammar.pairs import TRUE
from cli.render.cluster_view import ClusterView
from crm.cib.model import Element

CONFIRM_SET: Final = "hacluster-commit-confirm"  # crm.confirmation.SET_ID
_FALSE: Final = ("false", "no", "off", "0", "n")


def reminders(view: ClusterView, now_s: int) -> tuple[str, ...]:
    """One sentence each, with the command that ends it."""
    return tuple(_all(view, now_s))


def _all(view: ClusterView, now_s: int) -> Iterator[str]:
    cib = view.cib
    yield from _pending(cib, now_s)
    yield from _moves(cib, now_s)
    yield from _switched_off(cib)
    yield from _nodes(cib)
    yield from _fencing(cib)
    for name, nodes in view.orphans():
        yield f"{name} runs on {nodes} but is in no configuration any more"
    yield from _failures(view, now_s)


def _pending(cib: Element, now_s: int) -> Iterator[str]:
    if not any(one.id == CONFIRM_SET for one in section(cib, "crm_config").children):
        return
    from crm.confirmation import pending_in  # rarely needed, and not cheap to load

    pending = pending_in(configuration_of(cib))
    if pending is not None and pending.failed:
        yield (
            f"UNDOING the unconfirmed commit of {pending.by} FAILED, it is still in force: {pending.failed}; "
            "mend it, then `hacli rollback`, or keep it: `hacli confirm`"
        )
    elif pending is not None:
        left = duration_text(max(0, pending.until_s - now_s))
        yield f"a commit of {pending.by} is undone in {left} unless it is confirmed: `hacli confirm`"


def duration_text(seconds: int) -> str:
    """As people say it: 45 s, 3 min 5 s, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3_600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3_600} h {seconds % 3_600 // 60} min"


def _moves(cib: Element, now_s: int) -> Iterator[str]:
    now = datetime.fromtimestamp(now_s, UTC)
    for one in section(cib, "constraints").all("rsc_location"):
        if not one.id.startswith(("cli-prefer-", "cli-ban-")):
            continue
        name = one.get("rsc")
        if moves.expired(one, now):
            yield f"{one.id} is left of a move of {name} and counts no more: `hacli resource clear {name}`"
            continue
        ends = next((part.get("end") for part in one.walk() if part.tag == "date_expression"), "")
        until = f" until {ends}" if ends else ""
        yield f"{one.id} keeps {name} in its place{until}: `hacli resource clear {name}`"


def _pairs(item: Element, tag: str) -> dict[str, str]:
    return {pair.get("name"): pair.get("value") for one in item.all(tag) for pair in one.all("nvpair")}


def _switched_off(cib: Element) -> Iterator[str]:
    options = _options(cib)
    if options.get("maintenance-mode", "").lower() in TRUE:
        yield "the whole cluster is in maintenance mode: `hacli maintenance off`"
    if options.get("stop-all-resources", "").lower() in TRUE:
        yield "stop-all-resources is on: `hacli configure property stop-all-resources=false`"
    for item in section(cib, "resources").walk():
        if item.tag not in ("primitive", "group", "clone", "master", "bundle"):
            continue
        meta = _pairs(item, "meta_attributes")
        if meta.get("target-role") == "Stopped":
            yield f"{item.id} is disabled: `hacli resource start {item.id}`"
        if meta.get("is-managed", "").lower() in _FALSE:
            yield f"{item.id} is not managed: `hacli resource manage {item.id}`"
        if meta.get("maintenance", "").lower() in TRUE:
            yield f"{item.id} is in maintenance: `hacli resource maintenance {item.id} off`"
        if any(pair.get("name") == "trace_ra" for pair in item.walk() if item.tag == "primitive"):
            yield f"{item.id} is traced: `hacli resource untrace {item.id}`"


def _options(cib: Element) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in section(cib, "crm_config").all("cluster_property_set"):
        for pair in one.all("nvpair"):
            found.setdefault(pair.get("name"), pair.get("value"))
    return found


def _nodes(cib: Element) -> Iterator[str]:
    for one in section(cib, "nodes").all("node"):
        name, attributes = one.get("uname"), _pairs(one, "instance_attributes")
        if attributes.get("standby", "").lower() in TRUE:
            yield f"{name} is in standby: `hacli node online {name}`"
        if attributes.get("maintenance", "").lower() in TRUE:
            yield f"{name} is in maintenance: `hacli node ready {name}`"


def _fencing(cib: Element) -> Iterator[str]:
    options = _options(cib)
    enabled = options.get("stonith-enabled", options.get("fencing-enabled", "true")).lower()
    if enabled in _FALSE:
        yield "fencing is switched off: a lost node may still run what is started elsewhere"
        return
    resources = [one for one in section(cib, "resources").walk() if one.tag in ("primitive", "template")]
    has_device = any(one.get("class") == "stonith" for one in resources)
    if any(one.tag == "primitive" for one in resources) and not has_device:
        yield "there is no fence device: what ran on a lost node is not started elsewhere"


def _failures(view: ClusterView, now_s: int) -> Iterator[str]:
    for one in view.failed_actions():
        timeout_s = view.failure_timeout_s(one.resource)
        if timeout_s and one.at_s:
            left = max(0, one.at_s + timeout_s - now_s)
            yield f"the failure of {one.resource} on {one.node} is forgotten in {duration_text(left)}"
        else:
            yield f"{one.resource} failed on {one.node}: `hacli resource cleanup {one.resource}` forgets it"
