"""`hacli demo`: two nodes on this machine, the old tutorial's configuration, and a power failure."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from cli.context import Context
from cli.demo import table
from cli.demo.ground import LabError, host_env, requirements
from cli.demo.lab import Lab, enter_command, running_labs
from cli.demo.picture import stdout_stage
from cli.demo.seats import Client, Watch
from cli.demo.setting import ADDRESS, NODES, RESOURCES, prepare
from cli.demo.story import Story, shown

EXIT_OK, EXIT_WRONG, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
_STOP_WITHIN_S: Final = 10.0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="hacli demo", description=__doc__)
    result.add_argument(
        "--fast", action="store_true", help="keepalive 100 ms, deadtime 500 ms, warntime 250 ms"
    )
    result.add_argument("--runs", type=int, default=1, metavar="N", help="play power cut and return N times")
    result.add_argument("--json", action="store_true", help="no picture, the table as JSON")
    result.add_argument("--keep", action="store_true", help="leave the nodes running at the end")
    result.add_argument("--stop", action="store_true", help="end what --keep has left running")
    result.add_argument(
        "--enter", metavar="NODE", help="a shell, or the command after NODE, in a node that was kept"
    )
    result.add_argument("--name", default="demo", help="another name, to run two at once")
    result.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return result


def main(context: Context | None, words: Sequence[str]) -> int:
    """Play the story. 0 only if everything went right; 1 otherwise, 2 for wrong use."""
    try:
        options = parser().parse_args(list(words))
    except SystemExit as ended:
        return int(ended.code or 0)
    if options.runs < 1 or not options.name.isalnum():
        print("hacli demo: --runs is at least 1, --name letters and digits", file=sys.stderr)
        return EXIT_USAGE
    options.json = options.json or (context is not None and context.options.json)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        if options.stop:
            return stop(options.name)
        if options.enter:
            enter(options.name, options.enter, options.command[options.command[:1] == ["--"] :])
        requirements()
        return play(options)
    except LabError as error:
        print(f"hacli demo: {error}", file=sys.stderr)
        return EXIT_WRONG
    except KeyboardInterrupt:
        print("\nhacli demo: interrupted; everything it had started is gone", file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def play(options: argparse.Namespace) -> int:
    """Build the lab, play, print the table."""
    if running_labs(options.name):
        raise LabError(
            what=f"a demo called {options.name} is running",
            remedy=f"{own_command()} demo --stop --name {options.name}    (or take another --name)",
        )
    stage = stdout_stage(quiet=options.json)
    began = time.monotonic()
    with Lab(NODES, name=options.name) as lab:
        setting = prepare(lab, fast=options.fast)
        for words in setting.said:
            stage.say(words)
        watch = Watch(lab, RESOURCES)
        client = Client(lab, ADDRESS)
        story = Story(lab, client, watch, stage, setting.timers)
        with shown(story):
            story.play(options.runs)
        data = table.as_data(story.results, violations=watch.violations(), stand_ins=setting.said)
        if options.json:
            print(json.dumps({**data, "took_s": round(time.monotonic() - began, 1)}, indent=2))
        else:
            report(story, watch, took_s=time.monotonic() - began)
        if options.keep:
            lab.keep()
            print(how_to_look_around(lab), file=sys.stderr if options.json else sys.stdout)
    return EXIT_OK if data["ok"] else EXIT_WRONG


def report(story: Story, watch: Watch, *, took_s: float) -> None:
    """The table for people."""
    print()
    print(table.text(story.results))
    if more := table.summary(story.results):
        print(more)
    violations = watch.violations()
    for text in violations[:10]:
        print(f"RULE BROKEN: {text}")
    if not violations:
        print(
            "Seen from outside all the time: started in order, stopped in reverse, never active on two nodes."
        )
    print(f"The whole took {took_s:.0f} s.")


def how_to_look_around(lab: Lab) -> str:
    """What to type, for a lab that is kept."""
    node = lab.nodes[0]
    command = enter_command(node.first, sys.executable, "-m", "cli", "status")
    variables = [
        f"{key}={value}" for key, value in node.environment.items() if key.startswith(("PYTHON", "HAC"))
    ]
    demo = f"{own_command()} demo" + (f" --name {lab.name}" if lab.name != "demo" else "")
    return "\n".join(
        (
            "",
            "It is left running. To look around:",
            f"  {demo} --enter {node.name.partition('.')[0]} hacli status",
            f"  {demo} --enter {node.name.partition('.')[0]}        (a shell in the node)",
            "or by hand:",
            f"  {shlex.join(['env', *variables, *command])}",
            f"To stop it: {demo} --stop",
        )
    )


def own_command() -> str:
    """How to call hacli from here: by name where it is found so, else by its path."""
    beside = Path(sys.executable).with_name("hacli")
    if shutil.which("hacli") is not None or not beside.exists():
        return "hacli"
    here = Path.cwd()
    return shlex.quote(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))


def stop(name: str) -> int:
    """End a lab that was kept."""
    labs = running_labs(name)
    if not labs:
        print(f"hacli demo: there is no demo called {name}")
        return EXIT_OK
    for _, pid, base in labs:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + _STOP_WITHIN_S
        while Path(f"/proc/{pid}/ns").exists() and time.monotonic() < end:
            time.sleep(0.02)
        with contextlib.suppress(OSError):
            base.rmdir()
    print(f"hacli demo: {name} is stopped")
    return EXIT_OK


def enter(lab: str, node: str, command: Sequence[str]) -> NoReturn:
    """Become a shell, or that command, in a node of a lab that was kept. Raises LabError."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if not entry.name.isdigit():
                continue
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"hacluster.supervisor" not in words:
                continue
            pairs = (pair.partition("=") for pair in (entry / "environ").read_text().split("\0"))
            environment = {key: value for key, _, value in pairs if key}
            name = environment.get("HACLUSTER_NODE", "")
            if environment.get("HACLUSTER_LAB") == lab and node in (name, name.partition(".")[0]):
                _become(int(entry.name), environment, command or ["bash", "-i"])
    remedy = f"{own_command()} demo --keep leaves one running"
    raise LabError(what=f"no node {node} of a demo called {lab} runs", remedy=remedy)


def _become(pid: int, environment: dict[str, str], command: Sequence[str]) -> NoReturn:
    program = [sys.executable, "-m", "cli", *command[1:]] if command[0] == "hacli" else list(command)
    words = enter_command(pid, *program)
    variables = {**host_env(), **environment, "TERM": os.environ.get("TERM", "dumb")}
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"  # a shell there knows hacli
    os.execvpe(words[0], words, variables)  # noqa: S606 - the user asked for this command


if __name__ == "__main__":
    sys.exit(main(None, sys.argv[1:]))
