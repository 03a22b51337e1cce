"""`hacli simulate`: what would happen. Takes crm_simulate's options and prints in its form."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

from cli.cib_file import checked, read_cib, unpacked
from cli.commands.simulate_options import build_parser
from cli.commands.simulate_profile import profile
from cli.grammar.verify import verify
from cli.render.cluster_status import disabled_and_blocked, status_text
from cli.render.node_sections import attribute_lines, fail_count_lines
from cli.render.simulate_xml import (
    actions_element,
    modifications_element,
    placement_element,
    result_element,
    status_element,
    transition_element,
)
from cli.render.transition_json import as_json
from cli.render.transition_summary import summary_lines
from crm.cib import codec
from crm.cib.model import Element
from crm.scheduler import pipeline
from crm.scheduler.dates import instant_s
from crm.simulation.execute import execute, known_names
from crm.simulation.inject import (
    Modifications,
    OperationSpec,
    apply,
    known_node,
    known_primitive,
    nearest,
    node_names,
    parse_spec,
)
from crm.transition.graph import GraphAction, to_element
from hacluster.clock import SystemClock
from hacluster.digits import is_count
from hacluster.errors import HaError, InvalidRequest

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

LiveCib = Callable[[], Element]
"""Fetches the CIB of the running cluster."""


def main(argv: Sequence[str], out: TextIO | None = None, live: LiveCib | None = None) -> int:
    """Run the command; errors go to standard error. Exit code: 0, 1 (refused, or stuck), 2 (usage)."""
    try:
        ended = run(argv, out, live)
    except SystemExit as stop:
        return EXIT_USAGE if stop.code else EXIT_OK
    except HaError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK if ended else EXIT_FAILED


def run(
    argv: Sequence[str],
    out: TextIO | None = None,
    live: LiveCib | None = None,
    program: str = "hacli simulate",
) -> bool:
    """As `main`, but raises: SystemExit for usage and help, HaError, OSError.

    False: carried out on paper, the transition stops short of its end although nothing failed.
    """
    options = build_parser(program).parse_args(argv)
    if options.profile:
        profile(options.profile, options.repeat, options.set_datetime, out or sys.stdout)
        return True
    if options.batch:
        from cli.commands.simulate_batch import run_batch

        if run_batch(options.batch, options.out, options.jobs, out or sys.stdout):
            raise InvalidRequest(what="some cases could not be computed", remedy="see the lines above")
        return True
    if options.output_to != "-":
        with Path(options.output_to).open("w", encoding="utf-8") as target:
            return Simulation(options, target, live, argv).run()
    return Simulation(options, out or sys.stdout, live, argv).run()


def effective_time(text: str, cib: Element) -> tuple[int, str]:
    """The time given by -t, else the document's, else now; and the line that says so.

    Raises InvalidRequest.
    """
    if text:
        now_s = instant_s(text)
        if now_s is None:
            raise InvalidRequest(what=f"{text!r} is no time", remedy="write it as 2026-01-31T12:30:00Z")
        return now_s, f"Setting effective cluster time: {text}\n"
    stamped = cib.get("execution-date")
    if is_count(stamped):
        return int(stamped), f"Using the original execution date of: {_time_text(int(stamped))}\n"
    return SystemClock().wall_s(), ""


class Simulation:
    """One run of the command."""

    def __init__(
        self,
        options: argparse.Namespace,
        out: TextIO,
        live: LiveCib | None = None,
        argv: Sequence[str] = (),
    ) -> None:
        self._options, self._out, self._live, self._argv = options, out, live, argv
        options.json = options.json or options.output_as == "json"
        self._xml: list[Element] | None = [] if options.output_as == "xml" and not options.json else None
        self._text = not (options.quiet or options.json or self._xml is not None)
        self._fail: tuple[OperationSpec, ...] = tuple(parse_spec(text) for text in options.op_fail)
        self._failed: set[str] = set()
        self._wanted = Modifications(
            quorum=options.quorum,
            watchdog=options.watchdog,
            nodes_up=tuple(options.node_up),
            nodes_down=tuple(options.node_down),
            nodes_fail=tuple(options.node_fail),
            tickets_grant=tuple(options.ticket_grant),
            tickets_revoke=tuple(options.ticket_revoke),
            tickets_standby=tuple(options.ticket_standby),
            tickets_activate=tuple(options.ticket_activate),
            operations=tuple(parse_spec(text) for text in options.op_inject),
        )

    def run(self) -> bool:
        """Read, pretend, schedule, simulate, print; whether it came to its end. Raises HaError."""
        ended = True
        cib = self._read()
        now_s, banner = effective_time(self._options.set_datetime, cib)
        self._check_names(cib)
        if self._options.verbose:
            self._complain(cib)
        if self._text:
            self._say(banner)
        self._status("Current cluster status", cib, now_s, pending=True)
        if self._wanted.any():
            cib = self._pretend(cib, now_s)
        if self._options.save_input:
            Path(self._options.save_input).write_text(codec.render(cib))
        if self._options.run or self._carries_out() or self._wants_graph():
            ended = self._schedule(cib, now_s, banner)
        elif self._options.save_output:
            Path(self._options.save_output).write_text(codec.render(cib))
        if self._xml is not None:
            request = " ".join(["crm_simulate", *self._argv])
            self._say(codec.render(result_element(request, self._xml)))
        return ended

    def _schedule(self, cib: Element, now_s: int, banner: str) -> bool:
        transition = pipeline.schedule(cib, now_s, sanitized=True)
        if self._options.json:
            self._say(as_json(transition, scores=self._options.show_scores) + "\n")
        elif self._options.show_scores or self._options.show_utilization:
            self._scores(transition)
        self._save_graph(transition)
        if self._text:
            lines = summary_lines(transition.work)
            self._say("\nTransition Summary:\n" + "".join(f"{line}\n" for line in lines))
        if self._xml is not None:
            self._xml.append(actions_element(transition.work))
        return not self._carries_out() or self._simulate(cib, transition, now_s, banner)

    def _check_names(self, cib: Element) -> None:
        """Names in -u and -F that the document does not know: new nodes are said, the rest is refused."""
        known = node_names(cib)
        for name in self._wanted.nodes_up:
            if name not in known:
                print(f"note: {name!r} is a new node ({nearest(name, known, 'nodes')})", file=sys.stderr)
        for spec in self._fail:
            known_primitive(cib, spec.resource)
            known_node(cib, spec.node, also=self._wanted.nodes_up)

    @staticmethod
    def _complain(cib: Element) -> None:
        for problem in verify(cib):
            print(f"{problem.severity.value}: {problem}", file=sys.stderr)

    def _pretend(self, cib: Element, now_s: int) -> Element:
        cib, notes = apply(cib, self._wanted, now_s)
        if self._text:
            lines = "".join(f"  * {one}\n" for one in notes)
            self._say(f"\nPerforming Requested Modifications:\n{lines}")
        if self._xml is not None:
            self._xml.append(modifications_element(notes))
        return cib

    def _carries_out(self) -> bool:
        return bool(self._options.simulate or self._options.in_place or self._fail)

    def _wants_graph(self) -> bool:
        options = self._options
        return bool(
            options.save_graph
            or options.save_dotfile
            or options.svg
            or options.json
            or options.show_scores
            or options.show_utilization
        )

    def _say(self, text: str) -> None:
        self._out.write(text)

    def _read(self) -> Element:
        options = self._options
        if options.xml_pipe or options.xml_file == "-":
            data = unpacked(sys.stdin.buffer.read(), "standard input")
            return checked(codec.parse(data, source="standard input"), "standard input")
        if options.xml_file:
            return read_cib(options.xml_file)
        if self._live is not None:
            return self._live()
        raise InvalidRequest(what="there is no CIB to work on", remedy="give -x FILE, -p or -L")

    def _status(self, title: str, cib: Element, now_s: int, *, pending: bool) -> None:
        if not self._text and self._xml is None:
            return
        work = pipeline.unpack(cib, now_s, sanitized=True)
        options = self._options
        if self._xml is not None:
            tag = "cluster_status" if pending else "revised_cluster_status"
            shown = status_element(
                tag, work, attributes=options.show_attrs, fail_counts=options.show_failcounts
            )
            self._xml.append(shown)
            return
        blocks: list[str] = []
        if pending and work.options.maintenance_mode:
            blocks.append(
                "\n              *** Resource management is DISABLED ***\n"
                "  The cluster will not attempt to start, stop or recover services\n"
            )
        counts = disabled_and_blocked(work) if pending else ""
        if counts:
            blocks.append(f"{counts}\n")
        blocks.append(f"{title}:\n{status_text(work, pending=pending)}")
        if options.show_attrs:
            blocks += filter(None, ["".join(f"{line}\n" for line in attribute_lines(work))])
        if options.show_failcounts:
            blocks.append("".join(f"{line}\n" for line in fail_count_lines(work)))
        self._say("\n".join(blocks))

    def _scores(self, transition: pipeline.Transition) -> None:
        lines = transition.score_lines if self._options.show_scores else ()
        if self._xml is not None:
            self._xml.append(self._placement(transition))
            return
        if self._options.quiet:
            self._say("".join(f"{line}\n" for line in lines))
            return
        both = self._options.show_scores and self._options.show_utilization
        title = "Assignment Scores"
        if both:
            title += " and Utilization Information"
        elif self._options.show_utilization:
            title = "Utilization Information"
        if self._options.show_utilization:
            lines = (*lines, *transition.utilization_lines)
        self._say(f"\n{title}:\n" + "".join(f"  * {line}\n" for line in lines))

    def _placement(self, transition: pipeline.Transition) -> Element:
        scores, utilization = self._options.show_scores, self._options.show_utilization
        tag = "allocations_utilizations" if scores and utilization else "allocations"
        lines = transition.score_lines if scores else ()
        if utilization:
            tag, lines = (tag if scores else "utilizations"), (*lines, *transition.utilization_lines)
        return placement_element(tag, lines)

    def _save_graph(self, transition: pipeline.Transition) -> None:
        if self._options.save_graph:
            Path(self._options.save_graph).write_text(codec.render(to_element(transition.graph)))
        if self._options.save_dotfile:
            from cli.render.dot import dot_text

            Path(self._options.save_dotfile).write_text(
                dot_text(transition.work, every=self._options.all_actions)
            )
        if self._options.svg:
            from cli.render.svg import svg_text

            reasons = {action.id: action.reason for action in transition.work.actions}
            Path(self._options.svg).write_text(svg_text(transition.graph, reasons), encoding="utf-8")

    def _simulate(self, cib: Element, transition: pipeline.Transition, now_s: int, banner: str) -> bool:
        done = execute(
            cib,
            transition.graph,
            now_s,
            stamp_s=max(now_s, SystemClock().wall_s()),
            known=known_names(transition.work),
            failure_of=self._failure,
        )
        if self._text:
            self._say(
                "\nExecuting Cluster Transition:\n" + "".join(f"{_indented(line)}\n" for line in done.lines)
            )
            if not done.complete and not done.failed:
                self._say("Transition failed: terminated\nAn invalid transition was produced\n")
            self._say(f"{banner}\n")
        if self._xml is not None:
            self._xml.append(transition_element(done.notes))
        self._status("Revised Cluster Status", done.cib, now_s, pending=False)
        for spec in self._fail:
            if spec.text not in self._failed:
                what = f"{spec.key} on {spec.node} is not part of the transition: nothing failed"
                print(f"note: {what}", file=sys.stderr)
        for target in (self._options.save_output, self._options.in_place and self._options.xml_file):
            if target:
                Path(target).write_text(codec.render(done.cib))
        return done.complete or done.failed

    def _failure(self, action: GraphAction) -> int | None:
        names = _names(action)
        for spec in self._fail:
            if spec.node == action.node and (spec.key == action.key or spec.key in names):
                self._failed.add(spec.text)
                return spec.rc
        return None


def _names(action: GraphAction) -> set[str]:
    """An anonymous instance's operation goes by the name with the number, and by that without."""
    interval = action.attributes.get("CRM_meta_interval", "0")
    ids = {name for one in action.children if one.tag == "primitive" for name in (one.id, one.get("long-id"))}
    return {f"{name}_{action.operation}_{interval}" for name in ids if name}


def _time_text(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _indented(line: str) -> str:
    return f" {line}" if line.startswith(" *") else line
