"""The storage of the replicated CIB on a simulated disk."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.engine import Disk


class SimStorage:
    """`crm.cib.storage.Storage` on a simulated disk.

    Appends are seen at once. What makes something durable is put off until `finish`; a power cut before it
    finds some of that done, in order.
    """

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.putting_off = False
        self._later: list[Callable[[], None]] = []

    def finish(self, how_many: int | None = None) -> None:
        """Do what was put off, or the first so many of it."""
        later, self._later = self._later, []
        for action in later[:how_many]:
            action()

    @property
    def pending(self) -> int:
        return len(self._later)

    def _do(self, action: Callable[[], None]) -> None:
        if self.putting_off:
            self._later.append(action)
        else:
            action()

    def names(self, folder: str = "") -> list[str]:
        place = f"cib/{folder}/" if folder else "cib/"
        inside = [name.removeprefix(place) for name in self.disk.visible if name.startswith(place)]
        return sorted(name for name in inside if "/" not in name)

    def read(self, name: str) -> bytes | None:
        return self.disk.read(f"cib/{name}")

    def append(self, name: str, data: bytes) -> None:
        self.disk.append(f"cib/{name}", data)

    def sync(self, name: str) -> None:
        self._do(lambda: self.disk.sync(f"cib/{name}"))

    def truncate(self, name: str, size: int) -> None:
        def action() -> None:
            self.disk.truncate(f"cib/{name}", size)
            self.disk.sync(f"cib/{name}")

        self._do(action)

    def replace(self, name: str, data: bytes) -> None:
        def action() -> None:
            self.disk.write(f"cib/{name}", data)
            self.disk.sync(f"cib/{name}")

        self._do(action)

    def rename(self, old: str, new: str) -> None:
        def action() -> None:
            self.disk.rename(f"cib/{old}", f"cib/{new}")
            self.disk.sync(f"cib/{new}")
            self.disk.durable.pop(f"cib/{old}", None)

        self._do(action)

    def remove(self, name: str) -> None:
        self._do(lambda: self.disk.remove(f"cib/{name}"))
