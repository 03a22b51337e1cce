"""`python -m crm.scheduling_worker [MODULE]`: the scheduler in a process of its own.

`crm.scheduling` starts and kills it. MODULE has the function schedule(cib, now_s); tests name their own.
Requests come over file descriptor 3; input and graph are written to disk after the answer. Nothing here
imports gRPC. The end of the descriptor ends the process.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol, cast

from crm.cib.codec import canonical, parse
from crm.cib.model import Element
from crm.cib.sharing import applied
from crm.scheduler.readings import Readings
from crm.scheduling_files import CHANGES, Channel, finish, keep
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


class Worker:
    """Schedules what it is sent; of a CIB that it had a moment ago only what is new is sent and read."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        if "readings" in inspect.signature(schedule).parameters:
            self._schedule = partial(cast(Callable[..., Transition], schedule), readings=Readings())
        self._cib: Element | None = None

    def answer(self, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        """Schedule; an exception of the scheduler becomes an answer, with its traceback for the log."""
        begun = time.perf_counter()
        try:
            self._cib = self._read(header, body)
            transition = self._schedule(self._cib, int(header["now_s"]))
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}, b""
        graph = graph_xml(transition.graph)
        ms = round((time.perf_counter() - begun) * 1_000)
        return {"error": "", "actions": len(transition.graph.actions()), "ms": ms}, graph

    def _read(self, header: dict[str, Any], body: bytes) -> Element:
        if header.get("form") != CHANGES:
            return parse(body, source="scheduler input")
        assert self._cib is not None, "changes of nothing"
        return applied(self._cib, body)

    def input(self) -> bytes:
        """The whole CIB of the last answer."""
        return canonical(self._cib) if self._cib is not None else b""


def main(module: str) -> int:
    """Answer until the other side closes."""
    worker = Worker(cast(Schedule, importlib.import_module(module).schedule))
    channel = Channel(socket.socket(fileno=DESCRIPTOR))
    reply, _ = worker.answer({"now_s": 1}, _WARM_UP)
    assert not reply["error"], reply["error"]
    channel.send({"ready": True})
    while (request := channel.receive()) is not None:
        header, body = request
        try:
            if header["task"] == "finish":
                finish(header)
                continue
            reply, graph = worker.answer(header, body)
            channel.send(reply, graph)
            if header.get("form") == CHANGES:
                body = worker.input()
            keep(header, body, reply, graph)
            gc.collect()  # a run's actions and resources refer to each other
        except BrokenPipeError:
            break
        except OSError as error:  # a full disk must not keep the cluster from acting
            print(f"crm.scheduling_worker: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    os.set_inheritable(DESCRIPTOR, False)
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else SCHEDULER))
