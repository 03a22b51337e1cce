"""ocf:hacluster:Process: any program that stays in the foreground."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time

from agents import sdk
from agents.daemon import Daemon, bounded_wait
from hacluster.vocabulary.ocf_exit import OcfExit

SETTLE_S = 0.1


class Process(sdk.Agent):
    """A program in a session of its own; parameters are named as those of heartbeat's anything."""

    name = "Process"
    shortdesc = "Any program that stays in the foreground"
    longdesc = """Runs a program that does not become a daemon by itself. It is found again by its session,
        also after a restart of the cluster's services, and all processes of the session are ended by stop.
        What it prints goes to a file. Without monitor_hook it is well while it runs."""

    binfile = sdk.Text("The program, as an absolute path.", required=True)
    cmdline_options = sdk.Text("Its arguments, as a shell splits them; no shell is used.")
    workdir = sdk.Text("The folder it begins in.", default="/")
    user = sdk.Text("The user it runs as; root (or whoever runs the agent) without.")
    environment = sdk.Text("More variables for it: NAME=VALUE, as a shell splits them.")
    stop_signal = sdk.Text("The signal that ends it, by name.", default="TERM")
    stop_timeout = sdk.Duration(
        "How long it has after that; without a value two thirds of the action's time."
    )
    monitor_hook = sdk.Text(
        "A command, as a shell splits it: the program is well while it ends with 0.", reloadable=True
    )

    @property
    def daemon(self) -> Daemon:
        """The program of this instance."""
        name = f"Process-{self.instance.replace(':', '-').replace('/', '-')}.pid"
        return Daemon(os.path.join(self.state_folder, name))

    def validate(self) -> None:
        """Words must be words, a signal one."""
        if not self.binfile.startswith("/"):
            raise _wrong(f"binfile: {self.binfile!r} is not an absolute path")
        for name, text in (
            ("cmdline_options", self.cmdline_options),
            ("monitor_hook", self.monitor_hook),
            ("environment", self.environment),
        ):
            try:
                words = shlex.split(text)
            except ValueError as error:
                raise _wrong(f"{name}: {error}") from None
            if name == "environment" and any("=" not in word for word in words):
                raise _wrong("environment: it is a list of NAME=VALUE")
        self._signal()

    def check_environment(self) -> None:
        """The program and the user must be there."""
        if not os.path.isfile(self.binfile) or not os.access(self.binfile, os.X_OK):
            raise sdk.AgentFailure(OcfExit.ERR_INSTALLED, f"there is no program {self.binfile}")
        if not os.path.isdir(self.workdir):
            raise sdk.AgentFailure(OcfExit.ERR_INSTALLED, f"there is no folder {self.workdir}")
        self._as_user()

    def start(self) -> OcfExit | None:
        """Run it, and see that it has not ended at once."""
        daemon = self.daemon
        if daemon.leader():
            return OcfExit.OK
        if daemon.processes():
            self.log("WARNING", "ending processes of a former run")
            daemon.end(bounded_wait, patience_ms=2_000, first=signal.SIGKILL)
        given = dict(word.split("=", 1) for word in shlex.split(self.environment))
        environ = {name: value for name, value in self.environ.items() if not name.startswith("OCF_")}
        folder = ["/usr/bin/env", f"--chdir={self.workdir}"] if self.workdir != "/" else []
        argv = [*folder, *self._as_user(), self.binfile, *shlex.split(self.cmdline_options)]
        daemon.launch(argv, {**environ, **given})
        time.sleep(SETTLE_S)

        def well() -> bool:
            if not daemon.leader():
                said = daemon.said() or "it said nothing"
                raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"{self.binfile} has ended at once: {said}")
            return not self._hook()

        self.wait(well, f"{self.binfile} to be well", step_ms=20)
        return OcfExit.OK

    def stop(self) -> OcfExit | None:
        """End it and all it has started."""
        patience_ms = self.stop_timeout or self.remaining_ms() * 2 // 3
        if not self.daemon.end(bounded_wait, patience_ms=patience_ms, first=self._signal()):
            left = self.daemon.processes()
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"processes {left} cannot be killed")
        return OcfExit.OK

    def monitor(self) -> OcfExit | None:
        """It runs, and the hook says that it is well."""
        daemon = self.daemon
        if not daemon.leader():
            left = daemon.processes()
            if left:
                raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"it has ended, but left processes {left}")
            return OcfExit.NOT_RUNNING
        reason = "" if self.is_probe else self._hook()
        if reason:
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, reason)
        return OcfExit.OK

    def _hook(self) -> str:
        """Why the hook says that it is not well; "" when it is, or when there is none."""
        if not self.monitor_hook:
            return ""
        limit_s = max(self.remaining_ms() - 500, 100) / 1000
        try:
            done = subprocess.run(
                shlex.split(self.monitor_hook),
                env=self.environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=limit_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"monitor_hook: {error}"
        return (
            ""
            if done.returncode == 0
            else f"monitor_hook ended with {done.returncode}: {done.stderr.strip()}"
        )

    def _signal(self) -> int:
        name = self.stop_signal.upper().removeprefix("SIG")
        try:
            return int(getattr(signal, f"SIG{name}"))
        except AttributeError:
            raise _wrong(f"stop_signal: {self.stop_signal!r} names no signal") from None

    def _as_user(self) -> list[str]:
        if not self.user:
            return []
        import pwd

        try:
            entry = pwd.getpwnam(self.user)
        except KeyError:
            raise sdk.AgentFailure(OcfExit.ERR_INSTALLED, f"there is no user {self.user}") from None
        if entry.pw_uid == os.geteuid():
            return []
        return [
            "/usr/bin/setpriv",
            f"--reuid={entry.pw_uid}",
            f"--regid={entry.pw_gid}",
            "--init-groups",
            "--",
        ]


def _wrong(reason: str) -> sdk.AgentFailure:
    return sdk.AgentFailure(OcfExit.ERR_CONFIGURED, f"parameter {reason}")


AGENT = Process
