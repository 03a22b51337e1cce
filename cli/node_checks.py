"""What `hacli cluster health` asks every ha-lrm: do the shared files agree, clocks, releases, key files."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from cli import preflight
from cli.members import Members
from cli.preflight import Level
from hacluster import VERSION
from hacluster.errors import HaError
from hacluster.paths import Paths
from hacluster.v1 import files_pb2


def problems(paths: Paths, me: str, here: set[str]) -> list[str]:
    """In words, of the nodes that are members. Nothing where the caller may not read the node's key."""
    try:
        members = Members(paths, me)
    except (HaError, OSError):
        return []
    names = [node.name for node in members.settings.nodes if node.name in here]
    return asyncio.run(_problems(members, names))


async def _problems(members: Members, names: Sequence[str]) -> list[str]:
    answers = await asyncio.gather(*(_ask(members, name) for name in names))
    found = [answer for answer in answers if isinstance(answer, str)]
    replies = {reply.node: (reply, ahead) for reply, ahead in (a for a in answers if not isinstance(a, str))}
    for name, (reply, ahead_ms) in replies.items():
        found += [f"{name}: {problem}" for problem in reply.problems]
        judged = (preflight.clock(name, ahead_ms), preflight.version(name, reply.version, VERSION))
        found += [str(one) for one in judged if one.level is not Level.OK]
    kinds = Counter((reply.revision, reply.digest) for reply, _ in replies.values())
    if len(kinds) > 1:
        usual = max(kinds, key=lambda kind: (kinds[kind], kind[0]))
        found += [
            f"{name}: cluster.toml, authkeys or tls/crl.pem is not the one of most nodes (revision "
            f"{reply.revision}, there {usual[0]})"
            for name, (reply, _) in replies.items()
            if (reply.revision, reply.digest) != usual
        ]
    return found


async def _ask(members: Members, name: str) -> tuple[files_pb2.GetFilesReply, int] | str:
    """The answer, and by how much its clock is ahead of ours; or why there is none."""
    begun_ns = time.monotonic_ns()
    try:
        reply = await members.get(name)
    except HaError as error:
        return f"{name}: {error}"
    took_ms = (time.monotonic_ns() - begun_ns) // 1_000_000
    return reply, reply.wall_ms + took_ms // 2 - time.time_ns() // 1_000_000
