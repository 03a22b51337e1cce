"""Undoes a commit that nobody confirmed: the DC looks once a second (shell of `crm.confirmation`)."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from crm import log_events
from crm.api.cluster import Cluster
from crm.confirmation import Pending, Watch, pending_in, rolled_back
from crm.controller.core import Phase
from hacluster.digits import is_count

LOOK_MS: Final = 1_000
AUTHOR: Final = "hacluster"

log = structlog.get_logger()


async def watch_confirmations(cluster: Cluster) -> None:
    """Runs on every node, acts on the DC's; ends by cancellation. A refused undo is tried again."""
    watch = Watch()
    while True:
        await asyncio.sleep(LOOK_MS / 1_000)
        pending = pending_in(cluster.replica.configuration) if cluster.is_dc else None
        why = watch.verdict(
            pending,
            now_ns=cluster.clock.now_ns(),
            wall_s=cluster.clock.wall_s(),
            idle=cluster.dc.phase is Phase.IDLE,
            missing=_missing(cluster, pending) if pending is not None else (),
        )
        if pending is None or not why:
            continue
        log.warning(log_events.ROLLED_BACK, by=pending.by, reason=why)
        outcome = await cluster.replica.write(rolled_back, author=AUTHOR, client=f"{AUTHOR}: rollback: {why}")
        if outcome.reason:
            log.warning(log_events.ROLLED_BACK, by=pending.by, reason=f"not yet: {outcome.reason}")


def _missing(cluster: Cluster, pending: Pending) -> tuple[str, ...]:
    """Guards that run nowhere, or have failed since the commit."""
    since_s = pending.until_s - pending.within_ms // 1_000
    running: set[str] = set()
    failed: set[str] = set()
    for name in cluster.nodes.members():
        history = cluster.nodes[name].history
        running |= {one.partition(":")[0] for one in history.active()}
        failed |= {
            one.id.removesuffix("_last_failure_0").partition(":")[0]
            for one in history.failures()
            if is_count(one.get("last-rc-change")) and int(one.get("last-rc-change")) >= since_s
        }
    return tuple(one for one in pending.guards if one not in running or one in failed)
