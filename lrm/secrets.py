"""Parameter values that are not in the CIB: `lrm://` stands for a file on this node (agents.md section 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hacluster.vocabulary.operation import Operation

PLACEHOLDER: Final = "lrm://"
SECRET_BYTES_MAX: Final = 64 * 1024
_PACEMAKERS: Final = Path("/var/lib/pacemaker/lrm/secrets")


@dataclass(frozen=True, slots=True)
class Revealed:
    """Parameters to call the agent with, and which are missing or damaged, by name."""

    parameters: Mapping[str, str]
    missing: tuple[str, ...] = ()


def has_secrets(operation: Operation) -> bool:
    """Whether any value has to be looked up."""
    return any(value == PLACEHOLDER for value in operation.parameters.values())


def reveal(operation: Operation, var: Path) -> Revealed:
    """The values from VAR/lrm/secrets/RSC/PARAM, else from Pacemaker's folder. Reads files; raises nothing.

    Trailing white space is not part of a secret; PARAM.sign must hold its MD5, as Pacemaker's tools write it.
    """
    parameters = dict(operation.parameters)
    missing = []
    for name, value in operation.parameters.items():
        if value != PLACEHOLDER:
            continue
        secret = _read(operation.resource, name, (var / "lrm/secrets", _PACEMAKERS))
        if secret is None:
            del parameters[name]
            missing.append(name)
        else:
            parameters[name] = secret
    return Revealed(parameters, tuple(missing))


def _read(resource: str, name: str, folders: tuple[Path, ...]) -> str | None:
    if "/" in resource or "/" in name or name.startswith(".") or resource.startswith("."):
        return None
    for folder in folders:
        path = folder / resource / name
        try:
            with path.open("rb") as file:
                secret = file.read(SECRET_BYTES_MAX).decode(errors="surrogateescape").rstrip()
            signature = path.with_name(f"{name}.sign").read_text().strip()
        except OSError:
            continue
        digest = hashlib.md5(secret.encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
        if digest == signature:
            return secret
    return None
