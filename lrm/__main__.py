"""ha-lrm: `python -m lrm [--root DIR] [--node NAME]`. lrm-exec is started before gRPC is imported."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import socket
import sys

from hacluster import logging as ha_logging
from hacluster import settings as ha_settings
from hacluster.boot import boot_token
from hacluster.clock import SystemClock
from hacluster.errors import HaError, InvalidDocument, Unavailable
from hacluster.owned_files import open_owned
from hacluster.paths import Paths
from hacluster.supervision import (
    DaemonOptions,
    end_on_bugs,
    keep_to_ourselves,
    options_from,
    parser,
    report_and_code,
    until_stopped,
)
from hacluster.vocabulary.ids import BootToken
from lrm.exec import launch


def main() -> int:
    """Run until SIGTERM. Exit codes: see hacluster.supervision."""
    keep_to_ourselves()
    options = options_from(parser("ha-lrm", "runs resource agents on this node").parse_args())
    ha_logging.configure(format=options.log_format, level=options.log_level, service="lrm", node=options.node)
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    try:
        settings = ha_settings.load(options.paths.cluster_toml)
        if all(node.name != options.node for node in settings.nodes):
            raise InvalidDocument(
                source=str(options.paths.cluster_toml),
                line=0,
                what=f"it has no node {options.node}",
                remedy="give --node, or add the node to the file",
            )
        token = boot_token(options.paths)
        lock = _lock(options.paths)
        connection = launch.ensure_running(options.paths, options.node)
        asyncio.run(_serve(options, settings, token, connection))
        os.close(lock)
    except HaError as error:
        print(f"ha-lrm: {error}", file=sys.stderr)
        return report_and_code(error)
    return 0


def _lock(paths: Paths) -> int:
    """One ha-lrm a node: two would serve one journal. Raises Unavailable."""
    lock = open_owned(paths.run / "lrm.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Unavailable(
            why=f"another ha-lrm runs on this node ({paths.run / 'lrm.lock'} is locked)"
        ) from None
    return lock


async def _serve(
    options: DaemonOptions, settings: ha_settings.Settings, token: BootToken, connection: socket.socket
) -> None:
    from lrm.daemon import Daemon

    daemon = Daemon(
        options=options,
        settings=settings,
        boot_token=token,
        instance=secrets.randbits(63) | 1,
        clock=SystemClock(),
    )

    async def run(stop: asyncio.Event) -> None:
        await daemon.run(stop, connection)

    end_on_bugs(asyncio.get_running_loop())
    await until_stopped(run)


if __name__ == "__main__":
    sys.exit(main())
