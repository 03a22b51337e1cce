"""A service that an agent starts in the foreground of a session of its own, and can find again and end.

The record (a small file) names the session and when its leader began, so that a process that was given the
same number later is never taken for it. Workers that outlive their leader are still found, by the session.
"""

from __future__ import annotations

import os
import signal
import time

from agents import sdk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_STATE_FIELD, _SESSION_FIELD, _STARTED_FIELD = 0, 3, 19  # of /proc/PID/stat, counted after the name
_OUTPUT_BYTES_MAX = 2048


class Daemon:
    """One service by its record file; `output` beside it gets what the service says until it works."""

    def __init__(self, record: str) -> None:
        self.record = record
        self.output = f"{record}.output"

    def launch(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        """Execute `argv` in the background; returns when the program runs or has failed to.

        The record is written before the program begins. Raises OSError with the reason execve gave.
        """
        os.makedirs(os.path.dirname(self.record), exist_ok=True)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        if not sdk.in_background():
            self._become(argv, environ, writer)
        os.close(writer)
        with open(reader, "rb") as answer:
            failed = answer.read()  # ends when execve closes the other end
        if failed:
            code = int(failed)
            raise OSError(code, f"{argv[0]}: {os.strerror(code)}")

    def leader(self) -> int:
        """The process number of the leader; 0 when it does not run (any more)."""
        session, started = self._recorded()
        fields = _stat(session)
        alive = fields is not None and fields[_STATE_FIELD] not in "ZX" and fields[_STARTED_FIELD] == started
        return session if alive else 0

    def processes(self) -> list[int]:
        """All processes of the session that are no zombies, those of a dead leader included."""
        session, started = self._recorded()
        if not session:
            return []
        fields = _stat(session)
        if fields is not None and fields[_STARTED_FIELD] != started:
            return []  # a later process; the number could be given again only after all of the session ended
        found = []
        for entry in os.listdir("/proc"):
            one = _stat(int(entry)) if entry.isdecimal() else None
            if one is not None and one[_SESSION_FIELD] == str(session) and one[_STATE_FIELD] not in "ZX":
                found.append(int(entry))
        return found

    def listens_on(self, port: int) -> bool:
        """Whether a process of the session, and not somebody else, listens on a TCP port."""
        wanted = {f"socket:[{inode}]" for inode in _listening(port)}
        if not wanted:
            return False
        for pid in self.processes():
            folder = f"/proc/{pid}/fd"
            try:
                descriptors = os.listdir(folder)
            except OSError:
                continue  # it ended
            for descriptor in descriptors:
                try:
                    if os.readlink(f"{folder}/{descriptor}") in wanted:
                        return True
                except OSError:
                    continue  # closed meanwhile
        return False

    def end(self, wait: Callable[[Callable[[], bool], int], bool], *, patience_ms: int, first: int) -> bool:
        """Signal `first` to the leader, after `patience_ms` SIGKILL to all; True when nothing is left.

        `wait(condition, limit_ms)` waits for a condition and returns whether it came true.
        """
        leader = self.leader()
        if leader:
            _kill(leader, first)
            wait(lambda: not self.processes(), patience_ms)
        for pid in self.processes():
            _kill(pid, signal.SIGKILL)
        gone = wait(lambda: not self.processes(), max(patience_ms, 2_000))
        if gone:
            self.forget()
        return gone

    def forget(self) -> None:
        """Remove the record and the output."""
        for path in (self.record, self.output):
            try:
                os.unlink(path)
            except FileNotFoundError:
                continue

    def said(self) -> str:
        """The end of what the service wrote to its standard output and error."""
        try:
            with open(self.output, "rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(file.tell() - _OUTPUT_BYTES_MAX, 0))
                return " ".join(file.read().decode(errors="replace").split())
        except OSError:
            return ""

    def _become(self, argv: Sequence[str], environ: Mapping[str, str], writer: int) -> None:
        """In the child: never returns."""
        try:
            fields = _stat(os.getpid())
            assert fields is not None, "we exist"
            with open(f"{self.record}.new", "w") as file:
                file.write(f"{os.getpid()} {fields[_STARTED_FIELD]}\n")
            os.replace(f"{self.record}.new", self.record)
            output = os.open(self.output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND, 0o600)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir("/")
            os.execve(argv[0], list(argv), dict(environ))  # noqa: S606 - a shell is what we avoid
        except OSError as error:
            os.write(writer, str(error.errno or 1).encode())
        finally:
            os._exit(1)

    def _recorded(self) -> tuple[int, str]:
        """(session, start time of its leader); (0, "") without a record."""
        try:
            with open(self.record) as file:
                session, started = file.read().split()
        except (FileNotFoundError, ValueError):
            return 0, ""
        return (int(session), started) if session.isdecimal() else (0, "")


def bounded_wait(condition: Callable[[], bool], limit_ms: int) -> bool:
    """Ask every few milliseconds; False when the condition did not come true in time."""
    until_ns = time.monotonic_ns() + limit_ms * 1_000_000
    pause_s = 0.002
    while not condition():
        if time.monotonic_ns() > until_ns:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.05)
    return True


def _listening(port: int) -> list[str]:
    """Inodes of the sockets that listen on a TCP port in our network namespace (proc(5), /proc/net/tcp)."""
    found = []
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        try:
            with open(table) as file:
                lines = file.readlines()[1:]
        except FileNotFoundError:
            continue  # a kernel without IPv6
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                found.append(fields[9])
    return found


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat that follow the name; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(b")") + 1 :].decode().split()
