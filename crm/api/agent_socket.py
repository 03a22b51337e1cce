"""The socket agents' commands call back on: one line of JSON each way (the protocol: agents/callback).

Translates between lines and an AgentBackend, which is where attributes, nodes and resources are known;
checks who calls. Decides nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from crm.cib.codec import is_text
from hacluster.errors import ErrorCode, HaError, InvalidRequest, NotFound

REQUEST_BYTES_MAX: Final = 256 * 1024
REQUEST_S_MAX: Final = 5.0
ANSWER_S_MAX: Final = 9.0  # below the client's own limit, so that it hears why
CONNECTIONS_MAX: Final = 256

_PEER_CREDENTIALS: Final = struct.Struct("=iII")  # struct ucred: pid, uid, gid
_ARITHMETIC: Final = re.compile(r"(?P<name>.*?)(?:(?P<one>\+\+)|\+=(?P<amount>-?\d+))")
_INFINITY: Final = 1_000_000

_EXIT_ERROR: Final = 1
_EXITS: Final = {
    ErrorCode.INVALID_REQUEST: 64,
    ErrorCode.INVALID_DOCUMENT: 64,
    ErrorCode.NOT_FOUND: 105,
    ErrorCode.PERMISSION_DENIED: 4,
    ErrorCode.UNAUTHENTICATED: 4,
    ErrorCode.NO_DC: 102,
    ErrorCode.UNREACHABLE: 102,
    ErrorCode.UNAVAILABLE: 102,
    ErrorCode.TIMEOUT: 102,
}


class AttributeSection(StrEnum):
    """Where an attribute lives: with the node's membership, with the node, or with the cluster.

    UTILIZATION is what a node has to offer (Pacemaker Explained, "Utilization"), and as permanent as NODES.
    """

    STATUS = "status"
    NODES = "nodes"
    UTILIZATION = "utilization"
    CRM_CONFIG = "crm_config"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeKey:
    """One attribute. `node` is a known node's name, "" for CRM_CONFIG; `set_id` is "" for the usual set."""

    section: AttributeSection
    node: str
    name: str
    set_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterNode:
    """One node of the cluster as crm_node lists it."""

    id: int
    name: str
    member: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where one instance of a resource runs; `role` is Started, Unpromoted or Promoted."""

    node: str
    role: str


class AgentBackend(Protocol):
    """What ha-crm has to know to answer agents. HaErrors become exit codes of the commands."""

    @property
    def local_node(self) -> str:
        """Our own name."""
        ...

    @property
    def quorate(self) -> bool:
        """Whether our partition has quorum."""
        ...

    def nodes(self) -> tuple[ClusterNode, ...]:
        """All configured nodes."""
        ...

    def attribute(self, key: AttributeKey) -> str | None:
        """The value as this node knows it, or None."""
        ...

    async def set_attribute(self, key: AttributeKey, value: str | None, dampen_ms: int | None) -> None:
        """Set, or with None delete. Returns when `attribute` here answers the new value.

        `dampen_ms` asks to wait so long for more changes before the cluster reacts; None keeps what was
        asked for before.
        """
        ...

    def locations(self, resource: str) -> tuple[Location, ...]:
        """Where a resource runs. Raises NotFound."""
        ...

    def resource_xml(self, resource: str) -> str:
        """The configuration of a resource. Raises NotFound."""
        ...

    def cib(self, xpath: str) -> str:
        """The CIB, or what an XPath names in it, an element a line. Raises NotFound, InvalidRequest."""
        ...

    def parameter(self, resource: str, kind: str, name: str) -> str | None:
        """A parameter ("params"), meta attribute ("meta") or utilization. Raises NotFound."""
        ...

    async def set_parameter(self, resource: str, kind: str, name: str, value: str | None) -> None:
        """Set it, or with None delete it. Raises NotFound, Unavailable."""
        ...

    async def ban(self, resource: str, node: str) -> None:
        """Keep a resource away from a node until `clear`. Raises NotFound, Unavailable."""
        ...

    async def clear(self, resource: str, node: str) -> None:
        """Take back bans and moves of a resource; from all nodes when `node` is empty. Raises NotFound."""
        ...

    async def transition(self) -> tuple[str, ...]:
        """What the DC is still about to do. Raises HaError when there is no DC in reach."""
        ...

    async def status(self) -> dict[str, Any]:
        """`status`: as ClusterStatus but the CIB; `cib`: the whole CIB as nested lists. Raises HaError."""
        ...

    async def fence(self, node: str, action: str) -> str:
        """Begin to fence (reboot, off) or unfence (on) a node; the record's id. Raises HaError."""
        ...

    def fencing_history(self, node: str) -> tuple[dict[str, Any], ...]:
        """Records of fencings as plain values; of all nodes when `node` is empty."""
        ...


