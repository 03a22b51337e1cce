"""One run in a process of its own: `python -m benchmarks.scheduler.one_run [--again] [FILE]`.

Reads the CIB as bytes, schedules, writes the graph as bytes; prints what there was to do, a name and a number
a line. Without FILE it only starts, with all that every run needs loaded. With --again a result arrives and
the same process schedules once more, as the running service does: all but that result is what it was.
"""

from __future__ import annotations

import sys
import time

from crm.cib.codec import parse
from crm.cib.model import Element
from crm.scheduler.pipeline import Transition, schedule
from crm.scheduler.readings import Readings
from crm.transition.graph_xml import graph_xml

NOW_S = 1_700_001_000
SIZE_BYTES_MAX = 1 << 30


def history_entries(cib: Element) -> int:
    """How many resources the histories of all nodes tell of."""
    status = cib.child("status")
    sections = [
        state.path("lrm", "lrm_resources") for state in (status.children if status is not None else ())
    ]
    return sum(len(section.children) for section in sections if section is not None)


def with_a_result(cib: Element) -> Element:
    """The CIB a moment later: the last entry of the first history has been run once more."""
    status = cib.child("status")
    assert status is not None
    return cib.with_child(status.with_children((_touched(status.children[0]), *status.children[1:])))


def _touched(item: Element) -> Element:
    if item.tag == "lrm_rsc_op":
        return item.with_attributes(**{"exec-time": "26"})
    for index, child in enumerate(item.children):
        if child.tag in {"lrm", "lrm_resources", "lrm_resource", "lrm_rsc_op"}:
            return item.with_children((*item.children[:index], _touched(child), *item.children[index + 1 :]))
    return item


def run(cib: Element, readings: Readings) -> Transition:
    """Schedule and write the graph."""
    transition = schedule(cib, NOW_S, readings=readings)
    graph_xml(transition.graph)
    return transition


def main(arguments: list[str]) -> int:
    """0; what was done is printed."""
    again = arguments[:1] == ["--again"]
    files = arguments[1:] if again else arguments
    if not files:
        return 0
    begun = time.process_time()
    with open(files[0], "rb") as file:  # no pathlib, which would cost a short run a tenth of its time
        cib = parse(file.read(), size_bytes_max=SIZE_BYTES_MAX)
    readings = Readings()
    transition = run(cib, readings)
    worked_s = time.process_time() - begun
    told: dict[str, float] = {
        "actions": len(transition.work.actions),
        "written": len(transition.graph.synapses),
        "history": history_entries(cib),
    }
    # Of a short run its own clock tells more than a difference of two processes.
    told["work_s"] = worked_s
    if again:
        del transition
        later = with_a_result(cib)
        begun = time.process_time()
        run(later, readings)
        told["again_s"] = time.process_time() - begun
    for name, value in told.items():  # no json: its loading would be measured, too
        print(name, value)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
