"""Runs our own agents in forked children of this process (which must have one thread)."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn

from lrm.exec.cgroups import join
from lrm.exec.spawn import Pipes

Entry = Callable[[str, str, Mapping[str, str]], int]
"""(type of the agent, action, its environment) -> exit code. Writes to descriptors 1 and 2."""

_CRASHED: Final = 1
_HANDLED: Final = (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ)
_DESCRIPTORS_MAX: Final = 1_048_576


class WarmHost:
    """Has agents imported. `sources` are the files they came from: when these change, agents are executed."""

    def __init__(self, entry: Entry, sources: tuple[Path, ...]) -> None:
        self._entry = entry
        self._sources = sources
        self._imported = _fingerprint(sources)
        self.usable = True
        gc.collect()
        gc.freeze()  # a collection in a child would copy every page

    def check(self) -> bool:
        """Look whether the agents on disk are still the imported ones; an update makes the host unusable."""
        self.usable = self.usable and _fingerprint(self._sources) == self._imported
        return self.usable

    def fork(self, agent: str, action: str, env: Mapping[str, str], pipes: Pipes, group: Path | None) -> int:
        """The pid of a child that runs the action. Raises OSError."""
        pid = os.fork()
        if pid == 0:
            self._child(agent, action, env, pipes, group)
        return pid

    def _child(
        self, agent: str, action: str, env: Mapping[str, str], pipes: Pipes, group: Path | None
    ) -> NoReturn:
        """What an executed agent would find (session, signals, descriptors, environment), then the action."""
        code = _CRASHED
        try:
            signal.set_wakeup_fd(-1)
            os.setsid()
            for number in _HANDLED:
                signal.signal(number, signal.SIG_DFL)
            if group is not None:
                join(group, 0)
            os.dup2(pipes.stdout_write, 1)
            os.dup2(pipes.stderr_write, 2)
            os.closerange(3, _DESCRIPTORS_MAX)
            os.environ.clear()
            os.environ.update(env)
            code = self._entry(agent, action, env)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else _CRASHED
        except BaseException:
            traceback.print_exc()
        finally:
            _flush()
            os._exit(code & 0xFF)


def our_agents() -> WarmHost:
    """Import all our agents. Raises what they raise: the caller goes without a host then."""
    from agents import resources
    from agents.sdk import preload, run

    preload()
    folder = Path(str(resources.__file__)).parent
    return WarmHost(run, (folder.parent / "sdk.py", *sorted(folder.glob("*.py"))))


def _fingerprint(sources: tuple[Path, ...]) -> tuple[tuple[str, int, int], ...]:
    found = []
    for path in sources:
        try:
            status = path.stat()
            found.append((str(path), status.st_mtime_ns, status.st_size))
        except OSError:
            found.append((str(path), 0, 0))
    return tuple(found)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            continue  # nobody reads any more
