"""Starting one agent: posix_spawn with a session of its own, defaults for all signals, nothing inherited."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_SIGNALS = tuple(sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}))


@dataclass(frozen=True, slots=True)
class Pipes:
    """Both ends of an agent's stdout and stderr; the parent closes the write ends after the start."""

    stdout: int
    stderr: int
    stdout_write: int
    stderr_write: int

    @classmethod
    def create(cls) -> Pipes:
        """All four are closed on exec."""
        stdout, stdout_write = os.pipe2(os.O_CLOEXEC)
        stderr, stderr_write = os.pipe2(os.O_CLOEXEC)
        return cls(stdout, stderr, stdout_write, stderr_write)

    def close_write_ends(self) -> None:
        """The child has them; we must not."""
        os.close(self.stdout_write)
        os.close(self.stderr_write)


def spawn(argv: Sequence[str], env: Mapping[str, str], pipes: Pipes, stdin: str = "") -> int:
    """The pid of the new process, leader of its session. cwd, umask and limits are this process's.

    posix_spawn does not copy page tables (vfork), and reports a failing execve: raises OSError.
    """
    given = _in_memory(stdin) if stdin else -1
    try:
        return os.posix_spawn(
            argv[0],
            list(argv),
            dict(env),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, given, 0)
                if stdin
                else (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, pipes.stdout_write, 1),
                (os.POSIX_SPAWN_DUP2, pipes.stderr_write, 2),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=_SIGNALS,
        )
    finally:
        if given >= 0:
            os.close(given)


def _in_memory(text: str) -> int:
    """A descriptor to read the text from: a file in memory never blocks a writer, as a pipe could."""
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    data = text.encode(errors="surrogateescape")
    while data:
        data = data[os.write(descriptor, data) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
