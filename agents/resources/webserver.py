"""ocf:hacluster:WebServer: a web server of our own, or nginx or apache with their own configuration."""

from __future__ import annotations

import os
import signal
import socket
import sys

from agents import sdk
from agents.daemon import Daemon, bounded_wait
from hacluster.vocabulary.ocf_exit import OcfExit

BUILTIN, NGINX, APACHE = "builtin", "nginx", "apache"

# Programs in the order they are looked for, the arguments that keep them in the foreground, the signal that
# ends them at once.
_PROGRAMS = {NGINX: ("nginx",), APACHE: ("apache2", "httpd")}
_ANSWER_BYTES_MAX = 64 * 1024
_STOP_PATIENCE_MS = 5_000


class WebServer(sdk.Agent):
    """Starts a server in a session of its own, and asks it for a page to see whether it works."""

    name = "WebServer"
    shortdesc = "A web server"
    longdesc = """Manages a web server: a small one that comes with this agent and serves the files of one
        folder, or nginx or apache with a configuration file (without a daemon directive). Start returns when
        the server answers. Monitor asks for a page. Stop ends every process that belongs to it, workers that
        lost their master included."""
    actions = (
        sdk.Action("start", "40s"),
        sdk.Action("stop", "60s"),
        sdk.Action("monitor", "20s", interval="10s", depth="0"),
    )

    server = sdk.Text("Which server.", options=(BUILTIN, NGINX, APACHE), default=BUILTIN)
    docroot = sdk.Text("The folder whose files are served (builtin).", default="/var/www/html")
    address = sdk.Text(
        "The address to listen on (builtin) and to ask; by default all, and the local one.",
        unique_group="listen",
    )
    port = sdk.Integer(
        "The port to listen on (builtin) and to ask.", default="80", unique_group="listen"
    ).between(1, 65535)
    user = sdk.Text("The user to serve as, once listening (builtin); by default the one that starts it.")
    configfile = sdk.Text("The configuration file (nginx, apache).", unique=True)
    program = sdk.Text("The server's program, where it is not found in PATH (nginx, apache).")
    pidfile = sdk.Text("Where to remember the process. By default a file in HA_RSCTMP.", unique=True)
    testurl = sdk.Text("The path monitor asks for.", default="/", reloadable=True)

    @property
    def daemon(self) -> Daemon:
        """The server's process."""
        name = f"WebServer-{self.instance.replace('/', '-')}.pid"
        return Daemon(self.pidfile or os.path.join(self.state_folder, name))

    def validate(self) -> None:
        """What goes together."""
        if self.server != BUILTIN and not self.configfile:
            raise _wrong(f"configfile: {self.server} needs one")
        if self.server == BUILTIN and not self.docroot.startswith("/"):
            raise _wrong(f"docroot: {self.docroot!r} is not an absolute path")
        if not self.testurl.startswith("/") or not self.testurl.isprintable() or " " in self.testurl:
            raise _wrong(f"testurl: {self.testurl!r} is not a path beginning with /")

    def check_environment(self) -> None:
        """Program, configuration and files must be there."""
        if self.server == BUILTIN:
            if not os.path.isdir(self.docroot):
                raise sdk.AgentFailure(OcfExit.ERR_INSTALLED, f"there is no folder {self.docroot}")
            return
        self._program()
        if not os.path.isfile(self.configfile):
            raise sdk.AgentFailure(OcfExit.ERR_INSTALLED, f"there is no {self.configfile}")

    def start(self) -> OcfExit | None:
        """Launch the server and wait until it answers."""
        daemon = self.daemon
        if not daemon.leader():
            leftover = daemon.processes()
            if leftover:
                self.log("WARNING", f"ending processes {leftover} of a server that died")
                daemon.end(bounded_wait, patience_ms=_STOP_PATIENCE_MS, first=signal.SIGTERM)
            daemon.launch(self._command(), self.environ)
        reason = ""

        def answers() -> bool:
            nonlocal reason
            if not daemon.leader():
                said = daemon.said() or "it gave no reason"
                raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"the server ended at once: {said}")
            if not daemon.listens_on(self.port):
                reason = f"it does not listen on port {self.port}"
                return False
            reason = self._ask()
            return not reason

        try:
            self.wait(answers, "an answer of the server", step_ms=2, step_ms_max=20)
        except sdk.AgentFailure as failure:
            raise sdk.AgentFailure(
                failure.rc, f"{failure.reason}; {reason}" if reason else failure.reason
            ) from None
        return OcfExit.OK

    def stop(self) -> OcfExit | None:
        """End it and all it left behind."""
        patience_ms = min(_STOP_PATIENCE_MS, max(self.remaining_ms() // 2, 500))
        if not self.daemon.end(bounded_wait, patience_ms=patience_ms, first=signal.SIGTERM):
            left = self.daemon.processes()
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"processes {left} cannot be killed")
        return OcfExit.OK

    def monitor(self) -> OcfExit | None:
        """It runs, and answers."""
        daemon = self.daemon
        if not daemon.leader():
            leftover = daemon.processes()
            if leftover:
                raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"the server died, but left processes {leftover}")
            return OcfExit.NOT_RUNNING
        reason = self._ask()
        if reason:
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, reason)
        return OcfExit.OK

    def _command(self) -> list[str]:
        if self.server == BUILTIN:
            script = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "webserver.py")
            arguments = [self.docroot, self.address, str(self.port), *([self.user] if self.user else [])]
            return [sys.executable, "-ISE", script, *arguments]
        if self.server == NGINX:
            return [self._program(), "-c", self.configfile, "-g", "daemon off;"]
        return [self._program(), "-DFOREGROUND", "-f", self.configfile]

    def _program(self) -> str:
        if self.program:
            candidates = [self.program]
        else:
            folders = (self.environ.get("PATH") or "/usr/sbin:/usr/bin:/sbin:/bin").split(":")
            candidates = [os.path.join(folder, name) for folder in folders for name in _PROGRAMS[self.server]]
        for path in candidates:
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return path
        raise sdk.AgentFailure(OcfExit.ERR_INSTALLED, f"{self.program or self.server} is not installed")

    def _ask(self) -> str:
        """GET the test page; "" when the server is well, else what is wrong.

        An answer below 400 is good. Where nobody chose the page, any answer that is not a server's own
        failure (5xx) shows that it works.
        """
        address = self.address or "127.0.0.1"
        chosen = self.testurl != "/"
        limit_s = max(min(self.remaining_ms() - 500, 10_000), 100) / 1000
        try:
            with socket.create_connection((address, self.port), limit_s) as connection:
                connection.settimeout(limit_s)
                host = f"[{address}]" if ":" in address else address
                request = f"GET {self.testurl} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                connection.sendall(request.encode())
                status = self._status(connection)
        except OSError as error:
            return f"no answer from {address} port {self.port}: {error.strerror or error}"
        if status >= (400 if chosen else 500):
            return f"{self.testurl} on {address} port {self.port} gives status {status}"
        return ""

    def _status(self, connection: socket.socket) -> int:
        """The status of the answer, which is read to its end so that the server can finish."""
        received = b""
        while len(received) < _ANSWER_BYTES_MAX:
            chunk = connection.recv(16384)
            if not chunk:
                break
            received += chunk
        words = received.split(b"\r\n", 1)[0].split()
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
            raise OSError("the answer is not HTTP")
        return int(words[1])


def _wrong(reason: str) -> sdk.AgentFailure:
    return sdk.AgentFailure(OcfExit.ERR_CONFIGURED, f"parameter {reason}")


AGENT = WebServer
