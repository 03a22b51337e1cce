"""iproute2's `ip -j` for agents that change routes: a word list in, what JSON says out."""

from __future__ import annotations

import subprocess

from agents import sdk
from hacluster.vocabulary.ocf_exit import OcfExit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TIMEOUT_S = 15


def run(*words: str) -> str:
    """Run `ip`; its output. Raises AgentFailure with what it said."""
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise sdk.AgentFailure(OcfExit.ERR_INSTALLED, "there is no ip (package iproute2)") from None
    except subprocess.TimeoutExpired:
        raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"ip {' '.join(words)} does not end") from None
    if done.returncode != 0:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"ip {' '.join(words)}: {said}")
    return done.stdout


def routes(family: str, *words: str) -> list[dict[str, Any]]:
    """`ip route show`; none for a table that does not exist."""
    import json

    try:
        text = run("-j", family, "route", "show", *words)
    except sdk.AgentFailure as failure:
        if "FIB table does not exist" in failure.reason:
            return []
        raise
    return [dict(one) for one in json.loads(text or "[]")]


def family_of(address: str) -> str:
    """`-4` or `-6`."""
    return "-6" if ":" in address else "-4"
