"""What a mutant is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class Mutant(Protocol):
    """One rule of the protocol, broken for as long as it is entered; some seed of `scenario` must show it."""

    @property
    def what(self) -> str:
        """In words."""
        ...

    @property
    def scenario(self) -> str:
        """The class that finds it."""
        ...

    def entered(self) -> AbstractContextManager[None]:
        """Break it, and mend it afterwards."""
        ...
