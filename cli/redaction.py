"""Text and CIBs without what is secret, for reports that leave the house. Pure."""

from __future__ import annotations

import re
from typing import Final

from crm.cib.model import Element

HIDDEN: Final = "******"
_WORDS: Final = r"passw\w*|passphrase|secret\w*|token|api[-_]?key|private[-_]?key|auth[-_]?key\w*|community"
_NAME: Final = re.compile(rf"(?i).*(?:{_WORDS}).*|password_script")
_PAIR: Final = re.compile(
    rf"""(?i)((?:[\w.-]*(?:{_WORDS})[\w.-]*)["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;<>"']+)"""
)
_PEM: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)


def is_secret(name: str) -> bool:
    """An attribute of that name is nobody else's business."""
    return _NAME.fullmatch(name) is not None


def without_secrets(item: Element) -> Element:
    """The tree with values of secret names hidden: pairs, and attributes of parameters in the history."""
    if item.tag == "nvpair" and is_secret(item.get("name")):
        return item.with_attributes(value=HIDDEN)
    hidden: dict[str, str | None] = {name: HIDDEN for name in item.attributes if is_secret(name)}
    changed = item.with_attribute_map(hidden) if hidden else item
    return changed.mapped(without_secrets)


_SET: Final = re.compile(r"\bsec\w*\s+\S+\s+set\s")


def holds_secret(line: str) -> bool:
    """A command line that is better forgotten: it gives a value to what is named like a secret."""
    return redacted(line) != line or _SET.search(line) is not None


def redacted(text: str) -> str:
    """A log or a file, with values after secret names hidden, and private keys."""
    return _PAIR.sub(lambda found: found[1] + HIDDEN, _PEM.sub(HIDDEN, text))
