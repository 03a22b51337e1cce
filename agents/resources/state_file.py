"""A small file that says a pseudo resource is active: written whole or not at all, gone after a reboot."""

from __future__ import annotations

import os


class StateFile:
    """One state file; its folder is made when it is missing."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> str | None:
        """The text, or None when there is no file."""
        try:
            with open(self.path) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def write(self, text: str) -> None:
        """Replace the file in one step."""
        os.makedirs(os.path.dirname(self.path) or "/", mode=0o755, exist_ok=True)
        new = f"{self.path}.{os.getpid()}"
        with open(new, "w") as file:
            file.write(text)
        os.replace(new, self.path)

    def remove(self) -> None:
        """Remove the file; fine when it is gone."""
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return
