"""ha-crm: `python -m crm [--root DIR] [--node NAME]`."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # before grpc is imported

from crm.replica.shell import ReplicaDied
from crm.shell import CrmShell
from hacluster import logging as ha_logging
from hacluster import settings as ha_settings
from hacluster.boot import boot_token
from hacluster.clock import SystemClock
from hacluster.errors import HaError, InvalidDocument
from hacluster.supervision import (
    EXIT_FAILURE,
    DaemonOptions,
    end_on_bugs,
    keep_to_ourselves,
    options_from,
    parser,
    report_and_code,
    until_stopped,
)
from hacluster.tls import TlsFolder


def main() -> int:
    """Run until SIGTERM. Exit codes: see hacluster.supervision."""
    keep_to_ourselves()
    options = options_from(parser("ha-crm", "decides what runs where").parse_args())
    ha_logging.configure(format=options.log_format, level=options.log_level, service="crm", node=options.node)
    try:
        return asyncio.run(_serve(options))
    except HaError as error:
        print(f"ha-crm: {error}", file=sys.stderr)
        return report_and_code(error)
    except ExceptionGroup as group:
        expected, bugs = group.split(ReplicaDied)
        if bugs is not None:
            raise
        print(f"ha-crm: {expected}", file=sys.stderr)
        return EXIT_FAILURE


async def _serve(options: DaemonOptions) -> int:
    settings = ha_settings.load(options.paths.cluster_toml)
    node = settings.node(options.node)
    if node is None:
        raise InvalidDocument(
            source=str(options.paths.cluster_toml),
            line=0,
            what=f"it has no node {options.node}",
            remedy="give --node, or add the node to the file",
        )
    shell = CrmShell(
        settings=settings,
        paths=options.paths,
        node=node,
        boot_token=boot_token(options.paths),
        instance=secrets.randbits(63) | 1,
        clock=SystemClock(),
        tls=TlsFolder(options.paths.tls),
    )
    end_on_bugs(asyncio.get_running_loop())
    await until_stopped(shell.run)
    return shell.exit_code


if __name__ == "__main__":
    sys.exit(main())
