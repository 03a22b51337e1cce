"""The small web server, over a pair of sockets."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from agents import webserver


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "docroot"
    (folder / "sub").mkdir(parents=True)
    (folder / "index.html").write_text("first")
    (folder / "a b.txt").write_text("blank")
    (folder / "sub/index.html").write_text("second")
    (folder / "big").write_bytes(bytes(range(256)) * 20_000)
    (tmp_path / "secret").write_text("secret")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "sub/away").symlink_to(tmp_path)
    return folder


def ask(root: Path, request: bytes) -> tuple[int, dict[str, str], bytes]:
    ours, theirs = socket.socketpair()
    room = threading.Semaphore(0)
    thread = threading.Thread(target=webserver.serve, args=(theirs, str(root), room))
    thread.start()
    with ours:
        ours.settimeout(10)
        ours.sendall(request)
        received = b""
        while piece := ours.recv(1 << 20):
            received += piece
    thread.join(10)
    assert room.acquire(blocking=False), "the place of a connection is given back"
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


def get(root: Path, target: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    return ask(root, f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/", b"first"),
        ("/index.html?a=b", b"first"),
        ("/a%20b.txt", b"blank"),
        ("/sub", b"second"),
        ("/sub/", b"second"),
        ("http://host/sub/index.html", b"second"),
    ],
)
def test_files(root: Path, target: str, body: bytes) -> None:
    status, headers, received = get(root, target)
    assert (status, received) == (200, body)
    assert headers["Content-Length"] == str(len(body))


def test_big_file_comes_whole(root: Path) -> None:
    assert get(root, "/big")[2] == (root / "big").read_bytes()


def test_head_has_no_body(root: Path) -> None:
    status, headers, body = get(root, "/", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "5", b"")


@pytest.mark.parametrize(
    "target",
    ["/none", "/../secret", "/%2e%2e/secret", "/sub/../../secret", "/out", "/sub/away/secret", "/sub/away"],
)
def test_nothing_outside_of_the_folder(root: Path, target: str) -> None:
    status, _, body = get(root, target)
    assert status == 404
    assert b"secret" not in body


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /%zz HTTP/1.0\r\n\r\n", 400),
        (b"GET /%00 HTTP/1.0\r\n\r\n", 400),
        (b"GET nothing HTTP/1.0\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\n\r\n", 405),
        (b"GET / HTTP/1.0\r\n" + b"x: y\r\n" * 4_000, 431),
    ],
)
def test_refused(root: Path, request_bytes: bytes, status: int) -> None:
    assert ask(root, request_bytes)[0] == status
