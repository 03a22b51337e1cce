"""Namespaces of our own for tests of agents: a node, or one at each end of a cable."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from agents.catalog import our_ocf_root, our_sbin_dir

ROOT = Path(__file__).resolve().parents[2]
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
SDK_DOOR = (
    "import os, sys; sys.path.insert(0, sys.argv[1]); from agents import sdk; "
    "os._exit(sdk.run(sys.argv[2], sys.argv[3], os.environ))"
)
DOORS = ("executable", "sdk")


@dataclass(frozen=True, slots=True)
class Ended:
    """How one action ended."""

    rc: int
    stdout: str
    stderr: str


@dataclass(slots=True)
class Ground:
    """A process that holds a network and a mount namespace; ends with the context."""

    holder: subprocess.Popen[str] | None = field(default=None)

    def __enter__(self) -> Ground:
        self.holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", "ip link set lo up && echo ready && exec sleep 600"],
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": PATH},
        )
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == "ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.holder is not None
        assert self.holder.stdout is not None
        self.holder.kill()
        self.holder.wait(10)
        self.holder.stdout.close()

    @property
    def pid(self) -> int:
        assert self.holder is not None
        return self.holder.pid

    def inside(self, *argv: str) -> list[str]:
        """The command that runs `argv` in here."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", f"--mount=/proc/{self.pid}/ns/mnt", "--", *argv]

    def sh(self, script: str, timeout_s: float = 30) -> str:
        """Run a shell script in here; its output. It must succeed."""
        done = subprocess.run(
            self.inside("sh", "-ec", script),
            env={"PATH": PATH},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def spawn(self, *argv: str) -> subprocess.Popen[str]:
        """Run something in here beside the test."""
        return subprocess.Popen(
            self.inside(*argv), env={"PATH": PATH}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource of one of our agents on a ground, through one of the two doors."""

    ground: Ground
    kind: str
    folder: Path
    parameters: Mapping[str, str]
    door: str = "executable"
    timeout_ms: int = 20_000

    def __call__(self, action: str, **more: str) -> Ended:
        """Run an action; `more` are environment variables."""
        environ = {
            "PATH": f"{PATH}:{self.folder}",
            "OCF_ROOT": "/usr/lib/ocf",
            "OCF_RESOURCE_INSTANCE": f"test-{self.kind}",
            "OCF_RESKEY_CRM_meta_timeout": str(self.timeout_ms),
            "OCF_RESKEY_CRM_meta_interval": "0",
            "OCF_RESKEY_CRM_meta_on_node": "node1",
            "HA_RSCTMP": str(self.folder / "rsctmp"),
            "HA_AGENT": str(our_sbin_dir().parent / "bin/ha-agent"),
            "HA_PYTHON": sys.executable,
            "HACLUSTER_AGENT_SOCKET": str(self.folder / "agent.sock"),
            **{f"OCF_RESKEY_{name}": value for name, value in self.parameters.items()},
            **more,
        }
        if self.door == "executable":
            argv = [str(our_ocf_root() / "resource.d/hacluster" / self.kind), action]
        else:
            argv = [sys.executable, "-c", SDK_DOOR, str(ROOT), self.kind, action]
        done = subprocess.run(
            self.ground.inside(*argv), env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def rc(self, action: str, **more: str) -> int:
        """The exit code of an action."""
        return self(action, **more).rc


def needs_root() -> str:
    """Why these tests cannot run here; "" when they can."""
    return "" if os.geteuid() == 0 else "needs root for network and mount namespaces"
