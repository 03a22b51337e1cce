"""The queue against tests/scenarios/lrm/*.txt: requests, time and ends of agents in; what it orders out.

Commands (all take at=MS, else the time stays): execute RESOURCE ACTION [id=T.A] [interval= delay= within=
view= term= boot=old without-quorum]; accept, cancel, forget; authority [view= quorate=no lease=MS] or none;
ended CALL[.RUN] rc= [status=] [unkillable]; stuck; vanished; tick; restart (what a new ha-lrm does).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hacluster.vocabulary.ids import BootToken, ResourceId, Term, ViewId
from hacluster.vocabulary.operation import ExecutionStatus, OperationResult
from lrm.journal.codec import decode, encode
from lrm.journal.model import Ledger
from lrm.queue.core import Queue
from lrm.queue.events import (
    Accept,
    Answer,
    Append,
    AuthorityChanged,
    Begin,
    Cancel,
    CancelAnswer,
    Effect,
    Ended,
    Event,
    Forget,
    KillRun,
    Note,
    Publish,
    PublishForgotten,
    Refuse,
    RunId,
    Stuck,
    Tick,
    Vanished,
)
from tests.datadriven import Command, run_file
from tests.unit.lrm.queue.world import BOOT, MS, VIEW, a_queue, an_authority, an_execute, an_operation

SCENARIOS = Path(__file__).parents[4] / "tests/scenarios/lrm"


class World:
    def __init__(self) -> None:
        self.queue = a_queue()
        self.now_ms = 0
        self.lines: list[bytes] = []
        self.actions = 0

    def handle(self, command: Command) -> str:
        self.now_ms = int(command.options.get("at", self.now_ms))
        if command.name == "queue":
            limits = {name: int(value) for name, value in command.options.items() if name != "at"}
            self.queue = a_queue(None, **limits)
            return ""
        if command.name == "restart":
            ledger = Ledger()
            for line in self.lines:
                ledger.apply(decode(line))
            self.queue = Queue(ledger, node=self.queue._node, boot_token=BOOT, limits=self.queue._limits)
            return self.told(self.queue.restore(self.now_ms * MS))
        if command.name == "history":
            return "\n".join(map(shown, self.queue.ledger.results()))
        return self.told(self.queue.handle(self.event(command), self.now_ms * MS))

    def event(self, command: Command) -> Event:
        words, options = command.words, command.options
        term = Term(int(options.get("term", "1")), 1)
        match command.name:
            case "execute":
                return self.execute(command)
            case "accept":
                return Accept(term=term)
            case "cancel":
                return Cancel(
                    term=term,
                    resource=ResourceId(words[0]),
                    action=words[1],
                    interval_ms=int(options["interval"]),
                )
            case "forget":
                action = words[1] if len(words) > 1 and words[1] != "failures" else ""
                return Forget(
                    term=term,
                    resource=ResourceId(words[0]),
                    action=action,
                    interval_ms=int(options.get("interval", "0")),
                    failures_only="failures" in words,
                )
            case "authority":
                if "none" in words:
                    return AuthorityChanged(None)
                counter, coordinator = map(int, options.get("view", "5.1").split("."))
                return AuthorityChanged(
                    an_authority(
                        view=ViewId(counter, coordinator),
                        quorate=options.get("quorate", "yes") == "yes",
                        lease_end_ms=int(options.get("lease", "1000000000")),
                    )
                )
            case "ended":
                call, _, run = words[0].partition(".")
                return Ended(
                    run=RunId(int(call), int(run or "0")),
                    status=ExecutionStatus[options.get("status", "done").upper()],
                    rc=int(options["rc"]),
                    unkillable="unkillable" in words,
                )
            case "stuck":
                return Stuck(ResourceId(words[0]))
            case "vanished":
                return Vanished(ResourceId(words[0]))
            case "tick":
                return Tick()
            case other:
                raise AssertionError(f"{command.place}: no command {other}")

    def execute(self, command: Command) -> Event:
        options = command.options
        self.actions += 1
        transition, _, action = options.get("id", f"1.{self.actions}").partition(".")
        counter, coordinator = map(int, options.get("view", str(VIEW)).split("."))
        return an_execute(
            an_operation(
                command.words[0],
                command.words[1],
                interval_ms=int(options.get("interval", "0")),
                start_delay_ms=int(options.get("delay", "0")),
                start_within_ms=int(options.get("within", "5000")),
            ),
            term=int(options.get("term", "1")),
            transition=int(transition),
            action=int(action),
            view=ViewId(counter, coordinator),
            boot=BootToken("old") if options.get("boot") == "old" else BOOT,
            without_quorum="without-quorum" in command.words,
        )

    def told(self, effects: list[Effect]) -> str:
        for effect in effects:
            if isinstance(effect, Append):
                self.lines.append(encode(effect.record))
        self.queue.check()
        text = [line for line in map(rendered, effects) if line]
        due_ns = self.queue.next_due_ns()
        if due_ns is not None:
            text.append(f"[next {due_ns // MS}]")
        return "\n".join(text)


def rendered(effect: Effect) -> str:
    match effect:
        case Append() | Note():
            return ""
        case Begin(run=run, operation=operation):
            after = " after failure" if effect.after_failure else ""
            return f"begin {run.call_id}.{run.run} {operation.key}{after}"
        case KillRun(run=run):
            return f"kill {run.call_id}.{run.run}"
        case Answer(call_id=call_id, result=result):
            return f"answer {call_id}" + (f" {shown(result)}" if result is not None else "")
        case CancelAnswer(was_known=was_known):
            return f"cancelled, {'known' if was_known else 'not known'}"
        case Refuse(error=error):
            return f"refused {error.code}: {error}"
        case Publish(result=result):
            return f"publish {shown(result)}"
        case PublishForgotten():
            only = " (failures only)" if effect.failures_only else ""
            return f"forgotten {effect.resource} {effect.action or '*'} {effect.interval_ms}{only}"


def shown(result: OperationResult) -> str:
    reason = f" ({result.exit_reason})" if result.exit_reason else ""
    return f"{result.call_id} {result.operation.key} {result.status.name.lower()} rc={result.rc}{reason}"


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.txt")), ids=lambda path: path.stem)
def test_queue(path: Path, rewrite: bool) -> None:
    run_file(path, World().handle, rewrite=rewrite)
