"""Nodes of a cluster as namespaces of this machine: the demo's stage, and what tests/live stands on.

A lab is one process (machine_room) in mount, net and pid namespaces of its own, inside which every node and
the client live; as an ordinary user all that is inside a user namespace. A node is mount, net, pid, uts and
ipc namespaces with the supervisor as its first process. Nothing of it exists outside, so nothing can be left
behind: when the machine room ends, by whatever cause, the kernel takes the rest along.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from cli.demo.ground import (
    CODE,
    HERE,
    NAMESPACES,
    LabError,
    host_env,
    needs_user_namespace,
    requirements,
    user_flags,
)
from cli.demo.node import READY_WITHIN_S, Interface, Node

PING_ADDRESS: Final = "172.16.0.1"
"""The first bridge's own address: a neighbour that is no node, for ping links."""

_FIRST_HOST: Final = 31  # 172.16.20.31 is the tutorial's node1
_CLIENT_HOST: Final = 200
LOG_DIR: Final = "/var/log/hacluster"

_CUT_TABLE: Final = """\
table inet lab
delete table inet lab
table inet lab {
  set cut { type ipv4_addr; flags interval; %s }
  chain input { type filter hook input priority -300; ip saddr @cut drop; }
}
"""


class Lab:
    """A set of nodes on `links` bridges. Use it as a context manager; leaving it ends everything."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        name: str = "lab",
        links: int = 1,
        helpers: Mapping[str, str] | None = None,
    ) -> None:
        requirements()
        self.name = name
        self.links = links
        self._helpers = dict(helpers or {})
        self._kept = False
        self._room: subprocess.Popen[str] | None = None
        self._guests: list[subprocess.Popen[str]] = []
        self.base = Path(tempfile.mkdtemp(prefix=f"hacluster-{name}-"))
        self.base.chmod(0o755)
        self.room_pid = 0
        try:
            self._open_room()
            bridges = [{"name": f"br{link}", "addresses": []} for link in range(links)]
            bridges[0]["addresses"] = [f"{PING_ADDRESS}/16"]
            for bridge in bridges:
                self.ask("bridge", **bridge)
            self.nodes = tuple(Node(self, n, each, self._interfaces(n)) for n, each in enumerate(names, 1))
            for folder in ("shared", *names):
                (self.base_seen_from_here / folder).mkdir()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if name in (node.name, node.name.partition(".")[0]))

    def _interfaces(self, number: int) -> tuple[Interface, ...]:
        host = _FIRST_HOST + number - 1
        return tuple(
            Interface(
                name=f"eth{link}",
                bridge=f"br{link}",
                address=f"172.{16 + link}.20.{host}/16",
                mac=f"02:ac:{16 + link:02x}:14:00:{host:02x}",
            )
            for link in range(self.links)
        )

    # --- the machine room

    def _open_room(self) -> None:
        room = [
            sys.executable,
            "-IS",
            str(HERE / "machine_room.py"),
            "--lab",
            self.name,
            "--base",
            str(self.base),
        ]
        flags = ("--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private")
        self._room = subprocess.Popen(
            ["unshare", *user_flags(), *flags, *room],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is ours to handle
            env=host_env(),
        )
        self._answer()
        self.room_pid = _last_descendant(self._room.pid)

    def ask(self, do: str, **values: Any) -> dict[str, Any]:
        """One request to the machine room; raises LabError when it fails."""
        assert self._room is not None
        assert self._room.stdin is not None
        try:
            self._room.stdin.write(json.dumps({"do": do, **values}) + "\n")
            self._room.stdin.flush()
        except OSError as error:
            raise LabError(what=f"the lab's machine room is gone ({do}: {error})") from error
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._room is not None
        assert self._room.stdout is not None
        line = self._room.stdout.readline()
        if not line:
            raise LabError(what=f"the lab's machine room ended: {_last_words(self._room)}")
        reply: dict[str, Any] = json.loads(line)
        if not reply["ok"]:
            raise LabError(what=f"lab: {reply['error']}")
        return reply

    @property
    def base_seen_from_here(self) -> Path:
        """The lab's tmpfs, which is mounted in the machine room only."""
        return Path(f"/proc/{self.room_pid}/root{self.base}")

    @property
    def shared(self) -> Path:
        """What every node sees as /shared."""
        return self.base_seen_from_here / "shared"

    def pid_in_room(self, pid: int) -> int:
        """A process's pid as the machine room sees it."""
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[2])
        raise LabError(what=f"process {pid} is in no pid namespace of the lab")

    def enter(self, pid: int, *command: str) -> list[str]:
        """The command line that runs `command` in the namespaces of a process of the lab."""
        return enter_command(pid, *command, in_room=pid == self.room_pid)

    def guest(self, script: str, *words: str, address: str | None = None) -> subprocess.Popen[str]:
        """Run one of our scripts inside the machine room, with lines in and out; it ends with its input.

        With `address` it gets a net namespace of its own with an interface on the first bridge, and is
        told "go" when that is there.
        """
        own_net = ["unshare", "--net", "--"] if address else []
        command = [*own_net, sys.executable, "-IS", str(HERE / script), *words]
        guest = subprocess.Popen(
            self.enter(self.room_pid, *command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=host_env(),
            start_new_session=True,
        )
        self._guests.append(guest)
        assert guest.stdin is not None
        assert guest.stdout is not None
        if guest.stdout.readline() != "ready\n":
            raise LabError(what=f"{script} did not start: {_last_words(guest)}")
        if address:
            pid = self.pid_in_room(_last_descendant(guest.pid))
            port = f"guest{len(self._guests)}"
            self.ask("wire", pid=pid, port=port, bridge="br0", peer="eth0")
            guest.stdin.write("go\n")
            guest.stdin.flush()
        return guest

    def client_address(self, number: int = 0) -> str:
        """The address of a client on the first bridge, with its prefix length."""
        return f"172.16.20.{_CLIENT_HOST + number}/16"

    # --- nodes

    def port(self, node: Node, interface: Interface) -> str:
        """The bridge's end of a node's cable."""
        return f"p{node.number}-{interface.name}"

    def boot_node(self, node: Node, command: Sequence[str] | None) -> None:
        """Start its namespaces, plug its cables, let it run the supervisor (or `command`)."""
        supervisor = [sys.executable, "-m", "hacluster.supervisor", "--node", node.name]
        supervisor += ["--log-dir", LOG_DIR, "--log-format", "json", *node.boot_args]
        root = self.base / f"root-{node.number}"
        (self.base_seen_from_here / root.name).mkdir(exist_ok=True)
        plan = {
            "name": node.name,
            "root": str(root),
            "disk": str(self.base / node.name),
            "shared": str(self.base / "shared"),
            "needed": sorted({str(CODE), sys.prefix, sys.base_prefix}),
            "copies": _foreign_agents(),
            "helpers": self._helpers,
            "hosts": [(each.interfaces[0].ip, each.name) for each in self.nodes],
            "interfaces": [(each.name, each.address) for each in node.interfaces],
            "routes": [],
            "log": f"{LOG_DIR}/supervisor.log",
            "command": list(command or supervisor),
            "environment": node.environment,
        }
        init = [sys.executable, "-IS", str(HERE / "node_init.py"), json.dumps(plan)]
        unshare = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--propagation", "private"]
        launcher = subprocess.Popen(
            self.enter(self.room_pid, *unshare, *init),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=host_env(),
            start_new_session=True,
        )
        node.launcher = launcher
        self._expect(node, "ready")
        node.first = _last_descendant(launcher.pid)
        for interface in node.interfaces:
            self.ask(
                "wire",
                pid=node.first_in_room,
                port=self.port(node, interface),
                bridge=interface.bridge,
                peer=interface.name,
                mac=interface.mac,
            )
        assert launcher.stdin is not None
        launcher.stdin.write("go\n")
        launcher.stdin.flush()
        self._expect(node, "booted")
        node.boots += 1

    @staticmethod
    def _expect(node: Node, word: str) -> None:
        assert node.launcher is not None
        assert node.launcher.stdout is not None
        line = node.launcher.stdout.readline().strip()
        if line != word:
            node.launcher.kill()
            node.first = 0
            raise LabError(what=f"{node.name} does not boot: {line or _last_words(node.launcher)}")

    # --- faults of the network

    def pull(self, node: Node, link: int = 0) -> int:
        """Pull the node's cable; the moment in ns."""
        port = self.port(node, node.interfaces[link])
        return int(self.ask("carrier", port=port, up=False)["at_ns"])

    def plug(self, node: Node, link: int = 0) -> int:
        """Plug it again."""
        port = self.port(node, node.interfaces[link])
        return int(self.ask("carrier", port=port, up=True)["at_ns"])

    def cut(
        self, one: Node, other: Node, *, links: Sequence[int] | None = None, one_way: bool = False
    ) -> None:
        """`one` does not hear `other` any more on these links (all when None), and with it the reverse."""
        self._drop(one, other, links)
        if not one_way:
            self._drop(other, one, links)

    def split(self, *sides: Sequence[Node]) -> None:
        """Nodes of different sides do not hear each other; clients reach all of them."""
        for index, side in enumerate(sides):
            for node in side:
                strangers = [each for n, other in enumerate(sides) if n != index for each in other]
                self._drop_all(node, [each.ip for other in strangers for each in other.interfaces])

    def heal(self) -> None:
        """All cuts are gone."""
        for node in self.nodes:
            if node.is_on:
                self._drop_all(node, [])

    def _drop(self, node: Node, other: Node, links: Sequence[int] | None) -> None:
        chosen = range(self.links) if links is None else links
        self._drop_all(node, [other.interfaces[link].ip for link in chosen])

    @staticmethod
    def _drop_all(node: Node, addresses: Sequence[str]) -> None:
        elements = f"elements = {{ {', '.join(addresses)} }}" if addresses else ""
        node.exec("nft", "-f", "-", stdin=_CUT_TABLE % elements)

    # --- the end

    def keep(self) -> None:
        """Let the lab go on after us; `stop_labs` ends it."""
        self.ask("keep")
        self._kept = True

    def close(self) -> None:
        """End every process of the lab and forget its directory. Harmless when called again."""
        for process in (*self._guests, self._room):
            if process is not None and process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
        if self._kept:
            return
        launchers = [node.launcher for node in getattr(self, "nodes", ()) if node.launcher is not None]
        if self._room is not None:
            try:
                self._room.wait(READY_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._room.kill()
                self._room.wait(READY_WITHIN_S)
        for process in (*launchers, *self._guests, self._room):
            if process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(READY_WITHIN_S)
                for stream in (process.stdin, process.stdout, process.stderr):
                    if stream is not None:
                        stream.close()
        self._room, self._guests = None, []
        for node in getattr(self, "nodes", ()):
            node.launcher, node.first = None, 0
        shutil.rmtree(self.base, ignore_errors=True)


def enter_command(pid: int, *command: str, in_room: bool = False) -> list[str]:
    """The command line that runs `command` in the namespaces of a node's (or the machine room's) process.

    Not `--all`: an ordinary user may not re-enter those the lab shares with the machine.
    """
    own = ["--mount", "--net", "--pid", *([] if in_room else ["--uts", "--ipc"])]
    user = ["--user", "--preserve-credentials"] if needs_user_namespace() else []
    return ["nsenter", "--target", str(pid), *user, *own, "--", *command]


def _foreign_agents() -> list[str]:
    """Our agents' folder where it is not ours: in a user namespace its owner, root, is nobody.

    ha-lrm runs no program that belongs to neither root nor itself.
    """
    folder = CODE / "agents/ocf"
    return [str(folder)] if folder.stat().st_uid != os.geteuid() else []


def _last_words(process: subprocess.Popen[str]) -> str:
    try:
        code = process.wait(READY_WITHIN_S)
    except subprocess.TimeoutExpired:
        return "it says nothing and does not end"
    text = process.stderr.read().strip() if process.stderr is not None else ""
    return f"exit code {code}: {text}"


def _last_descendant(pid: int) -> int:
    """Follow a chain of only children."""
    while True:
        children = _children(pid)
        if not children:
            return pid
        pid = children[0]


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if listed.exists():
        return [int(word) for word in listed.read_text().split()]
    found = []
    for entry in Path("/proc").iterdir():  # a kernel without CONFIG_PROC_CHILDREN
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
    return found


def running_labs(name: str | None = None) -> list[tuple[str, int, Path]]:
    """Labs of this user that run: name, pid of the machine room, base directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                words = [
                    word.decode(errors="replace") for word in (entry / "cmdline").read_bytes().split(b"\0")
                ]
                if str(HERE / "machine_room.py") not in words[1:4] or entry.stat().st_uid != os.geteuid():
                    continue
                lab, base = words[words.index("--lab") + 1], words[words.index("--base") + 1]
                if name in (None, lab):
                    found.append((lab, int(entry.name), Path(base)))
    return found
