"""`hacli simulate`: what would happen. Takes crm_simulate's options and prints in its form."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

from cli.render.cluster_status import disabled_and_blocked, status_text
from cli.render.dot import dot_text
from cli.render.svg import svg_text
from cli.render.transition_json import as_json
from cli.render.transition_summary import summary_lines
from crm.cib import codec
from crm.cib.model import Element
from crm.scheduler import pipeline
from crm.scheduler.values import instant_s
from crm.simulation.execute import execute, known_names
from crm.simulation.inject import Modifications, OperationSpec, apply, parse_spec
from crm.transition.graph import GraphAction, to_element
from hacluster.clock import SystemClock
from hacluster.errors import HaError, InvalidRequest

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

LiveCib = Callable[[], Element]
"""Fetches the CIB of the running cluster."""


def build_parser() -> argparse.ArgumentParser:
    """All options; those of crm_simulate keep their letters."""
    parser = argparse.ArgumentParser(
        prog="hacli simulate",
        description="Show what the cluster would do, without doing it.",
        epilog="An OPSPEC is RESOURCE_TASK_INTERVALms@NODE=RC, for example web_monitor_10000@node1=7.",
    )
    source = parser.add_argument_group("where the CIB comes from")
    source.add_argument("-x", "--xml-file", metavar="FILE", help="a CIB in a file")
    source.add_argument("-p", "--xml-pipe", action="store_true", help="a CIB on standard input")
    source.add_argument("-L", "--live-check", action="store_true", help="the running cluster's CIB")
    source.add_argument("--batch", metavar="DIR", help="every DIR/xml/NAME.xml that DIR/index.json lists")
    source.add_argument("--out", metavar="OUT", help="with --batch: where exp, scores and summary go")
    source.add_argument("--jobs", type=int, default=0, help="with --batch: processes (default: one a CPU)")
    run = parser.add_argument_group("what to do")
    run.add_argument("-R", "--run", action="store_true", help="compute the transition")
    run.add_argument("-S", "--simulate", action="store_true", help="and carry it out on paper")
    run.add_argument("-X", "--in-place", action="store_true", help="and store the result in the input file")
    run.add_argument("-s", "--show-scores", action="store_true", help="show allocation scores")
    run.add_argument("-U", "--show-utilization", action="store_true", help="show utilization")
    run.add_argument("--json", action="store_true", help="print the transition as JSON, and nothing else")
    run.add_argument("-Q", "--quiet", action="store_true", help="only what was asked for")
    pretend = parser.add_argument_group("what to pretend")
    pretend.add_argument("-t", "--set-datetime", metavar="TIME", help="the time (ISO 8601)")
    pretend.add_argument("-q", "--quorum", default="", metavar="BOOL")
    pretend.add_argument("-w", "--watchdog", default="", metavar="BOOL")
    for letters, what in (
        (("-u", "--node-up"), "NODE"),
        (("-d", "--node-down"), "NODE"),
        (("-f", "--node-fail"), "NODE"),
        (("-i", "--op-inject"), "OPSPEC"),
        (("-F", "--op-fail"), "OPSPEC"),
        (("-g", "--ticket-grant"), "TICKET"),
        (("-r", "--ticket-revoke"), "TICKET"),
        (("-b", "--ticket-standby"), "TICKET"),
        (("-e", "--ticket-activate"), "TICKET"),
    ):
        pretend.add_argument(*letters, metavar=what, action="append", default=[])
    save = parser.add_argument_group("what to save")
    save.add_argument("-I", "--save-input", metavar="FILE", help="the CIB after what was pretended")
    save.add_argument("-O", "--save-output", metavar="FILE", help="the CIB after the simulation")
    save.add_argument("-G", "--save-graph", metavar="FILE", help="the transition graph as XML")
    save.add_argument("--svg", metavar="FILE", help="the transition graph as a picture for a browser")
    save.add_argument("-D", "--save-dotfile", metavar="FILE", help="the transition graph for Graphviz")
    return parser


def main(argv: Sequence[str], out: TextIO | None = None, live: LiveCib | None = None) -> int:
    """Run the command; errors go to standard error. The exit code is 0, 1 (refused) or 2 (usage)."""
    parser = build_parser()
    try:
        options = parser.parse_args(argv)
    except SystemExit as stop:
        return EXIT_USAGE if stop.code else EXIT_OK
    try:
        if options.batch:
            from cli.commands.simulate_batch import run_batch

            return run_batch(options.batch, options.out, options.jobs, out or sys.stdout)
        Simulation(options, out or sys.stdout, live).run()
    except HaError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


class Simulation:
    """One run of the command."""

    def __init__(self, options: argparse.Namespace, out: TextIO, live: LiveCib | None = None) -> None:
        self._options, self._out, self._live = options, out, live
        options.quiet = options.quiet or options.json
        self._fail: tuple[OperationSpec, ...] = tuple(parse_spec(text) for text in options.op_fail)
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

    def run(self) -> None:
        """Read, pretend, schedule, simulate, print. Raises HaError."""
        cib = self._read()
        now_s, banner = self._time(cib)
        steps = self._options.run or self._options.simulate or self._options.in_place or self._wants_graph()
        if not self._options.quiet:
            self._say(banner)
            self._status("Current cluster status", cib, now_s, pending=True)
        if self._wanted.any():
            cib, lines = apply(cib, self._wanted, now_s)
            if not self._options.quiet:
                self._say("\nPerforming Requested Modifications:\n" + "".join(f"  * {x}\n" for x in lines))
        if self._options.save_input:
            Path(self._options.save_input).write_text(codec.render(cib))
        if not steps:
            return
        transition = pipeline.schedule(cib, now_s, sanitized=True)
        if self._options.json:
            self._say(as_json(transition, scores=self._options.show_scores) + "\n")
        elif self._options.show_scores or self._options.show_utilization:
            self._scores(transition)
        self._save_graph(transition)
        if not self._options.quiet:
            lines = summary_lines(transition.work)
            self._say("\nTransition Summary:\n" + "".join(f"{line}\n" for line in lines))
        if self._options.simulate or self._options.in_place:
            self._simulate(cib, transition, now_s, banner)

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
            return _checked(codec.parse(sys.stdin.buffer.read(), source="standard input"), "standard input")
        if options.xml_file:
            data = Path(options.xml_file).read_bytes()
            return _checked(codec.parse(data, source=options.xml_file), options.xml_file)
        if self._live is not None:
            return self._live()
        raise InvalidRequest(what="there is no CIB to work on", remedy="give -x FILE, -p or -L")

    def _time(self, cib: Element) -> tuple[int, str]:
        text = self._options.set_datetime
        if text:
            now_s = instant_s(text)
            if now_s is None:
                raise InvalidRequest(what=f"{text!r} is no time", remedy="write it as 2026-01-31T12:30:00Z")
            return now_s, f"Setting effective cluster time: {text}\n"
        stamped = cib.get("execution-date")
        if stamped.isdigit():
            return int(stamped), f"Using the original execution date of: {_time_text(int(stamped))}\n"
        return SystemClock().wall_s(), ""

    def _status(self, title: str, cib: Element, now_s: int, *, pending: bool) -> None:
        work = pipeline.unpack(cib, now_s, sanitized=True)
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
        self._say("\n".join(blocks))

    def _scores(self, transition: pipeline.Transition) -> None:
        lines = transition.score_lines if self._options.show_scores else ()
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

    def _save_graph(self, transition: pipeline.Transition) -> None:
        if self._options.save_graph:
            Path(self._options.save_graph).write_text(codec.render(to_element(transition.graph)))
        if self._options.save_dotfile:
            Path(self._options.save_dotfile).write_text(dot_text(transition.graph))
        if self._options.svg:
            reasons = {action.id: action.reason for action in transition.work.actions}
            Path(self._options.svg).write_text(svg_text(transition.graph, reasons), encoding="utf-8")

    def _simulate(self, cib: Element, transition: pipeline.Transition, now_s: int, banner: str) -> None:
        done = execute(
            cib,
            transition.graph,
            now_s,
            stamp_s=max(now_s, SystemClock().wall_s()),
            known=known_names(transition.work),
            failure_of=self._failure,
        )
        if not self._options.quiet:
            self._say(
                "\nExecuting Cluster Transition:\n" + "".join(f"{_indented(line)}\n" for line in done.lines)
            )
            if not done.complete and not done.failed:
                self._say("Transition failed: terminated\nAn invalid transition was produced\n")
            self._say(f"{banner}\n")
            self._status("Revised Cluster Status", done.cib, now_s, pending=False)
        for target in (self._options.save_output, self._options.in_place and self._options.xml_file):
            if target:
                Path(target).write_text(codec.render(done.cib))

    def _failure(self, action: GraphAction) -> int | None:
        for spec in self._fail:
            if spec.key == action.key and spec.node == action.node:
                return spec.rc
        return None


def _checked(root: Element, source: str) -> Element:
    if root.tag != "cib":
        raise InvalidRequest(what=f"{source} holds <{root.tag}>, no <cib>", remedy="give a whole CIB")
    return root


def _time_text(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _indented(line: str) -> str:
    return f" {line}" if line.startswith(" *") else line
