"""The solo right in /run: kept over the end of the daemon, gone with the boot."""

from __future__ import annotations

import json
from pathlib import Path


class SoloRightFile:
    """One small file; it names our boot, so that one left from another boot counts for nothing."""

    def __init__(self, path: Path, boot_token: str) -> None:
        self._path = path
        self._boot_token = boot_token

    def read(self) -> str:
        """The other voter's boot token; empty when there is no right."""
        try:
            data = json.loads(self._path.read_text())
        except (FileNotFoundError, ValueError):
            return ""
        mine = isinstance(data, dict) and data.get("boot") == self._boot_token
        return str(data.get("right", "")) if mine else ""

    def keep(self, right: str) -> None:
        """Replace it. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({"boot": self._boot_token, "right": right}))
        fresh.replace(self._path)
