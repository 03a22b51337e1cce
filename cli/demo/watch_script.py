"""The outside observer: looks at every node's addresses, mounts and listening sockets, and prints changes.

Run by path in the machine room's namespaces; standard library only. It looks every 20 ms and at once when the
kernel reports a change of addresses (netlink) or mounts (poll on mountinfo). A picture counts only when two
looks at all nodes agree, so it held at one moment. In: {"node": NAME, "pid": PID} when a node has booted,
with pid 0 when it is off. Out: one line a moment, [{"at_ns", "node", "on", "active": {RESOURCE: bool}}, ...]
with the nodes that changed.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import select
import socket
import struct
import sys
import time
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_GROUP_IPV4_ADDRESS = 0x10
_RTM_NEWADDR, _RTM_GETADDR, _NLMSG_DONE, _IFA_LOCAL = 20, 22, 3, 2
_NLM_F_REQUEST_DUMP = 0x301
_LOOKS_MAX = 10
_LISTEN = "0A"

_libc = ctypes.CDLL(None, use_errno=True)


class Node:
    """Handles into one node's namespaces."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(there, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            self.asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
            self.told = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
            self.told.bind((0, _GROUP_IPV4_ADDRESS))
        finally:
            _libc.setns(home, _CLONE_NEWNET)
            os.close(home)
            os.close(there)
        self.told.setblocking(False)
        self.asking.settimeout(1)
        self.mountinfo = os.open(f"/proc/{pid}/mountinfo", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let its namespaces go."""
        self.asking.close()
        self.told.close()
        os.close(self.mountinfo)

    def addresses(self) -> set[str]:
        """IPv4 addresses of all its interfaces."""
        self.asking.send(struct.pack("=IHHII8x", 24, _RTM_GETADDR, _NLM_F_REQUEST_DUMP, 1, 0)[:24])
        found: set[str] = set()
        while True:
            data = self.asking.recv(65_536)
            offset = 0
            while offset + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, offset)
                if kind == _NLMSG_DONE or length < 16:
                    return found
                if kind == _RTM_NEWADDR and data[offset + 16] == socket.AF_INET:
                    found |= _local_addresses(data[offset + 24 : offset + length])
                offset += (length + 3) & ~3

    def mounts(self) -> set[str]:
        """Mount points."""
        os.lseek(self.mountinfo, 0, os.SEEK_SET)
        text = b""
        while piece := os.read(self.mountinfo, 65_536):
            text += piece
        return {line.split(b" ")[4].decode() for line in text.splitlines()}

    def listening(self) -> set[int]:
        """TCP ports somebody listens on."""
        ports: set[int] = set()
        for name in ("tcp", "tcp6"):
            with contextlib.suppress(FileNotFoundError):
                for line in Path(f"/proc/{self.pid}/net/{name}").read_text().splitlines()[1:]:
                    fields = line.split()
                    if fields[3] == _LISTEN:
                        ports.add(int(fields[1].rpartition(":")[2], 16))
        return ports


def _local_addresses(attributes: bytes) -> set[str]:
    found = set()
    offset = 0
    while offset + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, offset)
        if length < 4:
            break
        if kind == _IFA_LOCAL:
            found.add(socket.inet_ntoa(attributes[offset + 4 : offset + 8]))
        offset += (length + 3) & ~3
    return found


class Watcher:
    """The nodes, what is looked for, and what was printed last."""

    def __init__(self, resources: dict[str, dict[str, object]]) -> None:
        self.resources = resources
        self.nodes: dict[str, Node] = {}
        self.printed: dict[str, tuple[bool, ...] | None] = {}
        self.poll = select.poll()
        self.poll.register(0, select.POLLIN)

    def command(self, line: str) -> None:
        """A node came or went."""
        order = json.loads(line)
        name = order["node"]
        if name in self.nodes:
            self._forget(name)
        if order["pid"]:
            with contextlib.suppress(OSError):  # it may be off again already
                node = Node(order["pid"])
                self.nodes[name] = node
                self.poll.register(node.told, select.POLLIN)
                self.poll.register(node.mountinfo, select.POLLPRI)
        self.printed.setdefault(name, None)

    def _forget(self, name: str) -> None:
        node = self.nodes.pop(name)
        self.poll.unregister(node.told)
        self.poll.unregister(node.mountinfo)
        node.close()

    def look(self) -> dict[str, tuple[bool, ...] | None]:
        """For each node what is active, in the resources' order; None when it is off."""
        picture: dict[str, tuple[bool, ...] | None] = dict.fromkeys(self.printed)
        for name, node in list(self.nodes.items()):
            try:
                os.kill(node.pid, 0)
                facts: dict[str, set[str] | set[int]] = {
                    "address": node.addresses(),
                    "mount": node.mounts(),
                    "listen": node.listening(),
                }
                picture[name] = tuple(
                    all(value in facts[kind] for kind, value in what.items())
                    for what in self.resources.values()
                )
            except OSError:
                self._forget(name)
        return picture

    def report(self) -> None:
        """Print what changed."""
        picture = self.look()
        for _ in range(_LOOKS_MAX):
            again = self.look()
            if again == picture:
                break
            picture = again
        at_ns = time.monotonic_ns()
        changed = []
        for name, active in picture.items():
            if self.printed[name] != active:
                self.printed[name] = active
                states = dict(zip(self.resources, active or [False] * len(self.resources), strict=True))
                changed.append({"at_ns": at_ns, "node": name, "on": active is not None, "active": states})
        if changed:
            sys.stdout.write(json.dumps(changed) + "\n")
            sys.stdout.flush()


def main() -> int:
    """Until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--resources", type=json.loads, required=True)
    parser.add_argument("--every-ms", type=int, default=20)
    options = parser.parse_args()
    watcher = Watcher(options.resources)
    os.set_blocking(0, False)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    rest = ""
    while True:
        for descriptor, _ in watcher.poll.poll(options.every_ms):
            if descriptor == 0:
                data = os.read(0, 65_536).decode()
                if not data:
                    return 0
                *lines, rest = (rest + data).split("\n")
                for line in lines:
                    watcher.command(line)
        for node in watcher.nodes.values():
            with contextlib.suppress(BlockingIOError, OSError):
                while node.told.recv(65_536):
                    pass
        watcher.report()


if __name__ == "__main__":
    sys.exit(main())
