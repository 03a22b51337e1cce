"""The controller, by scenarios."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from crm.controller import core
from crm.transition.core import Outcome
from hacluster.vocabulary.ids import Term
from tests.datadriven import Command, run_file

SCENARIOS = Path(__file__).parents[3] / "scenarios" / "controller"


class World:
    def __init__(self) -> None:
        self.controller = core.Controller(core.Timings())

    def handle(self, command: Command) -> str:
        now_ns = int(command.options.get("at", "0")) * 1_000_000
        effects = self.controller.handle(self.event(command), now_ns)
        lines = [self.text(effect) for effect in effects]
        return "\n".join([*lines, f"[{self.controller.phase}]"])

    def event(self, command: Command) -> core.Event:
        words, options = command.words, command.options
        match command.name:
            case "became-dc":
                return core.BecameDc(Term(int(options["term"]), 1), words)
            case "stopped-being-dc":
                return core.StoppedBeingDc(options["why"])
            case "integrated":
                return core.Integrated(words[0])
            case "disconnected":
                return core.Disconnected(words[0], "gone")
            case "changed":
                return core.Changed(options["why"])
            case "planned":
                return core.Planned(int(options["actions"]), int(options.get("recheck", "0")))
            case "plan-failed":
                return core.PlanFailed(options["why"])
            case "ended":
                return core.TransitionEnded(Outcome(words[0]), options.get("why", ""), "retry" in words)
            case "timer":
                return core.TimerFired(words[0])
            case _:
                raise AssertionError(f"{command.place}: unknown command {command.name}")

    def text(self, effect: core.Effect) -> str:
        if isinstance(effect, core.SetTimer):
            return f"timer {effect.key} at={effect.at_ns // 1_000_000}"
        name = re.sub(r"(?<!^)([A-Z])", r" \1", type(effect).__name__).lower()
        return " ".join([name, *(str(value) for value in dataclasses.asdict(effect).values())]).rstrip()


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.txt")), ids=lambda path: path.stem)
def test_controller(path: Path, rewrite: bool) -> None:
    run_file(path, World().handle, rewrite=rewrite)


def test_nothing_happens_at_a_node_that_is_not_dc() -> None:
    controller = core.Controller(core.Timings())
    for event in (
        core.Changed("x"),
        core.Integrated("a"),
        core.Planned(1),
        core.TimerFired(core.RECHECK),
        core.TransitionEnded(Outcome.COMPLETE, ""),
        core.StoppedBeingDc("x"),
    ):
        assert controller.handle(event, 0) == []
