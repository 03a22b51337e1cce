"""`python -m crm.scheduling_worker [MODULE]`: the scheduler in a process of its own.

`crm.scheduling` starts and kills it. MODULE has the function schedule(cib, now_s); tests name their own.
Requests come over file descriptor 3; input and graph are written to disk after the answer. Nothing here
imports gRPC. The end of the descriptor ends the process.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from crm.cib.codec import parse
from crm.cib.model import Element
from crm.scheduling_files import Channel, finish, keep
from crm.transition.graph import TransitionGraph
from crm.transition.graph_xml import graph_xml

DESCRIPTOR: Final = 3
SCHEDULER: Final = "crm.scheduler.pipeline"
_WARM_UP: Final = b"""<cib have-quorum="1"><configuration><crm_config/><nodes><node id="1" uname="a"/></nodes>
<resources><primitive id="r" class="ocf" provider="p" type="t"><operations><op id="o" name="monitor"
interval="10s"/></operations></primitive></resources><constraints/></configuration><status><node_state id="1"
uname="a" in_ccm="1" crmd="1" join="member" expected="member"/></status></cib>"""


class Transition(Protocol):
    """What the scheduler returns, as far as it is needed here."""

    @property
    def graph(self) -> TransitionGraph:
        """What is to be done."""
        ...


Schedule = Callable[[Element, int], Transition]


def answer(schedule: Schedule, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    """Schedule; an exception of the scheduler becomes an answer, with its traceback for the log."""
    begun = time.perf_counter()
    try:
        transition = schedule(parse(body, source="scheduler input"), int(header["now_s"]))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}, b""
    graph = graph_xml(transition.graph)
    ms = round((time.perf_counter() - begun) * 1_000)
    return {"error": "", "actions": len(transition.graph.actions()), "ms": ms}, graph


def main(module: str) -> int:
    """Answer until the other side closes."""
    schedule = cast(Schedule, importlib.import_module(module).schedule)
    channel = Channel(socket.socket(fileno=DESCRIPTOR))
    schedule(parse(_WARM_UP), 1)
    channel.send({"ready": True})
    while (request := channel.receive()) is not None:
        header, body = request
        try:
            if header["task"] == "finish":
                finish(header)
                continue
            reply, graph = answer(schedule, header, body)
            channel.send(reply, graph)
            keep(header, body, reply, graph)
        except BrokenPipeError:
            break
        except OSError as error:  # a full disk must not keep the cluster from acting
            print(f"crm.scheduling_worker: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    os.set_inheritable(DESCRIPTOR, False)
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else SCHEDULER))
