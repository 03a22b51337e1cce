"""The replicated CIB's events in this node's log."""

from __future__ import annotations

from typing import assert_never

import structlog

from crm.cib.replication.voters import voters_text
from crm.replica import log_events
from crm.replica.events import (
    BecameDc,
    Committed,
    Corrupt,
    FollowsDc,
    Orphans,
    ReplicaEvent,
    StoppedBeingDc,
    VotersCommitted,
)

log = structlog.get_logger()


def log_event(event: ReplicaEvent) -> None:
    """One line for each."""
    match event:
        case Committed(_, version, author):
            log.info(log_events.COMMITTED, cib_version=str(version), author=author)
        case BecameDc(term, view, basis, established):
            where = {"term": str(term), "view": str(view), "basis": basis.value}
            log.info(log_events.DC_WON, established=established, **where)
        case StoppedBeingDc(why):
            log.info(log_events.DC_LOST, reason=why)
        case FollowsDc(node_id, term):
            log.info(log_events.DC_FOLLOWED, peer=node_id, term=str(term))
        case Orphans(count, answered, _, file):
            log.warning(log_events.ORPHANS, count=count, answered=answered, file=file)
        case Corrupt(why):
            log.error(log_events.CORRUPT, reason=why)
        case VotersCommitted(quorum, index):
            log.info(log_events.VOTERS, voters=voters_text(quorum), log_index=index)
        case _:
            assert_never(event)
