"""What the shell needs of a link, whatever carries it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from hacluster.settings import Link


class Carrier(Protocol):
    """A link that carries heartbeats. `number` counts such links, `toml_number` all of cluster.toml."""

    number: int
    toml_number: int
    link: Link
    sent: int
    send_failures: int

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin, or try again until it works."""
        ...

    def close(self) -> None:
        """End."""
        ...

    def send(self, datagram: bytes, destination: int) -> None:
        """To one node or all; what cannot leave now is lost."""
        ...

    def drain(self) -> None:
        """Hand on what has come."""
        ...

    def use_peers(self, peers: Mapping[int, str]) -> None:
        """The other nodes' addresses on this link, by id."""
        ...

    def address_of(self, node: int) -> str:
        """Where the node is on this link; empty when it is not."""
        ...
