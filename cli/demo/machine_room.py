"""The first process of a lab: it holds the namespaces that everything else of the lab lives in.

Run by path (`python -IS machine_room.py --lab NAME --base DIR`) inside new mount, net and pid namespaces, as
an ordinary user inside a new user namespace too; standard library only. Its net namespace holds the bridges,
its mount namespace the nodes' disks (a tmpfs on DIR). When it ends, all of that and every process of the lab
are gone, by the kernel's hand: it ends at the end of its input, unless it has been told to keep.

One JSON object a line in ({"do": "bridge", "wire", "unwire", "carrier", "cut", "signal" or "keep", ...}), one
out. Pids are those of its own pid namespace.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_STOP_ROUNDS = 20

Request = dict[str, Any]


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError naming the target."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode() or None):
        error = ctypes.get_errno()
        raise OSError(error, f"mount {kind} {source}: {os.strerror(error)}", target)


def ip(*words: str) -> None:
    """Run ip(8). Raises RuntimeError with its message."""
    done = subprocess.run(
        ["ip", *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def set_carrier(control: socket.socket, port: str, up: bool) -> None:
    """Bring an interface up or down without starting ip(8): a power cut is one instant."""
    request = struct.pack("16sH14x", port.encode(), 0)
    flags = struct.unpack("16sH14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
    flags = flags | _IFF_UP if up else flags & ~_IFF_UP
    fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", port.encode(), flags))


def processes_of(first: int) -> list[int]:
    """The processes in the pid namespace of `first`, it last."""
    namespace = Path(f"/proc/{first}/ns/pid").readlink()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != first:
            with contextlib.suppress(OSError):
                if (entry / "ns/pid").readlink() == namespace:
                    found.append(int(entry.name))
    return [*found, first]


class Room:
    """Carries out requests."""

    def __init__(self) -> None:
        self.keep = False
        self.control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def bridge(self, request: Request) -> Request:
        """A bridge that floods multicast, with addresses of its own."""
        name = str(request["name"])
        ip("link", "add", name, "type", "bridge", "mcast_snooping", "0", "forward_delay", "0")
        for address in request["addresses"]:
            ip("addr", "add", address, "brd", "+", "dev", name)
        ip("link", "set", name, "up")
        return {}

    def wire(self, request: Request) -> Request:
        """A cable between a bridge and a process's net namespace; a left-over of that name goes first."""
        port = str(request["port"])
        if port in {name for _, name in socket.if_nameindex()}:
            ip("link", "del", port)
        own = ("address", str(request["mac"])) if "mac" in request else ()
        peer = ("peer", "name", str(request["peer"]), *own, "netns", str(request["pid"]))
        ip("link", "add", port, "type", "veth", *peer)
        ip("link", "set", port, "master", str(request["bridge"]), "up")
        return {}

    def unwire(self, request: Request) -> Request:
        """Remove cables; those that went with their node are no error."""
        present = {name for _, name in socket.if_nameindex()}
        for port in request["ports"]:
            if port in present:
                with contextlib.suppress(RuntimeError):  # it may go with its namespace just now
                    ip("link", "del", port)
        return {}

    def carrier(self, request: Request) -> Request:
        """Pull or plug a cable at the bridge's end."""
        set_carrier(self.control, str(request["port"]), bool(request["up"]))
        return {"at_ns": time.monotonic_ns()}

    def cut(self, request: Request) -> Request:
        """Power off: the cables first, so that no dying process says good-bye, then all processes."""
        at_ns = time.monotonic_ns()
        for port in request["ports"]:
            with contextlib.suppress(OSError):
                set_carrier(self.control, str(port), False)
        os.kill(int(request["pid"]), signal.SIGKILL)
        return {"at_ns": at_ns, "took_us": (time.monotonic_ns() - at_ns) // 1_000}

    def signal(self, request: Request) -> Request:
        """Send a signal to all processes of a node, again until no new ones appear."""
        seen: set[int] = set()
        for _ in range(_STOP_ROUNDS):
            fresh = [pid for pid in processes_of(int(request["pid"])) if pid not in seen]
            if not fresh:
                break
            for pid in fresh:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, int(request["number"]))
            seen.update(fresh)
        return {"at_ns": time.monotonic_ns(), "processes": len(seen)}

    def stay(self, _request: Request) -> Request:
        """Do not end with the input."""
        self.keep = True
        return {}

    def serve(self) -> None:
        """Until the end of the input."""
        methods: dict[str, Callable[[Request], Request]] = {
            "bridge": self.bridge,
            "wire": self.wire,
            "unwire": self.unwire,
            "carrier": self.carrier,
            "cut": self.cut,
            "signal": self.signal,
            "keep": self.stay,
        }
        for line in sys.stdin:
            request = json.loads(line)
            try:
                reply = {"ok": True, **methods[request["do"]](request)}
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                reply = {"ok": False, "error": str(error)}
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()
            reap()


def reap() -> None:
    """Orphans of the lab come to its first process; called while none of our own commands runs."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> int:
    """Prepare the namespaces, say so, serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lab", required=True)
    parser.add_argument("--base", required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    mount("hacluster-lab", options.base, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755")
    ip("link", "set", "lo", "up")
    sys.stdout.write(json.dumps({"ok": True}) + "\n")
    sys.stdout.flush()
    room = Room()
    room.serve()
    while room.keep:
        reap()
        time.sleep(1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
