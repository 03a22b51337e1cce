"""The client: fetches the page through the virtual address every 20 ms and prints what came of each attempt.

Run by path inside a net namespace of its own; standard library only. An attempt never delays the next one.
One line out for each: START_NS END_NS OUTCOME MAC, times of CLOCK_MONOTONIC; the outcome is "ok" or why not,
the MAC that of the machine which had the address then, "-" without an answer.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import selectors
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Attempt:
    """One fetch."""

    socket: socket.socket
    start_ns: int
    sent: bool = False
    reply: bytearray = field(default_factory=bytearray)


class Fetcher:
    """All attempts under way."""

    def __init__(self, address: str, port: int, *, limit_ms: int) -> None:
        self._target = (address, port)
        self._limit_ns = limit_ms * 1_000_000
        self._selector = selectors.DefaultSelector()
        self._request = f"GET / HTTP/1.0\r\nHost: {address}\r\n\r\n".encode()

    def start(self) -> None:
        """Begin one attempt."""
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        attempt = Attempt(connection, time.monotonic_ns())
        code = connection.connect_ex(self._target)
        if code not in (0, 115):  # EINPROGRESS
            self._end(attempt, os.strerror(code).replace(" ", "_"))
            return
        self._selector.register(connection, selectors.EVENT_WRITE, attempt)

    def turn(self, until_ns: int) -> None:
        """Serve what is ready until then, and give up what took too long."""
        while True:
            rest_s = (until_ns - time.monotonic_ns()) / 1e9
            ready = self._selector.select(max(0.0, rest_s)) if self._selector.get_map() else []
            if not ready and not self._selector.get_map():
                time.sleep(max(0.0, rest_s))
            for key, _ in ready:
                attempt: Attempt = key.data
                try:
                    self._serve(attempt)
                except OSError as error:
                    self._end(attempt, (error.strerror or "error").replace(" ", "_"))
            now = time.monotonic_ns()
            for key in list(self._selector.get_map().values()):
                if now - key.data.start_ns > self._limit_ns:
                    self._end(key.data, "timeout")
            if now >= until_ns:
                return

    def _serve(self, attempt: Attempt) -> None:
        if not attempt.sent:
            error = attempt.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
            attempt.socket.send(self._request)
            attempt.sent = True
            self._selector.modify(attempt.socket, selectors.EVENT_READ, attempt)
            return
        data = attempt.socket.recv(65_536)
        attempt.reply += data
        if not data:
            head, _, body = bytes(attempt.reply).partition(b"\r\n\r\n")
            good = head.split(b" ")[1:2] == [b"200"] and body != b""
            self._end(attempt, "ok" if good else "bad_answer")

    def _end(self, attempt: Attempt, outcome: str) -> None:
        who = self._neighbour() if outcome == "ok" else "-"
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(attempt.socket)
        attempt.socket.close()
        sys.stdout.write(f"{attempt.start_ns} {time.monotonic_ns()} {outcome} {who}\n")

    def _neighbour(self) -> str:
        """Whose MAC the kernel has for the address."""
        for line in Path("/proc/net/arp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[0] == self._target[0]:
                return fields[3]
        return "-"


def main() -> int:
    """Until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--own", required=True, help="our address with its prefix length")
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--every-ms", type=int, default=20)
    parser.add_argument("--limit-ms", type=int, default=250)
    options = parser.parse_args()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if sys.stdin.readline() != "go\n":
        return 1
    for words in (("addr", "add", options.own, "brd", "+", "dev", "eth0"), ("link", "set", "eth0", "up")):
        subprocess.run(["ip", *words], check=True, stdin=subprocess.DEVNULL)
    fetcher = Fetcher(options.address, options.port, limit_ms=options.limit_ms)
    os.set_blocking(0, False)
    due_ns = time.monotonic_ns()
    while True:
        with contextlib.suppress(BlockingIOError):
            if not os.read(0, 1):
                return 0
        fetcher.start()
        now_ns = time.monotonic_ns()
        due_ns = max(due_ns + options.every_ms * 1_000_000, now_ns)
        fetcher.turn(due_ns)
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
