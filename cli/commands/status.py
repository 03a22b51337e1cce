"""`hacli status`: the state of the cluster, once or again and again."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cli.context import EXIT_OK, OUTPUTS, Context, UsageError
from cli.quick_status import has_left, missing_daemons
from cli.quick_status import status as quick_status
from cli.render.cluster_text import Summary, as_data, html, one_line, text
from cli.render.cluster_view import ClusterView
from crm.cib.model import Element
from hacluster.errors import HaError

if TYPE_CHECKING:
    from hacluster.v1 import crm_pb2, membership_pb2

WATCH_S_DEFAULT: Final = 2.0
_USAGE: Final = (
    "status [html|simple|xml] [bynode] [brief] [detail] [ops] [timing] [failcounts] [verbose] [quiet]"
    " [noheaders] [--links] [--watch [SECONDS]] [--json]"
)
_CLOCKS: Final = (
    r"(?m)^  \* Last updated: .*\n|^\d\d:\d\d:\d\d (?=\S)"
    r"|, from \d+ s ago$|(?<=^  \* Current DC: NONE) for \d+ s"
    r"|(?<=^  \* The DC was last heard) [\d.]+ s ago| *\"age_ms\": \d+,?| age_ms=\"\d+\""
)
# `inactive` and `tickets`: these are always shown.
_WORDS: Final = (
    "bynode",
    "inactive",
    "ops",
    "timing",
    "failcounts",
    "verbose",
    "quiet",
    "noheaders",
    "detail",
    "brief",
    "tickets",
)


def show(context: Context, words: Sequence[str]) -> int:
    """`status [html|simple|xml] [WORD…] [--links] [--watch [SECONDS]] [--json]`. Raises as the daemon."""
    links = watch = False
    form = ""
    chosen: list[str] = []
    every_s = WATCH_S_DEFAULT
    rest = list(words)
    while rest:
        word = rest.pop(0)
        match word:
            case "--json" | "json":
                context.options.json = True
            case "html" | "simple":
                form = word
            case "xml":
                context.options.output = "xml"
            case "--output" if rest and rest[0] in OUTPUTS:
                context.options.output = rest.pop(0)
            case "--output=json" | "--output=xml" | "--output=text":
                context.options.output = word.partition("=")[2]
            case "--links" | "links":
                links = True
            case "--watch" | "watch":
                watch = True
                if rest and rest[0].replace(".", "", 1).isdecimal():
                    every_s = max(0.2, float(rest.pop(0)))
            case _ if word not in _WORDS:
                raise UsageError(what=f"{word!r} is not understood{_hint(word)}", usage=_USAGE)
            case _:
                chosen.append(word)
    if watch:
        return _watch(context, every_s, chosen, links=links)
    if form and not links:
        context.print(_in_form(context, form, chosen))
        return EXIT_OK
    context.print(_links(context) if links else _once(context, chosen))
    return EXIT_OK


def _painted(context: Context, text: str) -> str:
    """In colours, where they are wanted; nothing is loaded where that is plainly not so."""
    if not (context.out.isatty() or context.options.display):
        return text
    from cli import colour

    return colour.status(text) if colour.wanted(context, context.out) else text


def _hint(word: str) -> str:
    import difflib

    close = difflib.get_close_matches(word, (*_WORDS, "html", "simple", "xml", "--links", "--watch"), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _in_form(context: Context, form: str, chosen: Sequence[str]) -> str:
    """As a page for a browser, or as one line for a monitoring system."""
    cib, summary = _state(context)
    shown = ClusterView(cib, int(time.time()))
    return html(shown, summary, chosen) if form == "html" else one_line(shown, summary)


def _once(context: Context, chosen: Sequence[str]) -> str:
    cib, summary = _state(context)
    shown = ClusterView(cib, int(time.time()))
    if context.options.structured:
        from cli.output import document

        return document("status", as_data(shown, summary), context.options.output)
    return _painted(context, text(shown, summary, chosen))


def _state(context: Context) -> tuple[Element, Summary]:
    """The cheap way when it is open to us, else the API's."""
    if context.offline:
        return context.source().read().cib, Summary()
    found = quick_status(context.paths.agent_socket)
    if found is not None:
        return found
    from crm.cib import codec  # these cost start-up time

    status = context.client.status()
    if status.cib_xml:
        return codec.parse(status.cib_xml, source="the cluster's CIB"), summary_of(status)
    return context.source().read().cib, summary_of(status)


