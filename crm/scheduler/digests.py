"""Digests of an operation's parameters, as the history stores them and configuration changes are found by.

A digest is the MD5 of one line of XML with sorted attributes; three kinds are kept: of all parameters
(op-digest), of those whose change needs a restart (op-restart-digest with op-force-restart), and of all
but the private ones (op-secure-digest with op-secure-params).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from hacluster.records import record

# What a transition adds to the parameters; CRM_meta_* are left out, too.
_INTERNAL: Final = frozenset(
    {"id", "crm_feature_set", "op-digest", "on_node", "on_node_uuid", "pcmk_external_ip"}
)
TIMEOUT_NAME: Final = "CRM_meta_timeout"


@record(frozen=True, kw_only=True)
class OperationDigests:
    """What a history entry stores; empty strings are not written."""

    op_digest: str
    op_force_restart: str = ""
    op_restart_digest: str = ""
    op_secure_params: str = ""
    op_secure_digest: str = ""


def plain_parameters(parameters: Mapping[str, str]) -> dict[str, str]:
    """The parameters an agent sees: without meta attributes and the transition's own."""
    return {
        name: value
        for name, value in parameters.items()
        if not name.startswith("CRM_meta_") and name not in _INTERNAL
    }


def digest_of(parameters: Mapping[str, str]) -> str:
    """The MD5 of the parameters, 32 hexadecimal digits; the order of the mapping does not matter."""
    return _digest(tuple(sorted(parameters.items(), key=lambda pair: pair[0].encode())))


@lru_cache(maxsize=16384)
def _digest(pairs: tuple[tuple[str, str], ...]) -> str:
    text = "".join(f' {name}="{_escape(value)}"' for name, value in pairs)
    import hashlib  # loads OpenSSL: not for a cluster without histories

    return hashlib.md5(f" <parameters{text}/>\n".encode(), usedforsecurity=False).hexdigest()


def _escape(value: str) -> str:
    return (
        value.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace('"', "&quot;")
        .replace("\n", "&#10;")
        .replace("\r", "&#13;")
        .replace("\t", "&#9;")
    )


def without(parameters: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """The parameters but for those named."""
    left_out = frozenset(names)
    return {name: value for name, value in parameters.items() if name not in left_out}


def only(parameters: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Those of the parameters that are named."""
    wanted = frozenset(names)
    return {name: value for name, value in parameters.items() if name in wanted}


def operation_digests(
    parameters: Mapping[str, str],
    *,
    interval_ms: int,
    timeout_ms: int,
    private_names: Iterable[str] = (),
    reloadable_names: Iterable[str] | None = None,
) -> OperationDigests:
    """The digests to record for an operation that was run with these parameters.

    `reloadable_names`: parameters whose change the agent can take by reload-agent; None where it has no such
    action. `private_names`: parameters its meta-data marks private. Recurring operations have their timeout
    among the parameters.
    """
    plain = plain_parameters(parameters)
    everything = dict(plain)
    if interval_ms > 0:
        everything[TIMEOUT_NAME] = str(timeout_ms)
    restart_names = restart_digest = ""
    if reloadable_names is not None and interval_ms == 0:
        forcing = sorted(set(plain) - set(reloadable_names))
        restart_names = f" {' '.join(forcing)} "
        restart_digest = digest_of(only(plain, forcing))
    private = sorted(set(private_names))
    return OperationDigests(
        op_digest=digest_of(everything),
        op_force_restart=restart_names,
        op_restart_digest=restart_digest,
        op_secure_params=f" {' '.join(private)} " if private else "",
        op_secure_digest=digest_of(without(everything, private)) if private else "",
    )
