"""`--server NODE[=ADDRESS][:PORT]`: the ha-crm of another machine, reached with a user's certificate."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from hacluster import rpc
from hacluster.errors import InvalidRequest

PORT: Final = 5564
"""The one that the manual proposes for `[ports] api`."""

_SERVER: Final = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(=(\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[^:\[\]=]+)))?(:(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A node, by the name in its certificate; where it listens for users; who we are."""

    name: str
    address: str
    port: int
    tls: rpc.Tls

    def __str__(self) -> str:
        return f"ha-crm of {self.name} at {self.address} port {self.port}"

    def channel(self) -> grpc.aio.Channel:
        """Connects when it is used first."""
        return rpc.tcp_channel(self.address, self.port, self.tls, server_name=self.name)


def server_from(text: str, folder: str = "") -> Server:
    """What --server and --tls say. Raises InvalidRequest, InvalidDocument."""
    found = _SERVER.fullmatch(text)
    port = int((found and found["port"]) or PORT)
    if found is None or not 0 < port < 65_536:
        raise InvalidRequest(
            what=f"--server {text}", remedy="NODE[=ADDRESS][:PORT], an IPv6 address in brackets"
        )
    tls = rpc.read_tls(Path(folder).expanduser() if folder else Path.home() / ".config/hacluster/tls", "user")
    address = _address(found["six"] or found["four"] or found["name"])
    return Server(name=found["name"], address=address, port=port, tls=tls)


def _address(host: str) -> str:
    """The first IP address of a host."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise InvalidRequest(
            what=f"{host}: {error.strerror or error}", remedy="name its address: --server NODE=ADDRESS"
        ) from None
