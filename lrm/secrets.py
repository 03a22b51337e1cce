"""Parameter values that are not in the CIB: `lrm://` stands for a file on this node (agents.md section 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hacluster.vocabulary.operation import Operation

PLACEHOLDER: Final = "lrm://"
HIDDEN_CHARACTERS_MIN: Final = 4
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

    RSC is the instance (web:0), else the resource (web); of a fencing it is the device. White space at its
    end is not part of a secret; PARAM.sign must hold its MD5, as Pacemaker's tools write it.
    """
    parameters = dict(operation.parameters)
    missing = []
    for name, value in operation.parameters.items():
        if value != PLACEHOLDER:
            continue
        secret = _secret(operation.owner, name, (var / "lrm/secrets", _PACEMAKERS))
        if secret is None:
            del parameters[name]
            missing.append(name)
        else:
            parameters[name] = secret
    return Revealed(parameters, tuple(missing))


def hide(operation: Operation, var: Path, text: str) -> str:
    """What an agent said, for the history and the log: its secrets in it are the placeholder again.

    Of a secret with several lines each is looked for. One shorter than HIDDEN_CHARACTERS_MIN stays: it is in
    many a word, and what was put in its place would tell it.
    """
    if not text or not has_secrets(operation):
        return text
    known = reveal(operation, var).parameters
    values = [
        known[name] for name, value in operation.parameters.items() if value == PLACEHOLDER and name in known
    ]
    parts = {part for value in values for part in (value, *map(str.strip, value.splitlines()))}
    for part in sorted(parts, key=lambda one: (-len(one), one)):
        if len(part) >= HIDDEN_CHARACTERS_MIN:
            text = text.replace(part, PLACEHOLDER)
    return text


def _secret(owner: str, name: str, folders: tuple[Path, ...]) -> str | None:
    secret = _read(owner, name, folders)
    resource, _, instance = owner.rpartition(":")
    if secret is None and resource and instance.isdecimal():
        return _read(resource, name, folders)
    return secret


def _read(resource: str, name: str, folders: tuple[Path, ...]) -> str | None:
    if any(part.startswith(".") or "/" in part or "\0" in part for part in (resource, name)):
        return None
    for folder in folders:
        path = folder / resource / name
        try:
            with path.open("rb") as file:
                secret = file.read(SECRET_BYTES_MAX).decode(errors="surrogateescape").rstrip()
            signature = path.with_name(f"{name}.sign").read_bytes().strip()
        except OSError:
            continue
        digest = hashlib.md5(secret.encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
        if digest.encode() == signature:
            return secret
    return None
