"""What every daemon does alike: command line, signals, telling systemd, exit codes."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from hacluster import logging as ha_logging
from hacluster.errors import HaError, InvalidDocument, InvalidDocuments
from hacluster.paths import Paths

EXIT_OK: Final = 0
EXIT_FAILURE: Final = 1
EXIT_CONFIG: Final = 6
"""The configuration cannot be used: starting again does not help (systemd: RestartPreventExitStatus=6)."""

EXIT_FENCED: Final = 100
"""This node was fenced and lives: it does not start again by itself (Pacemaker's CRM_EX_FATAL)."""

NODE_VARIABLE: Final = "HACLUSTER_NODE"


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonOptions:
    """The common command line."""

    paths: Paths
    node: str
    log_format: str | None
    log_level: str


def parser(service: str, description: str) -> argparse.ArgumentParser:
    """The argument parser with the common options; a daemon adds its own."""
    result = argparse.ArgumentParser(prog=service, description=description)
    result.add_argument("--root", help="put etc, var and run below this directory (HACLUSTER_ROOT)")
    result.add_argument("--node", help=f"this node's name ({NODE_VARIABLE}; default: uname -n)")
    result.add_argument("--log-format", choices=ha_logging.FORMATS)
    result.add_argument("--log-level", choices=ha_logging.LEVELS, default="info")
    return result


def keep_to_ourselves() -> None:
    """What this process knows (keys, the CIB) gets into no core file; what it starts may want one again.

    Nor can others write what it makes, whoever started it with whatever umask.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    os.umask(os.umask(0o022) | 0o022)


def options_from(arguments: argparse.Namespace) -> DaemonOptions:
    """Options with their defaults from the environment."""
    return DaemonOptions(
        paths=Paths.from_environment(arguments.root),
        node=arguments.node or os.environ.get(NODE_VARIABLE) or os.uname().nodename,
        log_format=arguments.log_format,
        log_level=arguments.log_level,
    )


class Notifier:
    """sd_notify(3): readiness and watchdog, silently nothing without NOTIFY_SOCKET."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")

    def tell(self, message: str) -> None:
        """Send one message, for example "READY=1"."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            try:
                sender.connect(address)
                sender.send(message.encode())
            except OSError:
                self._address = ""  # whoever asked for it is gone

    async def watchdog(self) -> None:
        """Send WATCHDOG=1 at half of WATCHDOG_USEC until cancelled; returns at once without one."""
        period_us = int(os.environ.get("WATCHDOG_USEC", "0"))
        while period_us and self._address:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(period_us / 2_000_000)


async def until_stopped(run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run a daemon's main coroutine; SIGTERM and SIGINT set the event it is given (a clean stop)."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    notifier = Notifier()
    watchdog = asyncio.create_task(notifier.watchdog(), name="watchdog")
    try:
        await run(stop)
    finally:
        notifier.tell("STOPPING=1")
        watchdog.cancel()


async def run_after_run(one_run: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event) -> None:
    """One run after the other in this process, until `stop` is set; a run ends when its own event is set."""
    while not stop.is_set():
        over = asyncio.Event()
        relay = asyncio.create_task(_relay(stop, over), name="end of the run")
        try:
            await one_run(over)
        finally:
            relay.cancel()


async def _relay(stop: asyncio.Event, over: asyncio.Event) -> None:
    await stop.wait()
    over.set()


def end_on_bugs(loop: asyncio.AbstractEventLoop) -> None:
    """A callback that raises is a bug: the process ends, and its next run does better than a crippled one.

    But for BlockingIOError: gRPC's poller finds nothing to read at times, and raises that.
    """

    def failed(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        if not isinstance(context.get("exception"), BlockingIOError | None):
            sys.stderr.flush()
            os._exit(EXIT_FAILURE)

    loop.set_exception_handler(failed)


def report_and_code(error: HaError) -> int:
    """The exit code for an expected failure at start."""
    return EXIT_CONFIG if isinstance(error, InvalidDocument | InvalidDocuments) else EXIT_FAILURE
