"""The small web server of ocf:hacluster:WebServer: serves the files of one folder, and nothing else.

Run as a program: webserver.py DOCROOT ADDRESS PORT [USER]. It listens before it changes to USER. A take-over
waits for its start, so it imports next to nothing: http.server alone takes three times as long as all this.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
import time

REQUEST_S_MAX = 30
HEAD_BYTES_MAX = 16 * 1024
CONNECTIONS_MAX = 256
BACKLOG = 128

TYPES = {
    "css": "text/css; charset=utf-8",
    "gif": "image/gif",
    "htm": "text/html; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/vnd.microsoft.icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "pdf": "application/pdf",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "webp": "image/webp",
    "xml": "application/xml",
}
REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
}


def listener(address: str, port: int) -> socket.socket:
    """Listen; without an address on all, IPv6 ones too where there are any. Raises OSError."""
    everywhere = not address and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if ":" in address or everywhere else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(address)))
    server.bind((address, port))
    server.listen(BACKLOG)
    return server


def decoded(target: str) -> str:
    """A request's path without query, its %XX undone. Raises ValueError."""
    path = target.partition("?")[0].partition("#")[0]
    if path.startswith(("http://", "https://")):
        path = "/" + path.partition("://")[2].partition("/")[2]
    first, *pieces = path.split("%")
    raw = first.encode("latin-1", "strict")
    for piece in pieces:
        raw += bytes([int(piece[:2], 16)]) + piece[2:].encode("latin-1", "strict")
    if not raw.startswith(b"/") or b"\0" in raw:
        raise ValueError(target)
    return os.fsdecode(raw)


def find(root: str, path: str) -> str | None:
    """The file of a path, None where the folder has none; links that leave it are not followed."""
    real = os.path.realpath(root + path)
    if real != root and not real.startswith(root.rstrip("/") + "/"):
        return None
    if os.path.isdir(real):
        real = os.path.realpath(os.path.join(real, "index.html"))
        if not real.startswith(root.rstrip("/") + "/"):
            return None
    return real if os.path.isfile(real) else None


def answer(connection: socket.socket, root: str) -> None:
    """One request, one answer. Raises OSError when the client goes away."""
    head = b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head:
        if len(head) > HEAD_BYTES_MAX:
            return refuse(connection, 431)
        piece = connection.recv(HEAD_BYTES_MAX)
        if not piece:
            return None
        head += piece
    words = head.split(b"\n", 1)[0].decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        return refuse(connection, 400)
    if words[0] not in ("GET", "HEAD"):
        return refuse(connection, 405)
    try:
        name = find(root, decoded(words[1]))
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC) if name else -1
    except ValueError:
        return refuse(connection, 400)
    except OSError:  # not ours to read, or gone since
        return refuse(connection, 404)
    if name is None:
        return refuse(connection, 404)
    try:
        size = os.fstat(descriptor).st_size
        kind = TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")
        send_head(connection, 200, kind, size)
        if words[0] == "GET":
            sent = 0
            while sent < size and (count := os.sendfile(connection.fileno(), descriptor, sent, size - sent)):
                sent += count
    finally:
        os.close(descriptor)
    return None


def send_head(connection: socket.socket, status: int, kind: str, size: int) -> None:
    """Status line and headers; one answer a connection."""
    lines = (
        f"HTTP/1.1 {status} {REASONS[status]}",
        "Server: hacluster",
        f"Content-Type: {kind}",
        f"Content-Length: {size}",
        "Connection: close",
    )
    connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))


def refuse(connection: socket.socket, status: int) -> None:
    """An answer without a file."""
    body = f"{status} {REASONS[status]}\n".encode()
    send_head(connection, status, TYPES["txt"], len(body))
    connection.sendall(body)


def serve(connection: socket.socket, root: str, room: threading.Semaphore) -> None:
    """A thread's work; a client that goes away in the middle is nothing to speak of."""
    try:
        with connection:
            limit = struct.pack("ll", REQUEST_S_MAX, 0)  # the kernel's: sendfile needs a blocking socket
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            answer(connection, root)
            connection.shutdown(socket.SHUT_WR)
    except OSError:
        return
    finally:
        room.release()


def main() -> None:
    """Serve until killed."""
    directory, address, port = sys.argv[1:4]
    user = sys.argv[4] if len(sys.argv) > 4 else ""
    try:
        server = listener(address, int(port))
    except OSError as error:
        sys.exit(f"cannot listen on {address or 'all addresses'} port {port}: {error.strerror or error}")
    if user:
        _become(user)
    root = os.path.realpath(directory)
    room = threading.Semaphore(CONNECTIONS_MAX)
    while True:
        room.acquire()
        try:
            connection = server.accept()[0]
        except OSError:  # it was gone before we came to it, or we have too many files open
            room.release()
            time.sleep(0.01)
            continue
        threading.Thread(target=serve, args=(connection, root, room), daemon=True).start()


def _become(user: str) -> None:
    import pwd

    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


if __name__ == "__main__":
    main()
