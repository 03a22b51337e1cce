"""A warm host with agents made for a test: `ACTION…` on the command line are run one after the other.

Prints one JSON list for each: the pid, the wait status, whether it was told as an answer, and the output.
"""

from __future__ import annotations

import json
import os
import selectors
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lrm.exec.spawn import Pipes
from lrm.host.forking import OF_LATE_NS, WarmHost
from lrm.host.worker import WAITING, Steps

WITHIN_S = 20.0


def act(agent: str, action: str, env: Mapping[str, str], do_later: Callable[[Steps], None]) -> int:
    """What an agent may do, good and bad."""
    folder = Path(env["FOLDER"])
    match action:
        case "see":
            seen = sorted(name for name in os.environ if name not in ("FOLDER", "LC_CTYPE"))
            umask = os.umask(0)
            descriptors = len(list(Path("/proc/self/fd").iterdir())) - 1  # its own
            print(Path.cwd(), oct(umask), descriptors, *seen)
        case "leave":
            os.environ["LEFT"] = "1"
            os.chdir("/tmp")
            os.umask(0o077)
            os.open("/dev/null", os.O_RDONLY)
        case "thread":
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        case "child":
            if os.fork() == 0:
                time.sleep(0.5)
                os._exit(0)
        case "later" | "later-and-child":
            do_later(_steps(folder))
            return act(agent, action.rpartition("-")[2], env, do_later) if action != "later" else 0
        case "wait":
            deadline_s = time.monotonic() + WITHIN_S
            while not (folder / "go_on").exists() and time.monotonic() < deadline_s:
                time.sleep(0.01)
        case "fail":
            return 7
        case "raise":
            raise ValueError("an agent's mistake")
        case "exit":
            sys.exit(5)
        case _:
            raise AssertionError(action)
    return 0


def _steps(folder: Path) -> Iterator[float]:
    for number in range(3):
        yield 0.01
        (folder / f"step{number}").touch()


def main() -> None:
    """Each action, its end, and on."""
    folder, pid = sys.argv[1], 0
    os.chdir("/")  # as lrm-exec does
    host = WarmHost(act, ())
    ended: dict[int, tuple[int, bool]] = {}
    with selectors.DefaultSelector() as selector:

        def answered(pid: int, status: int) -> bool:
            ended[pid] = (status, True)
            return True

        host.connect(selector, cgroups=None, answered=answered)
        for action in sys.argv[2:]:
            if action == "crowd":
                print(json.dumps(_crowd(host, selector, ended, {"FOLDER": folder})))
                continue
            if action == "kill":
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                continue  # it is not told: the host has to notice
            pipes = Pipes.create()
            ended.clear()
            environment = {"FOLDER": folder, "ACTION": action}
            pid = host.start("agent", action, environment, pipes, f"test.{action}").pid
            pipes.close_write_ends()
            _until_ended(host, selector, ended, pid)
            os.set_blocking(pipes.stdout, False)
            said = _said(pipes.stdout)
            print(
                json.dumps([pid, os.waitstatus_to_exitcode(ended[pid][0]), ended[pid][1], said]), flush=True
            )
            os.close(pipes.stdout)
            os.close(pipes.stderr)


def _crowd(
    host: WarmHost,
    selector: selectors.BaseSelector,
    ended: dict[int, tuple[int, bool]],
    environment: dict[str, str],
) -> list[int]:
    """How many workers wait after five actions at once, and after one, two, and three periods of nothing."""
    host.tick(0)
    pids = set()
    for number in range(5):
        pipes = Pipes.create()
        pids.add(host.start("agent", "wait", environment, pipes, f"test.{number}").pid)
        pipes.close_write_ends()
    (Path(environment["FOLDER"]) / "go_on").touch()
    for pid in pids:
        _until_ended(host, selector, ended, pid)
    kept = [sum(_waits(pid) for pid in pids)]
    for period in (1, 2, 3):
        host.tick(period * OF_LATE_NS)
        kept.append(host.waiting)
    return kept


def _waits(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text().strip() == WAITING


def _until_ended(
    host: WarmHost, selector: selectors.BaseSelector, ended: dict[int, tuple[int, bool]], pid: int
) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while pid not in ended:
        assert time.monotonic() < deadline_s, "it does not end"
        for key, _ in selector.select(0.01):
            key.data()
        if pid in ended:
            return
        gone, status = os.waitpid(pid, os.WNOHANG)
        if gone:
            host.gone(pid)
            ended[pid] = (status, False)


def _said(descriptor: int) -> str:
    try:
        return os.read(descriptor, 65_536).decode().strip()
    except BlockingIOError:
        return ""


if __name__ == "__main__":
    main()
