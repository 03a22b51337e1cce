"""Where files live: etc, var and run below one root (`--root DIR` or HACLUSTER_ROOT)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT_VARIABLE = "HACLUSTER_ROOT"


@dataclass(frozen=True, slots=True)
class Paths:
    """All places of one node. Nothing is created here."""

    root: Path = Path("/")

    @classmethod
    def from_environment(cls, root: str | None = None) -> Paths:
        """`root` wins over HACLUSTER_ROOT, which wins over "/"."""
        return cls(Path(root or os.environ.get(ROOT_VARIABLE) or "/").absolute())

    @property
    def etc(self) -> Path:
        """Configuration."""
        return self.root / "etc/hacluster"

    @property
    def cluster_toml(self) -> Path:
        """The same file on every node."""
        return self.etc / "cluster.toml"

    @property
    def authkeys(self) -> Path:
        """Heartbeat keys, mode 0600."""
        return self.etc / "authkeys"

    @property
    def tls(self) -> Path:
        """ca.pem, node.pem and node.key."""
        return self.etc / "tls"

    @property
    def var(self) -> Path:
        """State that survives a reboot."""
        return self.root / "var/lib/hacluster"

    @property
    def run(self) -> Path:
        """State that a reboot voids, and the sockets."""
        return self.root / "run/hacluster"

    @property
    def messaging_socket(self) -> Path:
        """ha-messaging, gRPC."""
        return self.run / "messaging.sock"

    @property
    def crm_socket(self) -> Path:
        """ha-crm, gRPC: what hacli talks to."""
        return self.run / "crm.sock"

    @property
    def lrm_socket(self) -> Path:
        """ha-lrm, gRPC."""
        return self.run / "lrm.sock"

    @property
    def lrm_exec_socket(self) -> Path:
        """lrm-exec, ha-lrm's own."""
        return self.run / "lrm-exec.sock"

    @property
    def agent_socket(self) -> Path:
        """ha-crm: what agents' commands call back on, one line of JSON each way."""
        return self.run / "agent.sock"

    @property
    def agent_tmp(self) -> Path:
        """HA_RSCTMP: agents' state files; emptied at boot."""
        return self.root / "run/resource-agents"

    @property
    def log(self) -> Path:
        """Log files where there is no journal."""
        return self.root / "var/log/hacluster"
