"""The small web server of ocf:hacluster:WebServer: serves the files of one folder, and nothing else.

Run as a program: webserver.py DOCROOT ADDRESS PORT [USER]. It listens before it changes to USER.
"""

from __future__ import annotations

import os
import socket
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import BinaryIO

REQUEST_S_MAX = 30


class Files(SimpleHTTPRequestHandler):
    """GET and HEAD of files below the folder; links that leave it are not followed, nothing is listed."""

    protocol_version = "HTTP/1.1"
    server_version = "hacluster"
    sys_version = ""
    timeout = REQUEST_S_MAX

    def send_head(self) -> BytesIO | BinaryIO | None:
        """Refuse what lies outside of the folder before it is opened."""
        root = os.path.realpath(self.directory)
        path = os.path.realpath(self.translate_path(self.path))
        if path != root and not path.startswith(root.rstrip("/") + "/"):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def end_headers(self) -> None:
        """Say which node answered: who looks from outside wants to know."""
        self.send_header("X-Hacluster-Node", os.environ.get("HACLUSTER_NODE") or os.uname().nodename)
        super().end_headers()

    def list_directory(self, path: str | os.PathLike[str]) -> BytesIO | None:
        """No lists: a folder without an index is not found."""
        del path
        self.send_error(HTTPStatus.NOT_FOUND)
        return None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is logged: the output of a daemon that runs for years must not grow."""


class Server(ThreadingHTTPServer):
    """One thread a connection; IPv6 where the address is one. Names are not looked up."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: str, port: int, directory: str) -> None:
        everywhere = not address and socket.has_dualstack_ipv6()
        self.address_family = socket.AF_INET6 if ":" in address or everywhere else socket.AF_INET
        self._directory = directory
        super().__init__((address, port), Files)

    def server_bind(self) -> None:
        """Bind without asking a name server for our name, as the base class would."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(self.server_address[0])))
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "localhost", self.socket.getsockname()[1]

    def finish_request(self, request: object, client_address: object) -> None:
        """Give the handler its folder."""
        assert isinstance(request, socket.socket)
        Files(request, client_address, self, directory=self._directory)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away in the middle is nothing to speak of."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def main() -> None:
    """Serve until killed."""
    directory, address, port = sys.argv[1:4]
    user = sys.argv[4] if len(sys.argv) > 4 else ""
    try:
        server = Server(address, int(port), directory)
    except OSError as error:
        sys.exit(f"cannot listen on {address or 'all addresses'} port {port}: {error.strerror or error}")
    if user:
        _become(user)
    server.serve_forever()


def _become(user: str) -> None:
    import pwd

    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


if __name__ == "__main__":
    main()
