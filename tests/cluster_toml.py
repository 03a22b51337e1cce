"""A small cluster.toml for tests that need one and say nothing of its contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ID = "9f86d081884c7d659a2feaa0c55ad015"


def cluster_toml(
    addresses: Sequence[str], *, name: str = "web", port: int = 694, timers: Mapping[str, str] | None = None
) -> str:
    """The nodes n1, n2, … with one address each, and one link over UDP."""
    parts = [f'[cluster]\nname = "{name}"\nid = "{ID}"\n']
    if timers:
        parts += ["[timers]\n", *(f'{key} = "{value}"\n' for key, value in timers.items())]
    parts.append(f'[[link]]\nkind = "udp"\nport = {port}\n')
    for number, address in enumerate(addresses, 1):
        parts.append(f'[[node]]\nid = {number}\nname = "n{number}"\naddresses = ["{address}"]\n')
    return "".join(parts)
