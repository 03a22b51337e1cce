"""Undoes a commit that nobody confirmed: the DC looks once a second (shell of `crm.confirmation`)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import structlog

from crm import log_events
from crm.api.cluster import Cluster
from crm.confirmation import FAILED_MAX, Pending, Watch, given_up, obstacle, pending_in, rolled_back
from crm.controller.core import Phase
from hacluster.digits import is_count

LOOK_MS: Final = 1_000
AUTHOR: Final = "hacluster"

log = structlog.get_logger()


async def watch_confirmations(cluster: Cluster) -> None:
    """Runs on every node, acts on the DC's; ends by cancellation. Without quorum it is tried again."""
    watch = Watch()
    said = ""
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
        refused = await take_back(cluster, pending, why)
        if refused and refused != said:
            log.warning(log_events.ROLLBACK_WAITS, by=pending.by, reason=refused)
        said = refused


async def take_back(cluster: Cluster, pending: Pending, why: str) -> str:
    """Write the way back, or that there is none. Says why nothing could be written (no quorum)."""
    write = cluster.replica.write
    if lasting := " ".join(obstacle(cluster.replica.configuration).split()):
        log.error(log_events.ROLLBACK_FAILED, by=pending.by, reason=why, obstacle=lasting)
        outcome = await write(
            partial(given_up, why=lasting),
            author=AUTHOR,
            client=f"{AUTHOR}: rollback FAILED: {lasting[:FAILED_MAX]}",
        )
        return outcome.reason
    outcome = await write(rolled_back, author=AUTHOR, client=f"{AUTHOR}: rollback: {why}")
    if not outcome.reason:
        log.warning(log_events.ROLLED_BACK, by=pending.by, reason=why)
    return outcome.reason


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
