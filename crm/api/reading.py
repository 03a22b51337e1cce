"""How certain the configuration is that a client is shown: what `read` of QueryCib asks for."""

from __future__ import annotations

from crm.replica.events import Outcome
from crm.replica.interface import Replica
from hacluster.errors import NoQuorum, Unavailable
from hacluster.v1 import crm_pb2

Read = crm_pb2.QueryCibRequest


async def vouched(replica: Replica, read: crm_pb2.QueryCibRequest.Read.ValueType) -> str:
    """At the DC: why what is shown next is not certain; empty: it has all that was answered OK before.

    Raises NoDc; and, where anything would not do: NoQuorum, Unavailable when nobody confirmed it in time.
    """
    outcome = await replica.vouch(by_quorum=read == Read.READ_QUORUM)
    if outcome.outcome is Outcome.OK or read == Read.READ_ANY:
        return outcome.reason
    if outcome.outcome is Outcome.FAILED:
        raise NoQuorum(why=outcome.reason)
    raise Unavailable(why=outcome.reason)
