"""Listens to the local ha-messaging: what this node may do, for the activation gate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import grpc

from hacluster import rpc
from hacluster.v1 import membership_pb2, membership_pb2_grpc
from hacluster.vocabulary.membership import Authority
from lrm import wire

RETRY_S_MIN: Final = 0.1
RETRY_S_MAX: Final = 1.0


async def watch(socket: Path, instance: int, told: Callable[[Authority | None], None]) -> None:
    """Tell every update, and None whenever there is no stream: then there is no authority. Never returns.

    The stream also makes the node's heartbeats advertise this LRM.
    """
    retry_s = RETRY_S_MIN
    request = membership_pb2.WatchRequest(
        daemon=membership_pb2.WatchRequest.DAEMON_LRM, instance=instance & 0xFFFFFFFF or 1
    )
    while True:
        async with rpc.unix_channel(socket) as channel:
            stream = membership_pb2_grpc.MembershipStub(channel).Watch(request)
            try:
                async for update in stream:
                    told(wire.authority_from(update))
                    retry_s = RETRY_S_MIN
            except grpc.aio.AioRpcError:
                told(None)
            else:
                told(None)
        await asyncio.sleep(retry_s)
        retry_s = min(retry_s * 2, RETRY_S_MAX)
