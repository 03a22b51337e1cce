"""An installed crm_simulate as the reference: what it makes of a CIB, and how that compares with ours.

An older release knows older names of options and schemas; they are translated on the way in and out.
"""

from __future__ import annotations

import collections
import io
import re
from dataclasses import dataclass
from pathlib import Path

from cli.commands.simulate import Simulation
from cli.commands.simulate_options import build_parser
from crm.cib import codec
from crm.cib.model import Element
from crm.explain.changes import edited
from crm.transition.graph import TransitionGraph, from_element
from tests.conformance.graph_levels import Identity, actions, edges
from tests.differential.oracle import OracleFailed, comparable_scores, run_tool
from tests.differential.tree import at, put, tagged, with_pair

LEVELS = ("actions", "ordering", "scores", "current", "summary", "exec", "revised")

_OLD_OPTIONS = {
    "fencing-enabled": "stonith-enabled",
    "fencing-action": "stonith-action",
    "fencing-timeout": "stonith-timeout",
    "stop-removed-resources": "stop-orphan-resources",
    "cancel-removed-actions": "stop-orphan-actions",
}
_SECTIONS = {
    "Current cluster status:": "current",
    "Transition Summary:": "summary",
    "Executing Cluster Transition:": "exec",
    "Revised Cluster Status:": "revised",
}
_FAIL_COUNTS_SINCE = [3, 0, 13]
"""In CIBs of an older feature set the reference looks for fail counts by another name."""
_WORDS = {
    "termination was requested": "fencing was requested",
    "peer was in an unknown state": "peer failed pacemaker membership criteria",
    "unmigrateable": "unrunnable",
    "maintenance": "unmanaged",
}
"""What is worded differently since, in lower case."""
_NEWEST_SCHEMA = (3, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a scheduler makes of a CIB, in comparable form. A text that was not printed is None."""

    graph: TransitionGraph
    scores: frozenset[str]
    texts: dict[str, tuple[str, ...] | None]


def older(cib: Element) -> Element:
    """The CIB in the words of the older release."""

    def one(item: Element) -> Element:
        if item.tag == "nvpair" and item.get("name") in _OLD_OPTIONS:
            return item.with_attributes(name=_OLD_OPTIONS[item.get("name")])
        return item

    if not any(item.get("name") == "concurrent-fencing" for item in cib.walk() if item.tag == "nvpair"):
        for place in tagged(cib, "crm_config"):  # the default was another one
            config = with_pair(at(cib, place), "cluster_property_set", "concurrent-fencing", "true")
            cib = put(cib, place, config)
    for name in ("admin_epoch", "epoch", "num_updates"):
        cib = cib.with_attribute_map({name: cib.get(name) or "0"})
    feature_set = cib.get("crm_feature_set").split(".")
    if not all(map(str.isdigit, feature_set)) or [*map(int, feature_set)] < _FAIL_COUNTS_SINCE:
        cib = cib.with_attribute_map({"crm_feature_set": ".".join(map(str, _FAIL_COUNTS_SINCE))})
    schema = re.fullmatch(r"pacemaker-(\d+)\.(\d+)", cib.get("validate-with"))
    if schema is not None and (int(schema[1]), int(schema[2])) > _NEWEST_SCHEMA:
        cib = cib.with_attribute_map({"validate-with": "pacemaker-3.9"})
    return edited(cib, one)


def reference(cib: Element, folder: Path, *, scores: bool = True) -> Result:
    """What the installed crm_simulate makes of it, `scores` at twice the price. Raises OracleFailed."""
    source, graph = folder / "in.xml", folder / "graph.xml"
    source.write_text(codec.render(older(cib)))
    graph.unlink(missing_ok=True)
    text = _run(["-x", str(source), "-S", "-G", str(graph)], cut_short=True)
    if not graph.exists():
        raise OracleFailed("no graph was written")
    lines = _run(["-x", str(source), "-sRQ"], cut_short=False) if scores else ""
    return Result(
        graph=from_element(codec.parse(graph.read_bytes())),
        scores=comparable_scores(lines.splitlines()),
        texts=_sections(text),
    )


def _run(arguments: list[str], *, cut_short: bool) -> str:
    """Standard output. `cut_short`: an abort in the simulation after the graph was written is no failure."""
    done = run_tool(arguments)
    if done.returncode != 0 and not (cut_short and done.returncode < 0):
        raise OracleFailed((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0])
    return done.stdout


def ours(cib: Element, folder: Path, *, scores: bool = True) -> Result:
    """What ours makes of it, by the same command line."""
    source, graph = folder / "ours.xml", folder / "ours-graph.xml"
    source.write_text(codec.render(cib))
    text, lines = io.StringIO(), io.StringIO()
    Simulation(build_parser().parse_args(["-x", str(source), "-S", "-G", str(graph)]), text).run()
    if scores:
        Simulation(build_parser().parse_args(["-x", str(source), "-sRQ"]), lines).run()
    return Result(
        graph=from_element(codec.parse(graph.read_bytes())),
        scores=comparable_scores(lines.getvalue().splitlines()),
        texts=_sections(text.getvalue()),
    )


def _sections(text: str) -> dict[str, tuple[str, ...] | None]:
    found: dict[str, list[str]] = {}
    here: list[str] = []
    for line in text.splitlines():
        if line in _SECTIONS:
            here = found.setdefault(_SECTIONS[line], [])
        elif line.startswith("Using the original execution date"):
            here = []
        elif line.strip():
            here.append(_words(line))
    if "summary" in found:
        found["summary"].sort()
    if any(" cancel=" in line for line in found.get("exec", ())):
        found.pop("revised", None)  # older releases read a recorded cancellation as a sign of life
    return {name: tuple(found[name]) if name in found else None for name in _SECTIONS.values()}


def _words(line: str) -> str:
    text = " ".join(line.lower().split())
    for old, new in _WORDS.items():
        text = text.replace(old, new)
    head, opening, flags = text.partition(" (")
    if opening and ", " in flags:  # flags stand in another order
        flags = ", ".join(sorted(flags.replace(")", " )").split(", ")))
    return head + opening + flags


def ordering(graph: TransitionGraph) -> frozenset[tuple[Identity, Identity]]:
    """What must come before what, directly or not. Actions of one identity count as one."""
    before: dict[Identity, set[Identity]] = collections.defaultdict(set)
    for first, then in edges(graph):
        before[then].add(first)
    closure: set[tuple[Identity, Identity]] = set()
    for then in list(before):
        seen: set[Identity] = set()
        waiting = list(before[then])
        while waiting:
            first = waiting.pop()
            if first not in seen:
                seen.add(first)
                waiting.extend(before.get(first, ()))
        closure.update((first, then) for first in seen)
    return frozenset(closure)


def differences(wanted: Result, got: Result) -> dict[str, str]:
    """Per level that differs, how."""
    found: dict[str, str] = {}
    both = actions(wanted.graph), actions(got.graph)
    if both[0] != both[1]:
        found["actions"] = _signed(both[0] - both[1], both[1] - both[0])
    else:
        before, after = ordering(wanted.graph), ordering(got.graph)
        if before != after:
            lost = collections.Counter(f"{_name(first)}->{_name(then)}" for first, then in before - after)
            new = collections.Counter(f"{_name(first)}->{_name(then)}" for first, then in after - before)
            found["ordering"] = _few(lost, "-") + _few(new, "+")
    if wanted.scores != got.scores:
        missing, surplus = wanted.scores - got.scores, got.scores - wanted.scores
        found["scores"] = _few(collections.Counter(missing), "-") + _few(collections.Counter(surplus), "+")
    for name in LEVELS[3:]:
        old, fresh = wanted.texts[name], got.texts[name]
        if old is not None and old != fresh:
            before_lines, after_lines = collections.Counter(old), collections.Counter(fresh or ())
            found[name] = (
                _few(before_lines - after_lines, "-") + _few(after_lines - before_lines, "+") or "order"
            )
    return found


def _name(action: Identity) -> str:
    return f"{action[2]}@{action[3]}" if action[3] else action[2]


def _signed(missing: collections.Counter[Identity], surplus: collections.Counter[Identity]) -> str:
    return _few(collections.Counter(map(_name, missing.elements())), "-") + _few(
        collections.Counter(map(_name, surplus.elements())), "+"
    )


def _few(items: collections.Counter[str], sign: str, count: int = 5) -> str:
    texts = sorted(items.elements())
    rest = f" {sign}…{len(texts) - count}" if len(texts) > count else ""
    return "".join(f" {sign}[{text}]" for text in texts[:count]) + rest
