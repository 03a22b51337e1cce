"""What the level `history` looks at: a time, nodes, and what is left out; as long as the shell lasts."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from cli.workspace import write_atomically
from hacluster.errors import InvalidDocument, InvalidRequest, NotFound

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """`from_s`, `to_s`: seconds since 1970, 0 without a limit. No `nodes` means all of them."""

    from_s: int = 0
    to_s: int = 0
    nodes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def holds(self, at_s: float) -> bool:
        """That moment is looked at."""
        return self.from_s <= at_s and (not self.to_s or at_s < self.to_s + 1)

    def shows(self, line: str) -> bool:
        """Nothing that is left out fits the line."""
        return not any(re.search(pattern, line) for pattern in self.exclude)

    def is_about(self, names: Iterable[str]) -> bool:
        """One of the names is a node that is looked at."""
        return not self.nodes or bool({*names} & {*self.nodes})

    def lines(self) -> list[str]:
        """In words."""
        begin = time.strftime("%F %T", time.localtime(self.from_s)) if self.from_s else "what is kept"
        end = time.strftime("%F %T", time.localtime(self.to_s)) if self.to_s else "now"
        return [
            f"from: {begin}",
            f"to: {end}",
            f"nodes: {' '.join(self.nodes) or 'all'}",
            *(f"left out: {pattern}" for pattern in self.exclude),
        ]


def pattern_of(text: str) -> str:
    """A regular expression. Raises InvalidRequest."""
    try:
        re.compile(text)
    except re.error as error:
        raise InvalidRequest(what=f"{text!r} is no regular expression: {error}") from None
    return text


@dataclass(frozen=True, slots=True)
class Sessions:
    """What was kept under names, in files of this user's."""

    folder: Path

    @classmethod
    def of_this_user(cls) -> Sessions:
        """In the user's own data folder."""
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
        return cls(data / "hacluster/history")

    def path(self, name: str) -> Path:
        """Raises InvalidRequest for what cannot be a name."""
        if _NAME.fullmatch(name) is None:
            raise InvalidRequest(
                what=f"{name!r} cannot name a session", remedy="letters, digits, - and _ are allowed"
            )
        return self.folder / f"{name}.json"

    def names(self) -> list[str]:
        """All there are, sorted."""
        return sorted(one.stem for one in self.folder.glob("*.json"))

    def save(self, name: str, past: Past) -> None:
        """Raises InvalidRequest, OSError."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(asdict(past), indent=1).encode() + b"\n")

    def load(self, name: str) -> Past:
        """Raises NotFound, InvalidDocument, OSError."""
        path = self.path(name)
        if not path.exists():
            raise NotFound(kind="session", name=name)
        try:
            read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return Past(
                from_s=int(read["from_s"]),
                to_s=int(read["to_s"]),
                nodes=tuple(str(one) for one in read["nodes"]),
                exclude=tuple(pattern_of(str(one)) for one in read["exclude"]),
            )
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidDocument(
                source=str(path), line=0, what=f"not a session: {error}", remedy=f"`session delete {name}`"
            ) from None

    def delete(self, name: str) -> None:
        """Raises NotFound, InvalidRequest, OSError."""
        path = self.path(name)
        if not path.exists():
            raise NotFound(kind="session", name=name)
        path.unlink()
