"""What the two ends say to each other: lines of JSON, each after the first proven with the token's secret.

A proof is an HMAC over who speaks, the server's certificate and everything said so far: it cannot be
repeated, turned round, or passed on through a connection to somebody else.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import Any, Final

from hacluster.errors import PermissionDenied, Unavailable

LINE_BYTES_MAX: Final = 1024 * 1024
LINE_S_MAX: Final = 90.0
PROTOCOL: Final = 1


class Talk:
    """One end of a connection. `role`: "member" or "newcomer"; `binding`: the server's certificate, DER."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        role: str,
        secret: bytes,
        binding: bytes,
    ) -> None:
        self._reader, self._writer, self._role, self._secret = reader, writer, role, secret
        self._said = hashlib.sha256(b"hacluster join 1" + hashlib.sha256(binding).digest())

    def _proof(self, role: str) -> str:
        return hmac.new(self._secret, role.encode() + b"\0" + self._said.digest(), "sha256").hexdigest()

    async def say(self, message: dict[str, Any], *, proven: bool = True) -> None:
        """Send a message. Raises Unavailable."""
        body = json.dumps(message, sort_keys=True)
        self._said.update(len(body.encode()).to_bytes(8, "big") + body.encode())
        line = json.dumps({"body": body, "proof": self._proof(self._role) if proven else ""})
        try:
            self._writer.write(line.encode() + b"\n")
            await asyncio.wait_for(self._writer.drain(), LINE_S_MAX)
        except (OSError, TimeoutError) as error:
            raise Unavailable(why=f"the connection broke: {error}") from None

    async def hear(self, *, proven: bool = True, within_s: float = LINE_S_MAX) -> dict[str, Any]:
        """The next message. Raises Unavailable, and PermissionDenied for a wrong proof."""
        try:
            line = await asyncio.wait_for(self._reader.readline(), within_s)
            data = json.loads(line)
            body, proof = str(data["body"]), str(data["proof"])
            message = json.loads(body)
            if not isinstance(message, dict):
                raise TypeError
        except TimeoutError:
            raise Unavailable(why=f"the other side said nothing for {within_s:g} s") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise Unavailable(why="the connection ended, or what came is not understood") from None
        self._said.update(len(body.encode()).to_bytes(8, "big") + body.encode())
        other = "newcomer" if self._role == "member" else "member"
        if proven and not hmac.compare_digest(proof.encode(), self._proof(other).encode()):
            raise PermissionDenied(what="the other side does not have this token's secret")
        return message
