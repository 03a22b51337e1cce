"""A scheduler for tests of the worker: the primitive "hang" hangs it, "raise" makes it fail."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

from crm.cib.model import Element
from crm.transition.graph import ActionKind, GraphAction, Synapse, TransitionGraph


@dataclass(frozen=True, slots=True)
class Transition:
    graph: TransitionGraph


def schedule(cib: Element, now_s: int) -> Transition:
    names = [item.id for item in cib.walk() if item.tag == "primitive"]
    if "hang" in names:
        time.sleep(600)
    if "raise" in names:
        raise ValueError("no such stage")
    if "die" in names:
        os.kill(os.getpid(), signal.SIGKILL)
    actions = [
        GraphAction(id=n, kind=ActionKind.PSEUDO, xml={"operation": name, "operation_key": f"{name}_{now_s}"})
        for n, name in enumerate(names)
        if name != "r"
    ]
    synapses = tuple(Synapse(id=action.id, actions=(action,)) for action in actions)
    return Transition(TransitionGraph(synapses=synapses, xml={"cluster-delay": "60s"}))