@dataclass(slots=True)
class AgentSocket:
    """Serves one backend on one unix socket.

    Callers are root and `allowed_uids` (by default the user we run as).
    """

    path: Path
    backend: AgentBackend
    allowed_uids: frozenset[int] = field(default_factory=lambda: frozenset({0, os.geteuid()}))
    _connections: int = 0
    _arithmetic: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Listen until cancelled. A socket that a dead process left behind is replaced."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            self.path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.path))
        self.path.chmod(0o600)
        server = await asyncio.start_unix_server(self._accept, sock=listener, limit=REQUEST_BYTES_MAX)
        async with server:
            ready()
            await server.serve_forever()

    async def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request; never raises an HaError."""
        try:
            return {"ok": True, **await self._dispatch(request)}
        except HaError as error:
            return {"ok": False, "exit": _EXITS.get(error.code, _EXIT_ERROR), "error": str(error)}

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            answer = await self._conversation(reader, writer)
            if answer is not None:
                writer.write(json.dumps(answer).encode() + b"\n")
                async with asyncio.timeout(REQUEST_S_MAX):
                    await writer.drain()
        except (OSError, TimeoutError):
            return  # the caller went away; it has the same news from its end of the socket
        finally:
            self._connections -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _conversation(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> dict[str, Any] | None:
        """The answer to what comes in; None when nothing did."""
        if self._connections > CONNECTIONS_MAX:
            return _refusal(102, "too many agents call at once")
        uid = peer_uid(writer.get_extra_info("socket"))
        if uid not in self.allowed_uids:
            return _refusal(4, f"user {uid} may not change attributes")
        try:
            async with asyncio.timeout(REQUEST_S_MAX):
                line = await reader.readline()
        except ValueError:
            return _refusal(64, f"the request is longer than {REQUEST_BYTES_MAX} bytes")
        if not line:
            return None
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as error:
            return _refusal(64, f"the request is not JSON: {error}")
        if not isinstance(request, dict):
            return _refusal(64, "the request is not an object")
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                return await self.answer(request)
        except TimeoutError:
            return _refusal(102, f"no answer within {ANSWER_S_MAX:.0f} s; whether it happened is unknown")

    async def _dispatch(self, request: Mapping[str, Any]) -> dict[str, Any]:
        commands: dict[str, Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]] = {
            "query": self._query,
            "query-all": self._query_all,
            "update": self._update,
            "delete": self._delete,
            "nodes": self._nodes,
            "locate": self._locate,
            "resource-xml": self._resource_xml,
            "cib": self._cib,
            "parameter": self._parameter,
            "set-parameter": self._set_parameter,
            "ban": self._ban,
            "clear": self._clear,
            "transition": self._transition,
            "fence": self._fence,
            "fencing-history": self._fencing_history,
            "status": self._status,
        }
        command = commands.get(_text(request, "command"))
        if command is None:
            raise InvalidRequest(what=f"there is no command {request.get('command')!r}")
        return await command(request)

    async def _query(self, request: Mapping[str, Any]) -> dict[str, Any]:
        key = self._key(request)
        return {"node": key.node, "value": self.backend.attribute(key)}

    async def _query_all(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name, section = _name(request), _section(request)
        values = {}
        for node in self.backend.nodes():
            value = self.backend.attribute(AttributeKey(section=section, node=node.name, name=name))
            if value is not None:
                values[node.name] = value
        return {"values": values}

    async def _update(self, request: Mapping[str, Any]) -> dict[str, Any]:
        key, value, dampen_ms = self._key(request), request.get("value"), request.get("dampen_ms")
        if not isinstance(value, str):
            raise InvalidRequest(what="an update needs a value")
        if not is_text(value):
            raise InvalidRequest(what=f"{value[:80]!r} cannot be an attribute's value")
        if dampen_ms is not None and (not isinstance(dampen_ms, int) or dampen_ms < 0):
            raise InvalidRequest(what=f"{dampen_ms!r} is not a number of milliseconds")
        if arithmetic(value) is None:
            await self.backend.set_attribute(key, value, dampen_ms)
            return {}
        async with self._arithmetic:
            new = expanded(value, self.backend.attribute(key))
            await self.backend.set_attribute(key, new, dampen_ms)
        return {}

    async def _delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        key = self._key(request)
        if self.backend.attribute(key) is None:
            raise NotFound(kind="attribute", name=key.name)
        await self.backend.set_attribute(key, None, None)
        return {}

    async def _nodes(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        nodes = sorted(self.backend.nodes(), key=lambda node: node.id)
        return {
            "local": self.backend.local_node,
            "quorate": self.backend.quorate,
            "nodes": [{"id": node.id, "name": node.name, "member": node.member} for node in nodes],
        }

    async def _locate(self, request: Mapping[str, Any]) -> dict[str, Any]:
        found = self.backend.locations(_text(request, "id"))
        return {"locations": [{"node": one.node, "role": one.role} for one in found]}

    async def _resource_xml(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"xml": self.backend.resource_xml(_text(request, "id"))}

    async def _cib(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"xml": self.backend.cib(_text(request, "xpath"))}

    async def _parameter(self, request: Mapping[str, Any]) -> dict[str, Any]:
        value = self.backend.parameter(_text(request, "id"), _kind(request), _name(request))
        return {"value": value}

    async def _set_parameter(self, request: Mapping[str, Any]) -> dict[str, Any]:
        value = request.get("value")
        if value is not None and (not isinstance(value, str) or not is_text(value)):
            raise InvalidRequest(what=f"{value!r:.80} cannot be a parameter's value")
        await self.backend.set_parameter(_text(request, "id"), _kind(request), _name(request), value)
        return {}

    async def _ban(self, request: Mapping[str, Any]) -> dict[str, Any]:
        await self.backend.ban(_text(request, "id"), self._known_node(request))
        return {}

    async def _clear(self, request: Mapping[str, Any]) -> dict[str, Any]:
        node = self._known_node(request) if request.get("node") else ""
        await self.backend.clear(_text(request, "id"), node)
        return {}

    async def _transition(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        return {"actions": list(await self.backend.transition())}

    async def _fence(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"id": await self.backend.fence(self._known_node(request), _text(request, "action"))}

    async def _fencing_history(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"records": list(self.backend.fencing_history(_text(request, "node")))}

    async def _status(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        return await self.backend.status()

    def _known_node(self, request: Mapping[str, Any]) -> str:
        node = _text(request, "node")
        if all(one.name != node for one in self.backend.nodes()):
            raise NotFound(kind="node", name=node)
        return node

    def _key(self, request: Mapping[str, Any]) -> AttributeKey:
        section, node = _section(request), _text(request, "node")
        if section is AttributeSection.CRM_CONFIG:
            node = ""
        elif not node:
            node = self.backend.local_node
        elif all(one.name != node for one in self.backend.nodes()):
            raise NotFound(kind="node", name=node)
        return AttributeKey(section=section, node=node, name=_name(request), set_id=_text(request, "set"))


def peer_uid(connection: socket.socket) -> int:
    """The user at the other end of a unix socket, as the kernel knows it."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    _pid, uid, _gid = _PEER_CREDENTIALS.unpack(raw)
    return int(uid)


