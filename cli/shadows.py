"""Shadow CIBs: copies to try changes on, in files of the user's; each knows what it was copied from."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.workspace import FileSource, write_atomically
from crm.cib import codec
from crm.cib.model import Element, element
from hacluster.errors import InvalidRequest, NotFound

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


def is_name(word: str) -> bool:
    """A shadow's name: letters, digits, - and _; so it cannot be taken for a file with a suffix."""
    return _NAME.fullmatch(word) is not None


@dataclass(frozen=True, slots=True)
class Shadows:
    """All shadows of this user."""

    folder: Path

    @classmethod
    def of_this_user(cls) -> Shadows:
        """CIB_shadow_dir, else in the user's own data folder."""
        given = os.environ.get("CIB_shadow_dir")  # noqa: SIM112 (Pacemaker's spelling)
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
        return cls(Path(given) if given else data / "hacluster/shadows")

    def path(self, name: str) -> Path:
        """Where it is. Raises InvalidRequest for what cannot be a name."""
        if not is_name(name):
            raise InvalidRequest(
                what=f"{name!r} cannot name a shadow", remedy="letters, digits, - and _ are allowed"
            )
        return self.folder / f"shadow.{name}"

    def existing(self, name: str) -> Path:
        """As `path`. Raises NotFound."""
        path = self.path(name)
        if not path.exists():
            raise NotFound(kind="shadow", name=name)
        return path

    def base(self, name: str) -> Element:
        """The CIB that it was copied from. Raises NotFound, InvalidDocument."""
        self.existing(name)
        return FileSource(str(self.path(name).with_suffix(f".{name}.base"))).read().cib

    def write(self, name: str, cib: Element, *, status: bool, force: bool) -> None:
        """Make it from a CIB. Raises InvalidRequest when it is there already."""
        path = self.path(name)
        if path.exists() and not force:
            raise InvalidRequest(what=f"the shadow {name} exists", remedy="use `force`, or `cib reset`")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = cib if status else cib.mapped(lambda one: element("status") if one.tag == "status" else one)
        data = codec.render(kept).encode()
        write_atomically(path.with_suffix(f".{name}.base"), data, 0o600)
        write_atomically(path, data, 0o600)

    def names(self) -> tuple[str, ...]:
        """All there are, sorted."""
        if not self.folder.is_dir():
            return ()
        found = (path.name.removeprefix("shadow.") for path in self.folder.glob("shadow.*"))
        return tuple(sorted(name for name in found if is_name(name)))

    def delete(self, name: str) -> None:
        """Raises NotFound."""
        path = self.existing(name)
        path.unlink()
        path.with_suffix(f".{name}.base").unlink(missing_ok=True)
