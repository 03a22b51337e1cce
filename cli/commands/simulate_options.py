"""The options of `hacli simulate`: those of Pacemaker's crm_simulate with its letters, and a few more."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Final

from hacluster import VERSION
from hacluster.digits import is_count

EPILOG: Final = """operation specification:
  An OPSPEC is RESOURCE_TASK_INTERVALms@NODE=RC, for example web_monitor_10000@node1=7: the monitor of web
  that runs every 10 seconds found on node1 that it is not running. RC is an OCF return code.

examples:
  a monitor found web stopped on node1, and the stop that follows fails:
    hacli simulate -S -i web_monitor_10000@node1=7 -F web_stop_0@node1=1 -O after.xml
  what the cluster would do then:
    hacli simulate -S -x after.xml
"""

_BATCH_HELP: Final = "every DIR/xml/NAME.xml that DIR/index.json lists, in parallel"


class _GroupHelp(argparse.Action):
    """Prints one group of options and ends."""

    def __init__(self, option_strings: Sequence[str], dest: str, **words: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help=words.get("help"))
        self._title = words.get("const")

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        formatter = parser._get_formatter()
        for group in parser._action_groups:
            if group.title == self._title:
                formatter.start_section(group.title)
                formatter.add_arguments(group._group_actions)
                formatter.end_section()
        sys.stdout.write(formatter.format_help())
        parser.exit(0)


def build_parser(program: str = "hacli simulate") -> argparse.ArgumentParser:
    """All options; those of crm_simulate keep their letters and names."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Show what the cluster would do, without doing it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    _help(parser)
    _output(parser.add_argument_group("output"))
    _operations(parser.add_argument_group("operations"))
    _events(parser.add_argument_group("synthetic cluster events"))
    _artifacts(parser.add_argument_group("artifacts"))
    _sources(parser.add_argument_group("data source"))
    return parser


def _help(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("help")
    group.add_argument("-h", "--help", "--help-all", action="help", help="show all options and end")
    for name, title in (
        ("output", "output"),
        ("operations", "operations"),
        ("synthetic", "synthetic cluster events"),
        ("artifact", "artifacts"),
        ("source", "data source"),
    ):
        group.add_argument(
            f"--help-{name}", action=_GroupHelp, const=title, help=f"show the options: {title}"
        )
    group.add_argument("-$", "--version", action="version", version=version_text(), help="show the version")


def version_text() -> str:
    """Our name and version."""
    return f"hacluster {VERSION}"


def _output(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--output-as",
        choices=("text", "xml", "json"),
        default="text",
        metavar="FORMAT",
        help="text (default), xml (crm_simulate's), or json (the transition)",
    )
    group.add_argument("--output-to", metavar="FILE", default="-", help='where to, "-" for standard output')
    group.add_argument("--text-fancy", action="store_true", help="text with headings, as it always is here")
    group.add_argument("--json", action="store_true", help="the same as --output-as=json")
    group.add_argument("-Q", "--quiet", action="store_true", help="only what was asked for")
    group.add_argument(
        "-V", "--verbose", action="count", default=0, help="say what is wrong with the CIB (standard error)"
    )


def _operations(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-R", "--run", action="store_true", help="compute the transition")
    group.add_argument("-S", "--simulate", action="store_true", help="and carry it out on paper")
    group.add_argument("-X", "--in-place", action="store_true", help="and store the result in the input file")
    group.add_argument("-A", "--show-attrs", action="store_true", help="show node attributes")
    group.add_argument("-c", "--show-failcounts", action="store_true", help="show fail counts and failures")
    group.add_argument("-s", "--show-scores", action="store_true", help="show allocation scores")
    group.add_argument("-U", "--show-utilization", action="store_true", help="show utilization")
    group.add_argument("-P", "--profile", metavar="DIR", help="schedule every CIB in a folder, and time it")
    group.add_argument("-N", "--repeat", type=_count, default=1, metavar="N", help="with -P: N times each")
    group.add_argument("--batch", metavar="DIR", help=_BATCH_HELP)
    group.add_argument("--out", metavar="OUT", help="with --batch: where exp, scores and summary go")
    group.add_argument("--jobs", type=int, default=0, help="with --batch: processes (default: one a CPU)")


def _count(text: str) -> int:
    if not is_count(text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of times: 1 or more")
    return int(text)


def _events(group: argparse._ArgumentGroup) -> None:
    for short, long, metavar, what in (
        ("-u", "--node-up", "NODE", "a node comes online"),
        ("-d", "--node-down", "NODE", "a node leaves as it should"),
        ("-f", "--node-fail", "NODE", "a node vanishes"),
        ("-i", "--op-inject", "OPSPEC", "an operation has had this result"),
        ("-F", "--op-fail", "OPSPEC", "an operation of the transition will have this result"),
        ("-g", "--ticket-grant", "TICKET", "a ticket is granted"),
        ("-r", "--ticket-revoke", "TICKET", "a ticket is revoked"),
        ("-b", "--ticket-standby", "TICKET", "a ticket is put in standby"),
        ("-e", "--ticket-activate", "TICKET", "a ticket is taken out of standby"),
    ):
        group.add_argument(short, long, metavar=metavar, action="append", default=[], help=what)
    group.add_argument("-t", "--set-datetime", metavar="TIME", help="the time (ISO 8601)")
    group.add_argument("-q", "--quorum", default="", metavar="BOOL", help="whether there is quorum")
    group.add_argument("-w", "--watchdog", default="", metavar="BOOL", help="whether there is a watchdog")


def _artifacts(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-I", "--save-input", metavar="FILE", help="the CIB after what was pretended")
    group.add_argument("-O", "--save-output", metavar="FILE", help="the CIB after the simulation")
    group.add_argument("-G", "--save-graph", metavar="FILE", help="the transition graph as XML")
    group.add_argument("-D", "--save-dotfile", metavar="FILE", help="the transition graph for Graphviz")
    group.add_argument("-a", "--all-actions", action="store_true", help="with -D: also what need not be done")
    group.add_argument("--svg", metavar="FILE", help="the transition graph as a picture for a browser")


def _sources(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-L", "--live-check", action="store_true", help="the running cluster's CIB (default)")
    group.add_argument("-x", "--xml-file", metavar="FILE", help="a CIB in a file")
    group.add_argument("-p", "--xml-pipe", action="store_true", help="a CIB on standard input")