def arithmetic(value: str) -> int | None:
    """What "value++" (1) or "value+=n" adds; None for a plain value."""
    match = _ARITHMETIC.fullmatch(value)
    if match is None:
        return None
    return 1 if match["one"] else int(match["amount"])


def expanded(value: str, current: str | None) -> str:
    """The new value after arithmetic on `current`, which counts as 0 when unset; saturates at INFINITY."""
    amount = arithmetic(value)
    assert amount is not None, value
    text = (current or "0").upper()
    if text.lstrip("+-") == "INFINITY":
        number = -_INFINITY if text.startswith("-") else _INFINITY
    else:
        try:
            number = int(text)
        except ValueError:
            raise InvalidRequest(what=f"cannot add to {current!r}, which is not a number") from None
    total = number + amount
    if total >= _INFINITY:
        return "INFINITY"
    return "-INFINITY" if total <= -_INFINITY else str(total)


def _refusal(exit_code: int, error: str) -> dict[str, Any]:
    return {"ok": False, "exit": exit_code, "error": error}


def _text(request: Mapping[str, Any], key: str) -> str:
    text = request.get(key, "")
    if not isinstance(text, str):
        raise InvalidRequest(what=f"{key} is not a string")
    if not is_text(text):
        raise InvalidRequest(what=f"{key} has control characters: {text[:80]!r}")
    return text


def _name(request: Mapping[str, Any]) -> str:
    name = _text(request, "name")
    if not name or not name.isprintable() or len(name) > 255:
        raise InvalidRequest(what=f"{name[:80]!r} cannot name an attribute")
    return name


def _kind(request: Mapping[str, Any]) -> str:
    kind = _text(request, "kind")
    if kind not in ("params", "meta", "utilization"):
        raise InvalidRequest(what=f"a resource has no values of kind {kind!r}")
    return kind


def _section(request: Mapping[str, Any]) -> AttributeSection:
    section = _text(request, "section")
    try:
        return AttributeSection(section)
    except ValueError:
        raise InvalidRequest(what=f"there is no section {section!r}") from None