def summary_of(status: crm_pb2.ClusterStatus) -> Summary:
    """The daemon's answer as the renderer takes it."""
    transition = status.transition
    nodes = [{"name": one.name, "state": one.state, "crm": one.crm, "lrm": one.lrm} for one in status.nodes]
    return Summary(
        cluster_name=status.cluster_name,
        node=status.node,
        dc=status.dc,
        term=f"{status.term.counter}.{status.term.node_id}" if status.dc else "",
        view=f"{status.view.counter}.{status.view.coordinator}",
        quorate=status.quorate,
        waiting_for_all=status.waiting_for_all,
        basis=status.basis,
        live=True,
        age_ms=status.age_ms,
        now_s=int(time.time()),
        last_change_s=status.last_change_s,
        last_change_by=status.last_change_by,
        transition_state=transition.state,
        transition_number=transition.number,
        transition_done=transition.done,
        transition_actions=transition.actions,
        running=tuple(transition.running),
        waits=tuple(transition.waits),
        notices=tuple(status.notices),
        daemons=missing_daemons(nodes),
        stopped=has_left(status.node, nodes),
    )


def _watch(context: Context, every_s: float, chosen: Sequence[str], *, links: bool) -> int:
    """Again and again until ^C; the screen is cleared on a terminal only. A cluster may go and return."""

    def interrupted(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt  # at once: asyncio's own way asks a call to end, which can answer instead

    clear = "\x1b[H\x1b[2J" if context.out.isatty() else ""
    shown = ""
    before = signal.signal(signal.SIGINT, interrupted)
    try:
        while True:
            try:
                now = _links(context) if links else _once(context, chosen)
            except HaError as error:
                now = f"{time.strftime('%T')} {error}"
            said = now if clear else without_clocks(now)
            if said != shown:
                context.print(clear + now)
                context.out.flush()
                shown = said
            time.sleep(every_s)
    except KeyboardInterrupt:
        return EXIT_OK
    finally:
        signal.signal(signal.SIGINT, before)


def without_clocks(shown: str) -> str:
    """What `status` printed, without what time alone changes: for who reads it from a pipe or a file."""
    return re.sub(_CLOCKS, "", shown)


def _links(context: Context) -> str:
    status = context.client.links()
    if context.options.json:
        from google.protobuf.json_format import MessageToJson

        return str(
            MessageToJson(status, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        )
    return "\n".join(_link_lines(status))


def _link_lines(status: membership_pb2.MessagingStatus) -> list[str]:
    lines = [f"Links of {status.node} (incarnation {status.incarnation}):"]
    for one in status.links:
        percent = 100 * one.lost / one.expected if one.expected else 0.0
        rtt = f", round trip {one.rtt_min_us / 1000:.2f} ms" if one.rtt_min_us else ""
        lines.append(
            f"  * link {one.link} ({one.kind}) to {one.peer} {one.address}: {one.state}, "
            f"received {one.received}, lost {one.lost} ({percent:.1f} %), duplicates {one.duplicates}, "
            f"out of order {one.out_of_order}, longest gap {one.gap_max_us / 1000:.0f} ms{rtt}"
        )
    lines += [f"  * ping {ping.target}: {'answers' if ping.alive else 'SILENT'}" for ping in status.pings]
    if status.HasField("witness"):
        witness = status.witness
        word = (
            "its votes count" if witness.granted else f"its votes do not count ({witness.reason or 'silent'})"
        )
        lines.append(f"  * witness: {word}, last answer {witness.silent_ms} ms ago")
    lines += ["", "Dropped packets:"]
    dropped = {name: count for name, count in sorted(status.dropped.items()) if count}
    lines += [f"  * {name}: {count}" for name, count in dropped.items()] or ["  * none"]
    lines += [
        "",
        f"keepalive {status.keepalive_ms} ms, deadtime {status.deadtime_ms} ms"
        + (" (auto)" if status.deadtime_auto else "")
        + (f", advised deadtime {status.advised_deadtime_ms} ms" if status.advised_deadtime_ms else ""),
        f"longest stall of ha-messaging {status.loop_lag_max_us / 1000:.1f} ms, "
        f"health {status.health_score} (0 is well)",
    ]
    return lines
