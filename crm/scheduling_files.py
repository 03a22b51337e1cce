"""Stored transitions (inputs, graphs, summaries) and the frames between ha-crm and its scheduler."""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
from pathlib import Path
from typing import Any, Final

KEPT_MAX: Final = 500
CHANGES: Final = "changes"  # the form of an input that holds only what is new against the one before
_FILE: Final = re.compile(r"(\d+)-(input\.xml\.gz|graph\.xml\.gz|summary\.json)")


class Channel:
    """Frames on a stream socket: a line of JSON and bytes, each with its length before it."""

    def __init__(self, sock: socket.socket) -> None:
        self._file = sock.makefile("rwb", buffering=1 << 16)

    def receive(self) -> tuple[dict[str, Any], bytes] | None:
        """The next frame, None at the end."""
        head = self._file.read(8)
        if len(head) < 8:
            return None
        header = self._file.read(int.from_bytes(head[:4], "big"))
        body = self._file.read(int.from_bytes(head[4:], "big"))
        return json.loads(header), body

    def send(self, header: dict[str, Any], body: bytes = b"") -> None:
        """Send one frame."""
        self._file.write(frame(header, body))
        self._file.flush()


def frame(header: dict[str, Any], body: bytes) -> bytes:
    """One frame as bytes."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "big") + len(body).to_bytes(4, "big") + text + body


def keep(header: dict[str, Any], body: bytes, reply: dict[str, Any], graph: bytes) -> None:
    """Store input and graph of a plan that will be carried out, or that could not be made."""
    folder = Path(header["folder"])
    if not header["folder"] or (not reply["error"] and not reply["actions"]):
        return
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    number = int(header["number"])
    _write(folder / f"{number}-input.xml.gz", gzip.compress(body, 1))
    _write(folder / f"{number}-graph.xml.gz", gzip.compress(graph, 1))
    summary = {
        "number": number,
        "started_s": header["now_s"],
        "cause": header["cause"],
        "term": header["term"],
        "actions": reply.get("actions", 0),
        "outcome": "failed" if reply["error"] else "running",
        "reason": reply["error"],
    }
    _write(folder / f"{number}-summary.json", json.dumps(summary).encode())
    _prune(folder, number)


def finish(header: dict[str, Any]) -> None:
    """Note how a transition ended."""
    path = Path(header["folder"]) / f"{int(header['number'])}-summary.json"
    if not path.exists():
        return
    summary = json.loads(path.read_bytes())
    summary["outcome"], summary["reason"] = header["outcome"], header["reason"]
    _write(path, json.dumps(summary).encode())


def _write(path: Path, data: bytes) -> None:
    """Not for others to read: the configuration may hold passwords."""
    fresh = path.with_name(f".{path.name}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    fresh.replace(path)


def _prune(folder: Path, newest: int) -> None:
    for path in folder.iterdir():
        match = _FILE.fullmatch(path.name)
        if match and int(match[1]) <= newest - KEPT_MAX:
            path.unlink(missing_ok=True)


def read_kept(folder: Path, number: int) -> tuple[bytes, bytes]:
    """Input and graph of a stored transition. Raises FileNotFoundError."""
    first = gzip.decompress((folder / f"{number}-input.xml.gz").read_bytes())
    return first, gzip.decompress((folder / f"{number}-graph.xml.gz").read_bytes())


def summaries(folder: Path) -> list[dict[str, Any]]:
    """The summaries of all stored transitions, oldest first; a damaged one is left out."""
    found: list[dict[str, Any]] = []
    for path in folder.glob("*-summary.json"):
        try:
            found.append(json.loads(path.read_bytes()))
        except (OSError, ValueError):
            continue
    return sorted(found, key=lambda item: int(item["number"]))


def newest(folder: Path) -> int:
    """The highest number given so far, 0 for none."""
    numbers = [int(match[1]) for path in folder.glob("*") if (match := _FILE.fullmatch(path.name))]
    return max(numbers, default=0)
