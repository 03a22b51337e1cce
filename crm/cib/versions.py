"""The CIB's version triple: admin_epoch.epoch.num_updates. It never goes back; the log's index decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hacluster.digits import is_count


@dataclass(frozen=True, slots=True, order=True)
class CibVersion:
    """Ordered like Pacemaker's: admin_epoch, then epoch, then num_updates."""

    admin_epoch: int = 0
    epoch: int = 0
    num_updates: int = 0

    @classmethod
    def of(cls, attributes: Mapping[str, str]) -> CibVersion:
        """From the attributes of a <cib> element; what is missing or no number counts as 0."""

        def number(name: str) -> int:
            text = attributes.get(name, "")
            return int(text) if is_count(text) else 0

        return cls(number("admin_epoch"), number("epoch"), number("num_updates"))

    def configuration_changed(self) -> CibVersion:
        """After one change of the configuration."""
        return replace(self, epoch=self.epoch + 1, num_updates=0)

    def status_changed(self) -> CibVersion:
        """After one change of the status."""
        return replace(self, num_updates=self.num_updates + 1)

    def forced(self) -> CibVersion:
        """After the operator forced quorum: above everything an older admin_epoch can reach."""
        return CibVersion(self.admin_epoch + 1, self.epoch + 1, 0)

    def attributes(self) -> dict[str, str]:
        """As attributes of a <cib> element."""
        return {
            "admin_epoch": str(self.admin_epoch),
            "epoch": str(self.epoch),
            "num_updates": str(self.num_updates),
        }

    def __str__(self) -> str:
        return f"{self.admin_epoch}.{self.epoch}.{self.num_updates}"


NO_VERSION = CibVersion()
"""Before anything is known."""
